//! The audit log: raw append in the call, SHA-256 chain when drained (architecture, "Audit").
//!
//! The ring never blocks the caller: beyond the rate cap, or while the ring is full, records are counted and a
//! [`Event::Gap`] record says how many are missing.

use crate::config::{AUDIT_RATE, AUDIT_RECORDS, AUDIT_WINDOW};
use crate::pool::Arena;
use hic_abi::Plain;
use hic_abi::audit::{Event, HASHED_BYTES, Record};
use sha2::{Digest, Sha256};

/// A record as the call that causes it knows it.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Monotonic time.
    pub nanos: u64,
    /// Serial number of the sandbox that caused it; 0 = the kernel.
    pub actor: u64,
    /// Serial number of the sandbox concerned, or 0.
    pub subject: u64,
    /// What happened.
    pub event: Event,
    /// By event.
    pub a: u64,
    /// By event.
    pub b: u64,
}

/// The log.
pub struct Audit {
    ring: &'static mut [Record; AUDIT_RECORDS],
    first: u64,
    next: u64,
    digest: [u8; 32],
    /// When the window began, and the sequence number that it ends before, however long it lasts.
    window: u64,
    window_ends: u64,
    /// Up to this sequence number there is nothing to be looked at: there is room in the ring and in the window, and no gap to tell of.
    open_until: u64,
    gap: u64,
    /// Records dropped since boot.
    pub dropped: u64,
}

impl Audit {
    /// Bytes of the ring.
    pub const BYTES: usize = size_of::<Record>() * AUDIT_RECORDS + 16;

    /// An empty log.
    pub fn new(arena: &mut Arena) -> Self {
        let ring = arena.fill_array(Record::zeroed());
        Self {
            ring,
            first: 0,
            next: 0,
            digest: [0; 32],
            window: 0,
            window_ends: AUDIT_RATE,
            open_until: 0,
            gap: 0,
            dropped: 0,
        }
    }

    /// Records appended since boot.
    pub fn appended(&self) -> u64 {
        self.next
    }

    /// Appends a record; its sequence number is filled in here, its digest when it is drained.
    #[inline(always)]
    pub fn append(&mut self, entry: &Entry, text: &[u8; 32]) {
        if self.next < self.open_until || self.reopen(entry.nanos) {
            self.push(entry, text);
        }
    }

    /// Looks how far the log is open from now on; `false`: not even for one record, which is counted. The last place in the ring is kept for a
    /// gap record.
    #[cold]
    fn reopen(&mut self, nanos: u64) -> bool {
        if nanos.saturating_sub(self.window) >= AUDIT_WINDOW {
            (self.window, self.window_ends) = (nanos, self.next + AUDIT_RATE);
        }
        self.open_until = self.window_ends.min(self.first + AUDIT_RECORDS as u64 - 1);
        if self.next >= self.open_until {
            self.gap += 1;
            self.dropped += 1;
            return false;
        }
        if self.gap > 0 {
            let a = core::mem::take(&mut self.gap);
            self.push(&Entry { nanos, actor: 0, subject: 0, event: Event::Gap, a, b: 0 }, &[0; 32]);
        }
        true
    }

    /// Written field by field where it stays; what is left in `digest` nobody reads.
    #[inline(always)]
    fn push(&mut self, entry: &Entry, text: &[u8; 32]) {
        let record = &mut self.ring[(self.next % AUDIT_RECORDS as u64) as usize];
        (record.sequence, record.nanos, record.actor) = (self.next, entry.nanos, entry.actor);
        (record.subject, record.event, record.status) = (entry.subject, entry.event as u32, 0);
        (record.a, record.b, record.text) = (entry.a, entry.b, *text);
        self.next += 1;
    }

    /// Takes the oldest record out and chains it.
    pub fn drain(&mut self) -> Option<Record> {
        if self.first == self.next {
            return None;
        }
        let mut record = self.ring[(self.first % AUDIT_RECORDS as u64) as usize];
        self.first += 1;
        let mut hash = Sha256::new();
        hash.update(self.digest);
        hash.update(&record.as_bytes()[..HASHED_BYTES]);
        self.digest = hash.finalize().into();
        record.digest = self.digest;
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit() -> Audit {
        Audit::new(&mut Arena::new(std::vec![0u8; Audit::BYTES].leak()))
    }

    /// A note at a time, of a number.
    fn note(audit: &mut Audit, nanos: u64, a: u64) {
        audit.append(&Entry { nanos, actor: 3, subject: 0, event: Event::Note, a, b: 0 }, &[7; 32]);
    }

    #[test]
    fn each_digest_covers_the_one_before() {
        let mut audit = audit();
        for a in 0..3 {
            note(&mut audit, 0, a);
        }
        let records: std::vec::Vec<_> = std::iter::from_fn(|| audit.drain()).collect();
        let mut digest = [0u8; 32];
        for (n, record) in records.iter().enumerate() {
            assert_eq!(record.sequence, n as u64);
            let mut hash = Sha256::new();
            hash.update(digest);
            hash.update(&record.as_bytes()[..HASHED_BYTES]);
            digest = hash.finalize().into();
            assert_eq!(record.digest, digest);
        }
    }

    #[test]
    fn a_window_takes_so_many_records_and_the_next_one_begins_when_its_time_is_over() {
        let mut audit = audit();
        let mut taken = |nanos, count: u64| {
            let before = audit.dropped;
            for n in 0..count {
                note(&mut audit, nanos, n);
                while audit.drain().is_some() {}
            }
            count - (audit.dropped - before)
        };
        assert_eq!(taken(1, AUDIT_RATE - 5), AUDIT_RATE - 5);
        assert_eq!(taken(AUDIT_WINDOW - 1, 20), 5);
        // One of those that fit says how many are missing.
        assert_eq!(taken(AUDIT_WINDOW, AUDIT_RATE + 20), AUDIT_RATE - 1);
        assert_eq!(taken(2 * AUDIT_WINDOW - 1, 20), 0);
        assert_eq!(taken(2 * AUDIT_WINDOW, 20), 20);
    }

    #[test]
    fn what_the_rate_cap_drops_is_counted_in_a_gap_record() {
        let mut audit = audit();
        for _ in 0..AUDIT_RECORDS + 10 {
            note(&mut audit, 1, 0);
        }
        while audit.drain().is_some() {}
        note(&mut audit, 1, 5);
        let gap = audit.drain().expect("gap record");
        assert_eq!((gap.event, gap.a), (Event::Gap as u32, audit.dropped));
        assert_eq!(audit.drain().map(|r| r.a), Some(5));
    }
}
