//! The test application of live replacement: connections that the guest opens itself, and a listener that does not accept.
//!
//! ```text
//!   port 7001   `connect IP:PORT`  ──▶ a connection to there; whatever comes goes on, both ways, half-closes too
//!               `accept`           ──▶ `ok`, and port 7002 is served from now on
//!               anything else      ──▶ `error: …`
//!   port 7002   nobody accepts until then, so its queue of four fills up; afterwards: echo.
//!                                Who waits there is accepted twice, with other bits: the first answer is lost
//! ```
//!
//! What it must never do: read what it cannot pass on (a peer that does not read must make the other one wait), or end one side
//! of a relay in order when the other one broke.
//!
//! Modules, in the order in which a connection meets them: [`server`] (sockets and the loop), [`session`] (one connection from
//! its first line on), [`order`] (that line), [`relay`] (two connections as one).
#![no_std]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod order;
pub mod relay;
pub mod server;
pub mod session;

#[cfg(test)]
pub(crate) mod testing;
