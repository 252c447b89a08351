//! The lines entered before.

use alloc::collections::VecDeque;
use alloc::string::String;

/// Lines kept.
pub const LINES: usize = 32;

/// The history and where in it the operator is.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Newest last.
    lines: VecDeque<String>,
    /// How many lines back; 0 = at the line being written.
    back: usize,
    /// The line being written when the operator went back.
    draft: String,
}

impl History {
    /// Keeps a line that was entered; not twice in a row, and not an empty one.
    pub fn add(&mut self, line: &str) {
        self.back = 0;
        if line.trim().is_empty() || self.lines.back().is_some_and(|last| last == line) {
            return;
        }
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line.into());
    }

    /// The line before; `None` at the oldest one.
    pub fn older(&mut self, current: &str) -> Option<String> {
        let index = self.lines.len().checked_sub(self.back + 1)?;
        if self.back == 0 {
            self.draft = current.into();
        }
        self.back += 1;
        self.lines.get(index).cloned()
    }

    /// The line after; after the newest one, the line that was being written. `None` there.
    pub fn newer(&mut self) -> Option<String> {
        self.back = self.back.checked_sub(1)?;
        if self.back == 0 {
            return Some(core::mem::take(&mut self.draft));
        }
        self.lines.get(self.lines.len() - self.back).cloned()
    }

    /// Back to the line being written.
    pub fn leave(&mut self) {
        self.back = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn the_draft_comes_back_after_the_newest_line() {
        let mut history = History::default();
        for line in ["a", "b", "b", " "] {
            history.add(line);
        }
        assert_eq!(history.older("dra").as_deref(), Some("b"));
        assert_eq!(history.older("b").as_deref(), Some("a"));
        assert_eq!(history.older("a"), None);
        assert_eq!(history.newer().as_deref(), Some("b"));
        assert_eq!(history.newer().as_deref(), Some("dra"));
        assert_eq!(history.newer(), None);
    }

    #[test]
    fn the_oldest_lines_go_first() {
        let mut history = History::default();
        for n in 0..LINES + 2 {
            history.add(&format!("{n}"));
        }
        let mut oldest = None;
        while let Some(line) = history.older("") {
            oldest = Some(line);
        }
        assert_eq!(oldest.as_deref(), Some("2"));
    }
}
