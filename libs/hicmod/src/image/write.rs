//! Writing an image; for the host tool and for tests. Never writes one that [`Image::parse`] would refuse.

use alloc::string::String;
use alloc::vec::Vec;

use super::exports::ROW_BYTES;
use super::{HEADER_BYTES, IMAGE_VERSION, Image, ImageError, MAGIC};

/// The parts of an image before they are encoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageParts {
    /// Read-only pages at the start of `body`.
    pub ro_pages: u32,
    /// Executable pages that follow them.
    pub rx_pages: u32,
    /// Zero bytes that follow the data.
    pub bss_bytes: u32,
    /// Offset of the first instruction.
    pub entry: u32,
    /// Ascending offsets of the words to relocate; each holds its addend in place.
    pub relocations: Vec<u32>,
    /// Names of the services that the program exports.
    pub exports: Vec<String>,
    /// Read-only and executable pages, then the data.
    pub body: Vec<u8>,
}

impl From<&Image<'_>> for ImageParts {
    fn from(image: &Image<'_>) -> Self {
        let layout = image.layout();
        // An image has so few pages that their number fits (`MAX_IMAGE_PAGES`).
        let pages = |run: core::ops::Range<usize>| (run.len() / super::PAGE_SIZE) as u32;
        Self {
            ro_pages: pages(layout.ro),
            rx_pages: pages(layout.rx),
            bss_bytes: image.bss_bytes(),
            entry: image.entry(),
            relocations: image.relocations().collect(),
            exports: image.exports().iter().map(String::from).collect(),
            body: image.body().to_vec(),
        }
    }
}

impl ImageParts {
    /// The image as bytes, after it was read back and checked.
    pub fn encode(&self) -> Result<Vec<u8>, ImageError> {
        let sealed = (u64::from(self.ro_pages) + u64::from(self.rx_pages)) * super::PAGE_SIZE as u64;
        let data = (self.body.len() as u64)
            .checked_sub(sealed)
            .ok_or(ImageError::Truncated { needed: sealed as usize, found: self.body.len() })?;
        let too_large = ImageError::TooLarge { pages: data / super::PAGE_SIZE as u64 };
        let data = u32::try_from(data).map_err(|_| too_large)?;
        let count = u32::try_from(self.relocations.len()).map_err(|_| too_large)?;

        let exports_at = HEADER_BYTES as u64 + u64::from(count) * size_of::<u32>() as u64;
        let exports_at = u32::try_from(exports_at).map_err(|_| too_large)?;
        let exports = self.exports.len().min(u32::MAX as usize) as u32;

        let mut out =
            Vec::with_capacity(exports_at as usize + self.exports.len() * ROW_BYTES + self.body.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&IMAGE_VERSION.to_le_bytes());
        out.extend_from_slice(&(HEADER_BYTES as u16).to_le_bytes());
        for field in
            [self.ro_pages, self.rx_pages, data, self.bss_bytes, self.entry, count, exports_at, exports]
        {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&0u64.to_le_bytes());
        for offset in &self.relocations {
            out.extend_from_slice(&offset.to_le_bytes());
        }
        for (index, name) in self.exports.iter().enumerate() {
            let mut row = [0; ROW_BYTES];
            let room = row.get_mut(..name.len()).ok_or(ImageError::ExportName { index })?;
            room.copy_from_slice(name.as_bytes());
            out.extend_from_slice(&row);
        }
        out.extend_from_slice(&self.body);
        Image::parse(&out)?;
        Ok(out)
    }
}
