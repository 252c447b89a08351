//! How work that takes a while goes on, for whoever wants to show it: this library prints nothing.

use std::fmt;

/// Work that takes a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A key is made.
    MakeKeys,
    /// A module is read, to be published.
    ReadModules,
    /// A module is measured and hashed for the list.
    ListModules,
    /// A module is read and compared with the list.
    CheckModules,
}

impl fmt::Display for Work {
    /// What is done to one part of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MakeKeys => "making key",
            Self::ReadModules => "reading module",
            Self::ListModules => "listing module",
            Self::CheckModules => "checking module",
        })
    }
}

/// Who is told. Neither may ask or fail: nothing depends on whether it is shown.
pub trait Progress {
    /// Part `part` of `of` begins; the first is 1.
    fn begins(&self, work: Work, part: usize, of: usize);

    /// It is done, or given up.
    fn ends(&self);
}

/// For those who want to hear nothing.
pub(super) struct Silent;

impl Progress for Silent {
    fn begins(&self, _: Work, _: usize, _: usize) {}

    fn ends(&self) {}
}

/// Work under way: whoever is told of its parts is told of its end, too, also when it fails.
pub(super) struct Parts<'p> {
    progress: &'p dyn Progress,
    work: Work,
    begun: usize,
    of: usize,
}

impl<'p> Parts<'p> {
    /// Work of so many parts, of which none has begun.
    pub(super) fn new(progress: &'p dyn Progress, work: Work, of: usize) -> Self {
        Self { progress, work, begun: 0, of }
    }

    /// The next part begins.
    pub(super) fn next(&mut self) {
        self.begun = self.begun.saturating_add(1);
        self.progress.begins(self.work, self.begun, self.of);
    }
}

impl Drop for Parts<'_> {
    fn drop(&mut self) {
        self.progress.ends();
    }
}
