//! The object model on simulated memory: what a sandbox could observe, and what must hold in between.
//!
//! [`sim`] is the machine, [`world`] puts a manager and its children on it and lets any thread make any system call, [`invariants`] checks
//! the books. The other files are named after what they test. Nothing here knows how the kernel does a thing, but for the invariants.

pub(crate) mod accesses;
mod accounts;
mod arguments;
mod calls;
mod capabilities;
mod channels;
mod deaths;
mod devices;
mod dma;
mod fastpath;
mod fragmentation;
mod freezing;
mod growth;
mod invariants;
mod longcalls;
mod mapping;
mod messages;
mod model;
mod notifications;
mod raising;
mod random;
mod reading;
mod records;
mod regions;
mod remapper;
mod scheduling;
mod sim;
mod switching;
mod timeouts;
mod transactions;
mod world;
