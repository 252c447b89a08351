//! What can be wrong with a boot archive.

use core::fmt;

use super::{ARCHIVE_VERSION, FILE_ALIGN, MAX_ENTRIES};

/// Why an archive, or a file in it, was refused. `index` counts entries from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is what the variant's line and its Display name")]
pub enum ArchiveError {
    /// The bytes end before what the header promises.
    Truncated { needed: usize, found: usize },
    /// The bytes do not start with the magic of an archive.
    Magic,
    /// A version that this build cannot read.
    Version { found: u32 },
    /// More entries than [`MAX_ENTRIES`].
    TooManyEntries { count: u32 },
    /// The table was damaged.
    TableChecksum { expected: u32, found: u32 },
    /// A file was damaged.
    FileChecksum { offset: usize, expected: u32, found: u32 },
    /// A name that is not valid.
    Name { index: usize },
    /// A name that an earlier entry has.
    DuplicateName { index: usize },
    /// A file that is not aligned, overlaps another one or lies outside the archive.
    Position { index: usize },
    /// A reserved field is not zero.
    Reserved { index: usize },
    /// The archive to be written would exceed 4 GiB.
    TooLarge,
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated { needed, found } => {
                write!(f, "boot archive is cut off: {needed} bytes needed, {found} found")
            }
            Self::Magic => write!(f, "not a boot archive: it must start with \"HICARCHV\""),
            Self::Version { found } => {
                write!(f, "boot archive version {found} cannot be read, only version {ARCHIVE_VERSION}")
            }
            Self::TooManyEntries { count } => {
                write!(f, "boot archive has {count} entries, the limit is {MAX_ENTRIES}")
            }
            Self::TableChecksum { expected, found } => {
                write!(f, "table of the boot archive is damaged: CRC {found:08x}, expected {expected:08x}")
            }
            Self::FileChecksum { offset, expected, found } => write!(
                f,
                "file at {offset:#x} of the boot archive is damaged: CRC {found:08x}, expected {expected:08x}"
            ),
            Self::Name { index } => write!(
                f,
                "entry {index} of the boot archive has no valid name: 1 to 24 of a-z 0-9 _ - . starting with a letter \
                 or digit"
            ),
            Self::DuplicateName { index } => {
                write!(f, "entry {index} of the boot archive has the name of an earlier entry")
            }
            Self::Position { index } => write!(
                f,
                "file of entry {index} is not at a multiple of {FILE_ALIGN}, overlaps another or leaves the archive"
            ),
            Self::Reserved { index } => {
                write!(f, "a reserved field of entry {index} of the boot archive is not zero")
            }
            Self::TooLarge => write!(f, "a boot archive cannot exceed 4 GiB"),
        }
    }
}

impl core::error::Error for ArchiveError {}
