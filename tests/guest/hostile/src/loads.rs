//! What could take the processor, the memory or the servers from others, and the victim from whom it would be taken.
//!
//! A load runs above the victim, with a budget of its own, and beyond that budget it has whatever nobody else wants: the processor is never
//! idle. The victim has half of it and stops there, so what it does in a while is its guarantee, with a load and without one.
//! The control of a load is that it got on with what it does.

mod kinds;

use core::fmt;
use core::sync::atomic::Ordering::Relaxed;

use crate::props::Props;
use crate::stage::{Run, Stage, VICTIM_SHARE};
use hic_abi::Handle;
use hic_abi::inspect::{SandboxInfo, What};
use hic_rt::loader::{LoadError, at, new_slot};
use hic_rt::{cap, log, start, sys};
use hostile::{Board, End, Expect, Task};
pub use kinds::LOADS;

/// How long the victim is measured, nanoseconds: many of its periods, so that where they begin does not matter.
const WINDOW: u64 = 40 * VICTIM_SHARE.period;
/// How long a load runs before.
const WARM_UP: u64 = 4 * VICTIM_SHARE.period;
/// Nanoseconds of the processor that the victim is guaranteed in that time.
const GUARANTEE: u64 = WINDOW / VICTIM_SHARE.period * VICTIM_SHARE.budget;
/// Of a hundred parts of its guarantee the victim must get this many.
pub const DUE: u64 = 95;

/// What the sandbox under trial does, until it is frozen.
pub fn act(board: &Board, index: usize) -> u64 {
    LOADS.get(index).map_or(hostile::outcome::STRANGE, |load| (load.act)(board))
}

/// What the victim did.
#[derive(Clone, Copy)]
struct Work {
    /// Turns of its loop.
    turns: u64,
    /// Nanoseconds of the processor.
    nanos: u64,
}

impl Work {
    /// As parts of a hundred of what it must be, whichever is less.
    fn share_of(self, guarantee: Self) -> u64 {
        let parts = |is: u64, of: u64| (is * 100).checked_div(of).unwrap_or(0);
        parts(self.turns, guarantee.turns).min(parts(self.nanos, guarantee.nanos))
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} turns in {} us", self.turns, self.nanos / 1000)
    }
}

/// Tries all of them.
pub fn run(stage: &mut Stage) -> Result<(), LoadError> {
    stage.set_filler(true)?;
    sleep(stage, WARM_UP)?;
    let alone = measure(stage)?;
    stage.set_filler(false)?;
    let guarantee = Work { turns: alone.turns, nanos: GUARANTEE };
    stage.controlled(&"the victim alone", alone.share_of(guarantee) >= DUE, &alone);
    let mut least = (u64::MAX, "");
    for (index, load) in LOADS.iter().enumerate() {
        let mut props = Props::new(stage.source);
        let run = Run {
            task: Task::Load,
            index,
            granted: false,
            args: &[stage.data.1],
            gifts: load.gifts,
            shown: &[],
            expect: Expect::NoEffect,
        };
        let child = stage.prepare(&run, &mut props)?;
        let quiet = Quiet::new(stage)?;
        stage.start(&child, &run)?;
        sleep(stage, WARM_UP)?;
        let before = stage.board.count.load(Relaxed);
        let work = measure(stage)?;
        let done = stage.board.count.load(Relaxed) - before;
        let frozen = sys::sandbox_freeze(child.sandbox(), 1).is_ok();
        let end = stage.await_end(&child, 0)?;
        quiet.end();
        let share = work.share_of(guarantee);
        least = least.min((share, load.name));
        log!("victim at {share} % of its guarantee under: {} ({work}; load {done})", load.name);
        stage.tally.attempts += 1;
        if share < DUE {
            stage.fail(&load.name, &format_args!("the victim got {share} % of its guarantee: {work}"));
        }
        stage.controlled(
            &load.name,
            frozen && done > 0 && end == End::Frozen,
            &format_args!("{end}, {done} done"),
        );
        child.destroy()?;
        props.strike()?;
    }
    log!("selftest: note victim alone: {alone}; least: {} % of its guarantee, under: {}", least.0, least.1);
    Ok(())
}

/// How much of its guarantee the victim gets now, parts of a hundred of the processor's time.
pub fn share(stage: &Stage) -> Result<u64, LoadError> {
    measure(stage).map(|work| work.nanos * 100 / GUARANTEE)
}

/// While somebody watches the log, the kernel does not print its lines: a flood of them would fill the serial line.
struct Quiet(Handle);

impl Quiet {
    fn new(stage: &Stage) -> Result<Self, LoadError> {
        let slot = new_slot()?;
        sys::create_notification(stage.account, slot).map_err(at("notification"))?;
        sys::log_watch(start::require(stage.page, "log").slot, slot, 1).map_err(at("watch the log"))?;
        Ok(Self(slot))
    }

    fn end(self) {
        cap::drop_slot(self.0);
    }
}

/// Nobody calls the director meanwhile: it waits for a notification that nobody has.
fn sleep(stage: &Stage, nanos: u64) -> Result<(), LoadError> {
    let slot = new_slot()?;
    sys::create_notification(stage.account, slot).map_err(at("notification"))?;
    let _ = sys::wait(slot, sys::now() + nanos);
    cap::drop_slot(slot);
    Ok(())
}

fn measure(stage: &Stage) -> Result<Work, LoadError> {
    let before = work(stage)?;
    sleep(stage, WINDOW)?;
    let after = work(stage)?;
    Ok(Work { turns: after.turns - before.turns, nanos: after.nanos - before.nanos })
}

fn work(stage: &Stage) -> Result<Work, LoadError> {
    let audit = start::require(stage.page, "audit").slot;
    let mut index = 0;
    loop {
        let info: SandboxInfo =
            sys::inspect(audit, What::Sandbox, index).map_err(at("inspect the victim"))?;
        if info.serial == stage.victim_serial() {
            return Ok(Work { turns: stage.victim_board.count.load(Relaxed), nanos: info.cpu_nanos });
        }
        index += 1;
    }
}
