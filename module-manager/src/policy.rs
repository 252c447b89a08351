//! Whether a service that died is started again.

use hic_hicmod::manifest::Restart;

/// Restarts in the current window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Window {
    /// When it began, monotonic nanoseconds.
    pub since: u64,
    /// Restarts in it.
    pub restarts: u64,
}

/// What to do with a dead service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Start it again.
    Restart,
    /// Leave it: its manifest says so.
    Never,
    /// Leave it: it died more often than its manifest allows.
    TooOften,
}

impl Window {
    /// Decides at time `now`, and counts the restart.
    pub fn decide(&mut self, policy: Restart, now: u64) -> Decision {
        let Restart::Always { max, window_s } = policy else { return Decision::Never };
        if now.saturating_sub(self.since) > u64::from(window_s) * 1_000_000_000 {
            *self = Self { since: now, restarts: 0 };
        }
        if self.restarts >= u64::from(max) {
            return Decision::TooOften;
        }
        self.restarts += 1;
        Decision::Restart
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Restart = Restart::Always { max: 2, window_s: 10 };

    #[test]
    fn the_third_death_in_a_window_is_one_too_many() {
        let mut window = Window::default();
        assert_eq!(window.decide(POLICY, 1), Decision::Restart);
        assert_eq!(window.decide(POLICY, 2), Decision::Restart);
        assert_eq!(window.decide(POLICY, 3), Decision::TooOften);
    }

    #[test]
    fn a_new_window_forgets_the_old_one() {
        let mut window = Window::default();
        for now in [1, 2] {
            window.decide(POLICY, now);
        }
        assert_eq!(window.decide(POLICY, 11_000_000_002), Decision::Restart);
    }

    #[test]
    fn a_service_that_is_never_restarted_stays_dead() {
        assert_eq!(Window::default().decide(Restart::Never, 5), Decision::Never);
    }
}
