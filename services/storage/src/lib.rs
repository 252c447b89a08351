//! The pure parts of the storage service: a cache over a disk, the repository on it, answers to requests. Tested on the host over disk images;
//! the driver of the virtio disk is `main.rs` and beside it.
//!
//! ```text
//!   request ─▶ answer ─▶ Repository ─▶ embedded-sdmmc (FAT) ─▶ Cached ─▶ Disk
//!                            └──────── record, sector by sector ─▶┘
//! ```
//!
//! | module | what |
//! | --- | --- |
//! | [`disk`] | what a disk does |
//! | [`cache`] | fewer, larger reads |
//! | [`repository`] | module files and the defaults record on a FAT volume |
//! | [`role`] | repository disk or system disk, and what follows from it |
//! | [`answer`] | requests and answers |
//!
//! What it must never do: write anything but the record's file and the files of kept modules, or look into a module: whoever reads one verifies it.
#![no_std]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod answer;
pub mod cache;
pub mod disk;
pub mod repository;
pub mod role;

#[cfg(test)]
mod image;

pub use repository::Repository;
pub use role::Role;
