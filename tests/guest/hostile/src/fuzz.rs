//! Random system calls: plausible and wild arguments mixed, over handles of objects that nobody else needs.
//!
//! A seed determines all of it. A sandbox that kills itself on the way (a thread that it starts where there is no code) is replaced by one with the
//! next seed. Afterwards the kernel is alive, the victim has its share, and all that the sandboxes made is gone with them.

use core::sync::atomic::Ordering::Relaxed;

use crate::loads;
use crate::props::{Gift, Props};
use crate::raw::{self, Registers};
use crate::stage::{RW, Run, Stage};
use hic_abi::ObjectType::{
    Account, Clock, Endpoint, Entropy, IoPorts, Log, Notification, Port, Region, Sandbox,
};
use hic_abi::syscall::Syscall;
use hic_abi::{Error, PAGE_SIZE, Rights, USER_BASE};
use hic_rt::loader::LoadError;
use hic_rt::{log, sys};
use hostile::{Board, End, Expect, Random, Task, outcome};

/// Calls in all.
const CALLS: u64 = if cfg!(feature = "soak") { 10_000_000 } else { 50_000 };
/// Calls of one sandbox.
const ROUND: u64 = if cfg!(feature = "soak") { 50_000 } else { 5000 };
/// Calls between two lines of progress.
const PROGRESS: u64 = 1_000_000;
/// The longest that a sandbox may take, nanoseconds.
const PATIENCE: u64 = 60_000_000_000;
/// One log line in so many that are allowed: the serial line is slow.
const LOG_LINES: u64 = 256;

const ALL: Rights = Rights::all();
const GIFTS: &[Gift] = &[
    Gift::new(1, Account, ALL),
    Gift::new(2, Notification, ALL),
    Gift::new(3, Endpoint, ALL),
    Gift::new(4, Port, ALL),
    Gift::new(5, Region, ALL),
    Gift::new(6, Sandbox, ALL),
    Gift::new(7, IoPorts, ALL),
    Gift::new(8, Entropy, Rights::READ),
    Gift::new(9, Clock, Rights::READ),
    Gift::new(10, Log, Rights::READ),
];

