//! The stack's view of a data region, every byte of which the application may change at any moment.
//!
//! The indices of the stack live in its record and here, never in the region: the region gets copies. The application's
//! indices are read once a [`StackSide::refresh`], checked, and used from the private copy.

use super::layout::{Layout, LayoutError};
use super::shared::{self, Ring, Shared};
use super::{Status, Want, ready};
use core::fmt;
use core::sync::atomic::{Ordering, fence};

/// The four indices of a region as the stack holds them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Indices {
    /// Bytes acknowledged by the other end: the start of the tx ring's live part.
    pub tx_acked: u64,
    /// Highest `tx_written` accepted from the application; on resume at least what was ever sent.
    pub tx_seen: u64,
    /// Bytes put into the rx ring in order.
    pub rx_written: u64,
    /// Highest `rx_consumed` accepted from the application.
    pub rx_consumed: u64,
}

/// An index that the application cannot have meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// `tx_written` went back, or beyond the ring.
    TxWritten {
        /// What was read.
        value: u64,
    },
    /// `rx_consumed` went back, or beyond what was received.
    RxConsumed {
        /// What was read.
        value: u64,
    },
    /// A datagram's header does not fit what was written (`udp@1`).
    Datagram {
        /// Index of the header in the tx stream.
        at: u64,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TxWritten { value } => write!(f, "application set tx_written to an impossible {value}"),
            Self::RxConsumed { value } => write!(f, "application set rx_consumed to an impossible {value}"),
            Self::Datagram { at } => write!(f, "application wrote an impossible datagram header at {at}"),
        }
    }
}

impl core::error::Error for Violation {}

/// Stack side of one data region.
#[derive(Debug)]
pub struct StackSide {
    shared: Shared,
    indices: Indices,
    tx_closed: bool,
    status: Status,
}

impl StackSide {
    /// Lays out a fresh region. The memory need not be zero.
    ///
    /// # Safety
    /// `base..base + len` must be mapped readable and writable for as long as the value lives, with no Rust reference into
    /// it, and no other `StackSide` for it may be used meanwhile.
    ///
    /// # Errors
    /// [`LayoutError`] if the memory is too short or not aligned.
    pub unsafe fn create(base: *mut u8, len: usize, layout: Layout) -> Result<Self, LayoutError> {
        // SAFETY: the caller's contract is the callee's.
        let side = unsafe { Self::attach(base, len, layout, Indices::default(), Status::default()) }?;
        for word in [shared::TX_WRITTEN, shared::RX_CONSUMED, shared::APP_THRESHOLDS] {
            side.shared.word64(word).store(0, Ordering::Relaxed);
        }
        side.shared.word32(shared::APP_FLAGS).store(0, Ordering::Relaxed);
        side.shared.word32(shared::APP_WANTS).store(0, Ordering::Relaxed);
        side.republish();
        Ok(side)
    }

    /// Takes over a live region with the geometry and indices of the connection's record; nothing is read from it. Follow
    /// with [`Self::republish`].
    ///
    /// # Safety
    /// As [`Self::create`].
    ///
    /// # Errors
    /// As [`Self::create`].
    pub unsafe fn attach(
        base: *mut u8,
        len: usize,
        layout: Layout,
        indices: Indices,
        status: Status,
    ) -> Result<Self, LayoutError> {
        // SAFETY: the caller's contract is the callee's.
        let shared = unsafe { Shared::new(base, len, layout) }?;
        Ok(Self { shared, indices, tx_closed: false, status })
    }

    /// Writes everything that this side owns into the region again: header, indices, status. Leaves the stack's wants
    /// clear, so every ring counts as signalled and the application's next action needs no kick until [`Self::arm`].
    pub fn republish(&self) {
        self.shared.write_header();
        self.shared.word32(shared::STACK_WANTS).store(0, Ordering::Relaxed);
        self.shared.word64(shared::RX_KICK_AT).store(0, Ordering::Relaxed);
        self.shared.word64(shared::TX_ACKED).store(self.indices.tx_acked, Ordering::Release);
        self.shared.word64(shared::RX_WRITTEN).store(self.indices.rx_written, Ordering::Release);
        self.shared.word64(shared::STATUS).store(self.status.to_word(), Ordering::Release);
    }

    /// The region's geometry (this side's copy).
    pub fn layout(&self) -> &Layout {
        self.shared.layout()
    }

    /// The indices as accepted so far.
    pub fn indices(&self) -> Indices {
        self.indices
    }

    /// The status last published.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Reads the application's words once and accepts them if they are possible.
    ///
    /// # Errors
    /// [`Violation`]: what was accepted before stays in force. The connection should be aborted.
    pub fn refresh(&mut self) -> Result<(), Violation> {
        // The flag before the index: a set flag (Release) means that the index read after it is the final one.
        let closed =
            self.shared.word32(shared::APP_FLAGS).load(Ordering::Acquire) & shared::APP_TX_CLOSED != 0;
        let written = self.shared.word64(shared::TX_WRITTEN).load(Ordering::Acquire);
        let consumed = self.shared.word64(shared::RX_CONSUMED).load(Ordering::Acquire);
        if self.tx_closed {
            // Final means final, whatever stands there now.
        } else {
            let limit = self.indices.tx_acked.saturating_add(self.layout().tx_size().into());
            if written < self.indices.tx_seen || written > limit {
                return Err(Violation::TxWritten { value: written });
            }
            self.indices.tx_seen = written;
            self.tx_closed = closed;
        }
        if consumed < self.indices.rx_consumed || consumed > self.indices.rx_written {
            return Err(Violation::RxConsumed { value: consumed });
        }
        self.indices.rx_consumed = consumed;
        Ok(())
    }

