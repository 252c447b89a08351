//! What an update says to this instance, so that a start in the middle of one knows where it is.
//!
//! One truth decides who owns a batch: the token, a capability (`hic_migrate`). What is written here is which sockets the batch consists
//! of, and what was answered, so that a repeated question gets the same answer. [`Batch::truth`] puts the two together.

use crate::place::PLACES;
use hic_migrate::{Place, Prepare, Protocols, Side};

/// A set of places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places([u64; PLACES / 64]);

impl Default for Places {
    fn default() -> Self {
        Self([0; PLACES / 64])
    }
}

impl Places {
    /// Adds a place; one beyond [`PLACES`] is ignored.
    pub fn insert(&mut self, place: usize) {
        if let Some(word) = self.0.get_mut(place / 64) {
            *word |= 1 << (place % 64);
        }
    }

    /// Whether a place is in it.
    #[must_use]
    pub fn contains(&self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|word| word >> (place % 64) & 1 != 0)
    }

    /// The places, ascending: the order of everything that belongs to a batch.
    pub fn iter(&self) -> impl Iterator<Item = usize> + use<> {
        let rest = |word: u64| (word != 0).then_some(word);
        let bits = move |word| {
            let from_lowest = core::iter::successors(rest(word), move |word| rest(word & (word - 1)));
            from_lowest.map(|word| word.trailing_zeros() as usize)
        };
        self.0.into_iter().enumerate().flat_map(move |(n, word)| bits(word).map(move |bit| n * 64 + bit))
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Adds all of another set.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(word, more)| *word |= more);
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

/// How far the batch is, in this instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// There is none, or it is done with.
    #[default]
    Idle,
    /// Its sockets are frozen, and on their way out.
    Leaving,
    /// There is room for its sockets, which are on their way in.
    Incoming,
}

/// A batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Its number; means nothing while [`Phase::Idle`].
    pub number: u64,
    /// How far it is.
    pub phase: Phase,
    /// The interface role moves with it.
    pub role: bool,
    /// It is taken from a dead peer.
    pub salvage: bool,
    /// Items that were left besides it when it was answered.
    pub left: u64,
    /// When its sockets were frozen, monotonic nanoseconds; 0 if that is not known.
    pub frozen_at: u64,
    /// Its sockets.
    pub places: Places,
}

/// What is to be done about a batch that a start, or a question about another batch, finds under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// There is none.
    Nothing,
    /// It has not moved: its sockets are ours, and stay frozen until it is taken back or moves.
    Ours,
    /// It has moved: its sockets are the peer's.
    Theirs,
    /// It has moved here: its sockets are ours, and not served yet.
    Arrived,
    /// It has not moved here: there is room for its sockets, and nothing in it.
    Expected,
}

impl Batch {
    /// Whose the batch is, given whether the token is in our slot.
    #[must_use]
    pub const fn truth(&self, token_here: bool) -> Truth {
        match (self.phase, token_here) {
            (Phase::Idle, _) => Truth::Nothing,
            (Phase::Leaving, true) => Truth::Ours,
            (Phase::Leaving, false) => Truth::Theirs,
            (Phase::Incoming, true) => Truth::Arrived,
            (Phase::Incoming, false) => Truth::Expected,
        }
    }
}

/// What is on record about the update under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    /// What this instance was told to be; `None` outside an update.
    pub plan: Option<Prepare>,
    /// The batch.
    pub batch: Batch,
    /// Number of the batch that arrived here last.
    pub arrived: u64,
    /// Number of the batch that was given away last.
    pub given: u64,
    /// Serial number of a peer whose packet region the driver is to forget; 0 = none.
    pub forget: u64,
    /// Records may be in this version's own format: there is no predecessor.
    pub own_format: bool,
    /// All state was given away or is not wanted any more.
    pub retired: bool,
    /// Places in which the peer has something: what it had when the update began, and what was given to it since.
    pub reserved: Places,
    /// Places of a dead peer that were dealt with.
    pub salvaged: Places,
}

