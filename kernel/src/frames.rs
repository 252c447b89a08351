//! The frame allocator: contiguous runs of physical frames, by buddies.
//!
//! A run of n frames takes exactly n frames: the block's tail goes back at once. Every free frame is zero, because
//! whoever frees zeroes first. Long runs are not free at once: they wait on the list of dirty ones until somebody has zeroed them
//! ([`crate::Kernel`] does both, in `memory`); this file only keeps the books.

use crate::pool::{Arena, NONE};
use core::ops::Range;
use hic_abi::PAGE_SIZE;

/// Orders of blocks: up to 2^18 frames, 1 GiB.
const ORDERS: usize = 19;
const NOT_FREE: u8 = 0xff;
/// The frame is the first of a dirty run; `previous` is the run's length.
const DIRTY: u8 = 0xfe;

#[derive(Clone, Copy)]
struct Entry {
    next: u32,
    previous: u32,
    /// Order of the free block that starts here, or [`NOT_FREE`] or [`DIRTY`].
    order: u8,
}

/// The books over all frames from the lowest usable one to the highest.
pub struct Frames {
    entries: &'static mut [Entry],
    base: u64,
    heads: [u32; ORDERS],
    free: u64,
    /// First of the dirty runs.
    dirty_head: u32,
    dirty: u64,
}

impl Frames {
    /// Bytes of books for this many frames.
    #[must_use]
    pub const fn bytes(frames: usize) -> usize {
        size_of::<Entry>() * frames + align_of::<Entry>()
    }

    /// Books over `usable` ranges, page aligned, ascending, all free.
    pub fn new(arena: &mut Arena, usable: &[Range<u64>]) -> Self {
        let base = usable.first().map_or(0, |r| r.start);
        let end = usable.last().map_or(0, |r| r.end);
        let count = ((end - base) / PAGE_SIZE) as usize;
        let entries = arena.fill(count, Entry { next: NONE, previous: NONE, order: NOT_FREE });
        let mut frames = Self { entries, base, heads: [NONE; ORDERS], free: 0, dirty_head: NONE, dirty: 0 };
        for range in usable {
            frames.free_run(range.start, (range.end - range.start) / PAGE_SIZE);
        }
        frames
    }

    /// Frames that were given back and are not zero yet.
    #[must_use]
    pub fn dirty_count(&self) -> u64 {
        self.dirty
    }

    /// Free frames.
    #[must_use]
    pub fn free_count(&self) -> u64 {
        self.free
    }

    /// Frames of the largest free block.
    #[must_use]
    pub fn largest_free(&self) -> u64 {
        (0..ORDERS).rev().find(|&o| self.heads[o] != NONE).map_or(0, |o| 1 << o)
    }

    fn push(&mut self, index: u32, order: usize) {
        let head = self.heads[order];
        self.entries[index as usize] = Entry { next: head, previous: NONE, order: order as u8 };
        if head != NONE {
            self.entries[head as usize].previous = index;
        }
        self.heads[order] = index;
    }

    fn unlink(&mut self, index: u32) {
        let Entry { next, previous, order } = self.entries[index as usize];
        self.entries[index as usize].order = NOT_FREE;
        if previous == NONE {
            self.heads[order as usize] = next;
        } else {
            self.entries[previous as usize].next = next;
        }
        if next != NONE {
            self.entries[next as usize].previous = previous;
        }
    }

    /// Takes `count` contiguous frames; the address of the first.
    pub fn allocate(&mut self, count: u64) -> Option<u64> {
        let order = count.max(1).next_power_of_two().trailing_zeros() as usize;
        let from = (order..ORDERS).find(|&o| self.heads[o] != NONE)?;
        let index = self.heads[from];
        self.unlink(index);
        for smaller in (order..from).rev() {
            self.push(index + (1 << smaller), smaller);
        }
        self.free -= 1 << order;
        let address = self.base + u64::from(index) * PAGE_SIZE;
        self.free_run(address + count.max(1) * PAGE_SIZE, (1 << order) - count.max(1));
        Some(address)
    }

    /// Gives back `count` frames from `address` on. They must be zero.
    pub fn free_run(&mut self, address: u64, count: u64) {
        let mut index = ((address - self.base) / PAGE_SIZE) as u32;
        let end = index + count as u32;
        self.free += count;
        while index < end {
            let fit = (end - index).ilog2();
            let aligned = if index == 0 { ORDERS as u32 - 1 } else { index.trailing_zeros() };
            let order = fit.min(aligned).min(ORDERS as u32 - 1);
            self.merge(index, order as usize);
            index += 1 << order;
        }
    }

