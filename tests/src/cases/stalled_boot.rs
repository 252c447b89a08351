//! A host that stalls again and again while the guest boots, and so while it measures its clock: time must go by as it does outside all the same.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::updating::ask;
use crate::qemu::Machine;
use crate::runner::TestContext;
use crate::text;
use crate::vm::{BOOT_TIMEOUT, Console};

/// The guest compares its counters with the PIT for 20 ms, and the PIT goes round in 55: with far less than 20 ms between two stalls there are some in each
/// comparison, and it goes round.
const STALL: Duration = Duration::from_millis(45);
const RUN: Duration = Duration::from_millis(8);
/// For so long the clocks are compared.
const WINDOW: Duration = Duration::from_secs(5);
/// They may differ by so much, per cent: the guest measures over no more than 1.25 ms if it must.
const PER_CENT: u32 = 2;

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let mut vm = context.boot(Machine { paused: true, ..context.machine()? }, None, &[])?;
    vm.qmp().execute("cont", json!({}))?;
    let (deadline, mut stalls) = (Instant::now() + BOOT_TIMEOUT, 0);
    while !vm.serial_text().contains(text::PROMPT) && Instant::now() < deadline {
        vm.check_alive()?;
        vm.stall(STALL)?;
        std::thread::sleep(RUN);
        stalls += 1;
    }
    let console = vm.console()?;
    let first = Look::at(&console)?;
    std::thread::sleep(WINDOW);
    let last = Look::at(&console)?;
    let guest = last.uptime.checked_sub(first.uptime).context("the guest's time went back")?;
    // Each look was somewhere between question and answer.
    let (least, most) = (last.asked - first.answered, last.answered - first.asked);
    context
        .note(format!("{stalls} stalls while it booted; {guest:.2?} in {least:.2?} to {most:.2?} outside"));
    ensure!(
        guest >= least * (100 - PER_CENT) / 100 && guest <= most * (100 + PER_CENT) / 100,
        "{guest:?} went by in the guest and between {least:?} and {most:?} outside"
    );
    vm.check_alive()
}

/// The guest's time, and when it was asked for and told.
struct Look {
    asked: Instant,
    uptime: Duration,
    answered: Instant,
}

impl Look {
    fn at(console: &Console<'_>) -> Result<Self> {
        let asked = Instant::now();
        let uptime = ask(console, "uptime")?["nanoseconds"].as_u64().context("no time")?;
        Ok(Self { asked, uptime: Duration::from_nanos(uptime), answered: Instant::now() })
    }
}
