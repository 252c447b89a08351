//! Numbered places for sockets. A number contains the generation of its place, so a number kept too long finds nothing.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::fmt;

const SLOT_BITS: u32 = 20;

/// Name of one socket: place in the low 20 bits, generation above. Survives a restart: it is in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u32);

impl Id {
    /// The place: small numbers, used again. Suits as an index into the shell's own tables.
    pub const fn slot(self) -> usize {
        (self.0 & ((1 << SLOT_BITS) - 1)) as usize
    }

    const fn new(slot: usize, generation: u32) -> Self {
        Self(generation << SLOT_BITS | slot as u32)
    }

    const fn generation(self) -> u32 {
        self.0 >> SLOT_BITS
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot(), self.generation())
    }
}

/// Half of all slots. While two instances give sockets to each other, each makes new ones in its own half only, so that no
/// number is ever given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Slots 0, 2, 4, …
    Even,
    /// Slots 1, 3, 5, …
    Odd,
}

impl Lane {
    /// Whether `number` is in this half.
    pub const fn has(self, number: usize) -> bool {
        number.is_multiple_of(2) == matches!(self, Self::Even)
    }
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    value: Option<T>,
}

/// A table with a bound.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<usize>,
    limit: usize,
    lane: Option<Lane>,
    /// Slots in which the other instance has something.
    reserved: BTreeSet<usize>,
}

impl<T> Slab<T> {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            limit: limit.min(1 << SLOT_BITS),
            lane: None,
            reserved: BTreeSet::new(),
        }
    }

    /// From now on only slots of this half are given; of both without one. Has no effect on what is in use.
    pub(crate) fn set_lane(&mut self, lane: Option<Lane>) {
        self.lane = lane;
    }

    /// Never gives this slot, until something is put there by its number or [`Self::clear_reserved`].
    pub(crate) fn reserve(&mut self, slot: usize) {
        self.reserved.insert(slot);
    }

    pub(crate) fn clear_reserved(&mut self) {
        self.reserved.clear();
    }

    /// Whether a new value could be put there if it were free.
    pub(crate) fn may_give(&self, slot: usize) -> bool {
        self.lane.is_none_or(|lane| lane.has(slot)) && !self.reserved.contains(&slot)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.next_id().is_none()
    }

    /// The number that [`Self::insert`] will give next, or `None` when full.
    pub(crate) fn next_id(&self) -> Option<Id> {
        let used_before = self.free.iter().rev().copied().find(|slot| self.may_give(*slot));
        match used_before {
            Some(slot) => self.places.get(slot).map(|place| Id::new(slot, place.generation)),
            None => {
                let mut fresh = self.places.len()..self.limit;
                fresh.find(|slot| self.may_give(*slot)).map(|slot| Id::new(slot, 0))
            }
        }
    }

    pub(crate) fn insert(&mut self, value: T) -> Option<Id> {
        let id = self.next_id()?;
        self.insert_at(id, value).then_some(id)
    }

    /// Puts a value where a record says that it was, whatever the lane. `false` if the place is taken or beyond the bound.
    pub(crate) fn insert_at(&mut self, id: Id, value: T) -> bool {
        if id.slot() >= self.limit {
            return false;
        }
        while self.places.len() <= id.slot() {
            self.free.push(self.places.len());
            self.places.push(Place { generation: 0, value: None });
        }
        match self.places.get_mut(id.slot()) {
            Some(place) if place.value.is_none() => {
                *place = Place { generation: id.generation(), value: Some(value) };
                // Mostly one of the last.
                if let Some(at) = self.free.iter().rposition(|slot| *slot == id.slot()) {
                    self.free.swap_remove(at);
                }
                self.reserved.remove(&id.slot());
                true
            }
            _ => false,
        }
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        let place = self.places.get_mut(id.slot()).filter(|place| place.generation == id.generation())?;
        let value = place.value.take()?;
        place.generation = (place.generation + 1) & (u32::MAX >> SLOT_BITS);
        self.free.push(id.slot());
        Some(value)
    }

    pub(crate) fn get(&self, id: Id) -> Option<&T> {
        self.places.get(id.slot()).filter(|place| place.generation == id.generation())?.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        self.places.get_mut(id.slot()).filter(|place| place.generation == id.generation())?.value.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id, &T)> {
        let named = |(slot, place): (usize, &'_ Place<T>)| Id::new(slot, place.generation);
        self.places
            .iter()
            .enumerate()
            .filter_map(move |(slot, place)| place.value.as_ref().map(|value| (named((slot, place)), value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_number_finds_nothing() {
        let mut slab = Slab::new(2);
        let first = slab.insert('a').unwrap();
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b').unwrap();
        assert_eq!(first.slot(), second.slot());
        assert_eq!((slab.get(first), slab.get(second)), (None, Some(&'b')));
    }

    #[test]
    fn the_bound_holds_and_restored_places_keep_their_numbers() {
        let mut slab = Slab::new(3);
        assert!(slab.insert_at(Id::new(1, 7), 'x'));
        assert!(!slab.insert_at(Id::new(1, 8), 'y') && !slab.insert_at(Id::new(3, 0), 'y'));
        assert_eq!(slab.get(Id::new(1, 7)), Some(&'x'));
        assert!(slab.insert('a').is_some() && slab.insert('b').is_some());
        assert!(slab.insert('c').is_none() && slab.is_full());
        assert_eq!(slab.iter().count(), 3);
    }

    #[test]
    fn a_lane_gives_its_half_only_and_places_of_the_peer_stay_free() {
        let mut slab = Slab::new(8);
        slab.set_lane(Some(Lane::Odd));
        slab.reserve(3);
        let given: Vec<_> = core::iter::from_fn(|| slab.insert('a').map(Id::slot)).collect();
        assert_eq!(given, [1, 5, 7]);
        assert!(slab.insert_at(Id::new(3, 9), 'x') && slab.insert_at(Id::new(4, 2), 'y'));
        assert!(slab.is_full(), "what came from the peer does not open its lane");
        slab.remove(Id::new(3, 9));
        assert_eq!(slab.next_id(), Some(Id::new(3, 10)));
        slab.set_lane(None);
        slab.clear_reserved();
        assert!(core::iter::from_fn(|| slab.insert('b')).count() == 4 && slab.is_full());
    }
}
