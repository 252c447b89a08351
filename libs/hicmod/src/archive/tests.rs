use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

const FILES: [(&str, &[u8]); 3] =
    [("keeper", b"first"), ("empty", b""), ("a-name-of-24-bytes-here.", b"third")];

#[test]
fn files_are_found_by_name_and_listed_in_order() {
    let bytes = encode(&FILES).unwrap();
    let archive = Archive::parse(&bytes).unwrap();
    assert_eq!(archive.find("keeper").unwrap().bytes(), Ok(&b"first"[..]));
    assert!(archive.find("empty").unwrap().is_empty());
    assert!(archive.find("keepe").is_none());
    let listed: Vec<_> = archive.iter().map(|entry| (entry.name, entry.bytes().unwrap())).collect();
    assert_eq!(listed, FILES);
    assert_eq!(archive.len(), 3);
}

#[test]
fn each_file_starts_on_a_page_of_its_own() {
    let bytes = encode(&FILES).unwrap();
    for entry in Archive::parse(&bytes).unwrap().iter() {
        assert_eq!(entry.offset % FILE_ALIGN, 0, "{}", entry.name);
    }
}

#[test]
fn an_archive_without_files_is_fine() {
    let bytes = encode(&[]).unwrap();
    let archive = Archive::parse(&bytes).unwrap();
    assert!(archive.is_empty() && archive.iter().next().is_none());
}

#[test]
fn padding_added_by_a_boot_loader_is_ignored() {
    let mut bytes = encode(&FILES).unwrap();
    let total = bytes.len();
    bytes.resize(total.next_multiple_of(4096), 0xEE);
    assert_eq!(Archive::parse(&bytes).unwrap().total_bytes(), total);
}

#[test]
fn bad_and_equal_names_are_refused() {
    assert_eq!(encode(&[("a/b", b"")]), Err(ArchiveError::Name { index: 0 }));
    assert_eq!(encode(&[("a", b""), ("b", b""), ("a", b"x")]), Err(ArchiveError::DuplicateName { index: 2 }));
}

