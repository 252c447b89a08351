//! Fixed pools of kernel objects, addressed by index and generation.
//!
//! A slot's generation changes each time its object dies, so that a stale identity never reaches a new object. Taking and giving
//! back are constant time; slots never touched cost nothing. This file never frees memory: the arena lives as long as
//! the kernel.

use core::mem::MaybeUninit;
use core::ops::{Index, IndexMut};

/// No index: the end of a list.
pub const NONE: u32 = u32::MAX;

/// Identity of an object in a pool. Two identities are equal only if they mean the same object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    /// Slot number.
    pub index: u32,
    /// Generation of the slot when the object was made; never 0 for a live object.
    pub generation: u32,
}

struct Slot<T> {
    generation: u32,
    next_free: u32,
    value: Option<T>,
}

/// A pool of at most `capacity` objects.
pub struct Pool<T: 'static> {
    slots: &'static mut [MaybeUninit<Slot<T>>],
    touched: u32,
    free: u32,
    live: u32,
}

impl<T> Pool<T> {
    /// Bytes that a pool of this capacity takes from the arena, alignment included.
    #[must_use]
    pub const fn bytes(capacity: usize) -> usize {
        size_of::<Slot<T>>() * capacity + align_of::<Slot<T>>()
    }

    /// An empty pool on memory from the arena.
    pub fn new(arena: &mut Arena, capacity: usize) -> Self {
        Self { slots: arena.take(capacity), touched: 0, free: NONE, live: 0 }
    }

    fn slot(&self, index: u32) -> Option<&Slot<T>> {
        #[cfg(test)]
        accesses::count();
        if index >= self.touched {
            return None;
        }
        // SAFETY: `insert` alone raises `touched`, to at most `slots.len()`, after writing the slot; none is un-initialised again.
        Some(unsafe { self.slots.get_unchecked(index as usize).assume_init_ref() })
    }

    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot<T>> {
        #[cfg(test)]
        accesses::count();
        if index >= self.touched {
            return None;
        }
        // SAFETY: as in `slot`.
        Some(unsafe { self.slots.get_unchecked_mut(index as usize).assume_init_mut() })
    }

    /// Puts an object into a free slot; gives it back when there is none.
    ///
    /// # Errors
    /// The value itself, when the pool is full.
    pub fn insert(&mut self, value: T) -> Result<Id, T> {
        let index = if self.free != NONE {
            self.free
        } else if (self.touched as usize) < self.slots.len() {
            let index = self.touched;
            self.slots[index as usize].write(Slot { generation: 0, next_free: NONE, value: None });
            self.touched += 1;
            index
        } else {
            return Err(value);
        };
        let from_free_list = self.free == index;
        let Some(slot) = self.slot_mut(index) else { return Err(value) };
        let next_free = slot.next_free;
        slot.generation = slot.generation.wrapping_add(1).max(1);
        slot.value = Some(value);
        let generation = slot.generation;
        if from_free_list {
            self.free = next_free;
        }
        self.live += 1;
        Ok(Id { index, generation })
    }

    /// Takes an object out; its identity is stale from now on.
    pub fn remove(&mut self, index: u32) -> Option<T> {
        let free = self.free;
        let slot = self.slot_mut(index)?;
        let value = slot.value.take()?;
        slot.next_free = free;
        self.free = index;
        self.live -= 1;
        Some(value)
    }

    /// The live object at this index, whatever its generation.
    #[must_use]
    pub fn at(&self, index: u32) -> Option<&T> {
        self.slot(index)?.value.as_ref()
    }

    /// The same, to change it.
    pub fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slot_mut(index)?.value.as_mut()
    }

    /// Whether this identity still names a live object.
    #[must_use]
    pub fn is_live(&self, id: Id) -> bool {
        self.slot(id.index).is_some_and(|s| s.generation == id.generation && s.value.is_some())
    }

    /// The identity of the live object at this index.
    #[must_use]
    pub fn id(&self, index: u32) -> Option<Id> {
        let slot = self.slot(index)?;
        slot.value.as_ref()?;
        Some(Id { index, generation: slot.generation })
    }

    /// Indices ever used; a walk over the pool ends here.
    #[must_use]
    pub fn touched(&self) -> u32 {
        self.touched
    }

    /// Live objects.
    #[must_use]
    pub fn live(&self) -> u32 {
        self.live
    }
}

impl<T> Index<u32> for Pool<T> {
    type Output = T;

    /// For indices that the kernel's own links hold; a dead one is a kernel bug and panics.
    fn index(&self, index: u32) -> &T {
        match self.at(index) {
            Some(value) => value,
            None => panic!("{} {index} is linked but dead", core::any::type_name::<T>()),
        }
    }
}

impl<T> IndexMut<u32> for Pool<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        match self.at_mut(index) {
            Some(value) => value,
            None => panic!("{} {index} is linked but dead", core::any::type_name::<T>()),
        }
    }
}

/// Memory for the kernel's tables, handed out once, at boot.
pub struct Arena {
    memory: &'static mut [u8],
}

impl Arena {
    /// An arena over this memory.
    #[must_use]
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

/// How often objects were looked at, so that a test can say that an operation costs the same whatever waits on it.
#[cfg(test)]
pub(crate) mod accesses {
    use std::cell::Cell;

    std::thread_local!(static COUNT: Cell<u64> = const { Cell::new(0) });

    pub(super) fn count() {
        COUNT.with(|c| c.set(c.get() + 1));
    }

    /// Accesses on this thread while `work` runs.
    pub(crate) fn during(work: impl FnOnce()) -> u64 {
        let before = COUNT.with(Cell::get);
        work();
        COUNT.with(Cell::get) - before
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
