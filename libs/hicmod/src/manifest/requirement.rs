//! Which versions of another module will do: the requirement of a dependency.
//!
//! Written as Cargo writes it (`">=1.2.0"`, `"^1.2"`, `"=2.0.0"`, `">=1.1, <1.4"`) and read by the crate `semver`, on the host
//! only. Installed versions have no pre-release part, so every such requirement is one run of versions without a gap; that run
//! is what a module holds and what the guest compares with. The guest parses no text and needs no heap for it.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Version;

/// Longest written requirement that is read, bytes: a few comparators. The bound of the host's parser.
#[cfg(feature = "text")]
pub const MAX_REQUIREMENT_BYTES: usize = 96;

/// A run of versions: from one on, and below another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Requirement {
    from: Version,
    below: Option<Version>,
}

impl Requirement {
    /// Every version.
    pub const ANY: Self = Self { from: Version::new(0, 0, 0), below: None };

    /// The versions from `from` on and below `below`; `None` if there are none.
    #[must_use]
    pub fn new(from: Version, below: Option<Version>) -> Option<Self> {
        match below {
            Some(below) if below <= from => None,
            _ => Some(Self { from, below }),
        }
    }

    /// `version` and nothing else.
    #[must_use]
    pub fn exactly(version: Version) -> Self {
        Self { from: version, below: version.next() }
    }

    /// The lowest version that will do.
    #[must_use]
    pub const fn from(&self) -> Version {
        self.from
    }

    /// The lowest version above, if there is an end.
    #[must_use]
    pub const fn below(&self) -> Option<Version> {
        self.below
    }

    /// Whether `version` will do.
    #[must_use]
    pub fn matches(&self, version: Version) -> bool {
        self.from <= version && self.below.is_none_or(|below| version < below)
    }
}

impl Version {
    /// The version right after this one in the order of versions; `None` after the last.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        let Self { major, minor, patch } = self;
        let of = |major, minor, patch| Some(Self::new(major, minor, patch));
        match (patch.checked_add(1), minor.checked_add(1), major.checked_add(1)) {
            (Some(patch), _, _) => of(major, minor, patch),
            (None, Some(minor), _) => of(major, minor, 0),
            (None, None, Some(major)) => of(major, 0, 0),
            (None, None, None) => None,
        }
    }
}

impl fmt::Display for Requirement {
    /// In a form that means the same when it is read again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.below) {
            (from, None) if from == Version::new(0, 0, 0) => f.write_str("*"),
            (from, None) => write!(f, ">={from}"),
            (from, below) if below == from.next() => write!(f, "={from}"),
            (from, Some(below)) if from == Version::new(0, 0, 0) => write!(f, "<{below}"),
            (from, Some(below)) => write!(f, ">={from}, <{below}"),
        }
    }
}

impl Serialize for Requirement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            (self.from, self.below).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Requirement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return text::deserialize(deserializer);
        }
        let (from, below) = Deserialize::deserialize(deserializer)?;
        Self::new(from, below)
            .ok_or_else(|| serde::de::Error::custom("a requirement that no version satisfies"))
    }
}

#[cfg(not(feature = "text"))]
mod text {
    use super::*;

    /// Text is for the host: nothing in the guest reads a written requirement.
    pub fn deserialize<'de, D: Deserializer<'de>>(_: D) -> Result<Requirement, D::Error> {
        Err(serde::de::Error::custom("written requirements are read on the host only"))
    }
}

#[cfg(feature = "text")]
mod text {
    use core::str::FromStr;

    use semver::{Comparator, Op, VersionReq};
    use serde::de::Visitor;

    use super::*;
    use crate::manifest::InvalidText;

    const FORM: InvalidText = InvalidText {
        expected: "a requirement such as \">=1.2.0\", \"^1.2\", \"=2.0.0\" or \">=1.1, <1.4\" that some release satisfies, without \
                   pre-release parts",
    };

    impl FromStr for Requirement {
        type Err = InvalidText;

