//! A service without authority that tries everything (issue "Core-0", hostile service): forged handles, bad arguments, wild pointers,
//! privileged instructions, exhaustion, floods, leaks.
//!
//! The director, which holds everything, runs each attempt in a sandbox of its own that holds nothing, or only what the attempt is
//! about, and sees by its fault message how it ended. Each attempt has a control: the same with the authority granted, which must succeed.
//!
//! | module | role |
//! | --- | --- |
//! | [`director`] | the table of contents: sets the stage, tries all, counts, compares memory before and after |
//! | [`stage`], [`child`], [`props`] | the sandbox under trial, those beside it, the objects that are worked on |
//! | [`probes`] | each system call with each wrong handle |
//! | [`sweep`] | all system calls with all kinds of bad arguments |
//! | [`code`] | instructions and pointers: what ends in an exception |
//! | [`acts`] | attempts with a function of their own: forging, escalation, limits, memory, messages |
//! | [`registers`] | what of another's registers is left in ours |
//! | [`loads`] | what could take the processor from others, and the victim from whom |
//! | [`fuzz`] | random system calls |
//! | [`beside`] | victim and echo |
#![no_std]
#![no_main]

extern crate alloc;

mod acts;
mod beside;
mod child;
mod code;
mod director;
mod fuzz;
mod loads;
mod probes;
mod props;
mod raw;
mod registers;
mod stage;
mod sweep;

use hic_abi::name_str;
use hic_rt::{StartPage, log, start};
use hic_stage::{DIRECTOR, power_off};
use hostile::{Board, Task, outcome};

hic_rt::entry!(main);

/// Name of the sandbox under trial.
const TRIAL: &str = "trial";
/// Name of the sandbox whose share of the processor is measured.
const VICTIM: &str = "victim";
/// Name of the sandbox that answers calls.
const ECHO: &str = "echo";

/// Name of the sandbox that takes what nobody wants.
const FILLER: &str = "filler";

fn main(page: &'static StartPage) -> u64 {
    match name_str(&page.name) {
        DIRECTOR => direct(page),
        VICTIM => beside::count(board(page)),
        FILLER => beside::fill(),
        ECHO => beside::echo(),
        name if registers::is_secretive(name) => registers::keep_secrets(name),
        _ => try_it(board(page)),
    }
}

fn board(page: &StartPage) -> &'static Board {
    // SAFETY: the director maps the page with the board in each of its children for their whole life.
    unsafe { stage::board_at(start::require(page, child::BOARD).address) }
}

fn try_it(board: &'static Board) -> u64 {
    let Some((task, index, granted)) = board.task() else { return outcome::STRANGE };
    match task {
        Task::Probe => probes::act(index).map_or(outcome::STRANGE, outcome::of),
        Task::Code => {
            code::act(board);
            outcome::DONE
        }
        Task::Registers => registers::act(board, index, granted),
        Task::Load => loads::act(board, index),
        Task::Fuzz => fuzz::act(board),
        Task::Sweep => sweep::act(board),
        Task::Act => acts::perform(board, index, granted),
    }
}

fn direct(page: &'static StartPage) -> u64 {
    match director::run(page) {
        Ok(0) => {
            log!("selftest: PASS");
            power_off(page, false)
        }
        Ok(failures) => {
            log!(
                "selftest: FAIL {failures} attempts or controls did not end as they must: see the lines above"
            );
            power_off(page, true)
        }
        Err(error) => {
            log!("selftest: FAIL {error}");
            power_off(page, true)
        }
    }
}
