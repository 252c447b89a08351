//! Measures Core-0's operations in guest instructions, with 100 sandboxes and 10,000 ports alive.
//!
//! Under `-icount shift=0` the time-stamp counter advances by one an instruction (facts, "Measuring"), so one operation is measured
//! exactly, stubs included, and a figure is the median of many. Prints `bench NAME VALUE UNIT` lines, then `bench done`. Names are
//! never changed: reports of different years are compared.
//!
//! | module | role |
//! | --- | --- |
//! | [`director`] | the first sandbox: makes the one that measures, whose space holds 65,536 slots |
//! | [`suite`] | the table of contents of what is measured |
//! | [`meter`] | the clock, its overhead, the report's lines |
//! | [`crowd`] | the sandboxes, ports and callers that are there meanwhile |
//! | [`messages`], [`capabilities`], [`mapped`], [`switching`], [`pages`] | the measurements |
//! | [`partners`] | the other side of calls, signals and turns |
#![no_std]
#![no_main]

extern crate alloc;

mod capabilities;
mod crowd;
mod director;
mod growth;
mod interrupts;
mod lives;
mod mapped;
mod messages;
mod meter;
mod pages;
mod partners;
mod suite;
mod switching;

use hic_abi::name_str;
use hic_rt::{StartPage, log};
use hic_stage::{DIRECTOR, power_off};

hic_rt::entry!(main);

fn main(page: &'static StartPage) -> u64 {
    match name_str(&page.name) {
        DIRECTOR => {
            if let Err(error) = director::run(page) {
                log!("bench failed: {error}");
            }
            power_off(page, true)
        }
        director::BENCH => match suite::run(page) {
            Ok(()) => {
                log!("bench done");
                power_off(page, false)
            }
            Err(error) => {
                log!("bench failed: {error}");
                power_off(page, true)
            }
        },
        partners::ECHO => partners::echo(page),
        partners::DRIVER => interrupts::drive(page),
        partners::SIGNALLER => partners::signal_back(page),
        _ => partners::take_turns(),
    }
}
