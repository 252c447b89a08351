//! From ELF to image: what is kept, and that each thing a module cannot have is refused by name.

mod common;

use common::*;
use hic_hicmod::manifest::Version;
use hic_hicmod::{ImageError, Module};
use hicmod_tool::{ElfError, PackError, flatten, pack, pack_built};
use proptest::prelude::*;

fn refusal(change: impl FnOnce(&mut Elf)) -> ElfError {
    let mut elf = Elf::good();
    change(&mut elf);
    flatten(&elf.bytes()).expect_err("this file must be refused")
}

#[test]
fn segments_keep_their_addresses_and_relocations_are_sorted_with_addends_in_place() {
    let parts = flatten(&Elf::good().bytes()).unwrap();
    assert_eq!((parts.ro_pages, parts.rx_pages, parts.entry), (1, 1, 0x1010));
    assert_eq!((parts.body.len(), parts.bss_bytes), (0x2030, 0x1500 - 0x30));
    assert_eq!(parts.relocations, [0x2000, 0x2010]);
    assert_eq!(parts.body[0x2000..0x2008], 0x10u64.to_le_bytes());
    assert_eq!(parts.body[0x2010..0x2018], 0x1008u64.to_le_bytes());
    assert_eq!(parts.body[0x1000..0x1010], [0; 0x10], "the gap before the code is zero");
    assert_eq!(parts.body[0x1010], 0xCC);
}

#[test]
fn a_packed_file_is_a_module_that_can_be_placed() {
    let bytes = pack(&Elf::good().bytes(), MANIFEST).unwrap();
    let module = Module::parse(&bytes).unwrap();
    assert_eq!(module.manifest.name, "echo");
    let mut memory = vec![0xFF; module.image.memory_bytes()];
    let placed = module.image.place(&mut memory, 0x40_0000).unwrap();
    assert_eq!(placed.entry, 0x40_1010);
    assert_eq!(memory[0x2010..0x2018], 0x40_1008u64.to_le_bytes());
}

#[test]
fn relro_before_data_is_one_writable_run() {
    let mut elf = Elf::good();
    elf.segments.insert(3, load(RW, 0x4000, vec![0xEE; 8], 0x100));
    let parts = flatten(&elf.bytes()).unwrap();
    assert_eq!((parts.body.len(), parts.bss_bytes), (0x4008, 0xF8));
    assert_eq!(parts.body[0x3000..0x4000], [0; 0x1000], "what lies between the two is zero");
}

#[test]
fn files_which_are_not_pie_for_this_machine_are_refused() {
    assert_eq!(refusal(|elf| elf.kind = 2), ElfError::NotPie { found: 2 });
    assert_eq!(refusal(|elf| elf.machine = 183), ElfError::Machine { found: 183 });
    assert!(matches!(refusal(|elf| elf.class = 1), ElfError::NotElf64(_)));
    assert!(matches!(flatten(b"#!/bin/sh").unwrap_err(), ElfError::NotElf64(_)));
}

#[test]
fn what_needs_a_dynamic_linker_or_thread_storage_is_refused() {
    assert_eq!(refusal(|elf| elf.add(PT_INTERP)), ElfError::Interpreter);
    assert_eq!(refusal(|elf| elf.add(PT_TLS)), ElfError::ThreadLocal);
    assert_eq!(refusal(|elf| elf.set_dynamic(&[(1, 0)])), ElfError::NeedsLibrary);
    assert_eq!(refusal(|elf| elf.set_dynamic(&[(22, 0)])), ElfError::TextRelocations);
    for tag in [17, 23, 36] {
        let expected = ElfError::RelocationForm { tag: tag as i64 };
        assert_eq!(refusal(|elf| elf.set_dynamic(&[(tag, 0)])), expected);
    }
    let odd_entries = [(7, 0x100), (8, 24), (9, 16)];
    assert_eq!(refusal(|elf| elf.set_dynamic(&odd_entries)), ElfError::RelocationForm { tag: 9 });
}

#[test]
fn segments_which_break_the_page_classes_are_refused() {
    let writable_code = refusal(|elf| elf.segments[1].flags = RWX);
    assert_eq!(writable_code, ElfError::WritableAndExecutable { address: 0x1010 });
    assert_eq!(refusal(|elf| elf.segments[1].flags = R), ElfError::NothingToExecute);
    assert_eq!(refusal(|elf| elf.segments[1].flags = RW), ElfError::NothingToExecute);
    let text_last = refusal(|elf| elf.segments[2].flags = R);
    assert_eq!(text_last, ElfError::SegmentOrder { address: 0x2000 });
    let shared = refusal(|elf| elf.segments[1].address = 0x800);
    assert_eq!(shared, ElfError::SharedPage { address: 0x800 });
    let overlap = refusal(|elf| elf.segments[1].address = 0x80);
    assert_eq!(overlap, ElfError::SegmentOverlap { address: 0x80 });
}

