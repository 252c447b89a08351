//! The flow table: open addressing with linear probing over records in the state region.
//!
//! It never evicts: a full table refuses. The hash is keyed, so that nobody outside can choose ports that collide. Each
//! change becomes visible with one store of a word, so a driver that dies in between leaves a table that can be read;
//! [`FlowTable::attach`] checks that it is one all the same, since its memory outlived whoever wrote it.

use super::FlowKey;
use super::record::{Flow, FlowRecord, FlowState, Slot};
use core::fmt;
use core::hash::Hasher;
use siphasher::sip::SipHasher13;

/// Stacks whose flows are counted: those with a smaller number.
const OWNERS: usize = 256;

/// Why a flow was not inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsertError {
    /// Another stack owns it.
    Taken {
        /// Who.
        owner: u32,
    },
    /// Three quarters of the slots are in use; more would make searches long.
    Full {
        /// Flows in the table.
        live: usize,
    },
}

impl fmt::Display for InsertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken { owner } => write!(f, "the flow belongs to stack {owner}"),
            Self::Full { live } => write!(f, "the flow table is full with {live} flows"),
        }
    }
}

impl core::error::Error for InsertError {}

/// What [`FlowTable::attach`] had to put right. All zero for a table that an orderly driver left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// Slots with impossible content, now free.
    pub broken: usize,
    /// Flows that a search would not find, or finds elsewhere; now free.
    pub lost: usize,
}

/// The table.
#[derive(Debug)]
pub struct FlowTable<'a> {
    pub(super) records: &'a mut [FlowRecord],
    secret: [u8; 16],
    live: usize,
    /// Flows of each stack.
    owned: [usize; OWNERS],
    /// Held flows.
    pub(super) held: usize,
    /// No hold ends before this, nanoseconds.
    pub(super) earliest: u64,
}

impl<'a> FlowTable<'a> {
    /// Takes over records (all zero for a fresh table) with the secret that placed them.
    pub fn attach(records: &'a mut [FlowRecord], secret: [u8; 16]) -> (Self, Repair) {
        let mut table = Self { records, secret, live: 0, owned: [0; OWNERS], held: 0, earliest: u64::MAX };
        let mut repair = Repair::default();
        for at in 0..table.records.len() {
            match table.records.get(at).map(FlowRecord::read) {
                Some(Slot::Broken) => {
                    table.free(at, false);
                    repair.broken += 1;
                }
                Some(Slot::Live(_, flow)) => table.one_more(flow.owner),
                _ => {}
            }
        }
        for at in 0..table.records.len() {
            let Some(Slot::Live(key, flow)) = table.records.get(at).map(FlowRecord::read) else { continue };
            if table.position(&key.to_words()) != Some(at) {
                table.free(at, false);
                table.one_less(flow.owner);
                repair.lost += 1;
            }
        }
        table.count_holds();
        (table, repair)
    }

