//! The parts of a queue that the card reads and writes (virtio 1.2, 2.7.5 to 2.7.8). The only place that touches them.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

/// Descriptor flag: another one follows.
pub(super) const NEXT: u16 = 1;
/// Descriptor flag: the card writes.
pub(super) const WRITE: u16 = 2;
/// In either ring's flags: do not signal.
pub(super) const NO_SIGNAL: u16 = 1;

const fn available_at(size: usize) -> usize {
    16 * size
}

const fn used_at(size: usize) -> usize {
    (available_at(size) + 6 + 2 * size).next_multiple_of(64)
}

/// Bytes of DMA memory for a queue of `size` descriptors, a whole number of pages.
#[must_use]
pub const fn queue_bytes(size: u16) -> usize {
    (used_at(size as usize) + 6 + 8 * size as usize).next_multiple_of(4096)
}

/// Where the card finds the parts of a queue, physical.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueAddresses {
    /// Descriptor table.
    pub descriptors: u64,
    /// Available ring ("driver area").
    pub available: u64,
    /// Used ring ("device area").
    pub used: u64,
}

/// The memory of one queue.
#[derive(Debug)]
pub(super) struct Memory {
    base: NonNull<u8>,
    size: usize,
}

// SAFETY: an address and a size; all access is atomic.
unsafe impl Send for Memory {}

impl Memory {
    /// # Safety
    /// `base` is 4096-aligned and starts [`queue_bytes`]`(size)` bytes that are mapped for the life of the value and that this
    /// program has no Rust reference to.
    pub(super) const unsafe fn new(base: NonNull<u8>, size: u16) -> Self {
        Self { base, size: size as usize }
    }

    pub(super) fn addresses(&self, physical: u64) -> QueueAddresses {
        QueueAddresses {
            descriptors: physical,
            available: physical + available_at(self.size) as u64,
            used: physical + used_at(self.size) as u64,
        }
    }

    pub(super) fn clear(&self) {
        let words = queue_bytes(self.size as u16) / 8;
        // SAFETY: inside the mapping, 8-aligned.
        let word = |at| unsafe { AtomicU64::from_ptr(self.base.cast::<u64>().add(at).as_ptr()) };
        (0..words).for_each(|at| word(at).store(0, Ordering::Relaxed));
    }

    fn u16_at(&self, at: usize) -> &AtomicU16 {
        // SAFETY: private callers below stay inside `queue_bytes` (indices are taken modulo the size), 2-aligned.
        unsafe { AtomicU16::from_ptr(self.base.add(at).cast().as_ptr()) }
    }

    pub(super) fn write_descriptor(&self, index: usize, address: u64, len: u32, flags: u16, next: u16) {
        let at = 16 * (index % self.size);
        let rest = u64::from(len) | u64::from(flags) << 32 | u64::from(next) << 48;
        // SAFETY: the descriptor lies inside the mapping, 16-aligned.
        let [first, second] = unsafe {
            let first = self.base.add(at).cast::<u64>();
            [AtomicU64::from_ptr(first.as_ptr()), AtomicU64::from_ptr(first.add(1).as_ptr())]
        };
        first.store(address, Ordering::Relaxed);
        second.store(rest, Ordering::Relaxed);
    }

    pub(super) fn available_flags(&self) -> &AtomicU16 {
        self.u16_at(available_at(self.size))
    }

    pub(super) fn available_index(&self) -> &AtomicU16 {
        self.u16_at(available_at(self.size) + 2)
    }

    pub(super) fn available_entry(&self, index: u16) -> &AtomicU16 {
        self.u16_at(available_at(self.size) + 4 + 2 * (usize::from(index) % self.size))
    }

    /// Signal us when the used index passes this (2.7.10).
    pub(super) fn used_event(&self) -> &AtomicU16 {
        self.u16_at(available_at(self.size) + 4 + 2 * self.size)
    }

    pub(super) fn used_flags(&self) -> &AtomicU16 {
        self.u16_at(used_at(self.size))
    }

    pub(super) fn used_index(&self) -> &AtomicU16 {
        self.u16_at(used_at(self.size) + 2)
    }

    /// The head descriptor and the length of a used entry.
    pub(super) fn used_entry(&self, index: u16) -> [&AtomicU32; 2] {
        let at = used_at(self.size) + 4 + 8 * (usize::from(index) % self.size);
        // SAFETY: the entry lies inside the mapping, 4-aligned.
        unsafe {
            let id = self.base.add(at).cast::<u32>();
            [AtomicU32::from_ptr(id.as_ptr()), AtomicU32::from_ptr(id.add(1).as_ptr())]
        }
    }

    /// The card wants to be told when the available index passes this (2.7.10).
    pub(super) fn available_event(&self) -> &AtomicU16 {
        self.u16_at(used_at(self.size) + 4 + 8 * self.size)
    }
}
