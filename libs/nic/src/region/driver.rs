//! The driver's view of a packet region, every octet of which the stack may change at any moment.
//!
//! What the driver knows (its indices, which buffer lies in which slot) is in its [`DriverRecord`]; the region gets copies. The
//! stack's indices and descriptors are read once, checked, and used from the private copy.

use super::Offload;
use super::layout::{AWAKE, FRAME_OFFSET, LayoutError, MAX_FRAME, MAX_RX_FRAME, RX_SLOTS, TX_SLOTS};
use super::record::DriverRecord;
use super::shared::{self, RxDescriptor, Shared, TxDescriptor};
use core::fmt;
use core::ptr::NonNull;

/// What a stack cannot have meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// `rx_consumed` went back, or beyond what was delivered.
    RxConsumed {
        /// What was read.
        value: u64,
    },
    /// `tx_posted` went back, or beyond the ring.
    TxPosted {
        /// What was read.
        value: u64,
    },
    /// A descriptor points outside the tx area, or its offload outside the frame. The frame is dropped.
    TxDescriptor {
        /// Index of the descriptor.
        index: u64,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RxConsumed { value } => write!(f, "stack set rx_consumed to an impossible {value}"),
            Self::TxPosted { value } => write!(f, "stack set tx_posted to an impossible {value}"),
            Self::TxDescriptor { index } => write!(f, "stack wrote an impossible tx descriptor {index}"),
        }
    }
}

impl core::error::Error for Violation {}

/// A checked frame to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submission {
    /// To be given to [`DriverSide::complete`].
    pub index: u64,
    /// Its first octet. The stack can still change the octets.
    pub at: NonNull<u8>,
    /// Octets.
    pub len: usize,
    /// Checked against the length.
    pub offload: Offload,
}

/// Driver side of one packet region.
#[derive(Debug)]
pub struct DriverSide<'a> {
    pub(super) shared: Shared,
    pub(super) record: &'a mut DriverRecord,
    /// Buffers that neither the card nor the stack has.
    free: [u16; RX_SLOTS],
    pub(super) free_count: usize,
    /// Tx slots that are done out of order.
    pub(super) done: [bool; TX_SLOTS],
}

impl<'a> DriverSide<'a> {
    /// Takes a region over with its record: a fresh one (record all zero) or one of an earlier start. No buffer is free and no frame
    /// can be done until it was said what the card has: [`Self::card_was_reset`] or [`Self::card_goes_on`].
    ///
    /// A record that no driver can have left starts from zero; then `false` is returned beside, and the stack must attach anew.
    ///
    /// # Safety
    /// `base..base + len` must be the mapped region, mapped for as long as the value lives, without a Rust reference into it and
    /// without another `DriverSide` for it in use.
    ///
    /// # Errors
    /// [`LayoutError`] if the memory is too short or not aligned.
    pub unsafe fn attach(
        base: *mut u8,
        len: usize,
        record: &'a mut DriverRecord,
    ) -> Result<(Self, bool), LayoutError> {
        // SAFETY: the caller's contract is the callee's.
        let shared = unsafe { Shared::new(base, len) }?;
        let sane = record.is_sane();
        if !sane {
            *record = hic_abi::Plain::zeroed();
        }
        let side = Self { shared, record, free: [0; RX_SLOTS], free_count: 0, done: [false; TX_SLOTS] };
        // Of a fresh region they are 0 already; and the first frame may be posted before the driver dies for the first time.
        if !sane {
            side.shared.store(shared::RX_CONSUMED, 0);
            side.shared.store(shared::TX_POSTED, 0);
        }
        side.republish();
        Ok((side, sane))
    }

    /// Writes all that this side owns into the region; whoever sleeps is woken.
    fn republish(&self) {
        self.shared.write_header();
        self.shared.store(shared::RX_PRODUCED, self.record.rx_produced);
        self.shared.store(shared::TX_DONE, self.record.tx_done);
        self.shared.store(shared::RX_KICK_AT, AWAKE);
        self.shared.store(shared::TX_KICK_AT, AWAKE);
        // Whoever died may have disarmed these and not have woken anybody: once too often does no harm.
        self.shared.store(shared::RX_WAKE_AT, 0);
        self.shared.store(shared::TX_WAKE_AT, 0);
    }

    pub(super) fn slot(&self, index: u64) -> u16 {
        self.record.rx_slots.get((index % RX_SLOTS as u64) as usize).copied().unwrap_or(0)
    }

    /// A free buffer, to be given to the card or filled by [`Self::deliver_copy`].
    pub fn take_buffer(&mut self) -> Option<u16> {
        self.free_count = self.free_count.checked_sub(1)?;
        self.free.get(self.free_count).copied()
    }

    /// A buffer comes back unused.
    pub fn give_back(&mut self, buffer: u16) {
        if let Some(place) = self.free.get_mut(self.free_count) {
            *place = buffer;
            self.free_count += 1;
        }
    }

    /// Buffers that [`Self::take_buffer`] can give.
    #[must_use]
    pub fn free_buffers(&self) -> usize {
        self.free_count
    }

