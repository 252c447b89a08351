//! What passed and what failed, counted once each.

use std::collections::{BTreeMap, BTreeSet};

/// The outcome of a run so far.
#[derive(Debug, Default)]
pub struct Summary {
    passed: BTreeSet<String>,
    /// With the reason, where it is one line among many that were printed.
    failed: BTreeMap<String, Option<String>>,
    skipped: usize,
}

impl Summary {
    /// The test `name` passed.
    pub fn passed(&mut self, name: &str) {
        self.passed.insert(name.to_owned());
    }

    /// The test `name` failed; why was printed.
    pub fn failed(&mut self, name: &str) {
        self.failed.insert(name.to_owned(), None);
    }

    /// The test `name` failed, for a reason that is said again at the end.
    pub fn failed_because(&mut self, name: &str, why: String) {
        self.failed.insert(name.to_owned(), Some(why));
    }

    /// A test was not run, for a reason that was printed.
    pub fn skipped(&mut self) {
        self.skipped += 1;
    }

    /// The names of all that passed.
    #[must_use]
    pub fn passed_tests(&self) -> &BTreeSet<String> {
        &self.passed
    }

    /// The names of all that failed, each with the reason if it is to be said again.
    pub fn failures(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.failed.iter().map(|(name, why)| (name.as_str(), why.as_deref()))
    }

    /// Whether no test has been met.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.passed.is_empty() && self.failed.is_empty() && self.skipped == 0
    }

    /// Whether something passed and nothing failed.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.failed.is_empty() && !self.passed.is_empty()
    }

    /// The last line of the run.
    #[must_use]
    pub fn last_line(&self) -> String {
        let skipped = if self.skipped == 0 { String::new() } else { format!(", {} skipped", self.skipped) };
        format!("{} passed, {} failed{skipped}", self.passed.len(), self.failed.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_has_the_form_that_scripts_expect() {
        let mut summary = Summary::default();
        assert!(summary.is_empty() && !summary.is_good(), "nothing ran");
        summary.passed("a");
        summary.passed("b");
        assert_eq!(summary.last_line(), "2 passed, 0 failed");
        assert!(summary.is_good() && !summary.is_empty());
        summary.failed("c");
        summary.failed_because("d", "it broke".into());
        summary.skipped();
        assert_eq!(summary.failures().collect::<Vec<_>>(), [("c", None), ("d", Some("it broke"))]);
        assert_eq!(summary.last_line(), "2 passed, 2 failed, 1 skipped");
        assert!(!summary.is_good());
    }
}
