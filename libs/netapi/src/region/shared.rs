//! The only place that touches shared memory. It knows where words and ring bytes are; it knows nothing of what they mean.
//!
//! No Rust reference to ring bytes is made here: bytes are copied through raw pointers, words are atomics. Whatever the
//! other side does to the memory meanwhile can give wrong values, which the callers check, but no wrong access.

use super::layout::{Layout, LayoutError};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64};

/// Offset of a 64-bit word.
#[derive(Clone, Copy)]
pub(super) struct Word64(usize);
/// Offset of a 32-bit word.
#[derive(Clone, Copy)]
pub(super) struct Word32(usize);

pub(super) const TX_WRITTEN: Word64 = Word64(64);
pub(super) const RX_CONSUMED: Word64 = Word64(128);
pub(super) const APP_FLAGS: Word32 = Word32(192);
pub(super) const TX_ACKED: Word64 = Word64(256);
pub(super) const RX_WRITTEN: Word64 = Word64(320);
pub(super) const STATUS: Word64 = Word64(384);
pub(super) const APP_WANTS: Word32 = Word32(448);
/// Bytes that make READABLE (low half) and WRITABLE (high half) true.
pub(super) const APP_THRESHOLDS: Word64 = Word64(456);
pub(super) const STACK_WANTS: Word32 = Word32(512);
/// `rx_consumed` from which on the stack wants a kick.
pub(super) const RX_KICK_AT: Word64 = Word64(520);

/// In `APP_FLAGS`: `tx_written` is final.
pub(super) const APP_TX_CLOSED: u32 = 1;
/// In `STACK_WANTS`: kick when something was written or the flags changed.
pub(super) const STACK_WANTS_TX: u32 = 1;
/// In `STACK_WANTS`: kick when `rx_consumed` reached `RX_KICK_AT`.
pub(super) const STACK_WANTS_RX: u32 = 2;

/// Which ring.
#[derive(Clone, Copy)]
pub(super) enum Ring {
    Tx,
    Rx,
}

/// A mapped region whose geometry was checked against its length.
#[derive(Debug)]
pub(super) struct Shared {
    base: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a `Shared` is an address and a geometry; all access through it is atomic or by raw copy, valid from any thread
// as long as the mapping is (contract of `new`).
unsafe impl Send for Shared {}

impl Shared {
    /// # Safety
    /// `base..base + len` must be mapped readable and writable for as long as the value lives, and be memory that this
    /// program holds no Rust reference to.
    pub(super) unsafe fn new(base: *mut u8, len: usize, layout: Layout) -> Result<Self, LayoutError> {
        layout.fits(len)?;
        let base = Self::aligned(base)?;
        Ok(Self { base, layout })
    }

    /// Copies the header of a region out.
    ///
    /// # Safety
    /// As [`Self::new`].
    pub(super) unsafe fn header(base: *mut u8, len: usize) -> Result<[u8; Layout::ENCODED], LayoutError> {
        let base = Self::aligned(base)?;
        if len < Layout::ENCODED {
            return Err(LayoutError::TooShort { need: Layout::ENCODED, have: len });
        }
        // SAFETY: the caller's contract; the length was checked. An array of bytes has no invalid values.
        Ok(unsafe { base.cast::<[u8; Layout::ENCODED]>().as_ptr().read_volatile() })
    }

    fn aligned(base: *mut u8) -> Result<NonNull<u8>, LayoutError> {
        let base = NonNull::new(base).ok_or(LayoutError::Misaligned)?;
        if base.as_ptr().addr() % 64 != 0 { Err(LayoutError::Misaligned) } else { Ok(base) }
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(super) fn write_header(&self) {
        let header = self.layout.encode();
        // SAFETY: every layout is longer than its header, and `new` checked the mapping against the layout.
        unsafe { self.base.cast::<[u8; Layout::ENCODED]>().as_ptr().write_volatile(header) }
    }

    pub(super) fn word64(&self, word: Word64) -> &AtomicU64 {
        // SAFETY: the constants above are 8-aligned and below 1024, where every layout's rings begin; `base` is 64-aligned
        // and mapped for the life of `self`. All access to these words, on both sides, is atomic.
        unsafe { AtomicU64::from_ptr(self.base.add(word.0).cast().as_ptr()) }
    }

    pub(super) fn word32(&self, word: Word32) -> &AtomicU32 {
        // SAFETY: as `word64`, 4-aligned.
        unsafe { AtomicU32::from_ptr(self.base.add(word.0).cast().as_ptr()) }
    }

    const fn ring(&self, ring: Ring) -> (usize, usize) {
        match ring {
            Ring::Tx => (self.layout.tx_offset(), self.layout.tx_size() as usize),
            Ring::Rx => (self.layout.rx_offset(), self.layout.rx_size() as usize),
        }
    }

    /// The one or two pieces that `len` bytes from `index` on occupy, `len` cut to the ring's size.
    pub(super) fn pieces(&self, ring: Ring, index: u64, len: usize) -> [(NonNull<u8>, usize); 2] {
        let (start, size) = self.ring(ring);
        let len = len.min(size);
        let position = (index % size as u64) as usize;
        let first = len.min(size - position);
        // SAFETY: `position < size`, and `start + size` lies within the mapping that `new` checked.
        let (head, tail) = unsafe { (self.base.add(start + position), self.base.add(start)) };
        [(head, first), (tail, len - first)]
    }

    /// Copies ring bytes from `index` on into `out`; bytes of `out` beyond the ring's size stay as they are.
    pub(super) fn copy_out(&self, ring: Ring, index: u64, out: &mut [u8]) {
        let mut rest = out;
        for (piece, len) in self.pieces(ring, index, rest.len()) {
            let (now, later) = rest.split_at_mut(len);
            // SAFETY: `piece` has `len` mapped bytes, `now` is exactly as long, and nobody holds a reference to ring bytes
            // that `now` could overlap (contract of `new`).
            unsafe { piece.as_ptr().copy_to_nonoverlapping(now.as_mut_ptr(), len) };
            rest = later;
        }
    }

    /// Copies `data` into the ring from `index` on; what exceeds the ring's size is not copied.
    pub(super) fn copy_in(&self, ring: Ring, index: u64, data: &[u8]) {
        let mut rest = data;
        for (piece, len) in self.pieces(ring, index, rest.len()) {
            let (now, later) = rest.split_at(len);
            // SAFETY: as `copy_out`, in the other direction.
            unsafe { piece.as_ptr().copy_from_nonoverlapping(now.as_ptr(), len) };
            rest = later;
        }
    }
}
