//! What is due when. A heap of deadlines, so that time costs what is due and not what exists.
//!
//! Deadlines move with every segment, mostly to later. Such a move is not entered: the old entry stays, and when it comes
//! up its owner is asked again. So an owner must cope with being called early.

use alloc::collections::{BTreeMap, BinaryHeap};
use core::cmp::Reverse;
use hic_tcp::Micros;

/// Whose deadline it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    Arp,
    Reassembly,
    Dhcp,
    Announce,
    Connection(crate::Id),
}

#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Micros, Timer)>>,
    /// The entry of the heap that counts for each owner; others are stale.
    armed: BTreeMap<Timer, Micros>,
}

impl Timers {
    /// Asks for `timer` to come up at `at` or earlier.
    pub(crate) fn schedule(&mut self, timer: Timer, at: Option<Micros>) {
        let Some(at) = at else { return };
        if self.armed.get(&timer).is_some_and(|armed| *armed <= at) {
            return;
        }
        self.armed.insert(timer, at);
        self.heap.push(Reverse((at, timer)));
    }

    /// When [`Self::pop`] has something at the latest.
    pub(crate) fn deadline(&self) -> Option<Micros> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The next owner whose time has come.
    pub(crate) fn pop(&mut self, now: Micros) -> Option<Timer> {
        while let Some(Reverse((at, timer))) = self.heap.peek().copied() {
            if at > now {
                return None;
            }
            self.heap.pop();
            if self.armed.get(&timer) == Some(&at) {
                self.armed.remove(&timer);
                return Some(timer);
            }
        }
        None
    }

    /// Forgets an owner that is gone.
    pub(crate) fn cancel(&mut self, timer: Timer) {
        self.armed.remove(&timer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_deadline_replaces_and_a_later_one_waits_for_the_old() {
        let mut timers = Timers::default();
        timers.schedule(Timer::Arp, Some(Micros(50)));
        timers.schedule(Timer::Arp, Some(Micros(90)));
        timers.schedule(Timer::Dhcp, Some(Micros(60)));
        timers.schedule(Timer::Arp, Some(Micros(20)));
        assert_eq!(timers.deadline(), Some(Micros(20)));
        assert_eq!(timers.pop(Micros(19)), None);
        assert_eq!(timers.pop(Micros(20)), Some(Timer::Arp));
        assert_eq!(timers.pop(Micros(100)), Some(Timer::Dhcp), "the entry at 50 is stale");
        assert_eq!(timers.pop(Micros(100)), None);
    }

    #[test]
    fn a_cancelled_owner_never_comes_up() {
        let mut timers = Timers::default();
        timers.schedule(Timer::Announce, Some(Micros(1)));
        timers.cancel(Timer::Announce);
        assert_eq!(timers.pop(Micros(2)), None);
    }
}
