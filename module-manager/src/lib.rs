//! The module manager's decisions, apart from system calls: what it remembers of each service and when it starts one again.
//!
//! | module | what |
//! | --- | --- |
//! | [`journal`] | the records that outlive a restart of the manager itself |
//! | [`policy`] | whether a service that died is started again |
//!
//! Nothing here performs I/O or reads a clock.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod journal;
pub mod policy;
