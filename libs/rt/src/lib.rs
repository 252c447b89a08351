//! What a ring 3 program needs to run: start-up, system calls, heap, logging.
//!
//! | module | what |
//! | --- | --- |
//! | [`start`] | the entry point, the start page, grants by name |
//! | [`sys`] | one safe function for each system call |
//! | [`ipc`] | calls and replies, with retry over a server's death |
//! | [`cap`] | slots: which are free |
//! | [`region`] | shared memory |
//! | [`clock`] | the time without a system call |
//! | [`log`](mod@log) | lines for the system's log |
//! | [`exports`] | which services a program offers |
//! | `note` | which runtime and kernel interface a program was linked with |
//! | `loader` | making and starting instances of modules (feature `loader`) |
//!
//! A program is `hic_rt::entry!(main);` with `fn main(start: &'static StartPage) -> u64`; what `main` returns is its exit code. One that
//! serves others says which services it exports: `hic_rt::entry!(main, exports: [SERVICE]);`.
//! Nothing here knows any service.
#![no_std]

pub mod cap;
pub mod clock;
pub mod exports;
pub mod ipc;
#[cfg(feature = "loader")]
pub mod loader;
pub mod log;
mod note;
pub mod region;
pub mod start;
pub mod sys;

#[cfg(feature = "freestanding")]
mod heap;

pub use exports::Export;
pub use hic_abi as abi;
pub use hic_abi::start::StartPage;
pub use hic_abi::{Error, FOREVER, Handle, MessageInfo, Rights, SELF};
#[cfg(feature = "freestanding")]
pub use hic_mem as mem;
pub use note::IPC_LIB;
