//! Random runs, and what is left of one that failed.

use super::generate::{Generator, WEIGHTS};
use super::lab::{Lab, MANAGER, Op};
use crate::tests::arguments::Random;
use hic_abi::syscall::Syscall;
use std::boxed::Box;
use std::collections::VecDeque;
use std::format;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::string::String;
use std::time::{Duration, Instant};
use std::vec::Vec;

/// Steps with one pair of worlds.
const RUN: usize = 800;
/// Steps when the environment says nothing.
const STEPS: u64 = 25_600;
/// How long a failing list is made shorter.
const PATIENCE: Duration = Duration::from_secs(20);

/// A run that failed: its seed, its steps with their numbers, and what differed.
struct Failure {
    seed: u64,
    ops: Vec<(u32, Op)>,
    what: String,
}

/// By call: how often it was made, and accepted.
struct Tally {
    calls: [(u64, u64); Syscall::ALL.len()],
    /// Calls that took the fast path.
    fast: u64,
    /// Changes of the running thread, where the model says who runs.
    changes: u64,
    /// Steps that were done, and in how many runs not all of them.
    steps: u64,
    short: u64,
    /// Calls that were made again for another part.
    parts: u64,
}

impl Tally {
    fn count(&mut self, lab: &Lab) {
        self.steps += 1;
        self.short += u64::from(lab.over);
        let Some((number, accepted)) = lab.last else { return };
        let Some(tally) = self.calls.get_mut(number as usize) else { return };
        tally.0 += 1;
        tally.1 += u64::from(accepted);
    }
}

/// Does one step; a panic is a disagreement like any other.
fn step(lab: &mut Lab, (number, op): &(u32, Op)) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| lab.step(*number, op))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| String::from(*text)));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}

fn run(seed: u64, steps: usize, tally: &mut Tally) -> Result<(), Box<Failure>> {
    let mut lab = Lab::new(has_turns(seed), is_confined(seed));
    let mut generator = Generator { random: Random(seed), planned: VecDeque::new() };
    let mut ops = Vec::new();
    for number in 0..steps {
        ops.push((number as u32, generator.next(&lab)));
        let op = ops.last().expect("just pushed");
        step(&mut lab, op).map_err(|what| Box::new(Failure { seed, ops: ops.clone(), what }))?;
        tally.count(&lab);
        if lab.over {
            break;
        }
    }
    tally.parts += lab.parts;
    tally.changes += lab.model.turns.changes;
    tally.fast += lab.w.k.counters.fast_calls;
    Ok(())
}

/// How many of these steps it takes until both differ, and how.
fn fails(seed: u64, ops: &[(u32, Op)]) -> Option<(usize, String)> {
    let mut lab = Lab::new(has_turns(seed), is_confined(seed));
    ops.iter().enumerate().find_map(|(n, op)| step(&mut lab, op).err().map(|what| (n + 1, what)))
}

/// In every other run the model says who runs; in the others any ready thread makes the next call, which reaches more states.
fn has_turns(seed: u64) -> bool {
    seed.is_multiple_of(2)
}

/// In every other pair of runs the machine has an IOMMU.
fn is_confined(seed: u64) -> bool {
    (seed / 2).is_multiple_of(2)
}

/// What a disagreement is about, without its numbers: shrinking must not slip to another one.
fn sort(what: &str) -> String {
    what.split(": ").next().unwrap_or(what).chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// Leaves out whatever can be left out: halves, quarters, ... single steps.
fn shrink(failure: &mut Failure) {
    let began = Instant::now();
    let mut size = failure.ops.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < failure.ops.len() && began.elapsed() < PATIENCE {
            let end = (at + size).min(failure.ops.len());
            let without: Vec<(u32, Op)> = [&failure.ops[..at], &failure.ops[end..]].concat();
            match fails(failure.seed, &without) {
                Some((length, what)) if sort(&what) == sort(&failure.what) => {
                    failure.ops = without[..length].to_vec();
                    failure.what = what;
                }
                _ => at = end,
            }
        }
        size /= 2;
    }
}

impl Failure {
    fn report(mut self) -> ! {
        let steps = self.ops.len();
        if setting("HIC_MODEL_NO_SHRINK").is_none() {
            shrink(&mut self);
        }
        let mut text =
            format!("seed {} differs at step {steps}: {}\nwhat is needed for it:\n", self.seed, self.what);
        for (number, op) in &self.ops {
            text.push_str(&format!("  {number}: {}\n", show(op)));
        }
        panic!("{text}");
    }
}

/// A step as a line, without the bytes that it writes.
fn show(op: &Op) -> String {
    let Op::Call(call) = op else { return format!("{op:?}") };
    let name = Syscall::from_number(call.number);
    let writes: Vec<(u64, usize)> = call.writes.iter().map(|(at, bytes)| (*at, bytes.len())).collect();
    let who = if call.who == MANAGER { "manager".into() } else { format!("thread of {}", call.who) };
    format!("{who}: {name:?} {:x?} writes {writes:?}", call.words)
}

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// `HIC_MODEL_STEPS` and `HIC_MODEL_SEED` make it longer and start it elsewhere.
#[test]
fn the_kernel_does_what_the_model_does() {
    let steps = setting("HIC_MODEL_STEPS").unwrap_or(STEPS);
    let first = setting("HIC_MODEL_SEED").unwrap_or(1);
    let mut tally =
        Tally { calls: [(0, 0); Syscall::ALL.len()], fast: 0, changes: 0, steps: 0, short: 0, parts: 0 };
    for seed in first.. {
        if tally.steps >= steps {
            break;
        }
        if let Err(failure) = run(seed, RUN, &mut tally) {
            failure.report();
        }
    }
    let (made, accepted) = tally.calls.iter().fold((0, 0), |sum, call| (sum.0 + call.0, sum.1 + call.1));
    let Tally { fast, changes, steps: done, short, parts, .. } = tally;
    std::println!(
        "{done} steps ({short} runs ended early), {made} system calls, {accepted} accepted, {fast} on the fast path, \
         {changes} changes of the running thread, {parts} calls that came back for another part: no difference"
    );
    assert!(steps < STEPS || fast > 10, "the fast path was taken {fast} times");
    assert!(steps < STEPS || parts > 2, "{parts} calls were long");
    for (call, _) in WEIGHTS {
        let accepted = tally.calls[call as usize].1;
        assert!(steps < STEPS || accepted >= 2, "{call:?} was accepted {accepted} times");
    }
}
