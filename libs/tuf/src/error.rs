//! Refusals: which file, which check, and what an operator can do.

use core::fmt;

use crate::metadata::Role;
use crate::{CLOCK_TOLERANCE_S, MAX_ROOT_UPDATES};

/// Metadata was refused; what was trusted before stays as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The file.
    pub role: Role,
    /// What was found.
    pub check: Check,
}

/// The check that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is what the variant's line and its Display name")]
pub enum Check {
    /// The file is not there.
    Missing,
    /// The file does not end where the longest one would: endless data.
    TooLong { limit: usize },
    /// The bytes are no such file.
    Form { problem: &'static str },
    /// A format that this build cannot read.
    Format { found: u16 },
    /// Too few keys of the role vouch for it.
    Threshold { good: u8, needed: u8 },
    /// It has another version than its name or the file that names it says.
    Version { named: u32, found: u32 },
    /// It is older than what was seen before.
    Rollback { seen: u32, found: u32 },
    /// A root with the number of one that was accepted, and other contents.
    Fork { version: u32 },
    /// It is not the file that the one before it names: files of different times were mixed.
    Mixed,
    /// Its time is over: somebody holds newer ones back, or the repository is no longer tended.
    Expired { expires: u64, now: u64 },
    /// It was made after what our clock says.
    Future { issued: u64, now: u64 },
    /// More roots than one walk follows.
    TooManyRoots,
}

impl Check {
    /// Stable code, as consoles and the audit log show it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Missing => "metadata-missing",
            Self::TooLong { .. } => "metadata-size",
            Self::Form { .. } | Self::Format { .. } => "metadata-form",
            Self::Threshold { .. } => "metadata-threshold",
            Self::Version { .. } => "metadata-version",
            Self::Rollback { .. } => "metadata-rollback",
            Self::Fork { .. } => "metadata-fork",
            Self::Mixed => "metadata-mixed",
            Self::Expired { .. } => "metadata-expired",
            Self::Future { .. } => "metadata-clock",
            Self::TooManyRoots => "metadata-roots",
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Missing => {
                f.write_str("is missing; publish the repository again, or copy all of metadata/")
            }
            Self::TooLong { limit } => write!(f, "is longer than {limit} bytes and was not read to its end"),
            Self::Form { problem } => write!(f, "cannot be read: {problem}"),
            Self::Format { found } => write!(f, "has format {found}, which this system does not know"),
            Self::Threshold { good, needed } => {
                write!(f, "carries {good} good signatures of its role, {needed} are needed")
            }
            Self::Version { named, found } => write!(f, "says version {found} where {named} is due"),
            Self::Rollback { seen, found } => {
                write!(f, "has version {found}, older than {seen}, which was seen: an old state is replayed")
            }
            Self::Fork { version } => {
                write!(f, "has version {version}, which was seen with other contents")
            }
            Self::Mixed => f.write_str("is not the file that the signed one before it names"),
            Self::Expired { expires, now } => write!(
                f,
                "expired {} s ago: something newer is held back, or nobody publishes (`repo publish`)",
                now.saturating_sub(expires)
            ),
            Self::Future { issued, now } => write!(
                f,
                "was made {} s after the time of our clock (up to {CLOCK_TOLERANCE_S} are allowed); set the clock",
                issued.saturating_sub(now)
            ),
            Self::TooManyRoots => {
                write!(f, "is the end of more than {MAX_ROOT_UPDATES} changes; install a newer root")
            }
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the repository's {} {}", self.role, self.check)
    }
}

impl core::error::Error for Refused {}