        fn from_str(text: &str) -> Result<Self, InvalidText> {
            if text.len() > MAX_REQUIREMENT_BYTES {
                return Err(FORM);
            }
            let written: VersionReq = text.parse().map_err(|_| FORM)?;
            written.comparators.iter().try_fold(Requirement::ANY, |so_far, comparator| {
                let (from, below) = run(comparator).ok_or(FORM)?;
                let below = match (so_far.below, below) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                };
                Requirement::new(so_far.from.max(from), below).ok_or(FORM)
            })
        }
    }

    /// The versions that a comparator allows (documentation of `semver::Op`); `None` if there is none, or it names a pre-release.
    fn run(comparator: &Comparator) -> Option<(Version, Option<Version>)> {
        let number = |part: Option<u64>| part.map_or(Some(0), |part| u32::try_from(part).ok());
        if !comparator.pre.is_empty() {
            return None;
        }
        let lowest = Version::new(
            number(Some(comparator.major))?,
            number(comparator.minor)?,
            number(comparator.patch)?,
        );
        // What follows all versions that begin as the comparator is written.
        let after = match (comparator.minor, comparator.patch) {
            (_, Some(_)) => lowest.next(),
            (Some(_), None) => Version { patch: u32::MAX, ..lowest }.next(),
            (None, _) => Version { patch: u32::MAX, minor: u32::MAX, ..lowest }.next(),
        };
        let zero = Version::new(0, 0, 0);
        Some(match comparator.op {
            Op::Exact | Op::Wildcard => (lowest, after),
            Op::Greater => (after?, None),
            Op::GreaterEq => (lowest, None),
            Op::Less if lowest == zero => return None,
            Op::Less => (zero, Some(lowest)),
            Op::LessEq => (zero, after),
            Op::Tilde => (lowest, tilde(lowest, comparator.minor.is_some())),
            Op::Caret => (lowest, caret(lowest, comparator.minor.is_some(), comparator.patch.is_some())),
            _ => return None,
        })
    }

    fn tilde(lowest: Version, minor: bool) -> Option<Version> {
        let minor_end = if minor { lowest.minor } else { u32::MAX };
        Version { minor: minor_end, patch: u32::MAX, ..lowest }.next()
    }

    /// Up to the next change of the first number that is not zero.
    fn caret(lowest: Version, minor: bool, patch: bool) -> Option<Version> {
        let last = match (lowest.major, lowest.minor) {
            (0, 0) if minor && patch => lowest,
            (0, 0) if minor => Version { patch: u32::MAX, ..lowest },
            (0, _) if minor => Version { patch: u32::MAX, ..lowest },
            _ => Version { minor: u32::MAX, patch: u32::MAX, ..lowest },
        };
        last.next()
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Requirement, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Requirement;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", FORM.expected)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Requirement, E> {
                text.parse().map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::{String, ToString};

    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Requirement {
        text.parse().unwrap()
    }

    #[test]
    fn requirements_are_shown_as_they_could_have_been_written() {
        for (written, shown) in [
            (">=1.2.0", ">=1.2.0"),
            ("=2.0.0", "=2.0.0"),
            ("^1.2", ">=1.2.0, <2.0.0"),
            ("1.2.3", ">=1.2.3, <2.0.0"),
            ("~1.2", ">=1.2.0, <1.3.0"),
            ("*", "*"),
            ("<=0.4", "<0.5.0"),
            (">1.2, <1.4", ">=1.3.0, <1.4.0"),
        ] {
            assert_eq!(read(written).to_string(), shown, "{written}");
            assert_eq!(read(shown), read(written), "{shown}");
        }
    }

    #[test]
    fn what_no_release_can_satisfy_is_refused() {
        for text in
            ["", "one", ">=2, <1", "<0.0.0", "=1.0.0-rc1", ">=1.2.0-0", ">4294967295", "=4294967296.0.0"]
        {
            assert!(text.parse::<Requirement>().is_err(), "{text}");
        }
        assert!(format!(">={}1.0.0", " ".repeat(MAX_REQUIREMENT_BYTES)).parse::<Requirement>().is_err());
        let (high, low) = (Version::new(2, 0, 0), Version::new(1, 0, 0));
        let bytes = postcard::to_allocvec(&(high, Some(low))).unwrap();
        assert!(postcard::from_bytes::<Requirement>(&bytes).is_err(), "nor is it read from a module");
    }

    #[test]
    fn the_last_version_has_none_after_it() {
        let last = Version::new(u32::MAX, u32::MAX, u32::MAX);
        assert_eq!(last.next(), None);
        assert!(Requirement::exactly(last).matches(last));
        assert_eq!(Version::new(1, u32::MAX, u32::MAX).next(), Some(Version::new(2, 0, 0)));
    }

    fn comparator() -> impl Strategy<Value = String> {
        let op = prop::sample::select(&["", "=", ">", ">=", "<", "<=", "~", "^"][..]);
        let minor = prop::option::of((0u8..4, prop::option::of(0u8..4)));
        (op, 0u8..4, minor).prop_map(|(op, major, minor)| match minor {
            None => format!("{op}{major}"),
            Some((minor, None)) => format!("{op}{major}.{minor}"),
            Some((minor, Some(patch))) => format!("{op}{major}.{minor}.{patch}"),
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn a_requirement_means_what_semver_says(
            parts in prop::collection::vec(comparator(), 1..4), version in [0u8..6, 0u8..6, 0u8..6],
        ) {
            let text = parts.join(", ");
            let [major, minor, patch] = version.map(u32::from);
            let written: semver::VersionReq = text.parse().unwrap();
            let matches = written.matches(&semver::Version::new(major.into(), minor.into(), patch.into()));
            match text.parse::<Requirement>() {
                Ok(requirement) => prop_assert_eq!(requirement.matches(Version::new(major, minor, patch)), matches, "{}", text),
                Err(_) => prop_assert!(!matches, "{text} was refused"),
            }
        }
    }
}
