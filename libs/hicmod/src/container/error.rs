//! What can be wrong with a container.

use core::fmt;

use super::{FORMAT_VERSION, MAX_SECTIONS, SECTION_ALIGN};

/// Why a container was refused. `index` counts sections from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is what the variant's line and its Display name")]
pub enum ContainerError {
    /// The bytes end before what the header promises.
    Truncated { needed: usize, found: usize },
    /// There are bytes after the last section.
    TrailingBytes { expected: usize, found: usize },
    /// The bytes do not start with the magic of a module.
    Magic,
    /// A format that this build cannot read.
    Version { found: u16 },
    /// A reserved field is not zero.
    Reserved,
    /// More sections than [`MAX_SECTIONS`].
    TooManySections { count: u16 },
    /// Header or table were damaged.
    TableChecksum { expected: u32, found: u32 },
    /// A section was damaged.
    SectionChecksum { index: usize, expected: u32, found: u32 },
    /// A section that is not where the canonical order puts it.
    Position { index: usize },
    /// A flag that this build does not know.
    Flags { index: usize, flags: u16 },
    /// Two sections of the same kind.
    DuplicateKind { index: usize, kind: u16 },
    /// A section that must be understood, and is not.
    UnknownCritical { index: usize, kind: u16 },
    /// The container to be written would exceed 4 GiB.
    TooLarge,
}

impl fmt::Display for ContainerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated { needed, found } => {
                write!(f, "module is cut off: {needed} bytes needed, {found} found")
            }
            Self::TrailingBytes { expected, found } => {
                write!(f, "module is {found} bytes long but describes only {expected}")
            }
            Self::Magic => write!(f, "not a module: it must start with \"HICMOD\""),
            Self::Version { found } => {
                write!(f, "module format {found} cannot be read, only format {FORMAT_VERSION}")
            }
            Self::Reserved => write!(f, "a reserved field of the module header is not zero"),
            Self::TooManySections { count } => {
                write!(f, "module has {count} sections, the limit is {MAX_SECTIONS}")
            }
            Self::TableChecksum { expected, found } => {
                write!(f, "section table is damaged: CRC {found:08x}, expected {expected:08x}")
            }
            Self::SectionChecksum { index, expected, found } => {
                write!(f, "section {index} is damaged: CRC {found:08x}, expected {expected:08x}")
            }
            Self::Position { index } => write!(
                f,
                "section {index} does not start at the first multiple of {SECTION_ALIGN} behind the one before it, \
                 after zero padding, or leaves the module"
            ),
            Self::Flags { index, flags } => {
                write!(f, "section {index} has flags {flags:#06x}, only bit 0 is known")
            }
            Self::DuplicateKind { index, kind } => {
                write!(f, "section {index} is a second one of kind {kind}")
            }
            Self::UnknownCritical { index, kind } => write!(
                f,
                "section {index} of kind {kind} must be understood to load this module: a newer loader is needed"
            ),
            Self::TooLarge => write!(f, "a module cannot exceed 4 GiB"),
        }
    }
}

impl core::error::Error for ContainerError {}