/// The seed: that of the environment when this was built, or 1.
fn seed() -> u64 {
    option_env!("HIC_FUZZ_SEED").and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Makes all the calls.
pub fn run(stage: &mut Stage) -> Result<(), LoadError> {
    let (mut made, mut done, mut deaths, mut round) = (0, 0, 0, 0);
    let mut share = None;
    log!("random system calls, seed {}", seed());
    stage.set_filler(true)?;
    while made < CALLS {
        let mut props = Props::new(stage.source);
        let args = [seed().wrapping_mul(1 << 32).wrapping_add(round), stage.data.1, ROUND];
        let shown = [(stage.data.0, RW)];
        let run = Run {
            task: Task::Fuzz,
            index: 0,
            granted: false,
            args: &args,
            gifts: GIFTS,
            shown: &shown,
            expect: Expect::NoEffect,
        };
        let child = stage.prepare(&run, &mut props)?;
        stage.start(&child, &run)?;
        if share.is_none() {
            share = Some(loads::share(stage)?);
        }
        let end = stage.await_end(&child, PATIENCE)?;
        match end {
            End::Exit(outcome::NO_EFFECT) => {}
            End::Exception { .. } => deaths += 1,
            _ => stage.fail(&"random system calls", &format_args!("round {round} of seed {}: {end}", seed())),
        }
        let before = made / PROGRESS;
        made += stage.board.result(0).max(1);
        done += stage.board.result(1);
        round += 1;
        child.destroy()?;
        props.strike()?;
        if made / PROGRESS != before {
            log!("{made} random system calls");
        }
    }
    let share = share.unwrap_or(0);
    stage.attempted(&"random system calls", Expect::NoEffect, End::Exit(outcome::NO_EFFECT));
    stage.controlled(
        &"random system calls",
        done > made / 50,
        &format_args!("only {done} of {made} were done"),
    );
    stage.controlled(
        &"the victim under random system calls",
        share >= loads::DUE,
        &format_args!("{share} % of its guarantee"),
    );
    log!(
        "selftest: note {made} random system calls, seed {}: {done} done, {deaths} sandboxes killed themselves",
        seed()
    );
    log!("selftest: note under them the victim had {share} % of its guarantee");
    Ok(())
}

/// What the sandbox under trial does.
pub fn act(board: &Board) -> u64 {
    let (mut random, data, calls) = (Random::new(board.arg(0)), board.arg(1), board.arg(2));
    let mut done = 0;
    for call in 0..calls {
        if call.is_multiple_of(32) {
            fill(&mut random, data);
        }
        let Some(registers) = registers(&mut random, data) else { continue };
        board.out[0].store(call + 1, Relaxed);
        // SAFETY: pointers lead to the page of data, to regions that this function made, or where this sandbox can write nothing.
        let (status, ..) = unsafe { raw::call(&registers) };
        done += u64::from(Error::from_status(status).is_ok());
        board.out[1].store(done, Relaxed);
    }
    outcome::NO_EFFECT
}

/// Fills the page of data with words of which specifications, entries and buffers could be made.
fn fill(random: &mut Random, data: u64) {
    // SAFETY: the page of data is mapped here, and nothing of this program lies in it.
    let words = unsafe { core::slice::from_raw_parts_mut(data as *mut u64, (PAGE_SIZE / 8) as usize) };
    for word in words {
        *word = match random.below(8) {
            0..4 => random.below(8),
            4 => random.of(&[16, 32, 64, 128, 1_000_000, 5_000_000], 0),
            5 => random.below(64) | random.below(64) << 32,
            6 => pointer(random, data),
            _ => random.draw(),
        };
    }
}

fn pointer(random: &mut Random, data: u64) -> u64 {
    match random.below(8) {
        0..5 => data + (random.below(PAGE_SIZE) & !7),
        5 => data + random.below(PAGE_SIZE),
        6 => USER_BASE + random.below(1 << 29),
        _ => random.draw(),
    }
}

fn argument(random: &mut Random, data: u64) -> u64 {
    match random.below(16) {
        0..7 => random.below(12),
        7..10 => random.below(80),
        10..12 => pointer(random, data),
        12 => random.below(1 << 9),
        13 => PAGE_SIZE * random.below(20),
        14 => u64::MAX - random.below(16),
        _ => random.draw(),
    }
}

/// The registers of one call; `None` for one that would end the sandbox by its own will, or fill the log.
fn registers(random: &mut Random, data: u64) -> Option<Registers> {
    let number =
        if random.below(64) == 0 { random.draw() } else { random.below(Syscall::ALL.len() as u64 + 1) };
    let mut args = [0; 6];
    for arg in &mut args {
        *arg = argument(random, data);
    }
    // Most calls begin with a handle or two.
    for (arg, slots) in args.iter_mut().zip([12, 64]) {
        if random.below(4) != 0 {
            *arg = random.below(slots);
        }
    }
    // Half of all message words are those of a small message.
    if random.below(2) == 0 && number <= Syscall::ReplyReceive as u64 {
        args[1] = random.below(64) << 32 | random.below(3) << 48;
    }
    let deadline = match random.below(4) {
        0 | 1 => 0,
        2 => sys::now() + random.below(20_000),
        _ => random.below(1 << 20),
    };
    match Syscall::from_number(number) {
        Some(Syscall::Exit) => return None,
        Some(Syscall::LogWrite) if args[2] <= 240 && random.below(LOG_LINES) != 0 => return None,
        Some(Syscall::Wait) => args[1] = deadline,
        _ => {}
    }
    let buffer = if random.below(4) == 0 { pointer(random, data) } else { data + (random.below(2048) & !7) };
    Some(Registers { number, args, deadline, buffer })
}
