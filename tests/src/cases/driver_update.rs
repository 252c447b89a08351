//! The network driver is exchanged under live connections: faulty releases give way by themselves, a good one serves on, whoever dies meanwhile, and
//! survives a reboot.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::install::{done, power_off};
use super::service::{entry, until, wait_until_served};
use super::updating::{ask, instances, refusal, wait_for_repository};
use super::{ECHO, PORTS, memory};
use crate::load::{self, DuplexPlan, Load};
use crate::net::Network;
use crate::qemu::Proto;
use crate::runner::TestContext;
use crate::vm::Console;

const DRIVER: &str = "eth_driver";
/// The version in the boot archive.
const OLD: &str = "0.1.0";
/// The good one in the repository.
const NEW: &str = "1.2.0";
/// The faulty ones, what is wrong with them, and the code of the refusal.
const FAULTY: [(&str, &str, &str); 2] = [
    ("1.2.1", "dies at its start", "instance-died"),
    ("1.2.2", "keeps the processor to itself when it is asked something", "hangs"),
];

/// Time after boot within which the services must answer.
const SERVED: Duration = Duration::from_secs(120);
/// Every connection must get on within this time: after some seconds without a driver the next attempt of a sender, which waits twice as long after
/// each, may be half a minute away.
const GETS_ON: Duration = Duration::from_secs(60);
/// What a faulty image took must be back within this time.
const BASELINE: Duration = Duration::from_secs(120);
/// An exchange must be over within this time: its watch, and room for a slow machine.
const EXCHANGED: Duration = Duration::from_secs(90);
/// System calls of the module manager before it dies in the middle of an exchange, which takes some forty to be made.
const POINTS: [u32; 5] = [12, 24, 36, 48, 60];

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let network = Network::best()?;
    let machine = context.machine()?;
    let vm = context.boot(machine.clone(), Some(&network), &PORTS)?;
    let console = vm.console()?;
    wait_until_served(&vm, &network, SERVED)?;
    wait_for_repository(&console)?;
    let load = load::duplex_clients(&network, vm.endpoint(Proto::Tcp, ECHO)?, DuplexPlan::USUAL)?;
    load.wait_for_everyone(GETS_ON)?;

    for (version, fault, code) in FAULTY {
        let note =
            gives_way(&console, &load, version, code).with_context(|| format!("{version}, which {fault}"))?;
        context.note(format!("{version}, which {fault}: {note}"));
    }
    let lines = done(&console, &format!("update {DRIVER} {NEW}")).context("the good release")?;
    let told =
        lines.iter().find(|line| line.contains("goes on with")).context("no line about the exchange")?;
    context.note(told.clone());
    runs(&console, NEW)?;
    load.wait_for_everyone(GETS_ON)?;
    killed(&console, &load).context("killed afterwards")?;

    done(&console, &format!("rollback {DRIVER}")).context("the way back")?;
    runs(&console, OLD)?;
    load.wait_for_everyone(GETS_ON)?;
    for point in POINTS {
        manager_dies(&console, &load, point)
            .with_context(|| format!("the manager dies at its call {point}"))?;
    }
    if instances(&console, DRIVER)?.iter().all(|one| one.version == OLD) {
        done(&console, &format!("update {DRIVER} {NEW}"))?;
    }
    let tally = load.finish()?;
    tally.ensure_no_failure("two-way clients")?;
    context.note(format!("{}: none was cut by any of this", tally.summary()));
    power_off(&vm)?;

    let vm = context.boot(machine, Some(&network), &PORTS)?;
    wait_until_served(&vm, &network, SERVED)?;
    runs(&vm.console()?, NEW).context("after a reboot")?;
    vm.check_alive()
}

/// A release that does not stay up: refused with the reason, and the old one serves all connections.
fn gives_way(console: &Console<'_>, load: &Load, version: &str, code: &str) -> Result<String> {
    memory::settled(console)?;
    let before = held(console)?;
    let refused = refusal(console, &format!("update {DRIVER} {version}"))?;
    ensure!(refused.code == code, "{refused}");
    ensure!(refused.message.contains(&format!("{DRIVER} {OLD} runs again")), "{refused}");
    runs(console, OLD)?;
    load.wait_for_everyone(GETS_ON)?;
    until(BASELINE, || {
        let now = held(console)?;
        ensure!(now == before, "of the new image something is left: {before:?} before, {now:?} now");
        Ok(())
    })?;
    Ok(refused.to_string())
}

/// Frames and objects that the driver is charged for, by account, and the objects of who makes its accounts.
fn held(console: &Console<'_>) -> Result<Vec<[u64; 2]>> {
    let memory = memory::look(console)?;
    let accounts = memory["accounts"].as_array().with_context(|| format!("no accounts in {memory}"))?;
    let number = |account: &Value, key: &str| account[key].as_u64().unwrap_or(u64::MAX);
    let of = |account: &Value| match account["name"].as_str() {
        Some(DRIVER) => Some([number(account, "frames"), number(account, "objects")]),
        Some("module-manager") => Some([0, number(account, "objects")]),
        _ => None,
    };
    Ok(accounts.iter().filter_map(of).collect())
}

/// The new version is started again like any other.
fn killed(console: &Console<'_>, load: &Load) -> Result<()> {
    let restarts = || Ok::<_, anyhow::Error>(entry(console, DRIVER)?["restarts"].as_u64().unwrap_or(0));
    let before = restarts()?;
    ask(console, &format!("kill {DRIVER}"))?;
    until(SERVED, || {
        ensure!(restarts()? > before, "it was not started again");
        Ok(())
    })?;
    runs(console, NEW)?;
    load.wait_for_everyone(GETS_ON)
}

/// The manager dies somewhere in an exchange: it ends in one whole version.
fn manager_dies(console: &Console<'_>, load: &Load, point: u32) -> Result<()> {
    let restarts =
        || Ok::<_, anyhow::Error>(entry(console, "module-manager")?["restarts"].as_u64().unwrap_or(0));
    let before = restarts()?;
    let all = instances(console, DRIVER)?;
    let next = if all.iter().any(|one| one.version == OLD) { NEW } else { OLD };
    console.command(&format!("kill module-manager after={point}"))?;
    // Whatever it answers: it may die before, over or after the order.
    console.command(&format!("update {DRIVER} {next}"))?;
    until(SERVED, || {
        ensure!(restarts()? > before, "the module manager has not died yet");
        Ok(())
    })?;
    // An exchange that goes on is in the way of the next one until it is over.
    until(EXCHANGED, || {
        let refused = refusal(console, &format!("update {DRIVER} 9.9.9"))?;
        ensure!(refused.code == "unknown-module", "{refused}");
        let all = instances(console, DRIVER)?;
        ensure!(all.len() == 1 && all.iter().all(|one| one.at_work), "one driver was to be at work: {all:?}");
        Ok(())
    })?;
    load.wait_for_everyone(GETS_ON)
}

/// The driver runs, alone, in this version.
pub(super) fn runs(console: &Console<'_>, version: &str) -> Result<()> {
    until(SERVED, || {
        let all = instances(console, DRIVER)?;
        let good = all.len() == 1 && all.iter().all(|one| one.at_work && one.version == version);
        ensure!(good, "{DRIVER} {version} alone was to run: {all:?}");
        Ok(())
    })
}
