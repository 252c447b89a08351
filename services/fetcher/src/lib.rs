//! The fetcher's part without system calls: one connection to a server, from its first byte to the last that is wanted.
//!
//! What it must never do: look at what it fetches. Whoever asked verifies it.
#![no_std]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

#[cfg(test)]
extern crate std;

pub mod transfer;
