//! The two halves of a channel's region, as atomics. The only unsafe code of the crate.

use crate::{BadRegion, Message};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

const HALF: usize = 4096;
/// Bytes of a channel's region.
pub const BYTES: usize = 2 * HALF;
/// Words of a message's fixed part.
pub const WORDS: usize = 8;
const FIRST_WORD: usize = 24;
const FIRST_BYTE: usize = 128;
/// Bytes that travel beside the words, at most.
pub const PAYLOAD: usize = HALF - FIRST_BYTE;

const NUMBER: usize = 0;
const LABEL: usize = 8;
const LENGTH: usize = 16;

/// One direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Half {
    base: NonNull<u8>,
}

/// Question and answer.
///
/// # Safety
/// See `Asker::attach`.
pub(crate) unsafe fn halves(base: *mut u8, len: usize) -> Result<(Half, Half), BadRegion> {
    let bad = BadRegion { have: len };
    let base = NonNull::new(base).filter(|base| len >= BYTES && base.addr().get().is_multiple_of(64));
    let base = base.ok_or(bad)?;
    // SAFETY: the second half lies inside the region, whose length was checked.
    Ok((Half { base }, Half { base: unsafe { base.add(HALF) } }))
}

impl Half {
    fn word(&self, at: usize) -> &AtomicU64 {
        debug_assert!(at.is_multiple_of(8) && at + 8 <= HALF);
        // SAFETY: the offsets used in this file are multiples of 8 inside the half, which is mapped and aligned (contract of
        // `halves`); all access to it is atomic.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(at).cast()) }
    }

    fn byte(&self, index: usize) -> &AtomicU8 {
        debug_assert!(index < PAYLOAD);
        // SAFETY: callers keep `index` below `PAYLOAD`; for the rest as in `word`.
        unsafe { AtomicU8::from_ptr(self.base.as_ptr().add(FIRST_BYTE + index)) }
    }

    pub(crate) fn number(&self) -> u64 {
        self.word(NUMBER).load(Ordering::Acquire)
    }

    pub(crate) fn write(&self, number: u64, message: &Message) {
        self.word(LABEL).store(message.label, Ordering::Relaxed);
        for (n, value) in message.words.iter().enumerate() {
            self.word(FIRST_WORD + 8 * n).store(*value, Ordering::Relaxed);
        }
        for (n, value) in message.payload().iter().enumerate() {
            self.byte(n).store(*value, Ordering::Relaxed);
        }
        self.word(LENGTH).store(message.payload().len() as u64, Ordering::Relaxed);
        self.word(NUMBER).store(number, Ordering::Release);
    }

    pub(crate) fn read(&self) -> Message {
        let words = core::array::from_fn(|n| self.word(FIRST_WORD + 8 * n).load(Ordering::Relaxed));
        let mut message = Message::new(self.word(LABEL).load(Ordering::Relaxed), words);
        message.len =
            usize::try_from(self.word(LENGTH).load(Ordering::Relaxed)).unwrap_or(PAYLOAD).min(PAYLOAD);
        for (n, to) in message.payload.iter_mut().enumerate().take(message.len) {
            *to = self.byte(n).load(Ordering::Relaxed);
        }
        message
    }
}
