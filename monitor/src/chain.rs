//! Whether the audit records kept are all of them, in order and unchanged (`hic_abi::audit` says how they are chained).
//!
//! Done in steps of [`STEP`] records, because the monitor has one thread and a fault must not wait for a long verification.

use crate::store::Store;
use core::fmt;
use hic_abi::Plain;
use hic_abi::audit::{HASHED_BYTES, Record};
use sha2::{Digest, Sha256};

/// Records checked in one step: about five million instructions.
pub const STEP: u64 = 512;

/// What is wrong with the records, with the sequence number at which it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The record is not the one that was drained.
    Changed(u64),
    /// This number is not where it should be: a record was removed, or two changed places.
    Missing(u64),
    /// The newest records, from this number on, are gone.
    CutOff(u64),
}

impl Broken {
    /// The sequence number of the first bad or missing record.
    #[must_use]
    pub const fn sequence(self) -> u64 {
        match self {
            Self::Changed(n) | Self::Missing(n) | Self::CutOff(n) => n,
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed(n) => write!(f, "audit record {n} was changed"),
            Self::Missing(n) => write!(f, "audit record {n} is not where it belongs"),
            Self::CutOff(n) => write!(f, "the audit log is cut off before record {n}"),
        }
    }
}

/// How far a step came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more; this many records were checked so far.
    More(u64),
    /// All records kept, this many, are good.
    Good(u64),
}

/// A verification under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verification {
    next: u64,
    digest: [u8; 32],
    checked: u64,
    appended: u64,
}

impl Verification {
    /// Begins with the oldest record kept. `appended` is the number of records that the kernel had appended before the last drain:
    /// so many there must be.
    #[must_use]
    pub fn begin(store: &Store<'_>, appended: u64) -> Self {
        let header = store.header();
        let first = header.next.saturating_sub(header.count);
        Self { next: first, digest: header.anchor, checked: 0, appended }
    }

    /// Checks up to [`STEP`] records.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn step(&mut self, store: &Store<'_>) -> Result<Progress, Broken> {
        let header = *store.header();
        let first = header.next.saturating_sub(header.count);
        if self.next < first {
            // The ring moved on meanwhile: what was next is no longer kept, and neither is its predecessor's digest.
            *self = Self { checked: self.checked, ..Self::begin(store, self.appended) };
        }
        for _ in 0..STEP {
            let Some(record) = store.get(self.next - first) else { return self.end(&header) };
            self.check(record)?;
        }
        Ok(Progress::More(self.checked))
    }

    fn check(&mut self, record: &Record) -> Result<(), Broken> {
        if record.sequence != self.next {
            return Err(Broken::Missing(self.next));
        }
        self.digest = digest(&self.digest, record);
        if self.digest != record.digest {
            return Err(Broken::Changed(self.next));
        }
        self.next += 1;
        self.checked += 1;
        Ok(())
    }

    fn end(&self, header: &crate::store::Header) -> Result<Progress, Broken> {
        let whole = self.next >= self.appended && self.next == header.next;
        let head = header.count == 0 || self.digest == header.head;
        if whole && head { Ok(Progress::Good(self.checked)) } else { Err(Broken::CutOff(self.next)) }
    }

    /// Records checked so far.
    #[must_use]
    pub const fn checked(&self) -> u64 {
        self.checked
    }
}

fn digest(before: &[u8; 32], record: &Record) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(record.as_bytes().get(..HASHED_BYTES).unwrap_or_default());
    hash.finalize().into()
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use std::vec::Vec;

    /// `count` records as the kernel would drain them.
    pub fn chained(count: u64) -> Vec<Record> {
        let mut before = [0; 32];
        (0..count)
            .map(|sequence| {
                let mut record =
                    Record { sequence, nanos: sequence * 10, a: sequence ^ 5, ..Record::zeroed() };
                record.digest = digest(&before, &record);
                before = record.digest;
                record
            })
            .collect()
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
