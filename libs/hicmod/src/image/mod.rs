//! The flattened image: the bytes of a module in page order, and what must be changed when it is placed in memory.
//!
//! The image is linked at address 0. In memory it is three contiguous runs of whole pages, in this order: read-only,
//! executable, writable (data, then bss). Only the writable run holds relocations, so that the first two can be sealed
//! and shared, and a restart in place rewrites nothing but the writable run.
//!
//! All fields are little-endian:
//!
//! | byte | field | |
//! | --- | --- | --- |
//! | 0  | magic `HICI` | |
//! | 4  | version `u16` | 2 |
//! | 6  | header length `u16` | 48 |
//! | 8  | `ro_pages: u32` | may be 0 |
//! | 12 | `rx_pages: u32` | at least 1 |
//! | 16 | `data_bytes: u32` | bytes of the writable run that the file holds |
//! | 20 | `bss_bytes: u32` | zero bytes that follow the data |
//! | 24 | `entry: u32` | offset of the first instruction, inside the executable run |
//! | 28 | `relocation_count: u32` | |
//! | 32 | `exports: u32` | where the table of exported services begins, bytes from the start of the image: behind the relocations |
//! | 36 | `export_count: u32` | at most 8 |
//! | 40 | reserved `u64` | 0 |
//! | 48 | relocations `[u32]` | ascending offsets, 8-aligned, of `u64` addends in place |
//! | .. | exported services | a name each, of 24 bytes with the zeros behind it |
//! | .. | body | `ro_pages` and `rx_pages` whole pages, then `data_bytes` |
//!
//! This module never follows a pointer and never trusts a length: [`Image::parse`] checks all of the above, including
//! that each addend points into the module itself and that each exported service has a name, before a byte is copied.

mod error;
mod exports;
mod place;
#[cfg(feature = "alloc")]
mod write;

pub use error::ImageError;
pub use exports::Exports;
pub use place::Placed;
#[cfg(feature = "alloc")]
pub use write::ImageParts;

use core::ops::Range;

use crate::bytes::{array_at, slice_at, u16_at, u32_at, u64_at};

/// Size of a page in bytes; every run of the image starts at a multiple of it.
pub const PAGE_SIZE: usize = 4096;
/// Largest image in memory, in pages (64 MiB): far beyond any service, small enough that no sum here can overflow.
pub const MAX_IMAGE_PAGES: u32 = 16 * 1024;
/// The only version of the image header that this crate reads and writes.
pub const IMAGE_VERSION: u16 = 2;

pub(crate) const MAGIC: [u8; 4] = *b"HICI";
pub(crate) const HEADER_BYTES: usize = 48;
/// A relocated word is a 64-bit address.
pub(crate) const WORD: usize = 8;

/// Where the three runs of an image lie, in bytes from the start of its memory. All bounds are page multiples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Read-only pages. May be empty.
    pub ro: Range<usize>,
    /// Executable pages, never writable once sealed.
    pub rx: Range<usize>,
    /// Writable pages: data, bss and the zero rest of the last page. May be empty.
    pub rw: Range<usize>,
}

/// A checked image. Holding one means that every bound in its header has been verified.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    ro_pages: u32,
    rx_pages: u32,
    data_bytes: u32,
    bss_bytes: u32,
    entry: u32,
    /// `u32` offsets, little-endian, ascending.
    relocations: &'a [u8],
    exports: Exports<'a>,
    body: &'a [u8],
}

