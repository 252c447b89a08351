//! The pure parts of the driver: what is in the card's PCI capabilities, which features are taken, what a frame's header
//! says. Tested on the host; the rest of the driver is `main.rs` and beside it.
//!
//! What it must never do: believe a number of the card before it was checked.
#![no_std]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod feature;
pub mod header;