impl Journal {
    /// Places that no new socket may take: what is there is the peer's and not here yet, or of the batch under way. That one has its places on record
    /// at both ends, and after a restart in no engine. `here` tells what is on record.
    pub fn taken(&self, here: impl Fn(usize) -> bool) -> impl Iterator<Item = usize> {
        let batch = self.batch.places;
        let awaited = move |place: &usize| !here(*place) && !batch.contains(*place);
        self.reserved.iter().filter(awaited).chain(batch.iter())
    }
}

const FIXED: usize = 16;
const SET: usize = PLACES / 64;
/// Words of an encoded journal.
pub(super) const WORDS: usize = FIXED + 3 * SET;

const PLANNED: u64 = 1;
const IMPORTER: u64 = 1 << 1;
const OWN_FORMAT: u64 = 1 << 2;
const LEAVING: u64 = 1 << 3;
const INCOMING: u64 = 1 << 4;
const ROLE: u64 = 1 << 5;
const SALVAGE: u64 = 1 << 6;
const RETIRED: u64 = 1 << 7;

impl Journal {
    fn flags(&self) -> u64 {
        let importer = self.plan.is_some_and(|plan| plan.side == Side::Importer);
        let flags = [
            (self.plan.is_some(), PLANNED),
            (importer, IMPORTER),
            (self.own_format, OWN_FORMAT),
            (self.batch.phase == Phase::Leaving, LEAVING),
            (self.batch.phase == Phase::Incoming, INCOMING),
            (self.batch.role, ROLE),
            (self.batch.salvage, SALVAGE),
            (self.retired, RETIRED),
        ];
        flags.into_iter().filter(|(on, _)| *on).map(|(_, flag)| flag).sum()
    }

    pub(super) fn to_words(self) -> [u64; WORDS] {
        let plan = self.plan.map_or([0; 6], |plan| {
            let small = u64::from(plan.lane) | u64::from(plan.schema) << 16;
            let protocols = u64::from(plan.protocols.lowest) | u64::from(plan.protocols.highest) << 16;
            let Place { address, bytes } = plan.peer_state;
            [small, protocols, address, bytes, plan.peer_serial, plan.token.into()]
        });
        let Batch { number, left, frozen_at, places, .. } = self.batch;
        let numbers = [self.flags(), number, left, frozen_at, self.arrived, self.given, self.forget, 0, 0, 0];
        let sets = places.0.into_iter().chain(self.reserved.0).chain(self.salvaged.0);
        let mut words = [0; WORDS];
        for (to, from) in words.iter_mut().zip(plan.into_iter().chain(numbers).chain(sets)) {
            *to = from;
        }
        words
    }

    pub(super) fn from_words(words: &[u64; WORDS]) -> Self {
        let [small, protocols, address, bytes, peer_serial, token, ..] = *words;
        let [_, _, _, _, _, _, flags, number, left, frozen_at, arrived, given, forget, ..] = *words;
        let has = |flag| flags & flag != 0;
        let plan = has(PLANNED).then_some(Prepare {
            side: if has(IMPORTER) { Side::Importer } else { Side::Exporter },
            lane: small as u8,
            peer_state: Place { address, bytes },
            peer_serial,
            token: token as u32,
            protocols: Protocols { lowest: protocols as u16, highest: (protocols >> 16) as u16 },
            schema: (small >> 16) as u16,
        });
        let phase = match (has(LEAVING), has(INCOMING)) {
            (true, _) => Phase::Leaving,
            (_, true) => Phase::Incoming,
            _ => Phase::Idle,
        };
        let set = |n: usize| {
            let mut set = Places::default();
            set.0.iter_mut().zip(words.iter().skip(FIXED + n * SET)).for_each(|(to, from)| *to = *from);
            set
        };
        let (role, salvage, places) = (has(ROLE), has(SALVAGE), set(0));
        Self {
            plan,
            batch: Batch { number, phase, role, salvage, left, frozen_at, places },
            arrived,
            given,
            forget,
            own_format: has(OWN_FORMAT),
            retired: has(RETIRED),
            reserved: set(1),
            salvaged: set(2),
        }
    }
}
