//! How far free memory falls apart in a long life: regions of the sizes that the system makes come and go at a given load.
//!
//! The figures in `docs/book/memory.md` are of one million steps a load: `HIC_FRAME_STEPS=1000000 cargo test --release -p core0
//! fragmentation -- --nocapture`.

use super::arguments::Random;
use crate::frames::Frames;
use crate::pool::Arena;
use hic_abi::PAGE_SIZE;
use std::boxed::Box;
use std::format;
use std::string::String;
use std::vec::Vec;

/// 256 MiB, what a machine has by default.
const FRAMES: u64 = 65_536;
const START: u64 = 0x20_0000;
/// A large instance: 16 MiB.
const LARGE: u64 = 4096;

/// Regions that are held, as start and frames, and how many frames they have.
struct Life {
    frames: Frames,
    random: Random,
    held: Vec<(u64, u64)>,
    used: u64,
}

/// What was seen over a life at one load.
#[derive(Default)]
struct Seen {
    looks: u64,
    /// Sum over all looks of the largest free block in thousandths of the free frames.
    largest: u64,
    /// The smallest of these.
    worst: u64,
    /// Requests, and those refused although as many frames were free.
    asked: u64,
    refused: u64,
    /// Looks at which 16 MiB in one piece could be had.
    large: u64,
}

impl Life {
    fn new() -> Self {
        let arena = Box::leak(std::vec![0u8; Frames::bytes(FRAMES as usize)].into_boxed_slice());
        let usable = START..START + FRAMES * PAGE_SIZE;
        let frames = Frames::new(&mut Arena::new(arena), core::slice::from_ref(&usable));
        Self { frames, random: Random(7), held: Vec::new(), used: 0 }
    }

    /// Frames of one region: page tables and buffers often, connections' state, now and then an instance.
    fn size(&mut self) -> u64 {
        match self.random.below(100) {
            0..50 => 1,
            50..80 => self.random.below(8) + 1,
            80..95 => self.random.below(64) + 1,
            95..99 => self.random.below(512) + 1,
            _ => self.random.below(2048) + 1,
        }
    }

    /// Regions come until the load is reached, then one goes for each that comes; which one is chance.
    fn step(&mut self, load: u64, seen: &mut Seen) {
        while self.used > FRAMES * load / 100 {
            let at = self.random.below(self.held.len() as u64) as usize;
            let (address, count) = self.held.swap_remove(at);
            self.used -= count;
            self.frames.free_run(address, count);
        }
        let count = self.size();
        seen.asked += 1;
        match self.frames.allocate(count) {
            Some(address) => {
                self.used += count;
                self.held.push((address, count));
            }
            None => seen.refused += u64::from(self.frames.free_count() >= count),
        }
    }

    fn look(&self, seen: &mut Seen) {
        let share = self.frames.largest_free() * 1000 / self.frames.free_count();
        seen.looks += 1;
        seen.largest += share;
        seen.worst = seen.worst.min(share);
        seen.large += u64::from(self.frames.largest_free() >= LARGE);
    }

    fn end(mut self) {
        for (address, count) in self.held.drain(..) {
            self.frames.free_run(address, count);
        }
        assert_eq!(self.frames.free_count(), FRAMES, "every frame came back");
        // START is the 512th frame of the machine, but the allocator's first: all of it is one block again.
        assert_eq!(self.frames.largest_free(), FRAMES, "and what was apart is together again");
    }
}

fn live(load: u64, steps: u64) -> Seen {
    let mut life = Life::new();
    let mut seen = Seen { worst: 1000, ..Seen::default() };
    for n in 0..steps {
        life.step(load, &mut seen);
        if n > steps / 10 && n % 64 == 0 {
            life.look(&mut seen);
        }
    }
    life.end();
    seen
}

#[test]
fn memory_in_long_use_keeps_large_free_blocks() {
    let steps = std::env::var("HIC_FRAME_STEPS").ok().and_then(|text| text.parse().ok()).unwrap_or(40_000);
    let mut table =
        String::from("load  largest free block / free frames (mean, worst)  16 MiB to be had  refused\n");
    for (load, mean_due) in [(30, 300), (50, 150), (70, 5)] {
        let seen = live(load, steps);
        let (mean, large) = (seen.largest / seen.looks, seen.large * 1000 / seen.looks);
        table.push_str(&format!(
            "{load:3} %  {:4}.{} % {:4}.{} %  {:4}.{} %  {} of {}\n",
            mean / 10,
            mean % 10,
            seen.worst / 10,
            seen.worst % 10,
            large / 10,
            large % 10,
            seen.refused,
            seen.asked,
        ));
        assert!(mean >= mean_due, "at {load} % the largest free block is {mean} thousandths of what is free");
    }
    std::print!("{table}");
}
