//! Says that something takes its time, on a terminal only: a log has no use for it.

use std::cell::RefCell;
use std::fmt::Display;
use std::time::Duration;

use hicmod_tool::repo::{Progress, Work};
use indicatif::{ProgressBar, ProgressStyle};

/// Time between two looks of a line that moves.
const TICK: Duration = Duration::from_millis(100);

/// A line that moves while it lives, on the terminal that stderr is, if it is one.
pub struct Busy(ProgressBar);

impl Busy {
    /// Says `what` is being done.
    pub fn new(what: &str) -> Self {
        // Hidden by indicatif itself where stderr is no terminal.
        let bar = ProgressBar::new_spinner();
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// Runs `work` while it waits without this line, for what asks at the terminal.
    pub fn suspend<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.suspend(work)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// The same for work of several parts: which of them it is at, and how far it is.
#[derive(Default)]
pub struct Bar(RefCell<Option<ProgressBar>>);

impl Bar {
    /// Part `part` of `of` begins, of which `what` is being done.
    pub fn show(&self, what: impl Display, part: usize, of: usize) {
        let count = |parts: usize| u64::try_from(parts).unwrap_or(u64::MAX);
        let (done, of, message) =
            (count(part.saturating_sub(1)), count(of), format!("{what} {part} of {of}"));
        let mut bar = self.0.borrow_mut();
        match &*bar {
            Some(bar) => {
                bar.set_length(of);
                bar.set_position(done);
                bar.set_message(message);
            }
            None => {
                // Complete before it is drawn for the first time.
                let new = ProgressBar::new(of).with_style(style()).with_position(done).with_message(message);
                new.enable_steady_tick(TICK);
                *bar = Some(new);
            }
        }
    }

    /// Takes the line away.
    pub fn clear(&self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Bar {
    fn begins(&self, work: Work, part: usize, of: usize) {
        self.show(work, part, of);
    }

    fn ends(&self) {
        self.clear();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

fn style() -> ProgressStyle {
    // A template that cannot be read is a line without a bar.
    ProgressStyle::with_template("{spinner} [{bar:20}] {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}
