//! What the verifier decides: a question in, a verdict out. Pure; the binary turns addresses into bytes.
//!
//! | module | what |
//! | --- | --- |
//! | [`judge`](mod@judge) | the question, checked by `hic_hicmod::verify` |
//! | [`metadata`] | a repository's metadata, checked by `hic_tuf` |
//! | [`crumb`] | what is under way, so that a file which kills the verifier does so at most twice |
#![no_std]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

#[cfg(test)]
extern crate std;

pub mod crumb;
pub mod judge;
pub mod metadata;

pub use judge::judge;
