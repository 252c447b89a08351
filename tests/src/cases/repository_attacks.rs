//! The ten attacks of the TUF specification (1.0, section 1.5.2) against the booted system: each is refused with its reason, the audit log has it,
//! the service that runs is not touched, and what the system trusts stays as it was.
//!
//! One machine is attacked again and again, over its disk in one test and over HTTP in another: the files are exchanged as whoever controls the disk or a
//! mirror can exchange them, then `modules refresh` looks at them. What takes keys to attack is signed with those that the attack is about. After each attack the good
//! state lies there again.

mod attacks;
mod mirror;
mod servers;
mod update;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use hic_hicmod::manifest::Version;
use hic_store::Defaults;
use hic_store::pair::{Contents, FILE_BYTES, HALF_BYTES, contents};
use hic_tuf::Trusted;
use hicmod_tool::repo::{METADATA, TARGETS};
use serde_json::Value;

use super::PORTS;
use super::forge::{self, Chain};
use super::http_repository::server;
use super::service::{until, wait_until_served};
use super::updating::{
    Instance, OLD, Refused, SERVICE, ask, last_note, modules, notes, only, refusal, wait_for_repository,
};
use crate::disk;
use crate::net::Network;
use crate::qemu::Machine;
use crate::runner::TestContext;
use crate::vm::{Console, Vm};
use attacks::Attack;
use mirror::{Files, Mirror};

/// Time after boot within which the services must answer.
const SERVED: Duration = Duration::from_secs(120);
/// Time within which the monitor has drained a note.
const NOTED: Duration = Duration::from_secs(120);
/// Time within which what a walk found is on the system disk.
const WRITTEN: Duration = Duration::from_secs(120);

/// Over the repository disk.
pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let network = Network::best()?;
    let machine = context.machine()?;
    let (mirror, system, disk) = prepare(context, &machine)?;
    let place = Place::Disk(disk);
    place.lay_out(&mirror.files()?)?;
    let vm = context.boot(machine, Some(&network), &PORTS)?;
    let console = vm.console()?;
    wait_until_served(&vm, &network, SERVED)?;
    wait_for_repository(&console)?;
    let scene =
        Scene { vm: &vm, console: &console, system: &system, running: only(&console, OLD)?, place: &place };
    all_attacks(context, &mirror, &scene)?;
    wait_until_served(&vm, &network, SERVED)
}

/// Over HTTP, from the server of `hicmod-tool repo serve`; then from servers that do what they should not.
pub(super) fn run_http(context: &mut TestContext) -> Result<()> {
    let network = Network::best()?;
    let machine = context.machine()?;
    let own = Chain::development(&machine)?;
    let (mirror, system, disk) = prepare(context, &machine)?;
    let driver = disk::get(&disk, update::DRIVER)?;
    // The disk is there and has nothing.
    Place::Disk(disk).lay_out(&Files::new())?;
    let folder = context.file("served")?;
    let place = Place::Server(folder.clone());
    place.lay_out(&mirror.files()?)?;
    let source = server::serve(&network, &folder)?;
    let vm = context.boot(machine.clone(), Some(&network), &PORTS)?;
    let console = vm.console()?;
    wait_until_served(&vm, &network, SERVED)?;
    wait_for_repository(&console)?;
    let told = ask(&console, &format!("repository add {source}"))?;
    ensure!(told["text"].as_str().is_some_and(|text| text.contains("it offers 2 modules")), "{told}");
    let scene =
        Scene { vm: &vm, console: &console, system: &system, running: only(&console, OLD)?, place: &place };
    scene.offered(&source)?;
    all_attacks(context, &mirror, &scene)?;
    large_module(context, &mirror, &scene, &own)?;
    update::planned(context, &mirror, &scene, (&own, &driver)).context("a plan of two modules")?;
    ask(&console, &format!("repository remove {source}"))?;
    servers::wrong(context, &network, &mirror, &scene)?;
    update::made(context, &network, &mirror, &scene, &own).context("an update from a server")?;
    let vm = context.boot(machine, Some(&network), &PORTS)?;
    wait_until_served(&vm, &network, SERVED)?;
    update::stays(&vm)?;
    context.note("after a reboot without the server it is still the default".into());
    Ok(())
}

