//! The interface `tcp@1` / `udp@1` between an application and the network stack.
//!
//! For each socket an application holds a *port* (to command whoever serves it) and a *data region* (rings that both
//! sides map). This crate is the whole contract: both sides link it, and neither has another way to talk. It does no
//! I/O: it turns typed commands into `(label, words)` and back, and it moves bytes in memory that its caller mapped.
//!
//! What it must never do: trust a number that the other side can write. Every index is read once, checked against what
//! this side already knows, and only then used; a wrong one is an error value, never a panic and never an access outside
//! the region.
//!
//! ```text
//!   application                                   stack
//!   ───────────                                   ─────
//!   message::tcp / udp  ── call on a port ──────▶ decode, judge(sequence), act, reply
//!   AppSide::write      ── tx ring ─────────────▶ StackSide::copy_tx
//!   AppSide::read       ◀─ rx ring ────────────── StackSide::write_rx
//!   signal on the port  ── only if StackSide armed ▶ conn_kicked
//!   own notification    ◀─ only if AppSide sleeps ─ notify
//! ```
//!
//! Modules, in the order in which a socket meets them:
//! - [`message`]: commands, replies, error codes, and the command sequence rule ([`message::sequence`]).
//! - [`region`]: layout of the data region, [`region::AppSide`], [`region::StackSide`], and the wake-up protocol.
//! - [`datagram`]: how `udp@1` frames datagrams in the same two rings.
//! - [`admin`]: what the console asks the stack about itself.
//!
//! A client in short (the system calls are the reader's):
//! ```ignore
//! let m = ServiceCommand::Connect { seq: 1, remote, local_port: 0, buffer_size: 65536, signal: 1 << 3 }.encode();
//! let reply = call(tcp_port, m.label, m.words, &[my_notification])?;      // caps: port, region
//! let mut side = unsafe { AppSide::attach(region_ptr, region_len) }?;
//! side.write(b"hello");
//! if side.must_kick() { signal(port, opened.doorbell_bits) }
//! while !side.sleep_until(Want::READABLE, 1, 1) { /* ready: go on reading */ break }
//! ```
#![no_std]
#![cfg_attr(test, allow(clippy::unwrap_used))]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing))]

#[cfg(test)]
extern crate std;

pub mod admin;
pub mod datagram;
pub mod message;
pub mod region;

pub use message::{Message, NetError};
pub use region::{AppSide, Layout, RegionKind, StackSide};
