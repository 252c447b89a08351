//! Files over HTTP/1.1: what is asked of the fetcher, how it reads an answer, and how long the one who asked goes on. All pure: bytes and the time
//! come in, decisions go out.
//!
//! ```text
//!   module manager                         fetcher                               server
//!   Download ──── Request (channel) ────▶ Get::request ───────── GET, Range ───▶
//!      ▲                                  Get::feed ──▶ memory of the manager ◀── head, body
//!      └── Reply: part, done, failed ─────────┘
//! ```
//! There is no TLS: a module is trusted because of its signature and the repository because of its signed metadata, whoever delivers the bytes. What a
//! server can do is to withhold and to waste; so everything is bounded: the head, the body, the time without a byte, the whole time, the attempts.
//!
//! | module | what |
//! | --- | --- |
//! | [`source`] | the address of a repository |
//! | [`http`] | one request and the reading of its answer |
//! | [`messages`] | requests to the fetcher and its answers |
//! | [`download`] | one file until it is there or given up |
//!
//! What it must never do: write a byte beyond the memory that it was given, follow a redirect, or call a file whole that was cut off.
#![no_std]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod download;
pub mod http;
pub mod messages;
pub mod source;

pub use download::{Download, Step};
pub use http::{Get, HttpError};
pub use messages::{Failure, Reply, Request};
pub use source::Source;

/// Longest path of a file, bytes.
pub const MAX_PATH_BYTES: usize = 160;
/// Longest validator of a version of a file (`ETag`, or a date) that is kept, bytes; with a longer one a download is not resumed but begun again.
pub const MAX_VALIDATOR_BYTES: usize = 64;

/// A path, from the root of the server.
pub type Path = heapless::String<MAX_PATH_BYTES>;
/// A validator.
pub type Validator = heapless::String<MAX_VALIDATOR_BYTES>;
