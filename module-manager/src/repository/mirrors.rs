//! The places that have files of the repository, and what was found of the metadata of each.

use crate::cache::discard;
use crate::metadata::{Good, Metadata};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use hic_fetch::Source;
use hic_hicmod::verdict::Refusal;
use module_manager::mirrors::{Word, leading};

/// A place that has files by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The repository disk.
    Disk,
    /// A server.
    Network(Box<Source>),
}

impl Place {
    /// Whether it is a server.
    pub const fn is_remote(&self) -> bool {
        matches!(self, Self::Network(_))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk => f.write_str("disk"),
            Self::Network(source) => source.fmt(f),
        }
    }
}

/// A place and what it says.
pub struct Mirror {
    /// The place.
    pub place: Place,
    /// Its metadata, as it was found last.
    pub metadata: Metadata,
    /// Why the last look at it came to no end. What was found before counts until it expires.
    pub failure: Option<Box<Refusal>>,
}

/// All places that were looked at.
#[derive(Default)]
pub struct Mirrors {
    known: Vec<Mirror>,
}

impl Mirrors {
    fn leader(&self) -> Option<&Mirror> {
        let word = |mirror: &Mirror| Word {
            standing: mirror.metadata.standing(),
            timestamp: match &mirror.metadata {
                Metadata::Good(good) => good.trusted.timestamp,
                _ => 0,
            },
        };
        self.known.get(leading(self.known.iter().map(word))?)
    }

    /// The metadata that counts.
    pub fn leading(&self) -> Option<&Metadata> {
        self.leader().map(|mirror| &mirror.metadata)
    }

    /// The place whose metadata counts.
    pub fn leading_place(&self) -> Option<&Place> {
        self.leader().map(|mirror| &mirror.place)
    }

    /// The list that counts, if there is one.
    pub fn list(&self) -> Option<&Good> {
        match self.leading()? {
            Metadata::Good(good) => Some(good),
            _ => None,
        }
    }

    /// What was found at a place.
    pub fn at(&self, place: &Place) -> Option<&Mirror> {
        self.known.iter().find(|mirror| mirror.place == *place)
    }

    /// Why the first server that was refused, was.
    pub fn refused_remote(&self) -> Option<&Refusal> {
        self.known.iter().filter(|mirror| mirror.place.is_remote()).find_map(|mirror| {
            let refused = match &mirror.metadata {
                Metadata::Refused(refusal) => Some(&**refusal),
                _ => None,
            };
            refused.or(mirror.failure.as_deref())
        })
    }

    /// Places that were refused, or could not be asked to the end, and why.
    pub fn complaints(&self) -> impl Iterator<Item = (&Place, &Refusal)> {
        self.known.iter().filter_map(|mirror| {
            let refusal = match &mirror.metadata {
                Metadata::Refused(refusal) => Some(refusal),
                _ => mirror.failure.as_ref(),
            };
            Some((&mirror.place, &**refusal?))
        })
    }

    /// Puts down what was found at a place. Only while no service reads a list: that of before goes.
    pub fn set(&mut self, place: Place, metadata: Metadata) {
        let mirror = Mirror { place, metadata, failure: None };
        match self.known.iter().position(|known| known.place == mirror.place) {
            Some(at) => release(core::mem::replace(&mut self.known[at], mirror)),
            None => self.known.push(mirror),
        }
    }

    /// A place could not be asked to the end; what was found before stays.
    pub fn fail(&mut self, place: Place, refusal: Box<Refusal>) {
        match self.known.iter_mut().find(|known| known.place == place) {
            Some(mirror) if matches!(mirror.metadata, Metadata::Good(_)) => mirror.failure = Some(refusal),
            _ => self.set(place, Metadata::Refused(refusal)),
        }
    }

    /// Forgets servers that are not asked any more. Only while no service reads a list.
    pub fn prune(&mut self, sources: &[Source]) {
        let is_asked = |mirror: &Mirror| match &mirror.place {
            Place::Disk => true,
            Place::Network(source) => sources.contains(source),
        };
        let (kept, gone) = core::mem::take(&mut self.known).into_iter().partition(is_asked);
        self.known = kept;
        let gone: Vec<Mirror> = gone;
        gone.into_iter().for_each(release);
    }
}

fn release(mirror: Mirror) {
    if let Metadata::Good(good) = mirror.metadata {
        discard(good.region);
    }
}
