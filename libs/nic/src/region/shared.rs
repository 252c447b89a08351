//! The only place that touches the packet region. It knows where words, descriptors and buffers are, not what they mean.
//!
//! Words and descriptors are atomics, packet octets are reached by pointer. Whatever the other side does to the memory
//! meanwhile can give wrong values, which the callers check, but no wrong access.

use super::Offload;
use super::layout::{
    AWAKE, BUFFER_BYTES, DESCRIPTOR, HEADER, LayoutError, REGION_BYTES, RX_BUFFERS, RX_DESCRIPTORS, RX_SLOTS,
    TX_AREA, TX_DESCRIPTORS, TX_SLOTS, TX_UNITS,
};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Offset of an index or a wake-up word.
#[derive(Clone, Copy)]
pub(super) struct Word(usize);

pub(super) const RX_PRODUCED: Word = Word(64);
pub(super) const RX_CONSUMED: Word = Word(128);
pub(super) const TX_POSTED: Word = Word(192);
pub(super) const TX_DONE: Word = Word(256);
/// The stack sleeps until `rx_produced` reaches this.
pub(super) const RX_WAKE_AT: Word = Word(320);
/// The stack sleeps until `tx_done` reaches this.
pub(super) const TX_WAKE_AT: Word = Word(384);
/// The driver wants a kick when `rx_consumed` reaches this.
pub(super) const RX_KICK_AT: Word = Word(448);
/// The driver wants a kick when `tx_posted` reaches this.
pub(super) const TX_KICK_AT: Word = Word(512);

/// In an rx descriptor: the checksum was checked.
const RX_CHECKSUM_VALID: u64 = 1 << 32;

/// A received frame, as its descriptor tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RxDescriptor {
    pub buffer: u32,
    pub len: u32,
    pub checksum_valid: bool,
}

/// A frame to send, as its descriptor tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TxDescriptor {
    /// First unit of the tx area.
    pub unit: u32,
    /// Octets.
    pub len: u32,
    pub offload: Offload,
}

/// A mapped packet region whose length was checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shared {
    base: NonNull<u8>,
}

// SAFETY: an address; all access through it is atomic or by raw pointer, valid from any thread as long as the mapping is.
unsafe impl Send for Shared {}

impl Shared {
    /// # Safety
    /// `base..base + len` must be mapped readable and writable for as long as the value or a copy of it lives, and be memory
    /// that this program holds no Rust reference to.
    pub(super) unsafe fn new(base: *mut u8, len: usize) -> Result<Self, LayoutError> {
        let base =
            NonNull::new(base).filter(|b| b.as_ptr().addr() % 64 == 0).ok_or(LayoutError::Misaligned)?;
        if len < REGION_BYTES { Err(LayoutError::TooShort { have: len }) } else { Ok(Self { base }) }
    }

    fn header_word(&self, index: usize) -> &AtomicU32 {
        // SAFETY: the header's words lie below 64, inside the mapping, 4-aligned; all access is atomic.
        unsafe { AtomicU32::from_ptr(self.base.add(index.min(15) * 4).cast().as_ptr()) }
    }

    pub(super) fn write_header(&self) {
        for (index, value) in HEADER.into_iter().enumerate() {
            self.header_word(index).store(value, Ordering::Release);
        }
    }

    pub(super) fn check_header(&self) -> Result<(), LayoutError> {
        let mut words = HEADER.into_iter().enumerate();
        let same = words.all(|(index, value)| self.header_word(index).load(Ordering::Acquire) == value);
        if same { Ok(()) } else { Err(LayoutError::Header) }
    }

    pub(super) fn word(&self, word: Word) -> &AtomicU64 {
        // SAFETY: the constants above are 8-aligned and inside the first page; all access, on both sides, is atomic.
        unsafe { AtomicU64::from_ptr(self.base.add(word.0).cast().as_ptr()) }
    }

    pub(super) fn load(&self, word: Word) -> u64 {
        self.word(word).load(Ordering::Acquire)
    }

    pub(super) fn store(&self, word: Word, value: u64) {
        self.word(word).store(value, Ordering::Release);
    }

    /// Whether the side that armed `word` must be woken now that the index is at `index`; disarms it then.
    pub(super) fn is_due(&self, word: Word, index: u64) -> bool {
        // Pairs with the fence in `arm`: our index before, the look at its word after.
        fence(Ordering::SeqCst);
        let due = index >= self.word(word).load(Ordering::Relaxed);
        if due {
            self.word(word).store(AWAKE, Ordering::Relaxed);
        }
        due
    }

