//! Fixed pools of kernel objects, addressed by index and generation.
//!
//! A slot's generation counts up when its object is made and again when it dies, so it is odd while one lives there, and a stale identity
//! never reaches a new object. Taking and giving back are constant time; slots never touched cost nothing. This file never frees memory:
//! the arena lives as long as the kernel.

use core::fmt;
use core::mem::MaybeUninit;
use core::ops::{Index, IndexMut};
use core::ptr::NonNull;

/// No index: the end of a list.
pub const NONE: u32 = u32::MAX;

/// Identity of an object in a pool. Two identities are equal only if they mean the same object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    /// Slot number.
    pub index: u32,
    /// Generation of the slot while the object lives: odd.
    pub generation: u32,
}

struct Slot<T> {
    /// Odd: `value` is an object.
    generation: u32,
    /// Its own number, for those who know its address.
    index: u32,
    next_free: u32,
    value: MaybeUninit<T>,
}

impl<T> Slot<T> {
    const fn is_live(&self) -> bool {
        self.generation & 1 == 1
    }
}

/// Where a slot lies that was found by its index once: what the kernel's own links are on the paths that are to be short. As an index does, it
/// says nothing about what lives there by now.
pub struct Link<T>(NonNull<Slot<T>>);

impl<T> Clone for Link<T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Link<T> {}

impl<T> PartialEq for Link<T> {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Link<T> {}

impl<T> Link<T> {
    /// The number of the slot.
    #[inline(always)]
    pub fn index(self) -> u32 {
        // SAFETY: `Pool::link` made it of a slot that `insert` had written; the arena outlives it, and the number never changes.
        unsafe { (*self.0.as_ptr()).index }
    }
}

impl<T> fmt::Debug for Link<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.index().fmt(f)
    }
}

/// A pool of at most `capacity` objects.
pub struct Pool<T: 'static> {
    slots: NonNull<Slot<T>>,
    capacity: u32,
    touched: u32,
    free: u32,
    live: u32,
}

impl<T> Pool<T> {
    /// Bytes that a pool of this capacity takes from the arena, alignment included.
    pub const fn bytes(capacity: usize) -> usize {
        size_of::<Slot<T>>() * capacity + align_of::<Slot<T>>()
    }

    /// An empty pool on memory from the arena.
    pub fn new(arena: &mut Arena, capacity: usize) -> Self {
        let slots = NonNull::from(arena.take::<Slot<T>>(capacity)).cast();
        Self { slots, capacity: capacity as u32, touched: 0, free: NONE, live: 0 }
    }

