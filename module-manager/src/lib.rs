//! The module manager's decisions, apart from system calls: what it remembers of each service and when it starts one again.
//!
//! | module | what |
//! | --- | --- |
//! | [`describe`] | what a module is, gets and is denied, in words |
//! | [`install`] | whether a module may join those that run, or leave them |
//! | [`admission`] | whether a module is used, by what the metadata says of it |
//! | [`kept`] | which module goes to the system disk next, and where |
//! | [`mirrors`] | which of several places has the metadata that counts |
//! | [`journal`] | the records that outlive a restart of the manager itself |
//! | [`patience`] | how long a question to a service may stay open |
//! | [`plan`] | what an update would do, in words |
//! | [`policy`] | whether a service that died is started again |
//! | [`report`] | the lines that whoever follows an update or a task is told |
//! | [`shares`] | with which share of the processor an instance runs |
//! | [`rollout`] | the steps of a plan, one after the other, and back |
//! | [`turns`] | whose turn it is to use the network |
//!
//! Nothing here performs I/O or reads a clock.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod admission;
pub mod describe;
pub mod install;
pub mod journal;
pub mod kept;
pub mod mirrors;
pub mod patience;
pub mod plan;
pub mod policy;
pub mod report;
pub mod rollout;
pub mod shares;
pub mod turns;
