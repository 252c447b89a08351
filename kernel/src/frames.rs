//! The frame allocator: contiguous runs of physical frames, by buddies.
//!
//! A run of n frames takes exactly n frames: the block's tail goes back at once. It is taken as low in memory as there is room, so that what
//! lives long gathers at one end and the other end stays whole; single frames gather where least is broken up by them. Taking the block that was
//! freed last is no cheaper, and memory falls apart (`docs/book/memory.md` has the figures). Which frames are free, `blocks` knows.
//!
//! Every free frame is zero, because whoever frees zeroes first. Long runs are not free at once: they wait on the list of dirty ones until
//! somebody has zeroed them ([`crate::Kernel`] does both, in `memory`); this file only keeps the books.

use crate::blocks::Blocks;
use crate::pool::{Arena, NONE};
use core::ops::Range;
use hic_abi::PAGE_SIZE;

/// What the first frame of the books is a multiple of: a large page.
pub const ALIGNMENT: u64 = 512 * PAGE_SIZE;

/// A dirty run, told where it starts.
#[derive(Clone, Copy)]
struct Dirty {
    next: u32,
    count: u32,
}

/// The books over all frames from the lowest usable one to the highest.
pub struct Frames {
    blocks: Blocks,
    runs: &'static mut [Dirty],
    base: u64,
    free: u64,
    /// First of the dirty runs.
    dirty_head: u32,
    dirty: u64,
}

impl Frames {
    /// Bytes of books for this many frames.
    #[must_use]
    pub const fn bytes(frames: usize) -> usize {
        size_of::<Dirty>() * frames + align_of::<Dirty>() + Blocks::bytes(frames)
    }

    /// Books over `usable` ranges, page aligned, ascending, all free; they begin at a multiple of [`ALIGNMENT`].
    pub fn new(arena: &mut Arena, usable: &[Range<u64>]) -> Self {
        // Blocks of 2 MiB and more are aligned, so that large pages fit them.
        let base = usable.first().map_or(0, |r| r.start & !(ALIGNMENT - 1));
        let end = usable.last().map_or(0, |r| r.end);
        let count = ((end - base) / PAGE_SIZE) as usize;
        let blocks = Blocks::new(arena, count);
        let runs = arena.fill(count, Dirty { next: NONE, count: 0 });
        let mut frames = Self { blocks, runs, base, free: 0, dirty_head: NONE, dirty: 0 };
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
        self.blocks.largest().map_or(0, |order| 1 << order)
    }

    /// Takes `count` contiguous frames; the address of the first.
    #[inline]
    pub fn allocate(&mut self, count: u64) -> Option<u64> {
        let count = count.max(1);
        let index = if count == 1 { self.blocks.take_one()? } else { self.blocks.take(count as u32)? };
        self.free -= count;
        Some(self.base + u64::from(index) * PAGE_SIZE)
    }

    /// Gives back `count` frames from `address` on. They must be zero.
    pub fn free_run(&mut self, address: u64, count: u64) {
        let index = ((address - self.base) / PAGE_SIZE) as u32;
        self.blocks.put(index, index + count as u32);
        self.free += count;
    }

    /// Gives back `count` frames (at least one) that may hold anything. They are free when [`Self::take_dirty`] and [`Self::free_run`] had
    /// them.
    pub fn give_back_dirty(&mut self, address: u64, count: u64) {
        let index = ((address - self.base) / PAGE_SIZE) as u32;
        self.runs[index as usize] = Dirty { next: self.dirty_head, count: count as u32 };
        self.dirty_head = index;
        self.dirty += count;
    }

    /// Takes at most `limit` dirty frames off the books: whoever has them zeroes them and frees the run. Address and count.
    pub fn take_dirty(&mut self, limit: u64) -> Option<(u64, u64)> {
        let index = self.dirty_head;
        let run = self.runs.get_mut(index as usize)?;
        let count = limit.min(u64::from(run.count));
        // From the end, so that the run starts where it did.
        run.count -= count as u32;
        let left = run.count;
        if left == 0 {
            self.dirty_head = run.next;
        }
        self.dirty -= count;
        Some((self.base + (u64::from(index) + u64::from(left)) * PAGE_SIZE, count))
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
        let mut f = frames(core::slice::from_ref(&(0x20_0000..0x60_0000)));
        let before = f.free_count();
        let run = f.allocate(5).expect("room");
        assert_eq!(f.free_count(), before - 5);
        f.free_run(run, 5);
        assert_eq!((f.free_count(), f.largest_free()), (before, 1024));
    }

    #[test]
    fn dirty_runs_come_back_in_pieces_and_are_free_only_then() {
        let mut f = frames(core::slice::from_ref(&(0x20_0000..0x60_0000)));
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
