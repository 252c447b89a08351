//! One TCP connection as pure state: segments and the time go in, segments and events come out.
//!
//! A connection here is a [`Record`]: plain data without pointers, complete at every instant, which can be written
//! down ([`Record::encode`]), read by another version of the stack and continued there. So this crate has no clock, no
//! buffers and no sockets. It must never do I/O, allocate, block, or panic on what a peer or an application sends.
//!
//! ```text
//!    frame ─ wire::parse ─> Segment ─> Connection::on_segment ─> Events        (bytes go to the rx ring: RxSpace)
//!    time ────────────────────────────> Connection::on_timer ──> Events
//!    application ─────────────────────> app_wrote / app_consumed / app_closed
//!                                        │
//!                        the shell publishes the record (publish before you promise)
//!                                        │
//!    frame <─ wire::emit <── SegmentOut <── Connection::next_segment, until it says None
//!             (bytes come from the tx ring: TxData)
//! ```
//!
//! Positions in the record count 64 bits from the start of each stream: 0 is the SYN, `1 + n` is data byte `n`, and the
//! FIN follows the last byte. They never wrap; 32-bit sequence numbers ([`Seq`]) exist at the edge only.
//!
//! The modules, in the order in which data meets them:
//!
//! - [`seq`], [`time`], [`spans`]: sequence numbers, microseconds, sets of stream positions
//! - [`segment`], [`wire`]: one segment as values; its bytes in a frame
//! - [`isn`]: initial sequence numbers and timestamp offsets (RFC 6528)
//! - [`config`], [`record`]: what a connection is
//! - [`schema`], [`codec`], `extension`: how it is written down, for this version and for the ones before and after
//! - [`connection`]: opening, closing, what the application says
//! - `input`: which segments are acceptable, and what they are (RFC 9293 3.10.7, RFC 5961, PAWS)
//! - `ack`, `sack`, `rto`, `congestion`: what an acknowledgement means for what was sent
//! - `receive`: data, FIN, reassembly, when an acknowledgement is owed
//! - `transmit`: which segment to send next
//! - `timers`: what happens when time passes
#![no_std]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod ack;
pub mod codec;
pub mod config;
mod congestion;
pub mod connection;
mod extension;
mod input;
pub mod isn;
mod receive;
pub mod record;
mod rto;
mod sack;
pub mod schema;
pub mod segment;
pub mod seq;
pub mod spans;
pub mod time;
mod timers;
mod transmit;
pub mod wire;

#[cfg(test)]
mod tests;

pub use codec::{RECORD_LEN, RecordError};
pub use config::{Config, ConfigError, KeepAlive};
pub use connection::{AppError, Connection, Events, OpenError, RxSpace, TxData};
pub use record::{CloseReason, Record, State, Stats};
pub use schema::{Format, Schema};
pub use segment::{Flags, Options, Segment, SegmentOut, Timestamp, Tuple, reset_for};
pub use seq::Seq;
pub use time::Micros;
