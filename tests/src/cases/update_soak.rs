//! Update and rollback again and again while hundreds of short connections a second come and go: what goes wrong once in a thousand times
//! goes wrong here.
//!
//! How many rounds is a parameter ([`super::POINTS`]), so that the long run of `cargo xtask soak` is the same test.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::service::{until, wait_until_served};
use super::updating::{NEW, OLD, Update, ask, only, wait_for_module};
use super::{ECHO, PORTS};
use crate::load::{self, EchoPlan, Load};
use crate::net::{Network, check_capture};
use crate::qemu::Proto;
use crate::runner::TestContext;
use crate::vm::Console;

/// So many rounds, unless more are asked for.
const USUAL: usize = 5;

/// Loads of short connections, and how often each of them makes one.
const CONNECTORS: usize = 6;
const INTERVAL: Duration = Duration::from_millis(20);

/// Everybody must get on, and a version serve alone, within this time.
const BACK: Duration = Duration::from_secs(120);

/// The rollback window, seconds: rollbacks are typed before it ends.
const WATCH_S: u32 = 300;

const PLAN: EchoPlan = EchoPlan {
    clients: 20,
    pace: Duration::from_millis(5),
    pause: Duration::from_millis(50),
    sizes: &[64, 4096],
    reconnect: false,
};

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let rounds = super::length(USUAL)?;
    let network = Network::best()?;
    let mut vm = context.boot(context.machine()?, Some(&network), &PORTS)?;
    wait_until_served(&vm, &network, BACK)?;
    wait_for_module(&vm.console()?, NEW)?;
    let capture = context.file("wire.pcap")?;
    vm.start_capture(&capture)?;
    let echo = vm.endpoint(Proto::Tcp, ECHO)?;
    let mut loads = vec![load::echo_clients(&network, echo, PLAN)?];
    for _ in 0..CONNECTORS {
        loads.push(load::steady_connects(&network, echo, INTERVAL)?);
    }
    let console = vm.console()?;
    for round in 0..rounds {
        there_and_back(&console, &loads).with_context(|| format!("round {round} of {rounds}"))?;
    }
    for load in loads {
        let tally = load.finish()?;
        context.note(tally.summary());
        tally.ensure_no_failure("clients")?;
    }
    vm.check_alive()?;
    drop(vm);
    let wire = check_capture(&capture)?;
    context.note(format!("{rounds} rounds over {}; wire: {}", network.describe(), wire.summary()));
    wire.ensure_clean()
}

/// Each way by which a version comes and goes: an update that is rolled back, one that is committed, and one to the version before.
fn there_and_back(console: &Console<'_>, loads: &[Load]) -> Result<()> {
    only(console, OLD)?;
    let update = Update::start(console, NEW, WATCH_S)?;
    update.watched(console)?;
    get_on(loads).context("after the update")?;
    ask(console, "rollback netstack")?;
    ended(console, loads, update, "rolled-back", OLD)?;
    let update = Update::start(console, NEW, 1)?;
    ended(console, loads, update, "completed", NEW)?;
    let update = Update::start(console, OLD, 0)?;
    ended(console, loads, update, "completed", OLD)
}

fn ended(console: &Console<'_>, loads: &[Load], update: Update, outcome: &str, serving: &str) -> Result<()> {
    let status = update.ended(console)?;
    ensure!(status.outcome == outcome && status.lost == 0, "{}", status.summary());
    until(BACK, || only(console, serving))?;
    get_on(loads).with_context(|| status.summary())
}

fn get_on(loads: &[Load]) -> Result<()> {
    loads.iter().try_for_each(|load| load.wait_for_everyone(BACK))
}
