//! The interface `eth@1` between the network driver and network stacks, and the driver's pure parts.
//!
//! A stack attaches with one call and from then on moves frames through a *packet region* that it shares with the driver:
//! two rings of descriptors and the packet buffers themselves, which are the buffers of the network card (nothing is copied
//! between card and stack). This crate does no I/O: it is memory layout, indices, tables and the words of messages.
//!
//! What it must never do: trust a number that the other side (stack, driver or card) can write. Each is read once, checked
//! against what this side knows, and only then used; a wrong one is an error value, never a panic and never an access
//! outside the memory meant.
//!
//! ```text
//!  card ── used ring ──▶ virtqueue ─▶ Steering::steer ─▶ owner ─▶ DriverSide::deliver ── rx ring ──▶ RxHalf::peek
//!   ▲                                        │ held    ▲ drain                                          │ consume
//!   │                                        └─▶ pool ─┘                                                │
//!   └─── avail ring ◀── virtqueue ◀── fence ◀── DriverSide::next_tx ◀── tx ring ── TxHalf::reserve, commit ◀─┘
//! ```
//!
//! | module | what |
//! | --- | --- |
//! | [`message`] | requests and answers, refusals |
//! | [`counters`] | what is counted, each drop by its reason |
//! | [`region`] | the packet region: [`region::DriverSide`], [`region::RxHalf`], [`region::TxHalf`] |
//! | [`frame`] | from a frame to the flow that it belongs to |
//! | [`segment`] | cutting up a large TCP frame that never reaches a card |
//! | [`flow`] | which stack owns which flow; holding and taking flows |
//! | [`hold`] | the pool of frames whose flow is held |
//! | [`steer`] | who gets a frame: flow table and pool together |
//! | [`fence`] | whose frames go to the card first after a flow moved |
//! | [`supply`] | whose buffers the card gets |
//! | [`token`] | names of what is with the card |
//! | [`virtqueue`] | split queues of virtio 1.x, resumable |
//!
//! # A stack in short (the system calls are the reader's)
//! ```ignore
//! let m = Request::Attach { version: VERSION, signal: 1 << 3 }.encode();
//! let reply = call(eth_port, m.label, m.words, &[my_notification])?;     // answer's caps: region, doorbell
//! let link = Attached::decode(&reply.words)?;
//! let (mut rx, mut tx) = unsafe { region::attach(base, len) }?;
//! loop {
//!     while let Some(frame) = rx.peek() { stack.on_frame(now, frame.bytes, frame.checksum_valid, ..); rx.consume(); }
//!     if let Some(bytes) = tx.reserve(len) { fill(bytes); tx.commit(Offload::None); }
//!     if rx.must_kick() | tx.must_kick() { signal(doorbell, link.doorbell_bits) }
//!     if rx.sleep() && (!blocked || tx.sleep_for_room(1)) { wait(my_notification) }
//! }
//! ```
#![no_std]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

#[cfg(test)]
extern crate std;

pub mod counters;
pub mod fence;
pub mod flow;
mod fragments;
pub mod frame;
pub mod hold;
pub mod message;
pub mod region;
pub mod segment;
pub mod steer;
pub mod supply;
pub mod token;
pub mod virtqueue;

pub use counters::Counters;
pub use message::{Attached, Features, Message, Refusal, Request, VERSION};
pub use region::{DriverSide, Offload, RxFrame, RxHalf, TxHalf};