#[test]
fn segments_beyond_the_file_the_image_or_the_address_space_are_refused() {
    let base = refusal(|elf| elf.segments.iter_mut().for_each(|s| s.address += 0x20_0000));
    assert_eq!(base, ElfError::Base { address: 0x20_0000 });
    let shrunk = refusal(|elf| elf.segments[0].memory_bytes = 1);
    assert_eq!(shrunk, ElfError::SegmentBounds { address: 0 });
    let wrapped = refusal(|elf| elf.segments[2].address = u64::MAX - 0xFF);
    assert_eq!(wrapped, ElfError::SegmentBounds { address: u64::MAX - 0xFF });
    let large = refusal(|elf| elf.segments[2].memory_bytes = 1 << 30);
    assert_eq!(large, ElfError::TooLarge { end: 0x2000 + (1 << 30) });
    let good = Elf::good().bytes();
    assert!(flatten(&good[..good.len() - 0x80]).is_err(), "cut off in the last segment");
}

#[test]
fn entries_outside_the_code_are_refused() {
    assert_eq!(refusal(|elf| elf.entry = 0), ElfError::NoEntry);
    assert_eq!(refusal(|elf| elf.entry = 1 << 40), ElfError::EntryOutside { entry: 1 << 40 });
    let mut elf = Elf::good();
    elf.entry = 0x2000;
    let error = pack(&elf.bytes(), MANIFEST).unwrap_err();
    assert!(matches!(error, PackError::Image(ImageError::Entry { entry: 0x2000, .. })), "{error}");
}

#[test]
fn relocations_other_than_relative_ones_to_data_are_refused() {
    let with =
        |offset, kind, addend| pack(&Elf::with_relocations(&[(offset, kind, addend)]).bytes(), MANIFEST);
    let refused = |offset, kind| match with(offset, kind, 0) {
        Err(PackError::Elf(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(with(0x2000, RELATIVE, 0).is_ok());
    assert_eq!(refused(0x2000, 6), ElfError::RelocationKind { offset: 0x2000, kind: 6 });
    assert_eq!(refused(0x1010, RELATIVE), ElfError::RelocationInText { offset: 0x1010 });
    assert_eq!(refused(0x2030, RELATIVE), ElfError::RelocationOutside { offset: 0x2030 });
    assert_eq!(refused(u64::MAX, RELATIVE), ElfError::RelocationOutside { offset: u64::MAX });
    let unaligned = with(0x2004, RELATIVE, 0);
    assert!(matches!(unaligned, Err(PackError::Image(ImageError::RelocationUnaligned { offset: 0x2004 }))));
    let beyond = with(0x2000, RELATIVE, 0x10_0000);
    assert!(matches!(beyond, Err(PackError::Image(ImageError::AddendOutside { addend: 0x10_0000, .. }))));
}

#[test]
fn a_relocation_table_outside_the_image_is_refused() {
    for (address, bytes) in [(u64::MAX, 24), (0x100, 23), (0x100, u64::MAX)] {
        let error = refusal(|elf| elf.set_dynamic(&[(7, address), (8, bytes)]));
        assert_eq!(error, ElfError::RelocationTable { address });
    }
}

#[test]
fn the_runtime_that_was_linked_is_recorded_with_the_time_and_must_fit_the_stated_interface() {
    let note = |name, words: &[u32]| {
        let words: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        note(name, 1, &words)
    };
    let with = |bytes: Vec<u8>| {
        let mut elf = Elf::good();
        elf.add_note(bytes);
        pack_built(&elf.bytes(), MANIFEST, 1_800_000_000)
    };
    let build = |bytes| Module::parse(&with(bytes).unwrap()).unwrap().manifest.build;
    let linked = build(note(b"HIC\0", &[1, 2, 3, 4]));
    assert_eq!((linked.time, linked.ipc_lib), (1_800_000_000, Some(Version::new(2, 3, 4))));
    assert_eq!(build(note(b"GNU\0", &[1, 2, 3, 4])).ipc_lib, None, "somebody else's note");
    let other = with(note(b"HIC\0", &[2, 2, 3, 4])).unwrap_err();
    assert!(matches!(other, PackError::Abi { compiled: 2, .. }), "{other}");
    let odd = with(note(b"HIC\0", &[1, 2, 3])).unwrap_err();
    assert!(matches!(odd, PackError::Elf(ElfError::RuntimeNote)), "{odd}");
}

#[test]
fn each_refusal_names_a_remedy_or_a_place() {
    let errors = [
        refusal(|elf| elf.kind = 2),
        refusal(|elf| elf.add(PT_INTERP)),
        refusal(|elf| elf.add(PT_TLS)),
        refusal(|elf| elf.entry = 0),
        refusal(|elf| elf.segments[2].flags = R),
        refusal(|elf| elf.set_dynamic(&[(36, 0)])),
    ];
    for error in errors {
        let text = error.to_string();
        assert!(["link", "drop"].iter().any(|word| text.contains(word)), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn damaged_files_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = Elf::good().bytes();
        for (at, value) in changes {
            // The headers, the relocation table and the dynamic section; not the filling between.
            let at = at.index(64 + 56 * 5 + 0x130);
            bytes[at] = value;
        }
        let _ = pack(&bytes, MANIFEST);
    }

    #[test]
    fn truncated_files_never_panic(length in 0usize..0x300) {
        let bytes = Elf::good().bytes();
        let _ = flatten(&bytes[..length.min(bytes.len())]);
    }
}
