//! What an update says to this instance, so that a start in the middle of one knows where it is.
//!
//! One truth decides who owns a batch: the token, a capability (`hic_migrate`). What is written here is which sockets the batch consists
//! of, and what was answered, so that a repeated question gets the same answer.

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
        let set = *self;
        (0..PLACES).filter(move |place| set.contains(*place))
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
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
    /// Its number; of the last one while [`Phase::Idle`].
    pub number: u64,
    /// How far it is.
    pub phase: Phase,
    /// It is the interface role's.
    pub role: bool,
    /// It is taken from a dead peer.
    pub salvage: bool,
    /// Items that were left besides it when it was answered.
    pub left: u64,
    /// When its sockets were frozen, monotonic nanoseconds.
    pub frozen_at: u64,
    /// Its sockets.
    pub places: Places,
}

/// What is on record about the update under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    /// What this instance was told to be; `None` outside an update.
    pub plan: Option<Prepare>,
    /// The batch.
    pub batch: Batch,
    /// Records may be in this version's own format: there is no predecessor.
    pub own_format: bool,
    /// All state was given away or is not wanted any more.
    pub retired: bool,
}

/// Words of an encoded journal.
pub(super) const WORDS: usize = 12 + PLACES / 64;

const PLANNED: u64 = 1;
const IMPORTER: u64 = 1 << 1;
const OWN_FORMAT: u64 = 1 << 2;
const LEAVING: u64 = 1 << 3;
const INCOMING: u64 = 1 << 4;
const ROLE: u64 = 1 << 5;
const SALVAGE: u64 = 1 << 6;
const RETIRED: u64 = 1 << 7;

impl Journal {
    pub(super) fn to_words(self) -> [u64; WORDS] {
        let Batch { number, phase, role, salvage, left, frozen_at, places } = self.batch;
        let mut flags = match phase {
            Phase::Idle => 0,
            Phase::Leaving => LEAVING,
            Phase::Incoming => INCOMING,
        };
        let mut set = |on: bool, flag| flags |= if on { flag } else { 0 };
        set(self.own_format, OWN_FORMAT);
        set(self.retired, RETIRED);
        set(role, ROLE);
        set(salvage, SALVAGE);
        set(self.plan.is_some(), PLANNED);
        set(self.plan.is_some_and(|plan| plan.side == Side::Importer), IMPORTER);
        let mut words = [0; WORDS];
        let plan = self.plan.map_or([0; 6], |plan| {
            let small = u64::from(plan.lane) | u64::from(plan.schema) << 16;
            let protocols = u64::from(plan.protocols.lowest) | u64::from(plan.protocols.highest) << 16;
            let Place { address, bytes } = plan.peer_state;
            [small, protocols, address, bytes, plan.peer_serial, plan.token.into()]
        });
        let all = [flags, number, left, frozen_at].into_iter().chain(plan).chain([0; 2]).chain(places.0);
        for (to, from) in words.iter_mut().zip(all) {
            *to = from;
        }
        words
    }

    pub(super) fn from_words(words: &[u64; WORDS]) -> Self {
        let [flags, number, left, frozen_at, small, protocols, address, bytes, peer_serial, token, _, _, ..] =
            *words;
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
        let mut places = Places::default();
        for (to, from) in places.0.iter_mut().zip(words.iter().skip(12)) {
            *to = *from;
        }
        let (role, salvage) = (has(ROLE), has(SALVAGE));
        let batch = Batch { number, phase, role, salvage, left, frozen_at, places };
        Self { plan, batch, own_format: has(OWN_FORMAT), retired: has(RETIRED) }
    }
}
