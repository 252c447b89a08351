//! A plan as plain memory that outlives the module manager, so that one which was started again goes on where the other stood.
//!
//! ```text
//!   begun ─▶ forward, step n ─▶ forward, step n + 1 ... ─▶ done
//!                  └─ failed: why, and where ─▶ back, step n - 1 ... ─▶ failed
//! ```
//! One word says where the plan is. It is stored last, and what is stored for it counts only then: at whatever store the manager dies, the record holds the
//! plan as it was before the change or after it. How far the step itself came is not here but in what a step leaves: the record of an update or of an
//! exchange, the default, the version that runs.

use alloc::string::String;

use hic_abi::{name_bytes, name_str};
use hic_hicmod::manifest::{Name, Version};
use hic_update::Policy;

use super::{Leg, Next, Rollout};
use crate::journal::store_last;
use crate::plan::How;

/// Most steps: of one plan the resolver makes no more changes.
pub const MAX_LEGS: usize = hic_resolve::MAX_CHANGES;
/// Longest sentence that is kept, bytes: as much of it as the console is told.
pub const MAX_TEXT: usize = 448;

/// Where a plan is. Numbers, because the journal is plain memory: below these, the step.
struct Place;

impl Place {
    const FORWARD: u64 = 1 << 32;
    const BACK: u64 = 2 << 32;
    const DONE: u64 = 3 << 32;
    const FAILED: u64 = 4 << 32;
    /// The part that says which of them.
    const KIND: u64 = u64::MAX << 32;
}

/// A version, or none.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct VersionRecord {
    /// 0 = none.
    is_there: u32,
    numbers: [u32; 3],
}

/// One step.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct LegRecord {
    name: [u8; 32],
    from: VersionRecord,
    to: VersionRecord,
    /// The number of a [`How`].
    how: u64,
}

/// The plan that is under way, or the last one.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct PlanRecord {
    /// A [`Place`] number; 0 = there is no plan.
    place: u64,
    /// Number of the task.
    number: u64,
    /// Lines of its report so far.
    told: u64,
    /// The module that was asked for.
    name: [u8; 32],
    version: VersionRecord,
    policy: Policy,
    /// Steps in use.
    count: u64,
    legs: [LegRecord; MAX_LEGS],
    /// The step that failed, and why; they count on the way back.
    failed_at: u64,
    failure: [u8; MAX_TEXT],
    /// How it ended; counts at the end.
    outcome: [u8; MAX_TEXT],
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// The module.
    pub name: Name,
    /// The version.
    pub version: Version,
    /// By which rules.
    pub policy: Policy,
}

/// What a record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Number of the task.
    pub number: u64,
    /// Lines of its report that were told.
    pub told: u64,
    /// What was asked for.
    pub goal: Goal,
    /// The plan, at the step that is to be made.
    pub rollout: Rollout,
    /// How it ended, if it has.
    pub outcome: Option<Result<String, String>>,
}

impl PlanRecord {
    /// Stores a plan that begins; `false` if it has more steps than there is room for, which no plan of the resolver has.
    #[must_use]
    pub fn begin(&mut self, number: u64, goal: &Goal, rollout: &Rollout) -> bool {
        self.put(0);
        (self.number, self.told, self.policy) = (number, 0, goal.policy);
        (self.name, self.version) = (name_bytes(&goal.name), VersionRecord::of(Some(goal.version)));
        self.count = rollout.legs.len() as u64;
        for (record, leg) in self.legs.iter_mut().zip(&rollout.legs) {
            *record = LegRecord::of(leg);
        }
        let fits = rollout.legs.len() <= MAX_LEGS;
        if fits {
            self.save(rollout);
        }
        fits
    }

    /// The step that was to be made came to this end. What comes after it is stored before it is told.
    pub fn ended(&mut self, rollout: &mut Rollout, result: Result<String, String>) -> Next {
        let next = rollout.ended(result);
        match &next {
            Next::Leg(_) => self.save(rollout),
            Next::Done(text) => self.end(Place::DONE, text),
            Next::Failed(refusal) => self.end(Place::FAILED, refusal),
        }
        next
    }

    /// Stores where the plan is now.
    fn save(&mut self, rollout: &Rollout) {
        let step = rollout.at as u64;
        match &rollout.failure {
            None => self.put(Place::FORWARD | step),
            Some((why, at)) => {
                if self.place & Place::KIND != Place::BACK {
                    (self.failure, self.failed_at) = (name_bytes(why), *at as u64);
                }
                self.put(Place::BACK | step);
            }
        }
    }

    fn end(&mut self, place: u64, text: &str) {
        self.outcome = name_bytes(text);
        self.put(place);
    }

    /// Notes how many lines of the report there are.
    pub fn set_told(&mut self, lines: usize) {
        self.told = lines as u64;
    }

    /// The plan that is stored, under way or over; `None`: there is none, or the memory holds none.
    #[must_use]
    pub fn load(&self) -> Option<Saved> {
        let (kind, step) = (self.place & Place::KIND, (self.place & !Place::KIND) as usize);
        let legs = self.legs.get(..usize::try_from(self.count).ok()?)?;
        let legs = legs.iter().map(LegRecord::read).collect::<Option<_>>()?;
        let text = |field: &[u8]| String::from(name_str(field));
        let failure = (kind == Place::BACK).then(|| (text(&self.failure), self.failed_at as usize));
        let outcome = match kind {
            Place::FORWARD | Place::BACK => None,
            Place::DONE => Some(Ok(text(&self.outcome))),
            Place::FAILED => Some(Err(text(&self.outcome))),
            _ => return None,
        };
        let rollout = Rollout { legs, at: step, failure };
        let goal = Goal { name: name_of(&self.name)?, version: self.version.read()?, policy: self.policy };
        (outcome.is_some() || rollout.leg().is_some()).then_some(())?;
        Some(Saved { number: self.number, told: self.told, goal, rollout, outcome })
    }

    fn put(&mut self, place: u64) {
        store_last(&mut self.place, place);
    }
}

impl LegRecord {
    fn of(leg: &Leg) -> Self {
        let how = match leg.how {
            How::Live => 1,
            How::InPlace => 2,
            How::Restart => 3,
            How::Install => 4,
            How::Offline(_) => 0,
        };
        let (from, to) = (VersionRecord::of(leg.from), VersionRecord::of(leg.to));
        Self { name: name_bytes(&leg.name), from, to, how }
    }

    fn read(&self) -> Option<Leg> {
        let how = match self.how {
            1 => How::Live,
            2 => How::InPlace,
            3 => How::Restart,
            4 => How::Install,
            _ => return None,
        };
        let (from, to) = (self.from.read(), self.to.read());
        Some(Leg { name: name_of(&self.name)?, from, to, how })
    }
}

fn name_of(field: &[u8; 32]) -> Option<Name> {
    name_str(field).parse().ok().filter(|name: &Name| hic_hicmod::is_valid_name(name))
}

impl VersionRecord {
    fn of(version: Option<Version>) -> Self {
        version.map_or_else(Self::default, |Version { major, minor, patch }| Self {
            is_there: 1,
            numbers: [major, minor, patch],
        })
    }

    fn read(self) -> Option<Version> {
        let [major, minor, patch] = self.numbers;
        (self.is_there != 0).then_some(Version { major, minor, patch })
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
