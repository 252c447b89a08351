//! Steal time: what a hypervisor below this host took of its processors (proc_stat(5)).
//!
//! A time that was measured while the host stood still says nothing about what ran on it. This tells such moments from others by what the
//! host itself counts, never by how long something took: so it can leave out nothing because it is inconvenient.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

/// Linux counts processor time for everybody here.
const STAT: &str = "/proc/stat";
/// How often it is read. The counts grow by hundredths of a second.
const EVERY: Duration = Duration::from_millis(100);
/// What is looked at of the time before a request: a queue that grew while the host stood still takes a while to shrink.
const BEFORE: Duration = Duration::from_millis(500);
/// What is looked at of the time after it. The same for every request, however long it took.
const AFTER: Duration = Duration::from_millis(100);
/// The processors were there if no more than one part in so many was taken.
const PARTS: u64 = 100;

/// Processor time since the boot, all processors together, in the host's ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    stolen: u64,
    all: u64,
}

impl Ticks {
    /// From the first line of [`STAT`]: user, nice, system, idle, iowait, irq, softirq, steal. What follows is part of user.
    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let fields: Vec<u64> =
            line.split_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
        let stolen = *fields.get(7)?;
        Some(Self { stolen, all: fields.iter().sum() })
    }

    fn read() -> Result<Self> {
        let stat = std::fs::read_to_string(STAT).with_context(|| format!("cannot read {STAT}"))?;
        Self::parse(&stat).with_context(|| format!("{STAT} does not begin as expected"))
    }
}

/// Reads the host's steal time until it is asked what it saw.
#[derive(Debug)]
pub struct StealWatch {
    stop: Sender<()>,
    reader: JoinHandle<Result<StealTime>>,
}

impl StealWatch {
    /// Begins.
    ///
    /// # Errors
    /// The host does not say, or has no thread left.
    pub fn start() -> Result<Self> {
        let mut seen = vec![(Instant::now(), Ticks::read()?)];
        let (stop, stopped) = channel();
        let reader = std::thread::Builder::new().spawn(move || {
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                seen.push((Instant::now(), Ticks::read()?));
            }
            seen.push((Instant::now(), Ticks::read()?));
            Ok(StealTime(seen))
        })?;
        Ok(Self { stop, reader })
    }

    /// What was seen from the start until now.
    ///
    /// # Errors
    /// The host stopped saying.
    pub fn finish(self) -> Result<StealTime> {
        drop(self.stop);
        self.reader.join().map_err(|_| anyhow!("the reader of {STAT} panicked"))?
    }
}

/// What a [`StealWatch`] saw, in the order of time.
#[derive(Clone, Debug)]
pub struct StealTime(Vec<(Instant, Ticks)>);

impl StealTime {
    /// Whether the host had its processors around `moment`: half a second before it and a tenth after it no more than a hundredth of their
    /// time was taken. What was not watched does not count as such.
    #[must_use]
    pub fn had_processors(&self, moment: Instant) -> bool {
        let Self(seen) = self;
        let after = seen.partition_point(|(at, _)| *at < moment + AFTER);
        let before = moment.checked_sub(BEFORE).map_or(0, |from| seen.partition_point(|(at, _)| *at <= from));
        let (Some((_, from)), Some((_, to))) =
            (before.checked_sub(1).and_then(|at| seen.get(at)), seen.get(after))
        else {
            return false;
        };
        to.stolen.saturating_sub(from.stolen) * PARTS <= to.all.saturating_sub(from.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STILL: &str = "cpu  10 1 20 300 4 0 5 7 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";

    #[test]
    fn the_first_line_is_all_processors_together() {
        assert_eq!(Ticks::parse(STILL), Some(Ticks { stolen: 7, all: 347 }));
        assert_eq!(Ticks::parse("cpu  1 2 3\n"), None, "a host that does not count it");
        assert_eq!(Ticks::parse("cpu0 1 2 3 4 5 6 7 8\n"), None);
        assert_eq!(Ticks::parse(""), None);
    }

    #[test]
    fn a_moment_counts_if_nothing_was_taken_around_it() {
        let began = Instant::now();
        let at = |tenth: u32| began + EVERY * tenth;
        // Two processors for six seconds; three ticks are taken in the tenth of a second that ends at 3 s.
        let seen = (0..=60).map(|tenth| {
            let stolen = if tenth >= 30 { 3 } else { 0 };
            (at(tenth), Ticks { stolen, all: 20 * u64::from(tenth) })
        });
        let steal = StealTime(seen.collect());
        let counts: Vec<u32> = (0..=60).filter(|tenth| steal.had_processors(at(*tenth))).collect();
        let expected: Vec<u32> = (5..=28).chain(35..=59).collect();
        assert_eq!(
            counts, expected,
            "not in the first half second and at the end, of which not enough is known"
        );
    }

    #[test]
    fn one_tick_in_a_hundred_is_nothing() {
        let began = Instant::now();
        let seen = |stolen| {
            let ticks =
                |tenth: u32| Ticks { stolen: if tenth < 7 { 0 } else { stolen }, all: 20 * u64::from(tenth) };
            StealTime((0..=10).map(|tenth| (began + EVERY * tenth, ticks(tenth))).collect())
        };
        let moment = began + EVERY * 6;
        assert!(seen(1).had_processors(moment) && !seen(2).had_processors(moment));
    }

    #[test]
    fn a_watch_sees_the_time_from_its_start_to_its_end() {
        let before = Instant::now();
        let watch = StealWatch::start().expect("the host says");
        let StealTime(seen) = watch.finish().expect("the host says");
        assert!(seen.len() >= 2 && seen.iter().all(|(at, _)| *at >= before && *at <= Instant::now()));
        assert!(seen.is_sorted_by_key(|(at, ticks)| (*at, ticks.stolen)));
    }
}