impl<'a> Image<'a> {
    /// Reads an image which takes up all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let image = Self::parse_header(bytes)?;
        image.check_layout()?;
        image.check_relocations()?;
        Ok(image)
    }

    fn parse_header(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let short = ImageError::Truncated { needed: HEADER_BYTES, found: bytes.len() };
        if array_at(bytes, 0).ok_or(short)? != MAGIC {
            return Err(ImageError::Magic);
        }
        let version = u16_at(bytes, 4).ok_or(short)?;
        let header_bytes = u16_at(bytes, 6).ok_or(short)?;
        if version != IMAGE_VERSION || usize::from(header_bytes) != HEADER_BYTES {
            return Err(ImageError::Version { found: version });
        }
        let field = |at| u32_at(bytes, at).ok_or(short);
        if u64_at(bytes, 40).ok_or(short)? != 0 {
            return Err(ImageError::Reserved);
        }
        let (ro_pages, rx_pages, data_bytes) = (field(8)?, field(12)?, field(16)?);
        check_size(ro_pages, rx_pages, data_bytes, field(20)?)?;
        let relocation_bytes = relocation_table_bytes(field(28)?)?;
        let exports_at = HEADER_BYTES + relocation_bytes;
        let export_bytes = exports::table_bytes(field(36)?, field(32)?, exports_at)?;
        let body_at = exports_at + export_bytes;
        // `check_size` bounds each term by 64 MiB, so no sum overflows.
        let body_bytes = (ro_pages + rx_pages) as usize * PAGE_SIZE + data_bytes as usize;
        let needed = body_at + body_bytes;
        if bytes.len() > needed {
            return Err(ImageError::TrailingBytes { expected: needed, found: bytes.len() });
        }
        let truncated = ImageError::Truncated { needed, found: bytes.len() };
        let part = |at, length| slice_at(bytes, at, length).ok_or(truncated);
        // The last part first: with it all are there.
        let body = part(body_at, body_bytes)?;
        Ok(Image {
            ro_pages,
            rx_pages,
            data_bytes,
            bss_bytes: field(20)?,
            entry: field(24)?,
            relocations: part(HEADER_BYTES, relocation_bytes)?,
            exports: Exports::parse(part(exports_at, export_bytes)?)?,
            body,
        })
    }

    fn check_layout(&self) -> Result<(), ImageError> {
        let Layout { rx, .. } = self.layout();
        if !rx.contains(&(self.entry as usize)) {
            return Err(ImageError::Entry { entry: self.entry, rx_start: rx.start, rx_end: rx.end });
        }
        Ok(())
    }

    fn check_relocations(&self) -> Result<(), ImageError> {
        let data_start = self.layout().rw.start;
        let mut lowest = data_start;
        for offset in self.relocations() {
            let at = offset as usize;
            if !at.is_multiple_of(WORD) {
                return Err(ImageError::RelocationUnaligned { offset });
            }
            if at < data_start || at + WORD > self.body.len() {
                return Err(ImageError::RelocationOutside { offset, data_start, data_end: self.body.len() });
            }
            if at < lowest {
                return Err(ImageError::RelocationOrder { offset });
            }
            lowest = at + WORD;
            let addend = u64_at(self.body, at).ok_or(ImageError::RelocationOrder { offset })?;
            self.check_addend(offset, addend)?;
        }
        Ok(())
    }

    /// An address one past the end is a valid end pointer of the last object, hence `>` and not `>=`.
    pub(crate) fn check_addend(&self, offset: u32, addend: u64) -> Result<(), ImageError> {
        let span = self.memory_bytes() as u64;
        if addend > span {
            return Err(ImageError::AddendOutside { offset, addend, span });
        }
        Ok(())
    }

    /// Pages of memory that the image takes: read-only, executable and writable.
    pub fn memory_pages(&self) -> usize {
        self.layout().rw.end / PAGE_SIZE
    }

    /// [`Self::memory_pages`] in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.layout().rw.end
    }

    /// Where the three runs lie; what a loader needs for page permissions.
    pub fn layout(&self) -> Layout {
        let ro_end = self.ro_pages as usize * PAGE_SIZE;
        let rx_end = ro_end + self.rx_pages as usize * PAGE_SIZE;
        let rw_bytes = self.data_bytes as usize + self.bss_bytes as usize;
        let rw_end = rx_end + rw_bytes.next_multiple_of(PAGE_SIZE);
        Layout { ro: 0..ro_end, rx: ro_end..rx_end, rw: rx_end..rw_end }
    }

    /// Offset of the first instruction from the start of the image's memory.
    pub fn entry(&self) -> u32 {
        self.entry
    }

    /// Initialised bytes of the writable run.
    pub fn data_bytes(&self) -> u32 {
        self.data_bytes
    }

    /// Zero bytes that follow the data.
    pub fn bss_bytes(&self) -> u32 {
        self.bss_bytes
    }

    /// The offsets of all words which hold an address of the module itself, ascending.
    pub fn relocations(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        self.relocations.as_chunks::<4>().0.iter().map(|raw| u32::from_le_bytes(*raw))
    }

    /// The services that the program says it offers.
    pub fn exports(&self) -> Exports<'a> {
        self.exports
    }

    /// The bytes that the file holds: read-only and executable pages, then the data.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }
}

/// Refuses an image that is larger than [`MAX_IMAGE_PAGES`] or has nothing to execute.
fn check_size(ro_pages: u32, rx_pages: u32, data_bytes: u32, bss_bytes: u32) -> Result<(), ImageError> {
    let rw_pages = (u64::from(data_bytes) + u64::from(bss_bytes)).div_ceil(PAGE_SIZE as u64);
    let pages = u64::from(ro_pages) + u64::from(rx_pages) + rw_pages;
    if pages > u64::from(MAX_IMAGE_PAGES) {
        return Err(ImageError::TooLarge { pages });
    }
    if rx_pages == 0 {
        return Err(ImageError::NothingToExecute);
    }
    Ok(())
}

/// Bytes of a table of `count` relocations; there cannot be more than words in the largest image.
fn relocation_table_bytes(count: u32) -> Result<usize, ImageError> {
    if count as usize > MAX_IMAGE_PAGES as usize * PAGE_SIZE / WORD {
        return Err(ImageError::TooManyRelocations { count });
    }
    Ok(count as usize * size_of::<u32>())
}

#[cfg(test)]
mod tests;
