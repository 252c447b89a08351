//! Processors with much and with little boot to a page over HTTP and power off; those without what Core-0 needs say what it is. Each type of
//! machine is reset and comes up again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::boot_iso::serves;
use super::tampering::refusal;
use super::updating::ask;
use crate::net::Network;
use crate::process::Outcome;
use crate::qemu::{Board, Machine};
use crate::runner::TestContext;

/// Models that serve, from the least to the most that the emulator knows, and what of it they must say. Under TCG a model has what TCG can emulate of
/// it.
const MODELS: [(&str, &str); 4] = [
    ("qemu64,+rdrand", "processor: smep- smap- umip- pdpe1gb- rdrand+ invtsc-"),
    ("Skylake-Client", "processor: smep+ smap+ "),
    ("EPYC", "processor: smep+ smap+ "),
    ("max", "processor: smep+ smap+ umip+ pdpe1gb+ rdrand+"),
];

/// Models without random numbers: the system comes up, the network does not and says why.
const WITHOUT_NETWORK: [&str; 2] = ["qemu64", "Nehalem"];

/// The network's reason.
const NO_RANDOM_NUMBERS: &str =
    "netstack: cannot start: random numbers of the processor (RDRAND): not-supported";

/// What Core-0 cannot do without, and what it must say.
const UNFIT: [(&str, &str); 3] = [
    ("qemu32", "boot refused: this processor has no 64-bit mode"),
    ("max,-nx", "no pages without execution (NX)"),
    ("max,-apic", "boot refused: this processor has no local APIC"),
];

/// How long a machine may take to come up again.
const AGAIN: Duration = Duration::from_secs(300);

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    for (cpu, said) in MODELS {
        let machine = Machine { cpu: cpu.to_owned(), ..context.machine()? };
        let serial = serves(context, machine).with_context(|| format!("-cpu {cpu}"))?;
        ensure!(serial.contains(said), "-cpu {cpu} did not say `{said}`:\n{serial}");
    }
    for cpu in WITHOUT_NETWORK {
        let machine = Machine { cpu: cpu.to_owned(), ..context.machine()? };
        without_network(context, machine).with_context(|| format!("-cpu {cpu}"))?;
    }
    for (cpu, reason) in UNFIT {
        let machine = Machine { cpu: cpu.to_owned(), ..context.machine()? };
        let said = refusal(context, machine).with_context(|| format!("-cpu {cpu}"))?;
        ensure!(said.contains(reason), "-cpu {cpu} did not say `{reason}`:\n{said}");
    }
    let pc = Machine { board: Board::Pc, ..context.machine()? };
    serves(context, pc).context("i440FX")?;
    for board in [Board::Q35, Board::Pc, Board::Microvm] {
        let machine = Machine { board, ..context.machine()? };
        resets(context, machine).with_context(|| format!("{board:?}"))?;
    }
    let (all, bare, unfit) = (MODELS.len(), WITHOUT_NETWORK.len(), UNFIT.len());
    context.note(format!(
        "{all} processors serve, {bare} boot without a network, {unfit} are refused with the reason"
    ));
    Ok(())
}

/// Boots `machine`, waits for the reason, and switches off.
fn without_network(context: &mut TestContext, machine: Machine) -> Result<()> {
    let vm = context.boot(machine, Some(&Network::User), &[])?;
    let console = vm.console()?;
    vm.serial().wait(0, AGAIN, |seen| seen.contains(NO_RANDOM_NUMBERS).then_some(()))?;
    ask(&console, "status")?;
    console.type_line("shutdown")?;
    let outcome = vm.wait_exit(AGAIN)?;
    ensure!(outcome == Outcome::PowerOff, "`shutdown`: {outcome}");
    Ok(())
}

/// Boots `machine`, has it reset, and waits until it boots again.
pub(super) fn resets(context: &mut TestContext, machine: Machine) -> Result<()> {
    let vm = context.boot(Machine { reboot: true, ..machine }, None, &[])?;
    vm.console()?.type_line("reboot")?;
    vm.serial().wait(0, AGAIN, |seen| (seen.matches("keeper: ").count() >= 2).then_some(())).context("reset")
}
