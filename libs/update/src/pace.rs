//! When the next batch may move, and how many items (P1.2, P3.5): no second ever sees more than the policy's rate, and moving takes no larger part
//! of the time than the policy's share.

use crate::Nanos;
use hic_control::manager::WHOLE_SHARE;

const SECOND: Nanos = 1_000_000_000;
/// Batches of one second that are remembered. At the default rate and batch size twenty are enough; when there are more, the next one waits.
const BATCHES: usize = 32;

/// A batch that moved at `at`, at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
struct Batch {
    at: Nanos,
    /// 0 = a free place.
    items: u64,
}

impl Batch {
    fn counts(&self, now: Nanos) -> bool {
        self.items > 0 && now.saturating_sub(self.at) <= SECOND
    }
}

/// The moves of the last second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub(crate) struct Window {
    batches: [Batch; BATCHES],
}

impl Window {
    fn recent(&self, now: Nanos) -> impl Iterator<Item = &Batch> {
        self.batches.iter().filter(move |batch| batch.counts(now))
    }

    /// Items that may move now.
    pub fn room(&self, now: Nanos, rate: u64) -> u64 {
        if self.recent(now).count() == BATCHES {
            return 0;
        }
        self.recent(now).fold(rate, |room, batch| room.saturating_sub(batch.items))
    }

    /// Nothing moved in the last second.
    pub fn is_empty(&self, now: Nanos) -> bool {
        self.recent(now).next().is_none()
    }

    /// The earliest time, not before `now`, at which `items` may move. More than `rate` may when nothing else does.
    pub fn when(&self, now: Nanos, rate: u64, items: u64) -> Nanos {
        let fits = |at| self.is_empty(at) || self.room(at, rate) >= items;
        let ends = self.recent(now).map(|batch| batch.at.saturating_add(SECOND + 1));
        let earliest = core::iter::once(now).chain(ends).filter(|at| fits(*at)).min().unwrap_or(now);
        earliest.max(self.turn(rate))
    }

    /// When the next batch has its turn: batches are spread over the second, so that what does not move has the processor in between.
    fn turn(&self, rate: u64) -> Nanos {
        let last = self.batches.iter().filter(|batch| batch.items > 0).max_by_key(|batch| batch.at);
        let pause = |batch: &Batch| (batch.items.min(rate) * SECOND).div_ceil(rate.max(1));
        last.map_or(0, |batch| batch.at.saturating_add(pause(batch)))
    }

    /// Enters a batch that is about to move; `false`: there is no place for it, which [`Self::room`] says before.
    pub fn enter(&mut self, now: Nanos, items: u64) -> bool {
        let free = self.batches.iter_mut().find(|batch| !batch.counts(now));
        free.map(|place| *place = Batch { at: now, items }).is_some()
    }

    /// The batch entered last has moved, at `now` at the latest.
    pub fn moved(&mut self, now: Nanos) {
        if let Some(last) = self.batches.iter_mut().max_by_key(|batch| batch.at) {
            last.at = now;
        }
    }
}

/// The time that moving took, and how long it rests for that. What clients notice of a batch is that it had the processor; so a batch is
/// followed by as long a pause as keeps batches within their share of the time, however long they took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub(crate) struct Work {
    /// Since when a batch is under way; 0 = none is.
    since: Nanos,
    /// Until when moving rests.
    until: Nanos,
    /// Time of all batches.
    total: Nanos,
}

impl Work {
    /// A batch begins.
    pub fn begin(&mut self, now: Nanos) {
        self.since = now;
    }

    /// A batch has begun, and moving does not rest for it yet.
    pub fn is_under_way(&self) -> bool {
        self.since != 0
    }

    /// No batch is under way any more, so moving rests: it may take `share` thousandths of the time, but no pause is longer than `longest`.
    pub fn end(&mut self, now: Nanos, share: u64, longest: Nanos) {
        if self.since != 0 {
            let took = now.saturating_sub(core::mem::take(&mut self.since));
            self.total = self.total.saturating_add(took);
            self.until = now.saturating_add(pause(took, share).min(longest));
        }
    }

