//! Capability slots and the derivation tree.
//!
//! All spaces are runs in one table, so that a look-up is one bounds check and one load. Those that derive from one slot are a ring, of which the
//! slot knows the first and only the first knows the slot. So deleting one that others derive from puts their ring in its place, moving one tells
//! its neighbours, and either is constant time however many there are. This file knows nothing of what the objects are.

use crate::objects::ObjectRef;
use crate::pool::{Arena, Id, NONE};
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

/// The links of an empty slot mean nothing.
#[derive(Clone, Copy)]
struct Slot {
    cap: Option<Cap>,
    /// Promised to a move of the transaction that is being checked: as its source, if filled, or as its target.
    promised: bool,
    /// Of the first of those that derive from the same slot: that slot.
    parent: u32,
    /// The first of those that derive from this one.
    child: u32,
    /// The ring of those that derive from the same slot; one that derives from none is a ring of its own, or in one with others of its kind.
    next: u32,
    previous: u32,
    /// The next and the previous one in the list of those that name the same object for the same owner, for objects that keep such lists;
    /// others are on it by chance.
    next_peer: u32,
    previous_peer: u32,
}

const EMPTY: Slot = Slot {
    cap: None,
    promised: false,
    parent: NONE,
    child: NONE,
    next: NONE,
    previous: NONE,
    next_peer: NONE,
    previous_peer: NONE,
};

/// Children of a slot that are counted for whoever asks, at most.
pub const MAX_COUNTED: usize = 1024;

/// Slots are handed out to spaces in chunks of this many.
const CHUNK: usize = 64;

/// Lists of peers: a power of two, as many as capabilities on memory are to be expected.
const BUCKETS: usize = 1 << 15;

/// The list on which capabilities of one owner on one object are (multipliers from Knuth's multiplicative hashing and xxHash).
const fn bucket_of(object: Id, owner: u32) -> usize {
    let mixed = object.index.wrapping_mul(0x9e37_79b1) ^ owner.wrapping_mul(0x85eb_ca77);
    (mixed >> 16 ^ mixed) as usize % BUCKETS
}

/// The table of all slots.
pub struct CapTable {
    slots: &'static mut [Slot],
    used: &'static mut [bool],
    /// First of each list of those that name the same object for the same owner.
    peers: &'static mut [u32],
    /// All chunks before this one are used.
    first_free: usize,
    /// Counts what may have made a handle mean something else.
    changes: u64,
}

impl CapTable {
    /// Bytes for this many slots.
    #[must_use]
    pub const fn bytes(slots: usize) -> usize {
        size_of::<Slot>() * slots + slots / CHUNK + size_of::<u32>() * BUCKETS + 64
    }

    /// A table of empty slots.
    pub fn new(arena: &mut Arena, slots: usize) -> Self {
        let (used, peers) = (arena.fill(slots / CHUNK, false), arena.fill(BUCKETS, NONE));
        Self { slots: arena.fill(slots, EMPTY), used, peers, first_free: 0, changes: 0 }
    }

    /// As long as this number stays, a filled slot holds the same, and its object lives and leads where it led: no object ends but with a
    /// capability on it.
    #[inline(always)]
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// A handle may mean something else from now on.
    #[inline(always)]
    pub fn changed(&mut self) {
        self.changes += 1;
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

    #[inline(always)]
    fn slot(&self, slot: u32) -> Option<&Slot> {
        #[cfg(test)]
        crate::pool::accesses::count();
        self.slots.get(slot as usize)
    }

    #[inline(always)]
    fn at(&mut self, slot: u32) -> &mut Slot {
        #[cfg(test)]
        crate::pool::accesses::count();
        &mut self.slots[slot as usize]
    }

    /// What is in a slot.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, slot: u32) -> Option<&Cap> {
        self.slot(slot)?.cap.as_ref()
    }

    /// Fills an empty slot; `parent` is the slot that it derives from.
    #[inline(always)]
    pub fn fill(&mut self, slot: u32, cap: Cap, parent: Option<u32>) {
        *self.at(slot) = Slot { cap: Some(cap), next: slot, previous: slot, ..EMPTY };
        let Some(parent) = parent else { return };
        let first = self.at(parent).child;
        if first == NONE {
            self.at(parent).child = slot;
            self.at(slot).parent = parent;
        } else {
            self.join(first, slot, slot);
        }
    }

