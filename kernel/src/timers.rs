//! Deadlines of blocked threads: a binary heap of (time, thread), with each thread's place kept by the caller.
//!
//! Only a call with a finite deadline comes here; the rest of IPC never pays for it.

use crate::pool::{Arena, NONE};

/// The heap. `place` callbacks tell where a thread now sits, so that it can be taken out again.
pub struct Timers {
    heap: &'static mut [(u64, u32)],
    length: usize,
    next: u64,
    places: &'static mut [u32],
}

impl Timers {
    /// Bytes for this many threads.
    #[must_use]
    pub const fn bytes(threads: usize) -> usize {
        (size_of::<(u64, u32)>() + size_of::<u32>()) * threads + 32
    }

    /// An empty heap.
    pub fn new(arena: &mut Arena, threads: usize) -> Self {
        Self {
            heap: arena.fill(threads, (0, 0)),
            length: 0,
            next: u64::MAX,
            places: arena.fill(threads, NONE),
        }
    }

    /// The earliest deadline; `u64::MAX` when there is none.
    #[inline]
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Adds a thread that has no deadline yet.
    pub fn add(&mut self, thread: u32, at: u64) {
        let place = self.length;
        self.length += 1;
        self.put(place, (at, thread));
        self.up(place);
        self.next = self.heap[0].0;
    }

    /// Takes a thread's deadline out, if it has one.
    #[inline]
    pub fn remove(&mut self, thread: u32) {
        let place = self.places[thread as usize];
        if place != NONE {
            self.remove_at(thread, place);
        }
    }

    fn remove_at(&mut self, thread: u32, place: u32) {
        self.places[thread as usize] = NONE;
        self.length -= 1;
        let last = self.heap[self.length];
        if place as usize != self.length {
            self.put(place as usize, last);
            self.down(place as usize);
            self.up(place as usize);
        }
        self.next = if self.length == 0 { u64::MAX } else { self.heap[0].0 };
    }

    /// Takes out a thread whose deadline is not after `now`.
    pub fn expired(&mut self, now: u64) -> Option<u32> {
        let (at, thread) = *self.heap.first()?;
        if self.length == 0 || at > now {
            return None;
        }
        self.remove(thread);
        Some(thread)
    }

    fn put(&mut self, place: usize, entry: (u64, u32)) {
        self.heap[place] = entry;
        self.places[entry.1 as usize] = place as u32;
    }

    fn up(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent].0 <= self.heap[place].0 {
                break;
            }
            self.swap(place, parent);
            place = parent;
        }
    }

    fn down(&mut self, mut place: usize) {
        loop {
            let left = 2 * place + 1;
            let right = left + 1;
            let mut least = place;
            if left < self.length && self.heap[left].0 < self.heap[least].0 {
                least = left;
            }
            if right < self.length && self.heap[right].0 < self.heap[least].0 {
                least = right;
            }
            if least == place {
                break;
            }
            self.swap(place, least);
            place = least;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        let (x, y) = (self.heap[a], self.heap[b]);
        self.put(a, y);
        self.put(b, x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn deadlines_come_out_in_order_and_removed_ones_do_not() {
        let mut timers = Timers::new(&mut Arena::new(std::vec![0u8; Timers::bytes(64)].leak()), 64);
        for thread in 0..64u32 {
            timers.add(thread, u64::from(thread * 37 % 64) * 10);
        }
        for thread in (0..64).step_by(3) {
            timers.remove(thread);
        }
        let mut out = Vec::new();
        while let Some(thread) = timers.expired(1000) {
            assert!(thread % 3 != 0);
            out.push(thread * 37 % 64);
        }
        assert!(out.is_sorted() && out.len() == 42);
        assert_eq!(timers.next(), u64::MAX);
    }
}
