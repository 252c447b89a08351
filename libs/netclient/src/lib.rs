//! Sockets for applications: listeners, streams and datagram sockets over the ports and rings of `tcp@1` and `udp@1`, all
//! waited for with one notification in one thread.
//!
//! An application writes a [`Service`]: what it does with the bytes of one connection, as a state machine that never
//! waits. [`Server`] owns everything else: accepting, sleeping, waking, time limits, back-pressure, closing. That the stack was
//! started again, or another instance of it serves a socket now, shows in nothing but a short wait.
//!
//! ```text
//!   stack ── signal(bit) ──▶ Server::run ── which sessions have this bit? ──▶ Service::step(session, rings)
//!                                 ▲                                               │ Step::Wait(what for)
//!                                 └── signal(port), if the stack sleeps ◀─────────┘
//! ```
//!
//! What it must never do: trust the stack for its own safety (all indices are checked by `hic-netapi`), block on one
//! connection while others have work, or lose a wake-up (a session sleeps only after `AppSide::sleep_until` agreed).
//!
//! Modules, in the order in which a connection meets them: [`client`] (commands and their retry), [`socket`] (what a
//! command opens), [`table`] (which session has which bit), [`server`] (the loop).
#![no_std]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing))]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod client;
pub mod error;
pub mod server;
pub mod socket;
pub mod table;

pub use client::Client;
pub use error::SocketError;
pub use hic_netapi::region::{AppSide, Status, Want};
pub use server::{Limits, Server, Service, Step};
pub use socket::{TcpListener, TcpStream, UdpSocket};