    /// The first octet of a buffer, where the card's header goes. `None` if there is no such buffer.
    #[must_use]
    pub fn buffer(&self, buffer: u16) -> Option<NonNull<u8>> {
        self.shared.rx_buffer(buffer.into())
    }

    /// A copy of the first octets of a frame that the card put into `buffer`; 0 beyond the buffer.
    #[must_use]
    pub fn frame_head<const N: usize>(&self, buffer: u16) -> [u8; N] {
        let mut head = [0; N];
        if let Some(at) = self.buffer(buffer).filter(|_| N <= MAX_RX_FRAME) {
            // SAFETY: `N` octets from `FRAME_OFFSET` on lie inside the buffer; nobody else holds a reference to them.
            unsafe { at.add(FRAME_OFFSET).as_ptr().copy_to_nonoverlapping(head.as_mut_ptr(), N) };
        }
        head
    }

    /// Hands a frame of `len` octets (at most [`MAX_RX_FRAME`]) in `buffer` to the stack. The ring has a slot for each buffer, so
    /// there is always room for one that was taken.
    pub fn deliver(&mut self, buffer: u16, len: usize, checksum_valid: bool) {
        let index = self.record.rx_produced;
        if index.wrapping_sub(self.record.rx_consumed) >= RX_SLOTS as u64 {
            return;
        }
        let len = len.min(MAX_RX_FRAME) as u32;
        self.shared.write_rx(index, RxDescriptor { buffer: buffer.into(), len, checksum_valid });
        if let Some(slot) = self.record.rx_slots.get_mut((index % RX_SLOTS as u64) as usize) {
            *slot = buffer;
        }
        // A driver that dies here has delivered nothing; the slot counts from the index on.
        core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::Release);
        self.record.rx_produced = index.wrapping_add(1);
        self.shared.store(shared::RX_PRODUCED, self.record.rx_produced);
    }

    /// Hands the stack a frame that came from elsewhere: `fill` writes it into a free buffer and returns its length. `false` if no
    /// buffer is free.
    pub fn deliver_copy(&mut self, checksum_valid: bool, fill: impl FnOnce(&mut [u8]) -> usize) -> bool {
        let Some(buffer) = self.take_buffer() else { return false };
        let Some(at) = self.buffer(buffer) else { return false };
        // SAFETY: the buffer is neither the card's nor the stack's, and nobody else of this program has a reference to it.
        let bytes = unsafe { core::slice::from_raw_parts_mut(at.add(FRAME_OFFSET).as_ptr(), MAX_RX_FRAME) };
        let len = fill(bytes);
        self.deliver(buffer, len, checksum_valid);
        true
    }

    /// Takes back the buffers that the stack is done with; how many.
    ///
    /// # Errors
    /// [`Violation::RxConsumed`]: nothing was taken back.
    pub fn reclaim(&mut self) -> Result<usize, Violation> {
        let value = self.shared.load(shared::RX_CONSUMED);
        let count = value.wrapping_sub(self.record.rx_consumed);
        if count > self.record.rx_produced.wrapping_sub(self.record.rx_consumed) {
            return Err(Violation::RxConsumed { value });
        }
        for index in 0..count {
            let buffer = self.slot(self.record.rx_consumed.wrapping_add(index));
            self.give_back(buffer);
        }
        self.record.rx_consumed = value;
        Ok(count as usize)
    }

    /// Frames delivered that the stack did not consume yet, as far as known.
    #[must_use]
    pub fn backlog(&self) -> u64 {
        self.record.rx_produced.wrapping_sub(self.record.rx_consumed)
    }

    /// Buffers that the card has: all that are neither free nor with the stack.
    #[must_use]
    pub fn lent_buffers(&self) -> usize {
        let with_stack = usize::try_from(self.backlog()).unwrap_or(RX_SLOTS);
        RX_SLOTS.saturating_sub(self.free_count).saturating_sub(with_stack)
    }

    /// How far the stack posted frames to send.
    ///
    /// # Errors
    /// [`Violation::TxPosted`].
    pub fn tx_posted(&self) -> Result<u64, Violation> {
        let value = self.shared.load(shared::TX_POSTED);
        let is_sane =
            value >= self.record.tx_taken && value.wrapping_sub(self.record.tx_done) <= TX_SLOTS as u64;
        if is_sane { Ok(value) } else { Err(Violation::TxPosted { value }) }
    }

    /// How far they were taken.
    #[must_use]
    pub fn tx_taken(&self) -> u64 {
        self.record.tx_taken
    }

    /// The next frame to send; [`Self::taken`] takes it. First it is given to the card, then taken: so a driver that dies in between
    /// finds it with the card, and does not lose it.
    ///
    /// # Errors
    /// [`Violation::TxPosted`]: nothing can be taken. [`Violation::TxDescriptor`]: that frame is dropped and done; ask again.
    pub fn next_tx(&mut self) -> Result<Option<Submission>, Violation> {
        let index = self.record.tx_taken;
        if self.tx_posted()? == index {
            return Ok(None);
        }
        let submission = self.shared.read_tx(index).and_then(|found| self.check(index, found));
        if submission.is_none() {
            self.taken(index);
            self.complete(index);
            return Err(Violation::TxDescriptor { index });
        }
        Ok(submission)
    }

    /// The frame that [`Self::next_tx`] gave is taken, and under way until [`Self::complete`]. Another index is ignored.
    pub fn taken(&mut self, index: u64) {
        if index == self.record.tx_taken {
            self.record.tx_taken = index.wrapping_add(1);
        }
    }

    /// [`Self::next_tx`] and [`Self::taken`] in one.
    ///
    /// # Errors
    /// As [`Self::next_tx`].
    pub fn take_tx(&mut self) -> Result<Option<Submission>, Violation> {
        let next = self.next_tx()?;
        if let Some(submission) = &next {
            self.taken(submission.index);
        }
        Ok(next)
    }

    fn check(&self, index: u64, found: TxDescriptor) -> Option<Submission> {
        let TxDescriptor { unit, len, offload } = found;
        let len = len as usize;
        if !(MIN_FRAME..=MAX_FRAME).contains(&len) {
            return None;
        }
        let at = self.shared.tx_bytes(unit, len)?;
        let (start, offset, header_len, mss) = match offload {
            Offload::None => return (len <= MAX_RX_FRAME).then_some(Submission { index, at, len, offload }),
            Offload::Checksum { start, offset } if len <= MAX_RX_FRAME => (start, offset, 0, 1),
            Offload::Checksum { .. } => return None,
            Offload::Segment { start, offset, header_len, mss } => (start, offset, header_len, mss),
        };
        let sum_fits = usize::from(start) + usize::from(offset) + 2 <= len;
        let split_fits =
            usize::from(header_len) < len && usize::from(header_len) + usize::from(mss) <= MAX_RX_FRAME;
        (sum_fits && split_fits && mss > 0).then_some(Submission { index, at, len, offload })
    }

    /// Index that the next frame delivered gets: all that was delivered so far is below it.
    #[must_use]
    pub fn rx_index(&self) -> u64 {
        self.record.rx_produced
    }

    /// A frame was sent, or dropped. Frames may be done in any order; the stack sees them in the order of the ring. An index
    /// that is not under way is ignored.
    pub fn complete(&mut self, index: u64) {
        if index < self.record.tx_done || index >= self.record.tx_taken {
            return;
        }
        if let Some(done) = self.done.get_mut((index % TX_SLOTS as u64) as usize) {
            *done = true;
        }
        self.publish_done();
    }

    /// Moves `tx_done` over all frames that are done.
    pub(super) fn publish_done(&mut self) {
        let before = self.record.tx_done;
        while self.record.tx_done < self.record.tx_taken {
            let slot = self.done.get_mut((self.record.tx_done % TX_SLOTS as u64) as usize);
            if !slot.is_some_and(core::mem::take) {
                break;
            }
            self.record.tx_done = self.record.tx_done.wrapping_add(1);
        }
        if self.record.tx_done != before {
            self.shared.store(shared::TX_DONE, self.record.tx_done);
        }
    }

    /// [`Self::complete`] for whoever remembers only the slot (`index` modulo [`TX_SLOTS`]) of a frame under way.
    pub fn complete_slot(&mut self, slot: u8) {
        let done = self.record.tx_done;
        let ahead = u64::from(slot).wrapping_sub(done) % TX_SLOTS as u64;
        self.complete(done.wrapping_add(ahead));
    }

    /// Frames taken and not done.
    #[must_use]
    pub fn tx_under_way(&self) -> u64 {
        self.record.tx_taken.wrapping_sub(self.record.tx_done)
    }

    /// Whether the stack sleeps and must be signalled for what was delivered or done. Ask once after a batch.
    #[must_use = "a wake-up that is not sent stalls the link"]
    pub fn must_wake(&self) -> bool {
        let rx = self.shared.is_due(shared::RX_WAKE_AT, self.record.rx_produced);
        rx | self.shared.is_due(shared::TX_WAKE_AT, self.record.tx_done)
    }

    /// Asks for a kick when the stack posts a frame; `false` if it has.
    #[must_use]
    pub fn arm_tx(&self) -> bool {
        let next = self.record.tx_taken.wrapping_add(1);
        self.shared.arm(shared::TX_KICK_AT, next, shared::TX_POSTED)
    }

    /// Asks for a kick when the stack consumed `frames` more frames, cut to what it holds; `false` if it has.
    #[must_use]
    pub fn arm_rx(&self, frames: u64) -> bool {
        let at = self.record.rx_consumed.wrapping_add(frames.clamp(1, self.backlog().max(1)));
        self.shared.arm(shared::RX_KICK_AT, at, shared::RX_CONSUMED)
    }

    /// Wants no kicks while it is at work.
    pub fn disarm(&self) {
        self.shared.store(shared::TX_KICK_AT, AWAKE);
        self.shared.store(shared::RX_KICK_AT, AWAKE);
    }
}

/// Shortest frame: an Ethernet header.
const MIN_FRAME: usize = 14;
