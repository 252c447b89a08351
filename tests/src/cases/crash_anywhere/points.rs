//! Which system calls a victim is killed at: first 1, 2, 4, 8, ... until the update ends without the death, which shows how many
//! there are; then points spread evenly between 1 and that number.

use std::collections::{BTreeMap, BTreeSet};

/// Points tried for each that is wanted, before the sweep gives up: the number of calls differs from run to run.
const ATTEMPTS: usize = 3;

/// Beyond so many calls there is no point in doubling.
const MAX_CALLS: u64 = 1 << 20;

/// The points of one victim.
#[derive(Debug)]
pub(super) struct Points {
    wanted: usize,
    tried: BTreeSet<u64>,
    hit: usize,
    failed: Vec<u64>,
    /// Calls within one update, once known.
    calls: Option<u64>,
    doubled: u64,
    spread: u64,
    outcomes: BTreeMap<String, usize>,
    /// How many deaths the report places in which step.
    steps: BTreeMap<String, usize>,
}

impl Points {
    /// At least `wanted` of them.
    pub fn new(wanted: usize) -> Self {
        Self {
            wanted,
            tried: BTreeSet::new(),
            hit: 0,
            failed: Vec::new(),
            calls: None,
            doubled: 1,
            spread: 0,
            outcomes: BTreeMap::new(),
            steps: BTreeMap::new(),
        }
    }

    /// Whether there is nothing left to try.
    pub fn done(&mut self) -> bool {
        self.peek().is_none()
    }

    /// The next point. The same one until [`Self::done_at`] or [`Self::fail`] has dealt with it.
    pub fn next(&mut self) -> Option<u64> {
        self.peek()
    }

    fn peek(&mut self) -> Option<u64> {
        let Some(calls) = self.calls else { return Some(self.doubled) };
        let exhausted = u64::try_from(self.tried.len()).is_ok_and(|tried| tried >= calls);
        if self.hit + self.failed.len() >= self.wanted
            || exhausted
            || self.tried.len() >= ATTEMPTS * self.wanted
        {
            return None;
        }
        loop {
            let point = 1 + radical_inverse(self.spread, calls);
            if !self.tried.contains(&point) {
                return Some(point);
            }
            self.spread += 1;
        }
    }

    /// The update with the death at `point` ended so; `hit` says whether the victim died before that.
    pub fn done_at(&mut self, point: u64, hit: bool, outcome: &str) {
        self.tried.insert(point);
        if hit {
            self.hit += 1;
            *self.outcomes.entry(outcome.to_owned()).or_default() += 1;
        }
        self.measure(point, hit);
    }

    /// The report places the death that was counted last in this step.
    pub fn told(&mut self, step: String) {
        *self.steps.entry(step).or_default() += 1;
    }

    /// The steps in which deaths were.
    pub fn steps(&self) -> impl Iterator<Item = &str> {
        self.steps.keys().map(String::as_str)
    }

    /// Whether the victim died at as many points as were wanted, or at each call that it makes; and whether the report told of most of these deaths.
    pub fn is_enough(&self, reported: bool) -> bool {
        let at_each = self.calls.is_some_and(|calls| self.tried.len() as u64 >= calls);
        let told: usize = self.steps.values().sum();
        (self.hit >= self.wanted || at_each) && (!reported || told * 2 >= self.hit)
    }

    /// Something went wrong at `point`.
    pub fn fail(&mut self, point: u64) {
        self.tried.insert(point);
        self.failed.push(point);
        self.measure(point, true);
    }

    fn measure(&mut self, point: u64, hit: bool) {
        if self.calls.is_none() {
            self.doubled = point * 2;
            self.calls = Some(point).filter(|_| !hit || self.doubled > MAX_CALLS);
        }
    }

    /// One line.
    pub fn summary(&self) -> String {
        let outcomes: Vec<String> =
            self.outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        let late = self.tried.len() - self.hit - self.failed.len();
        let calls = self.calls.map_or_else(|| "?".to_owned(), |calls| calls.to_string());
        let failed =
            if self.failed.is_empty() { String::new() } else { format!(", FAILED at {:?}", self.failed) };
        let steps: Vec<String> = self.steps.iter().map(|(step, count)| format!("{step} {count}")).collect();
        let steps =
            if steps.is_empty() { String::new() } else { format!("; by the report at {}", steps.join(", ")) };
        format!(
            "killed at {} points of at most {calls} calls ({}), {late} points beyond the end{failed}{steps}",
            self.hit,
            outcomes.join(", ")
        )
    }
}

/// Number `index` of a sequence that is spread evenly over 0..`range` at every length (van der Corput, base 2).
fn radical_inverse(index: u64, range: u64) -> u64 {
    let scaled = (u128::from(index.reverse_bits()) * u128::from(range)) >> 64;
    u64::try_from(scaled).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep(wanted: usize, calls: u64) -> (Points, Vec<u64>) {
        let (mut points, mut all) = (Points::new(wanted), Vec::new());
        while let Some(point) = points.next() {
            all.push(point);
            points.done_at(point, point <= calls, "completed");
        }
        (points, all)
    }

    #[test]
    fn doubling_finds_the_number_of_calls_and_the_rest_is_spread_below_it() {
        let (points, all) = sweep(100, 1000);
        assert_eq!(all[..11], [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]);
        assert_eq!(points.hit, 100);
        assert!(points.is_enough(false));
        let distinct: BTreeSet<u64> = all.iter().copied().collect();
        assert_eq!(distinct.len(), all.len());
        for tenth in 0..10 {
            let inside = distinct.range(tenth * 100..(tenth + 1) * 100).count();
            assert!((6..20).contains(&inside), "{inside} points between {} and 100 more", tenth * 100);
        }
    }

    #[test]
    fn a_victim_with_few_calls_dies_at_each_of_them() {
        let (points, all) = sweep(100, 5);
        assert_eq!(points.hit, 5);
        assert!(points.is_enough(false) && !points.is_enough(true), "no report told of them");
        assert!((1..=8).all(|point| all.contains(&point)), "{all:?}");
    }

    #[test]
    fn a_failed_point_is_named_and_not_tried_again() {
        let mut points = Points::new(3);
        let first = points.next().expect("a point");
        points.fail(first);
        assert_ne!(points.next(), Some(first));
        assert!(!points.is_enough(false));
        assert!(points.summary().contains("FAILED at [1]"), "{}", points.summary());
    }
}
