//! Four releases that go wrong in four ways: each ends in the version before it, by itself, with every connection alive.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::service::wait_until_served;
use super::updating::{NEW, OLD, Update, only, update_to, wait_for_module};
use super::{ECHO, PORTS, memory};
use crate::load::{self, DuplexPlan, Load};
use crate::net::Network;
use crate::qemu::Proto;
use crate::runner::TestContext;
use crate::vm::{Console, Vm};

/// The versions, and what each does.
const FAULTY: [(&str, &str); 4] = [
    ("1.3.1", "crashes on start"),
    ("1.3.2", "hangs"),
    ("1.3.3", "crashes in the middle of migration"),
    ("1.3.4", "fails its health check after the switch"),
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
    for (version, _) in FAULTY {
        wait_for_module(&console, version)?;
    }
    wait_for_module(&console, NEW)?;
    let echo = vm.endpoint(Proto::Tcp, ECHO)?;
    let load = load::duplex_clients(&network, echo, DuplexPlan::USUAL)?;
    load.wait_for_everyone(GETS_ON)?;
    for (version, fault) in FAULTY {
        let note = one_release(&vm, &console, &network, &load, version);
        context.note(format!("{version}, which {fault}: {}", note.context(version)?));
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
    version: &str,
) -> Result<String> {
    let before = memory::settled(console)?;
    let status = Update::start(console, version, WATCH_S)?.ended(console)?;
    ensure!(["rolled-back", "refused"].contains(&status.outcome.as_str()), "{}", status.summary());
    ensure!(!status.reason.is_empty(), "no reason: {}", status.summary());
    ensure!(status.lost == 0, "{}", status.summary());
    only(console, OLD)?;
    load.wait_for_everyone(GETS_ON)?;
    wait_until_served(vm, network, GETS_ON)?;
    let settled = memory::wait_for_baseline(console, &before, BASELINE)?;
    Ok(format!("{}; memory as before after {settled:.1?}", status.summary()))
}
