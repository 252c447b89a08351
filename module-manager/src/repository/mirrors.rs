//! The places that have files of the repository, and what was found of the metadata of each.

use crate::cache::discard;
use crate::metadata::{Good, Metadata};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::fmt;
use hic_fetch::Source;
use hic_hicmod::verdict::Refusal;
use module_manager::mirrors::{self, Word};

/// A place and what it says.
pub type Mirror = mirrors::Mirror<Place, Metadata, Box<Refusal>>;

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

    /// Whether its word is asked for: the disk's always, a server's while it is among these.
    pub fn is_asked(&self, sources: &VecDeque<Source>) -> bool {
        match self {
            Self::Disk => true,
            Self::Network(source) => sources.contains(source),
        }
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

/// All places that were looked at.
#[derive(Default)]
pub struct Mirrors {
    known: mirrors::Mirrors<Place, Metadata, Box<Refusal>>,
}

impl Mirrors {
    fn leader(&self) -> Option<(&Place, &Metadata)> {
        self.known.leader(|metadata| Word {
            standing: metadata.standing(),
            timestamp: match metadata {
                Metadata::Good(good) => good.trusted.timestamp,
                _ => 0,
            },
        })
    }

    /// The metadata that counts.
    pub fn leading(&self) -> Option<&Metadata> {
        self.leader().map(|(_, metadata)| metadata)
    }

    /// The place whose metadata counts.
    pub fn leading_place(&self) -> Option<&Place> {
        self.leader().map(|(place, _)| place)
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
        self.known.at(place)
    }

    /// Why the first server that was refused, or could not be asked to the end, was not.
    pub fn remote_complaint(&self) -> Option<&Refusal> {
        self.complaints().find_map(|(place, refusal)| place.is_remote().then_some(refusal))
    }

    /// Places that were refused, or could not be asked to the end, and why.
    pub fn complaints(&self) -> impl Iterator<Item = (&Place, &Refusal)> {
        self.known.iter().filter_map(|mirror| {
            let refusal = match &mirror.metadata {
                Some(Metadata::Refused(refusal)) => Some(refusal),
                _ => mirror.failure.as_ref(),
            };
            Some((&mirror.place, &**refusal?))
        })
    }

    /// Puts down what was found at a place. Only while no service reads a list: that of before goes.
    pub fn set(&mut self, place: Place, metadata: Metadata) {
        self.known.set(place, metadata).into_iter().for_each(release);
    }

    /// A place could not be asked to the end. What was found before stays, unless that was refused.
    pub fn fail(&mut self, place: Place, refusal: Box<Refusal>) {
        let is_word = |metadata: &Metadata| !matches!(metadata, Metadata::Refused(_));
        self.known.fail(place, refusal, is_word).into_iter().for_each(release);
    }

    /// Forgets servers that are not asked any more. Only while no service reads a list.
    pub fn prune(&mut self, is_asked: impl Fn(&Place) -> bool) {
        self.known.prune(is_asked).into_iter().for_each(release);
    }
}

/// The list that it read goes.
pub(super) fn release(metadata: Metadata) {
    if let Metadata::Good(good) = metadata {
        discard(good.region);
    }
}
