//! How long a question to a service may stay open: once it is over the service is started again, the second time the question is given up.
//!
//! Whoever does not answer may hang, or may have lost the question; a start cures both, and a service that is started finds its question again.

use hic_abi::{FOREVER, Nanos};

/// For one answer: the storage service reads at most 256 KiB for one, the verifier looks at 32 MiB.
pub const PATIENCE: Nanos = 20_000_000_000;

/// What to do about an open question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Look again at this time.
    Wait(Nanos),
    /// Start the service again.
    Again,
    /// Do without an answer.
    GiveUp,
}

/// An open question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    until: Nanos,
    again: bool,
}

impl Default for Patience {
    /// Nothing is asked.
    fn default() -> Self {
        Self { until: FOREVER, again: true }
    }
}

impl Patience {
    /// A question was asked now.
    #[must_use]
    pub const fn begin(now: Nanos) -> Self {
        Self { until: now.saturating_add(PATIENCE), again: false }
    }

    /// What to do, if there is no answer by now.
    pub fn at(&mut self, now: Nanos) -> Verdict {
        match (now < self.until, self.again) {
            (true, _) => Verdict::Wait(self.until),
            (false, false) => {
                *self = Self { until: now.saturating_add(PATIENCE), again: true };
                Verdict::Again
            }
            (false, true) => {
                *self = Self::default();
                Verdict::GiveUp
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_stays_silent_is_started_again_once_and_then_done_without() {
        let mut patience = Patience::begin(5);
        assert_eq!(patience.at(5), Verdict::Wait(5 + PATIENCE));
        assert_eq!(patience.at(4 + PATIENCE), Verdict::Wait(5 + PATIENCE));
        assert_eq!(patience.at(5 + PATIENCE), Verdict::Again);
        let second = Verdict::Wait(5 + 2 * PATIENCE);
        assert_eq!((patience.at(6 + PATIENCE), patience.at(4 + 2 * PATIENCE)), (second, second));
        assert_eq!(patience.at(5 + 2 * PATIENCE), Verdict::GiveUp);
        assert_eq!(patience.at(FOREVER - 1), Verdict::Wait(FOREVER));
    }

    #[test]
    fn every_question_has_its_own_time() {
        let mut patience = Patience::begin(0);
        assert_eq!(patience.at(PATIENCE), Verdict::Again);
        patience = Patience::begin(PATIENCE + 1);
        assert_eq!(patience.at(2 * PATIENCE + 1), Verdict::Again);
    }
}
