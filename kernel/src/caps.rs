//! Capability slots and the derivation tree.
//!
//! All spaces are runs in one table, so that a look-up is one bounds check and one load. Those that derive from one slot are a ring, of which the
//! slot knows the first and only the first knows the slot. So deleting one that others derive from puts their ring in its place, moving one tells
//! its neighbours, and either is constant time however many there are. This file knows nothing of what the objects are.

use crate::config::MAX_CAP_SLOTS;
use crate::objects::ObjectRef;
use crate::pool::{Arena, NONE};
use hic_abi::{ObjectType, Rights};

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

/// To read, write and execute.
const STRONGEST: usize = MAPPING.bits() as usize;

/// Lists of peers: for each strength one, in so many groups that there are as many as capabilities on memory are to be expected.
const LISTS: usize = STRONGEST + 1;
const GROUPS: usize = 1 << 12;

/// The rights with which memory is mapped; no other says anything of a mapping.
pub(crate) const MAPPING: Rights = Rights::READ.union(Rights::WRITE).union(Rights::EXECUTE);

/// What of the rights on an object matters to mappings: how memory may be mapped, whether a device may be mapped into.
#[inline(always)]
const fn strength(object: ObjectRef, rights: Rights) -> usize {
    if matches!(object.kind, ObjectType::Device) {
        rights.contains(Rights::MANAGE) as usize
    } else {
        rights.bits() as usize & STRONGEST
    }
}

/// The group of lists for capabilities of one owner on one object, and which of them it is for those of one strength (multipliers from Knuth's
/// multiplicative hashing and xxHash). They are not on one list with weaker ones, so that nobody has to be passed over to find one that is
/// strong enough.
#[inline(always)]
const fn list_of(object: ObjectRef, owner: u32, strength: usize) -> (usize, usize) {
    let mixed = object.id.index.wrapping_mul(0x9e37_79b1) ^ owner.wrapping_mul(0x85eb_ca77);
    let mixed = (mixed >> 16 ^ mixed) as usize;
    (mixed / LISTS % GROUPS, (mixed ^ strength) % LISTS)
}

/// The table of all slots.
pub struct CapTable {
    slots: &'static mut [Slot; MAX_CAP_SLOTS],
    used: &'static mut [bool],
    /// First of each list of those that name the same object for the same owner, and are as strong.
    peers: &'static mut [[u32; LISTS]; GROUPS],
    /// All chunks before this one are used.
    first_free: usize,
    /// Counts what may have made a handle mean something else.
    changes: u64,
}

impl CapTable {
    /// Bytes of the table.
    pub const BYTES: usize =
        size_of::<Slot>() * MAX_CAP_SLOTS + MAX_CAP_SLOTS / CHUNK + size_of::<u32>() * LISTS * GROUPS + 64;

    /// A table of empty slots.
    pub fn new(arena: &mut Arena) -> Self {
        Self {
            slots: arena.fill_array(EMPTY),
            used: arena.fill(MAX_CAP_SLOTS / CHUNK, false),
            peers: arena.fill_array([NONE; LISTS]),
            first_free: 0,
            changes: 0,
        }
    }

