//! Whether an update may begin at all. A pure function of facts that the manager has collected; what is refused here touched nothing.

use crate::Phase;
use crate::processor::{self, Short};
use crate::request::PolicyFigure;
use core::fmt;

/// Why two versions cannot replace each other while they run (the manifests' side of P1.3 and P2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum PairProblem {
    /// They are versions of different modules.
    DifferentModules = 1,
    /// A manifest has no section about updates.
    NotUpdatable,
    /// The new version does not read what the old one publishes.
    Forward,
    /// The old version would not read what the new one publishes: no way back.
    Backward,
    /// Nobody tested this pair.
    Untested,
    /// There is no migration protocol that both speak.
    Protocol,
}

impl PairProblem {
    const ALL: [Self; 6] = [
        Self::DifferentModules,
        Self::NotUpdatable,
        Self::Forward,
        Self::Backward,
        Self::Untested,
        Self::Protocol,
    ];

    const fn code(self) -> &'static str {
        match self {
            Self::DifferentModules => "different-modules",
            Self::NotUpdatable => "not-updatable",
            Self::Forward => "schema-forward",
            Self::Backward => "schema-backward",
            Self::Untested => "untested-pair",
            Self::Protocol => "migration-protocol",
        }
    }
}

/// What the manager knows before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// An update is under way.
    pub running: Option<Phase>,
    /// A service of this name is there.
    pub service_known: bool,
    /// A module of this name and version is in the repository.
    pub version_known: bool,
    /// The version asked for serves already.
    pub same_version: bool,
    /// The service's manifest allows updates, and it has a state region and a channel.
    pub updatable: bool,
    /// What the manifests say about the pair.
    pub pair: Option<PairProblem>,
    /// The service runs: there is something to take over from.
    pub serving: bool,
    /// Memory that is free, in bytes.
    pub free_memory: u64,
    /// Memory that the new instance needs, in bytes.
    pub needed_memory: u64,
    /// The largest piece of memory that is free, in bytes; `u64::MAX` when that is not known.
    pub free_piece: u64,
    /// The largest piece that the new instance needs, in bytes.
    pub needed_piece: u64,
    /// Part of the processor that is not promised to anybody, thousandths.
    pub free_processor: u64,
    /// Part that the update needs ([`processor::update_needs`]).
    pub needed_processor: u64,
    /// Load of the service, in thousandths of what it can carry.
    pub load: u64,
    /// Load above which it is not updated.
    pub max_load: u64,
    /// The storage that records the default runs, or there is none on this machine.
    pub storage: bool,
    /// Instances and services that exist.
    pub instances: u64,
    /// Instances and services that there can be.
    pub max_instances: u64,
}

/// Why an update does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Another update is under way.
    Busy {
        /// How far it is.
        phase: Phase,
    },
    /// No such service.
    UnknownService,
    /// No such version in the repository.
    UnknownVersion,
    /// A rollback is wanted, and nothing says which version was there before.
    NoVersionBefore,
    /// It serves already.
    SameVersion,
    /// The service does not support it.
    NotUpdatable,
    /// The two versions do not fit together.
    Pair(PairProblem),
    /// The service does not run.
    NotServing,
    /// Less than twice the memory that the new instance needs is free (P1.10).
    Memory {
        /// Bytes free.
        free: u64,
        /// Bytes wanted: twice the need.
        wanted: u64,
    },
    /// Enough memory is free, but what the new instance needs in one piece is not (P1.10).
    Fragmented {
        /// Bytes of the largest piece.
        free: u64,
        /// Bytes wanted in one piece.
        wanted: u64,
    },
    /// Less of the processor is free than running both versions takes (P1.11); the manager says who holds how much.
    Processor(Short),
    /// The service is too busy (P1.3).
    Load {
        /// Thousandths.
        load: u64,
        /// Thousandths.
        max: u64,
    },
    /// The new default could not be recorded.
    NoStorage,
    /// No room for one more instance.
    TooManyInstances {
        /// How many there can be.
        max: u64,
    },
    /// Other modules must change first, or what it depends on cannot be had; the manager says which.
    Dependencies,
    /// The policy denies the new version something that it cannot do without; the manager says what.
    Denied,
    /// The module was not accepted: the manager's own number for the check that failed, whose text it printed.
    Module {
        /// The number.
        code: u64,
    },
    /// A figure of the policy is out of its range (P1.2).
    Policy {
        /// Which.
        figure: PolicyFigure,
        /// What it was to be.
        value: u64,
    },
}