    /// Address of a slot below `touched`.
    #[inline(always)]
    fn place(&self, index: u32) -> Option<NonNull<Slot<T>>> {
        #[cfg(test)]
        crate::tests::accesses::count();
        if index >= self.touched {
            return None;
        }
        // SAFETY: below `capacity`, so within the memory that the pool took.
        Some(unsafe { self.slots.add(index as usize) })
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> Option<&Slot<T>> {
        // SAFETY: `insert` alone raises `touched`, after writing the slot; none is un-initialised again. The memory is this pool's alone.
        self.place(index).map(|slot| unsafe { slot.as_ref() })
    }

    #[inline(always)]
    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot<T>> {
        // SAFETY: as in `slot`.
        self.place(index).map(|mut slot| unsafe { slot.as_mut() })
    }

    /// Where the live object at this index lies.
    #[inline(always)]
    pub fn link(&self, index: u32) -> Option<Link<T>> {
        self.slot(index).is_some_and(Slot::is_live).then(|| self.place(index).map(Link)).flatten()
    }

    /// Where the object that this identity names lies, while it lives.
    #[inline(always)]
    pub fn find(&self, id: Id) -> Option<Link<T>> {
        let place = self.place(id.index)?;
        // SAFETY: as in `slot`.
        (unsafe { place.as_ref() }.generation == id.generation | 1).then_some(Link(place))
    }

    /// The live object that a link of this pool leads to.
    #[inline(always)]
    pub fn follow(&self, link: Link<T>) -> Option<&T> {
        debug_assert!(self.place(link.index()) == Some(link.0), "a link of another pool");
        // SAFETY: links are made by `link` of a slot that is initialised for ever, and a kernel has one pool of each type.
        let slot = unsafe { link.0.as_ref() };
        // SAFETY: as in `at`.
        slot.is_live().then(|| unsafe { slot.value.assume_init_ref() })
    }

    /// The same, to change it.
    #[inline(always)]
    pub fn follow_mut(&mut self, mut link: Link<T>) -> Option<&mut T> {
        debug_assert!(self.place(link.index()) == Some(link.0), "a link of another pool");
        // SAFETY: as in `follow`.
        let slot = unsafe { link.0.as_mut() };
        // SAFETY: as in `at`.
        slot.is_live().then(|| unsafe { slot.value.assume_init_mut() })
    }

    /// Two live objects at once, to change both; `None` when they are one.
    #[inline(always)]
    pub fn follow_two(&mut self, a: Link<T>, b: Link<T>) -> Option<(&mut T, &mut T)> {
        if a == b {
            return None;
        }
        let a: *mut T = self.follow_mut(a)?;
        let b: *mut T = self.follow_mut(b)?;
        // SAFETY: both came from `&mut self` and are live; they are different slots, so the references do not overlap.
        Some(unsafe { (&mut *a, &mut *b) })
    }

    /// Puts an object into a free slot; gives it back when there is none.
    ///
    /// # Errors
    /// The value itself, when the pool is full.
    pub fn insert(&mut self, value: T) -> Result<Id, T> {
        if self.free == NONE {
            if self.touched == self.capacity {
                return Err(value);
            }
            let index = self.touched;
            let slot = Slot { generation: 0, index, next_free: NONE, value: MaybeUninit::uninit() };
            // SAFETY: below `capacity`, so within the memory that the pool took, and aligned as `Arena::take` promises.
            unsafe { self.slots.add(index as usize).write(slot) };
            (self.touched, self.free) = (index + 1, index);
        }
        let index = self.free;
        let Some(slot) = self.slot_mut(index) else { return Err(value) };
        slot.value.write(value);
        slot.generation = slot.generation.wrapping_add(1);
        let (generation, next_free) = (slot.generation, slot.next_free);
        (self.free, self.live) = (next_free, self.live + 1);
        Ok(Id { index, generation })
    }

    /// Takes an object out; its identity is stale from now on.
    pub fn remove(&mut self, index: u32) -> Option<T> {
        let free = self.free;
        let slot = self.slot_mut(index)?;
        if !slot.is_live() {
            return None;
        }
        slot.generation = slot.generation.wrapping_add(1);
        slot.next_free = free;
        // SAFETY: the slot was live, so `insert` wrote its value; the generation, even by now, lets nobody read it again.
        let value = unsafe { slot.value.assume_init_read() };
        self.free = index;
        self.live -= 1;
        Some(value)
    }

    /// Makes the identity of the live object at this index stale: no name reaches it any more. The links that lead to it do, until it is
    /// removed.
    pub fn retire(&mut self, index: u32) {
        if let Some(slot) = self.slot_mut(index).filter(|slot| slot.is_live()) {
            slot.generation = slot.generation.wrapping_add(2);
        }
    }

    /// The live object at this index, whatever its generation.
    #[inline(always)]
    pub fn at(&self, index: u32) -> Option<&T> {
        let slot = self.slot(index)?;
        // SAFETY: `insert` writes the value before the generation becomes odd, and `remove` makes it even.
        slot.is_live().then(|| unsafe { slot.value.assume_init_ref() })
    }

    /// The same, to change it.
    #[inline(always)]
    pub fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        let slot = self.slot_mut(index)?;
        // SAFETY: as in `at`.
        slot.is_live().then(|| unsafe { slot.value.assume_init_mut() })
    }

    /// The object that this identity names, while it lives.
    #[inline(always)]
    pub fn get(&self, id: Id) -> Option<&T> {
        let slot = self.slot(id.index)?;
        // SAFETY: as in `at`. An identity's generation is odd; `| 1` proves it here.
        (slot.generation == id.generation | 1).then(|| unsafe { slot.value.assume_init_ref() })
    }

