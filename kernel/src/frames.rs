//! The frame allocator: contiguous runs of physical frames, by buddies.
//!
//! A run of n frames takes exactly n frames: the block's tail goes back at once. It is taken as low in memory as there is room, so that what
//! lives long gathers at one end and the other end stays whole; single frames gather where least is broken up by them. Taking the block that was
//! freed last is no cheaper, and memory falls apart (`docs/book/memory.md` has the figures).
//!
//! Which frames are free is kept as blocks: runs of 2^n frames, aligned to their size, each as large as can be. A bit stands for a free frame, 64
//! of them in a word. A word that is full is empty instead, and one bit of the level above it stands for all 64; so on for four levels, up to
//! blocks of 1 GiB. Two neighbours are one block as soon as both are free, by no other step than setting bits. Words are sorted by the largest
//! block in them, so that one with room is found at once, the lowest first.
//!
//! Single frames are the most frequent. They all come from one word, the *open* one, until it is empty; it is not sorted meanwhile, so that
//! taking a frame from it and putting one back there is a bit and no more.
//!
//! Every free frame is zero, because whoever frees zeroes first. Long runs are not free at once: they wait on the list of dirty ones until
//! somebody has zeroed them ([`crate::Kernel`] does both, in `memory`); this file only keeps the books.

use crate::bitmap::Bitmap;
use crate::pool::{Arena, NONE};
use core::ops::Range;
use hic_abi::PAGE_SIZE;

/// What the first frame of the books is a multiple of: a large page.
pub const ALIGNMENT: u64 = 512 * PAGE_SIZE;

/// Levels of words.
const LEVELS: usize = 4;
/// Blocks of 1, 2, 4, … 32 units of a level; 64 are one unit of the next.
const CLASSES: usize = 6;
/// Orders of blocks: up to 2^18 frames, 1 GiB.
const ORDERS: usize = 3 * CLASSES + 1;

/// Bits of a word at which an aligned run of 2^n bits begins, for n = 1 to 5.
const STARTS: [u64; CLASSES - 1] = [
    0x5555_5555_5555_5555,
    0x1111_1111_1111_1111,
    0x0101_0101_0101_0101,
    0x0001_0001_0001_0001,
    0x0000_0001_0000_0001,
];

/// Bits at which an aligned run of 2^order set bits begins.
#[inline]
fn runs(word: u64, order: usize) -> u64 {
    STARTS.iter().take(order).enumerate().fold(word, |runs, (n, starts)| runs & runs >> (1 << n) & starts)
}

/// The largest `n` such that there is an aligned run of 2^n set bits.
#[inline]
fn class(word: u64) -> Option<usize> {
    let (mut runs, mut class) = (word, word.checked_ilog2().map(|_| 0)?);
    for (n, starts) in STARTS.iter().enumerate() {
        runs = runs & runs >> (1 << n) & starts;
        if runs == 0 {
            break;
        }
        class = n + 1;
    }
    Some(class)
}

/// `count` set bits, 1 to 64, from a bit on.
#[inline]
const fn bits(from: u32, count: u32) -> u64 {
    (!0 >> (64 - count)) << from
}

struct Level {
    words: &'static mut [u64],
    /// Of each word, the class of its largest block, or [`UNSORTED`].
    class_of: &'static mut [u8],
    /// The words of each class.
    classes: [Bitmap; CLASSES],
}

/// A word is in no class: it is empty, or open.
const UNSORTED: u8 = CLASSES as u8;

/// A dirty run, told where it starts.
#[derive(Clone, Copy)]
struct Dirty {
    next: u32,
    count: u32,
}

/// The books over all frames from the lowest usable one to the highest.
pub struct Frames {
    levels: [Level; LEVELS],
    /// Bit n: some sorted word's largest block has 2^n frames.
    orders: u32,
    /// The open word of the lowest level, if any.
    open: u32,
    runs: &'static mut [Dirty],
    base: u64,
    free: u64,
    /// First of the dirty runs.
    dirty_head: u32,
    dirty: u64,
}

