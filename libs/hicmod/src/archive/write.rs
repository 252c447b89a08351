//! Writing a boot archive; for the host tool and for tests. Never writes one that [`Archive::parse`] would refuse.

use alloc::vec::Vec;

use super::{
    ARCHIVE_VERSION, Archive, ArchiveError, CRC_AT, ENTRY_BYTES, FILE_ALIGN, HEADER_BYTES, MAGIC,
    MAX_ENTRIES, table_checksum,
};
use crate::name::{MAX_NAME_BYTES, is_valid_name};

/// The archive that holds `files` (name, content) in the given order.
pub fn encode(files: &[(&str, &[u8])]) -> Result<Vec<u8>, ArchiveError> {
    let count = u32::try_from(files.len()).unwrap_or(u32::MAX);
    if count > MAX_ENTRIES {
        return Err(ArchiveError::TooManyEntries { count });
    }
    let mut table = Vec::with_capacity(files.len() * ENTRY_BYTES);
    let mut content = Vec::new();
    let content_start = (HEADER_BYTES + files.len() * ENTRY_BYTES).next_multiple_of(FILE_ALIGN);
    for (index, (name, bytes)) in files.iter().enumerate() {
        if !is_valid_name(name) {
            return Err(ArchiveError::Name { index });
        }
        content.resize(content.len().next_multiple_of(FILE_ALIGN), 0);
        let mut field = [0u8; MAX_NAME_BYTES];
        for (to, from) in field.iter_mut().zip(name.bytes()) {
            *to = from;
        }
        table.extend_from_slice(&field);
        for value in [small(content_start + content.len())?, small(bytes.len())?, crc32fast::hash(bytes), 0] {
            table.extend_from_slice(&value.to_le_bytes());
        }
        content.extend_from_slice(bytes);
    }
    let out = assemble(&table, &content, content_start, count)?;
    Archive::parse(&out)?;
    Ok(out)
}

fn assemble(table: &[u8], content: &[u8], content_start: usize, count: u32) -> Result<Vec<u8>, ArchiveError> {
    let mut out = Vec::with_capacity(content_start + content.len());
    out.extend_from_slice(&MAGIC);
    for value in [ARCHIVE_VERSION, count, small(content_start + content.len())?] {
        out.extend_from_slice(&value.to_le_bytes());
    }
    debug_assert_eq!(out.len(), CRC_AT);
    let crc = table_checksum(&out, table);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(table);
    out.resize(content_start, 0);
    out.extend_from_slice(content);
    Ok(out)
}

fn small(value: usize) -> Result<u32, ArchiveError> {
    u32::try_from(value).map_err(|_| ArchiveError::TooLarge)
}