/// The first reason not to begin; `None`: begin.
#[must_use]
pub fn refusal(facts: &Facts) -> Option<Refused> {
    let wanted = facts.needed_memory.saturating_mul(2);
    let first = [
        facts.running.map(|phase| Refused::Busy { phase }),
        (!facts.service_known).then_some(Refused::UnknownService),
        facts.same_version.then_some(Refused::SameVersion),
        (!facts.version_known).then_some(Refused::UnknownVersion),
        (!facts.updatable).then_some(Refused::NotUpdatable),
        facts.pair.map(Refused::Pair),
        (!facts.serving).then_some(Refused::NotServing),
        (facts.free_memory < wanted).then_some(Refused::Memory { free: facts.free_memory, wanted }),
        (facts.free_piece < facts.needed_piece)
            .then_some(Refused::Fragmented { free: facts.free_piece, wanted: facts.needed_piece }),
        processor::room(facts.free_processor, facts.needed_processor).err().map(Refused::Processor),
        (facts.load > facts.max_load).then_some(Refused::Load { load: facts.load, max: facts.max_load }),
        (!facts.storage).then_some(Refused::NoStorage),
        (facts.instances >= facts.max_instances)
            .then_some(Refused::TooManyInstances { max: facts.max_instances }),
    ];
    first.into_iter().flatten().next()
}

impl Refused {
    /// The stable code that the console prints: `error[CODE]`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Busy { .. } => "update-running",
            Self::UnknownService => "unknown-service",
            Self::UnknownVersion => "unknown-version",
            Self::NoVersionBefore => "no-version-before",
            Self::SameVersion => "same-version",
            Self::NotUpdatable => "not-updatable",
            Self::Pair(problem) => problem.code(),
            Self::NotServing => "not-serving",
            Self::Memory { .. } | Self::Fragmented { .. } => "memory",
            Self::Processor(_) => "processor",
            Self::Load { .. } => "load",
            Self::NoStorage => "no-storage",
            Self::TooManyInstances { .. } => "too-many-instances",
            Self::Dependencies => "dependencies",
            Self::Denied => "denied",
            Self::Module { .. } => "module",
            Self::Policy { .. } => "policy",
        }
    }

    pub(crate) fn encode(&self) -> [u64; crate::reason::CODE] {
        let with = |kind, a, b| [kind, a, b, 0, 0, 0, 0, 0];
        match *self {
            Self::Busy { phase } => with(1, phase as u64, 0),
            Self::UnknownService => with(2, 0, 0),
            Self::UnknownVersion => with(3, 0, 0),
            Self::SameVersion => with(4, 0, 0),
            Self::NotUpdatable => with(5, 0, 0),
            Self::Pair(problem) => with(6, problem as u64, 0),
            Self::NotServing => with(7, 0, 0),
            Self::Memory { free, wanted } => with(8, free, wanted),
            Self::Load { load, max } => with(9, load, max),
            Self::NoStorage => with(10, 0, 0),
            Self::TooManyInstances { max } => with(11, max, 0),
            Self::Module { code } => with(12, code, 0),
            Self::Policy { figure, value } => with(13, figure as u64, value),
            Self::Dependencies => with(14, 0, 0),
            Self::Denied => with(15, 0, 0),
            Self::Processor(Short { free, wanted }) => with(16, free, wanted),
            Self::NoVersionBefore => with(17, 0, 0),
            Self::Fragmented { free, wanted } => with(18, free, wanted),
        }
    }

    pub(crate) fn decode(code: &[u64; crate::reason::CODE]) -> Option<Self> {
        let [kind, a, b, ..] = *code;
        Some(match kind {
            1 => Self::Busy { phase: Phase::from_number(a)? },
            2 => Self::UnknownService,
            3 => Self::UnknownVersion,
            4 => Self::SameVersion,
            5 => Self::NotUpdatable,
            6 => Self::Pair(PairProblem::ALL.into_iter().find(|problem| *problem as u64 == a)?),
            7 => Self::NotServing,
            8 => Self::Memory { free: a, wanted: b },
            9 => Self::Load { load: a, max: b },
            10 => Self::NoStorage,
            11 => Self::TooManyInstances { max: a },
            12 => Self::Module { code: a },
            13 => Self::Policy {
                figure: PolicyFigure::ALL.into_iter().find(|figure| *figure as u64 == a)?,
                value: b,
            },
            14 => Self::Dependencies,
            15 => Self::Denied,
            16 => Self::Processor(Short { free: a, wanted: b }),
            17 => Self::NoVersionBefore,
            18 => Self::Fragmented { free: a, wanted: b },
            _ => return None,
        })
    }
}

