//! Why an update goes back, and how it ends.

use crate::{Failed, Nanos, Phase, Refused, Who};
use core::fmt;
use hic_channel::{Message, WORDS};
use hic_control::fault::Words;
use hic_migrate::Refusal;

/// Why an update does not go on as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The operator asked for a rollback.
    Requested,
    /// The operator asked to stop.
    Aborted,
    /// An instance died.
    Died {
        /// Which.
        who: Who,
        /// During what.
        phase: Phase,
        /// Words of its fault.
        fault: [u64; 4],
    },
    /// An instance did not do its part in time.
    Hang {
        /// Which.
        who: Who,
        /// During what.
        phase: Phase,
    },
    /// An instance could not be started again.
    NotRestarted {
        /// Which.
        who: Who,
        /// The error.
        error: Failed,
    },
    /// An instance refused.
    Refused {
        /// Which.
        who: Who,
        /// During what.
        phase: Phase,
        /// Its words.
        refusal: Refusal,
    },
    /// The new version's own tests say that it is not well.
    Unhealthy {
        /// During what.
        phase: Phase,
        /// Number of the first test that failed.
        test: u64,
    },
    /// The new instance could not be made.
    NotCreated(Failed),
    /// The new instance could not be started.
    NotStarted(Failed),
    /// The kernel refused to move a batch.
    NotMoved(Failed),
    /// The new default could not be recorded.
    NotRecorded(Failed),
    /// Making, verifying or recording took too long.
    TooSlow {
        /// What.
        phase: Phase,
    },
    /// The service's ports were not served for longer than the policy allows.
    Downtime {
        /// How long.
        measured: Nanos,
        /// What is allowed.
        allowed: Nanos,
    },
    /// The exporter comes to no end.
    TooManyBatches {
        /// How many there were.
        batches: u64,
    },
}

impl Reason {
    /// The stable code that consoles and audit records show.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Aborted => "aborted",
            Self::Died { .. } => "instance-died",
            Self::Hang { .. } => "instance-hangs",
            Self::NotRestarted { .. } => "not-restarted",
            Self::Refused { .. } => "instance-refused",
            Self::Unhealthy { .. } => "unhealthy",
            Self::NotCreated(_) => "not-created",
            Self::NotStarted(_) => "not-started",
            Self::NotMoved(_) => "not-moved",
            Self::NotRecorded(_) => "not-recorded",
            Self::TooSlow { .. } => "too-slow",
            Self::Downtime { .. } => "downtime",
            Self::TooManyBatches { .. } => "too-many-batches",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested => f.write_str("the operator asked for a rollback"),
            Self::Aborted => f.write_str("the operator stopped it"),
            Self::Died { who, phase, fault } => {
                write!(f, "the {} version died at {}: {}", who.name(), phase.name(), Words(*fault))
            }
            Self::Hang { who, phase } => {
                write!(f, "the {} version did not answer in time at {}", who.name(), phase.name())
            }
            Self::NotRestarted { who, error } => {
                write!(f, "the {} version could not be started again ({error})", who.name())
            }
            Self::Refused { who, phase, refusal } => {
                write!(f, "the {} version refused at {}: {refusal}", who.name(), phase.name())
            }
            Self::Unhealthy { phase, test } => {
                write!(f, "the new version failed its own health test {test} at {}", phase.name())
            }
            Self::NotCreated(error) => write!(f, "the new version's instance could not be made ({error})"),
            Self::NotStarted(error) => write!(f, "the new version could not be started ({error})"),
            Self::NotMoved(error) => write!(f, "the kernel refused to move a batch ({error})"),
            Self::NotRecorded(error) => write!(f, "the new default could not be recorded ({error})"),
            Self::TooSlow { phase } => write!(f, "{} took too long", phase.name()),
            Self::Downtime { measured, allowed } => {
                let (measured, allowed) = (measured / 1000, allowed / 1000);
                write!(f, "nobody served for {measured} us, {allowed} us are allowed")
            }
            Self::TooManyBatches { batches } => {
                write!(f, "state was still left to move after {batches} batches")
            }
        }
    }
}

impl core::error::Error for Reason {}

/// How an update ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The new version serves and is the default.
    Completed {
        /// Why the update had to be completed without a way back: the old version did not come up any more, or could not take its state
        /// back; or the new one could not be told that it is alone, and goes on as if the old one were still there.
        forced: Option<Reason>,
    },
    /// The old version serves, as before.
    RolledBack {
        /// Why.
        reason: Reason,
    },
    /// Nothing was touched.
    AbortedBeforeStart {
        /// Why.
        refusal: Refused,
    },
    /// No version can serve everything. Both instances are left as they are, with their state and the token.
    Lost {
        /// What befell the last one.
        reason: Reason,
    },
}

impl Outcome {
    /// The stable code that consoles and audit records show.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Completed { .. } => "completed",
            Self::RolledBack { .. } => "rolled-back",
            Self::AbortedBeforeStart { .. } => "refused",
            Self::Lost { .. } => "lost",
        }
    }

    /// Who serves now; `None`: nobody.
    #[must_use]
    pub const fn serving(&self) -> Option<Who> {
        match self {
            Self::Completed { .. } => Some(Who::New),
            Self::RolledBack { .. } | Self::AbortedBeforeStart { .. } => Some(Who::Old),
            Self::Lost { .. } => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed { forced: None } => f.write_str("completed"),
            Self::Completed { forced: Some(reason) } => write!(f, "completed, without a way back: {reason}"),
            Self::RolledBack { reason } => write!(f, "rolled back: {reason}"),
            Self::AbortedBeforeStart { refusal } => write!(f, "refused: {refusal}"),
            Self::Lost { reason } => write!(f, "neither version comes up; last: {reason}"),
        }
    }
}

