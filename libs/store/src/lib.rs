//! What the system keeps on its disk, and how the storage service is asked for it.
//!
//! Only facts that must outlive power are kept: what is installed and removed, which version of a service is the default, which one was before it,
//! how often the default was tried at boot, and whether an update was under way (architecture, "Journal"). All here is pure: bytes and decisions, no device.
//!
//! ```text
//!   Defaults ──encode──▶ record ──pair──▶ HIC/STATE.BIN, two halves, the older one is overwritten
//!      │ boot policy       (postcard)        (sequence number, CRC)
//! ```
//!
//! | module | what |
//! | --- | --- |
//! | [`pair`] | two halves of a file, of which one always holds a whole record |
//! | [`defaults`] | the record: default versions, and what a boot chooses |
//! | [`messages`] | requests to the storage service and its answers |
//!
//! What it must never do: believe a byte of the disk before its checksum held, or lose the record that was there when a write is cut off.
#![no_std]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

#[cfg(test)]
extern crate std;

pub mod defaults;
pub mod messages;
pub mod pair;

pub use defaults::{BootChoice, Defaults, Presence, ServiceDefault, Source};
pub use messages::{FileName, Reply, Request, StoreError};

/// Longest record that a half of the file, a request and an answer carry, bytes. A message with it stays below one page.
pub const MAX_RECORD_BYTES: usize = 3584;
