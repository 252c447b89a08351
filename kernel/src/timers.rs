//! Deadlines of blocked threads: a binary heap of (time, thread) that knows each thread's place. Another one has the sandboxes whose budgets are to be
//! renewed.
//!
//! Only a call with a finite deadline comes here; the rest of IPC never pays for it.

use crate::pool::{Arena, NONE};

/// The heap. `places` says where a thread sits in it, so that it can be taken out again.
pub struct Timers {
    heap: &'static mut [(u64, u32)],
    length: usize,
    next: u64,
    places: &'static mut [u32],
}

impl Timers {
    /// Bytes for this many threads.
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
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Adds a thread that has no deadline yet.
    pub fn add(&mut self, thread: u32, at: u64) {
        self.length += 1;
        self.settle(self.length - 1, (at, thread));
    }

    /// Takes a thread's deadline out, if it has one.
    #[inline]
    pub fn remove(&mut self, thread: u32) {
        let place = core::mem::replace(&mut self.places[thread as usize], NONE);
        if place != NONE {
            self.remove_at(place as usize);
        }
    }

    fn remove_at(&mut self, place: usize) {
        self.length -= 1;
        if place != self.length {
            self.settle(place, self.heap[self.length]);
        } else if place == 0 {
            self.next = u64::MAX;
        }
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

    /// Puts an entry at a place that was left, or where it belongs above or below; those on the way there make room.
    fn settle(&mut self, mut place: usize, entry: (u64, u32)) {
        while place > 0 && entry.0 < self.heap[(place - 1) / 2].0 {
            let parent = (place - 1) / 2;
            self.put(place, self.heap[parent]);
            place = parent;
        }
        while let Some(child) = self.first_below(place)
            && self.heap[child].0 < entry.0
        {
            self.put(place, self.heap[child]);
            place = child;
        }
        self.put(place, entry);
        self.next = self.heap[0].0;
    }

    /// Which of the two entries below a place comes first.
    fn first_below(&self, place: usize) -> Option<usize> {
        (2 * place + 1..self.length.min(2 * place + 3)).min_by_key(|child| self.heap[*child].0)
    }

    fn put(&mut self, place: usize, entry: (u64, u32)) {
        self.heap[place] = entry;
        self.places[entry.1 as usize] = place as u32;
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
