//! Devices reach what their drivers map into them and nothing else: a driver that tries (`tests/guest/dma_proof`), and the whole system at work.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::service::wait_until_served;
use super::updating::{NEW, only, update_to, wait_for_module};
use super::{ECHO, PORTS, kill_each, selftest};
use crate::load::{self, DuplexPlan};
use crate::net::Network;
use crate::qemu::Proto;
use crate::runner::TestContext;
use crate::vm::Console;

/// A device that copies between memory and its own buffer, whatever the address.
const EDU: &str = "edu,dma_mask=0xffffffffffffffff";

/// Every connection must get on within this time.
const GETS_ON: Duration = Duration::from_secs(90);

/// The hostile driver with an IOMMU, and without one: there it succeeds, or the first half would prove nothing.
pub(super) fn hostile(context: &mut TestContext) -> Result<()> {
    let mut machine = context.machine()?;
    machine.devices = vec![EDU.to_owned()];
    for (iommu, verdicts) in [
        (true, ["note confined:", "note remapped: an entry of nobody refused"]),
        (false, ["note not confined:", "note not remapped:"]),
    ] {
        machine.iommu = iommu;
        let said = selftest::passes(context, machine.clone())?;
        for verdict in verdicts {
            ensure!(said.contains(verdict), "the guest did not say `{verdict}`");
        }
    }
    Ok(())
}

/// Network, disk, deaths of both drivers and an update of the stack, all of it behind an IOMMU that never had to refuse anything.
pub(super) fn live(context: &mut TestContext) -> Result<()> {
    let network = Network::best()?;
    let mut machine = context.machine()?;
    machine.iommu = true;
    let vm = context.boot(machine, Some(&network), &PORTS)?;
    let console = vm.console()?;
    wait_until_served(&vm, &network, Duration::from_secs(120))?;
    wait_for_module(&console, NEW)?;
    kill_each::warm_up(&vm, &network)?;
    for victim in ["storage", "eth_driver"] {
        let note = kill_each::end_one(&vm, &console, &network, ("kill", victim), true)?;
        context.note(note);
    }
    let load = load::duplex_clients(&network, vm.endpoint(Proto::Tcp, ECHO)?, DuplexPlan::USUAL)?;
    load.wait_for_everyone(GETS_ON)?;
    let update = update_to(&console, NEW)?;
    only(&console, NEW)?;
    load.wait_for_everyone(GETS_ON)?;
    let tally = load.finish()?;
    tally.ensure_no_failure("two-way clients over the update")?;
    context.note(format!("{NEW}: {}; {}", update.summary(), tally.summary()));
    vm.check_alive()?;
    nothing_refused(&console)
}

fn nothing_refused(console: &Console<'_>) -> Result<()> {
    let status = console.json("status --json")?;
    ensure!(status["dma_confined"] == true, "`status` does not say that devices are confined: {status}");
    ensure!(
        status["interrupts_remapped"] == true,
        "`status` does not say that interrupts are remapped: {status}"
    );
    ensure!(status["dma_refused"] == 0, "a device reached for what it was not given: {status}");
    Ok(())
}
