//! What is asked.

use crate::Refusal;
use hic_channel::{Message, WORDS};

/// Versions of the protocol that somebody speaks (ledger P2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols {
    /// Oldest.
    pub lowest: u16,
    /// Newest.
    pub highest: u16,
}

impl Protocols {
    /// The newest version that both speak.
    #[must_use]
    pub fn common(self, other: Self) -> Option<u16> {
        let newest = self.highest.min(other.highest);
        (newest >= self.lowest.max(other.lowest)).then_some(newest)
    }
}

/// Which way the state goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It gives state away.
    Exporter,
    /// It takes state.
    Importer,
}

/// Mapped memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// First address.
    pub address: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What an instance is to be in an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepare {
    /// Its side.
    pub side: Side,
    /// Names of new things are taken from this lane, 0 or 1, so that both instances may make some.
    pub lane: u8,
    /// The peer's state region, mapped for reading.
    pub peer_state: Place,
    /// Serial number of the peer's sandbox.
    pub peer_serial: u64,
    /// The slot in which the batch token comes and goes.
    pub token: u32,
    /// Protocols of the peer.
    pub protocols: Protocols,
    /// Records are to be readable by readers of this schema until the update is committed.
    pub schema: u16,
}

/// The four progressive waves (S0 3.3, ledger P3.5): which share of what there is moves first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wave {
    /// Listeners, and what is idle or in the background.
    Low,
    /// Ordinary traffic.
    Medium,
    /// Busy streams.
    High,
    /// What must not notice: long-lived sessions, and everything that is left.
    Persistent,
}

impl Wave {
    /// All, in order.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Persistent];

    fn from_number(number: u64) -> Option<Self> {
        usize::try_from(number).ok().and_then(|n| Self::ALL.get(n).copied())
    }
}

/// A share of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Up to `max` items (connections, listeners with all that wait on them, sockets) of this wave or an earlier one; a unit that cannot be
    /// divided may make it more.
    Items {
        /// The wave.
        wave: Wave,
        /// How many.
        max: u16,
    },
    /// What only one instance can have: for a network stack the address, the lease, and what no flow names.
    Role,
    /// Import only: whatever is left in the state of a peer that is dead for good, `max` items at a time.
    Everything {
        /// How many.
        max: u16,
    },
}

impl Share {
    fn to_words(self) -> [u64; 3] {
        match self {
            Self::Items { wave, max } => [1, wave as u64, max.into()],
            Self::Role => [2, 0, 0],
            Self::Everything { max } => [3, 0, max.into()],
        }
    }

    fn from_words([kind, wave, max]: [u64; 3]) -> Option<Self> {
        let max = u16::try_from(max).ok()?;
        match kind {
            1 => Some(Self::Items { wave: Wave::from_number(wave)?, max }),
            2 => Some(Self::Role),
            3 => Some(Self::Everything { max }),
            _ => None,
        }
    }
}

/// A question. Batches are numbered upwards from 1 in one update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// See [`crate::Migration::prepare_migration`].
    Prepare(Prepare),
    /// See [`crate::Migration::export_state`].
    Export {
        /// Its number.
        batch: u64,
        /// What.
        share: Share,
    },
    /// See [`crate::Migration::import_state`].
    Import {
        /// Its number.
        batch: u64,
        /// What was exported.
        share: Share,
    },
    /// See [`crate::Migration::migrate_connection`].
    Migrate {
        /// Its number.
        batch: u64,
    },
    /// See [`crate::Migration::complete_migration`].
    Complete {
        /// Its number.
        batch: u64,
    },
    /// See [`crate::Migration::abort_migration`].
    Abort {
        /// Its number.
        batch: u64,
    },
    /// See [`crate::Migration::check`].
    Check,
    /// See [`crate::Migration::commit`].
    Commit {
        /// No predecessor will read what is written.
        own_format: bool,
    },
    /// See [`crate::Migration::shutdown`].
    Shutdown,
}

const PREPARE: u64 = 1;
const EXPORT: u64 = 2;
const IMPORT: u64 = 3;
const MIGRATE: u64 = 4;
const COMPLETE: u64 = 5;
const ABORT: u64 = 6;
const CHECK: u64 = 7;
const COMMIT: u64 = 8;
const SHUTDOWN: u64 = 9;

impl Question {
    /// As a message.
    #[must_use]
    pub fn encode(&self) -> Message {
        let batch = |label, batch: u64| Message::new(label, [batch, 0, 0, 0, 0, 0, 0, 0]);
        let share = |label, batch: u64, share: Share| {
            let [a, b, c] = share.to_words();
            Message::new(label, [batch, a, b, c, 0, 0, 0, 0])
        };
        match *self {
            Self::Prepare(plan) => Message::new(PREPARE, plan.to_words()),
            Self::Export { batch, share: what } => share(EXPORT, batch, what),
            Self::Import { batch, share: what } => share(IMPORT, batch, what),
            Self::Migrate { batch: number } => batch(MIGRATE, number),
            Self::Complete { batch: number } => batch(COMPLETE, number),
            Self::Abort { batch: number } => batch(ABORT, number),
            Self::Check => batch(CHECK, 0),
            Self::Commit { own_format } => batch(COMMIT, own_format.into()),
            Self::Shutdown => batch(SHUTDOWN, 0),
        }
    }

    /// From a message.
    ///
    /// # Errors
    /// [`Refusal::UnknownQuestion`].
    pub fn decode(message: &Message) -> Result<Self, Refusal> {
        let [batch, a, b, c, ..] = message.words;
        let share = || Share::from_words([a, b, c]).ok_or(Refusal::UnknownQuestion);
        Ok(match message.label {
            PREPARE => Self::Prepare(Prepare::from_words(message.words).ok_or(Refusal::UnknownQuestion)?),
            EXPORT => Self::Export { batch, share: share()? },
            IMPORT => Self::Import { batch, share: share()? },
            MIGRATE => Self::Migrate { batch },
            COMPLETE => Self::Complete { batch },
            ABORT => Self::Abort { batch },
            CHECK => Self::Check,
            COMMIT => Self::Commit { own_format: batch != 0 },
            SHUTDOWN => Self::Shutdown,
            _ => return Err(Refusal::UnknownQuestion),
        })
    }
}

impl Prepare {
    fn to_words(self) -> [u64; WORDS] {
        let side = match self.side {
            Side::Exporter => 1,
            Side::Importer => 2,
        };
        let Protocols { lowest, highest } = self.protocols;
        [
            side,
            self.lane.into(),
            self.peer_state.address,
            self.peer_state.bytes,
            self.peer_serial,
            self.token.into(),
            u64::from(lowest) | u64::from(highest) << 16,
            self.schema.into(),
        ]
    }

    fn from_words(words: [u64; WORDS]) -> Option<Self> {
        let [side, lane, address, bytes, peer_serial, token, protocols, schema] = words;
        let side = match side {
            1 => Side::Exporter,
            2 => Side::Importer,
            _ => return None,
        };
        Some(Self {
            side,
            lane: u8::try_from(lane).ok().filter(|lane| *lane < 2)?,
            peer_state: Place { address, bytes },
            peer_serial,
            token: u32::try_from(token).ok()?,
            protocols: Protocols { lowest: protocols as u16, highest: (protocols >> 16) as u16 },
            schema: u16::try_from(schema).ok()?,
        })
    }
}
