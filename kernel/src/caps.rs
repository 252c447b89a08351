//! Capability slots and the derivation tree.
//!
//! All spaces are runs in one table, so that a look-up is one bounds check and one load. A slot knows its parent, its first
//! child and its siblings; deleting one hands its children to its parent, so that revoking an ancestor still reaches them.
//! This file knows nothing of what the objects are.

use crate::objects::ObjectRef;
use crate::pool::{Arena, NONE};
use hic_abi::Rights;

/// A filled slot.
#[derive(Clone, Copy, Debug)]
pub struct Cap {
    /// What it names.
    pub object: ObjectRef,
    /// What it allows.
    pub rights: Rights,
    /// Index of the sandbox in whose space it lies.
    pub owner: u32,
}

#[derive(Clone, Copy)]
struct Slot {
    cap: Option<Cap>,
    parent: u32,
    child: u32,
    next: u32,
    previous: u32,
    /// The next and the previous one in the list of those that name the same object, for objects that keep one.
    next_peer: u32,
    previous_peer: u32,
}

const EMPTY: Slot = Slot {
    cap: None,
    parent: NONE,
    child: NONE,
    next: NONE,
    previous: NONE,
    next_peer: NONE,
    previous_peer: NONE,
};

/// One step of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoke {
    /// This slot has no descendants and is to be emptied.
    Delete(u32),
    /// A descendant came nearer.
    Lifted,
}

/// Slots are handed out to spaces in chunks of this many.
const CHUNK: usize = 64;

/// The table of all slots.
pub struct CapTable {
    slots: &'static mut [Slot],
    used: &'static mut [bool],
    /// All chunks before this one are used.
    first_free: usize,
}

impl CapTable {
    /// Bytes for this many slots.
    #[must_use]
    pub const fn bytes(slots: usize) -> usize {
        size_of::<Slot>() * slots + slots / CHUNK + 64
    }

    /// A table of empty slots.
    pub fn new(arena: &mut Arena, slots: usize) -> Self {
        Self { slots: arena.fill(slots, EMPTY), used: arena.fill(slots / CHUNK, false), first_free: 0 }
    }

    /// A run of `count` slots (a multiple of 64) for a new space.
    pub fn take_space(&mut self, count: u32) -> Option<u32> {
        let chunks = count as usize / CHUNK;
        let mut run = 0;
        for chunk in self.first_free..self.used.len() {
            #[cfg(test)]
            crate::pool::accesses::count();
            run = if self.used[chunk] { 0 } else { run + 1 };
            if run == chunks {
                let first = chunk + 1 - chunks;
                self.used[first..=chunk].fill(true);
                if first == self.first_free {
                    self.first_free = chunk + 1;
                }
                return Some((first * CHUNK) as u32);
            }
        }
        None
    }

    /// Gives back the run of a space; all its slots are empty.
    pub fn free_space(&mut self, first: u32, count: u32) {
        let first = first as usize / CHUNK;
        self.first_free = self.first_free.min(first);
        self.used[first..first + count as usize / CHUNK].fill(false);
    }

