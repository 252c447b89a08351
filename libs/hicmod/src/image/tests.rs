use std::string::String;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

const BASE: u64 = 0x7000_0000;

/// One page of each kind, one relocated word at the start of the data, half a page of bss.
fn small() -> ImageParts {
    let mut body = vec![0xAA; PAGE_SIZE];
    body.extend_from_slice(&[0xCC; PAGE_SIZE]);
    body.extend_from_slice(&0x10u64.to_le_bytes());
    body.extend_from_slice(&[0xDD; 24]);
    ImageParts {
        ro_pages: 1,
        rx_pages: 1,
        bss_bytes: 2048,
        entry: PAGE_SIZE as u32 + 4,
        relocations: vec![2 * PAGE_SIZE as u32],
        exports: vec!["netstack".into()],
        body,
    }
}

fn refusal(change: impl FnOnce(&mut ImageParts)) -> ImageError {
    let mut parts = small();
    change(&mut parts);
    parts.encode().expect_err("this image must be refused")
}

#[test]
fn a_placed_image_is_copied_cleared_and_relocated() {
    let bytes = small().encode().unwrap();
    let image = Image::parse(&bytes).unwrap();
    let mut memory = vec![0xFF; image.memory_bytes() + 16];

    let placed = image.place(&mut memory, BASE).unwrap();

    assert_eq!(placed.entry, BASE + 4096 + 4);
    assert_eq!(memory[0], 0xAA);
    assert_eq!(memory[4096], 0xCC);
    assert_eq!(memory[8192..8200], (BASE + 0x10).to_le_bytes());
    assert_eq!(memory[8200..8224], [0xDD; 24]);
    assert!(memory[8224..3 * 4096].iter().all(|&b| b == 0), "bss and the rest of its page are zero");
    assert_eq!(memory[3 * 4096..], [0xFF; 16], "memory beyond the image is left alone");
}

#[test]
fn a_restart_in_place_restores_exactly_the_writable_run() {
    let bytes = small().encode().unwrap();
    let image = Image::parse(&bytes).unwrap();
    let mut first = vec![0; image.memory_bytes()];
    let placed = image.place(&mut first, BASE).unwrap();
    let mut again = first.clone();
    let writable = &mut again[image.layout().rw];
    writable.fill(0x55);

    assert_eq!(image.place_data(writable, BASE).unwrap(), placed);
    assert_eq!(again, first);
}

#[test]
fn the_layout_is_in_whole_pages() {
    let bytes = small().encode().unwrap();
    let image = Image::parse(&bytes).unwrap();
    assert_eq!(image.layout(), Layout { ro: 0..4096, rx: 4096..8192, rw: 8192..12288 });
    assert_eq!(image.memory_pages(), 3);
}

#[test]
fn an_image_without_read_only_or_writable_pages_is_fine() {
    let parts =
        ImageParts { rx_pages: 1, body: vec![0x90; PAGE_SIZE], ..ImageParts::default() }.encode().unwrap();
    let image = Image::parse(&parts).unwrap();
    let mut memory = vec![0; PAGE_SIZE];
    assert_eq!(image.place(&mut memory, BASE).unwrap().entry, BASE);
}

#[test]
fn an_entry_outside_the_executable_pages_is_refused() {
    for entry in [0, 4095, 8192, u32::MAX] {
        assert!(matches!(refusal(|p| p.entry = entry), ImageError::Entry { .. }), "{entry}");
    }
}

#[test]
fn relocations_outside_the_data_are_refused() {
    for offset in [0, 4096, 8192 + 32, 12288, 0xFFFF_FFF8] {
        let error = refusal(|p| p.relocations = vec![offset]);
        assert!(matches!(error, ImageError::RelocationOutside { .. }), "{offset}: {error}");
    }
}

