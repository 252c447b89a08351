//! What is due when. Deadlines in order, one for each owner, so that time costs what is due and not what exists.
//!
//! Deadlines move with every segment, mostly to later. Such a move is not entered: the old entry stays, and when it comes
//! up its owner is asked again. So an owner must cope with being called early. A move to earlier replaces the entry.

use alloc::collections::{BTreeMap, BTreeSet};
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
    order: BTreeSet<(Micros, Timer)>,
    /// The same by owner.
    armed: BTreeMap<Timer, Micros>,
}

impl Timers {
    /// Asks for `timer` to come up at `at` or earlier.
    pub(crate) fn schedule(&mut self, timer: Timer, at: Option<Micros>) {
        let Some(at) = at else { return };
        if self.armed.get(&timer).is_some_and(|armed| *armed <= at) {
            return;
        }
        if let Some(later) = self.armed.insert(timer, at) {
            self.order.remove(&(later, timer));
        }
        self.order.insert((at, timer));
    }

    /// When [`Self::pop`] has something.
    pub(crate) fn deadline(&self) -> Option<Micros> {
        self.order.first().map(|(at, _)| *at)
    }

    /// The next owner whose time has come.
    pub(crate) fn pop(&mut self, now: Micros) -> Option<Timer> {
        let (at, timer) = self.order.first().copied()?;
        if at > now {
            return None;
        }
        self.cancel(timer);
        Some(timer)
    }

    /// Forgets an owner that is gone.
    pub(crate) fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.armed.remove(&timer) {
            self.order.remove(&(at, timer));
        }
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
        assert_eq!(timers.pop(Micros(100)), Some(Timer::Dhcp), "the entry at 50 is gone");
        assert_eq!(timers.pop(Micros(100)), None);
    }

    #[test]
    fn ten_thousand_short_deadlines_before_a_long_one_leave_one_entry() {
        let mut timers = Timers::default();
        let owner = Timer::Connection(crate::Id(7));
        for round in 0..10_000 {
            let now = Micros(round * 100);
            timers.schedule(owner, Some(now.after(Micros::from_secs(60))));
            timers.schedule(owner, Some(now.after(Micros(50))));
            assert_eq!(timers.pop(now.after(Micros(50))), Some(owner));
        }
        timers.schedule(owner, Some(Micros::from_secs(60)));
        assert_eq!((timers.order.len(), timers.armed.len()), (1, 1));
        timers.cancel(owner);
        assert_eq!((timers.order.len(), timers.deadline()), (0, None));
    }

    #[test]
    fn a_cancelled_owner_never_comes_up() {
        let mut timers = Timers::default();
        timers.schedule(Timer::Announce, Some(Micros(1)));
        timers.cancel(Timer::Announce);
        assert_eq!(timers.pop(Micros(2)), None);
    }
}