    /// What is in a slot.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, slot: u32) -> Option<&Cap> {
        self.slots.get(slot as usize)?.cap.as_ref()
    }

    /// Fills an empty slot; `parent` is the slot that it derives from.
    pub fn fill(&mut self, slot: u32, cap: Cap, parent: Option<u32>) {
        self.slots[slot as usize] = Slot { cap: Some(cap), ..EMPTY };
        if let Some(parent) = parent {
            self.adopt(parent, slot);
        }
    }

    /// Empties a slot; its children become its parent's. Constant time for each child.
    pub fn empty(&mut self, slot: u32) -> Option<Cap> {
        let cap = self.slots[slot as usize].cap.take()?;
        let parent = self.slots[slot as usize].parent;
        while self.slots[slot as usize].child != NONE {
            let child = self.slots[slot as usize].child;
            self.orphan(child);
            if parent != NONE {
                self.adopt(parent, child);
            }
        }
        self.orphan(slot);
        self.slots[slot as usize] = EMPTY;
        Some(cap)
    }

    /// Moves a capability, with its place in the tree, to an empty slot.
    pub fn relocate(&mut self, from: u32, to: u32, owner: u32) {
        let moved = self.slots[from as usize];
        self.slots[to as usize] = moved;
        self.slots[from as usize] = EMPTY;
        if let Some(cap) = &mut self.slots[to as usize].cap {
            cap.owner = owner;
        }
        if moved.previous != NONE {
            self.slots[moved.previous as usize].next = to;
        } else if moved.parent != NONE {
            self.slots[moved.parent as usize].child = to;
        }
        if moved.next != NONE {
            self.slots[moved.next as usize].previous = to;
        }
        let mut child = moved.child;
        while child != NONE {
            self.slots[child as usize].parent = to;
            child = self.slots[child as usize].next;
        }
    }

    /// Puts a filled slot, which is on no such list, at the head of an object's list of the capabilities that name it.
    pub fn link_peer(&mut self, head: &mut u32, slot: u32) {
        self.slots[slot as usize].next_peer = *head;
        if *head != NONE {
            self.slots[*head as usize].previous_peer = slot;
        }
        *head = slot;
    }

    /// Takes a slot off such a list; `head` is the object's, if it still lives.
    pub fn unlink_peer(&mut self, head: Option<&mut u32>, slot: u32) {
        let Slot { next_peer: next, previous_peer: previous, .. } = self.slots[slot as usize];
        if previous != NONE {
            self.slots[previous as usize].next_peer = next;
        } else if let Some(head) = head {
            *head = next;
        }
        if next != NONE {
            self.slots[next as usize].previous_peer = previous;
        }
        let slot = &mut self.slots[slot as usize];
        (slot.next_peer, slot.previous_peer) = (NONE, NONE);
    }

    /// The capabilities on such a list.
    pub fn peers(&self, head: u32) -> impl Iterator<Item = &Cap> {
        let slot = |at: u32| self.slots.get(at as usize);
        core::iter::successors(slot(head), move |s| slot(s.next_peer)).filter_map(|s| s.cap.as_ref())
    }

    /// The slot that this one derives from.
    #[must_use]
    pub fn parent(&self, slot: u32) -> Option<u32> {
        let parent = self.slots.get(slot as usize)?.parent;
        (parent != NONE).then_some(parent)
    }

    /// A slot that derives directly from this one.
    #[must_use]
    pub fn child(&self, slot: u32) -> Option<u32> {
        let child = self.slots.get(slot as usize)?.child;
        (child != NONE).then_some(child)
    }

    /// Finds a slot to delete on the way to revoking all that derive from `root`: its first child, when nothing derives from that one. Otherwise
    /// the first of those that do becomes a child of `root` and is next. Constant time, and each slot is lifted at most once.
    pub fn next_to_revoke(&mut self, root: u32) -> Option<Revoke> {
        let child = self.child(root)?;
        let Some(grandchild) = self.child(child) else { return Some(Revoke::Delete(child)) };
        self.orphan(grandchild);
        self.adopt(root, grandchild);
        Some(Revoke::Lifted)
    }

    /// How many slots derive directly from this one.
    #[must_use]
    pub fn children(&self, slot: u32) -> u64 {
        let mut count = 0;
        let mut child = self.slots[slot as usize].child;
        while child != NONE {
            count += 1;
            child = self.slots[child as usize].next;
        }
        count
    }

    fn adopt(&mut self, parent: u32, slot: u32) {
        let head = self.slots[parent as usize].child;
        self.slots[slot as usize].parent = parent;
        self.slots[slot as usize].next = head;
        self.slots[slot as usize].previous = NONE;
        if head != NONE {
            self.slots[head as usize].previous = slot;
        }
        self.slots[parent as usize].child = slot;
    }

    fn orphan(&mut self, slot: u32) {
        let Slot { parent, next, previous, .. } = self.slots[slot as usize];
        if previous != NONE {
            self.slots[previous as usize].next = next;
        } else if parent != NONE {
            self.slots[parent as usize].child = next;
        }
        if next != NONE {
            self.slots[next as usize].previous = previous;
        }
        let slot = &mut self.slots[slot as usize];
        (slot.parent, slot.next, slot.previous) = (NONE, NONE, NONE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Id;
    use hic_abi::ObjectType;

    fn cap() -> Cap {
        let object = ObjectRef { kind: ObjectType::Region, id: Id { index: 0, generation: 1 } };
        Cap { object, rights: Rights::all(), owner: 0 }
    }

    fn table() -> CapTable {
        CapTable::new(&mut Arena::new(std::vec![0u8; CapTable::bytes(256)].leak()), 256)
    }

    #[test]
    fn deleting_a_link_in_the_middle_leaves_its_children_revocable() {
        let mut t = table();
        t.fill(1, cap(), None);
        t.fill(2, cap(), Some(1));
        t.fill(3, cap(), Some(2));
        t.empty(2);
        assert_eq!(t.child(1), Some(3));
    }

    #[test]
    fn a_moved_capability_keeps_its_place_in_the_tree() {
        let mut t = table();
        t.fill(1, cap(), None);
        t.fill(2, cap(), Some(1));
        t.fill(3, cap(), Some(2));
        t.relocate(2, 9, 4);
        assert!(t.get(2).is_none());
        assert_eq!(t.get(9).map(|c| c.owner), Some(4));
        t.empty(3);
        assert_eq!(t.child(1), Some(9));
        assert_eq!(t.child(9), None);
    }

    #[test]
    fn a_revocation_visits_each_descendant_once_and_nothing_else() {
        let mut t = table();
        t.fill(1, cap(), None);
        t.fill(2, cap(), Some(1));
        for slot in 3..40 {
            // A chain with a leaf at each link.
            t.fill(slot, cap(), Some(if slot % 2 == 1 { slot - 1 } else { slot - 2 }));
        }
        let (mut deleted, mut lifted) = (0, 0);
        while let Some(step) = t.next_to_revoke(2) {
            match step {
                Revoke::Delete(slot) => deleted += u32::from(t.empty(slot).is_some()),
                Revoke::Lifted => lifted += 1,
            }
        }
        assert_eq!(deleted, 37);
        assert!(lifted <= deleted);
        assert_eq!((t.child(1), t.child(2)), (Some(2), None));
    }

    #[test]
    fn spaces_are_disjoint_runs() {
        let mut t = table();
        assert_eq!((t.take_space(64), t.take_space(128), t.take_space(128)), (Some(0), Some(64), None));
        t.free_space(64, 128);
        assert_eq!(t.take_space(192), Some(64));
    }
}
