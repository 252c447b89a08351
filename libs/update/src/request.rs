//! What is asked for, and by which rules it is done (P1.2). Plain memory, because the module manager keeps it beside the journal.

use crate::{Nanos, Refused};
use hic_abi::name_bytes;
use hic_control::manager::WHOLE_SHARE;
use hic_migrate::Wave;

/// One of the two instances of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The one that serves when the update begins.
    Old,
    /// The one that the update makes.
    New,
}

impl Who {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Old, Self::New];

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Old => Self::New,
            Self::New => Self::Old,
        }
    }

    /// As the console names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
        }
    }
}

/// Who asked for the update: a number, so that all zero is a valid request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct Source(pub u64);

impl Source {
    /// A person at the console.
    pub const CONSOLE: Self = Self(1);

    /// As the console names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CONSOLE => "console",
            _ => "unknown",
        }
    }
}

/// An update of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Request {
    /// Name of the service, padded with zeros.
    pub service: [u8; 32],
    /// Version that serves.
    pub from: [u8; 16],
    /// Version that is to serve.
    pub to: [u8; 16],
    /// Who asked.
    pub source: Source,
    /// By which rules.
    pub policy: Policy,
}

impl Request {
    /// A request from the console under the default policy; names are cut to their fields.
    #[must_use]
    pub fn new(service: &str, from: &str, to: &str) -> Self {
        let (service, from, to) = (name_bytes(service), name_bytes(from), name_bytes(to));
        Self { service, from, to, source: Source::CONSOLE, policy: Policy::default() }
    }
}

const SECOND: Nanos = 1_000_000_000;

/// Longest rollback window: a year. What is meant to be longer ends by hand.
const MAX_WATCH: Nanos = 365 * 24 * 3600 * SECOND;

/// No limit on the downtime.
pub const ANY_DOWNTIME: Nanos = Nanos::MAX;

/// The rules of an update. Times in nanoseconds of guest time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Policy {
    /// Items that move in any second, at most (P1.2, P3.5); 0 is taken as 1. Only a unit that cannot be divided and is larger by itself goes
    /// beyond it. What is taken from a dead instance is not held to it: those items are not served until they have moved.
    pub moves_per_second: u64,
    /// Items in a batch, at most; 0 is taken as 1. A small batch freezes its items for a short time.
    pub batch_items: u64,
    /// Thousandths of the time that batches may take, 1 to 1000: a batch is followed by a pause that is as long as the batch was and this share
    /// ask for. Below 10, so that more than 99 of 100 requests meet no batch. Not for what is taken from a dead instance, which nobody serves
    /// meanwhile, nor for the way back from a version that fails.
    pub share: u64,
    /// Longest such pause: one stall of the machine during a batch must not stop the update for minutes. After a batch that asks for more,
    /// the share is not kept.
    pub longest_pause: Nanos,
    /// For each of the four waves, time between two health checks of the new version while it takes items, in the pauses, too (P3.5); 0 = one after
    /// each batch.
    pub wave_checks: [Nanos; 4],
    /// Batches of one way, there or back, at most: an exporter that never comes to an end is faulty.
    pub max_batches: u64,
    /// Time for a question or a restart, before the step has failed.
    pub step_deadline: Nanos,
    /// Time for a record. Nobody waits for service meanwhile, and a disk may be slow.
    pub record_deadline: Nanos,
    /// Time for checking the module, which is in memory, and for making the instance.
    pub create_deadline: Nanos,
    /// Time for the new instance from its start to its first answer.
    pub start_deadline: Nanos,
    /// How long the way back stays open after the switch (rollback window).
    pub watch: Nanos,
    /// Time between two health checks in the window.
    pub check_period: Nanos,
    /// Health checks that must succeed before the window begins; 0 is taken as 1.
    pub validations: u64,
    /// Time between two of these.
    pub validate_period: Nanos,
    /// Not 0: the window ends only when the operator says so.
    pub manual_commit: u64,
    /// Restarts of an instance during the update, before it counts as one that does not come up.
    pub restarts: u64,
    /// Longest time during which nobody served the service's own ports; beyond it the update is rolled back. [`ANY_DOWNTIME`] = no limit.
    pub max_downtime: Nanos,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            moves_per_second: 100,
            batch_items: 10,
            share: 2,
            longest_pause: 10 * SECOND,
            wave_checks: [0, 5 * SECOND, 2 * SECOND, 0],
            max_batches: 1_000_000,
            step_deadline: 2 * SECOND,
            record_deadline: 30 * SECOND,
            create_deadline: 10 * SECOND,
            start_deadline: 5 * SECOND,
            watch: 24 * 3600 * SECOND,
            check_period: 5 * SECOND,
            validations: 3,
            validate_period: SECOND / 5,
            manual_commit: 0,
            restarts: 2,
            max_downtime: ANY_DOWNTIME,
        }
    }
}

impl Policy {
    /// Whether each figure that an operator may set is in its range.
    ///
    /// # Errors
    /// [`Refused::Policy`] for the first one that is not.
    pub fn check(&self) -> Result<(), Refused> {
        for figure in PolicyFigure::ALL {
            let (value, (least, most)) = (figure.of(self), figure.range());
            if !(least..=most).contains(&value) {
                return Err(Refused::Policy { figure, value });
            }
        }
        Ok(())
    }

    /// The same with the health checks that the new version asks for: so many in a row before the window, and then one every so many milliseconds. `None`:
    /// the system's own, whatever an earlier version asked for.
    #[must_use]
    pub fn with_health(mut self, asked: Option<(u8, u32)>) -> Self {
        let own = Self::default();
        let asked = asked.map(|(checks, every_ms)| (checks.into(), Nanos::from(every_ms) * 1_000_000));
        (self.validations, self.check_period) = asked.unwrap_or((own.validations, own.check_period));
        self
    }

    pub(crate) fn wave_check(&self, wave: Wave) -> Nanos {
        self.wave_checks.get(wave as usize).copied().unwrap_or(0)
    }

    pub(crate) fn rate(&self) -> u64 {
        self.moves_per_second.max(1)
    }

    /// Items to ask for in one batch.
    pub(crate) fn batch(&self) -> u64 {
        self.batch_items.clamp(1, self.rate()).min(u16::MAX.into())
    }
}

/// A figure of the policy that an operator may set, in the unit in which it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum PolicyFigure {
    /// [`Policy::share`], thousandths.
    Share = 1,
    /// [`Policy::watch`], seconds.
    Watch,
}

impl PolicyFigure {
    pub(crate) const ALL: [Self; 2] = [Self::Share, Self::Watch];

    /// As it is typed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Share => "share",
            Self::Watch => "watch",
        }
    }

    /// The least and the largest that it may be.
    #[must_use]
    pub const fn range(self) -> (u64, u64) {
        match self {
            Self::Share => (1, WHOLE_SHARE),
            Self::Watch => (0, MAX_WATCH / SECOND),
        }
    }

    const fn of(self, policy: &Policy) -> u64 {
        match self {
            Self::Share => policy.share,
            Self::Watch => policy.watch.div_ceil(SECOND),
        }
    }
}
