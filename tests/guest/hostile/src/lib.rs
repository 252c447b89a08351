//! What the two sides of the hostile service agree on, and what needs no kernel: the board, the random numbers, the outcome of one run.
#![no_std]

pub mod board;
pub mod end;
pub mod random;

pub use board::{Board, Task};
pub use end::{ANY, End, Expect, outcome};
pub use random::Random;
