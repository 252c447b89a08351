//! Times from request to answer, as a distribution.

use std::time::Duration;

/// Times, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies(Vec<Duration>);

impl FromIterator<Duration> for Latencies {
    fn from_iter<T: IntoIterator<Item = Duration>>(times: T) -> Self {
        let mut times: Vec<Duration> = times.into_iter().collect();
        times.sort_unstable();
        Self(times)
    }
}

impl Latencies {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that `per_cent` of them do not exceed (nearest rank); zero if there is none.
    #[must_use]
    pub fn percentile(&self, per_cent: usize) -> Duration {
        let rank = (self.0.len() * per_cent.min(100)).div_ceil(100);
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// The longest.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }

    /// Both together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        self.0.into_iter().chain(other.0).collect()
    }

    /// `self` beside a time without an update: both p99 and their ratio.
    #[must_use]
    pub fn beside(&self, quiet: &Self) -> String {
        let (now, then) = (self.percentile(99), quiet.percentile(99));
        let ratio = if then.is_zero() { 0.0 } else { now.as_secs_f64() / then.as_secs_f64() };
        format!(
            "p99 {now:.1?} over {} answers, {then:.1?} over {} without an update, ratio {ratio:.2}; longest {:.1?}",
            self.count(),
            quiet.count(),
            self.longest()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(times: impl IntoIterator<Item = u64>) -> Latencies {
        times.into_iter().map(Duration::from_millis).collect()
    }

    #[test]
    fn a_percentile_is_one_of_the_times() {
        let all = millis((1..=200).rev());
        assert_eq!(all.percentile(99), Duration::from_millis(198));
        assert_eq!(all.percentile(50), Duration::from_millis(100));
        assert_eq!((all.percentile(100), all.longest()), (all.longest(), Duration::from_millis(200)));
        assert_eq!(millis([7]).percentile(1), Duration::from_millis(7));
        assert_eq!(millis([]).percentile(99), Duration::ZERO);
    }

    #[test]
    fn a_comparison_shows_the_ratio() {
        let text = millis([20]).beside(&millis([10]));
        assert!(text.contains("ratio 2.00"), "{text}");
        assert!(millis([20]).beside(&millis([])).contains("ratio 0.00"));
    }

    #[test]
    fn two_times_together_are_one_distribution() {
        assert_eq!(millis([3, 1]).with(millis([2])), millis([1, 2, 3]));
    }
}
