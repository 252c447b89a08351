//! Telling a packet region's driver side what the card has: nothing after a reset, or what the queues of a running card say.
//!
//! The orders that make a driver's death at any instruction harmless:
//! - *receive*: delivered into the rx ring (`rx_produced`), then taken out of the card's queue. In between the buffer is in both:
//!   [`DriverSide::is_delivered`] tells, and the used entry is skipped.
//! - *send*: given to the card's queue, then taken from the tx ring (`tx_taken`). In between the queue has a frame that the ring
//!   does not know as taken: [`DriverSide::card_goes_on`] takes it.
//! - *sent*: taken out of the card's queue, then done (`tx_done`). In between a frame is under way and not with the card:
//!   [`DriverSide::card_goes_on`] completes it.

use super::driver::DriverSide;
use super::layout::{FRAME_OFFSET, MAX_RX_FRAME, RX_SLOTS, TX_SLOTS};
use core::ptr::NonNull;

/// What of one stack is with the card.
#[derive(Clone, Copy, Debug)]
pub struct WithCard {
    /// Buffers to receive into.
    pub buffers: [bool; RX_SLOTS],
    /// Slots of the tx ring.
    pub slots: [bool; TX_SLOTS],
}

impl WithCard {
    /// Nothing.
    pub const NOTHING: Self = Self { buffers: [false; RX_SLOTS], slots: [false; TX_SLOTS] };

    /// Adds a buffer; `false` if it does not exist or was added before.
    pub fn add_buffer(&mut self, buffer: u16) -> bool {
        self.buffers.get_mut(usize::from(buffer)).is_some_and(|with| !core::mem::replace(with, true))
    }

    /// Adds a slot of the tx ring; `false` if it was added before.
    pub fn add_slot(&mut self, slot: u8) -> bool {
        self.slots.get_mut(usize::from(slot)).is_some_and(|with| !core::mem::replace(with, true))
    }
}

/// A delivered frame that the stack did not consume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unconsumed {
    /// Its first octet. The stack can still change the octets.
    pub at: NonNull<u8>,
    /// Octets.
    pub len: usize,
    /// As [`super::RxFrame::checksum_valid`].
    pub checksum_valid: bool,
}

impl DriverSide<'_> {
    /// The card has no buffer and no frame any more: all buffers that the stack does not hold are free, and frames that were not
    /// done are given out again.
    pub fn card_was_reset(&mut self) {
        self.record.tx_taken = self.record.tx_done;
        self.done = [false; TX_SLOTS];
        self.collect_free(&WithCard::NOTHING);
    }

    /// The card runs on with what its queues say. `false` if that cannot be: reset the card, and say so.
    #[must_use]
    pub fn card_goes_on(&mut self, with: &WithCard) -> bool {
        let no_overlap = (0..RX_SLOTS as u16).all(|buffer| {
            !with.buffers.get(usize::from(buffer)).is_some_and(|with| *with) || !self.is_delivered(buffer)
        });
        if !no_overlap || !self.settle_tx(&with.slots) {
            return false;
        }
        self.collect_free(with);
        true
    }

    /// Makes `tx_taken` and `tx_done` agree with the slots that the card has.
    fn settle_tx(&mut self, slots: &[bool; TX_SLOTS]) -> bool {
        let has = |index: u64| slots.get((index % TX_SLOTS as u64) as usize).is_some_and(|with| *with);
        let (done, taken) = (self.record.tx_done, self.record.tx_taken);
        let untaken = taken.wrapping_sub(done) < TX_SLOTS as u64 && has(taken);
        let taken = taken.wrapping_add(untaken.into());
        let under_way = (done..taken).filter(|index| has(*index)).count();
        if under_way != slots.iter().filter(|with| **with).count() {
            return false;
        }
        self.record.tx_taken = taken;
        self.done = [false; TX_SLOTS];
        for index in (done..taken).filter(|index| !has(*index)) {
            if let Some(done) = self.done.get_mut((index % TX_SLOTS as u64) as usize) {
                *done = true;
            }
        }
        self.publish_done();
        true
    }

    /// Whether a buffer lies in the rx ring, delivered and not taken back.
    #[must_use]
    pub fn is_delivered(&self, buffer: u16) -> bool {
        (self.record.rx_consumed..self.record.rx_produced).any(|index| self.slot(index) == buffer)
    }

    /// All buffers that neither the card nor the stack has are free.
    fn collect_free(&mut self, with: &WithCard) {
        self.free_count = 0;
        let mut taken = with.buffers;
        for index in self.record.rx_consumed..self.record.rx_produced {
            if let Some(taken) = taken.get_mut(usize::from(self.slot(index))) {
                *taken = true;
            }
        }
        for (buffer, _) in taken.iter().enumerate().filter(|(_, taken)| !**taken) {
            self.give_back(buffer as u16);
        }
    }

    /// Of a stack that is gone: the oldest frame that it had not consumed. Its descriptor is the stack's to spoil, so an impossible one
    /// is an empty frame. Then [`Self::drop_unconsumed`].
    #[must_use]
    pub fn unconsumed(&self) -> Option<Unconsumed> {
        let index = self.record.rx_consumed;
        if index == self.record.rx_produced {
            return None;
        }
        let told = self.shared.read_rx(index);
        let buffer = self.shared.rx_buffer(self.slot(index).into())?;
        let len = if told.len as usize <= MAX_RX_FRAME { told.len as usize } else { 0 };
        // SAFETY: the offset of the frame lies inside the buffer.
        let at = unsafe { buffer.add(FRAME_OFFSET) };
        Some(Unconsumed { at, len, checksum_valid: told.checksum_valid })
    }

    /// The oldest frame is consumed in the name of the stack that is gone.
    pub fn drop_unconsumed(&mut self) {
        let index = self.record.rx_consumed;
        if index != self.record.rx_produced {
            let buffer = self.slot(index);
            self.record.rx_consumed = index.wrapping_add(1);
            self.give_back(buffer);
        }
    }
}
