//! Bad input to an update: each is refused with the name of the check that failed, nothing that runs is touched, and the audit
//! log says so.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, ensure};
use hic_hicmod::Archive;
use hic_hicmod::archive::REVOKED;
use hic_hicmod::manifest::{Authority, Manifest, Version};
use hicmod_tool::{ChainOptions, make_chain};
use serde_json::Value;

use super::forge::{self, BadModule, Chain};
use super::service::{until, wait_until_served};
use super::updating::{
    Instance, NEW, OLD, SCANNED, SERVICE, Update, ask, last_note, modules, notes, only, refusal,
    wait_for_module,
};
use super::{PORTS, memory};
use crate::disk;
use crate::net::Network;
use crate::qemu::Machine;
use crate::runner::TestContext;
use crate::vm::{Console, Vm};

/// Time after boot within which the services must answer.
const SERVED: Duration = Duration::from_secs(120);

/// The bad files are versions 1.4.0, 1.4.1, ... by their names.
fn version(number: usize) -> String {
    format!("1.4.{number}")
}

fn file_of(version: &str) -> String {
    format!("{SERVICE}-{version}.hicmod")
}

/// Signed well, and not fit to follow the version that runs: version, what is wrong, the code of the refusal.
const PAIRS: [(Version, &str, &str); 3] = [
    (Version::new(1, 4, 90), "a pair that nobody tested", "untested-pair"),
    (Version::new(1, 4, 91), "a version that cannot be updated to", "not-updatable"),
    (Version::new(1, 4, 92), "a version that cannot do without what the policy denies", "denied"),
];

/// Orders that name nothing.
const UNKNOWN: [(&str, &str); 3] = [
    ("update netstack 9.9.9", "unknown-version"),
    ("update no-such-service 1.0.0", "unknown-service"),
    ("update netstack 1.2.0", "same-version"),
];

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let network = Network::best()?;
    let mut machine = context.machine()?;
    let bad = prepare(context, &mut machine)?;
    let vm = context.boot(machine, Some(&network), &PORTS)?;
    let console = vm.console()?;
    wait_until_served(&vm, &network, SERVED)?;
    wait_for_module(&console, NEW)?;
    let running = only(&console, OLD)?;
    let before = memory::settled(&console)?;

    for (number, module) in bad.iter().enumerate() {
        let command = format!("update {SERVICE} {}", version(number));
        refused(&vm, &console, &command, module.checks, &running).context(module.what)?;
    }
    listed(&console, &bad)?;
    for (version, what, code) in PAIRS {
        let command = format!("update {SERVICE} {version}");
        refused(&vm, &console, &command, &[code], &running).context(what)?;
    }
    for (command, code) in UNKNOWN {
        refused(&vm, &console, command, &[code], &running)?;
    }
    memory::wait_for_baseline(&console, &before, SERVED).context("nothing else changes")?;
    second_update(&vm, &console, &running).context("a second update")?;
    wait_until_served(&vm, &network, SERVED)?;
    context.note(format!(
        "{} bad inputs refused, each by its own check",
        bad.len() + PAIRS.len() + UNKNOWN.len()
    ));
    Ok(())
}

/// Puts the bad modules on the machine's disk, and a revocation list into its boot archive.
fn prepare(context: &TestContext, machine: &mut Machine) -> Result<Vec<BadModule>> {
    let disk = machine.disks.first().context("this profile has no repository disk")?;
    let archive = machine.archive.clone().context("a boot archive")?;
    let own = Chain::development(machine)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let folder = context.file("other-chain")?;
    make_chain(&folder, ChainOptions { development: true, days: 30, now })
        .map_err(|error| anyhow!("{error}"))?;
    let other = Chain::load(&folder)?;

    let good = disk::get(disk, &file_of(NEW))?;
    let (bad, lists) = forge::all(&good, &own, &other)?;
    for (number, module) in bad.iter().enumerate() {
        disk::put(disk, &file_of(&version(number)), &module.bytes)?;
    }
    for (version, _, code) in PAIRS {
        let change = |manifest: &mut Manifest| match (code, &mut manifest.update) {
            ("untested-pair", Some(update)) => update.tested_with.clear(),
            ("denied", _) => manifest.authority.extend([Authority::Power]),
            (_, update) => *update = None,
        };
        let module = forge::other_version(&good, &own, version, change)?;
        disk::put(disk, &file_of(&version.to_string()), &module)?;
    }
    context.boot_archive(machine, &with_revocation(&archive, &lists)?)?;
    Ok(bad)
}

