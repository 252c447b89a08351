//! One question and one answer over shared memory, for a party that must never wait for the one it asks.
//!
//! Synchronous calls go down the order of services only, and the module manager never blocks on an instance that it is
//! replacing. So what it asks of services lies in a region that both map: it writes a question and rings the service, the service
//! writes the answer and rings back. Which notifications they ring is their business; this crate is memory only.
//!
//! ```text
//!    0  question: number | label | length | words ×8     128 …  payload
//! 4096  answer:   number | label | length | words ×8    4224 …  payload
//! ```
//! Everything of a message is written before its number. A question is open while the answer's number is another. So whoever of the
//! two dies and comes back finds out from the memory alone where it is: an answerer finds its open question again (and must
//! be able to answer a question twice), an asker finds its question open or answered.
//!
//! What it must never do: believe the other side. Lengths are cut to the payload, bytes are copied out before they are looked at.
#![no_std]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

#[cfg(test)]
extern crate std;

mod memory;
#[cfg(test)]
mod tests;

use memory::Half;
pub use memory::{BYTES, PAYLOAD, WORDS};

/// One message, copied out of the shared memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub label: u64,
    /// Its fixed part.
    pub words: [u64; WORDS],
    len: usize,
    payload: [u8; PAYLOAD],
}

impl Message {
    /// A message without payload.
    #[must_use]
    pub const fn new(label: u64, words: [u64; WORDS]) -> Self {
        Self { label, words, len: 0, payload: [0; PAYLOAD] }
    }

    /// The same with a payload, cut to [`PAYLOAD`] bytes.
    #[must_use]
    pub fn with_payload(mut self, bytes: &[u8]) -> Self {
        self.len = bytes.len().min(PAYLOAD);
        for (to, from) in self.payload.iter_mut().zip(bytes) {
            *to = *from;
        }
        self
    }

    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.payload.get(..self.len).unwrap_or_default()
    }
}

/// The region is too short or not aligned to 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRegion {
    /// Its bytes.
    pub have: usize,
}

impl core::fmt::Display for BadRegion {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "a channel needs {BYTES} bytes aligned to 64, the region has {}", self.have)
    }
}

impl core::error::Error for BadRegion {}

/// The side that asks.
#[derive(Debug)]
pub struct Asker {
    question: Half,
    answer: Half,
}

impl Asker {
    /// Opens a channel, new (all zero) or used.
    ///
    /// # Safety
    /// `base..base + len` is mapped for reading and writing for as long as the value lives, without a Rust reference into it, and
    /// this program has no other `Asker` for it in use.
    ///
    /// # Errors
    /// [`BadRegion`].
    pub unsafe fn attach(base: *mut u8, len: usize) -> Result<Self, BadRegion> {
        // SAFETY: the caller's contract is the callee's.
        let (question, answer) = unsafe { memory::halves(base, len) }?;
        Ok(Self { question, answer })
    }

    /// Asks; a question that is still open is replaced. Returns its number, 1 or more. Ring the other side.
    pub fn ask(&mut self, message: &Message) -> u64 {
        let number = self.question.number().max(self.answer.number()).wrapping_add(1).max(1);
        self.question.write(number, message);
        number
    }

    /// The number of the question asked last; 0 if none was.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.question.number()
    }

    /// The answer to the question asked last; `None` while it is open, or if none was asked.
    #[must_use]
    pub fn answer(&self) -> Option<Message> {
        let number = self.question.number();
        (number != 0 && self.answer.number() == number).then(|| self.answer.read())
    }
}

/// The side that answers.
#[derive(Debug)]
pub struct Answerer {
    question: Half,
    answer: Half,
}

impl Answerer {
    /// Opens a channel.
    ///
    /// # Safety
    /// As [`Asker::attach`].
    ///
    /// # Errors
    /// [`BadRegion`].
    pub unsafe fn attach(base: *mut u8, len: usize) -> Result<Self, BadRegion> {
        // SAFETY: the caller's contract is the callee's.
        let (question, answer) = unsafe { memory::halves(base, len) }?;
        Ok(Self { question, answer })
    }

    /// The open question with its number.
    #[must_use]
    pub fn question(&self) -> Option<(u64, Message)> {
        let number = self.question.number();
        (number != 0 && self.answer.number() != number).then(|| (number, self.question.read()))
    }

    /// Answers question `number`; if another has been asked meanwhile, that one stays open. Ring the asker.
    pub fn reply(&mut self, number: u64, message: &Message) {
        self.answer.write(number, message);
    }
}
