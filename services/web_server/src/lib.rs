//! HTTP/1.1 as a state machine over the rings of one connection, and the pages.
//!
//! Bytes from outside meet [`request`] first, which parses a complete head or says what is wrong with it; [`session`] keeps
//! the connection's state and writes responses; [`page`] makes their bodies. Nothing here waits or calls the kernel.
#![no_std]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod page;
pub mod request;
pub mod response;
pub mod session;
