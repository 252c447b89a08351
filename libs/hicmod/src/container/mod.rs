//! The `.hicmod` container: typed sections, each with a checksum.
//!
//! All fields are little-endian:
//!
//! | byte | field | |
//! | --- | --- | --- |
//! | 0  | magic `HICMOD\r\n` | the line end catches a transfer as text |
//! | 8  | format `u16` | 1 |
//! | 10 | `section_count: u16` | at most 16 |
//! | 12 | `total_bytes: u32` | of the whole container |
//! | 16 | `table_crc: u32` | CRC-32 of bytes 0..16 and of the table |
//! | 20 | reserved `u32` | 0 |
//! | 24 | table | `section_count` times 16 bytes |
//! | .. | sections | in the order of the table, each at the next multiple of 8, zero padding between |
//!
//! A row of the table is `kind: u16`, `flags: u16` (bit 0: critical), `offset: u32`, `length: u32`, `crc: u32`.
//!
//! *Growth.* A section of an unknown kind is skipped when it is optional and the module is refused when it is
//! critical, so a later format can add what old readers may ignore and what they must not. Kinds 16 to 31 are set
//! aside for signatures; 16 is the one that exists (module `signature`). It is optional, since Core-0 does not verify,
//! and the last section. No byte of the file lies outside the header, the table, a section and zero padding, so nothing
//! can hide from a signature.

mod error;
#[cfg(feature = "manifest")]
mod module;
#[cfg(feature = "alloc")]
mod write;

pub use error::ContainerError;
#[cfg(feature = "manifest")]
pub use module::{ExportsError, Module, ModuleError};
#[cfg(feature = "alloc")]
pub use write::{NewSection, encode};

use crate::bytes::{array_at, slice_at, u16_at, u32_at};
use crate::image::{Image, ImageError};

/// The only container format that this crate reads and writes.
pub const FORMAT_VERSION: u16 = 1;
/// Most sections in a container.
pub const MAX_SECTIONS: u16 = 16;
/// Sections start at multiples of this many bytes.
pub const SECTION_ALIGN: usize = 8;

pub(crate) const MAGIC: [u8; 8] = *b"HICMOD\r\n";
pub(crate) const HEADER_BYTES: usize = 24;
pub(crate) const ROW_BYTES: usize = 16;
/// The checksum of the table covers the header up to itself, and the table.
pub(crate) const CRC_AT: usize = 16;
pub(crate) const FLAG_CRITICAL: u16 = 1;

/// What a section holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectionKind {
    /// The manifest, see `manifest::encode`.
    Manifest,
    /// The flattened image, see [`crate::image`].
    Image,
    /// Who vouches for the module, see module `signature`. Optional, and the last section.
    Signature,
    /// A kind that this build does not know; only ever seen on an optional section.
    Unknown(u16),
}

impl SectionKind {
    /// The number that stands for the kind in the table.
    pub const fn code(self) -> u16 {
        match self {
            Self::Manifest => 1,
            Self::Image => 2,
            Self::Signature => 16,
            Self::Unknown(code) => code,
        }
    }

    const fn from_code(code: u16) -> Self {
        match code {
            1 => Self::Manifest,
            2 => Self::Image,
            16 => Self::Signature,
            other => Self::Unknown(other),
        }
    }
}

/// One section, its checksum verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section<'a> {
    /// What it holds.
    pub kind: SectionKind,
    /// Whether a reader that does not know the kind must refuse the module.
    pub critical: bool,
    /// Byte offset in the container.
    pub offset: usize,
    /// CRC-32 of `bytes`.
    pub crc: u32,
    /// Its content.
    pub bytes: &'a [u8],
}

