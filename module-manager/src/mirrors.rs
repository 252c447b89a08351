//! Several places that offer one repository, and whose word counts.
//!
//! All places are mirrors of the repository whose root the system trusts, so there is one list of modules: that of the newest good metadata, wherever
//! it was found. Files may come from any place; the list judges them. A place with older metadata is a mirror that stands still, or one that is made to.

use crate::admission::Standing;

/// What one place says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// What was found of its metadata.
    pub standing: Standing,
    /// Version of its timestamp, if it is good.
    pub timestamp: u32,
}

impl Word {
    const fn rank(self) -> (u8, u32) {
        match self.standing {
            Standing::Good { .. } => (3, self.timestamp),
            Standing::Refused => (2, 0),
            Standing::Absent { .. } => (1, 0),
            Standing::Unused => (0, 0),
        }
    }
}

/// The place whose metadata counts: the newest that is good; where none is, the first that was refused; else the first without any. `None` if no
/// place was looked at.
#[must_use]
pub fn leading(words: impl IntoIterator<Item = Word>) -> Option<usize> {
    let mut best: Option<(usize, Word)> = None;
    for (at, word) in words.into_iter().enumerate() {
        if best.is_none_or(|(_, leader)| word.rank() > leader.rank()) {
            best = Some((at, word));
        }
    }
    best.map(|(at, _)| at)
}

/// What is known, from what the leading place says. Where nothing is said now and metadata `was_seen` before, somebody took it away.
#[must_use]
pub const fn standing(leading: Option<Standing>, was_seen: bool) -> Standing {
    match leading {
        // No place could be asked: only what is installed is used.
        None => Standing::Absent { unlisted: false },
        Some(Standing::Absent { .. }) if was_seen => Standing::Refused,
        Some(standing) => standing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn word(standing: Standing, timestamp: u32) -> Word {
        Word { standing, timestamp }
    }

    const GOOD: Standing = Standing::Good { unlisted: false };
    const NONE: Standing = Standing::Absent { unlisted: true };

    #[test]
    fn the_newest_good_metadata_counts_wherever_it_lies() {
        assert_eq!(leading([]), None);
        assert_eq!(leading([word(NONE, 0), word(Standing::Refused, 0)]), Some(1));
        assert_eq!(leading([word(Standing::Refused, 0), word(GOOD, 3)]), Some(1));
        assert_eq!(leading([word(GOOD, 7), word(GOOD, 3), word(Standing::Refused, 0)]), Some(0));
        assert_eq!(leading([word(GOOD, 3), word(GOOD, 7)]), Some(1));
        // Of two that say the same the first one stays.
        assert_eq!(leading([word(GOOD, 3), word(GOOD, 3)]), Some(0));
    }

    #[test]
    fn metadata_that_was_seen_and_is_nowhere_any_more_was_taken_away() {
        assert_eq!(standing(Some(NONE), false), NONE);
        assert_eq!(standing(Some(NONE), true), Standing::Refused);
        assert_eq!(standing(Some(GOOD), true), GOOD);
        assert_eq!(standing(None, false), Standing::Absent { unlisted: false });
    }
}
