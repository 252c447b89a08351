//! Says that something takes its time, on a terminal only: a log has no use for it.

use std::time::Duration;

use indicatif::ProgressBar;

/// A line that moves while it lives, on the terminal that stderr is, if it is one.
pub struct Busy(ProgressBar);

impl Busy {
    /// Says `what` is being done.
    pub fn new(what: &str) -> Self {
        // Hidden by indicatif itself where stderr is no terminal.
        let bar = ProgressBar::new_spinner();
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
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
