use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::write::assemble;
use super::*;
use crate::image::{ImageParts, PAGE_SIZE};
use crate::manifest::{self, MAX_MANIFEST_BYTES, ManifestError};

fn manifest_bytes() -> Vec<u8> {
    let mut buffer = [0; MAX_MANIFEST_BYTES];
    manifest::encode(&manifest::tests::netstack(), &mut buffer).unwrap().to_vec()
}

fn image_bytes() -> Vec<u8> {
    image_that_exports(&["netstack"])
}

fn image_that_exports(services: &[&str]) -> Vec<u8> {
    let exports = services.iter().map(ToString::to_string).collect();
    ImageParts { rx_pages: 1, exports, body: vec![0x90; PAGE_SIZE], ..ImageParts::default() }
        .encode()
        .unwrap()
}

fn section(kind: SectionKind, critical: bool, bytes: &[u8]) -> NewSection<'_> {
    NewSection { kind, critical, bytes }
}

fn module() -> Vec<u8> {
    let (manifest, image) = (manifest_bytes(), image_bytes());
    encode(&[section(SectionKind::Manifest, true, &manifest), section(SectionKind::Image, true, &image)])
        .unwrap()
}

#[test]
fn a_module_is_read_back() {
    let bytes = module();
    let module = Module::parse(&bytes).unwrap();
    assert_eq!(module.manifest, manifest::tests::netstack());
    assert_eq!(module.image.memory_pages(), 1);
    assert!(Container::parse(&bytes).unwrap().image().unwrap().is_ok());
}

#[test]
fn every_truncation_of_a_module_is_refused() {
    let bytes = module();
    for length in 0..bytes.len() {
        assert!(Module::parse(&bytes[..length]).is_err(), "cut to {length}");
    }
}

#[test]
fn a_flipped_bit_in_any_byte_of_a_module_is_refused() {
    let mut bytes = module();
    for at in 0..bytes.len() {
        bytes[at] ^= 1 << (at % 8);
        assert!(Module::parse(&bytes).is_err(), "byte {at}");
        bytes[at] ^= 1 << (at % 8);
    }
}

#[test]
fn an_unknown_optional_section_is_skipped() {
    let (manifest, image) = (manifest_bytes(), image_bytes());
    let bytes = encode(&[
        section(SectionKind::Unknown(17), false, b"signature"),
        section(SectionKind::Manifest, true, &manifest),
        section(SectionKind::Image, true, &image),
    ])
    .unwrap();
    assert!(Module::parse(&bytes).is_ok());
    assert_eq!(Container::parse(&bytes).unwrap().find(SectionKind::Unknown(17)), Some(&b"signature"[..]));
}

#[test]
fn an_unknown_critical_section_is_refused() {
    let error = encode(&[section(SectionKind::Unknown(77), true, b"?")]).unwrap_err();
    assert_eq!(error, ContainerError::UnknownCritical { index: 0, kind: 77 });
}

#[test]
fn a_second_section_of_one_kind_is_refused() {
    let image = image_bytes();
    let twice = [section(SectionKind::Image, true, &image), section(SectionKind::Image, true, &image)];
    assert_eq!(encode(&twice).unwrap_err(), ContainerError::DuplicateKind { index: 1, kind: 2 });
}

#[test]
fn a_module_needs_a_manifest_and_an_image() {
    let (manifest, image) = (manifest_bytes(), image_bytes());
    let only = |kind, bytes| encode(&[section(kind, true, bytes)]).unwrap();
    let no_manifest = only(SectionKind::Image, &image);
    assert_eq!(Module::parse(&no_manifest).unwrap_err(), ModuleError::NoManifest);
    let no_image = only(SectionKind::Manifest, &manifest);
    assert_eq!(Module::parse(&no_image).unwrap_err(), ModuleError::NoImage);
}

#[test]
fn the_part_at_fault_is_named() {
    let (manifest, image) = (manifest_bytes(), image_bytes());
    let with = |manifest: &[u8], image: &[u8]| {
        let sections =
            [section(SectionKind::Manifest, true, manifest), section(SectionKind::Image, true, image)];
        Module::parse(&encode(&sections).unwrap()).unwrap_err()
    };
    assert_eq!(with(b"", &image), ModuleError::Manifest(ManifestError::Encoding));
    assert_eq!(with(b"\x01\0", &image), ModuleError::Manifest(ManifestError::Schema { found: 1 }));
    assert!(matches!(with(&manifest, b"HICI"), ModuleError::Image(_)));
    assert!(matches!(Module::parse(b"\x7fELF").unwrap_err(), ModuleError::Container(_)));
}

/// What comes of a module whose manifest provides these services and whose program exports those.
fn compared(provides: &[&str], exports: &[&str]) -> Result<(), ModuleError> {
    let mut manifest = manifest::tests::netstack();
    manifest.provides = provides.iter().map(|service| service.parse().unwrap()).collect();
    let mut buffer = [0; MAX_MANIFEST_BYTES];
    let manifest = manifest::encode(&manifest, &mut buffer).unwrap();
    let image = image_that_exports(exports);
    let bytes =
        encode(&[section(SectionKind::Manifest, true, manifest), section(SectionKind::Image, true, &image)]);
    Module::parse(&bytes.unwrap()).map(drop)
}

