//! Where an update is, in one line, and the notes that the engine makes on its way.

use crate::report::Millis;
use crate::{Nanos, Outcome, Phase, Reason, Who};
use core::fmt;
use hic_migrate::Wave;

/// Steps of the straight path, as an operator counts them: moving the rest belongs to the switch.
pub const STEPS: u64 = 9;

/// Where an update is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// What it is at.
    pub phase: Phase,
    /// Whether it goes back.
    pub back: bool,
    /// The wave of items under way.
    pub wave: Wave,
    /// Items moved on the way that it goes now.
    pub moved: u64,
    /// Items that there are to move.
    pub total: u64,
    /// Until the rollback window ends; 0 outside of it.
    pub watch_left: Nanos,
    /// A rollback can still be asked for.
    pub can_roll_back: bool,
    /// An end of the rollback window can be asked for.
    pub can_commit: bool,
}

impl Status {
    /// The number of the step on the straight path, from 1 to [`STEPS`]; `None` off it.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        Some(match self.phase {
            _ if self.back => return None,
            Phase::Check | Phase::Create | Phase::WarmUp | Phase::Migrate | Phase::Switch => {
                self.phase as u64
            }
            Phase::Rest => Phase::Switch as u64,
            Phase::Validate | Phase::Watch | Phase::Commit | Phase::CleanUp => self.phase as u64 - 1,
            Phase::Turn | Phase::Salvage | Phase::Undo | Phase::Done => return None,
        })
    }
}

/// The name of a wave.
const fn wave_name(wave: Wave) -> &'static str {
    match wave {
        Wave::Low => "low",
        Wave::Medium => "medium",
        Wave::High => "high",
        Wave::Persistent => "persistent",
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number() {
            Some(number) => write!(f, "step {number}/{STEPS} {}", self.phase.name())?,
            None if self.back => write!(f, "rollback: {}", self.phase.name())?,
            None => f.write_str(self.phase.name())?,
        }
        let (moved, total) = (self.moved, self.total);
        match self.phase {
            Phase::Migrate => write!(f, ": {moved} of {total} items, wave {}", wave_name(self.wave)),
            Phase::Rest | Phase::Salvage => write!(f, ": {moved} of {total} items"),
            Phase::Watch if self.watch_left > 0 => write!(f, ": {} s left", self.watch_left / 1_000_000_000),
            _ => Ok(()),
        }
    }
}

/// A line of an update's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// A step or a wave begins.
    At(Status),
    /// An instance is in trouble.
    Trouble {
        /// How.
        reason: Reason,
        /// What is done about it.
        remedy: Remedy,
    },
    /// The update goes back from here.
    Back(Reason),
    /// The update is over.
    End {
        /// How.
        outcome: Outcome,
        /// How long it took.
        took: Nanos,
    },
}

/// What is done about an instance in trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// It is started again in place.
    Restart(Who),
    /// It is given up; its state is taken from its memory, if it has any that counts.
    GiveUp(Who),
    /// It is asked again.
    Retry(Who),
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restart(who) => write!(f, "the {} version is started again over its state", who.name()),
            Self::GiveUp(who) => write!(f, "the {} version is given up", who.name()),
            Self::Retry(who) => write!(f, "the {} version is asked again", who.name()),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(status) => status.fmt(f),
            Self::Trouble { reason, remedy } => write!(f, "{reason}; {remedy}"),
            Self::Back(reason) => write!(f, "going back: {reason}"),
            Self::End { outcome, took } => write!(f, "{outcome} ({})", Millis(*took)),
        }
    }
}
