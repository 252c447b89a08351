//! Core-0: the capability microkernel of HIC.
//!
//! Principles:
//! - *Core-0 knows mechanisms only*: accounts, sandboxes, regions, capabilities, endpoints, ports, threads, interrupts, the audit
//!   log. What a module, a version, a connection or an update is, it does not know.
//! - *One processor, one kernel stack, run to completion, interrupts off inside.* Every entry ends by choosing a context to resume.
//! - *No allocation after boot.* Objects live in fixed pools; memory is charged to accounts.
//! - *All input is hostile.* Handles, addresses and lengths are checked where they enter ([`syscall`]); an error leaves no trace.
//!
//! ```text
//!   arch (binary): entry ─▶ Kernel::syscall / interrupt / timer / exception
//!                              ├─▶ call and answer, when nothing else is due  [fastpath]
//!                              │ decode, look up capabilities                 [syscall], [caps]
//!                              ├─▶ capabilities: copy, move, delete, revoke   [grants]
//!                              ├─▶ messages: ports, endpoints, notifications  [ipc], [notify]
//!                              ├─▶ switch transactions                        [switch]
//!                              ├─▶ memory: accounts, regions, frames          [memory], [frames]
//!                              ├─▶ what is mapped where                       [mapping], [paging], [channel]
//!                              ├─▶ lives: create, freeze, reset, destroy      [create], [freeze], [life]
//!                              ├─▶ devices, and what they reach               [device], [dma], [iommu]
//!                              ├─▶ which interrupts they raise, what was refused [remap], [refusals]
//!                              └─▶ audit, log, inspection                     [audit], [log], [inspect]
//!          exit ◀─ Kernel::choose_next: who runs now                  [sched], [budget], [timers]
//!              ◀─ Kernel::next_in_line: the same where it is simple                       [line]
//! ```
//!
//! The library compiles for the host, where the tests drive it on simulated memory; the binary adds `arch`, the only part
//! that touches the processor.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod audit;
pub mod bitmap;
pub mod boot;
pub mod budget;
pub mod caps;
pub mod channel;
pub mod config;
pub mod context;
pub mod create;
pub mod device;
pub mod dma;
pub mod fastpath;
pub mod frames;
pub mod freeze;
pub mod grants;
pub mod inspect;
pub mod iommu;
pub mod ipc;
pub mod kernel;
pub mod life;
pub mod line;
pub mod list;
pub mod log;
pub mod machine;
pub mod mapping;
pub mod memory;
pub mod notify;
pub mod objects;
pub mod paging;
pub mod pool;
pub mod refusals;
pub mod remap;
pub mod sched;
pub mod switch;
pub mod syscall;
#[cfg(test)]
mod tests;
pub mod timers;
pub mod user;

pub use kernel::{Kernel, arena_need};
pub use sched::Next;
