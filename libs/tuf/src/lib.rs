//! Signed metadata of a module repository, after the model of The Update Framework (TUF specification 1.0, section 5).
//!
//! A module's own signature says who made it. It does not say that this is the module the repository's owner offers today, nor that
//! nothing newer is being kept from us. Four signed files say that:
//!
//! ```text
//!   root        which keys speak for which role, and how many must agree; signed by the root keys before it and its own
//!   timestamp   which snapshot is current; short-lived, so that a mirror that stands still is noticed
//!   snapshot    which targets file belongs to it
//!   targets     the modules: file, length, digest, name, version, epoch, dependencies
//! ```
//!
//! Pure: bytes, what was seen before, and the time go in; what to fetch next, a new state, or a refusal that names the file and the check comes
//! out. Everything is bounded before it is looked at: the length of each file, the keys, the signatures that are tried, the roots in one
//! walk. The layout is specified in `docs/spec/repository.md`, the choice of encoding in `docs/adr/0029-repository-metadata.md`.
//!
//! | module | what |
//! | --- | --- |
//! | [`ask`] | how the module manager asks the verifier to walk |
//! | [`client`] | the order in which files are fetched and checked |
//! | [`envelope`] | a file: payload and signatures |
//! | [`metadata`] | root, timestamp, snapshot |
//! | [`targets`] | the list of modules, and whether a file is the one that it names |
//! | [`key`] | public keys and their identifiers |
//! | [`trusted`] | what outlives a session: the versions seen |
//! | [`error`] | refusals |
//! | `write` | the making of all this (feature `write`, host only) |
//!
//! What it must never do: panic on what came from outside, read a payload before its signatures were counted, or accept a version below
//! one that was seen.
#![no_std]
#![cfg_attr(
    not(any(test, feature = "write")),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

#[cfg(any(test, feature = "write"))]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod ask;
#[cfg(feature = "verify")]
pub mod client;
#[cfg(feature = "verify")]
pub mod envelope;
#[cfg(feature = "verify")]
pub mod error;
#[cfg(feature = "verify")]
pub mod key;
#[cfg(feature = "verify")]
pub mod metadata;
#[cfg(feature = "verify")]
pub mod targets;
pub mod trusted;
#[cfg(feature = "write")]
pub mod write;

#[cfg(feature = "verify")]
mod codec;
mod digest;

#[cfg(feature = "verify")]
pub use client::{Client, Current, FileName, Next, Wanted};
pub use digest::{DIGEST_BYTES, Digest};
#[cfg(feature = "verify")]
pub use error::{Check, Refused};
#[cfg(feature = "verify")]
pub use key::{Key, KeyId};
#[cfg(feature = "verify")]
pub use metadata::{Head, Role, Root};
#[cfg(feature = "verify")]
pub use targets::{Target, TargetError, Targets};
pub use trusted::Trusted;

/// Longest root file, bytes: the most keys, each with a signature, fill four fifths of it.
pub const MAX_ROOT_BYTES: usize = 16 * 1024;
/// Longest timestamp or snapshot file, bytes: a few numbers and the most signatures.
pub const MAX_SMALL_BYTES: usize = 8 * 1024;
/// Longest targets file, bytes: more than a thousand modules with their dependencies.
pub const MAX_TARGETS_BYTES: usize = 512 * 1024;
/// Most roots after the first one in one walk: one a month for five years.
pub const MAX_ROOT_UPDATES: u32 = 64;
/// How far ahead of our clock metadata may be dated, seconds: two clocks that are set by hand differ.
pub const CLOCK_TOLERANCE_S: u64 = 3600;

#[cfg(test)]
mod tests;
