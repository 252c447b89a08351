//! The default that an update made survives a reboot; a default that fails twice at boot gives way to the one before it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use hic_store::pair::{Contents, FILE_BYTES, HALF_BYTES, contents, next};
use hic_store::{Defaults, Presence, ServiceDefault};

use super::PORTS;
use super::service::{until, wait_until_served};
use super::updating::{
    NEW, OLD, SERVICE, Update, ask, gently_to, only, refusal, wait_for_module, wait_for_repository,
};
use crate::disk;
use crate::net::Network;
use crate::process::Outcome;
use crate::qemu::Machine;
use crate::runner::TestContext;
use crate::vm::{Console, Vm};

/// The version that never comes up.
const BROKEN: &str = "1.3.1";

/// Time after boot within which the services must answer.
const SERVED: Duration = Duration::from_secs(120);

/// Boots after which the version before must serve: two failures, and the one that gives up.
const BOOTS: u32 = 3;

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let network = Network::best()?;
    let machine = context.machine()?;
    let disk = machine.system.clone().context("this profile has no system disk")?;
    survives_a_reboot(context, &network, &machine, &disk).context("a reboot after an update")?;
    gives_way(context, &network, &machine, &disk).context("a default that does not come up")?;
    without_a_repository(context, &network, machine).context("a machine with the system disk alone")
}

fn survives_a_reboot(
    context: &mut TestContext,
    network: &Network,
    machine: &Machine,
    disk: &Path,
) -> Result<()> {
    let vm = context.boot(machine.clone(), Some(network), &PORTS)?;
    let console = vm.console()?;
    wait_until_served(&vm, network, SERVED)?;
    only(&console, OLD)?;
    wait_for_module(&console, NEW)?;
    let status = gently_to(&console, NEW)?;
    context.note(status.summary());
    power_off(&vm)?;
    let found = read_default(disk)?.context("no default was recorded")?;
    ensure!(found.version == version(NEW)?, "recorded: {found:?}");
    ensure!(found.previous == Some(version(OLD)?), "recorded: {found:?}");

    let vm = context.boot(machine.clone(), Some(network), &PORTS)?;
    let console = vm.console()?;
    wait_until_served(&vm, network, SERVED)?;
    until(SERVED, || only(&console, NEW))?;
    until(SERVED, || attempts(disk, 0)).context("a default that came up is not proved healthy")?;
    context.note(format!("{NEW} is the default after a reboot"));
    goes_back(&console).context("a rollback after a reboot")?;
    power_off(&vm)
}

/// What was before is on record, whatever was asked for and refused since.
fn goes_back(console: &Console<'_>) -> Result<()> {
    let refused = refusal(console, &format!("update {SERVICE} 9.9.9"))?;
    ensure!(refused.code == "unknown-version", "{refused}");
    let way_back = Update::next(console)?;
    ask(console, &format!("rollback {SERVICE}"))?;
    way_back.watched(console)?;
    ask(console, "commit")?;
    let status = way_back.ended(console)?;
    ensure!(status.outcome == "completed" && status.lost == 0, "{}", status.summary());
    only(console, OLD).map(|_| ())
}

fn gives_way(context: &mut TestContext, network: &Network, machine: &Machine, disk: &Path) -> Result<()> {
    write_default(disk, BROKEN, OLD)?;
    for boot in 1..=BOOTS {
        let vm = context.boot(machine.clone(), Some(network), &PORTS)?;
        let console = vm.console()?;
        // Either the system gives way in this boot, or the attempt is on the disk for the next one to see.
        let served =
            wait_until_served(&vm, network, SERVED).and_then(|()| until(SERVED, || only(&console, OLD)));
        let log = console.command("log")?;
        if served.is_ok() {
            let told = log.lines().find(|line| line.contains(BROKEN) && line.contains(OLD));
            let told = told
                .with_context(|| format!("the log does not say that {BROKEN} gave way to {OLD}:\n{log}"))?;
            context.note(format!("boot {boot} fell back: {}", told.trim()));
            until(SERVED, || {
                let now = read_default(disk)?.context("no default")?;
                ensure!(now.version == version(OLD)?, "the record still says {now:?}");
                Ok(())
            })?;
            return power_off(&vm);
        }
        attempts(disk, boot).with_context(|| format!("boot {boot}"))?;
        power_off(&vm)?;
    }
    Err(anyhow!("{BROKEN} is still tried after {BOOTS} boots"))
}