#[test]
fn relocations_must_be_aligned_ascending_and_single() {
    assert_eq!(refusal(|p| p.relocations = vec![8193]), ImageError::RelocationUnaligned { offset: 8193 });
    let twice = refusal(|p| p.relocations = vec![8192, 8192]);
    assert_eq!(twice, ImageError::RelocationOrder { offset: 8192 });
    let descending = refusal(|p| {
        p.body[8200..8208].fill(0);
        p.relocations = vec![8200, 8192];
    });
    assert_eq!(descending, ImageError::RelocationOrder { offset: 8192 });
}

#[test]
fn a_relocated_value_may_point_to_the_end_and_no_further() {
    let with_addend = |addend: u64| {
        let mut parts = small();
        parts.body[8192..8200].copy_from_slice(&addend.to_le_bytes());
        parts.encode()
    };
    assert!(with_addend(12288).is_ok());
    for addend in [12289, u64::MAX] {
        let error = with_addend(addend).unwrap_err();
        assert_eq!(error, ImageError::AddendOutside { offset: 8192, addend, span: 12288 });
    }
}

#[test]
fn images_beyond_the_limit_are_refused_without_overflow() {
    assert!(matches!(refusal(|p| p.bss_bytes = u32::MAX), ImageError::TooLarge { .. }));
    let mut bytes = small().encode().unwrap();
    for field in [8, 12, 16, 20] {
        let kept: [u8; 4] = bytes[field..field + 4].try_into().unwrap();
        bytes[field..field + 4].fill(0xFF);
        assert!(matches!(Image::parse(&bytes), Err(ImageError::TooLarge { .. })), "field {field}");
        bytes[field..field + 4].copy_from_slice(&kept);
    }
    bytes[28..32].fill(0xFF);
    assert_eq!(Image::parse(&bytes).unwrap_err(), ImageError::TooManyRelocations { count: u32::MAX });
}

#[test]
fn an_image_without_code_is_refused() {
    let error = ImageParts { ro_pages: 1, body: vec![0; PAGE_SIZE], ..ImageParts::default() }.encode();
    assert_eq!(error.unwrap_err(), ImageError::NothingToExecute);
}

#[test]
fn other_headers_are_refused() {
    let good = small().encode().unwrap();
    let changed = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        Image::parse(&bytes).unwrap_err()
    };
    assert_eq!(changed(0, b'h'), ImageError::Magic);
    assert_eq!(changed(4, 1), ImageError::Version { found: 1 }, "the one without exports");
    assert_eq!(changed(4, 3), ImageError::Version { found: 3 });
    assert_eq!(changed(6, 40), ImageError::Version { found: 2 });
    assert_eq!(changed(40, 1), ImageError::Reserved);
}

#[test]
fn truncated_or_extended_images_are_refused() {
    let good = small().encode().unwrap();
    for length in 0..good.len() {
        assert!(Image::parse(&good[..length]).is_err(), "cut to {length}");
    }
    let mut longer = good.clone();
    longer.push(0);
    let expected = ImageError::TrailingBytes { expected: good.len(), found: good.len() + 1 };
    assert_eq!(Image::parse(&longer).unwrap_err(), expected);
}

#[test]
fn memory_that_is_too_small_is_not_touched() {
    let bytes = small().encode().unwrap();
    let image = Image::parse(&bytes).unwrap();
    let mut memory = vec![0x11; image.memory_bytes() - 1];
    let error = image.place(&mut memory, BASE).unwrap_err();
    assert_eq!(error, ImageError::TargetTooSmall { needed: 12288, found: 12287 });
    assert!(memory.iter().all(|&b| b == 0x11));
    assert!(image.place_data(&mut [0; 4095], BASE).is_err());
}

#[test]
fn bad_load_addresses_are_refused() {
    let bytes = small().encode().unwrap();
    let image = Image::parse(&bytes).unwrap();
    let mut memory = vec![0; image.memory_bytes()];
    for load_address in [1, BASE + 8, 0u64.wrapping_sub(4096)] {
        let expected = Err(ImageError::LoadAddress { load_address });
        assert_eq!(image.place(&mut memory, load_address), expected);
        assert_eq!(image.place_data(&mut memory, load_address), expected);
    }
}

