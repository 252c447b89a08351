//! What a group of clients did, counted while they do it, and the way to tell them to stop.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Latencies;

/// Failures kept word for word; more are only counted.
const KEPT: usize = 20;

/// Counts of a group of clients.
#[derive(Debug, Default)]
pub struct Tally {
    connections: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
    failures: AtomicU64,
    slowest_us: AtomicU64,
    kept: Mutex<Vec<String>>,
    /// When each request was made, and how long its answer took.
    samples: Mutex<Vec<(Instant, Duration)>>,
    rounds: Mutex<BTreeMap<u32, u64>>,
}

/// Rounds of each client by its number.
pub type Rounds = BTreeMap<u32, u64>;

impl Tally {
    /// A connection was established.
    pub fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// `bytes` came back as they were sent, `after` the request.
    pub fn echoed(&self, bytes: usize, after: Duration) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.slowest_us.fetch_max(micros, Ordering::Relaxed);
        let now = Instant::now();
        let asked = now.checked_sub(after).unwrap_or(now);
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).push((asked, after));
    }

    /// `bytes` came back as they were sent, of a client that keeps them waiting on purpose: no time is taken.
    pub fn checked(&self, bytes: u64) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The client with this number got through one more round.
    pub fn progressed(&self, number: u32) {
        *self.rounds.lock().unwrap_or_else(PoisonError::into_inner).entry(number).or_default() += 1;
    }

    /// How often each client has got through a round so far.
    pub fn rounds(&self) -> Rounds {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Those of the first `clients` clients that have not got through a round since `before`.
    pub fn stuck_since(&self, clients: u32, before: &Rounds) -> Vec<u32> {
        let now = self.rounds();
        (0..clients).filter(|number| now.get(number) <= before.get(number)).collect()
    }

    /// How long the answers took to requests that were under way at any moment from `from` to `to`.
    pub fn latencies(&self, from: Instant, to: Instant) -> Latencies {
        self.latencies_of(from, to, |_| true)
    }

    /// As [`Self::latencies`], of the requests that were made when `counts`.
    pub fn latencies_of(&self, from: Instant, to: Instant, counts: impl Fn(Instant) -> bool) -> Latencies {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let inside = samples.iter().filter(|(asked, took)| *asked <= to && *asked + *took >= from);
        inside.filter(|(asked, _)| counts(*asked)).map(|(_, took)| *took).collect()
    }

    /// Something went wrong.
    pub fn failed(&self, what: &anyhow::Error) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(format!("{what:#}"));
        }
    }

    /// Connections established so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Messages that came back so far.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Failures so far.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// The longest time from a request to its last echoed byte.
    pub fn slowest(&self) -> Duration {
        Duration::from_micros(self.slowest_us.load(Ordering::Relaxed))
    }

    /// One line for the report.
    pub fn summary(&self) -> String {
        format!(
            "{} connections, {} messages, {} bytes checked, slowest {:?}, {} failures",
            self.connections(),
            self.messages(),
            self.bytes.load(Ordering::Relaxed),
            self.slowest(),
            self.failures()
        )
    }

    /// An error that shows the failures, if there was any. `who` names the group.
    pub fn ensure_no_failure(&self, who: &str) -> Result<()> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(self.failures() == 0, "{who}: {}; first ones:\n{}", self.summary(), kept.join("\n"));
        Ok(())
    }
}

/// Tells a group of clients to stop, even in the middle of a pause.
#[derive(Debug, Default)]
pub struct Stop {
    set: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Stop.
    pub fn set(&self) {
        *self.set.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Whether to stop.
    pub fn is_set(&self) -> bool {
        *self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pauses for `time` or until told to stop; returns whether to go on.
    pub fn pause(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if *set || left.is_zero() {
                return !*set;
            }
            set = self.changed.wait_timeout(set, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_ends_a_pause_and_all_later_ones() {
        let stop = std::sync::Arc::new(Stop::default());
        assert!(stop.pause(Duration::from_millis(1)), "nobody said stop");
        let other = std::sync::Arc::clone(&stop);
        let waiter = std::thread::spawn(move || other.pause(Duration::from_secs(600)));
        stop.set();
        assert!(!waiter.join().expect("no panic"));
        assert!(!stop.pause(Duration::from_secs(600)));
    }

    #[test]
    fn a_client_that_does_not_get_on_is_named() {
        let tally = Tally::default();
        assert_eq!(tally.stuck_since(2, &tally.rounds()), [0, 1], "nobody has got through a round yet");
        (0..3).for_each(|number| tally.progressed(number));
        let before = tally.rounds();
        tally.progressed(0);
        tally.progressed(2);
        assert_eq!(tally.stuck_since(4, &before), [1, 3]);
    }

    #[test]
    fn a_request_counts_in_every_window_in_which_it_waited() {
        let tally = Tally::default();
        let started = Instant::now();
        tally.echoed(1, Duration::from_secs(2));
        let before = started.checked_sub(Duration::from_secs(1)).expect("later than boot");
        assert_eq!(tally.latencies(before, before).count(), 1, "asked two seconds ago, answered now");
        let later = started + Duration::from_secs(60);
        assert_eq!(tally.latencies(later, later).count(), 0);
        assert_eq!(tally.latencies_of(before, before, |asked| asked < before).count(), 1);
        assert_eq!(tally.latencies_of(before, before, |asked| asked > before).count(), 0);
    }

    #[test]
    fn a_failure_is_counted_and_shown() {
        let tally = Tally::default();
        tally.ensure_no_failure("echo").expect("none yet");
        tally.failed(&anyhow::anyhow!("byte 7 is missing"));
        let error = tally.ensure_no_failure("echo").expect_err("one now");
        assert!(error.to_string().contains("byte 7 is missing"), "{error}");
    }
}