impl Frames {
    /// Bytes of books for this many frames.
    pub const fn bytes(frames: usize) -> usize {
        let (mut words, mut level) = (frames, 0);
        let mut all = size_of::<Dirty>() * frames + align_of::<Dirty>();
        while level < LEVELS {
            words = words.div_ceil(64);
            all += (words + 1) * size_of::<u64>() + words + CLASSES * Bitmap::bytes(words);
            level += 1;
        }
        all
    }

    /// Books over `usable` ranges, page aligned, ascending, all free and less than 64 GiB; they begin at a multiple of [`ALIGNMENT`].
    pub fn new(arena: &mut Arena, usable: &[Range<u64>]) -> Self {
        // Blocks of 2 MiB and more are aligned, so that large pages fit them.
        let base = usable.first().map_or(0, |r| r.start & !(ALIGNMENT - 1));
        let end = usable.last().map_or(0, |r| r.end);
        let count = ((end - base) / PAGE_SIZE) as usize;
        assert!(count < 1 << (LEVELS * CLASSES), "a machine of {count} frames");
        let mut words = count;
        let levels = core::array::from_fn(|_| {
            words = words.div_ceil(64);
            let classes = core::array::from_fn(|_| Bitmap::new(arena, words));
            Level { words: arena.fill(words, 0), class_of: arena.fill(words, UNSORTED), classes }
        });
        let runs = arena.fill(count, Dirty { next: NONE, count: 0 });
        let mut frames =
            Self { levels, orders: 0, open: NONE, runs, base, free: 0, dirty_head: NONE, dirty: 0 };
        for range in usable {
            frames.free_run(range.start, (range.end - range.start) / PAGE_SIZE);
        }
        frames
    }

    /// Frames that were given back and are not zero yet.
    pub fn dirty_count(&self) -> u64 {
        self.dirty
    }

    /// Free frames.
    pub fn free_count(&self) -> u64 {
        self.free
    }

    /// Frames of the largest free block.
    pub fn largest_free(&self) -> u64 {
        let sorted = self.orders.checked_ilog2().map(|order| (order as usize).min(ORDERS - 1));
        let open = self.levels[0].words.get(self.open as usize);
        sorted.max(open.and_then(|word| class(*word))).map_or(0, |order| 1 << order)
    }

    /// Takes `count` contiguous frames; the address of the first.
    #[inline]
    pub fn allocate(&mut self, count: u64) -> Option<u64> {
        let count = count.max(1);
        let index = if count == 1 { self.take_one()? } else { self.take(count as u32)? };
        self.free -= count;
        Some(self.base + u64::from(index) * PAGE_SIZE)
    }