/// What is wanted is nowhere, and the operator is told that the disk is missing, not that he asked for a wrong version.
fn without_a_repository(context: &mut TestContext, network: &Network, machine: Machine) -> Result<()> {
    let vm = context.boot(Machine { disks: Vec::new(), ..machine }, Some(network), &PORTS)?;
    let console = vm.console()?;
    wait_until_served(&vm, network, SERVED)?;
    wait_for_repository(&console)?;
    for (order, code) in [
        (format!("update {SERVICE} {NEW}"), "unknown-version"),
        (format!("install {SERVICE}_2 {NEW}"), "unknown-module"),
    ] {
        let refused = refusal(&console, &order)?;
        ensure!(refused.code == code, "`{order}`: {refused}, {code} was due");
        ensure!(refused.message.contains("no repository disk: attach one"), "`{order}`: {refused}");
    }
    power_off(&vm)
}

fn power_off(vm: &Vm) -> Result<()> {
    vm.console()?.type_line("shutdown")?;
    let outcome = vm.wait_exit(Duration::from_secs(120))?;
    ensure!(outcome == Outcome::PowerOff, "`shutdown`: {outcome}");
    Ok(())
}

fn version(text: &str) -> Result<hic_hicmod::manifest::Version> {
    text.parse().map_err(|error| anyhow!("{text}: {error}"))
}

/// Whether the record says that the default was tried so often since it was last healthy.
fn attempts(disk: &Path, due: u32) -> Result<()> {
    let found = read_default(disk)?.context("no default")?;
    ensure!(found.attempts == due, "{} attempts are recorded, {due} were due", found.attempts);
    Ok(())
}

fn halves(file: &[u8]) -> Result<[&[u8; HALF_BYTES]; 2]> {
    ensure!(file.len() == FILE_BYTES, "the record's file has {} bytes", file.len());
    let (first, rest) = file.split_first_chunk().context("one half")?;
    Ok([first, rest.first_chunk().context("two halves")?])
}

/// The service's default in the record on `disk`. Reads a copy, since a guest may be running on the image.
fn read_default(disk: &Path) -> Result<Option<ServiceDefault>> {
    let copy = tempfile::NamedTempFile::new()?;
    disk::copy(disk, copy.path())?;
    let file = disk::get(copy.path(), disk::STATE_FILE)?;
    let [first, second] = halves(&file)?;
    let defaults = match contents(first, second) {
        Contents::Empty => return Ok(None),
        Contents::Corrupt => return Err(anyhow!("the record is corrupt")),
        Contents::Record { bytes, .. } => Defaults::decode(bytes).map_err(|error| anyhow!("{error}"))?,
    };
    Ok(defaults.service(SERVICE).cloned())
}

/// Makes `default` the default with `previous` before it, as an update would have left it.
fn write_default(disk: &Path, default: &str, previous: &str) -> Result<()> {
    let mut file = disk::get(disk, disk::STATE_FILE)?;
    replace_default(&mut file, default, previous)?;
    disk::put(disk, disk::STATE_FILE, &file)
}

fn replace_default(file: &mut [u8], default: &str, previous: &str) -> Result<()> {
    let name = SERVICE.try_into().map_err(|_| anyhow!("{SERVICE} is too long a name"))?;
    let mut defaults = Defaults::default();
    let (version, previous) = (version(default)?, Some(version(previous)?));
    let service = ServiceDefault { name, version, previous, attempts: 0, presence: Presence::Shipped };
    defaults.services.push(service).map_err(|_| anyhow!("no room for a default"))?;
    let mut record = [0; HALF_BYTES];
    let record = defaults.encode(&mut record).map_err(|error| anyhow!("{error}"))?;
    let mut out = [0; HALF_BYTES];
    let [first, second] = halves(file)?;
    let half =
        next(contents(first, second), record, &mut out).map_err(|_| anyhow!("the record is too long"))?;
    let place = file.get_mut(half.offset()..half.offset() + HALF_BYTES).context("the file is too short")?;
    place.copy_from_slice(&out);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_written_on_the_host_is_what_the_guest_reads() {
        let folder = tempfile::tempdir().expect("a folder");
        let image = folder.path().join(disk::IMAGE);
        disk::create(&image, &[]).expect("made");
        assert_eq!(read_default(&image).expect("read"), None);
        for (default, previous) in [(NEW, OLD), (BROKEN, OLD)] {
            write_default(&image, default, previous).expect("written");
            let found = read_default(&image).expect("read").expect("a default");
            assert_eq!((found.version, found.attempts), (version(default).expect("a version"), 0));
            assert_eq!(found.previous, Some(version(previous).expect("a version")));
        }
    }
}
