//! The counter record: one complete copy is valid at every instant.
//!
//! The server may die between any two instructions. So it writes the copy that is not in force, then makes it the one in force by
//! one store of the sequence number: *publish before you promise*.

use core::sync::atomic::{AtomicU64, Ordering};

/// What a request for a sequence number leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was new: the count with it.
    Counted(u64),
    /// It was the last one, whose answer its caller never got: the same count.
    Again(u64),
    /// It was neither.
    Refused,
}

/// The record, as it lies in the state region; all zero at first.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Counter {
    /// The last sequence number counted; decides which copy is in force.
    last: AtomicU64,
    /// The count, by the parity of the sequence number.
    counts: [AtomicU64; 2],
    /// How often a call was answered again.
    repeated: AtomicU64,
    /// How often one was refused.
    refused: AtomicU64,
}

impl Counter {
    /// The last sequence number counted, from 1; 0 = none.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.copy(self.last()).load(Ordering::Relaxed)
    }

    /// How often a call was answered again.
    #[must_use]
    pub fn repeated(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }

    /// How often one was refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn copy(&self, sequence: u64) -> &AtomicU64 {
        &self.counts[(sequence & 1) as usize]
    }

    /// Counts a sequence number, or says what was said before.
    pub fn ask(&self, sequence: u64) -> Answer {
        let last = self.last();
        if sequence == last && last != 0 {
            self.repeated.fetch_add(1, Ordering::Relaxed);
            return Answer::Again(self.count());
        }
        if sequence != last + 1 {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Answer::Refused;
        }
        let count = self.count() + 1;
        self.copy(sequence).store(count, Ordering::Relaxed);
        self.last.store(sequence, Ordering::Release);
        Answer::Counted(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_number_is_counted_once_and_answered_as_often_as_it_is_asked() {
        let counter = Counter::default();
        assert_eq!(counter.ask(1), Answer::Counted(1));
        assert_eq!(counter.ask(2), Answer::Counted(2));
        assert_eq!(counter.ask(2), Answer::Again(2));
        assert_eq!(counter.ask(1), Answer::Refused);
        assert_eq!(counter.ask(4), Answer::Refused);
        assert_eq!((counter.count(), counter.repeated(), counter.refused()), (2, 1, 2));
    }

    #[test]
    fn a_server_that_dies_before_the_deciding_store_counted_nothing() {
        let counter = Counter::default();
        counter.ask(1);
        counter.counts[0].store(2, Ordering::Relaxed);
        assert_eq!(counter.count(), 1);
        assert_eq!(counter.ask(2), Answer::Counted(2));
    }

    #[test]
    fn nothing_was_asked_before_the_first_request() {
        assert_eq!(Counter::default().ask(0), Answer::Refused);
    }
}