    /// Gives back `count` frames from `address` on. They must be zero.
    pub fn free_run(&mut self, address: u64, count: u64) {
        let index = ((address - self.base) / PAGE_SIZE) as u32;
        self.put(index, index + count as u32);
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

    /// Takes one frame.
    #[inline]
    fn take_one(&mut self) -> Option<u32> {
        loop {
            if let Some(word) = self.levels[0].words.get_mut(self.open as usize)
                && *word != 0
            {
                let bit = word.trailing_zeros();
                *word &= *word - 1;
                return Some(self.open * 64 + bit);
            }
            self.open_next()?;
        }
    }

    /// Opens the word in which least is broken up by it; the one before is empty.
    #[cold]
    fn open_next(&mut self) -> Option<()> {
        self.open = NONE;
        let (index, level) = self.lowest(self.orders, 0)?;
        self.open = if level == 0 {
            self.sort(0, index as usize / 64, UNSORTED);
            index / 64
        } else {
            let word = self.take_sorted(64)? / 64;
            *self.levels[0].words.get_mut(word as usize)? = !0;
            word
        };
        Some(())
    }

    /// Closes the open word; whether there was one with a free frame.
    fn close(&mut self) -> bool {
        let word = core::mem::replace(&mut self.open, NONE);
        let free = self.levels[0].words.get(word as usize).copied().unwrap_or(0);
        if let Some(class) = class(free) {
            self.sort(0, word as usize, class as u8);
        }
        free != 0
    }

    /// Takes `count` frames from the start of the lowest block that has room. The number of the first.
    fn take(&mut self, count: u32) -> Option<u32> {
        let taken = self.take_sorted(count);
        if taken.is_some() || !self.close() { taken } else { self.take_sorted(count) }
    }

    fn take_sorted(&mut self, count: u32) -> Option<u32> {
        let least = count.next_power_of_two().trailing_zeros() as usize;
        let mut fit = self.orders.checked_shr(least as u32)? << least;
        let mut found = self.lowest(fit, least)?;
        fit &= fit - 1;
        while fit != 0 {
            found = found.min(self.lowest(fit, least)?);
            fit &= fit - 1;
        }
        let (index, level) = found;
        // Within a word only what is asked for goes; of a unit of a level above, all goes and the rest comes back below.
        let size = 1 << (level * CLASSES);
        let (unit, units) = (index / size, count.div_ceil(size));
        self.change(level, unit as usize / 64, |word| word & !bits(unit % 64, units));
        if units * size != count {
            self.put(index + count, index + units * size);
        }
        Some(index)
    }

    /// The lowest block of 2^least frames in words of the lowest of these orders, and the level at which it is found.
    #[inline]
    fn lowest(&self, orders: u32, least: usize) -> Option<(u32, usize)> {
        if orders == 0 {
            return None;
        }
        let order = orders.trailing_zeros() as usize;
        let level = order / CLASSES;
        let Level { words, classes, .. } = self.levels.get(level)?;
        let word = classes.get(order % CLASSES)?.first()?;
        let starts = runs(*words.get(word as usize)?, least.saturating_sub(level * CLASSES));
        Some(((word * 64 + starts.trailing_zeros()) << (level * CLASSES), level))
    }

    /// These frames are free from now on; none of them was.
    fn put(&mut self, mut from: u32, mut to: u32) {
        for level in 0..LEVELS {
            let (first, last) = (from.div_ceil(64), to / 64);
            if last < first {
                return self.add(level, last, bits(from % 64, to - from));
            }
            // What fills no word at either end stays here; the rest is whole units of the next level.
            if !from.is_multiple_of(64) {
                self.add(level, first - 1, bits(from % 64, 64 - from % 64));
            }
            if !to.is_multiple_of(64) {
                self.add(level, last, bits(0, to % 64));
            }
            if first == last {
                return;
            }
            (from, to) = (first, last);
        }
    }

    fn add(&mut self, level: usize, word: u32, bits: u64) {
        let (mut level, mut word, mut bits) = (level, word, bits);
        while self.change(level, word as usize, |before| before | bits) {
            (level, bits, word) = (level + 1, 1 << (word % 64), word / 64);
        }
    }

    /// Changes a word; `true` when it became full, and so is empty: then one bit of the next level has to be set.
    #[inline]
    fn change(&mut self, level: usize, word: usize, how: impl FnOnce(u64) -> u64) -> bool {
        let open = level == 0 && word == self.open as usize;
        let bits = &mut self.levels[level].words[word];
        let after = how(*bits);
        let full = after == !0;
        *bits = if full { 0 } else { after };
        if full {
            if open {
                self.open = NONE;
            }
            self.sort(level, word, UNSORTED);
        } else if !open {
            self.sort(level, word, class(after).map_or(UNSORTED, |class| class as u8));
        }
        full
    }

    /// Puts a word where those of its class are.
    #[inline]
    fn sort(&mut self, level: usize, word: usize, class: u8) {
        let Level { class_of, classes, .. } = &mut self.levels[level];
        let before = core::mem::replace(&mut class_of[word], class);
        if before == class {
            return;
        }
        if let Some(old) = classes.get_mut(usize::from(before)) {
            old.set(word as u32, false);
            if old.is_empty() {
                self.orders &= !(1 << (level * CLASSES + usize::from(before)));
            }
        }
        if let Some(new) = classes.get_mut(usize::from(class)) {
            new.set(word as u32, true);
            self.orders |= 1 << (level * CLASSES + usize::from(class));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
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

    const COUNT: u32 = 20_000;

    /// Books whose frames of these numbers are free.
    fn numbered(free: Range<u64>) -> Frames {
        frames(core::slice::from_ref(&(free.start * PAGE_SIZE..free.end * PAGE_SIZE)))
    }

    /// Frames that are free, told by the words.
    fn free(b: &Frames) -> BTreeSet<u32> {
        let mut all = BTreeSet::new();
        for (level, Level { words, .. }) in b.levels.iter().enumerate() {
            let size = 1u32 << (level * CLASSES);
            for unit in (0..words.len() as u32 * 64).filter(|u| words[*u as usize / 64] >> (u % 64) & 1 != 0)
            {
                (unit * size..(unit + 1) * size)
                    .for_each(|frame| assert!(all.insert(frame), "{frame} twice"));
            }
            assert!(words.iter().all(|word| *word != !0), "a full word is a unit of the next level");
        }
        all
    }

    /// The lowest aligned block of this order in a set, found by looking at all of them.
    fn lowest(set: &BTreeSet<u32>, order: usize) -> Option<u32> {
        let size = 1 << order;
        set.iter()
            .copied()
            .filter(|f| f % size == 0)
            .find(|f| set.range(*f..f + size).count() == size as usize)
    }

    #[test]
    fn it_says_what_a_plain_set_of_frames_says() {
        let mut b = numbered(3..u64::from(COUNT));
        let (mut set, mut seed) = ((3..COUNT).collect::<BTreeSet<u32>>(), 3u64);
        let mut held = Vec::new();
        for step in 0..4_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let count = 1 + (seed >> 33) as u32 % if step % 16 == 0 { 5_000 } else { 90 };
            if seed >> 63 == 0 {
                let count = if step % 4 == 0 { 1 } else { count };
                let due = lowest(&set, count.next_power_of_two().trailing_zeros() as usize);
                let near = seed >> 62 & 1 == 0;
                // What is in the open word comes last.
                if !near {
                    b.close();
                }
                let got = if count == 1 && near { b.take_one() } else { b.take(count) };
                assert_eq!(got.is_some(), due.is_some(), "{count} frames");
                let Some(index) = got else { continue };
                assert!(near || got == due, "the lowest block that has room");
                assert!(index.is_multiple_of(count.next_power_of_two()));
                (index..index + count).for_each(|frame| assert!(set.remove(&frame), "{frame} was free"));
                held.push(index..index + count);
            } else if !held.is_empty() {
                let run = held.swap_remove((seed >> 20) as usize % held.len());
                b.put(run.start, run.end);
                set.extend(run);
            }
            if step % 64 == 0 {
                assert_eq!(free(&b), set);
                let largest = (0..ORDERS).rev().find(|order| lowest(&set, *order).is_some());
                assert_eq!(b.largest_free(), largest.map_or(0, |order| 1 << order));
            }
        }
        assert!(held.len() > 10);
    }

    #[test]
    fn the_largest_block_is_taken_whole_and_comes_back_whole() {
        let mut b = numbered(0..3 << 18);
        assert_eq!(b.largest_free(), 1 << 18);
        let taken: Vec<_> = core::iter::from_fn(|| b.take(1 << 18)).collect();
        assert_eq!((taken, b.largest_free()), (std::vec![0, 1 << 18, 2 << 18], 0));
        b.put(1 << 18, 2 << 18);
        assert_eq!((b.take_one(), b.largest_free()), (Some(1 << 18), 1 << 17));
        b.put(1 << 18, (1 << 18) + 1);
        assert_eq!(b.largest_free(), 1 << 18);
    }

    #[test]
    fn single_frames_break_up_no_more_than_need_be() {
        let mut b = numbered(0..4096);
        let hole = b.take(40).expect("room");
        assert_eq!(b.take_one(), Some(hole + 40), "beside what is broken already");
        b.put(hole, hole + 40);
        assert_eq!((b.take_one(), b.take(64)), (Some(hole), Some(64)), "the first 64 are not whole");
        assert_eq!((b.take(1), b.take(4096)), (Some(128), None), "the open word is passed by");
    }
}