    /// Gives back `count` frames (at least one) that may hold anything. They are free when [`Self::take_dirty`] and [`Self::free_run`] had
    /// them.
    pub fn give_back_dirty(&mut self, address: u64, count: u64) {
        let index = ((address - self.base) / PAGE_SIZE) as u32;
        self.entries[index as usize] = Entry { next: self.dirty_head, previous: count as u32, order: DIRTY };
        self.dirty_head = index;
        self.dirty += count;
    }

    /// Takes at most `limit` dirty frames off the books: whoever has them zeroes them and frees the run. Address and count.
    pub fn take_dirty(&mut self, limit: u64) -> Option<(u64, u64)> {
        let index = self.dirty_head;
        let entry = self.entries.get_mut(index as usize)?;
        let count = limit.min(u64::from(entry.previous));
        // From the end, so that the entry stays where it is.
        entry.previous -= count as u32;
        let left = entry.previous;
        if left == 0 {
            entry.order = NOT_FREE;
            self.dirty_head = entry.next;
        }
        self.dirty -= count;
        Some((self.base + (u64::from(index) + u64::from(left)) * PAGE_SIZE, count))
    }

    fn merge(&mut self, mut index: u32, mut order: usize) {
        while order + 1 < ORDERS {
            let buddy = index ^ (1 << order);
            let is_free = self.entries.get(buddy as usize).is_some_and(|e| e.order == order as u8);
            if !is_free {
                break;
            }
            self.unlink(buddy);
            index = index.min(buddy);
            order += 1;
        }
        self.push(index, order);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn frames(ranges: &[Range<u64>]) -> Frames {
        let count = (ranges.last().map_or(0, |r| r.end) / PAGE_SIZE) as usize;
        Frames::new(&mut Arena::new(std::vec![0u8; Frames::bytes(count)].leak()), ranges)
    }

    #[test]
    fn a_run_takes_exactly_its_frames() {
        let mut f = frames(core::slice::from_ref(&(0x10_0000..0x50_0000)));
        let before = f.free_count();
        let run = f.allocate(5).expect("room");
        assert_eq!(f.free_count(), before - 5);
        f.free_run(run, 5);
        assert_eq!((f.free_count(), f.largest_free()), (before, 1024));
    }

    #[test]
    fn dirty_runs_come_back_in_pieces_and_are_free_only_then() {
        let mut f = frames(core::slice::from_ref(&(0x10_0000..0x50_0000)));
        let before = f.free_count();
        let runs = [f.allocate(5).expect("room"), f.allocate(100).expect("room")];
        f.give_back_dirty(runs[0], 5);
        f.give_back_dirty(runs[1], 100);
        assert_eq!((f.free_count(), f.dirty_count()), (before - 105, 105));
        let mut taken = Vec::new();
        while let Some((address, count)) = f.take_dirty(8) {
            assert!((1..=8).contains(&count));
            taken.extend((0..count).map(|n| address + n * PAGE_SIZE));
            f.free_run(address, count);
        }
        taken.sort_unstable();
        let due: Vec<u64> = [(runs[0], 5), (runs[1], 100)]
            .iter()
            .flat_map(|&(run, count)| (0..count).map(move |n| run + n * PAGE_SIZE))
            .collect();
        assert_eq!((taken, f.dirty_count(), f.free_count(), f.largest_free()), (due, 0, before, 1024));
    }

    #[test]
    fn random_runs_never_overlap_and_all_come_back() {
        let mut f = frames(&[0x1000..0x20_0000, 0x30_0000..0x100_0000]);
        let before = f.free_count();
        let mut held: Vec<(u64, u64)> = Vec::new();
        let mut seed = 1u64;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let count = (seed >> 33) % 40 + 1;
            if seed >> 63 == 0
                && let Some(address) = f.allocate(count)
            {
                let end = address + count * PAGE_SIZE;
                assert!(held.iter().all(|&(a, n)| end <= a || a + n * PAGE_SIZE <= address));
                assert!(end <= 0x20_0000 || address >= 0x30_0000);
                held.push((address, count));
            } else if !held.is_empty() {
                let (address, count) = held.swap_remove((seed >> 20) as usize % held.len());
                f.free_run(address, count);
            }
        }
        for (address, count) in held {
            f.free_run(address, count);
        }
        assert_eq!(f.free_count(), before);
    }
}
