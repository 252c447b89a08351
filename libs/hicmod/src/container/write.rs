//! Writing a container; for the host tool and for tests. Never writes one that [`Container::parse`] would refuse.

use alloc::vec::Vec;

use super::{
    Container, ContainerError, FLAG_CRITICAL, FORMAT_VERSION, HEADER_BYTES, MAGIC, MAX_SECTIONS, ROW_BYTES,
    SECTION_ALIGN, SectionKind, table_checksum,
};

/// A section to be written.
#[derive(Debug, Clone, Copy)]
pub struct NewSection<'a> {
    /// What it holds.
    pub kind: SectionKind,
    /// Whether a reader that does not know the kind must refuse the module.
    pub critical: bool,
    /// Its content.
    pub bytes: &'a [u8],
}

/// The container that holds `sections` in the given order.
pub fn encode(sections: &[NewSection<'_>]) -> Result<Vec<u8>, ContainerError> {
    let out = assemble(sections)?;
    Container::parse(&out)?;
    Ok(out)
}

/// As [`encode`], without the check: tests build refused containers with it.
pub(super) fn assemble(sections: &[NewSection<'_>]) -> Result<Vec<u8>, ContainerError> {
    let count = u16::try_from(sections.len()).unwrap_or(u16::MAX);
    if count > MAX_SECTIONS {
        return Err(ContainerError::TooManySections { count });
    }
    let content_start = HEADER_BYTES + sections.len() * ROW_BYTES;
    let (mut table, mut content) = (Vec::new(), Vec::new());
    for section in sections {
        // The header and the rows are multiples of 8, so aligning within `content` aligns within the file.
        content.resize(content.len().next_multiple_of(SECTION_ALIGN), 0);
        table.extend_from_slice(&section.kind.code().to_le_bytes());
        table.extend_from_slice(&(if section.critical { FLAG_CRITICAL } else { 0 }).to_le_bytes());
        let (offset, length) = (small(content_start + content.len())?, small(section.bytes.len())?);
        for value in [offset, length, crc32fast::hash(section.bytes)] {
            table.extend_from_slice(&value.to_le_bytes());
        }
        content.extend_from_slice(section.bytes);
    }
    let mut out = Vec::with_capacity(content_start + content.len());
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&small(content_start + content.len())?.to_le_bytes());
    let crc = table_checksum(&out, &table);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&0u32.to_le_bytes());
    out.extend_from_slice(&table);
    out.extend_from_slice(&content);
    Ok(out)
}

fn small(value: usize) -> Result<u32, ContainerError> {
    u32::try_from(value).map_err(|_| ContainerError::TooLarge)
}