    /// Empties a slot; what derived from it derives from its parent now. Constant time.
    #[inline(always)]
    pub fn empty(&mut self, slot: u32) {
        self.changed();
        let old = self.at(slot);
        old.cap = None;
        let &mut Slot { parent, child, next, previous, .. } = old;
        // Whoever comes to where it was among those that derive from its parent.
        let heir = if child == NONE {
            self.at(previous).next = next;
            self.at(next).previous = previous;
            if next == slot { NONE } else { next }
        } else {
            self.at(child).parent = NONE;
            if next != slot {
                let last = self.at(child).previous;
                self.at(previous).next = child;
                self.at(child).previous = previous;
                self.at(last).next = next;
                self.at(next).previous = last;
            }
            child
        };
        if parent != NONE {
            self.at(parent).child = heir;
            if heir != NONE {
                self.at(heir).parent = parent;
            }
        }
    }

    /// Moves a capability, with its place in the tree, to an empty slot. Constant time.
    #[inline(always)]
    pub fn relocate(&mut self, from: u32, to: u32, owner: u32) {
        self.changed();
        let old = self.at(from);
        old.promised = false;
        let moved = *old;
        old.cap = None;
        let new = self.at(to);
        *new = moved;
        if let Some(cap) = &mut new.cap {
            cap.owner = owner;
        }
        if moved.next == from {
            (new.next, new.previous) = (to, to);
        } else {
            self.at(moved.previous).next = to;
            self.at(moved.next).previous = to;
        }
        if moved.parent != NONE {
            self.at(moved.parent).child = to;
        }
        if moved.child != NONE {
            self.at(moved.child).parent = to;
        }
    }

    /// Promises a slot to a move of a transaction; `false` when it is promised already.
    pub fn promise(&mut self, slot: u32) -> bool {
        !core::mem::replace(&mut self.at(slot).promised, true)
    }

    /// Whether a slot is promised; none is, between two calls.
    #[cfg(test)]
    pub(crate) fn is_promised(&self, slot: u32) -> bool {
        self.slots[slot as usize].promised
    }

    /// Takes a promise back.
    pub fn release(&mut self, slot: u32) {
        self.at(slot).promised = false;
    }

    /// Puts a filled slot, which is on no such list, on the list of those that name the same object for the same owner.
    pub fn link_peer(&mut self, slot: u32) {
        let Some(bucket) = self.bucket(slot) else { return };
        let head = core::mem::replace(&mut self.peers[bucket], slot);
        let new = self.at(slot);
        (new.next_peer, new.previous_peer) = (head, NONE);
        if head != NONE {
            self.at(head).previous_peer = slot;
        }
    }

    /// Takes a slot off that list again, while it is still filled.
    pub fn unlink_peer(&mut self, slot: u32) {
        let Some(bucket) = self.bucket(slot) else { return };
        let &mut Slot { next_peer: next, previous_peer: previous, .. } = self.at(slot);
        if previous == NONE {
            self.peers[bucket] = next;
        } else {
            self.at(previous).next_peer = next;
        }
        if next != NONE {
            self.at(next).previous_peer = previous;
        }
    }

    /// Whether a sandbox has a capability on an object that keeps such lists, in another slot than this one.
    #[must_use]
    pub fn has_peer(&self, object: Id, owner: u32, except: u32) -> bool {
        let named = |slot: &Slot| slot.cap.is_some_and(|c| c.object.id == object && c.owner == owner);
        let mut at = self.peers[bucket_of(object, owner)];
        while let Some(slot) = self.slot(at) {
            if at != except && named(slot) {
                return true;
            }
            at = slot.next_peer;
        }
        false
    }

    fn bucket(&self, slot: u32) -> Option<usize> {
        self.get(slot).map(|cap| bucket_of(cap.object.id, cap.owner))
    }

    /// A slot that derives directly from this one.
    #[must_use]
    pub fn child(&self, slot: u32) -> Option<u32> {
        let child = self.slot(slot)?.child;
        (child != NONE).then_some(child)
    }

