//! The monitor's decisions, without I/O and without a clock: events and the time go in, what to do comes out.
//!
//! | module | what |
//! | --- | --- |
//! | [`store`] | the audit records kept over restarts, and what else must outlive one |
//! | [`chain`] | whether the records kept are all of them, in order and unchanged |
//! | [`liveness`] | whom to ask for a sign of life, whom to kill, whom to start again |
//!
//! What it must never do: trust the state region blindly. It may hold anything after a crash, so every number in it is checked before it
//! is used as an index.
#![no_std]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing))]

#[cfg(test)]
extern crate std;

pub mod chain;
pub mod liveness;
pub mod store;
