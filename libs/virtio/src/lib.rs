//! A modern virtio PCI function (virtio 1.2, 4.1) as a driver in ring 3 sees it: configuration space word by word, and mapped registers.
//!
//! | module | what |
//! | --- | --- |
//! | [`capability`] | where the register blocks are |
//! | [`block`] | a mapped block of registers |
//! | [`common`] | the common configuration: reset, features, queues |
//!
//! What it must never do: believe a number of the device before it was checked, or wait for the device without a bound.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod block;
pub mod capability;
pub mod common;