#[test]
fn too_many_files_are_refused() {
    let names: Vec<String> = (0..=MAX_ENTRIES).map(|n| format!("file-{n}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    assert_eq!(encode(&files), Err(ArchiveError::TooManyEntries { count: MAX_ENTRIES + 1 }));
    assert!(encode(&files[..MAX_ENTRIES as usize]).is_ok());
}

#[test]
fn truncations_are_refused() {
    let bytes = encode(&FILES).unwrap();
    for length in 0..bytes.len() {
        assert!(Archive::parse(&bytes[..length]).is_err(), "cut to {length}");
    }
}

#[test]
fn every_flipped_bit_of_the_table_is_refused() {
    let good = encode(&FILES).unwrap();
    for at in 0..HEADER_BYTES + FILES.len() * ENTRY_BYTES {
        for bit in 0..8 {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << bit;
            assert!(Archive::parse(&bytes).is_err(), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn a_flipped_bit_of_a_file_is_refused_when_it_is_read_and_spoils_no_other() {
    let mut bytes = encode(&FILES).unwrap();
    let offset = Archive::parse(&bytes).unwrap().find("keeper").unwrap().offset;
    bytes[offset + 2] ^= 4;
    let archive = Archive::parse(&bytes).unwrap();
    assert!(matches!(archive.find("keeper").unwrap().bytes(), Err(ArchiveError::FileChecksum { .. })));
    assert!(archive.iter().skip(1).all(|entry| entry.bytes().is_ok()));
}

/// Changes the table and makes its checksum right again: what an attacker, unlike an accident, would do.
fn forged(change: impl FnOnce(&mut [u8])) -> Result<usize, ArchiveError> {
    let mut bytes = encode(&FILES).unwrap();
    change(&mut bytes);
    reseal(&mut bytes);
    Archive::parse(&bytes).map(|archive| archive.len())
}

fn reseal(bytes: &mut [u8]) {
    let count = u32_at(bytes, 12).unwrap() as usize;
    let Some(table) = slice_at(bytes, HEADER_BYTES, count.saturating_mul(ENTRY_BYTES)) else { return };
    let crc = table_checksum(&bytes[..CRC_AT], table);
    bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn forged_tables_are_refused() {
    let row = |index: usize| HEADER_BYTES + index * ENTRY_BYTES;
    assert_eq!(forged(|_| ()), Ok(3));
    assert_eq!(forged(|b| b[8] = 2), Err(ArchiveError::Version { found: 2 }));
    assert_eq!(forged(|b| b[row(0) + 24] += 1), Err(ArchiveError::Position { index: 0 }));
    assert_eq!(forged(|b| b[row(1) + 25] = 0x10), Err(ArchiveError::Position { index: 1 }), "overlap");
    assert_eq!(forged(|b| b[row(2) + 28] = 6), Err(ArchiveError::Position { index: 2 }), "beyond the end");
    assert_eq!(forged(|b| b[row(0) + 24..row(0) + 32].fill(0xFF)), Err(ArchiveError::Position { index: 0 }));
    assert_eq!(forged(|b| b[row(0) + 24..row(0) + 28].fill(0)), Err(ArchiveError::Position { index: 0 }));
    assert_eq!(forged(|b| b[row(1) + 36] = 1), Err(ArchiveError::Reserved { index: 1 }));
    assert_eq!(
        forged(|b| b[row(0) + 20] = b'x'),
        Err(ArchiveError::Name { index: 0 }),
        "hidden after the name"
    );
    assert!(matches!(forged(|b| b[16..20].fill(0)), Err(ArchiveError::Truncated { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_encoded_is_read_back(contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6000), 0..8)) {
        let names: Vec<String> = (0..contents.len()).map(|n| format!("file-{n}")).collect();
        let files: Vec<(&str, &[u8])> =
            names.iter().map(String::as_str).zip(contents.iter().map(Vec::as_slice)).collect();
        let bytes = encode(&files).unwrap();
        let archive = Archive::parse(&bytes).unwrap();
        let read: Vec<_> = archive.iter().map(|entry| (entry.name, entry.bytes().unwrap())).collect();
        prop_assert_eq!(read, files);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut with_header = vec![];
        with_header.extend_from_slice(b"HICARCHV\x01\0\0\0");
        with_header.extend_from_slice(&bytes);
        for bytes in [&mut bytes.clone(), &mut with_header] {
            let _ = Archive::parse(bytes);
            if bytes.len() > HEADER_BYTES {
                let count = u32::from(bytes[12] % 7);
                bytes[12..16].copy_from_slice(&count.to_le_bytes());
                reseal(bytes);
                if let Ok(archive) = Archive::parse(bytes) {
                    archive.iter().for_each(|entry| assert!(entry.bytes().map_or(0, <[u8]>::len) <= bytes.len()));
                }
            }
        }
    }

    #[test]
    fn forged_rows_never_panic_and_never_overlap(row in prop::collection::vec(any::<u8>(), 16), index in 0usize..3) {
        let mut bytes = encode(&FILES).unwrap();
        let at = HEADER_BYTES + index * ENTRY_BYTES + 24;
        bytes[at..at + 16].copy_from_slice(&row);
        reseal(&mut bytes);
        if let Ok(archive) = Archive::parse(&bytes) {
            let mut end = 0;
            for entry in archive.iter() {
                prop_assert!(entry.offset >= end && entry.offset + entry.len() <= bytes.len());
                end = entry.offset + entry.len();
            }
        }
    }
}

#[test]
fn the_time_of_making_is_eight_bytes_or_unknown() {
    let built = |bytes: &[u8]| Archive::parse(&encode(&[(BUILT, bytes)]).unwrap()).unwrap().built();
    assert_eq!(built(&1_800_000_000u64.to_le_bytes()), Some(1_800_000_000));
    assert_eq!((built(&[0; 7]), built(&[0; 9]), built(&[])), (None, None, None));
    assert_eq!(Archive::parse(&encode(&[]).unwrap()).unwrap().built(), None);
    let mut damaged = encode(&[(BUILT, &[1; 8])]).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(Archive::parse(&damaged).unwrap().built(), None);
}
