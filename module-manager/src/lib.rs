//! The module manager's decisions, apart from system calls: what it remembers of each service and when it starts one again.
//!
//! | module | what |
//! | --- | --- |
//! | [`install`] | whether a module may join those that run, or leave them |
//! | [`journal`] | the records that outlive a restart of the manager itself |
//! | [`patience`] | how long a question to a service may stay open |
//! | [`plan`] | what an update would do, in words |
//! | [`policy`] | whether a service that died is started again |
//!
//! Nothing here performs I/O or reads a clock.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod admission;
pub mod install;
pub mod journal;
pub mod patience;
pub mod plan;
pub mod policy;
