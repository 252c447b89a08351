//! Proof of the storage service: in the module manager's place, this guest asks it for files and records while it is killed at one system call
//! after the other. Each question is answered in the end, no record is lost, and a second boot finds what the first one wrote.
//!
//! | module | what |
//! | --- | --- |
//! | [`service`] | makes the storage service, starts it again when it died |
//! | [`client`] | asks it |
//! | [`scenes`] | what is asked, and what must be answered |
//! | [`failure`] | what went wrong |
#![no_std]
#![no_main]

extern crate alloc;

mod client;
mod failure;
mod scenes;
mod service;

use hic_rt::StartPage;
use hic_stage::conclude;

hic_rt::entry!(main);

fn main(page: &'static StartPage) -> u64 {
    conclude(page, scenes::run(page))
}