    /// A slot to delete on the way to revoking all that derive from `root`: its first child. What derives from that one derives from `root`
    /// from now on, and comes next. Constant time.
    #[inline(always)]
    pub fn next_to_revoke(&mut self, root: u32) -> Option<u32> {
        let child = self.child(root)?;
        let first = core::mem::replace(&mut self.at(child).child, NONE);
        if first != NONE {
            self.at(first).parent = NONE;
            let last = self.at(first).previous;
            self.join(child, first, last);
        }
        Some(child)
    }

    /// How many slots derive directly from this one, as far as [`MAX_COUNTED`].
    #[must_use]
    pub fn children(&self, slot: u32) -> u64 {
        let next = |at: &u32| Some(self.slot(*at)?.next);
        let first = self.child(slot);
        let others = core::iter::successors(first, next).skip(1).take_while(|at| Some(*at) != first);
        others.take(MAX_COUNTED - 1).count() as u64 + u64::from(first.is_some())
    }

    /// Puts the run from `first` to `last` into a ring, behind `at`.
    #[inline(always)]
    fn join(&mut self, at: u32, first: u32, last: u32) {
        let next = core::mem::replace(&mut self.at(at).next, first);
        self.at(first).previous = at;
        self.at(last).next = next;
        self.at(next).previous = last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let mut deleted = 0;
        while let Some(slot) = t.next_to_revoke(2) {
            assert_eq!(t.child(slot), None);
            t.empty(slot);
            deleted += 1;
        }
        assert_eq!(deleted, 37);
        assert_eq!((t.child(1), t.child(2)), (Some(2), None));
    }

    /// The tree as a plain table of parents, beside the real one.
    #[test]
    fn any_order_of_copies_moves_and_deletions_keeps_the_tree() {
        const SLOTS: u32 = 60;
        let (mut t, mut parents) = (table(), std::collections::BTreeMap::<u32, Option<u32>>::new());
        let mut seed = 7u64;
        for _ in 0..4_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (a, b) = ((seed >> 33) as u32 % SLOTS, (seed >> 45) as u32 % SLOTS);
            match (t.get(a).is_some(), t.get(b).is_some(), seed >> 62) {
                (false, filled, _) => {
                    let parent = filled.then_some(b);
                    t.fill(a, cap(), parent);
                    parents.insert(a, parent);
                }
                (true, false, 0) => {
                    t.relocate(a, b, 1);
                    let parent = parents.remove(&a).expect("filled");
                    parents.values_mut().filter(|p| **p == Some(a)).for_each(|p| *p = Some(b));
                    parents.insert(b, parent);
                }
                (true, _, 1 | 2) => {
                    t.empty(a);
                    let parent = parents.remove(&a).expect("filled");
                    parents.values_mut().filter(|p| **p == Some(a)).for_each(|p| *p = parent);
                }
                _ => {}
            }
            for slot in 0..SLOTS {
                let due = parents.values().filter(|p| **p == Some(slot)).count() as u64;
                let filled = t.get(slot).is_some();
                assert_eq!(
                    (filled, if filled { t.children(slot) } else { 0 }),
                    (parents.contains_key(&slot), due)
                );
            }
        }
        // A revocation reaches whatever derives from the slot, and nothing else.
        let roots: std::vec::Vec<u32> = parents.keys().copied().collect();
        for root in roots.into_iter().filter(|root| root % 3 == 0) {
            let above = |slot: &u32| {
                core::iter::successors(Some(*slot), |at| parents.get(at).copied().flatten())
                    .skip(1)
                    .any(|at| at == root)
            };
            let (due, others): (std::vec::Vec<u32>, std::vec::Vec<u32>) =
                parents.keys().partition(|slot| above(slot));
            while t.get(root).is_some()
                && let Some(slot) = t.next_to_revoke(root)
            {
                t.empty(slot);
            }
            assert!(
                due.iter().all(|slot| t.get(*slot).is_none())
                    && others.iter().all(|slot| t.get(*slot).is_some())
            );
            parents.retain(|slot, _| !due.contains(slot));
        }
    }

    #[test]
    fn spaces_are_disjoint_runs() {
        let mut t = table();
        assert_eq!((t.take_space(64), t.take_space(128), t.take_space(128)), (Some(0), Some(64), None));
        t.free_space(64, 128);
        assert_eq!(t.take_space(192), Some(64));
    }
}
