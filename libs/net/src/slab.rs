//! Numbered places for sockets. A number contains the generation of its place, so a number kept too long finds nothing.

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
}

impl<T> Slab<T> {
    pub(crate) fn new(limit: usize) -> Self {
        Self { places: Vec::new(), free: Vec::new(), limit: limit.min(1 << SLOT_BITS) }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.limit
    }

    /// The number that [`Self::insert`] will give next, or `None` when full.
    pub(crate) fn next_id(&self) -> Option<Id> {
        match self.free.last() {
            Some(slot) => self.places.get(*slot).map(|place| Id::new(*slot, place.generation)),
            None if self.places.len() < self.limit => Some(Id::new(self.places.len(), 0)),
            None => None,
        }
    }

    pub(crate) fn insert(&mut self, value: T) -> Option<Id> {
        let id = self.next_id()?;
        self.free.pop();
        match self.places.get_mut(id.slot()) {
            Some(place) => place.value = Some(value),
            None => self.places.push(Place { generation: 0, value: Some(value) }),
        }
        Some(id)
    }

    /// Puts a value where a record says that it was. `false` if the place is taken or beyond the bound.
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
                self.free.retain(|slot| *slot != id.slot());
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
}
