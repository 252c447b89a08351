//! The application's view of its data region.
//!
//! The stack is trusted to keep to the protocol (it owns the region), but its indices are checked all the same: a stack
//! that died half way must not crash its clients.

use super::layout::{Layout, LayoutError};
use super::shared::{self, Ring, Shared};
use super::{Status, Want, ready};
use crate::message::NetError;
use core::sync::atomic::{Ordering, fence};

/// Application side of one data region. One value for each region; it holds this side's own indices.
#[derive(Debug)]
pub struct AppSide {
    shared: Shared,
    tx_written: u64,
    rx_consumed: u64,
    /// Something was written or closed since the last [`Self::must_kick`].
    dirty: bool,
}

impl AppSide {
    /// Opens the region that a reply brought. Continues at the indices that are in it, so an application that was itself
    /// replaced can attach again.
    ///
    /// # Safety
    /// `base..base + len` must be the mapped region, mapped for as long as the value lives; no other `AppSide` for it may
    /// be used meanwhile; no other Rust reference into it may exist.
    ///
    /// # Errors
    /// [`LayoutError`] if the memory is not a region of this interface version.
    pub unsafe fn attach(base: *mut u8, len: usize) -> Result<Self, LayoutError> {
        // SAFETY: the caller's contract is the callee's.
        let shared = unsafe {
            let header = Shared::header(base, len)?;
            Shared::new(base, len, Layout::decode(&header, len)?)?
        };
        let tx_written = shared.word64(shared::TX_WRITTEN).load(Ordering::Relaxed);
        let rx_consumed = shared.word64(shared::RX_CONSUMED).load(Ordering::Relaxed);
        Ok(Self { shared, tx_written, rx_consumed, dirty: true })
    }

    /// The region's geometry.
    pub fn layout(&self) -> &Layout {
        self.shared.layout()
    }

    /// What the stack says about the connection. Look at it before [`Self::readable`]: what was received before the end is
    /// still there to be read after `rx_closed` or `over`. An impossible index shows as [`NetError::Protocol`].
    pub fn status(&self) -> Status {
        let status = Status::from_word(self.shared.word64(shared::STATUS).load(Ordering::Acquire));
        if self.checked_readable().is_none() || self.checked_writable().is_none() {
            return Status { over: true, error: Some(NetError::Protocol), ..status };
        }
        status
    }

    fn checked_readable(&self) -> Option<u64> {
        let written = self.shared.word64(shared::RX_WRITTEN).load(Ordering::Acquire);
        let readable = written.checked_sub(self.rx_consumed)?;
        (readable <= u64::from(self.layout().rx_size())).then_some(readable)
    }

    fn checked_writable(&self) -> Option<u64> {
        let acked = self.shared.word64(shared::TX_ACKED).load(Ordering::Acquire);
        let in_flight = self.tx_written.checked_sub(acked)?;
        u64::from(self.layout().tx_size()).checked_sub(in_flight)
    }

    /// Bytes that can be read now.
    pub fn readable(&self) -> usize {
        self.checked_readable().unwrap_or(0) as usize
    }

    /// Bytes that can be written now; 0 after [`Self::close_tx`].
    pub fn writable(&self) -> usize {
        if self.tx_closed() { 0 } else { self.checked_writable().unwrap_or(0) as usize }
    }

    /// Whether everything written was acknowledged by the other end (for UDP: handed to the wire).
    pub fn drained(&self) -> bool {
        self.shared.word64(shared::TX_ACKED).load(Ordering::Acquire) == self.tx_written
    }

    fn tx_closed(&self) -> bool {
        self.shared.word32(shared::APP_FLAGS).load(Ordering::Relaxed) & shared::APP_TX_CLOSED != 0
    }

    /// Writes as much of `data` as there is space for; returns how much. Then ask [`Self::must_kick`].
    pub fn write(&mut self, data: &[u8]) -> usize {
        let len = data.len().min(self.writable());
        let (now, _) = data.split_at(len);
        self.shared.copy_in(Ring::Tx, self.tx_written, now);
        self.commit_tx(len);
        len
    }

    /// Reads at most `out.len()` bytes; returns how many. Then ask [`Self::must_kick`].
    pub fn read(&mut self, out: &mut [u8]) -> usize {
        let len = self.peek_at(0, out);
        self.consume_rx(len);
        len
    }

    /// Copies readable bytes from `skip` bytes ahead on without consuming them; returns how many.
    pub fn peek_at(&self, skip: usize, out: &mut [u8]) -> usize {
        let len = out.len().min(self.readable().saturating_sub(skip));
        let (now, _) = out.split_at_mut(len);
        self.shared.copy_out(Ring::Rx, self.rx_consumed.wrapping_add(skip as u64), now);
        len
    }

    /// The free part of the tx ring, to be filled in place, in order, then [`Self::commit_tx`].
    pub fn tx_spare(&mut self) -> (&mut [u8], &mut [u8]) {
        let [first, second] = self.shared.pieces(Ring::Tx, self.tx_written, self.writable());
        // SAFETY: the pieces are mapped, disjoint, and borrowed from `self` mutably. The stack reads only below
        // `tx_written`, so nobody else touches them until `commit_tx`.
        unsafe {
            (
                core::slice::from_raw_parts_mut(first.0.as_ptr(), first.1),
                core::slice::from_raw_parts_mut(second.0.as_ptr(), second.1),
            )
        }
    }

