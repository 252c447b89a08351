//! The stack's view: a half that receives and a half that sends, so that a frame can be answered while it is looked at.
//!
//! The driver is trusted to keep to the protocol (it made the region), but its indices are checked all the same: a driver
//! that died half way must not crash the stack.

use super::Offload;
use super::layout::{
    AWAKE, BUFFER_BYTES, FRAME_OFFSET, LayoutError, MAX_FRAME, MAX_RX_FRAME, RX_SLOTS, TX_SLOTS, TX_UNITS,
};
use super::shared::{self, RxDescriptor, Shared, TxDescriptor};

/// Opens a packet region and continues at the indices that are in it: frames that an earlier start had not consumed come
/// again.
///
/// # Safety
/// `base..base + len` must be the mapped region, mapped for as long as the halves live; no other halves for it may be used
/// meanwhile; no Rust reference into it may exist.
///
/// # Errors
/// [`LayoutError`] if the memory is no packet region of this version.
pub unsafe fn attach(base: *mut u8, len: usize) -> Result<(RxHalf, TxHalf), LayoutError> {
    // SAFETY: the caller's contract is the callee's.
    let shared = unsafe { Shared::new(base, len) }?;
    shared.check_header()?;
    shared.store(shared::RX_WAKE_AT, AWAKE);
    shared.store(shared::TX_WAKE_AT, AWAKE);
    let consumed = shared.load(shared::RX_CONSUMED);
    Ok((RxHalf { shared, consumed }, TxHalf::resume(shared)))
}

/// A received frame, in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RxFrame<'a> {
    /// Its octets from the Ethernet header on, without check sequence.
    pub bytes: &'a [u8],
    /// The card checked the TCP or UDP checksum and found it right, or the sender is on this machine and left it out.
    pub checksum_valid: bool,
}

/// The receiving half.
#[derive(Debug)]
pub struct RxHalf {
    shared: Shared,
    consumed: u64,
}

impl RxHalf {
    /// Frames that wait, at most [`RX_SLOTS`]; 0 for an impossible index.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let waiting = self.shared.load(shared::RX_PRODUCED).wrapping_sub(self.consumed);
        if waiting <= RX_SLOTS as u64 { waiting as usize } else { 0 }
    }

    /// Frames consumed since the region was made: the index of the oldest frame that waits. All below a receive fence
    /// ([`crate::Request::Hold`]) is consumed when this reaches it.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.consumed
    }

    /// The oldest frame that waits. It stays until [`Self::consume`]. An impossible descriptor shows as an empty frame.
    #[must_use]
    pub fn peek(&self) -> Option<RxFrame<'_>> {
        if self.waiting() == 0 {
            return None;
        }
        let RxDescriptor { buffer, len, checksum_valid } = self.shared.read_rx(self.consumed);
        let len = len as usize;
        let place = self.shared.rx_buffer(buffer).filter(|_| len <= MAX_RX_FRAME);
        // SAFETY: the buffer has `MAX_RX_FRAME` mapped octets after the card's header. The driver gives a buffer to the card
        // again only after `consume`, which needs `&mut self`, so nobody writes them meanwhile.
        let bytes =
            place.map(|at| unsafe { core::slice::from_raw_parts(at.add(FRAME_OFFSET).as_ptr(), len) });
        Some(RxFrame { bytes: bytes.unwrap_or_default(), checksum_valid })
    }

    /// Gives the oldest frame's buffer back, once all that the frame caused was published.
    pub fn consume(&mut self) {
        if self.waiting() > 0 {
            self.consumed = self.consumed.wrapping_add(1);
            self.shared.store(shared::RX_CONSUMED, self.consumed);
        }
    }

    /// Whether the doorbell must be signalled: the driver waits for buffers. Ask once after a batch.
    #[must_use = "a wake-up that is not sent stalls the link"]
    pub fn must_kick(&self) -> bool {
        self.shared.is_due(shared::RX_KICK_AT, self.consumed)
    }

    /// Announces that this side is about to wait for frames; `false` if there is one.
    #[must_use]
    pub fn sleep(&self) -> bool {
        self.shared.arm(shared::RX_WAKE_AT, self.consumed.wrapping_add(1), shared::RX_PRODUCED)
    }
}

/// The sending half.
#[derive(Debug)]
pub struct TxHalf {
    shared: Shared,
    posted: u64,
    done: u64,
    /// Next free unit and first unit in use, both counted without wrapping.
    head: u64,
    tail: u64,
    /// `head` after the frame in each slot.
    ends: [u64; TX_SLOTS],
    /// Unit and length of what [`Self::reserve`] gave out.
    reserved: Option<(u64, usize)>,
}

