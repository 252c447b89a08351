//! Intrusive lists through pool indices: constant-time insert and remove, no allocation.
//!
//! An object may be on several lists at once, one for each [`Linked`] tag; each list owns its tag's links while the object is on it.

use crate::pool::{NONE, Pool};

/// The links of one object on one list; [`NONE`] where nobody comes before or behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Links {
    pub(crate) next: u32,
    pub(crate) previous: u32,
}

impl Links {
    /// Links of an object that is on no list.
    pub const FREE: Self = Self { next: NONE, previous: NONE };

    /// Whether nobody comes behind.
    #[inline(always)]
    pub const fn is_last(&self) -> bool {
        self.next == NONE
    }

    /// Another one came next to it: before it, when it was put to the `front`.
    #[inline(always)]
    pub fn meet(&mut self, other: u32, front: bool) {
        if front { self.previous = other } else { self.next = other }
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

impl<const TAG: usize> List<TAG> {
    /// An empty list.
    pub(crate) const fn new() -> Self {
        Self { head: NONE, tail: NONE, length: 0 }
    }

    /// Whether nothing is on it.
    pub const fn is_empty(&self) -> bool {
        self.head == NONE
    }

    /// How many are on it.
    pub const fn len(&self) -> u32 {
        self.length
    }

    /// The first, or [`NONE`], which leads nowhere in any pool.
    #[inline(always)]
    pub const fn head(&self) -> u32 {
        self.head
    }

    /// The first.
    pub const fn first(&self) -> Option<u32> {
        if self.head == NONE { None } else { Some(self.head) }
    }

    /// The one after `index`.
    pub fn after<T: Linked<TAG>>(&self, pool: &Pool<T>, index: u32) -> Option<u32> {
        let next = pool[index].links().next;
        (next != NONE).then_some(next)
    }

    /// Appends an object that is on no list of this kind.
    pub fn push_back<T: Linked<TAG>>(&mut self, pool: &mut Pool<T>, index: u32) {
        self.push(pool, index, false);
    }

    /// Puts an object that is on no list of this kind at the `front` or at the end.
    pub fn push<T: Linked<TAG>>(&mut self, pool: &mut Pool<T>, index: u32, front: bool) {
        if let Some(neighbour) = self.put(index, pool[index].links_mut(), front) {
            pool[neighbour].links_mut().meet(index, front);
        }
    }

    /// The same, its links being at hand; whose links still have to [`meet`](Links::meet) it.
    #[inline(always)]
    #[must_use]
    pub fn put(&mut self, index: u32, own: &mut Links, front: bool) -> Option<u32> {
        self.length += 1;
        let end = if front { &mut self.head } else { &mut self.tail };
        let neighbour = core::mem::replace(end, index);
        let (next, previous) = if front { (neighbour, NONE) } else { (NONE, neighbour) };
        *own = Links { next, previous };
        if neighbour == NONE {
            (self.head, self.tail) = (index, index);
            return None;
        }
        Some(neighbour)
    }

    /// Links for an object that will be the last: [`Self::appended`] is to be called as soon as it has an index.
    #[inline(always)]
    #[must_use]
    pub const fn at_end(&self) -> Links {
        Links { next: NONE, previous: self.tail }
    }

    /// The object that was made with the links of [`Self::at_end`] has this index.
    #[inline(always)]
    pub fn appended<T: Linked<TAG>>(&mut self, pool: &mut Pool<T>, index: u32) {
        let before = core::mem::replace(&mut self.tail, index);
        self.length += 1;
        if before == NONE {
            self.head = index;
        } else {
            pool[before].links_mut().next = index;
        }
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
        let links = core::mem::replace(pool[index].links_mut(), Links::FREE);
        self.unlink(pool, links);
    }

    /// The same with the links of an object that has left its pool.
    #[inline(always)]
    pub fn unlink<T: Linked<TAG>>(&mut self, pool: &mut Pool<T>, Links { next, previous }: Links) {
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
