//! How busy a connection is, so that the quiet ones move first (ledger P3.4, P3.5). Derived from what this instance saw
//! itself: after a restart or a move every connection counts as quiet until data flows. It never changes what a connection
//! does.

use hic_tcp::Micros;

/// Octets are counted over at least this long.
const WINDOW: Micros = Micros::from_secs(1);
/// Without a new octet for this long, a connection is idle.
const IDLE_AFTER: Micros = Micros::from_secs(10);
/// A connection older than this, used within [`PERSISTENT_USE`], is meant to stay: a tunnel, a database session.
const PERSISTENT_AGE: Micros = Micros::from_secs(300);
const PERSISTENT_USE: Micros = Micros::from_secs(120);
/// Octets a second: below the first it is background, from the second on it is bulk or a stream.
const LOW_RATE: u64 = 4 << 10;
const HIGH_RATE: u64 = 256 << 10;

/// What a connection looks like, in the order in which they are to move. The waves of an update are ranges of it: idle and
/// low, medium, high, persistent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Nothing moved for 10 s, or it is closing without an application.
    Idle,
    /// Below 4 KiB/s. UDP sockets count as this.
    Low,
    /// From 4 KiB/s on. Listeners count as this: new connections come at any time.
    Medium,
    /// From 256 KiB/s on.
    High,
    /// Older than five minutes and used in the last two, but not with a high rate.
    Persistent,
}

/// The figures of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Activity {
    opened_at: Micros,
    total: u64,
    /// When `total` last grew.
    moved_at: Option<Micros>,
    window_start: Micros,
    window_total: u64,
    /// Octets a second in the window before.
    rate: u64,
}

impl Activity {
    /// `total` octets were moved before this instance looked.
    pub(crate) fn new(now: Micros, opened_at: Micros, total: u64) -> Self {
        Self { opened_at, total, moved_at: None, window_start: now, window_total: total, rate: 0 }
    }

    pub(crate) fn opened_at(&self) -> Micros {
        self.opened_at
    }

    /// Takes in how many octets were moved up to now, both ways.
    pub(crate) fn note(&mut self, now: Micros, total: u64) {
        if total > self.total {
            self.total = total;
            self.moved_at = Some(now);
        }
        if now.since(self.window_start) >= WINDOW {
            self.rate = self.rate_of_window(now);
            self.window_start = now;
            self.window_total = self.total;
        }
    }

    fn rate_of_window(&self, now: Micros) -> u64 {
        let octets = self.total.saturating_sub(self.window_total);
        octets.saturating_mul(WINDOW.0) / now.since(self.window_start).max(WINDOW).0
    }

    /// Octets a second, lately.
    pub(crate) fn rate(&self, now: Micros) -> u64 {
        if now.since(self.window_start) >= WINDOW { self.rate_of_window(now) } else { self.rate }
    }

    pub(crate) fn class(&self, now: Micros) -> Class {
        let quiet = self.moved_at.map(|at| now.since(at));
        let rate = self.rate(now);
        let old = now.since(self.opened_at) >= PERSISTENT_AGE;
        match quiet {
            Some(_) if rate >= HIGH_RATE => Class::High,
            Some(quiet) if old && quiet < PERSISTENT_USE => Class::Persistent,
            Some(quiet) if quiet < IDLE_AFTER && rate >= LOW_RATE => Class::Medium,
            Some(quiet) if quiet < IDLE_AFTER => Class::Low,
            _ => Class::Idle,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(n: u64) -> Micros {
        Micros::from_secs(n)
    }

    /// A connection opened at 0 that moves so many octets each second until `until`.
    fn after(rate: u64, until: u64) -> Activity {
        let mut activity = Activity::new(secs(0), secs(0), 0);
        for second in 1..=until {
            activity.note(secs(second), second * rate);
        }
        activity
    }

    #[test]
    fn the_class_follows_rate_quiet_and_age() {
        assert_eq!(Activity::new(secs(0), secs(0), 9).class(secs(1)), Class::Idle);
        assert_eq!(after(100, 5).class(secs(5)), Class::Low);
        assert_eq!(after(100, 5).class(secs(15)), Class::Idle);
        assert_eq!(after(10_000, 5).class(secs(5)), Class::Medium);
        assert_eq!(after(1 << 20, 5).class(secs(5)), Class::High);
        assert_eq!(after(1 << 20, 400).class(secs(400)), Class::High, "a long stream is still bulk");
        assert_eq!(after(10, 400).class(secs(460)), Class::Persistent);
        assert_eq!(after(10, 400).class(secs(600)), Class::Idle);
    }

    #[test]
    fn a_burst_is_forgotten_by_the_next_look() {
        let activity = after(1 << 20, 5);
        assert_eq!(activity.rate(secs(5)), 1 << 20);
        assert_eq!(activity.rate(secs(7)), 0);
    }
}
