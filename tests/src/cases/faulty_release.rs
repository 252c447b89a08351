//! Four releases that go wrong in four ways: each ends in the version before it, by itself, with every connection alive.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::service::{until, wait_until_served};
use super::updating::{NEW, OLD, Update, ask, last_note, notes, only, update_to, wait_for_module};
use super::{ECHO, PORTS, memory};
use crate::load::{self, DuplexPlan, Load};
use crate::net::Network;
use crate::qemu::Proto;
use crate::runner::TestContext;
use crate::vm::{Console, Vm};

/// A release that goes wrong.
struct Faulty {
    version: &'static str,
    does: &'static str,
    /// The code of the reason for which the update goes back.
    reason: &'static str,
    /// A line that the report begins with for the step in which it goes wrong, and one for a step that it never comes to.
    comes_to: &'static str,
    never: &'static str,
    /// Whether connections have moved by then.
    moves: bool,
}

const FAULTY: [Faulty; 4] = [
    Faulty {
        version: "1.3.1",
        does: "crashes on start",
        reason: "instance-died",
        comes_to: "step 3/9 warm up",
        never: "step 4/9",
        moves: false,
    },
    Faulty {
        version: "1.3.2",
        does: "hangs",
        reason: "instance-hangs",
        comes_to: "step 3/9 warm up",
        never: "step 4/9",
        moves: false,
    },
    Faulty {
        version: "1.3.3",
        does: "crashes in the middle of migration",
        reason: "instance-died",
        comes_to: "step 4/9 migrate",
        never: "step 5/9",
        moves: true,
    },
    Faulty {
        version: "1.3.4",
        does: "fails its health check after the switch",
        reason: "unhealthy",
        comes_to: "step 6/9 validate",
        never: "step 8/9",
        moves: true,
    },
];

/// Rollback window, seconds: long enough for the health check that fails in it.
const WATCH_S: u32 = 10;

/// Memory must be back within this time. The connections stay, so nothing has to expire first.
const BASELINE: Duration = Duration::from_secs(120);

/// Every connection must get on within this time.
const GETS_ON: Duration = Duration::from_secs(90);

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let network = Network::best()?;
    context.note(format!("over {}", network.describe()));
    let vm = context.boot(context.machine()?, Some(&network), &PORTS)?;
    let console = vm.console()?;
    wait_until_served(&vm, &network, Duration::from_secs(120))?;
    for release in &FAULTY {
        wait_for_module(&console, release.version)?;
    }
    wait_for_module(&console, NEW)?;
    let echo = vm.endpoint(Proto::Tcp, ECHO)?;
    let load = load::duplex_clients(&network, echo, DuplexPlan::USUAL)?;
    load.wait_for_everyone(GETS_ON)?;
    for release in &FAULTY {
        let note = one_release(&vm, &console, &network, &load, release);
        context.note(format!(
            "{}, which {}: {}",
            release.version,
            release.does,
            note.context(release.version)?
        ));
    }
    let good = update_to(&console, NEW).context("the good release afterwards")?;
    only(&console, NEW)?;
    load.wait_for_everyone(GETS_ON)?;
    let tally = load.finish()?;
    tally.ensure_no_failure("two-way clients")?;
    vm.check_alive()?;
    context.note(format!("{NEW} afterwards: {}; {}", good.summary(), tally.summary()));
    Ok(())
}

fn one_release(
    vm: &Vm,
    console: &Console<'_>,
    network: &Network,
    load: &Load,
    release: &Faulty,
) -> Result<String> {
    let before = memory::settled(console)?;
    let last = last_note(console)?;
    let status = Update::start(console, release.version, WATCH_S)?.ended(console)?;
    ensure!(status.outcome == "rolled-back" && status.reason == release.reason, "{}", status.summary());
    ensure!(status.lost == 0 && (status.moved > 0) == release.moves, "{}", status.summary());
    let report = ask(console, "update status")?;
    let lines = report["lines"].as_array().with_context(|| format!("no report in {report}"))?;
    let came_to =
        |step: &str| lines.iter().any(|line| line.as_str().is_some_and(|line| line.starts_with(step)));
    ensure!(came_to(release.comes_to) && !came_to(release.never), "it went wrong elsewhere: {lines:?}");
    until(GETS_ON, || {
        let newer = notes(console)?.into_iter().filter(|(sequence, _)| *sequence > last);
        let notes: Vec<String> = newer.map(|(_, text)| text).collect();
        let told = |words: &str| notes.iter().any(|note| note.starts_with(words));
        ensure!(told("update rolled-back in ") && told("items given up: 0"), "the audit log has {notes:?}");
        Ok(())
    })?;
    only(console, OLD)?;
    load.wait_for_everyone(GETS_ON)?;
    wait_until_served(vm, network, GETS_ON)?;
    let settled = memory::wait_for_baseline(console, &before, BASELINE)?;
    Ok(format!("{}; memory as before after {settled:.1?}", status.summary()))
}
