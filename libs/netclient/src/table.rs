//! Sessions by number, and which notification bit belongs to which of them.
//!
//! A notification has 64 bits and a server may have a thousand sessions, so sessions share bits: the one with number n has
//! bit n modulo [`SESSION_BITS`]. A signalled bit means "look at these"; looking at one for nothing costs a few loads.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Bits for sessions; the bits above are for listeners and UDP sockets.
pub const SESSION_BITS: usize = 48;
/// Bits for everything else, shared when there are more.
const OTHER_BITS: usize = 64 - SESSION_BITS;

/// The bit of a session.
#[must_use]
pub const fn session_bit(number: usize) -> u64 {
    1 << (number % SESSION_BITS)
}

/// The bit of the `n`th listener or UDP socket.
#[must_use]
pub const fn other_bit(n: usize) -> u64 {
    1 << (SESSION_BITS + n % OTHER_BITS)
}

/// Sessions by number, with a bound, and those that are to be looked at.
#[derive(Debug)]
pub struct Table<T> {
    places: Vec<Option<T>>,
    free: Vec<usize>,
    queued: Vec<bool>,
    queue: VecDeque<usize>,
    limit: usize,
}

impl<T> Table<T> {
    /// An empty table for at most `limit` sessions.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { places: Vec::new(), free: Vec::new(), queued: Vec::new(), queue: VecDeque::new(), limit }
    }

    /// Sessions in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number that the next session gets; `None` when full.
    #[must_use]
    pub fn next_number(&self) -> Option<usize> {
        self.free.last().copied().or_else(|| (self.places.len() < self.limit).then_some(self.places.len()))
    }

    /// Adds a session and queues it; gives it back when full.
    ///
    /// # Errors
    /// The session itself.
    pub fn insert(&mut self, session: T) -> Result<usize, T> {
        let Some(number) = self.next_number() else { return Err(session) };
        self.free.pop();
        match self.places.get_mut(number) {
            Some(place) => *place = Some(session),
            None => {
                self.places.push(Some(session));
                self.queued.push(false);
            }
        }
        self.enqueue(number);
        Ok(number)
    }

    /// Takes a session out, to work on it; put it back with [`Table::put`] or give its number back with [`Table::end`].
    pub fn take(&mut self, number: usize) -> Option<T> {
        self.places.get_mut(number)?.take()
    }

    /// Puts a session back where it was taken.
    pub fn put(&mut self, number: usize, session: T) {
        if let Some(place) = self.places.get_mut(number) {
            *place = Some(session);
        }
    }

    /// Gives the number of a session back that was taken and has ended.
    pub fn end(&mut self, number: usize) {
        self.free.push(number);
    }

    /// All sessions with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.places.iter().enumerate().filter_map(|(number, place)| Some((number, place.as_ref()?)))
    }

    /// Queues a session to be looked at, once.
    pub fn enqueue(&mut self, number: usize) {
        if let Some(queued) = self.queued.get_mut(number)
            && !core::mem::replace(queued, true)
        {
            self.queue.push_back(number);
        }
    }

    /// Queues all sessions that have one of these bits.
    pub fn enqueue_bits(&mut self, bits: u64) {
        for bit in (0..SESSION_BITS).filter(|bit| bits & session_bit(*bit) != 0) {
            for number in (bit..self.places.len()).step_by(SESSION_BITS) {
                if self.places.get(number).is_some_and(Option::is_some) {
                    self.enqueue(number);
                }
            }
        }
    }

    /// The next session to be looked at.
    pub fn dequeue(&mut self) -> Option<usize> {
        let number = self.queue.pop_front()?;
        if let Some(queued) = self.queued.get_mut(number) {
            *queued = false;
        }
        Some(number)
    }

    /// How many are to be looked at.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn drain(table: &mut Table<u32>) -> Vec<usize> {
        core::iter::from_fn(|| table.dequeue()).collect()
    }

    #[test]
    fn a_bit_wakes_all_sessions_that_share_it_and_no_other() {
        let mut table = Table::new(200);
        for n in 0..100 {
            table.insert(n).unwrap();
        }
        drain(&mut table);
        table.enqueue_bits(session_bit(1) | session_bit(2));
        assert_eq!(drain(&mut table), [1, 49, 97, 2, 50, 98]);
    }

    #[test]
    fn a_session_is_queued_once_however_often_it_is_signalled() {
        let mut table = Table::new(4);
        table.insert(7).unwrap();
        table.enqueue_bits(u64::MAX);
        table.enqueue(0);
        assert_eq!(drain(&mut table), [0]);
    }

    #[test]
    fn numbers_come_again_and_the_bound_holds() {
        let mut table = Table::new(2);
        assert_eq!((table.insert(1), table.insert(2), table.insert(3)), (Ok(0), Ok(1), Err(3)));
        assert_eq!(table.take(0), Some(1));
        table.end(0);
        assert_eq!((table.next_number(), table.insert(4), table.len()), (Some(0), Ok(0), 2));
    }

    #[test]
    fn a_signal_for_an_ended_session_finds_nothing() {
        let mut table = Table::new(2);
        table.insert(1).unwrap();
        drain(&mut table);
        table.take(0);
        table.end(0);
        table.enqueue_bits(u64::MAX);
        assert_eq!(drain(&mut table), []);
    }

    #[test]
    fn bits_of_sessions_and_of_other_sockets_are_apart() {
        let sessions = (0..500).fold(0, |bits, n| bits | session_bit(n));
        let others = (0..500).fold(0, |bits, n| bits | other_bit(n));
        assert_eq!((sessions & others, sessions | others), (0, u64::MAX));
    }
}
