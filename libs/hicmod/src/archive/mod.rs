//! The boot archive: the initrd, a flat list of named files (modules, in the order in which they were given).
//!
//! All fields are little-endian:
//!
//! | byte | field | |
//! | --- | --- | --- |
//! | 0  | magic `HICARCHV` | |
//! | 8  | version `u32` | 1 |
//! | 12 | `count: u32` | entries, at most 64 |
//! | 16 | `total_bytes: u32` | of the whole archive |
//! | 20 | `table_crc: u32` | CRC-32 of bytes 0..20 and of the table |
//! | 24 | table | `count` times 40 bytes |
//! | .. | files | each at the next page multiple, zero padding between |
//!
//! An entry of the table is `name: [u8; 24]` (zero padded), `offset: u32`, `length: u32`, `crc: u32` of the file's
//! bytes, and a reserved `u32` that is zero. Files start at page multiples, so that a single one can be mapped.
//!
//! [`Archive::parse`] checks the table; a file's own checksum is checked when its bytes are asked for, so that Core-0
//! touches at boot only the files which it starts itself.

mod error;
#[cfg(feature = "alloc")]
mod write;

pub use error::ArchiveError;
#[cfg(feature = "alloc")]
pub use write::encode;

use crate::bytes::{array_at, slice_at, u32_at};
use crate::name::{MAX_NAME_BYTES, is_valid_name};

/// The only version of the archive that this crate reads and writes.
pub const ARCHIVE_VERSION: u32 = 1;
/// Most files in an archive; bounds the work of a boot and the quadratic check for equal names.
pub const MAX_ENTRIES: u32 = 64;
/// Name of the file that holds the root certificate, DER, which the system trusts.
pub const TRUST_ROOT: &str = "trust-root";
/// Name of the file that holds the revocation lists, DER; it may be absent.
pub const REVOKED: &str = "revoked";
/// Name of the file that says when the archive was made: eight bytes, little-endian, seconds since 1970, UTC; it may be absent.
pub const BUILT: &str = "built";
/// Name of the file that holds the root of the module repository, `N.root.tuf`; without it, modules are judged by their signatures alone.
pub const REPOSITORY_ROOT: &str = "repository-root";
/// Files start at multiples of this many bytes.
pub const FILE_ALIGN: usize = 4096;

pub(crate) const MAGIC: [u8; 8] = *b"HICARCHV";
pub(crate) const HEADER_BYTES: usize = 24;
pub(crate) const ENTRY_BYTES: usize = 40;
/// The checksum of the table is the last field of the header and does not cover itself.
pub(crate) const CRC_AT: usize = 20;

/// A boot archive whose table has been checked.
#[derive(Debug, Clone, Copy)]
pub struct Archive<'a> {
    /// Exactly the archive: padding that a boot loader added is cut off.
    bytes: &'a [u8],
    count: usize,
}

/// One file of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The file's name, valid by [`is_valid_name`] and unique in its archive.
    pub name: &'a str,
    /// Byte offset of the file in the archive, a multiple of [`FILE_ALIGN`].
    pub offset: usize,
    crc: u32,
    content: &'a [u8],
}

impl<'a> Entry<'a> {
    /// The file's bytes, after its checksum has been verified.
    pub fn bytes(&self) -> Result<&'a [u8], ArchiveError> {
        let found = crc32fast::hash(self.content);
        if found != self.crc {
            return Err(ArchiveError::FileChecksum { offset: self.offset, expected: self.crc, found });
        }
        Ok(self.content)
    }

    /// Whether the file starts as a module does. Others are for whoever knows their names.
    pub fn is_module(&self) -> bool {
        self.content.starts_with(&crate::container::MAGIC)
    }

    /// Length of the file in bytes.
    pub fn len(&self) -> usize {
        self.content.len()
    }

    /// Whether the file has no bytes.
    pub fn is_empty(&self) -> bool {
        self.content.is_empty()
    }
}

impl Archive<'_> {
    /// When the archive was made, seconds since 1970, UTC, if its file [`BUILT`] says so.
    #[must_use]
    pub fn built(&self) -> Option<u64> {
        let bytes = self.find(BUILT)?.bytes().ok()?;
        bytes.try_into().ok().map(u64::from_le_bytes)
    }
}

