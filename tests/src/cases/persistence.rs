//! The default that an update made survives a reboot; a default that fails twice at boot gives way to the one before it. What cannot be found did not
//! fail, and what cannot be read is not written over.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use hic_store::pair::{Contents, FILE_BYTES, HALF_BYTES, contents, next};
use hic_store::{Defaults, Presence, ServiceDefault};

use super::PORTS;
use super::service::{at_work, entry, until, wait_until_served};
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
/// A driver that hangs at the first question, and the one before it.
const DRIVER: &str = "eth_driver";
const HANGS: &str = "1.2.2";
const DRIVER_BEFORE: &str = "0.1.0";

/// Time after boot within which the services must answer.
const SERVED: Duration = Duration::from_secs(120);

/// Boots after which the version before must serve: two failures, and the one that gives up.
const BOOTS: u32 = 3;

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let network = Network::best()?;
    let machine = context.machine()?;
    let disk = machine.system.clone().context("this profile has no system disk")?;
    survives_a_reboot(context, &network, &machine, &disk).context("a reboot after an update")?;
    for (service, broken, before) in [(SERVICE, BROKEN, OLD), (DRIVER, HANGS, DRIVER_BEFORE)] {
        gives_way(context, &network, &machine, [service, broken, before])
            .with_context(|| format!("{service} {broken}, a default that does not come up"))?;
    }
    cannot_be_read(context, &network, &machine, &disk).context("a record of a later schema")?;
    cannot_be_found(context, &network, &machine, &disk).context("a default whose disk is not there")?;
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
    let found = read_default(disk, SERVICE)?.context("no default was recorded")?;
    ensure!(found.version == version(NEW)?, "recorded: {found:?}");
    ensure!(found.previous == Some(version(OLD)?), "recorded: {found:?}");

    let vm = context.boot(machine.clone(), Some(network), &PORTS)?;
    let console = vm.console()?;
    wait_until_served(&vm, network, SERVED)?;
    until(SERVED, || only(&console, NEW))?;
    until(SERVED, || attempts(disk, SERVICE, 0)).context("a default that came up is not proved healthy")?;
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

fn gives_way(
    context: &mut TestContext,
    network: &Network,
    machine: &Machine,
    [service, broken, before]: [&str; 3],
) -> Result<()> {
    let disk = machine.system.as_deref().context("no system disk")?;
    write_default(disk, service, broken, before)?;
    for boot in 1..=BOOTS {
        let vm = context.boot(machine.clone(), Some(network), &PORTS)?;
        let console = vm.console()?;
        // Either the system gives way in this boot, or the attempt is on the disk for the next one to see.
        let served = until(SERVED, || serves(&console, service, before))
            .and_then(|()| wait_until_served(&vm, network, SERVED));
        let log = console.command("log")?;
        if served.is_ok() {
            let told = log.lines().find(|line| line.contains(broken) && line.contains(before));
            let told = told.with_context(|| {
                format!("the log does not say that {broken} gave way to {before}:\n{log}")
            })?;
            context.note(format!("boot {boot} fell back: {}", told.trim()));
            until(SERVED, || {
                let now = read_default(disk, service)?.context("no default")?;
                ensure!(now.version == version(before)?, "the record still says {now:?}");
                Ok(())
            })?;
            return power_off(&vm);
        }
        attempts(disk, service, boot).with_context(|| format!("boot {boot}"))?;
        power_off(&vm)?;
    }
    Err(anyhow!("{broken} is still tried after {BOOTS} boots"))
}

/// Whether this version of a service runs.
fn serves(console: &Console<'_>, service: &str, version: &str) -> Result<()> {
    let found = entry(console, service)?;
    ensure!(at_work(&found) && found["version"] == version, "{service} {version} was to serve: {found}");
    Ok(())
}

/// A later system wrote the record: this one serves with what it brings, and leaves the record as it is.
fn cannot_be_read(
    context: &mut TestContext,
    network: &Network,
    machine: &Machine,
    disk: &Path,
) -> Result<()> {
    let schema = u16::MAX.to_le_bytes();
    write_record(disk, &schema)?;
    let before = disk::get(disk, disk::STATE_FILE)?;
    let vm = context.boot(machine.clone(), Some(network), &PORTS)?;
    let console = vm.console()?;
    wait_until_served(&vm, network, SERVED)?;
    wait_for_repository(&console)?;
    let refused = refusal(&console, "repository add http://10.0.2.2:8000/")?;
    ensure!(refused.code == "record-unread", "{refused}");
    let update = Update::start(&console, NEW, 0)?;
    let status = update.ended(&console)?;
    ensure!(status.outcome == "rolled-back", "{}", status.summary());
    only(&console, OLD)?;
    power_off(&vm)?;
    ensure!(disk::get(disk, disk::STATE_FILE)? == before, "the record was written over");
    context.note("a record of a later schema is left as it is".to_owned());
    Ok(())
}

