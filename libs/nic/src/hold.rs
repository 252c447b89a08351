//! The pool of frames whose flow is held: copies in the driver's state region, so that its next start has them too.
//!
//! A record counts from the store of its `order` on, which comes last; orders grow, so a scan finds the frames again in the order in
//! which they came. A frame on its way to a stack carries the index that it gets in that stack's rx ring: whether it got there
//! is then known after a crash, and it is neither lost nor delivered twice.
//!
//! The pool never decides whose a frame is ([`crate::steer`] does), and never grows: a frame beyond its bounds is refused.

use crate::flow::FlowKey;
use crate::region::MAX_RX_FRAME;
use core::fmt;
use core::sync::atomic::{Ordering, compiler_fence};

/// Frames in the pool.
pub const POOL_FRAMES: usize = 128;
/// Frames of one flow: more than an initial window, less than would push all others out.
pub const FLOW_FRAMES: usize = 32;
/// Bytes of a record.
pub const HELD_RECORD_BYTES: usize = size_of::<HeldRecord>();

/// A place for one frame. All zero is an empty one.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct HeldRecord {
    /// Place in the order of arrival, from 1 on; 0 = empty.
    order: u64,
    /// The entry of the flow table that it matched when it came.
    flow: [u64; 3],
    /// Its own flow.
    frame: [u64; 3],
    /// Index in the rx ring of the stack that it is on its way to.
    index: u64,
    /// That stack's number + 1; 0 = none.
    stack: u32,
    len: u32,
    checksum_valid: u32,
    bytes: [u8; MAX_RX_FRAME],
}

// SAFETY: `repr(C)`, integers only: 64 + 12 + 2036 bytes, a multiple of 8, so without padding.
unsafe impl hic_abi::Plain for HeldRecord {}
const _: () = assert!(size_of::<HeldRecord>() == 64 + 12 + MAX_RX_FRAME);

/// A frame in the pool.
#[derive(Clone, Copy, Debug)]
pub struct HeldFrame<'a> {
    /// Its own flow.
    pub frame: FlowKey,
    /// As [`crate::RxFrame::checksum_valid`].
    pub checksum_valid: bool,
    /// Its octets from the Ethernet header on.
    pub bytes: &'a [u8],
}

/// Why a frame was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolError {
    /// As many frames of its flow as may be are there.
    FlowFull,
    /// All places are taken.
    Full,
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FlowFull => write!(f, "{FLOW_FRAMES} frames of this flow are held already"),
            Self::Full => f.write_str("the pool of held frames is full"),
        }
    }
}

impl core::error::Error for PoolError {}

/// What [`HeldPool::attach`] found. All zero after an orderly end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolRepair {
    /// Records with impossible content, now free.
    pub broken: usize,
    /// Frames that had been delivered and not freed, now free.
    pub delivered: usize,
}

/// The pool.
#[derive(Debug)]
pub struct HeldPool<'a> {
    records: &'a mut [HeldRecord],
    count: usize,
    next: u64,
}

impl<'a> HeldPool<'a> {
    /// Takes over records (all zero for an empty pool). `delivered` tells whether the rx ring of a stack (by number) was filled up to
    /// and including an index.
    pub fn attach(records: &'a mut [HeldRecord], delivered: impl Fn(u32, u64) -> bool) -> (Self, PoolRepair) {
        let (mut repair, mut count, mut last) = (PoolRepair::default(), 0, 0);
        for record in records.iter_mut().filter(|record| record.order != 0) {
            let is_good = (14..=MAX_RX_FRAME).contains(&(record.len as usize))
                && FlowKey::from_words(record.flow).is_some()
                && FlowKey::from_words(record.frame).is_some()
                && record.order < u64::MAX;
            let is_done = record.stack.checked_sub(1).is_some_and(|stack| delivered(stack, record.index));
            if is_good && !is_done {
                record.stack = 0;
                count += 1;
                last = last.max(record.order);
                continue;
            }
            record.order = 0;
            *(if is_good { &mut repair.delivered } else { &mut repair.broken }) += 1;
        }
        (Self { records, count, next: last + 1 }, repair)
    }

    /// Frames in the pool.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Keeps a frame of the flow `frame` that matched the table's entry `flow`; `fill` writes its octets and returns how many.
    ///
    /// # Errors
    /// [`PoolError`]; the frame was not copied.
    pub fn keep(
        &mut self,
        (flow, frame): (&FlowKey, &FlowKey),
        checksum_valid: bool,
        fill: impl FnOnce(&mut [u8]) -> usize,
    ) -> Result<(), PoolError> {
        let words = flow.to_words();
        let used = self.records.iter().filter(|record| record.order != 0);
        if used.filter(|record| record.flow == words).count() >= FLOW_FRAMES {
            return Err(PoolError::FlowFull);
        }
        let record = self.records.iter_mut().find(|record| record.order == 0).ok_or(PoolError::Full)?;
        let len = fill(&mut record.bytes).min(MAX_RX_FRAME);
        (record.flow, record.frame) = (words, frame.to_words());
        (record.index, record.stack) = (0, 0);
        (record.len, record.checksum_valid) = (len as u32, checksum_valid.into());
        compiler_fence(Ordering::Release);
        record.order = self.next;
        self.next += 1;
        self.count += 1;
        Ok(())
    }

    /// Whether a frame of exactly this flow waits: a later one must wait behind it.
    #[must_use]
    pub fn has(&self, frame: &FlowKey) -> bool {
        let words = frame.to_words();
        self.count > 0 && self.records.iter().any(|record| record.order != 0 && record.frame == words)
    }

    /// Order and place of the oldest frame that came after `order` (0: of all).
    #[must_use]
    pub fn next_after(&self, order: u64) -> Option<(u64, usize)> {
        let later = self.records.iter().enumerate().filter(|(_, record)| record.order > order);
        later.map(|(place, record)| (record.order, place)).min()
    }

    /// The frame in a place.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<HeldFrame<'_>> {
        let record = self.records.get(place).filter(|record| record.order != 0)?;
        Some(HeldFrame {
            frame: FlowKey::from_words(record.frame)?,
            checksum_valid: record.checksum_valid != 0,
            bytes: record.bytes.get(..record.len as usize)?,
        })
    }

    /// Notes that the frame in a place is about to become number `index` of the rx ring of `stack`.
    pub fn set_target(&mut self, place: usize, stack: u32, index: u64) {
        if let Some(record) = self.records.get_mut(place) {
            record.index = index;
            compiler_fence(Ordering::Release);
            record.stack = stack + 1;
            compiler_fence(Ordering::Release);
        }
    }

    /// Frees a place.
    pub fn free(&mut self, place: usize) {
        if let Some(record) = self.records.get_mut(place).filter(|record| record.order != 0) {
            record.order = 0;
            self.count -= 1;
        }
    }
}
