//! Which part of the processor is promised to whom, and whether there is room for more (P1.11). In thousandths; a promise is kept by the kernel's scheduler.
//!
//! An update runs two instances of a service. One has the service's own share: the old one, until the new one is the default. To the other
//! [`WARM_UP`] is promised. So an update needs that beside the larger one of the two versions' guarantees, from before anything is made until one of
//! the two is gone.

use core::fmt;
use hic_control::manager::{PROCESSOR_LIMIT, Percent};

/// What is promised to the instance that is not the default: processor time in each period, nanoseconds. While it warms up it gets no more.
pub const WARM_UP_BUDGET: u64 = 2_000_000;
/// Its period, nanoseconds: short enough that nobody waits long for the other one's turn.
pub const WARM_UP_PERIOD: u64 = 10_000_000;
/// What that is of the processor.
pub const WARM_UP: u64 = WARM_UP_BUDGET * 1000 / WARM_UP_PERIOD;

/// Somebody to whom a part is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder<'a> {
    /// A service.
    pub name: &'a str,
    /// Its part.
    pub guarantee: u64,
}

/// What is not promised to anybody.
pub fn free<'a>(holders: impl IntoIterator<Item = Holder<'a>>) -> u64 {
    let held = holders.into_iter().fold(0, |sum: u64, holder| sum.saturating_add(holder.guarantee));
    PROCESSOR_LIMIT.saturating_sub(held)
}

/// What an update promises beyond what is promised to the service already, from the guarantees of the version that serves and of the one that is to.
#[must_use]
pub const fn update_needs(from: u64, to: u64) -> u64 {
    WARM_UP.saturating_add(to.saturating_sub(from))
}

/// The same seen from the two instances, while both may exist: what is held for the service, and what for the instance beside it.
#[must_use]
pub fn update_holds(from: u64, to: u64) -> [u64; 2] {
    [from.max(to), WARM_UP]
}

/// More is wanted than there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// Not promised to anybody.
    pub free: u64,
    /// Wanted.
    pub wanted: u64,
}

/// Whether `wanted` can be promised.
///
/// # Errors
/// [`Short`].
pub const fn room(free: u64, wanted: u64) -> Result<(), Short> {
    if wanted <= free { Ok(()) } else { Err(Short { free, wanted }) }
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { free, wanted } = *self;
        write!(
            f,
            "{} of the processor are short: {} of the {} that can be guaranteed are free, {} are wanted",
            Percent(wanted.saturating_sub(free)),
            Percent(free),
            Percent(PROCESSOR_LIMIT),
            Percent(wanted)
        )
    }
}

/// Who holds how much, as a part of a sentence; whoever holds nothing is left out.
#[derive(Clone, Copy, Debug)]
pub struct Holders<'a>(pub &'a [Holder<'a>]);

impl fmt::Display for Holders<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "held by ";
        for Holder { name, guarantee } in self.0.iter().filter(|holder| holder.guarantee != 0) {
            write!(f, "{between}{name} {}", Percent(*guarantee))?;
            between = ", ";
        }
        if between != ", " { f.write_str("nobody holds any") } else { Ok(()) }
    }
}