/// Words of an encoded reason, refusal or outcome.
pub(crate) const CODE: usize = 8;
type Code = [u64; CODE];

fn who(number: u64) -> Option<Who> {
    Who::BOTH.into_iter().find(|who| *who as u64 == number)
}

fn encode_refusal(refusal: Refusal) -> [u64; 2] {
    match refusal {
        Refusal::UnknownQuestion => [1, 0],
        Refusal::Malformed => [2, 0],
        Refusal::NotPrepared => [3, 0],
        Refusal::WrongBatch { current } => [4, current],
        Refusal::Protocol => [5, 0],
        Refusal::Schema { schema } => [6, schema.into()],
        Refusal::NoResources => [7, 0],
        Refusal::Corrupt { item } => [8, item],
        Refusal::Downstream { code } => [9, code],
    }
}

/// The numbers are those of the protocol, so its own decoder reads them.
fn decode_refusal(label: u64, detail: u64) -> Refusal {
    let mut words = [0; WORDS];
    words[0] = detail;
    Refusal::decode(&Message::new(label, words))
}

impl Reason {
    /// Somebody wants it so, and nothing is wrong with either version.
    pub(crate) const fn is_a_wish(&self) -> bool {
        matches!(self, Self::Requested | Self::Aborted)
    }

    /// As words; the first is not 0.
    pub(crate) fn encode(&self) -> Code {
        let with = |kind, a, b, c, d| [kind, a, b, c, d, 0, 0, 0];
        match *self {
            Self::Requested => with(1, 0, 0, 0, 0),
            Self::Aborted => with(2, 0, 0, 0, 0),
            Self::Died { who, phase, fault: [a, b, c, d] } => [3, who as u64, phase as u64, a, b, c, d, 0],
            Self::Hang { who, phase } => with(4, who as u64, phase as u64, 0, 0),
            Self::NotRestarted { who, error } => with(5, who as u64, error.code, error.at, 0),
            Self::Refused { who, phase, refusal } => {
                let [label, detail] = encode_refusal(refusal);
                with(6, who as u64, phase as u64, label, detail)
            }
            Self::Unhealthy { phase, test } => with(7, phase as u64, test, 0, 0),
            Self::NotCreated(error) => with(8, error.code, error.at, 0, 0),
            Self::NotStarted(error) => with(9, error.code, error.at, 0, 0),
            Self::NotMoved(error) => with(10, error.code, error.at, 0, 0),
            Self::NotRecorded(error) => with(11, error.code, error.at, 0, 0),
            Self::TooSlow { phase } => with(12, phase as u64, 0, 0, 0),
            Self::Downtime { measured, allowed } => with(13, measured, allowed, 0, 0),
            Self::TooManyBatches { batches } => with(14, batches, 0, 0, 0),
        }
    }

    pub(crate) fn decode(code: &Code) -> Option<Self> {
        let [kind, a, b, c, d, e, g, _] = *code;
        let error = Failed { code: a, at: b };
        Some(match kind {
            1 => Self::Requested,
            2 => Self::Aborted,
            3 => Self::Died { who: who(a)?, phase: Phase::from_number(b)?, fault: [c, d, e, g] },
            4 => Self::Hang { who: who(a)?, phase: Phase::from_number(b)? },
            5 => Self::NotRestarted { who: who(a)?, error: Failed { code: b, at: c } },
            6 => {
                let refusal = decode_refusal(c, d);
                Self::Refused { who: who(a)?, phase: Phase::from_number(b)?, refusal }
            }
            7 => Self::Unhealthy { phase: Phase::from_number(a)?, test: b },
            8 => Self::NotCreated(error),
            9 => Self::NotStarted(error),
            10 => Self::NotMoved(error),
            11 => Self::NotRecorded(error),
            12 => Self::TooSlow { phase: Phase::from_number(a)? },
            13 => Self::Downtime { measured: a, allowed: b },
            14 => Self::TooManyBatches { batches: a },
            _ => return None,
        })
    }
}

impl Outcome {
    /// Its kind, and the words of what it carries.
    pub(crate) fn encode(&self) -> (u64, Code) {
        match self {
            Self::Completed { forced } => (1, forced.map_or([0; CODE], |reason| reason.encode())),
            Self::RolledBack { reason } => (2, reason.encode()),
            Self::AbortedBeforeStart { refusal } => (3, refusal.encode()),
            Self::Lost { reason } => (4, reason.encode()),
        }
    }

    pub(crate) fn decode(kind: u64, code: &Code) -> Option<Self> {
        Some(match kind {
            1 => Self::Completed { forced: Reason::decode(code) },
            2 => Self::RolledBack { reason: Reason::decode(code)? },
            3 => Self::AbortedBeforeStart { refusal: Refused::decode(code)? },
            4 => Self::Lost { reason: Reason::decode(code)? },
            _ => return None,
        })
    }
}
