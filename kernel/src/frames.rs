//! The frame allocator: contiguous runs of physical frames, by buddies.
//!
//! A run of n frames takes exactly n frames: the block's tail goes back at once. Every free frame is zero, because
//! whoever frees zeroes first ([`crate::Kernel`] does both in one place); this file only keeps the books.

use crate::pool::{Arena, NONE};
use core::ops::Range;
use hic_abi::PAGE_SIZE;

/// Orders of blocks: up to 2^18 frames, 1 GiB.
const ORDERS: usize = 19;
const NOT_FREE: u8 = 0xff;

#[derive(Clone, Copy)]
struct Entry {
    next: u32,
    previous: u32,
    /// Order of the free block that starts here, or [`NOT_FREE`].
    order: u8,
}

/// The books over all frames from the lowest usable one to the highest.
pub struct Frames {
    entries: &'static mut [Entry],
    base: u64,
    heads: [u32; ORDERS],
    free: u64,
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
        let mut frames = Self { entries, base, heads: [NONE; ORDERS], free: 0 };
        for range in usable {
            frames.free_run(range.start, (range.end - range.start) / PAGE_SIZE);
        }
        frames
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
