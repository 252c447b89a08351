//! The lines of a report, numbered over restarts of the manager, so that whoever follows one misses none that is new.
//!
//! What it must never do: give a number to two lines. What an earlier start told is not kept, only how much it was.

use alloc::string::String;
use alloc::vec::Vec;

/// Lines of one start that are kept: a repository holds 256 files, and each may have changed. Those beyond are in the log alone.
const MAX_LINES: usize = 300;
/// Stands for all that an earlier start told.
const TOLD_BEFORE: &str = "(told before the module manager was started again; the log has it)";

/// A report.
#[derive(Debug, Default)]
pub struct Report {
    told_before: usize,
    lines: Vec<String>,
}

impl Report {
    /// A report of which an earlier start told so many lines.
    #[must_use]
    pub const fn after(told_before: usize) -> Self {
        Self { told_before, lines: Vec::new() }
    }

    /// Adds a line, if there is room for one more.
    pub fn add(&mut self, line: String) {
        if self.lines.len() < MAX_LINES {
            self.lines.push(line);
        }
    }

    /// Whether there is room for a line that is not the update's own, which must find room until the end: a rollback window may be a year.
    #[must_use]
    pub fn has_room_aside(&self) -> bool {
        self.lines.len() < MAX_LINES / 2
    }

    /// Lines told so far, by earlier starts, too.
    #[must_use]
    pub fn told(&self) -> usize {
        self.told_before.saturating_add(self.lines.len())
    }

    /// A line by its number; `None` beyond the last. Of those that an earlier start told, all are empty but the last, which says so.
    #[must_use]
    pub fn line(&self, number: usize) -> Option<&str> {
        match number.checked_sub(self.told_before) {
            Some(number) => self.lines.get(number).map(String::as_str),
            None if number + 1 == self.told_before => Some(TOLD_BEFORE),
            None => Some(""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn numbers_go_on_after_a_restart_and_the_new_lines_are_behind_the_old() {
        let mut report = Report::default();
        ["create", "migrate"].into_iter().for_each(|line| report.add(line.into()));
        assert_eq!((report.told(), report.line(1), report.line(2)), (2, Some("migrate"), None));
        let mut after = Report::after(report.told());
        assert_eq!((after.line(0), after.line(1), after.line(2)), (Some(""), Some(TOLD_BEFORE), None));
        after.add("commit".into());
        assert_eq!((after.told(), after.line(2), after.line(3)), (3, Some("commit"), None));
    }

    #[test]
    fn a_report_has_a_bound() {
        let mut report = Report::after(7);
        while report.has_room_aside() {
            report.add("another service died".into());
        }
        assert_eq!(report.told(), 7 + MAX_LINES / 2, "the other half is the update's own");
        (0..2 * MAX_LINES).for_each(|line| report.add(line.to_string()));
        assert_eq!(report.told(), 7 + MAX_LINES);
    }
}
