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

    /// Whether nobody comes behind.
    #[inline(always)]
    #[must_use]
    pub const fn is_last(&self) -> bool {
        self.next == NONE
    }

    /// Another one came behind.
    #[inline(always)]
    pub fn set_next(&mut self, next: u32) {
        self.next = next;
    }

    /// Another one came before.
    #[inline(always)]
    pub fn set_previous(&mut self, previous: u32) {
        self.previous = previous;
    }

    /// It is the first now.
    #[inline(always)]
    pub fn set_first(&mut self) {
        self.previous = NONE;
    }
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

    /// The first, or [`NONE`], which leads nowhere in any pool.
    #[inline(always)]
    #[must_use]
    pub const fn head(&self) -> u32 {
        self.head
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
        if let Some(before) = self.put_last(index, pool[index].links_mut()) {
            pool[before].links_mut().set_next(index);
        }
    }

    /// The same, its links being at hand; whose links still have to learn of it.
    #[inline(always)]
    #[must_use]
    pub fn put_last(&mut self, index: u32, own: &mut Links) -> Option<u32> {
        let before = core::mem::replace(&mut self.tail, index);
        *own = Links { next: NONE, previous: before };
        self.length += 1;
        if before == NONE {
            self.head = index;
            return None;
        }
        Some(before)
    }

    /// Puts an object that is on no list of this kind at the front.
    pub fn push_front<T: Linked<TAG>>(&mut self, pool: &mut Pool<T>, index: u32) {
        if let Some(behind) = self.put_first(index, pool[index].links_mut()) {
            pool[behind].links_mut().set_previous(index);
        }
    }

    /// The same, its links being at hand; whose links still have to learn of it.
    #[inline(always)]
    #[must_use]
    pub fn put_first(&mut self, index: u32, own: &mut Links) -> Option<u32> {
        let behind = core::mem::replace(&mut self.head, index);
        *own = Links { next: behind, previous: NONE };
        self.length += 1;
        if behind == NONE {
            self.tail = index;
            return None;
        }
        Some(behind)
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

    /// Another one, which is on no list of this kind, takes the place of the only one. The links of both say as before that they have no neighbours.
    #[inline(always)]
    pub fn replace_only(&mut self, index: u32) {
        (self.head, self.tail) = (index, index);
    }

    /// Takes the first off, whose links are at hand; which one is the first now and has to learn of it.
    #[inline(always)]
    #[must_use]
    pub fn take_first(&mut self, own: &mut Links) -> Option<u32> {
        self.head = core::mem::replace(own, Links::FREE).next;
        self.length -= 1;
        if self.head == NONE {
            self.tail = NONE;
            return None;
        }
        Some(self.head)
    }
}