    /// The same, to change it.
    #[inline(always)]
    pub fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        let slot = self.slot_mut(id.index)?;
        // SAFETY: as in `get`.
        (slot.generation == id.generation | 1).then(|| unsafe { slot.value.assume_init_mut() })
    }

    /// Whether this identity still names a live object.
    #[inline(always)]
    pub fn is_live(&self, id: Id) -> bool {
        self.get(id).is_some()
    }

    /// The identity of the live object at this index.
    #[inline(always)]
    pub fn id(&self, index: u32) -> Option<Id> {
        let slot = self.slot(index)?;
        slot.is_live().then_some(Id { index, generation: slot.generation })
    }

    /// Indices ever used; a walk over the pool ends here.
    pub fn touched(&self) -> u32 {
        self.touched
    }

    /// Live objects.
    pub fn live(&self) -> u32 {
        self.live
    }
}

impl<T> Index<u32> for Pool<T> {
    type Output = T;

    /// For indices that the kernel's own links hold; a dead one is a kernel bug and panics.
    #[inline]
    fn index(&self, index: u32) -> &T {
        match self.at(index) {
            Some(value) => value,
            None => dead_link::<T>(index),
        }
    }
}

impl<T> IndexMut<u32> for Pool<T> {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut T {
        match self.at_mut(index) {
            Some(value) => value,
            None => dead_link::<T>(index),
        }
    }
}

#[cold]
fn dead_link<T>(index: u32) -> ! {
    panic!("{} {index} is linked but dead", core::any::type_name::<T>())
}

/// Memory for the kernel's tables, handed out once, at boot.
pub struct Arena {
    memory: &'static mut [u8],
}

impl Arena {
    /// An arena over this memory.
    pub fn new(memory: &'static mut [u8]) -> Self {
        Self { memory }
    }

    /// `count` uninitialised values. Panics when the arena is too small, which `arena_need` rules out.
    pub fn take<T>(&mut self, count: usize) -> &'static mut [MaybeUninit<T>] {
        let memory = core::mem::take(&mut self.memory);
        let skip = memory.as_ptr().align_offset(align_of::<T>());
        let bytes = size_of::<T>() * count;
        let (block, rest) = memory[skip..].split_at_mut(bytes);
        self.memory = rest;
        // SAFETY: the block is exclusively ours, aligned for `T` by `skip`, large enough for `count` values, and
        // `MaybeUninit` asks nothing of its content.
        unsafe { core::slice::from_raw_parts_mut(block.as_mut_ptr().cast(), count) }
    }

    /// An array of copies of a value: its length is known where it is used.
    pub fn fill_array<T: Copy, const COUNT: usize>(&mut self, value: T) -> &'static mut [T; COUNT] {
        self.fill(COUNT, value).try_into().expect("as many as were asked for")
    }

    /// `count` copies of a value.
    pub fn fill<T: Copy>(&mut self, count: usize, value: T) -> &'static mut [T] {
        let slots = self.take::<T>(count);
        for slot in slots.iter_mut() {
            slot.write(value);
        }
        // SAFETY: every element was just written, and `MaybeUninit<T>` has the layout of `T`.
        unsafe { core::slice::from_raw_parts_mut(slots.as_mut_ptr().cast(), count) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arena(bytes: usize) -> Arena {
        Arena::new(std::vec![0u8; bytes].leak())
    }

    #[test]
    fn a_stale_identity_never_names_a_new_object() {
        let mut pool = Pool::new(&mut arena(Pool::<u64>::bytes(2)), 2);
        let first = pool.insert(7).expect("room");
        assert_eq!(pool.remove(first.index), Some(7));
        let second = pool.insert(8).expect("room");
        assert_eq!(second.index, first.index);
        assert!(!pool.is_live(first) && pool.is_live(second));
    }

    #[test]
    fn a_full_pool_gives_the_value_back() {
        let mut pool = Pool::new(&mut arena(Pool::<u64>::bytes(1)), 1);
        pool.insert(1).expect("room");
        assert_eq!(pool.insert(2), Err(2));
        assert_eq!(pool.live(), 1);
    }
}
