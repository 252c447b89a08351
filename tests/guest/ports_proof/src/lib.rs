//! The state of the ports proof: what its server keeps across its own death, and what the director sees of everybody.
//!
//! Both lie in shared regions, so everything is an atomic word. Nothing here calls the kernel.
#![no_std]

pub mod board;
pub mod counter;

pub use board::{Board, CALLERS, Mode};
pub use counter::{Answer, Counter};

/// Label of a request: count this sequence number (word 0).
pub const COUNT: u32 = 1;
/// Label of a request: note that this caller (word 0) came by.
pub const ENTER: u32 = 2;
/// Label of an answer: done; word 0 = the count.
pub const DONE: u32 = 3;
/// Label of an answer: refused.
pub const REFUSED: u32 = 4;
