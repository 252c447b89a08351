//! Whether a module of the repository is used, when its own signature is good: what the metadata says of it, and what was trusted before.

use core::fmt;

/// What is known of the repository's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The system trusts no repository root.
    Unused,
    /// The disk has none and never had.
    Absent {
        /// Whether the root allows modules that are not listed.
        unlisted: bool,
    },
    /// It was refused.
    Refused,
    /// It is good.
    Good {
        /// Whether the root allows modules that are not listed.
        unlisted: bool,
    },
}

/// Why a module is not used although its signature is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objection {
    /// The metadata was refused, so nobody says what is offered.
    Metadata,
    /// The metadata does not name it, or there is none.
    Unlisted,
    /// The metadata was good and has expired since.
    Expired,
    /// A release of a later epoch was trusted before.
    Epoch {
        /// Of the module.
        epoch: u32,
        /// The lowest that is still used.
        lowest: u32,
    },
}

impl Objection {
    /// Stable code, as consoles and the audit log show it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Unlisted => "unlisted",
            Self::Expired => "metadata-expired",
            Self::Epoch { .. } => "epoch",
        }
    }
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Metadata => f.write_str("the repository's metadata was refused"),
            Self::Unlisted => f.write_str(
                "the repository's metadata does not name it; `hicmod-tool repo add` and `repo publish` make it known",
            ),
            Self::Expired => f.write_str("the repository's metadata has expired; publish it again and `modules refresh`"),
            Self::Epoch { epoch, lowest } => write!(
                f,
                "a release of epoch {lowest} was trusted, and this one is of epoch {epoch}: it is not used any more, unless the policy of this \
                 system names its version in `downgrade`"
            ),
        }
    }
}

/// Whether a module is used whose file is `listed` or not, and which was `chosen` before: what is installed keeps starting, however old the
/// metadata has become.
///
/// # Errors
/// [`Objection`].
pub const fn admit(standing: Standing, listed: bool, chosen: bool) -> Result<(), Objection> {
    match standing {
        Standing::Unused => Ok(()),
        _ if listed || chosen => Ok(()),
        Standing::Absent { unlisted: true } | Standing::Good { unlisted: true } => Ok(()),
        Standing::Absent { unlisted: false } | Standing::Good { unlisted: false } => Err(Objection::Unlisted),
        Standing::Refused => Err(Objection::Metadata),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_metadata_names_is_used_unless_the_root_allows_more() {
        for allowed in [false, true] {
            for standing in [Standing::Good { unlisted: allowed }, Standing::Absent { unlisted: allowed }] {
                assert_eq!(admit(standing, true, false), Ok(()));
                let expected = if allowed { Ok(()) } else { Err(Objection::Unlisted) };
                assert_eq!(admit(standing, false, false), expected, "{standing:?}");
            }
        }
        assert_eq!(admit(Standing::Unused, false, false), Ok(()));
    }

    #[test]
    fn refused_metadata_admits_nothing_new_and_keeps_what_was_installed() {
        assert_eq!(admit(Standing::Refused, false, false), Err(Objection::Metadata));
        assert_eq!(admit(Standing::Refused, false, true), Ok(()));
        assert_eq!(admit(Standing::Good { unlisted: false }, false, true), Ok(()));
    }
}
