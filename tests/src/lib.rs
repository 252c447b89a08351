//! The host side of the system tests: boots QEMU, types on the console, opens real connections.
//!
//! A library, so that `cargo xtask run`, `test` and `bench` start the very same machine. From the outside in:
//!
//! ```text
//!   runner     which tests there are, who runs when, what is left behind of a failure
//!   cases      the system tests themselves
//!   load       clients with numbered data: they know which byte must come next
//!   net        user networking, or a tap in a network namespace of our own; a lossy wire; DHCP; tshark
//!   vm         one machine: serial line, console, QMP
//!   figures    the kernel's benchmarks, and their limits
//!   backtrace  names for the addresses of a kernel panic
//!   disk       the repository disk: an image that the host reads and writes
//!   process    a running QEMU, and what its exit status means
//!   qemu       the command line
//!   steal      when the host itself had no processors
//! ```
//!
//! What this crate must never do: leave a QEMU, a namespace or a tap behind, wait by sleeping where it could wait for
//! an event, or end a process that it did not start.

pub mod backtrace;
pub mod cases;
pub mod disk;
pub mod figures;
pub mod load;
pub mod net;
pub mod process;
pub mod qemu;
pub mod runner;
pub mod steal;
pub mod text;
pub mod vm;
pub mod workspace;
