//! Several places that offer one repository, and whose word counts.
//!
//! All places are mirrors of the repository whose root the system trusts, so there is one list of modules: that of the newest good metadata, wherever
//! it was found. Files may come from any place; the list judges them. A place with older metadata is a mirror that stands still, or one that is made to.

use crate::admission::Standing;
use alloc::vec::Vec;

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

/// A place and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror<P, M, R> {
    /// The place.
    pub place: P,
    /// Its metadata, as it was found last; `None` while it said nothing.
    pub metadata: Option<M>,
    /// Why the last look at it came to no end. What was found before counts until it expires.
    pub failure: Option<R>,
}

/// All places that were looked at: `P` is a place, `M` its metadata, `R` why it could not be asked.
#[derive(Clone, Debug)]
pub struct Mirrors<P, M, R> {
    known: Vec<Mirror<P, M, R>>,
}

impl<P, M, R> Default for Mirrors<P, M, R> {
    fn default() -> Self {
        Self { known: Vec::new() }
    }
}

impl<P: PartialEq, M, R> Mirrors<P, M, R> {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Mirror<P, M, R>> {
        self.known.iter()
    }

    /// What was found at a place.
    pub fn at(&self, place: &P) -> Option<&Mirror<P, M, R>> {
        self.known.iter().find(|mirror| mirror.place == *place)
    }

    /// The place whose metadata counts, and that. One that said nothing is none.
    pub fn leader(&self, word: impl Fn(&M) -> Word) -> Option<(&P, &M)> {
        let said = || self.known.iter().filter_map(|mirror| Some((&mirror.place, mirror.metadata.as_ref()?)));
        said().nth(leading(said().map(|(_, metadata)| word(metadata)))?)
    }

    /// Puts down what was found at a place. What was found before is handed back: nobody needs it any more.
    pub fn set(&mut self, place: P, metadata: M) -> Option<M> {
        let mirror = self.entry(place);
        mirror.failure = None;
        mirror.metadata.replace(metadata)
    }

    /// A place could not be asked to the end, which says nothing of what it has: what was found before stays, unless that was refused (`is_word` says no),
    /// and is handed back then.
    pub fn fail(&mut self, place: P, failure: R, is_word: impl Fn(&M) -> bool) -> Option<M> {
        let mirror = self.entry(place);
        mirror.failure = Some(failure);
        mirror.metadata.take_if(|metadata| !is_word(metadata))
    }

    /// Forgets places that are not asked any more, and hands back what was found there.
    #[must_use]
    pub fn prune(&mut self, is_asked: impl Fn(&P) -> bool) -> Vec<M> {
        let gone = self.known.extract_if(.., |mirror| !is_asked(&mirror.place));
        gone.filter_map(|mirror| mirror.metadata).collect()
    }

    fn entry(&mut self, place: P) -> &mut Mirror<P, M, R> {
        let at = self.known.iter().position(|known| known.place == place).unwrap_or(self.known.len());
        if at == self.known.len() {
            self.known.push(Mirror { place, metadata: None, failure: None });
        }
        &mut self.known[at]
    }
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

    type Places = Mirrors<&'static str, Standing, &'static str>;

    fn leader(places: &Places) -> Option<(&'static str, Standing)> {
        places.leader(|standing| word(*standing, 1)).map(|(place, standing)| (*place, *standing))
    }

    fn fail(places: &mut Places, place: &'static str) {
        places.fail(place, "http-connect", |standing| *standing != Standing::Refused);
    }

    #[test]
    fn a_server_that_cannot_be_reached_says_nothing() {
        let mut places = Places::default();
        fail(&mut places, "server");
        assert_eq!(leader(&places), None);
        places.set("disk", NONE);
        assert_eq!(leader(&places), Some(("disk", NONE)), "a disk without metadata stays what it is");
        assert_eq!(places.at(&"server").unwrap().failure, Some("http-connect"));
        places.set("server", GOOD);
        assert_eq!(places.at(&"server").unwrap().failure, None);
        fail(&mut places, "server");
        assert_eq!(leader(&places), Some(("server", GOOD)), "what it showed before counts");
    }

    #[test]
    fn what_a_server_showed_and_was_refused_does_not_outlast_its_silence() {
        let mut places = Places::default();
        places.set("disk", NONE);
        places.set("server", Standing::Refused);
        assert_eq!(leader(&places), Some(("server", Standing::Refused)));
        fail(&mut places, "server");
        assert_eq!(leader(&places), Some(("disk", NONE)));
    }

    #[test]
    fn what_is_not_needed_any_more_is_handed_back() {
        let mut places = Places::default();
        assert_eq!(places.set("server", GOOD), None);
        assert_eq!(places.set("server", NONE), Some(GOOD));
        places.set("removed", GOOD);
        fail(&mut places, "silent");
        assert_eq!(places.prune(|place| *place == "server"), [GOOD]);
        assert_eq!(places.iter().map(|mirror| mirror.place).collect::<Vec<_>>(), ["server"]);
    }

    #[test]
    fn metadata_that_was_seen_and_is_nowhere_any_more_was_taken_away() {
        assert_eq!(standing(Some(NONE), false), NONE);
        assert_eq!(standing(Some(NONE), true), Standing::Refused);
        assert_eq!(standing(Some(GOOD), true), GOOD);
        assert_eq!(standing(None, false), Standing::Absent { unlisted: false });
    }
}
