//! The notes, in the state region: the newest [`MAX_NOTES`], oldest first.
//!
//! ```text
//!  0  magic   8  notes ever written   64  note 0: length, text   64 + 256  note 1 …
//! ```
//! *Publish before you promise*: a note is written first, then the count that makes it visible, and only then does the
//! visitor read "thank you". A crash in between loses nothing that was promised.

use core::sync::atomic::{AtomicU64, Ordering};

/// Longest note in bytes.
pub const MAX_TEXT: usize = 240;
/// Notes that are kept.
pub const MAX_NOTES: u64 = 62;

const MAGIC: u64 = u64::from_le_bytes(*b"HICnotes");
const HEADER: usize = 64;
const NOTE: usize = 256;
/// Bytes of the state region: four pages hold it.
pub const BYTES: usize = HEADER + MAX_NOTES as usize * NOTE;

/// Why a note was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteError {
    /// There is nothing in it.
    Empty,
    /// It has more than [`MAX_TEXT`] bytes.
    TooLong,
}

/// The notes.
pub struct Notes {
    base: *mut u8,
}

impl Notes {
    /// Opens the state region: what an earlier start wrote is there.
    ///
    /// # Safety
    /// `base..base + len` must be mapped readable and writable for as long as the value lives, and used through it alone.
    #[must_use]
    pub unsafe fn attach(base: *mut u8, len: usize) -> Option<Self> {
        if len < BYTES || base.is_null() || !base.addr().is_multiple_of(8) {
            return None;
        }
        let notes = Self { base };
        if notes.word(0).load(Ordering::Acquire) != MAGIC {
            notes.word(8).store(0, Ordering::Relaxed);
            notes.word(0).store(MAGIC, Ordering::Release);
        }
        Some(notes)
    }

    /// Notes ever written.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.word(8).load(Ordering::Acquire)
    }

    /// Number of the oldest note that is kept.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        self.count().saturating_sub(MAX_NOTES)
    }

    /// Adds a note and returns its number.
    ///
    /// # Errors
    /// [`NoteError`]: nothing was added.
    pub fn add(&mut self, text: &[u8]) -> Result<u64, NoteError> {
        if text.is_empty() {
            return Err(NoteError::Empty);
        }
        if text.len() > MAX_TEXT {
            return Err(NoteError::TooLong);
        }
        let number = self.count();
        let at = Self::at(number);
        // SAFETY: the note lies inside the region, which is used through `self` alone; `text` is at most `MAX_TEXT` long.
        unsafe { self.base.add(at + 8).copy_from_nonoverlapping(text.as_ptr(), text.len()) };
        self.word(at).store(text.len() as u64, Ordering::Relaxed);
        self.word(8).store(number + 1, Ordering::Release);
        Ok(number)
    }

    /// The note with this number, if it is still kept.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&[u8]> {
        if number >= self.count() || number < self.oldest() {
            return None;
        }
        let at = Self::at(number);
        let len = (self.word(at).load(Ordering::Relaxed) as usize).min(MAX_TEXT);
        // SAFETY: inside the region; it changes only through `&mut self`.
        Some(unsafe { core::slice::from_raw_parts(self.base.add(at + 8), len) })
    }

    const fn at(number: u64) -> usize {
        HEADER + (number % MAX_NOTES) as usize * NOTE
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        // SAFETY: callers pass multiples of 8 below `BYTES`; `attach` checked length and alignment.
        unsafe { AtomicU64::from_ptr(self.base.add(at).cast()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn attach(memory: &mut [u64]) -> Notes {
        // SAFETY: the vector outlives the notes in each test and is not touched otherwise.
        unsafe { Notes::attach(memory.as_mut_ptr().cast(), memory.len() * 8) }.unwrap()
    }

    #[test]
    fn the_manifest_has_room_for_the_notes() {
        const { assert!(BYTES <= 4 * 4096) };
        assert!(include_str!("../hicmod.toml").contains("name = \"notes\", pages = 4 "));
    }

    #[test]
    fn notes_survive_a_restart() {
        let mut memory = vec![0; 2048];
        assert_eq!(attach(&mut memory).add(b"first"), Ok(0));
        assert_eq!(attach(&mut memory).add(b"second"), Ok(1));
        let notes = attach(&mut memory);
        assert_eq!(
            (notes.get(0), notes.get(1), notes.get(2)),
            (Some(&b"first"[..]), Some(&b"second"[..]), None)
        );
    }

    #[test]
    fn the_oldest_note_makes_room_for_the_newest() {
        let mut memory = vec![0; 2048];
        let mut notes = attach(&mut memory);
        for n in 0..MAX_NOTES + 3 {
            assert_eq!(notes.add(&[b'a'; 3]), Ok(n));
        }
        assert_eq!((notes.oldest(), notes.get(2).is_some(), notes.get(3).is_some()), (3, false, true));
    }

    #[test]
    fn empty_and_long_notes_are_refused() {
        let mut memory = vec![0; 2048];
        let mut notes = attach(&mut memory);
        assert_eq!(notes.add(b""), Err(NoteError::Empty));
        assert_eq!(notes.add(&[b'x'; MAX_TEXT + 1]), Err(NoteError::TooLong));
        assert!(notes.add(&[b'x'; MAX_TEXT]).is_ok());
    }
}
