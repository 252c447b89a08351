//! How far an exchange in place is, and what comes next of it (docs/adr/0034).
//!
//! ```text
//!   Making ─▶ Forward ─▶ Watch ─▶ Recording ─▶ Keeping ─▶ over
//!               │          │          └─ refused ─┐
//!               └──────────┴──────────▶ Back ◀────┘ ─▶ over
//! ```
//! The stage is stored last, and what is stored for it counts only then, so a manager that dies at any store is before the stage or in it. Each stage can be
//! done over: who is started again in one asks [`ExchangeRecord::next`] like everybody else.

use super::store_last;
use hic_abi::{Handle, Nanos};
use hic_store::StoreError;

/// An image in memory: what an instance is started from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ImagePlace {
    /// Slot of the account that pays for the region.
    pub account: Handle,
    /// Slot of the region.
    pub region: Handle,
    /// Its address.
    pub address: u64,
    /// Stack pages in it.
    pub stack_pages: u64,
    /// Heap pages in it.
    pub heap_pages: u64,
    /// Version of the module.
    pub version: [u8; 16],
}

/// How far an exchange in place is. Numbers, because the journal is plain memory.
pub struct Stage;

impl Stage {
    /// There is none.
    pub const NONE: u64 = 0;
    /// The new image is being placed: after a crash, it is taken apart.
    pub const MAKING: u64 = 1;
    /// The instance is being started from the new image: after a crash, that is done over.
    pub const FORWARD: u64 = 2;
    /// It runs from the new image, and the old one is kept.
    pub const WATCH: u64 = 3;
    /// As [`Self::WATCH`], and the new default is being written: after a crash, that is done over. It may be on the disk already, so only a refusal of the
    /// disk leads back.
    pub const RECORDING: u64 = 4;
    /// The old image is being taken apart: after a crash, that is done over.
    pub const KEEPING: u64 = 5;
    /// The instance is being started from the old image: after a crash, that is done over.
    pub const BACK: u64 = 6;
}

/// The exchange in place that is under way.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct ExchangeRecord {
    /// A [`Stage`] number.
    stage: u64,
    /// Index of the service's record.
    pub index: u64,
    /// The old image.
    pub from: ImagePlace,
    /// The new one.
    pub to: ImagePlace,
    /// When the watch over the new one ends, monotonic.
    until: u64,
}

/// What a look at the instance and at the record of defaults shows.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The time.
    pub now: Nanos,
    /// The instance runs.
    pub runs: bool,
    /// It leaves the processor to nobody.
    pub hangs: bool,
    /// How the writing of the record ended that this start of the manager asked for; `None`: it did not ask.
    pub asked: Option<Option<Result<(), StoreError>>>,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing before this time, unless something happens.
    Wait(Nanos),
    /// Back, since it hangs.
    Hangs,
    /// Back, since it does not run.
    NotServing,
    /// The new default is to be written down.
    Record,
    /// It was, or was refused.
    Recorded(Result<(), StoreError>),
}

impl ExchangeRecord {
    /// A [`Stage`] number.
    #[must_use]
    pub const fn stage(&self) -> u64 {
        self.stage
    }

    /// Whether one is under way.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.stage != Stage::NONE
    }

    /// Begins an exchange: the new image is being placed.
    pub fn begin(&mut self, index: usize, from: ImagePlace, to: ImagePlace) {
        self.enter(Stage::NONE);
        (self.index, self.from, self.to) = (index as u64, from, to);
        self.enter(Stage::MAKING);
    }

    /// The instance runs from the new image, and is watched until then.
    pub fn watch(&mut self, until: Nanos) {
        self.until = until;
        self.enter(Stage::WATCH);
    }

    /// Enters a stage; the last one is [`Stage::NONE`].
    pub fn enter(&mut self, stage: u64) {
        store_last(&mut self.stage, stage);
    }

    /// The capabilities of the two images, which no record of a service may hold yet.
    #[must_use]
    pub fn slots(&self) -> [Handle; 4] {
        let Self { from, to, .. } = self;
        if self.is_open() { [from.account, from.region, to.account, to.region] } else { [0; 4] }
    }

    /// What is to be done of an exchange whose last step is done.
    #[must_use]
    pub fn next(&self, seen: Seen) -> Turn {
        match (self.stage, seen.asked) {
            (Stage::WATCH, _) if seen.hangs => Turn::Hangs,
            (Stage::WATCH, _) if seen.now < self.until => Turn::Wait(self.until),
            (Stage::WATCH, _) if seen.runs => Turn::Record,
            (Stage::WATCH, _) => Turn::NotServing,
            // The manager that asked for it is no more, and its answer would be about what that one knew.
            (Stage::RECORDING, None) => Turn::Record,
            (Stage::RECORDING, Some(Some(written))) => Turn::Recorded(written),
            _ => Turn::Wait(Nanos::MAX),
        }
    }
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
