//! A service without authority tries everything; whatever is not refused fails the test by its name.
//!
//! Under `-icount`, so that the victim's share of the processor is the same number on every host. What the processor enforces and no sandbox can
//! see, because the kernel never follows a user's pointer, is read from its control registers instead.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::selftest;
use crate::qemu::{Machine, Net};
use crate::runner::TestContext;
use crate::text;
use crate::vm::Vm;

/// Printed by the guest after its first group of attempts: the kernel has long set everything up.
const RUNNING: &str = "selftest: note wrong handles";

/// How the guest begins the line of an attempt or a control that did not end as it must.
const NOT_REFUSED: &str = "not refused: ";

/// The kernel's last words.
const PANIC: &str = "kernel panic";

/// How long the boot and the first attempts may take.
const BOOT: Duration = Duration::from_secs(600);

/// Of so many such lines the test speaks itself; all are in the log.
const MOST_FAILURES: usize = 40;

/// Bits of control registers that must be set or clear while ring 3 runs (SDM vol. 3A, 2.5 and 2.2.1).
const BITS: [(&str, u32, bool, &str); 9] = [
    ("CR0", 16, true, "write protection of read-only pages in ring 0"),
    ("CR4", 8, false, "performance counters for ring 3"),
    ("CR4", 11, true, "UMIP"),
    ("CR4", 16, false, "segment bases set by ring 3"),
    ("CR4", 18, false, "register state that the kernel does not save"),
    ("CR4", 20, true, "SMEP"),
    ("CR4", 21, true, "SMAP"),
    ("EFER", 0, true, "system calls"),
    ("EFER", 11, true, "pages that are not executable"),
];

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let machine = machine(context.machine()?);
    let mut vm = context.boot(machine, None, &[])?;
    check_processor(&mut vm)?;
    selftest::passed(context, &vm).map(drop).map_err(|error| error.context(failures(&vm.serial_text())))
}

/// The machine on which the hostile service is tried.
#[must_use]
pub fn machine(mut machine: Machine) -> Machine {
    machine.icount = true;
    // The guest works on the network card as a device with interrupts and registers; nobody sends anything.
    machine.net = Net::User(Vec::new());
    machine
}

/// Looks at the control registers once ring 3 runs.
fn check_processor(vm: &mut Vm) -> Result<()> {
    vm.wait_for(RUNNING, BOOT).context("no verdict")?;
    let dump = vm.qmp().execute("human-monitor-command", json!({ "command-line": "info registers" }))?;
    check_registers(dump.as_str().unwrap_or_default())
}

/// Watches a machine until it says that something was not refused, or dies, or passes: an error with what it said, if that has `reason` in it
/// or nothing follows within `limit`.
pub fn watch(vm: &mut Vm, reason: &str, limit: Duration) -> Result<()> {
    check_processor(vm)?;
    let verdict = vm.serial().wait(0, limit, |seen| {
        let said = failures(seen);
        let over = seen.contains(selftest::PASS) || seen.contains(selftest::FAIL);
        (over || said.contains(reason)).then_some(said)
    });
    let said = verdict.with_context(|| format!("no verdict; {}", failures(&vm.serial_text())))?;
    ensure!(said.is_empty(), "{said}");
    Ok(())
}

/// What the guest said of each attempt and each control that did not end as it must, and the kernel's last words.
fn failures(serial: &str) -> String {
    let told = |line| {
        let said = text::logged(line);
        said.strip_prefix(NOT_REFUSED).or_else(|| said.contains(PANIC).then_some(said))
    };
    let mut lines = text::lines(serial);
    // The last one may be under way.
    lines.pop();
    let mut lines = lines.into_iter().filter_map(told);
    let first: Vec<&str> = lines.by_ref().take(MOST_FAILURES).collect();
    match lines.count() {
        0 => first.join("\n"),
        more => format!("{}\nand {more} more", first.join("\n")),
    }
}

fn check_registers(dump: &str) -> Result<()> {
    for (name, bit, set, what) in BITS {
        let value = register(dump, name).with_context(|| format!("no {name} in {dump}"))?;
        ensure!(
            (value >> bit & 1 == 1) == set,
            "hostile: {what}: bit {bit} of {name} ({value:#x}) must be {set}"
        );
    }
    Ok(())
}

/// The value of a register in QEMU's dump: `CR4=00370ea0`.
fn register(dump: &str, name: &str) -> Option<u64> {
    let words = dump.split_whitespace();
    let value = words.filter_map(|word| word.split_once('=')).find(|(found, _)| *found == name)?.1;
    u64::from_str_radix(value, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "CR0=80010033 CR2=0000000000000000 CR3=0000000000201000 CR4=003006a0\nEFER=0000000000000d01";

    #[test]
    fn each_failure_is_named() {
        let serial = "[    1.000000] keeper: not refused: hlt: it was done; it must die\r\n[    1.000001] keeper: other\r\n";
        assert_eq!(failures(serial), "hlt: it was done; it must die");
        assert!(failures(&serial.repeat(MOST_FAILURES + 2)).ends_with("and 2 more"));
    }

    #[test]
    fn the_control_registers_are_read_from_the_monitor_s_text() {
        assert_eq!((register(GOOD, "CR4"), register(GOOD, "CR8")), (Some(0x3006a0), None));
        assert!(check_registers(&GOOD.replace("CR4=003006a0", "CR4=00300ea0")).is_ok());
        // Without UMIP, without SMEP, without EFER.NXE, without a register.
        assert!(check_registers(GOOD).is_err());
        assert!(check_registers(&GOOD.replace("CR4=003006a0", "CR4=00200ea0")).is_err());
        assert!(check_registers("CR0=80010033").is_err());
    }
}
