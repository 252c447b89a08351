//! The packet region: its layout, both sides' views of it, and when one wakes the other.
//!
//! ```text
//!    0  header: magic, version, sizes        written by the driver        320  rx_wake_at   stack ─▶ driver
//!   64  rx_produced   driver                                              384  tx_wake_at   stack ─▶ driver
//!  128  rx_consumed   stack                                               448  rx_kick_at   driver ─▶ stack
//!  192  tx_posted     stack                                               512  tx_kick_at   driver ─▶ stack
//!  256  tx_done       driver
//! 4096  rx descriptors (256 × 16), tx descriptors (256 × 16), rx buffers (256 × 2 KiB), tx area (512 × 2 KiB)
//! ```
//! Each index is on its own cache line, counts descriptors since the region was made and never wraps (2^64). Received
//! frames lie where the card put them until the stack moves `rx_consumed` on, which it does only after it processed the frame:
//! what a dead stack had not processed, its next start finds again. Frames to send lie in the tx area, a ring of 2 KiB units in
//! which a frame takes as many consecutive units as it needs; units return in order with `tx_done`.
//!
//! A stack that dies at any point goes on where it was: [`attach`] reads `rx_consumed` and `tx_posted` back from the region, where each was
//! stored after what it stands for (a processed frame, a complete descriptor). The driver likewise (`resume`).
//!
//! The driver's truth is not here: it keeps its indices, and which buffer lies in which slot, in its state region
//! ([`DriverRecord`]).
//!
//! # Wake-ups
//! A notification costs a system call, so a side is signalled only when the other's index reached the number that it said it
//! sleeps for ([`AWAKE`]: it does not). Whoever wants to sleep stores that number, then a sequentially consistent fence, then
//! looks at the index again; whoever moves an index stores it, then the same fence, then looks at the number. In every
//! interleaving at least one of the two sees the other's store (Dekker), so no wake-up is lost. Spurious ones are allowed.

mod driver;
mod layout;
mod record;
mod resume;
mod shared;
mod stack;

pub use driver::{DriverSide, Submission, Violation};
pub use layout::{
    AWAKE, BUFFER_BYTES, FRAME_OFFSET, LayoutError, MAX_FRAME, MAX_RX_FRAME, REGION_BYTES, RX_SLOTS,
    TX_SLOTS, TX_UNITS,
};
pub use record::DriverRecord;
pub use resume::{Unconsumed, WithCard};
pub use stack::{RxFrame, RxHalf, TxHalf, attach};

/// What the card must do with an outgoing frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offload {
    /// Nothing.
    #[default]
    None,
    /// Sum octets from `start` on and put the result at `start + offset`, where the pseudo-header's sum stands now.
    Checksum {
        /// Octet of the frame from which on to sum.
        start: u16,
        /// Octet after `start` at which the result goes.
        offset: u16,
    },
    /// Split the payload into TCP segments over IPv4, each with its checksum.
    Segment {
        /// As in `Checksum`.
        start: u16,
        /// As in `Checksum`.
        offset: u16,
        /// Octets of all headers.
        header_len: u16,
        /// Payload octets of each segment, at least 1.
        mss: u16,
    },
}

#[cfg(test)]
mod tests;