/// A container whose table and checksums have been verified.
#[derive(Debug, Clone, Copy)]
pub struct Container<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> Container<'a> {
    /// Reads a container which takes up all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ContainerError> {
        let container = Self::parse_header(bytes)?;
        container.check_sections()?;
        Ok(container)
    }

    fn parse_header(bytes: &'a [u8]) -> Result<Self, ContainerError> {
        let found = bytes.len();
        let short = ContainerError::Truncated { needed: HEADER_BYTES, found };
        if array_at(bytes, 0).ok_or(short)? != MAGIC {
            return Err(ContainerError::Magic);
        }
        let version = u16_at(bytes, 8).ok_or(short)?;
        if version != FORMAT_VERSION {
            return Err(ContainerError::Version { found: version });
        }
        let count = u16_at(bytes, 10).ok_or(short)?;
        if count > MAX_SECTIONS {
            return Err(ContainerError::TooManySections { count });
        }
        let total = u32_at(bytes, 12).ok_or(short)? as usize;
        if found < total {
            return Err(ContainerError::Truncated { needed: total, found });
        }
        if found > total {
            return Err(ContainerError::TrailingBytes { expected: total, found });
        }
        if u32_at(bytes, 20).ok_or(short)? != 0 {
            return Err(ContainerError::Reserved);
        }
        let count = usize::from(count);
        let needed = HEADER_BYTES + count * ROW_BYTES;
        let table = slice_at(bytes, HEADER_BYTES, count * ROW_BYTES)
            .ok_or(ContainerError::Truncated { needed, found })?;
        let expected = u32_at(bytes, CRC_AT).ok_or(short)?;
        let computed = table_checksum(bytes.get(..CRC_AT).ok_or(short)?, table);
        if computed != expected {
            return Err(ContainerError::TableChecksum { expected, found: computed });
        }
        Ok(Container { bytes, count })
    }

    fn check_sections(&self) -> Result<(), ContainerError> {
        let mut end = HEADER_BYTES + self.count * ROW_BYTES;
        for index in 0..self.count {
            let section = self.section(index)?;
            if section.offset != end.next_multiple_of(SECTION_ALIGN) || !self.is_zero(end, section.offset) {
                return Err(ContainerError::Position { index });
            }
            end = section.offset + section.bytes.len();
            let found = crc32fast::hash(section.bytes);
            if found != section.crc {
                return Err(ContainerError::SectionChecksum { index, expected: section.crc, found });
            }
            if section.critical && matches!(section.kind, SectionKind::Unknown(_)) {
                return Err(ContainerError::UnknownCritical { index, kind: section.kind.code() });
            }
            if self.sections().take(index).any(|earlier| earlier.kind == section.kind) {
                return Err(ContainerError::DuplicateKind { index, kind: section.kind.code() });
            }
        }
        if end != self.bytes.len() {
            return Err(ContainerError::TrailingBytes { expected: end, found: self.bytes.len() });
        }
        Ok(())
    }

    fn is_zero(&self, from: usize, to: usize) -> bool {
        self.bytes.get(from..to).is_some_and(|gap| gap.iter().all(|&byte| byte == 0))
    }

    fn section(&self, index: usize) -> Result<Section<'a>, ContainerError> {
        let position = ContainerError::Position { index };
        let row = slice_at(self.bytes, HEADER_BYTES + index * ROW_BYTES, ROW_BYTES).ok_or(position)?;
        let (kind, flags) = (u16_at(row, 0).ok_or(position)?, u16_at(row, 2).ok_or(position)?);
        if flags & !FLAG_CRITICAL != 0 {
            return Err(ContainerError::Flags { index, flags });
        }
        let field = |at| u32_at(row, at).ok_or(position);
        let (offset, length) = (field(4)? as usize, field(8)? as usize);
        Ok(Section {
            kind: SectionKind::from_code(kind),
            critical: flags & FLAG_CRITICAL != 0,
            offset,
            crc: field(12)?,
            bytes: slice_at(self.bytes, offset, length).ok_or(position)?,
        })
    }

    /// All sections in file order, unknown optional ones included.
    pub fn sections(&self) -> impl Iterator<Item = Section<'a>> + use<'a> {
        let container = *self;
        // `parse` has read each section once, so none is skipped here.
        (0..self.count).filter_map(move |index| container.section(index).ok())
    }

    /// The whole file.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The content of the section of this kind.
    pub fn find(&self, kind: SectionKind) -> Option<&'a [u8]> {
        self.sections().find(|section| section.kind == kind).map(|section| section.bytes)
    }

    /// The image section, parsed and checked; what Core-0 needs of a module. `None` if there is no such section.
    pub fn image(&self) -> Option<Result<Image<'a>, ImageError>> {
        self.find(SectionKind::Image).map(Image::parse)
    }
}

pub(crate) fn table_checksum(header: &[u8], table: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(table);
    hasher.finalize()
}

#[cfg(test)]
mod tests;
