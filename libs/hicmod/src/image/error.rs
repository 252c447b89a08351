//! What can be wrong with an image or with where it shall go.

use core::fmt;

use super::{IMAGE_VERSION, MAX_IMAGE_PAGES};
use crate::name::MAX_EXPORTS;

/// Why an image was refused. Offsets are bytes from the start of the image's memory unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is what the variant's line and its Display name")]
pub enum ImageError {
    /// The bytes end before what the header promises.
    Truncated { needed: usize, found: usize },
    /// There are bytes after the end of the image.
    TrailingBytes { expected: usize, found: usize },
    /// The bytes do not start with the magic of an image.
    Magic,
    /// A header version that this build cannot read.
    Version { found: u16 },
    /// A reserved field is not zero.
    Reserved,
    /// More memory than [`MAX_IMAGE_PAGES`].
    TooLarge { pages: u64 },
    /// There is no executable page.
    NothingToExecute,
    /// The entry point does not lie in the executable pages.
    Entry { entry: u32, rx_start: usize, rx_end: usize },
    /// More relocations than an image can have words.
    TooManyRelocations { count: u32 },
    /// A relocation which is not 8-aligned.
    RelocationUnaligned { offset: u32 },
    /// A relocation outside the initialised writable bytes.
    RelocationOutside { offset: u32, data_start: usize, data_end: usize },
    /// Relocations are not ascending, or two of them overlap.
    RelocationOrder { offset: u32 },
    /// A relocation whose value would point out of the module.
    AddendOutside { offset: u32, addend: u64, span: u64 },
    /// More exported services than a module may have.
    TooManyExports { count: u32 },
    /// The table of exported services does not follow the relocations.
    ExportsPlace { found: u32, expected: usize },
    /// The name of an exported service is not one, or there is something behind it.
    ExportName { index: usize },
    /// Two exported services have one name.
    ExportTwice { index: usize, first: usize },
    /// The memory offered is smaller than the image. The caller's fault.
    TargetTooSmall { needed: usize, found: usize },
    /// The load address is not a page multiple or the image would wrap around. The caller's fault.
    LoadAddress { load_address: u64 },
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated { needed, found } => {
                write!(f, "image is cut off: {needed} bytes needed, {found} found")
            }
            Self::TrailingBytes { expected, found } => {
                write!(f, "image is {found} bytes long but its header describes {expected}")
            }
            Self::Magic => write!(f, "not an image: it must start with \"HICI\""),
            Self::Version { found } => {
                write!(f, "image version {found} cannot be read, only version {IMAGE_VERSION}")
            }
            Self::Reserved => write!(f, "a reserved field of the image header is not zero"),
            Self::TooLarge { pages } => {
                write!(f, "image needs {pages} pages of memory, the limit is {MAX_IMAGE_PAGES}")
            }
            Self::NothingToExecute => write!(f, "image has no executable page"),
            Self::Entry { entry, rx_start, rx_end } => {
                write!(f, "entry point {entry:#x} is outside the executable pages {rx_start:#x}..{rx_end:#x}")
            }
            Self::TooManyRelocations { count } => {
                write!(f, "{count} relocations are more than the largest image has words")
            }
            Self::RelocationUnaligned { offset } => write!(f, "relocation at {offset:#x} is not 8-aligned"),
            Self::RelocationOutside { offset, data_start, data_end } => write!(
                f,
                "relocation at {offset:#x} is outside the initialised writable bytes {data_start:#x}..{data_end:#x}"
            ),
            Self::RelocationOrder { offset } => {
                write!(f, "relocation at {offset:#x} is not above the one before it by 8 bytes or more")
            }
            Self::AddendOutside { offset, addend, span } => write!(
                f,
                "relocation at {offset:#x} points to {addend:#x}, beyond the end of the module at {span:#x}"
            ),
            Self::TooManyExports { .. }
            | Self::ExportsPlace { .. }
            | Self::ExportName { .. }
            | Self::ExportTwice { .. } => self.write_exports(f),
            Self::TargetTooSmall { needed, found } => {
                write!(f, "image needs {needed} bytes of memory, {found} were offered")
            }
            Self::LoadAddress { load_address } => write!(
                f,
                "load address {load_address:#x} is not a multiple of 4096, or the image would wrap around"
            ),
        }
    }
}

impl ImageError {
    fn write_exports(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooManyExports { count } => {
                write!(f, "image exports {count} services, the limit is {MAX_EXPORTS}")
            }
            Self::ExportsPlace { found, expected } => {
                write!(f, "the table of exported services is at {found}, and must be at {expected}")
            }
            Self::ExportName { index } => write!(
                f,
                "exported service {index} has no valid name: 1 to 24 of a-z 0-9 _ - . with a letter or digit first"
            ),
            Self::ExportTwice { index, first } => {
                write!(f, "exported service {index} has the name of exported service {first}")
            }
            // Every other variant was written by the caller.
            _ => Ok(()),
        }
    }
}

impl core::error::Error for ImageError {}