    /// Until when moving rests.
    pub fn rests_until(&self) -> Nanos {
        self.until
    }

    /// Time of all batches that have ended.
    pub fn total(&self) -> Nanos {
        self.total
    }
}

/// The pause after `took` that makes it `share` thousandths of both.
fn pause(took: Nanos, share: u64) -> Nanos {
    let share = share.clamp(1, WHOLE_SHARE);
    took.saturating_mul(WHOLE_SHARE - share) / share
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_second_makes_the_next_batch_wait_until_the_first_one_is_over() {
        let mut window = Window::default();
        for at in 0..10 {
            assert!(window.enter(at, 10));
        }
        assert_eq!(window.room(20, 100), 0);
        assert_eq!(window.when(20, 100, 10), SECOND + 1);
        assert_eq!(window.room(SECOND + 1, 100), 10);
    }

    #[test]
    fn batches_are_spread_over_the_second() {
        let mut window = Window::default();
        assert_eq!(window.when(7, 100, 10), 7, "the first one waits for nobody");
        assert!(window.enter(7, 10));
        assert_eq!(window.when(8, 100, 10), 7 + SECOND / 10);
        assert_eq!(window.when(SECOND, 100, 10), SECOND);
    }

    #[test]
    fn a_unit_larger_than_the_rate_waits_until_it_is_alone() {
        let mut window = Window::default();
        assert!(window.enter(5, 1));
        assert_eq!(window.when(6, 100, 300), SECOND + 6);
        assert_eq!(window.when(SECOND + 6, 100, 300), SECOND + 6);
    }

    #[test]
    fn many_small_batches_wait_rather_than_be_forgotten() {
        let mut window = Window::default();
        for at in 0..BATCHES as u64 {
            assert!(window.enter(at, 1));
        }
        assert_eq!(window.room(50, 100), 0);
        assert_eq!(window.when(50, 100, 1), SECOND + 1);
        assert!(!window.enter(50, 1));
    }

    #[test]
    fn a_pause_is_as_long_as_the_work_before_it_asks_for() {
        let mut work = Work::default();
        work.begin(100);
        work.end(104, 8, SECOND);
        assert_eq!((work.rests_until(), work.total()), (104 + 496, 4), "4 of 500 are 8 of 1000");
        work.begin(1000);
        work.end(1010, WHOLE_SHARE, SECOND);
        assert_eq!((work.rests_until(), work.total()), (1010, 14), "all of the time");
        work.end(2000, 1, SECOND);
        assert_eq!((work.rests_until(), work.total()), (1010, 14), "nothing was under way");
    }

    #[test]
    fn the_usual_policy_keeps_its_share_after_batches_of_a_slow_host() {
        let policy = crate::Policy::default();
        assert!(pause(20_000_000, policy.share) <= policy.longest_pause);
    }

    #[test]
    fn one_long_stall_does_not_stop_moving_for_long() {
        let mut work = Work::default();
        work.begin(1);
        work.end(1 + SECOND, 8, 2 * SECOND);
        assert_eq!(work.rests_until(), 1 + 3 * SECOND);
    }

    proptest! {
        #[test]
        fn work_never_takes_more_than_its_share(took in 0..SECOND, share in 1..=WHOLE_SHARE) {
            let whole = u128::from(took) + u128::from(pause(took, share)) + 1;
            prop_assert!(u128::from(took) * 1000 <= whole * u128::from(share));
        }

        #[test]
        fn no_figure_is_too_strange(took: u64, share: u64, longest: u64) {
            let mut work = Work::default();
            work.begin(1);
            work.end(took, share, longest);
            prop_assert!(work.rests_until() >= took);
        }
    }

    #[test]
    fn what_took_a_while_counts_from_its_end() {
        let mut window = Window::default();
        assert!(window.enter(10, 100));
        window.moved(500);
        assert_eq!(window.when(600, 100, 1), SECOND + 501);
    }
}
