//! Where an update is, as plain memory that outlives the module manager.
//!
//! A [`Journal`] is what the engine knows between two calls, and nothing that the world can tell it again: no lists of capabilities, no deadlines.
//! It is stored before the actions of a call are carried out, so it is never behind the world by more than one repeatable step.

use crate::pace::{Window, Work};
use crate::reason::CODE;
use crate::report::{STAGES, Times};
use crate::state::{BatchPart, Position};
use crate::{Nanos, Request};
use core::sync::atomic::{Ordering, compiler_fence};

/// Marks a journal of this layout.
const MAGIC: u64 = u64::from_le_bytes(*b"HICupd03");

/// The durable position of an update. Only integers; all zero is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Journal {
    pub(crate) magic: u64,
    pub(crate) position: [u64; Position::WORDS],
    pub(crate) counts: Counts,
}

/// Numbers that add up, and times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub(crate) struct Counts {
    /// Number of the batch under way or the last one.
    pub batch: u64,
    /// Deaths, hangs and failed restarts of old and new.
    pub faults: [u64; 2],
    /// Batches begun on the way that is gone now.
    pub way: u64,
    /// Refusals on a way that must be gone.
    pub refusals: u64,
    /// Items that the next batch is known to have, when they were too many for the second.
    pub want: u64,
    /// Items that there were when the waves of this way began, +1; 0 = not known yet.
    pub way_goal: u64,
    /// Items that this way has moved.
    pub way_moved: u64,
    /// Items that were left in a dead one's state when it was looked at last.
    pub left: u64,
    /// Health checks passed.
    pub checks: u64,
    /// Not 0: the operator has ended the window.
    pub confirmed: u64,
    /// End of the rollback window.
    pub watch_until: Nanos,
    /// Items of the old instance when it was asked.
    pub total: u64,
    /// Items moved to the new instance, and back.
    pub moved: [u64; 2],
    /// Items given up.
    pub lost: u64,
    /// Batches moved, either way.
    pub batches: u64,
    /// Longest time that an item was not served.
    pub longest_freeze: Nanos,
    /// Sum of these times.
    pub total_freeze: Nanos,
    /// Time in which nobody served the service's ports.
    pub downtime: Nanos,
    /// Since when nobody does; 0 = somebody does.
    pub down_since: Nanos,
    /// Begin and end of the update.
    pub started: Nanos,
    pub ended: Nanos,
    /// Why it goes back, or must be completed.
    pub reason: [u64; CODE],
    /// Kind and words of the outcome.
    pub outcome: u64,
    pub outcome_code: [u64; CODE],
    /// The moves of the last second.
    pub window: Window,
    /// The time that moving took.
    pub work: Work,
    /// Time that each part of the batches took ([`BatchPart`]).
    pub parts: [Nanos; BatchPart::ALL.len()],
    /// When the part under way began.
    pub part_began: Nanos,
    /// When the new version was last found well while it takes items.
    pub checked_at: Nanos,
    /// When each stage began and ended.
    pub times: [Times; STAGES],
}

impl Journal {
    pub(crate) fn encode(position: &Position, counts: &Counts) -> Self {
        Self { magic: MAGIC, position: position.encode(), counts: *counts }
    }

    /// What [`Self::encode`] was given; `None` for memory that holds no journal.
    pub(crate) fn decode(&self) -> Option<(Position, Counts)> {
        (self.magic == MAGIC).then_some(())?;
        Some((Position::decode(&self.position)?, self.counts))
    }
}

/// Memory for an update: its request and two journals, of which one is whole at every instant. All zero is "no update".
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Slots {
    /// 0 = no update, 1 or 2 = that journal counts.
    current: u64,
    request: Request,
    journals: [Journal; 2],
}

impl Default for Slots {
    fn default() -> Self {
        Self { current: 0, request: Request::new("", "", ""), journals: [Journal::default(); 2] }
    }
}

impl Slots {
    /// Forgets the update.
    pub fn clear(&mut self) {
        self.switch(0);
    }

    /// Stores the request and the first journal of an update.
    pub fn begin(&mut self, request: &Request, journal: &Journal) {
        self.switch(0);
        self.request = *request;
        self.save(journal);
    }

    /// Stores the journal beside the last one, then makes it the one that counts.
    pub fn save(&mut self, journal: &Journal) {
        let [first, second] = &mut self.journals;
        let (slot, next) = if self.current == 1 { (second, 2) } else { (first, 1) };
        *slot = *journal;
        self.switch(next);
    }

    /// The update that is stored, under way or over.
    #[must_use]
    pub fn load(&self) -> Option<(Request, Journal)> {
        let [first, second] = self.journals;
        match self.current {
            1 => Some((self.request, first)),
            2 => Some((self.request, second)),
            _ => None,
        }
    }

    /// One aligned store decides. The fences keep the compiler from moving others over it; writer and reader run on the same core.
    fn switch(&mut self, next: u64) {
        compiler_fence(Ordering::SeqCst);
        // SAFETY: a valid, aligned, exclusively borrowed field; volatile so that the store is made here, once, in one piece.
        unsafe { core::ptr::write_volatile(&raw mut self.current, next) };
        compiler_fence(Ordering::SeqCst);
    }
}
