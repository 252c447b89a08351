//! The console without its hardware: keys become lines, lines become commands, reports become text or JSON.
//!
//! ```text
//!   uart ─bytes─▶ editor ─line─▶ command ─▶ (the binary gathers) ─▶ report ─text─▶ uart
//! ```
//! | module | what |
//! | --- | --- |
//! | [`uart`] | the 16550's registers, behind a trait |
//! | [`editor`] | line editing and history |
//! | [`command`] | what a line asks for |
//! | [`error`] | what is printed instead of an answer |
//! | [`report`] | answers, as text and as JSON |
//!
//! What it must never do: print bytes that came from elsewhere without taking out control characters ([`report::clean`]).
#![no_std]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing))]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod command;
pub mod editor;
pub mod error;
pub mod report;
pub mod uart;