    /// Puts `data` into the free part of the tx ring, `skip` bytes after its start, without handing it over; for framing.
    /// The caller checked [`Self::writable`].
    pub(crate) fn stage_tx(&mut self, skip: usize, data: &[u8]) {
        let fitting = data.len().min(self.writable().saturating_sub(skip));
        let (now, _) = data.split_at(fitting);
        self.shared.copy_in(Ring::Tx, self.tx_written.wrapping_add(skip as u64), now);
    }

    /// Hands `len` bytes of [`Self::tx_spare`] to the stack (cut to what is writable).
    pub fn commit_tx(&mut self, len: usize) {
        let len = len.min(self.writable());
        self.tx_written = self.tx_written.wrapping_add(len as u64);
        self.shared.word64(shared::TX_WRITTEN).store(self.tx_written, Ordering::Release);
        self.dirty |= len > 0;
    }

    /// The readable bytes in place, then [`Self::consume_rx`].
    pub fn rx_filled(&self) -> (&[u8], &[u8]) {
        let [first, second] = self.shared.pieces(Ring::Rx, self.rx_consumed, self.readable());
        // SAFETY: the pieces are mapped; the stack writes only at and beyond `rx_written`, so bytes below it stay as they
        // are until `consume_rx`, which needs `&mut self`.
        unsafe {
            (
                core::slice::from_raw_parts(first.0.as_ptr(), first.1),
                core::slice::from_raw_parts(second.0.as_ptr(), second.1),
            )
        }
    }

    /// Gives `len` bytes of the rx ring back (cut to what is readable).
    pub fn consume_rx(&mut self, len: usize) {
        let len = len.min(self.readable());
        self.rx_consumed = self.rx_consumed.wrapping_add(len as u64);
        self.shared.word64(shared::RX_CONSUMED).store(self.rx_consumed, Ordering::Release);
    }

    /// Writes up to `max` readable bytes back, copied once, from ring to ring; returns how many. Then ask
    /// [`Self::must_kick`].
    pub fn echo(&mut self, max: usize) -> usize {
        let len = self.readable().min(self.writable()).min(max);
        let mut done = 0;
        for (piece, piece_len) in self.shared.pieces(Ring::Rx, self.rx_consumed, len) {
            // SAFETY: the piece is mapped, and the stack writes only beyond `rx_written`, so these bytes stay as they are
            // until `consume_rx` below; `copy_in` writes to the other ring.
            let bytes = unsafe { core::slice::from_raw_parts(piece.as_ptr(), piece_len) };
            self.shared.copy_in(Ring::Tx, self.tx_written.wrapping_add(done as u64), bytes);
            done += piece_len;
        }
        self.commit_tx(len);
        self.consume_rx(len);
        len
    }

    /// Says that nothing more will be written; the stack sends FIN after the rest. Then ask [`Self::must_kick`].
    pub fn close_tx(&mut self) {
        self.shared.word32(shared::APP_FLAGS).fetch_or(shared::APP_TX_CLOSED, Ordering::Release);
        self.dirty = true;
    }

    /// Whether the doorbell must be signalled for what was written, read or closed since the last call. Call it once
    /// after a batch; a `true` that is not followed by a signal stalls the connection.
    pub fn must_kick(&mut self) -> bool {
        // Pairs with the fence in `StackSide::arm`: our stores before, the look at its wants after.
        fence(Ordering::SeqCst);
        let wants = self.shared.word32(shared::STACK_WANTS);
        let armed = wants.load(Ordering::Relaxed);
        let rx_due = self.rx_consumed >= self.shared.word64(shared::RX_KICK_AT).load(Ordering::Relaxed);
        let due = if self.dirty { armed & shared::STACK_WANTS_TX } else { 0 }
            | if rx_due { armed & shared::STACK_WANTS_RX } else { 0 };
        self.dirty = false;
        if due != 0 {
            wants.store(0, Ordering::Relaxed);
        }
        due != 0
    }

    /// Announces that this side is about to wait for `want`: at least `read_low` readable or `write_low` writable bytes
    /// (cut to the ring's size). Returns `true` if it may wait on its notification now, `false` if it holds already.
    #[must_use]
    pub fn sleep_until(&self, want: Want, read_low: u32, write_low: u32) -> bool {
        let thresholds = u64::from(write_low) << 32 | u64::from(read_low);
        self.shared.word64(shared::APP_THRESHOLDS).store(thresholds, Ordering::Relaxed);
        let wants = self.shared.word32(shared::APP_WANTS);
        wants.store(want.0, Ordering::Release);
        // Pairs with the fence in `StackSide::take_app_wake`: announce first, then look again.
        fence(Ordering::SeqCst);
        let (readable, writable) = (self.readable() as u64, self.writable() as u64);
        if ready(want, thresholds, readable, writable, self.layout(), self.status()).0 == 0 {
            return true;
        }
        wants.store(0, Ordering::Relaxed);
        false
    }
}
