//! The data region of one socket: its layout, both sides' views of it, and when one wakes the other.
//!
//! ```text
//!    0  header: magic, version, ring offsets and sizes      written once by the stack
//!   64  tx_written      app      192  app_flags     app      320  rx_written   stack   448  app_wants    both
//!  128  rx_consumed     app      256  tx_acked      stack    384  status       stack   512  stack_wants  both
//! 1024  tx ring (app → stack), then rx ring (stack → app), each a power of two
//! ```
//! Each index has its own cache line, counts bytes since the stream began and never wraps (2^64 bytes); a position in a
//! ring is the index modulo the ring's size. The region is untrusted to the stack and is *not* where its truth lives: the
//! stack keeps its indices in its record and rewrites the shared ones with [`StackSide::republish`] on resume.
//!
//! # Wake-ups
//! A notification costs a system call, so a side is signalled only when it said that it sleeps. Whoever wants to sleep
//! stores what it waits for, then a sequentially consistent fence, then looks again; whoever changes something stores the
//! change, then the same fence, then looks whether the other sleeps. In every interleaving at least one of the two sees
//! the other's store (Dekker), so no wake-up is lost. Who sends the signal clears the want, so there is one signal a sleep.
//! Spurious wake-ups are allowed; a side that wakes looks at the indices and nothing else.

mod app;
mod layout;
mod shared;
mod stack;

pub use app::AppSide;
pub use layout::{Layout, LayoutError, MAX_RING, MIN_RING, RegionKind};
pub use stack::{Indices, StackSide, Violation};

use crate::message::NetError;

/// What an application can wait for; a set of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want(u32);

impl Want {
    /// Bytes to read (at least the threshold), or the other end closed, or an error.
    pub const READABLE: Self = Self(1);
    /// Space to write (at least the threshold), or an error.
    pub const WRITABLE: Self = Self(2);
    /// The connection is established, or has failed.
    pub const ESTABLISHED: Self = Self(4);
    /// The connection is over: everything was acknowledged and both ends closed, or it failed.
    pub const OVER: Self = Self(8);

    /// Both sets.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What the stack says about the connection; one word in the region, read and written as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The handshake is done. For UDP: the socket is bound.
    pub established: bool,
    /// The other end closed, and everything it sent is in the rx ring.
    pub rx_closed: bool,
    /// Nothing will ever move again.
    pub over: bool,
    /// Why, if not an orderly close.
    pub error: Option<NetError>,
}

impl Status {
    pub(crate) fn to_word(self) -> u64 {
        let bits = u64::from(self.established) | u64::from(self.rx_closed) << 1 | u64::from(self.over) << 2;
        bits | u64::from(self.error.map_or(0, NetError::code)) << 32
    }

    pub(crate) fn from_word(word: u64) -> Self {
        let error = match (word >> 32) as u32 {
            0 => None,
            code => Some(NetError::from_code(code).unwrap_or(NetError::Protocol)),
        };
        Self {
            established: word & 1 != 0,
            rx_closed: word & 2 != 0,
            over: word & 4 != 0 || error.is_some(),
            error,
        }
    }
}

/// Which of `wants` are true: the one definition that both sides use.
fn ready(
    wants: Want,
    thresholds: u64,
    readable: u64,
    writable: u64,
    layout: &Layout,
    status: Status,
) -> Want {
    let clamp = |low: u64, size: u32| low.clamp(1, u64::from(size));
    let read_low = clamp(thresholds & 0xffff_ffff, layout.rx_size());
    let write_low = clamp(thresholds >> 32, layout.tx_size());
    let mut set = 0;
    for (want, holds) in [
        (Want::READABLE, readable >= read_low || status.rx_closed || status.over),
        (Want::WRITABLE, writable >= write_low || status.over),
        (Want::ESTABLISHED, status.established || status.over),
        (Want::OVER, status.over),
    ] {
        if wants.has(want) && holds {
            set |= want.0;
        }
    }
    Want(set)
}

#[cfg(test)]
pub(crate) mod tests;