/// The repository, the system disk and the repository disk of a machine.
fn prepare(context: &TestContext, machine: &Machine) -> Result<(Mirror, PathBuf, PathBuf)> {
    let system = machine.system.clone().context("this profile has no system disk")?;
    let images = machine.archive.as_deref().and_then(Path::parent).context("a boot archive")?;
    let disk = machine.disks.first().cloned().context("this profile has no repository disk")?;
    Ok((Mirror::new(context, images, &disk)?, system, disk))
}

fn all_attacks(context: &mut TestContext, mirror: &Mirror, scene: &Scene<'_>) -> Result<()> {
    scene.accepted(&mirror.good()?).context("the repository before the attacks")?;
    let attacks = attacks::all(mirror)?;
    scene.accepted(&mirror.good()?).context("the state after it")?;
    for attack in attacks {
        scene.attack(mirror, &attack).with_context(|| format!("attack: {}", attack.name))?;
        context.note(format!("refused: {} ({})", attack.name, scene.check_of(&attack)));
    }
    type Lasting = fn(&Mirror, &Scene<'_>) -> Result<()>;
    let lasting: [(&str, Lasting); 4] = [
        ("extraneous dependencies (signed with stolen keys)", attacks::signed_dependencies),
        ("wrong software (signed with stolen keys)", attacks::signed_wrong_software),
        ("false names of signer and publisher (signed with stolen keys)", attacks::signed_names),
        ("fast-forward, and recovery from it", attacks::fast_forward),
    ];
    for (name, attack) in lasting {
        attack(mirror, scene).with_context(|| format!("attack: {name}"))?;
        context.note(format!("refused: {name}"));
    }
    Ok(())
}

/// A module that is longer than any fixed room: fetched by the listed length, and verified; nothing is started.
fn large_module(context: &mut TestContext, mirror: &Mirror, scene: &Scene<'_>, own: &Chain) -> Result<()> {
    const LARGE: usize = 5_200_000;
    let files = mirror.files()?;
    let good = files.get(&mirror::file_of(mirror::VERSION)).context("a module")?;
    let next = forge::other_version(good, own, Version::new(1, 4, 0), |_| ())?;
    let large = forge::padded(&next, own, LARGE)?;
    let file = mirror::file_of("1.4.0");
    std::fs::write(mirror.repository.targets().join(file), &large)?;
    mirror.publish()?;
    scene.accepted(&mirror.good()?)?;
    let lines = ask(scene.console, &format!("update {SERVICE} 1.4.0 --plan"))?;
    let known = ask(scene.console, &format!("modules {SERVICE}"))?;
    let rows = known["modules"].as_array().context("no modules")?;
    let row = rows.iter().find(|row| row["version"] == "1.4.0").context("it is not there")?;
    ensure!(row["state"] == "verified" && row["origin"] == "network", "{row}; {lines}");
    ensure!(row["bytes"].as_u64() == Some(large.len() as u64), "{row}");
    context.note(format!("a module of {} bytes is fetched by its listed length and verified", large.len()));
    Ok(())
}

/// Where the victim finds the files.
enum Place {
    /// On a disk.
    Disk(PathBuf),
    /// On a server that hands out this folder.
    Server(PathBuf),
}

impl Place {
    /// Makes it hold exactly these files. The guest looks anew when it is told to.
    fn lay_out(&self, files: &Files) -> Result<()> {
        match self {
            Self::Disk(disk) => {
                for (name, _) in disk::list(disk)? {
                    if name != disk::STATE_FILE && !files.contains_key(&name) {
                        disk::remove(disk, &name)?;
                    }
                }
                for (name, bytes) in files {
                    if !disk::get(disk, name).is_ok_and(|found| found == *bytes) {
                        disk::put(disk, name, bytes)?;
                    }
                }
            }
            Self::Server(folder) => {
                for part in [METADATA, TARGETS] {
                    let _ = std::fs::remove_dir_all(folder.join(part));
                    std::fs::create_dir_all(folder.join(part))?;
                }
                for (name, bytes) in files {
                    let part = if name.ends_with(".tuf") { METADATA } else { TARGETS };
                    std::fs::write(folder.join(part).join(name), bytes)?;
                }
            }
        }
        Ok(())
    }
}

/// A machine under attack.
struct Scene<'v> {
    vm: &'v Vm,
    console: &'v Console<'v>,
    system: &'v Path,
    running: Instance,
    place: &'v Place,
}

