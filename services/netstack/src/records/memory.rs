//! The state region as words: the only file of the records that touches memory.
//!
//! What it must never do: access a byte outside the region it was given, or hand out a reference into it: the region of a peer changes while
//! it is read.

use core::sync::atomic::{AtomicU64, Ordering};

/// Mapped memory of at least [`super::BYTES`] bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    base: *mut u8,
}

/// The region is too small or not aligned, or its content has another format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRegion {
    /// Its bytes.
    pub have: usize,
}

impl core::fmt::Display for BadRegion {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let need = super::BYTES;
        write!(f, "state region of {} bytes: {need} are needed, aligned to 64, in this format", self.have)
    }
}

impl core::error::Error for BadRegion {}

impl Memory {
    /// # Safety
    /// `base..base + len` is mapped for reading for as long as the value lives (for writing too, if it is written through it), without a Rust
    /// reference into it.
    pub(super) unsafe fn new(base: *mut u8, len: usize) -> Result<Self, BadRegion> {
        let usable = len >= super::BYTES && !base.is_null() && base.addr().is_multiple_of(64);
        if usable { Ok(Self { base }) } else { Err(BadRegion { have: len }) }
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        debug_assert!(at.is_multiple_of(8) && at + 8 <= super::BYTES);
        // SAFETY: callers pass offsets inside `BYTES` that are multiples of 8; `new` checked length and alignment. All access to the
        // region while it is shared is atomic.
        unsafe { AtomicU64::from_ptr(self.base.add(at).cast()) }
    }

    pub(super) fn load(&self, at: usize) -> u64 {
        self.word(at).load(Ordering::Acquire)
    }

    pub(super) fn store(&self, at: usize, value: u64) {
        #[cfg(test)]
        super::fuse::burn();
        self.word(at).store(value, Ordering::Release);
    }

    /// Copies bytes out, word by word; `at` is a multiple of 8.
    pub(super) fn copy_out(&self, at: usize, out: &mut [u8]) {
        let word = |n: usize| self.word(at + n * 8).load(Ordering::Relaxed).to_le_bytes();
        let (words, rest) = out.as_chunks_mut::<8>();
        let whole = words.len();
        for (n, to) in words.iter_mut().enumerate() {
            *to = word(n);
        }
        if !rest.is_empty() {
            for (to, from) in rest.iter_mut().zip(word(whole)) {
                *to = from;
            }
        }
    }

    /// Lets `write` fill `N` bytes in place.
    ///
    /// # Safety
    /// This program alone maps the region for writing, and nobody reads these bytes now (they are a copy that is not valid).
    pub(super) unsafe fn fill<const N: usize>(
        &self,
        at: usize,
        write: impl FnOnce(&mut [u8; N]) -> usize,
    ) -> usize {
        debug_assert!(at + N <= super::BYTES);
        // SAFETY: inside the region by the callers' layout; exclusive by this function's contract.
        let space = unsafe { &mut *self.base.add(at).cast::<[u8; N]>() };
        write(space).min(N)
    }
}
