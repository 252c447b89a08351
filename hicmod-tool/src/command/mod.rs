//! The families of commands: each file has the arguments of one family and `run`, which does what they ask for.
//!
//! To add a family: a file here, a line below, and a variant with its line in `arguments.rs`.

pub mod archive;
pub mod bind;
pub mod ca;
pub mod completions;
pub mod diff;
pub mod inspect;
pub mod key;
pub mod new;
pub mod pack;
pub mod repo;
pub mod sign;
pub mod verify;
