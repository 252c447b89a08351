//! An example application: a guest book over TCP, one line a command. The book's page `applications.md` walks through it.
//!
//! | module | what |
//! | --- | --- |
//! | [`notes`] | the notes, in memory that survives a restart |
//! | [`session`] | one connection: lines in, lines out |
#![no_std]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

#[cfg(test)]
extern crate std;

pub mod notes;
pub mod session;