    /// End of what the application has written, as last accepted.
    pub fn tx_written(&self) -> u64 {
        self.indices.tx_seen
    }

    /// Whether [`Self::tx_written`] is final.
    pub fn tx_closed(&self) -> bool {
        self.tx_closed
    }

    /// Takes the application's right to write, as the Shutdown command does.
    pub fn close_tx(&mut self) {
        self.tx_closed = true;
    }

    /// Copies `out.len()` bytes of the tx stream from `offset` on. Returns `false`, copying nothing, if they are not all
    /// between `tx_acked` and `tx_written`.
    pub fn copy_tx(&self, offset: u64, out: &mut [u8]) -> bool {
        let end = offset.checked_add(out.len() as u64);
        let live = offset >= self.indices.tx_acked && end.is_some_and(|end| end <= self.indices.tx_seen);
        if live {
            self.shared.copy_out(Ring::Tx, offset, out);
        }
        live
    }

    /// First offset of the rx stream for which there is no space.
    pub fn rx_limit(&self) -> u64 {
        self.indices.rx_consumed.saturating_add(self.layout().rx_size().into())
    }

    /// Stores bytes of the rx stream at `offset`, in order or ahead of it; they become visible with
    /// [`Self::publish_rx`]. Returns `false`, storing nothing, if they are not all between `rx_written` and `rx_limit`.
    pub fn write_rx(&mut self, offset: u64, data: &[u8]) -> bool {
        let end = offset.checked_add(data.len() as u64);
        let fits = offset >= self.indices.rx_written && end.is_some_and(|end| end <= self.rx_limit());
        if fits {
            self.shared.copy_in(Ring::Rx, offset, data);
        }
        fits
    }

    /// Moves `tx_acked` to `index` (cut to what was written; never back) and shows it.
    pub fn publish_acked(&mut self, index: u64) {
        self.indices.tx_acked = index.min(self.indices.tx_seen).max(self.indices.tx_acked);
        self.shared.word64(shared::TX_ACKED).store(self.indices.tx_acked, Ordering::Release);
    }

    /// Moves `rx_written` to `index` (cut to the space; never back) and shows it.
    pub fn publish_rx(&mut self, index: u64) {
        self.indices.rx_written = index.min(self.rx_limit()).max(self.indices.rx_written);
        self.shared.word64(shared::RX_WRITTEN).store(self.indices.rx_written, Ordering::Release);
    }

    /// Shows a new status.
    pub fn publish_status(&mut self, status: Status) {
        self.status = status;
        self.shared.word64(shared::STATUS).store(status.to_word(), Ordering::Release);
    }

    /// After publishing: whether the application sleeps for something that now holds, and must be notified. Clears that
    /// want; a `true` that is not followed by a signal leaves the application asleep.
    #[must_use]
    pub fn take_app_wake(&self) -> bool {
        // Pairs with the fence in `AppSide::sleep_until`: our stores before, the look at its wants after.
        fence(Ordering::SeqCst);
        let word = self.shared.word32(shared::APP_WANTS);
        let wants = word.load(Ordering::Acquire);
        if wants == 0 {
            return false;
        }
        let thresholds = self.shared.word64(shared::APP_THRESHOLDS).load(Ordering::Relaxed);
        let Indices { tx_acked, tx_seen, rx_written, rx_consumed } = self.indices;
        let readable = rx_written.saturating_sub(rx_consumed);
        let writable = u64::from(self.layout().tx_size()).saturating_sub(tx_seen.saturating_sub(tx_acked));
        let hit = ready(Want(wants), thresholds, readable, writable, self.layout(), self.status);
        if hit.0 != 0 {
            word.store(0, Ordering::Relaxed);
        }
        hit.0 != 0
    }

    /// Before the stack turns to other work: asks for a kick when the application writes, closes, or has consumed up to
    /// `rx_kick_at`. Returns `false` if one of these holds already: refresh and serve the connection again.
    #[must_use]
    pub fn arm(&self, rx_kick_at: u64) -> bool {
        self.shared.word64(shared::RX_KICK_AT).store(rx_kick_at, Ordering::Relaxed);
        let wants = self.shared.word32(shared::STACK_WANTS);
        wants.store(shared::STACK_WANTS_TX | shared::STACK_WANTS_RX, Ordering::Release);
        // Pairs with the fence in `AppSide::must_kick`.
        fence(Ordering::SeqCst);
        let written = self.shared.word64(shared::TX_WRITTEN).load(Ordering::Relaxed);
        let consumed = self.shared.word64(shared::RX_CONSUMED).load(Ordering::Relaxed);
        let closed =
            self.shared.word32(shared::APP_FLAGS).load(Ordering::Relaxed) & shared::APP_TX_CLOSED != 0;
        let tx_news = !self.tx_closed && (written != self.indices.tx_seen || closed);
        let rx_news = consumed >= rx_kick_at && consumed != self.indices.rx_consumed;
        if tx_news || rx_news {
            wants.store(0, Ordering::Relaxed);
        }
        !(tx_news || rx_news)
    }

    /// Whether the application kicked since [`Self::arm`]: one load, for a shell whose doorbell bit serves many sockets.
    pub fn was_kicked(&self) -> bool {
        self.shared.word32(shared::STACK_WANTS).load(Ordering::Acquire) == 0
    }
}
