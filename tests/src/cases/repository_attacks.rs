//! The ten attacks of the TUF specification (1.0, section 1.5.2) against the booted system: each is refused with its reason, the audit log has it,
//! the service that runs is not touched, and what the system trusts stays as it was.
//!
//! One machine is attacked again and again: the files on its repository disk are exchanged as whoever controls the disk or a mirror can
//! exchange them, then `modules refresh` looks at them. What takes keys to attack is signed with those that the attack is about. After each attack the good
//! state lies there again.

mod attacks;
mod mirror;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use hic_store::Defaults;
use hic_store::pair::{Contents, FILE_BYTES, HALF_BYTES, contents};
use hic_tuf::Trusted;
use serde_json::Value;

use super::PORTS;
use super::service::{until, wait_until_served};
use super::updating::{Instance, OLD, SERVICE, ask, modules, only, refusal, wait_for_repository};
use crate::disk;
use crate::net::Network;
use crate::runner::TestContext;
use crate::vm::{Console, Vm};
use attacks::Attack;
use mirror::Mirror;

/// Time after boot within which the services must answer.
const SERVED: Duration = Duration::from_secs(30);
/// Time within which the monitor has drained a note.
const NOTED: Duration = Duration::from_secs(20);
/// Time within which what a walk found is on the system disk.
const WRITTEN: Duration = Duration::from_secs(20);

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let network = Network::best()?;
    let machine = context.machine()?;
    let system = machine.system.clone().context("this profile has no system disk")?;
    let images = machine.archive.as_deref().and_then(Path::parent).context("a boot archive")?;
    let repository = machine.disks.first().cloned().context("this profile has no repository disk")?;
    let mirror = Mirror::new(context, images, &repository)?;
    let vm = context.boot(machine, Some(&network), &PORTS)?;
    let console = vm.console()?;
    wait_until_served(&vm, &network, SERVED)?;
    wait_for_repository(&console)?;
    let scene = Scene { vm: &vm, console: &console, system: &system, running: only(&console, OLD)? };

    scene.accepted(&mirror.good()?).context("the repository before the attacks")?;
    let attacks = attacks::all(&mirror)?;
    scene.accepted(&mirror.good()?).context("the state after it")?;
    let mut refused = Vec::new();
    for attack in attacks {
        scene.attack(&mirror, &attack).with_context(|| format!("attack: {}", attack.name))?;
        refused.push(format!("{} ({})", attack.name, attack.check));
    }
    attacks::fast_forward(&mirror, &scene).context("attack: fast-forward")?;
    refused.push("fast-forward, and recovery from it".to_owned());
    wait_until_served(&vm, &network, SERVED)?;
    context.note(format!("{} attacks refused: {}", refused.len(), refused.join(", ")));
    Ok(())
}

/// A machine under attack.
struct Scene<'v> {
    vm: &'v Vm,
    console: &'v Console<'v>,
    system: &'v Path,
    running: Instance,
}

impl Scene<'_> {
    /// Lays these files out on the disk and lets the system look at them.
    fn show(&self, mirror: &Mirror, files: &mirror::Files) -> Result<Vec<String>> {
        mirror.lay_out(files)?;
        let document = self.console.json("modules refresh --json")?;
        let lines = document["lines"].as_array().with_context(|| format!("`modules refresh`: {document}"))?;
        Ok(lines.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// The good state is taken, and nobody refuses a module of it.
    fn accepted(&self, state: &mirror::State) -> Result<()> {
        let lines = self.show(state.mirror, &state.files)?;
        ensure!(!lines.iter().any(|line| line.starts_with("refused:")), "refused: {lines:?}");
        let listed = modules(self.console)?
            .iter()
            .any(|[name, version, ..]| name == SERVICE && version == state.version);
        ensure!(listed, "{SERVICE} {} is not there: {lines:?}", state.version);
        until(WRITTEN, || {
            let trusted = self.trusted()?;
            let (due, found) = ((state.timestamp, state.targets), (trusted.timestamp, trusted.targets));
            ensure!(found == due, "trusted: {trusted:?}; timestamp and targets were due as {due:?}");
            Ok(())
        })
    }

    /// One attack: refused by its check, noted, without a trace; then the good state again.
    fn attack(&self, mirror: &Mirror, attack: &Attack) -> Result<()> {
        let (before, noted) = (self.trusted()?, self.last_note()?);
        let lines = self.show(mirror, &attack.files)?;
        let refused = refusal(self.console, &format!("update {SERVICE} {}", attack.version))?;
        ensure!(refused.code == attack.check, "{refused}; the check {} was due; {lines:?}", attack.check);
        self.untouched(before, noted, attack.check)?;
        self.show(mirror, &mirror.good()?.files)?;
        let usable = modules(self.console)?
            .iter()
            .any(|[name, version, ..]| name == SERVICE && version == mirror::VERSION);
        ensure!(usable, "after the attack, the good state is not taken");
        ensure!(self.trusted()? == before, "{before:?} was trusted before, {:?} now", self.trusted()?);
        Ok(())
    }

    /// Nothing but a note came of what was just tried.
    fn untouched(&self, before: Trusted, noted: u64, check: &str) -> Result<()> {
        ensure!(self.trusted()? == before, "{before:?} was trusted before, {:?} now", self.trusted()?);
        until(NOTED, || {
            let fresh = self.notes()?.into_iter().filter(|(sequence, _)| *sequence > noted);
            let texts: Vec<String> = fresh.map(|(_, text)| text).collect();
            ensure!(
                texts.iter().any(|text| text.contains(check)),
                "the audit log says nothing of {check}: {texts:?}"
            );
            Ok(())
        })?;
        let now = only(self.console, OLD)?;
        ensure!(
            now == self.running,
            "the running service was touched: {:?} before, {now:?} now",
            self.running
        );
        self.vm.check_alive()
    }

    /// Number of the last note in the audit log; 0 if there is none.
    fn last_note(&self) -> Result<u64> {
        Ok(self.notes()?.into_iter().map(|(sequence, _)| sequence).max().unwrap_or(0))
    }

    /// Numbers and texts of the notes that the audit log keeps.
    fn notes(&self) -> Result<Vec<(u64, String)>> {
        let document = ask(self.console, "audit")?;
        let records = document["records"].as_array().with_context(|| format!("no records in {document}"))?;
        let notes = records.iter().filter(|record| record["event"] == "note");
        Ok(notes
            .filter_map(|record| Some((record["sequence"].as_u64()?, record["text"].as_str()?.to_owned())))
            .collect())
    }

    /// What the record on the system disk says was seen. Reads a copy, since the guest runs on the image.
    fn trusted(&self) -> Result<Trusted> {
        let copy = tempfile::NamedTempFile::new()?;
        disk::copy(self.system, copy.path())?;
        let file = disk::get(copy.path(), disk::STATE_FILE)?;
        ensure!(file.len() == FILE_BYTES, "the record's file has {} bytes", file.len());
        let (first, rest) = file.split_first_chunk::<HALF_BYTES>().context("one half")?;
        match contents(first, rest.first_chunk().context("two halves")?) {
            Contents::Empty => Ok(Trusted::default()),
            Contents::Corrupt => Err(anyhow!("the record is corrupt")),
            Contents::Record { bytes, .. } => {
                Ok(Defaults::decode(bytes).map_err(|error| anyhow!("{error}"))?.trusted)
            }
        }
    }
}
