//! Time as the connection sees it: microseconds of one monotonic clock that all instances of the stack share.
//!
//! It must never read a clock: the caller says what time it is.

/// Microseconds since the clock's start; as a duration, a number of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Micros(pub u64);

impl Micros {
    /// `count` milliseconds.
    #[must_use]
    pub const fn from_millis(count: u64) -> Self {
        Self(count.saturating_mul(1000))
    }

    /// `count` seconds.
    #[must_use]
    pub const fn from_secs(count: u64) -> Self {
        Self(count.saturating_mul(1_000_000))
    }

    /// Whole milliseconds.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0 / 1000
    }

    /// The instant `later` from this one.
    #[must_use]
    pub const fn after(self, later: Self) -> Self {
        Self(self.0.saturating_add(later.0))
    }

    /// How long ago `earlier` was; zero when it lies in the future (a clock that stepped back harms nobody).
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}
