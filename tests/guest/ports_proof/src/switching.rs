//! Scene one: the port goes back and forth between two servers while the client counts through it.

use crate::director::Director;
use core::sync::atomic::Ordering::Relaxed;
use hic_rt::{log, sys};
use hic_stage::Failure;

/// How often the port is switched.
const SWITCHES: u64 = 1_000_000;
/// How often progress is told.
const STEP: u64 = 100_000;

/// Switches, and lets the others run after each switch.
pub fn run(director: &mut Director) -> Result<(), Failure> {
    let begin = sys::now();
    for n in 1..=SWITCHES {
        director.switch((n & 1) as usize)?;
        sys::yield_now();
        if n.is_multiple_of(STEP) {
            let millis = (sys::now() - begin) / 1_000_000;
            log!("{n} switches, {} calls, {millis} ms", director.board.calls.load(Relaxed));
        }
    }
    director.let_count(1)?;
    let calls = director.board.calls.load(Relaxed);
    log!("selftest: note {SWITCHES} switches under {calls} calls");
    Ok(())
}
