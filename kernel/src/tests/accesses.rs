//! How often objects were looked at, so that a test can say that an operation costs the same whatever waits on it.

use std::cell::Cell;

std::thread_local!(static COUNT: Cell<u64> = const { Cell::new(0) });

pub fn count() {
    COUNT.with(|c| c.set(c.get() + 1));
}

/// Accesses on this thread while `work` runs.
pub fn during(work: impl FnOnce()) -> u64 {
    let before = COUNT.with(Cell::get);
    work();
    COUNT.with(Cell::get) - before
}