/// The boot archive with `lists` as its revocation lists.
pub(super) fn with_revocation(archive: &Path, lists: &[u8]) -> Result<Vec<u8>> {
    let bytes = std::fs::read(archive).with_context(|| format!("cannot read {}", archive.display()))?;
    let parsed = Archive::parse(&bytes).map_err(|error| anyhow!("{error}"))?;
    let mut files = Vec::new();
    for entry in parsed.iter().filter(|entry| entry.name != REVOKED) {
        files.push((entry.name, entry.bytes().map_err(|error| anyhow!("{error}"))?));
    }
    files.push((REVOKED, lists));
    hicmod_tool::archive(&files).map_err(|error| anyhow!("{error}"))
}

/// `command` must be refused by one of `checks`, leave a note in the audit log, and touch nothing.
fn refused(vm: &Vm, console: &Console<'_>, command: &str, checks: &[&str], running: &Instance) -> Result<()> {
    let (before, everyone) = (last_note(console)?, others(console)?);
    let refused = refusal(console, command)?;
    let named = checks.iter().any(|check| refused.code == *check);
    ensure!(named, "`{command}`: {refused}; one of the checks {checks:?} was due");
    ensure!(!refused.message.is_empty(), "`{command}`: {refused}");
    until(SERVED, || {
        let newer = notes(console)?.into_iter().filter(|(sequence, _)| *sequence > before);
        let texts: Vec<String> = newer.map(|(_, text)| text).collect();
        let told = texts.iter().any(|text| text.contains(&refused.code));
        ensure!(told, "`{command}` left no note of {} in the audit log: {texts:?}", refused.code);
        Ok(())
    })?;
    let after = others(console)?;
    ensure!(after == everyone, "`{command}` touched another service: {everyone:?} before, {after:?} now");
    let now = only(console, OLD)?;
    ensure!(now == *running, "`{command}` touched the running service: {running:?} before, {now:?} now");
    vm.check_alive()
}

/// Each service with its version, its sandbox and how often it was started again.
fn others(console: &Console<'_>) -> Result<Vec<[Value; 4]>> {
    let document = ask(console, "services")?;
    let rows = document["services"].as_array().with_context(|| format!("no services in {document}"))?;
    Ok(rows
        .iter()
        .map(|row| ["name", "version", "sandbox", "restarts"].map(|key| row[key].clone()))
        .collect())
}

/// `modules` must list every bad file as refused, with the check in its reason.
fn listed(console: &Console<'_>, bad: &[BadModule]) -> Result<()> {
    until(SCANNED, || {
        let all = modules(console)?;
        for (number, module) in bad.iter().enumerate() {
            let file = file_of(&version(number));
            let row = all.iter().find(|[name, ..]| name.eq_ignore_ascii_case(&file));
            let [_, _, state, reason] = row.with_context(|| format!("`modules` does not list {file}"))?;
            ensure!(state == "refused", "{file} ({}) is {state}", module.what);
            let named = module.checks.iter().any(|check| reason.contains(check));
            ensure!(named, "{file} ({}): {reason}", module.what);
        }
        Ok(())
    })
}

/// While one update is under way, another is refused; the first goes back when told to.
fn second_update(vm: &Vm, console: &Console<'_>, running: &Instance) -> Result<()> {
    let update = Update::start(console, NEW, 120)?;
    let order = format!("update {SERVICE} {NEW}");
    let early = refusal(console, &order)?;
    update.watched(console)?;
    let late = refusal(console, &order)?;
    for refused in [early, late] {
        ensure!(refused.code == "update-running", "{refused}");
    }
    let _: Value = ask(console, &format!("rollback {SERVICE}"))?;
    let status = update.ended(console)?;
    ensure!(status.outcome == "rolled-back" && status.lost == 0, "{}", status.summary());
    let now = only(console, OLD)?;
    ensure!(now.sandbox == running.sandbox, "{running:?} before, {now:?} now");
    vm.check_alive()
}
