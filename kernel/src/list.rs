//! Intrusive lists through pool indices: constant-time insert and remove, no allocation.
//!
//! An object may be on several lists at once, one for each [`Linked`] tag; each list owns its tag's links while the object is on it.

use crate::pool::{NONE, Pool};

/// The links of one object on one list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Links {
    next: u32,
    previous: u32,
}

impl Links {
    /// Links of an object that is on no list.
    pub const FREE: Self = Self { next: NONE, previous: NONE };
}

/// An object with links for the list kind `TAG`.
pub trait Linked<const TAG: usize> {
    /// Its links.
    fn links(&self) -> &Links;
    /// Its links, to change them.
    fn links_mut(&mut self) -> &mut Links;
}

/// Gives a type links for a list kind, stored in the named field.
macro_rules! linked {
    ($type:ty, $tag:expr, $field:ident) => {
        impl $crate::list::Linked<{ $tag }> for $type {
            fn links(&self) -> &$crate::list::Links {
                &self.$field
            }
            fn links_mut(&mut self) -> &mut $crate::list::Links {
                &mut self.$field
            }
        }
    };
}
pub(crate) use linked;

/// A first-in-first-out list.
#[derive(Clone, Copy, Debug)]
pub struct List<const TAG: usize> {
    head: u32,
    tail: u32,
    length: u32,
}

impl<const TAG: usize> Default for List<TAG> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const TAG: usize> List<TAG> {
    /// An empty list.
    #[must_use]
    pub const fn new() -> Self {
        Self { head: NONE, tail: NONE, length: 0 }
    }

    /// Whether nothing is on it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.head == NONE
    }

    /// How many are on it.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.length
    }

    /// The first.
    #[must_use]
    pub const fn first(&self) -> Option<u32> {
        if self.head == NONE { None } else { Some(self.head) }
    }

    /// The one after `index`.
    #[must_use]
    pub fn after<T: Linked<TAG>>(&self, pool: &Pool<T>, index: u32) -> Option<u32> {
        let next = pool[index].links().next;
        (next != NONE).then_some(next)
    }

    /// Appends an object that is on no list of this kind.
    pub fn push_back<T: Linked<TAG>>(&mut self, pool: &mut Pool<T>, index: u32) {
        *pool[index].links_mut() = Links { next: NONE, previous: self.tail };
        if self.tail == NONE {
            self.head = index;
        } else {
            pool[self.tail].links_mut().next = index;
        }
        self.tail = index;
        self.length += 1;
    }

    /// Puts an object that is on no list of this kind at the front.
    pub fn push_front<T: Linked<TAG>>(&mut self, pool: &mut Pool<T>, index: u32) {
        *pool[index].links_mut() = Links { next: self.head, previous: NONE };
        if self.head == NONE {
            self.tail = index;
        } else {
            pool[self.head].links_mut().previous = index;
        }
        self.head = index;
        self.length += 1;
    }

    /// Whether an object is on this list; it is on no other of this kind.
    pub fn holds<T: Linked<TAG>>(&self, pool: &Pool<T>, index: u32) -> bool {
        self.head == index || *pool[index].links() != Links::FREE
    }

    /// Puts all of another list behind this one. Constant time.
    pub fn append<T: Linked<TAG>>(&mut self, pool: &mut Pool<T>, other: Self) {
        if self.head == NONE {
            *self = other;
        } else if other.head != NONE {
            pool[self.tail].links_mut().next = other.head;
            pool[other.head].links_mut().previous = self.tail;
            (self.tail, self.length) = (other.tail, self.length + other.length);
        }
    }

    /// Takes an object off; it must be on this list.
    pub fn remove<T: Linked<TAG>>(&mut self, pool: &mut Pool<T>, index: u32) {
        let Links { next, previous } = core::mem::replace(pool[index].links_mut(), Links::FREE);
        if previous == NONE {
            self.head = next;
        } else {
            pool[previous].links_mut().next = next;
        }
        if next == NONE {
            self.tail = previous;
        } else {
            pool[next].links_mut().previous = previous;
        }
        self.length -= 1;
    }

    /// Takes the first off.
    pub fn pop_front<T: Linked<TAG>>(&mut self, pool: &mut Pool<T>) -> Option<u32> {
        let first = self.first()?;
        let next = core::mem::replace(pool[first].links_mut(), Links::FREE).next;
        self.head = next;
        if next == NONE {
            self.tail = NONE;
        } else {
            pool[next].links_mut().previous = NONE;
        }
        self.length -= 1;
        Some(first)
    }
}
