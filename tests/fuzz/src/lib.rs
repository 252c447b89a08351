//! Every decoder of bytes from outside, as a function over bytes that panics where something does not hold.
//!
//! Three users: coverage-guided fuzzing (`libfuzzer/`, `cargo xtask soak decoders`), the replay of the corpus as an ordinary test on the stable
//! toolchain (`tests/corpus.rs`), and whoever has found bytes that do harm (`cargo run -p hic-fuzz -- TARGET FILE`).
//!
//! A target says more than "it does not crash": what was accepted is written again and must be the same, lies within its bounds, and is
//! believed only if it is what somebody signed. It must never use the time, the network, or randomness: the same bytes, the same outcome.
//!
//! | module | what |
//! | --- | --- |
//! | [`targets`] | the functions |
//! | [`input`] | bytes as a sequence of small decisions |
//! | [`corpus`] | the files that are tried in every test run |
//! | [`seeds`] | makes them from real modules, certificates and repositories |
//! | [`edits`] | files changed in small ways, repeatably |

pub mod corpus;
pub mod edits;
pub mod input;
pub mod seeds;
pub mod targets;

pub use targets::{ALL, Target, find};
