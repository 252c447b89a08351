//! What the kernel reads before anything else runs.

use std::ops::Range;

use hic_bootinfo::{MULTIBOOT2, PVH, Physical, StartInfo};
use hic_hicmod::Archive;
use hic_hicmod::archive::{MAX_ENTRIES, encode};

use super::assert_sentence;
use crate::input::Input;

/// Where the kernel lies in these tries.
const KERNEL: Range<u64> = 0x20_0000..0x30_0000;
/// Where the message lies.
const AT: u64 = 0x50_0000;

/// Memory that can be read from [`AT`] on.
struct Memory<'a>(&'a [u8]);

impl Physical for Memory<'_> {
    fn read<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let from = usize::try_from(at.checked_sub(AT)?).ok()?;
        self.0.get(from..from.checked_add(N)?)?.try_into().ok()
    }
}

/// Tries the bytes behind the first as a loader's message; the first says of which protocol.
pub fn message(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let protocol = [PVH, MULTIBOOT2, 7][input.below(3)];
    match StartInfo::read(protocol, AT, &Memory(input.rest()), &KERNEL) {
        Ok(info) => {
            let Range { start, end } = info.archive;
            assert!(start < end, "an archive without bytes");
            assert!(end <= KERNEL.start || KERNEL.end <= start, "an archive over the kernel");
            let ram: Vec<&Range<u64>> = info.ram.iter().filter(|ram| !ram.is_empty()).collect();
            for (index, one) in ram.iter().enumerate() {
                assert!(ram[..index].iter().all(|other| one.end <= other.start || other.end <= one.start));
            }
            let within = |at: u64| ram.iter().any(|ram| ram.contains(&at));
            assert!(within(start) && within(end - 1), "an archive where there is no memory");
            let pages = info.archive_pages();
            assert!(pages.start <= start && end <= pages.end);
        }
        Err(error) => assert_sentence(&error, 300),
    }
}

/// Tries the bytes as a boot archive, as they are and with the checksum of the table made right.
pub fn archive(bytes: &[u8]) {
    one_archive(bytes);
    if let Some(repaired) = repaired(bytes) {
        one_archive(&repaired);
    }
}

fn one_archive(bytes: &[u8]) {
    let archive = match Archive::parse(bytes) {
        Ok(archive) => archive,
        Err(error) => return assert_sentence(&error, 300),
    };
    assert!(archive.len() <= MAX_ENTRIES as usize);
    let mut files = Vec::new();
    let mut ends = 0;
    for entry in archive.iter() {
        assert!(hic_hicmod::is_valid_name(entry.name));
        assert!(entry.offset >= ends, "two entries over each other");
        ends = entry.offset + entry.len();
        assert!(ends <= bytes.len());
        assert_eq!(
            archive.find(entry.name).map(|found| found.offset),
            Some(entry.offset),
            "a name that is there twice"
        );
        match entry.bytes() {
            Ok(content) => files.push((entry.name, content)),
            Err(error) => assert_sentence(&error, 300),
        }
    }
    // Files may lie farther apart than our writer puts them; what is in them stays.
    let written = encode(&files).expect("what was read can be written");
    let again = Archive::parse(&written).expect("what was written can be read");
    let found = again.iter().map(|entry| (entry.name, entry.bytes().expect("as it was written")));
    assert!(found.eq(files), "not the same files");
}

/// Where the format has its checksums (`hic_hicmod::archive`).
const TABLE: usize = 24;
const ROW: usize = 40;
const TABLE_CRC: usize = 20;
const ROW_CRC: usize = 32;

/// The bytes with each checksum as it should be; `None` if the table does not lie in them.
fn repaired(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = bytes.to_vec();
    let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize);
    let count = word(12)?.min(MAX_ENTRIES as usize);
    for row in (0..count).map(|index| TABLE + index * ROW) {
        let (start, length) = (word(row + 24)?, word(row + 28)?);
        if let Some(file) = bytes.get(start..start.saturating_add(length)) {
            out.get_mut(row + ROW_CRC..row + ROW_CRC + 4)?
                .copy_from_slice(&crc32fast::hash(file).to_le_bytes());
        }
    }
    let mut hash = crc32fast::Hasher::new();
    hash.update(out.get(..TABLE_CRC)?);
    hash.update(out.get(TABLE..TABLE + count * ROW)?);
    out[TABLE_CRC..TABLE_CRC + 4].copy_from_slice(&hash.finalize().to_le_bytes());
    Some(out)
}