/// The default lies on a disk that is not there at one boot, and at the next, and then it is.
fn cannot_be_found(
    context: &mut TestContext,
    network: &Network,
    machine: &Machine,
    disk: &Path,
) -> Result<()> {
    write_default(disk, SERVICE, NEW, OLD)?;
    for boot in 0..2 {
        let vm = context.boot(Machine { disks: Vec::new(), ..machine.clone() }, Some(network), &PORTS)?;
        wait_until_served(&vm, network, SERVED)?;
        only(&vm.console()?, OLD).with_context(|| format!("boot {boot}"))?;
        power_off(&vm)?;
    }
    let vm = context.boot(machine.clone(), Some(network), &PORTS)?;
    wait_until_served(&vm, network, SERVED)?;
    until(SERVED, || only(&vm.console()?, NEW))?;
    context.note(format!("{NEW} is the default again once its disk is there"));
    power_off(&vm)
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
fn attempts(disk: &Path, service: &str, due: u32) -> Result<()> {
    let found = read_default(disk, service)?.context("no default")?;
    ensure!(found.attempts == due, "{} attempts are recorded, {due} were due", found.attempts);
    Ok(())
}

fn halves(file: &[u8]) -> Result<[&[u8; HALF_BYTES]; 2]> {
    ensure!(file.len() == FILE_BYTES, "the record's file has {} bytes", file.len());
    let (first, rest) = file.split_first_chunk().context("one half")?;
    Ok([first, rest.first_chunk().context("two halves")?])
}

/// The service's default in the record on `disk`. Reads a copy, since a guest may be running on the image.
fn read_default(disk: &Path, service: &str) -> Result<Option<ServiceDefault>> {
    let copy = tempfile::NamedTempFile::new()?;
    disk::copy(disk, copy.path())?;
    let file = disk::get(copy.path(), disk::STATE_FILE)?;
    let [first, second] = halves(&file)?;
    let defaults = match contents(first, second) {
        Contents::Empty => return Ok(None),
        Contents::Corrupt => return Err(anyhow!("the record is corrupt")),
        Contents::Record { bytes, .. } => Defaults::decode(bytes).map_err(|error| anyhow!("{error}"))?,
    };
    Ok(defaults.service(service).cloned())
}

/// Makes `default` the default with `previous` before it, as an update would have left it.
fn write_default(disk: &Path, service: &str, default: &str, previous: &str) -> Result<()> {
    let name = service.try_into().map_err(|_| anyhow!("{service} is too long a name"))?;
    let mut defaults = Defaults::default();
    let (version, previous) = (version(default)?, Some(version(previous)?));
    let service = ServiceDefault { name, version, previous, attempts: 0, presence: Presence::Shipped };
    defaults.services.push(service).map_err(|_| anyhow!("no room for a default"))?;
    let mut record = [0; HALF_BYTES];
    write_record(disk, defaults.encode(&mut record).map_err(|error| anyhow!("{error}"))?)
}

/// Puts a record on `disk` as the vault would.
fn write_record(disk: &Path, record: &[u8]) -> Result<()> {
    let mut file = disk::get(disk, disk::STATE_FILE)?;
    let mut out = [0; HALF_BYTES];
    let [first, second] = halves(&file)?;
    let half =
        next(contents(first, second), record, &mut out).map_err(|_| anyhow!("the record is too long"))?;
    let place = file.get_mut(half.offset()..half.offset() + HALF_BYTES).context("the file is too short")?;
    place.copy_from_slice(&out);
    disk::put(disk, disk::STATE_FILE, &file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_written_on_the_host_is_what_the_guest_reads() {
        let folder = tempfile::tempdir().expect("a folder");
        let image = folder.path().join(disk::IMAGE);
        disk::create(&image, &[]).expect("made");
        assert_eq!(read_default(&image, SERVICE).expect("read"), None);
        for (default, previous) in [(NEW, OLD), (BROKEN, OLD)] {
            write_default(&image, SERVICE, default, previous).expect("written");
            let found = read_default(&image, SERVICE).expect("read").expect("a default");
            assert_eq!((found.version, found.attempts), (version(default).expect("a version"), 0));
            assert_eq!(found.previous, Some(version(previous).expect("a version")));
        }
    }
}