impl TxHalf {
    /// Takes over frames that an earlier start posted: their units are in use until they are done.
    fn resume(shared: Shared) -> Self {
        let (posted, done) = (shared.load(shared::TX_POSTED), shared.load(shared::TX_DONE));
        let mut half = Self { shared, posted, done, head: 0, tail: 0, ends: [0; TX_SLOTS], reserved: None };
        if posted.wrapping_sub(done) > TX_SLOTS as u64 {
            half.done = posted;
        }
        for index in half.done..posted {
            let Some(old) = shared.read_tx(index) else { continue };
            half.resume_frame(index, old);
        }
        half
    }

    fn resume_frame(&mut self, index: u64, old: TxDescriptor) {
        let lap = TX_UNITS as u64;
        if index == self.done {
            self.head = u64::from(old.unit) % lap;
            self.tail = self.head;
        }
        let ahead = (u64::from(old.unit) + lap - self.head % lap) % lap;
        self.head += ahead + units(old.len as usize).min(lap);
        if let Some(end) = self.ends.get_mut((index % TX_SLOTS as u64) as usize) {
            *end = self.head;
        }
    }

    /// Learns which frames are done.
    fn reclaim(&mut self) {
        let done = self.shared.load(shared::TX_DONE);
        // Beyond what was posted, or back: the driver cannot have meant it.
        if done <= self.done || done > self.posted {
            return;
        }
        if let Some(end) = self.ends.get(((done - 1) % TX_SLOTS as u64) as usize) {
            self.tail = *end;
        }
        self.done = done;
    }

    /// How many frames of `len` octets each [`Self::reserve`] will take now, one after the other.
    pub fn room(&mut self, len: usize) -> usize {
        self.reclaim();
        let (lap, need) = (TX_UNITS as u64, units(len));
        let slots = TX_SLOTS as u64 - (self.posted - self.done);
        let free = lap.saturating_sub(self.head - self.tail);
        // A frame lies in one piece: what is too short for it before the end of the area is skipped.
        let before_end = free.min(lap - self.head % lap);
        slots.min(before_end / need + (free - before_end) / need) as usize
    }

    /// Memory for a frame of `len` octets (1 to [`MAX_FRAME`]), to be filled and then handed over by [`Self::commit`]. Its
    /// content is undefined. `None` when there is no room now.
    pub fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        if len == 0 || len > MAX_FRAME || self.room(len) == 0 {
            return None;
        }
        let (lap, need) = (TX_UNITS as u64, units(len));
        let left = lap - self.head % lap;
        let start = if need <= left { self.head } else { self.head + left };
        self.reserved = Some((start, len));
        let at = self.shared.tx_bytes((start % lap) as u32, len)?;
        // SAFETY: mapped octets inside the tx area. The units are this half's alone until `commit`: the card has only those of
        // posted frames, which lie between `tail` and `head`; the returned borrow keeps `self` from giving them out twice.
        Some(unsafe { core::slice::from_raw_parts_mut(at.as_ptr(), len) })
    }

    /// Hands over what [`Self::reserve`] gave, all of it; without a reservation nothing happens. Then ask [`Self::must_kick`].
    pub fn commit(&mut self, offload: Offload) {
        let Some((start, len)) = self.reserved.take() else { return };
        let unit = (start % TX_UNITS as u64) as u32;
        self.shared.write_tx(self.posted, TxDescriptor { unit, len: len as u32, offload });
        self.head = start + units(len);
        if let Some(end) = self.ends.get_mut((self.posted % TX_SLOTS as u64) as usize) {
            *end = self.head;
        }
        self.posted = self.posted.wrapping_add(1);
        self.shared.store(shared::TX_POSTED, self.posted);
    }

    /// Whether the doorbell must be signalled for what was committed. Ask once after a batch.
    #[must_use = "a wake-up that is not sent stalls the link"]
    pub fn must_kick(&self) -> bool {
        self.shared.is_due(shared::TX_KICK_AT, self.posted)
    }

    /// Announces that this side is about to wait until `frames` (cut to what is under way) more frames are done; `false` if
    /// nothing is under way or they are.
    #[must_use]
    pub fn sleep_for_room(&mut self, frames: u32) -> bool {
        self.reclaim();
        let under_way = self.posted - self.done;
        if under_way == 0 {
            return false;
        }
        let at = self.done + u64::from(frames).clamp(1, under_way);
        self.shared.arm(shared::TX_WAKE_AT, at, shared::TX_DONE)
    }

    /// Frames posted and not yet done.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        self.posted - self.done
    }
}

/// Units that a frame takes.
fn units(len: usize) -> u64 {
    len.div_ceil(BUFFER_BYTES).max(1) as u64
}