fn any_parts() -> impl Strategy<Value = ImageParts> {
    let words = prop::collection::vec((any::<bool>(), any::<u16>()), 0..700);
    let sizes = (0u32..3, 1u32..3, 0u32..9000);
    let exports = prop::collection::btree_set("[a-z0-9][a-z0-9_.-]{0,23}", 0..9);
    (sizes, any::<u16>(), words, exports).prop_map(|((ro_pages, rx_pages, bss), entry, words, exports)| {
        let rw_start = (ro_pages + rx_pages) * 4096;
        let mut body: Vec<u8> = (0..rw_start).map(|at| at as u8).collect();
        let mut relocations = Vec::new();
        for (relocated, value) in words {
            if relocated {
                relocations.push(body.len() as u32);
                body.extend_from_slice(&(u64::from(value) % u64::from(rw_start)).to_le_bytes());
            } else {
                body.extend_from_slice(&[value as u8; 8]);
            }
        }
        let entry = ro_pages * 4096 + u32::from(entry) % (rx_pages * 4096);
        let exports = exports.into_iter().collect();
        ImageParts { ro_pages, rx_pages, bss_bytes: bss, entry, relocations, exports, body }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_encoded_is_read_back(parts in any_parts()) {
        let bytes = parts.encode().unwrap();
        let image = Image::parse(&bytes).unwrap();
        prop_assert_eq!(image.body(), &parts.body[..]);
        prop_assert_eq!(image.exports().iter().map(String::from).collect::<Vec<_>>(), &parts.exports[..]);
        prop_assert_eq!(image.relocations().collect::<Vec<_>>(), &parts.relocations[..]);
        prop_assert_eq!(ImageParts::from(&image), parts.clone());
        prop_assert_eq!((image.entry(), image.bss_bytes()), (parts.entry, parts.bss_bytes));
    }

    #[test]
    fn every_relocated_word_points_into_the_placed_module(parts in any_parts()) {
        let bytes = parts.encode().unwrap();
        let image = Image::parse(&bytes).unwrap();
        let mut memory = vec![0xFF; image.memory_bytes()];
        image.place(&mut memory, BASE).unwrap();
        for offset in parts.relocations {
            let value = u64_at(&memory, offset as usize).unwrap();
            prop_assert!((BASE..=BASE + image.memory_bytes() as u64).contains(&value));
        }
        let fresh: Vec<u8> = parts.body.iter().copied().chain(core::iter::repeat(0)).take(memory.len()).collect();
        let unchanged = (0..memory.len()).filter(|&at| memory[at] == fresh[at]).count();
        prop_assert!(unchanged >= memory.len() - 8 * image.relocations().len());
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), magic: bool) {
        if magic && bytes.len() >= 8 {
            bytes[..8].copy_from_slice(b"HICI\x02\x00\x30\x00");
        }
        let _ = Image::parse(&bytes);
    }

    #[test]
    fn a_flipped_bit_is_refused_or_still_placed_within_bounds(at: prop::sample::Index, bit in 0u8..8) {
        let mut bytes = small().encode().unwrap();
        // Most of the file is text; the header, the relocation, the exported service and the data are where a flip matters.
        const HEAD: usize = HEADER_BYTES + 4 + 24;
        let at = at.index(HEAD + 32);
        let at = if at < HEAD { at } else { bytes.len() - 32 + (at - HEAD) };
        bytes[at] ^= 1 << bit;
        if let Ok(image) = Image::parse(&bytes) {
            let mut memory = vec![0; image.memory_bytes()];
            let placed = image.place(&mut memory, BASE).unwrap();
            prop_assert!(placed.entry < BASE + memory.len() as u64);
        }
    }
}