    /// As long as this number stays, a filled slot holds the same, and its object lives and leads where it led: no object ends but with a
    /// capability on it.
    #[inline(always)]
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
            crate::tests::accesses::count();
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
        crate::tests::accesses::count();
        self.slots.get(slot as usize)
    }

    #[inline(always)]
    fn at(&mut self, slot: u32) -> &mut Slot {
        #[cfg(test)]
        crate::tests::accesses::count();
        &mut self.slots[slot as usize]
    }

    /// What is in a slot.
    #[inline(always)]
    pub fn get(&self, slot: u32) -> Option<&Cap> {
        self.slot(slot)?.cap.as_ref()
    }

    /// Whether a slot is one of the table, and empty.
    #[inline(always)]
    pub fn is_empty(&self, slot: u32) -> bool {
        self.slot(slot).is_some_and(|slot| slot.cap.is_none())
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

    /// Moves a capability, which is `moved` from now on, with its place in the tree to an empty slot. Constant time.
    #[inline(always)]
    pub fn relocate(&mut self, from: u32, to: u32, moved: Cap) {
        self.changed();
        let old = self.at(from);
        let &mut Slot { parent, child, next, previous, .. } = old;
        (old.cap, old.promised) = (None, false);
        let new = self.at(to);
        (new.cap, new.promised) = (Some(moved), false);
        (new.parent, new.child) = (parent, child);
        if next == from {
            (new.next, new.previous) = (to, to);
        } else {
            (new.next, new.previous) = (next, previous);
            self.at(previous).next = to;
            self.at(next).previous = to;
        }
        if parent != NONE {
            self.at(parent).child = to;
        }
        if child != NONE {
            self.at(child).parent = to;
        }
    }

    /// Promises a slot to a move of a transaction; `false` when it is promised already.
    pub fn promise(&mut self, slot: u32) -> bool {
        !core::mem::replace(&mut self.at(slot).promised, true)
    }

    /// Takes a promise back.
    pub fn release(&mut self, slot: u32) {
        self.at(slot).promised = false;
    }

    /// Puts a filled slot, which is on no such list, on the list of those that name the same object for the same owner, and are as strong.
    pub fn link_peer(&mut self, slot: u32) {
        let Some((group, list)) = self.list_with(slot) else { return };
        let head = core::mem::replace(&mut self.peers[group][list], slot);
        let new = self.at(slot);
        (new.next_peer, new.previous_peer) = (head, NONE);
        if head != NONE {
            self.at(head).previous_peer = slot;
        }
    }

    /// Takes a slot off that list again, while it is still filled.
    pub fn unlink_peer(&mut self, slot: u32) {
        let Some((group, list)) = self.list_with(slot) else { return };
        let &mut Slot { next_peer: next, previous_peer: previous, .. } = self.at(slot);
        if previous == NONE {
            self.peers[group][list] = next;
        } else {
            self.at(previous).next_peer = next;
        }
        if next != NONE {
            self.at(next).previous_peer = previous;
        }
    }

    /// Whether a sandbox has a capability on an object that keeps such lists, as strong as these rights, in another slot than this one.
    pub fn has_peer(&self, object: ObjectRef, owner: u32, except: u32, rights: Rights) -> bool {
        let named = |slot: &Slot| slot.cap.is_some_and(|c| c.object == object && c.owner == owner);
        let (least, mut enough) = (strength(object, rights), strength(object, rights));
        while enough <= STRONGEST {
            let (group, list) = list_of(object, owner, enough);
            let mut at = self.peers[group][list];
            while let Some(slot) = self.slot(at) {
                if at != except && named(slot) {
                    return true;
                }
                at = slot.next_peer;
            }
            enough = (enough + 1) | least;
        }
        false
    }

    /// Whether nothing else is in the group of this filled slot: then it has no peer. The other way round, others may be there by chance.
    #[inline(always)]
    pub fn is_alone(&self, slot: u32) -> bool {
        let Some(&Slot { cap: Some(cap), next_peer: NONE, .. }) = self.slot(slot) else { return false };
        // One more than [`NONE`] is 0, so that all others count nothing if they are it.
        let group = &self.peers[list_of(cap.object, cap.owner, 0).0];
        group.iter().fold(0_u32, |sum, first| sum.wrapping_add(first.wrapping_add(1))) == slot + 1
    }

    fn list_with(&self, slot: u32) -> Option<(usize, usize)> {
        let &Cap { object, rights, owner } = self.get(slot)?;
        Some(list_of(object, owner, strength(object, rights)))
    }

    /// A slot that derives directly from this one.
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

    /// Empties slots that derive from `root`, until none is left or `most` are empty, and tells what was in each; how many.
    ///
    /// The ring below `root` is taken from its front, and what derives from a slot comes behind it; in between it is a run without a seam, whose
    /// ends are joined only where one entry into the kernel leaves it.
    #[inline(always)]
    pub fn prune(&mut self, root: u32, most: u32, mut emptied: impl FnMut(&Cap)) -> u32 {
        let Some(mut first) = self.child(root) else { return 0 };
        self.changed();
        let mut last = self.at(first).previous;
        for count in 1..=most {
            let slot = self.at(first);
            let (next, child) = (slot.next, slot.child);
            if let Some(cap) = slot.cap.take() {
                emptied(&cap);
            }
            if child == NONE && first == last {
                self.at(root).child = NONE;
                return count;
            }
            first = if child == NONE { next } else { self.put_behind(first, next, &mut last, child) };
        }
        self.at(last).next = first;
        let head = self.at(first);
        (head.previous, head.parent) = (last, root);
        self.at(root).child = first;
        most
    }

    /// The ring that begins with `child` comes behind the run that ends with `last` and from which `taken` was taken; where that begins now.
    fn put_behind(&mut self, taken: u32, next: u32, last: &mut u32, child: u32) -> u32 {
        self.at(child).parent = NONE;
        let end = self.at(child).previous;
        let before = core::mem::replace(last, end);
        if taken == before {
            return child;
        }
        self.at(before).next = child;
        self.at(child).previous = before;
        next
    }

    /// How many slots derive directly from this one, as far as [`MAX_COUNTED`].
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
    use crate::pool::Id;

    impl CapTable {
        /// Whether a slot is promised; none is, between two calls.
        pub(crate) fn is_promised(&self, slot: u32) -> bool {
            self.slots[slot as usize].promised
        }
    }

    fn cap() -> Cap {
        let object = ObjectRef { kind: ObjectType::Region, id: Id { index: 0, generation: 1 } };
        Cap { object, rights: Rights::all(), owner: 0 }
    }

    fn table() -> CapTable {
        CapTable::new(&mut Arena::new(std::vec![0u8; CapTable::BYTES].leak()))
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
        t.relocate(2, 9, Cap { owner: 4, ..cap() });
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

    #[test]
    fn a_revocation_in_parts_leaves_a_whole_tree_between_them_and_tells_what_it_deletes() {
        for most in [1, 2, 5, 64] {
            let mut t = table();
            t.fill(1, cap(), None);
            for slot in 2..40u32 {
                // Leaves, chains and bushes; the owner tells them apart.
                let parent = if slot % 4 == 0 { slot / 2 } else { (slot % 3 + 1).min(slot - 1) };
                t.fill(slot, Cap { owner: slot, ..cap() }, Some(parent));
            }
            let mut told = std::vec::Vec::new();
            loop {
                let count = t.prune(1, most, |cap| told.push(cap.owner));
                assert!(count == most || t.child(1).is_none());
                // What is left is found from the root.
                let (mut left, mut next) = (0, std::vec![1]);
                while let Some(at) = next.pop() {
                    let first = t.child(at);
                    let ring = core::iter::successors(first, |&at| Some(t.slots[at as usize].next));
                    let ring = ring.enumerate().take_while(|&(n, at)| n == 0 || Some(at) != first);
                    let ring: std::vec::Vec<u32> = ring.map(|(_, at)| at).collect();
                    left += ring.len();
                    next.extend(ring);
                }
                assert_eq!(left + told.len(), 38, "parts of {most}");
                if count < most {
                    break;
                }
            }
            told.sort_unstable();
            assert_eq!(told, (2..40).collect::<std::vec::Vec<u32>>());
        }
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
                    t.relocate(a, b, Cap { owner: 1, ..cap() });
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
            // One by one, or in parts; neither order matters.
            while t.get(root).is_some() && root % 2 == 0 && t.prune(root, 2, |_| {}) > 0 {}
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
        let rest = MAX_CAP_SLOTS as u32 - 256;
        assert_eq!((t.take_space(64), t.take_space(128), t.take_space(rest)), (Some(0), Some(64), Some(192)));
        assert_eq!(t.take_space(128), None);
        t.free_space(64, 128);
        assert_eq!((t.take_space(192), t.take_space(128)), (None, Some(64)));
    }
}
