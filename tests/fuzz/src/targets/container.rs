//! The container of a module. What was read is written again, and must be the same file: no byte of it means nothing.

use hic_hicmod::Container;
use hic_hicmod::container::{MAX_SECTIONS, Module, NewSection, encode};

use super::assert_sentence;

/// Tries the bytes as they are, and with their checksums made right.
pub fn run(bytes: &[u8]) {
    one(bytes);
    if let Some(repaired) = repaired(bytes) {
        one(&repaired);
    }
}

fn one(bytes: &[u8]) {
    match Container::parse(bytes) {
        Ok(container) => whole(bytes, &container),
        Err(error) => {
            assert_sentence(&error, 200);
            assert!(Module::parse(bytes).is_err(), "a module in what is no container");
        }
    }
}

fn whole(bytes: &[u8], container: &Container<'_>) {
    let sections: Vec<NewSection<'_>> = container
        .sections()
        .map(|section| NewSection { kind: section.kind, critical: section.critical, bytes: section.bytes })
        .collect();
    assert!(sections.len() <= usize::from(MAX_SECTIONS));
    assert_eq!(encode(&sections).expect("what was read can be written"), bytes);
    match Module::parse(bytes) {
        Ok(module) => {
            module.manifest.check().expect("the manifest was checked");
            super::image::place(&module.image);
        }
        Err(error) => assert_sentence(&error, 300),
    }
}

/// Where the format has its checksums (`docs/spec/hicmod.md`).
const TABLE: usize = 24;
const ROW: usize = 16;
const TABLE_CRC: usize = 16;
const ROW_CRC: usize = 12;

/// The bytes with each checksum as it should be, so that what lies behind them is reached; `None` if the table does not lie in them.
pub fn repaired(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = bytes.to_vec();
    let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize);
    let count = usize::from(u16::from_le_bytes(*bytes.get(10..)?.first_chunk()?)).min(MAX_SECTIONS.into());
    for row in (0..count).map(|index| TABLE + index * ROW) {
        let (start, length) = (word(row + 4)?, word(row + 8)?);
        if let Some(section) = bytes.get(start..start.saturating_add(length)) {
            out.get_mut(row + ROW_CRC..row + ROW)?.copy_from_slice(&crc32fast::hash(section).to_le_bytes());
        }
    }
    let mut hash = crc32fast::Hasher::new();
    hash.update(out.get(..TABLE_CRC)?);
    hash.update(out.get(TABLE..TABLE + count * ROW)?);
    out[TABLE_CRC..TABLE_CRC + 4].copy_from_slice(&hash.finalize().to_le_bytes());
    Some(out)
}
