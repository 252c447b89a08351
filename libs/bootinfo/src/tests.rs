//! The message in both forms: as it should be, cut off, and with every oddity that a loader may come up with.

use crate::{LoaderError, MULTIBOOT2, PVH, Physical, StartInfo};
use proptest::collection::vec;
use proptest::prelude::*;
use std::vec::Vec;

const KERNEL: core::ops::Range<u64> = 0x20_0000..0x30_0000;
const RAM: [(u64, u64); 2] = [(0, 0x9_fc00), (0x10_0000, 0x3f0_0000)];
const ARCHIVE: (u64, u64) = (0x80_0000, 0x80_1234);
/// Where messages lie: at the end of memory that can be read.
const AT: u64 = 0x50_0000;

/// Readable memory from [`AT`] on.
struct Message(Vec<u8>);

impl Physical for Message {
    fn read<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let from = usize::try_from(at.checked_sub(AT)?).ok()?;
        self.0.get(from..from.checked_add(N)?)?.try_into().ok()
    }
}

fn read(protocol: u32, bytes: &[u8]) -> Result<StartInfo, LoaderError> {
    StartInfo::read(protocol, AT, &Message(bytes.to_vec()), &KERNEL)
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn tag(kind: u32, content: &[u8]) -> Vec<u8> {
    let mut tag = words(&[kind, content.len() as u32 + 8]);
    tag.extend(content);
    tag.resize(tag.len().next_multiple_of(8), 0);
    tag
}

fn module((start, end): (u64, u64)) -> Vec<u8> {
    tag(3, &[&words(&[start as u32, end as u32])[..], b"boot.archive\0"].concat())
}

/// A memory map with a reserved entry between.
fn memory_map(ram: &[(u64, u64)]) -> Vec<u8> {
    let mut content = words(&[24, 0]);
    for (start, end) in ram {
        for (start, bytes, kind) in [(*start, end - start, 1u64), (0xfec0_0000, 0x1000, 2)] {
            content.extend([start, bytes, kind].iter().flat_map(|word| word.to_le_bytes()));
        }
    }
    tag(6, &content)
}

fn multiboot2(tags: &[Vec<u8>]) -> Vec<u8> {
    let tags = [&tags.concat()[..], &tag(0, &[])].concat();
    [&words(&[tags.len() as u32 + 8, 0])[..], &tags].concat()
}

/// As GRUB leaves it: command line, loader's name, module, memory map, root pointers.
fn good() -> Vec<u8> {
    let names = [tag(1, b"quiet\0"), tag(2, b"GRUB 2.06\0")];
    let rest = [
        module(ARCHIVE),
        memory_map(&RAM),
        tag(14, b"RSD PTR old"),
        tag(15, b"RSD PTR new"),
        tag(99, &[1; 5]),
    ];
    multiboot2(&[&names[..], &rest[..]].concat())
}

/// The structure, its module list and its memory map, one after the other.
fn pvh() -> Vec<u8> {
    let (modules, map) = (AT + 56, AT + 56 + 32);
    let mut message = words(&[0x336e_c578, 1, 0, 1]);
    for word in [modules, 0, 0x1234, map] {
        message.extend(word.to_le_bytes());
    }
    message.extend(words(&[3, 0]));
    message.extend([ARCHIVE.0, ARCHIVE.1 - ARCHIVE.0, 0, 0].iter().flat_map(|word| word.to_le_bytes()));
    for (start, end, kind) in [(RAM[0].0, RAM[0].1, 1u64), (7, 8, 0), (RAM[1].0, RAM[1].1, 1)] {
        message.extend([start, end - start, kind].iter().flat_map(|word| word.to_le_bytes()));
    }
    message
}

fn ranges(info: &StartInfo) -> Vec<(u64, u64)> {
    info.ram.iter().filter(|ram| !ram.is_empty()).map(|ram| (ram.start, ram.end)).collect()
}

#[test]
fn both_protocols_lead_to_the_same() {
    let infos = [read(PVH, &pvh()).expect("PVH"), read(MULTIBOOT2, &good()).expect("Multiboot2")];
    for info in &infos {
        assert_eq!(ranges(info), RAM);
        assert_eq!((info.archive.start, info.archive.end), ARCHIVE);
        assert_eq!(info.archive_pages(), 0x80_0000..0x80_2000);
    }
    assert_eq!(infos[0].rsdp, 0x1234);
}

#[test]
fn the_newer_root_pointer_counts_wherever_it_stands() {
    let (old, new) = (tag(14, b"RSD PTR "), tag(15, b"RSD PTR "));
    let base = [module(ARCHIVE), memory_map(&RAM)];
    let first = AT + 8 + base.concat().len() as u64 + 8;
    let rsdp = |tags: &[&Vec<u8>]| {
        let tags: Vec<Vec<u8>> = base.iter().chain(tags.iter().copied()).cloned().collect();
        read(MULTIBOOT2, &multiboot2(&tags)).expect("good").rsdp
    };
    assert_eq!(rsdp(&[]), 0);
    assert_eq!(rsdp(&[&old]), first);
    assert_eq!(rsdp(&[&old, &new]), first + 16);
    assert_eq!(rsdp(&[&new, &old]), first);
}

#[test]
fn a_message_that_is_cut_off_anywhere_is_refused() {
    for (protocol, message) in [(PVH, pvh()), (MULTIBOOT2, good())] {
        for length in 0..message.len() {
            assert!(read(protocol, &message[..length]).is_err(), "protocol {protocol:#x}, {length} bytes");
        }
    }
    // The same by its own word: whatever comes after the stated length does not count.
    let good = good();
    for length in 0..good.len() as u32 {
        let mut short = good.clone();
        short[..4].copy_from_slice(&length.to_le_bytes());
        assert!(read(MULTIBOOT2, &short).is_err(), "stated length {length}");
    }
}

/// What holds of every message that is taken.
fn check(info: &StartInfo, why: &str) {
    let ram = ranges(info);
    let inside = |at| ram.iter().any(|(start, end)| (*start..*end).contains(&at));
    assert!(inside(info.archive.start) && inside(info.archive.end - 1), "{why}: {info:?}");
    assert!(info.archive.end <= KERNEL.start || info.archive.start >= KERNEL.end, "{why}: {info:?}");
    let twice = |(at, a): (usize, &(u64, u64))| ram[at + 1..].iter().any(|b| a.0 < b.1 && b.0 < a.1);
    assert!(!ram.iter().enumerate().any(twice), "{why}: {ram:?}");
}

#[test]
fn no_flipped_bit_makes_the_kernel_use_what_it_must_not() {
    for (protocol, message) in [(PVH, pvh()), (MULTIBOOT2, good())] {
        let mut taken = 0;
        for bit in 0..message.len() * 8 {
            let mut odd = message.clone();
            odd[bit / 8] ^= 1 << (bit % 8);
            if let Ok(info) = read(protocol, &odd) {
                check(&info, &std::format!("bit {bit}"));
                taken += 1;
            }
        }
        assert!(taken > 0, "some bits mean nothing");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        for protocol in [PVH, MULTIBOOT2] {
            if let Ok(info) = read(protocol, &bytes) {
                check(&info, "bytes");
            }
        }
    }

    #[test]
    fn any_tags_are_taken_or_refused(tags in vec((0u32..20, vec(any::<u8>(), 0..80)), 0..12), ram in ranges_of_ram()) {
        let mut all: Vec<Vec<u8>> = tags.iter().map(|(kind, content)| tag(*kind, content)).collect();
        all.insert(all.len() / 2, memory_map(&ram));
        all.insert(0, module((ram[0].0, ram[0].0 + 1)));
        if let Ok(info) = read(MULTIBOOT2, &multiboot2(&all)) {
            check(&info, "tags");
        }
    }
}

/// Up to a hundred pieces of memory, many of which overlap.
fn ranges_of_ram() -> impl Strategy<Value = Vec<(u64, u64)>> {
    vec((0u64..0x40, 1u64..4), 1..100)
        .prop_map(|pieces| pieces.into_iter().map(|(at, size)| (at << 20, (at + size) << 20)).collect())
}

#[test]
fn odd_tags_are_refused_by_kind_and_place() {
    let refused = |tags: &[Vec<u8>]| read(MULTIBOOT2, &multiboot2(tags)).expect_err("odd");
    let sized = |size: u32| {
        let mut tag = tag(3, &[0; 8]);
        tag[4..8].copy_from_slice(&size.to_le_bytes());
        tag
    };
    // Shorter than a tag, than a module, longer than the message.
    for size in [0, 7, 8, 12, 15, 0x1000, u32::MAX] {
        assert_eq!(refused(&[sized(size)]), LoaderError::Tag { kind: 3, offset: 8 }, "{size} bytes");
    }
    let map = |entry_bytes: u32, content: usize| {
        tag(6, &[&words(&[entry_bytes, 0])[..], &[0; 100][..content]].concat())
    };
    for (entry_bytes, content) in [(0, 24), (8, 24), (23, 24), (25, 25), (24, 23), (24, 40), (!7, 16)] {
        let error = refused(&[map(entry_bytes, content)]);
        assert_eq!(
            error,
            LoaderError::Tag { kind: 6, offset: 8 },
            "{entry_bytes} bytes each, {content} in all"
        );
    }
    assert_eq!(refused(&[tag(6, &[0; 4])]), LoaderError::Tag { kind: 6, offset: 8 });
    // Entries of a later version are longer.
    let mut long = words(&[32, 1]);
    long.extend([RAM[1].0, RAM[1].1 - RAM[1].0, 1, 0x5555].iter().flat_map(|word| word.to_le_bytes()));
    assert!(read(MULTIBOOT2, &multiboot2(&[tag(6, &long), module(ARCHIVE)])).is_ok());
}

#[test]
fn a_message_without_its_parts_is_refused() {
    let refused = |message: &[u8]| read(MULTIBOOT2, message).expect_err("incomplete");
    assert_eq!(refused(&multiboot2(&[module(ARCHIVE)])), LoaderError::NoMemoryMap);
    assert_eq!(refused(&multiboot2(&[memory_map(&RAM)])), LoaderError::NoArchive);
    let endless = [&words(&[24, 0])[..], &tag(99, &[0; 8])].concat();
    assert_eq!(refused(&endless), LoaderError::NoEnd);
    assert_eq!(refused(&words(&[8, 0])), LoaderError::Length(8));
    assert_eq!(refused(&words(&[u32::MAX, 0])), LoaderError::Length(u32::MAX));
    let mut none = pvh();
    none[12] = 0;
    assert_eq!(read(PVH, &none).expect_err("no module"), LoaderError::NoArchive);
    let mut old = pvh();
    old[4] = 0;
    assert_eq!(read(PVH, &old).expect_err("version 0"), LoaderError::NoMemoryMap);
}

#[test]
fn the_archive_must_lie_in_ram_and_beside_the_kernel() {
    let place = |ram: &[(u64, u64)], archive| {
        read(MULTIBOOT2, &multiboot2(&[memory_map(ram), module(archive)])).map(|info| info.archive)
    };
    let refused = |ram: &[(u64, u64)], (start, end)| {
        assert_eq!(place(ram, (start, end)), Err(LoaderError::ArchivePlace { start, end }));
    };
    refused(&RAM, (0xfee0_0000, 0xfee0_1000));
    refused(&RAM, (RAM[1].1 - 1, RAM[1].1 + 1));
    refused(&RAM, (0x9_0000, 0x10_1000));
    refused(&RAM, (0x80_1000, 0x80_0000));
    refused(&RAM, (0x1f_0000, 0x20_0001));
    refused(&RAM, (0x2f_ffff, 0x31_0000));
    refused(&RAM, (0x10_0000, 0x40_0000));
    assert_eq!(place(&RAM, (0x1f_0000, 0x20_0000)), Ok(0x1f_0000..0x20_0000));
    // Reported in two pieces, still one place.
    let pieces = [(0x10_0000, 0x50_0000), (0x50_0000, 0x3f0_0000)];
    assert_eq!(place(&pieces, (0x4f_0000, 0x51_0000)), Ok(0x4f_0000..0x51_0000));
    let overlapping = [(0x10_0000, 0x50_0000), (0x4f_f000, 0x3f0_0000)];
    let twice = LoaderError::MemoryTwice { start: 0x4f_f000, end: 0x3f0_0000 };
    assert_eq!(place(&overlapping, (0x3f_0000, 0x40_0000)), Err(twice));
}

#[test]
fn only_the_first_module_is_the_archive() {
    let tags = [module(ARCHIVE), module((0x90_0000, 0x90_1000)), memory_map(&RAM)];
    let info = read(MULTIBOOT2, &multiboot2(&tags)).expect("two modules");
    assert_eq!((info.archive.start, info.archive.end), ARCHIVE);
}

#[test]
fn what_is_no_message_is_not_followed() {
    assert_eq!(read(0x2bad_b002, &good()).expect_err("Multiboot 1"), LoaderError::Protocol(0x2bad_b002));
    assert_eq!(read(PVH, &good()).expect_err("no magic"), LoaderError::Message(AT));
    let message = Message(good());
    for at in [AT + 4, 0, u64::MAX, !7] {
        let error = StartInfo::read(MULTIBOOT2, at, &message, &KERNEL).expect_err("nothing there");
        assert_eq!(error, LoaderError::Message(at));
    }
    let mut many = pvh();
    many[48..52].copy_from_slice(&u32::MAX.to_le_bytes());
    // Refused at once, not after walking through all of memory.
    assert_eq!(read(PVH, &many).expect_err("too many"), LoaderError::Message(AT + 56 + 32));
}

/// A module that is said to be endless, in memory that is said to be, too: rounded up to whole pages its end would be 0.
#[test]
fn an_archive_beyond_the_last_address_is_refused() {
    let mut message = pvh();
    let module = 56;
    message[module + 8..module + 16].copy_from_slice(&u64::MAX.to_le_bytes());
    let map = module + 32 + 2 * 24;
    message[map + 8..map + 16].copy_from_slice(&u64::MAX.to_le_bytes());
    let place = LoaderError::ArchivePlace { start: ARCHIVE.0, end: u64::MAX };
    assert_eq!(read(PVH, &message).err(), Some(place));
}