    /// Flows in the table.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live
    }

    /// Whether a stack has any flow.
    #[must_use]
    pub fn owns_any(&self, owner: u32) -> bool {
        self.owned.get(owner as usize).is_some_and(|count| *count > 0)
    }

    pub(super) fn one_more(&mut self, owner: u32) {
        self.live += 1;
        self.owned.get_mut(owner as usize).into_iter().for_each(|count| *count += 1);
    }

    pub(super) fn one_less(&mut self, owner: u32) {
        self.live -= 1;
        self.owned.get_mut(owner as usize).into_iter().for_each(|count| *count = count.saturating_sub(1));
    }

    /// Flows that fit: three quarters of the slots.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.records.len() / 4 * 3
    }

    /// Slots in the order in which a key is searched.
    fn probe(&self, key: &[u64; 3]) -> impl Iterator<Item = usize> + use<> {
        let mut hasher = SipHasher13::new_with_key(&self.secret);
        key.iter().for_each(|word| hasher.write_u64(*word));
        let (slots, hash) = (self.records.len(), hasher.finish());
        let start = if slots == 0 { 0 } else { (hash % slots as u64) as usize };
        (start..slots).chain(0..start)
    }

    pub(super) fn position(&self, key: &[u64; 3]) -> Option<usize> {
        for at in self.probe(key) {
            let record = self.records.get(at)?;
            if record.matches(key) {
                return Some(at);
            }
            if record.is_empty() {
                return None;
            }
        }
        None
    }

    /// The flow with exactly this key.
    #[must_use]
    pub fn get(&self, key: &FlowKey) -> Option<Flow> {
        match self.records.get(self.position(&key.to_words())?)?.read() {
            Slot::Live(_, flow) => Some(flow),
            _ => None,
        }
    }

    /// The entry that a frame of `key` matches: its exact one, else the one of its local port. `None`: the frame is for whoever
    /// gets the rest.
    #[must_use]
    pub fn route(&self, key: &FlowKey) -> Option<(FlowKey, Flow)> {
        let entry = |key| self.get(&key).map(|flow| (key, flow));
        entry(*key).or_else(|| match *key {
            FlowKey::Exact { protocol, local, .. } => entry(FlowKey::Port { protocol, port: local.port() }),
            FlowKey::Port { .. } => None,
        })
    }

    /// Inserts a flow for `owner` if nobody has it. One that `owner` has already stays as it is.
    ///
    /// # Errors
    /// [`InsertError`]; the table is as before.
    pub fn insert_if_absent(&mut self, key: &FlowKey, owner: u32) -> Result<(), InsertError> {
        if let Some(flow) = self.get(key) {
            return if flow.owner == owner { Ok(()) } else { Err(InsertError::Taken { owner: flow.owner }) };
        }
        let full = InsertError::Full { live: self.live };
        if self.live >= self.capacity() {
            return Err(full);
        }
        let words = key.to_words();
        let free = self.probe(&words).find(|at| self.records.get(*at).is_some_and(FlowRecord::is_free));
        let record = free.and_then(|at| self.records.get_mut(at)).ok_or(full)?;
        record.write(words, Flow { owner, state: FlowState::Flowing });
        self.one_more(owner);
        Ok(())
    }

    /// Removes a flow of `owner`; `false` if it has no such flow.
    pub fn remove(&mut self, key: &FlowKey, owner: u32) -> bool {
        let found = self.position(&key.to_words());
        let Some(at) = found.filter(|_| self.get(key).is_some_and(|flow| flow.owner == owner)) else {
            return false;
        };
        self.free_slot(at);
        true
    }

    /// Removes all flows of a stack that is gone; how many.
    pub fn remove_owner(&mut self, owner: u32) -> usize {
        let before = self.live;
        for at in 0..self.records.len() {
            let slot = self.records.get(at).map(FlowRecord::read);
            if matches!(slot, Some(Slot::Live(_, flow)) if flow.owner == owner) {
                self.free_slot(at);
            }
        }
        before - self.live
    }

    fn free(&mut self, at: usize, end: bool) {
        if let Some(record) = self.records.get_mut(at) {
            record.clear(end);
        }
    }

    /// Frees a live slot. If a search would end behind it anyway it may end here, and at the slots gone before it: so slots that
    /// are gone do not pile up.
    fn free_slot(&mut self, at: usize) {
        if let Some(Slot::Live(_, Flow { owner, state })) = self.records.get(at).map(FlowRecord::read) {
            self.one_less(owner);
            if matches!(state, FlowState::Held { .. }) {
                self.one_held_less();
            }
        }
        let slots = self.records.len();
        let ends = self.records.get((at + 1) % slots).is_some_and(FlowRecord::is_empty);
        self.free(at, ends);
        let mut at = at;
        for _ in 1..slots {
            let before = (at + slots - 1) % slots;
            let gone = self.records.get(before).is_some_and(|r| r.read() == Slot::Gone);
            if !ends || !gone {
                return;
            }
            self.free(before, true);
            at = before;
        }
    }
}