#[test]
fn manifest_and_program_must_name_the_same_services_in_whatever_order() {
    let eight: Vec<String> = (0..8).map(|number| number.to_string()).collect();
    let eight: Vec<&str> = eight.iter().map(String::as_str).collect();
    let turned: Vec<&str> = eight.iter().rev().copied().collect();
    for (provides, exports) in [
        (&[][..], &[][..]),
        (&["netstack"], &["netstack"]),
        (&["netstack", "resolver"], &["resolver", "netstack"]),
        (&eight, &turned),
    ] {
        assert_eq!(compared(provides, exports), Ok(()), "{provides:?} {exports:?}");
    }
    let not_provided = |service: &str| {
        Err(ModuleError::Exports(ExportsError::NotProvided { service: service.parse().unwrap() }))
    };
    let not_exported = |service: &str| {
        Err(ModuleError::Exports(ExportsError::NotExported { service: service.parse().unwrap() }))
    };
    assert_eq!(compared(&["netstack"], &[]), not_exported("netstack"), "it exports nothing");
    assert_eq!(compared(&[], &["netstack"]), not_provided("netstack"), "nothing is provided");
    assert_eq!(compared(&["netstack"], &["netstack", "resolver"]), not_provided("resolver"));
    assert_eq!(compared(&["netstack", "resolver"], &["netstack"]), not_exported("resolver"));
    assert_eq!(compared(&["netstack"], &["netstac"]), not_provided("netstac"), "the program comes first");
}

#[test]
fn too_many_sections_are_refused() {
    let sections: Vec<_> = (100..117).map(|code| section(SectionKind::Unknown(code), false, b"x")).collect();
    assert_eq!(encode(&sections), Err(ContainerError::TooManySections { count: 17 }));
    assert!(encode(&sections[..16]).is_ok());
}

/// Changes the container and makes the table's checksum right again.
fn forged(change: impl FnOnce(&mut Vec<u8>)) -> Result<(), ContainerError> {
    let mut bytes = assemble(&[
        section(SectionKind::Unknown(90), false, b"hello"),
        section(SectionKind::Unknown(91), false, b"world"),
    ])
    .unwrap();
    change(&mut bytes);
    reseal(&mut bytes);
    Container::parse(&bytes).map(drop)
}

fn reseal(bytes: &mut [u8]) {
    let count = usize::from(u16_at(bytes, 10).unwrap());
    let Some(table) = slice_at(bytes, HEADER_BYTES, count * ROW_BYTES) else { return };
    let crc = table_checksum(&bytes[..CRC_AT], table);
    bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn forged_tables_are_refused() {
    let row = |index: usize| HEADER_BYTES + index * ROW_BYTES;
    assert_eq!(forged(|_| ()), Ok(()));
    assert_eq!(forged(|b| b[0] = b'h'), Err(ContainerError::Magic));
    assert_eq!(forged(|b| b[8] = 9), Err(ContainerError::Version { found: 9 }));
    assert_eq!(forged(|b| b[10] = 17), Err(ContainerError::TooManySections { count: 17 }));
    assert_eq!(forged(|b| b[20] = 1), Err(ContainerError::Reserved));
    assert_eq!(forged(|b| b[row(1) + 2] = 2), Err(ContainerError::Flags { index: 1, flags: 2 }));
    assert_eq!(forged(|b| b[row(1) + 4] -= 8), Err(ContainerError::Position { index: 1 }), "overlap");
    assert_eq!(forged(|b| b[row(1) + 8] = 6), Err(ContainerError::Position { index: 1 }), "beyond the end");
    assert_eq!(forged(|b| b[row(1) + 4..row(1) + 12].fill(0xFF)), Err(ContainerError::Position { index: 1 }));
    assert_eq!(
        forged(|b| b[row(2) + 6] = 1),
        Err(ContainerError::Position { index: 1 }),
        "byte in the padding"
    );
    let grown = forged(|b| {
        b.push(0);
        b[12] += 1;
    });
    assert!(matches!(grown, Err(ContainerError::TrailingBytes { .. })));
    let shorter_than_it_is = forged(|b| b[12] -= 8);
    assert!(matches!(shorter_than_it_is, Err(ContainerError::TrailingBytes { .. })));
    let cut = forged(|b| b.truncate(b.len() - 1));
    assert!(matches!(cut, Err(ContainerError::Truncated { .. })));
    let gap = forged(|b| {
        let second = u32_at(b, row(1) + 4).unwrap() as usize;
        b.splice(second..second, [0; SECTION_ALIGN]);
        b[row(1) + 4] += SECTION_ALIGN as u8;
        b[12] += SECTION_ALIGN as u8;
    });
    assert_eq!(gap, Err(ContainerError::Position { index: 1 }), "zeroes, but more than padding");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_encoded_is_read_back(contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..9)) {
        let sections: Vec<_> = contents
            .iter()
            .enumerate()
            .map(|(n, bytes)| section(SectionKind::Unknown(1000 + n as u16), false, bytes))
            .collect();
        let bytes = encode(&sections).unwrap();
        let read: Vec<_> = Container::parse(&bytes).unwrap().sections().map(|s| s.bytes.to_vec()).collect();
        prop_assert_eq!(read, contents);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Module::parse(&bytes);
        let mut with_header = b"HICMOD\r\n\x01\0".to_vec();
        with_header.extend_from_slice(&bytes);
        let _ = Module::parse(&with_header);
    }

    #[test]
    fn forged_rows_never_panic(row in prop::collection::vec(any::<u8>(), ROW_BYTES), index in 0usize..2) {
        let _ = forged(|bytes| {
            let at = HEADER_BYTES + index * ROW_BYTES;
            bytes[at..at + ROW_BYTES].copy_from_slice(&row);
        });
    }
}