    /// Asks to be woken when `index` reaches `at`; `false`, and not armed, if it has.
    pub(super) fn arm(&self, word: Word, at: u64, index: Word) -> bool {
        self.word(word).store(at, Ordering::Relaxed);
        // Pairs with the fence in `is_due`.
        fence(Ordering::SeqCst);
        if self.load(index) < at {
            return true;
        }
        self.word(word).store(AWAKE, Ordering::Relaxed);
        false
    }

    /// The two words of descriptor `index` (modulo the ring's size).
    fn descriptor(&self, ring: usize, slots: usize, index: u64) -> [&AtomicU64; 2] {
        let at = ring + (index % slots as u64) as usize * DESCRIPTOR;
        // SAFETY: both rings lie inside the mapping and are 16-aligned; all access is atomic.
        unsafe {
            [
                AtomicU64::from_ptr(self.base.add(at).cast().as_ptr()),
                AtomicU64::from_ptr(self.base.add(at + 8).cast().as_ptr()),
            ]
        }
    }

    pub(super) fn write_rx(&self, index: u64, value: RxDescriptor) {
        let [place, flags] = self.descriptor(RX_DESCRIPTORS, RX_SLOTS, index);
        place.store(u64::from(value.buffer) << 32 | u64::from(value.len), Ordering::Relaxed);
        flags.store(if value.checksum_valid { RX_CHECKSUM_VALID } else { 0 }, Ordering::Relaxed);
    }

    pub(super) fn read_rx(&self, index: u64) -> RxDescriptor {
        let [place, flags] = self.descriptor(RX_DESCRIPTORS, RX_SLOTS, index);
        let (place, flags) = (place.load(Ordering::Relaxed), flags.load(Ordering::Relaxed));
        RxDescriptor {
            buffer: (place >> 32) as u32,
            len: place as u32,
            checksum_valid: flags & RX_CHECKSUM_VALID != 0,
        }
    }

    pub(super) fn write_tx(&self, index: u64, value: TxDescriptor) {
        // unit 10 bits, kind 2 bits, len 20 bits are packed wide: place = unit << 32 | kind << 30 | len.
        let (kind, fields) = match value.offload {
            Offload::None => (0, [0; 4]),
            Offload::Checksum { start, offset } => (1, [start, offset, 0, 0]),
            Offload::Segment { start, offset, header_len, mss } => (2, [start, offset, header_len, mss]),
        };
        let extra = fields.into_iter().fold(0, |word, field| word << 16 | u64::from(field));
        let [place, offload] = self.descriptor(TX_DESCRIPTORS, TX_SLOTS, index);
        place.store(u64::from(value.unit) << 32 | kind << 30 | u64::from(value.len), Ordering::Relaxed);
        offload.store(extra, Ordering::Relaxed);
    }

    /// `None` if the descriptor's kind is none that exists.
    pub(super) fn read_tx(&self, index: u64) -> Option<TxDescriptor> {
        let [place, offload] = self.descriptor(TX_DESCRIPTORS, TX_SLOTS, index);
        let (place, extra) = (place.load(Ordering::Relaxed), offload.load(Ordering::Relaxed));
        let [start, offset, header_len, mss] = [48, 32, 16, 0].map(|shift| (extra >> shift) as u16);
        let offload = match place >> 30 & 3 {
            0 => Offload::None,
            1 => Offload::Checksum { start, offset },
            2 => Offload::Segment { start, offset, header_len, mss },
            _ => return None,
        };
        Some(TxDescriptor { unit: (place >> 32) as u32, len: place as u32 & 0x3fff_ffff, offload })
    }

    /// The first octet of an rx buffer; `None` beyond the last.
    pub(super) fn rx_buffer(&self, buffer: u32) -> Option<NonNull<u8>> {
        let buffer = buffer as usize;
        // SAFETY: `buffer < RX_SLOTS`, so the result lies inside the mapping.
        (buffer < RX_SLOTS).then(|| unsafe { self.base.add(RX_BUFFERS + buffer * BUFFER_BYTES) })
    }

    /// The first octet of `len` octets from unit `unit` on; `None` if they do not fit in the tx area.
    pub(super) fn tx_bytes(&self, unit: u32, len: usize) -> Option<NonNull<u8>> {
        let at = unit as usize * BUFFER_BYTES;
        let end = at.checked_add(len)?;
        // SAFETY: `at <= end <= TX_UNITS * BUFFER_BYTES`, so the result lies inside the mapping.
        (end <= TX_UNITS * BUFFER_BYTES).then(|| unsafe { self.base.add(TX_AREA + at) })
    }
}