impl<'a> Archive<'a> {
    /// Reads the archive at the start of `bytes`. What follows its stated length is ignored: boot loaders pad.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ArchiveError> {
        let archive = Self::parse_header(bytes)?;
        archive.check_entries()?;
        Ok(archive)
    }

    fn parse_header(bytes: &'a [u8]) -> Result<Self, ArchiveError> {
        let short = ArchiveError::Truncated { needed: HEADER_BYTES, found: bytes.len() };
        if array_at(bytes, 0).ok_or(short)? != MAGIC {
            return Err(ArchiveError::Magic);
        }
        let field = |at| u32_at(bytes, at).ok_or(short);
        let version = field(8)?;
        if version != ARCHIVE_VERSION {
            return Err(ArchiveError::Version { found: version });
        }
        let (count, total) = (field(12)?, field(16)? as usize);
        if count > MAX_ENTRIES {
            return Err(ArchiveError::TooManyEntries { count });
        }
        let count = count as usize;
        let table_end = HEADER_BYTES + count * ENTRY_BYTES;
        let needed = total.max(table_end);
        let truncated = ArchiveError::Truncated { needed, found: bytes.len() };
        let table = slice_at(bytes, HEADER_BYTES, count * ENTRY_BYTES).ok_or(truncated)?;
        let expected = field(CRC_AT)?;
        let found = table_checksum(bytes.get(..CRC_AT).ok_or(short)?, table);
        if found != expected {
            return Err(ArchiveError::TableChecksum { expected, found });
        }
        if total < table_end {
            return Err(ArchiveError::Truncated { needed: table_end, found: total });
        }
        Ok(Archive { bytes: bytes.get(..total).ok_or(truncated)?, count })
    }

    /// Names valid and unique; files in order, aligned, inside the archive, without overlap.
    fn check_entries(&self) -> Result<(), ArchiveError> {
        let mut lowest = HEADER_BYTES + self.count * ENTRY_BYTES;
        for index in 0..self.count {
            let entry = self.entry(index)?;
            if !entry.offset.is_multiple_of(FILE_ALIGN) || entry.offset < lowest {
                return Err(ArchiveError::Position { index });
            }
            lowest = entry.offset + entry.len();
            if self.iter().take(index).any(|earlier| earlier.name == entry.name) {
                return Err(ArchiveError::DuplicateName { index });
            }
        }
        Ok(())
    }

    fn entry(&self, index: usize) -> Result<Entry<'a>, ArchiveError> {
        let position = ArchiveError::Position { index };
        let row = slice_at(self.bytes, HEADER_BYTES + index * ENTRY_BYTES, ENTRY_BYTES).ok_or(position)?;
        let name = entry_name(row).ok_or(ArchiveError::Name { index })?;
        let field = |at| u32_at(row, at).ok_or(position);
        let (offset, length, crc, reserved) =
            (field(24)? as usize, field(28)? as usize, field(32)?, field(36)?);
        if reserved != 0 {
            return Err(ArchiveError::Reserved { index });
        }
        let content = slice_at(self.bytes, offset, length).ok_or(position)?;
        Ok(Entry { name, offset, crc, content })
    }

    /// The file named `name`.
    pub fn find(&self, name: &str) -> Option<Entry<'a>> {
        self.iter().find(|entry| entry.name == name)
    }

    /// All files, in the order in which they were archived.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let archive = *self;
        // `parse` has read each entry once, so none is skipped here.
        (0..self.count).filter_map(move |index| archive.entry(index).ok())
    }

    /// Number of files.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether the archive holds no file.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the archive, without what a boot loader may have added behind it.
    pub fn total_bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// The name in the first 24 bytes of a table row: valid, and followed by nothing but zeroes.
fn entry_name(row: &[u8]) -> Option<&str> {
    let field = row.get(..MAX_NAME_BYTES)?;
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    let (name, padding) = field.split_at_checked(end)?;
    let name = core::str::from_utf8(name).ok()?;
    (is_valid_name(name) && padding.iter().all(|&byte| byte == 0)).then_some(name)
}

pub(crate) fn table_checksum(header: &[u8], table: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(table);
    hasher.finalize()
}

#[cfg(test)]
mod tests;