impl Scene<'_> {
    /// Lays these files out and lets the system look at them.
    fn show(&self, files: &Files) -> Result<Vec<String>> {
        self.place.lay_out(files)?;
        self.refresh()
    }

    fn refresh(&self) -> Result<Vec<String>> {
        let document = self.console.json("modules refresh --json")?;
        let lines = document["lines"].as_array().with_context(|| format!("`modules refresh`: {document}"))?;
        Ok(lines.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// The good state is taken, and nobody refuses a module of it.
    fn accepted(&self, state: &mirror::State) -> Result<()> {
        let lines = self.show(&state.files)?;
        ensure!(!lines.iter().any(|line| line.contains("refused:")), "refused: {lines:?}");
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

    /// What is known of an offered module before a byte of it was fetched (P1.4).
    fn offered(&self, source: &str) -> Result<()> {
        let known = ask(self.console, &format!("modules {SERVICE}"))?;
        let rows = known["modules"].as_array().context("no modules")?;
        let row = rows.iter().find(|row| row["version"] == mirror::VERSION).context("it is not offered")?;
        ensure!(row["state"] == "offered" && row["origin"] == "network", "{row}");
        let text = |key: &str| row[key].as_str().unwrap_or_default();
        ensure!(text("uuid").len() == 36 && text("digest").len() == 96, "{row}");
        ensure!(text("source") == source && text("needs").contains("eth_driver"), "{row}");
        ensure!(row["bytes"].as_u64() > Some(0) && row["epoch"].is_u64(), "{row}");
        // Said by the repository, and not mistaken for what was verified.
        ensure!(!text("listed_signer").is_empty() && text("signer").is_empty(), "{row}");
        ensure!(text("publisher") == "HIC project", "{row}");
        Ok(())
    }

    /// How the system refuses to take a version.
    fn refused(&self, version: &str) -> Result<Refused> {
        refusal(
            self.console,
            &match self.place {
                Place::Disk(_) => format!("update {SERVICE} {version}"),
                // Fetches and verifies as an update does.
                Place::Server(_) => format!("update {SERVICE} {version} --plan"),
            },
        )
    }

    fn check_of(&self, attack: &Attack) -> &'static str {
        match self.place {
            Place::Disk(_) => attack.check,
            Place::Server(_) => attack.check_http,
        }
    }

    /// One attack: refused by its check, noted, without a trace; then the good state again.
    fn attack(&self, mirror: &Mirror, attack: &Attack) -> Result<()> {
        let (before, noted, check) = (self.trusted()?, last_note(self.console)?, self.check_of(attack));
        let lines = self.show(&attack.files)?;
        let refused = self.refused(attack.version)?;
        ensure!(refused.code == check, "{refused}; the check {check} was due; {lines:?}");
        self.untouched(before, noted, check)?;
        self.show(&mirror.good()?.files)?;
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
            let fresh = notes(self.console)?.into_iter().filter(|(sequence, _)| *sequence > noted);
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