impl fmt::Display for PairProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DifferentModules => "the two are versions of different modules",
            Self::NotUpdatable => "a manifest of the pair has no section about updates",
            Self::Forward => "the new version does not read the old one's state; go by way of one that does",
            Self::Backward => {
                "the old version would not read the new one's state, so there would be no way back"
            }
            Self::Protocol => "there is no migration protocol that both versions speak",
            Self::Untested => "neither manifest names the other version as tested",
        })
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MIB: u64 = 1 << 20;
        match self {
            Self::Busy { phase: Phase::Watch } => f.write_str(
                "the rollback window of an update is open; end it with `commit`, or go back with `rollback`",
            ),
            Self::Busy { phase } => write!(f, "another update is under way ({})", phase.name()),
            Self::UnknownService => f.write_str("there is no such service"),
            Self::UnknownVersion => f.write_str("there is no such version in the repository"),
            Self::NoVersionBefore => {
                f.write_str("no version was there before this one; `update` leads to another")
            }
            Self::SameVersion => f.write_str("this version serves already"),
            Self::NotUpdatable => f.write_str(
                "a manifest of the pair has no section [update], so nothing passes from one version to the other while it serves; \
                 `update NAME VERSION restart` ends the service, with its connections and what it keeps in memory, and starts the other version",
            ),
            Self::Pair(problem) => problem.fmt(f),
            Self::NotServing => f.write_str("the service does not run; start it first"),
            Self::Memory { free, wanted } => write!(
                f,
                "{} MiB of memory are short: {} MiB are free, {} MiB are wanted",
                (wanted - free.min(wanted)).div_ceil(MIB),
                free / MIB,
                wanted.div_ceil(MIB)
            ),
            Self::Fragmented { free, wanted } => write!(
                f,
                "{} MiB of memory in one piece are wanted, and the largest piece that is free has {} KiB; \
                 ending a service that holds much may join pieces",
                wanted.div_ceil(MIB),
                free / 1024
            ),
            Self::Processor(short) => short.fmt(f),
            Self::Load { load, max } => {
                write!(f, "the service is too busy: load {load}, at most {max} of 1000")
            }
            Self::NoStorage => f.write_str("the storage that records the default does not answer"),
            Self::TooManyInstances { max } => write!(f, "there is no room beside {max} instances"),
            Self::Dependencies => f.write_str("other modules must change first; `--plan` shows which"),
            Self::Denied => f.write_str("the policy denies it what it cannot do without; `--plan` shows what"),
            Self::Module { code } => write!(f, "the module was not accepted (check {code})"),
            Self::Policy { figure, value } => {
                let (least, most) = figure.range();
                write!(f, "`{}={value}`: a number from {least} to {most} is wanted", figure.name())
            }
        }
    }
}

impl core::error::Error for Refused {}
