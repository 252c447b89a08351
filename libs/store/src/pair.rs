//! Two halves of a file, of which one always holds a whole record.
//!
//! A write goes to the half that does not hold the newest record and is followed by a flush. If power fails in between, that half is torn in
//! any way a disk can tear it (any subset of its sectors, any byte), its checksum does not hold, and the other half is still the newest.
//!
//! ```text
//!   0        4        8          16      20
//!   +--------+--------+----------+-------+----------- - - -
//!   | "HICS" | length | sequence | CRC   | record
//!   +--------+--------+----------+-------+----------- - - -
//! ```
//! All numbers are little-endian; the CRC-32 is over the first 16 bytes and the record.

use crate::MAX_RECORD_BYTES;

/// Bytes of one half.
pub const HALF_BYTES: usize = 4096;
/// Bytes of the file.
pub const FILE_BYTES: usize = 2 * HALF_BYTES;

const MAGIC: u32 = u32::from_le_bytes(*b"HICS");
const HEADER_BYTES: usize = 20;
const CHECKED_HEADER_BYTES: usize = 16;

const _: () = assert!(HEADER_BYTES + MAX_RECORD_BYTES <= HALF_BYTES);

/// One of the two halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// Bytes 0 to [`HALF_BYTES`].
    First,
    /// The rest.
    Second,
}

impl Half {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    /// Where it starts in the file, bytes.
    #[must_use]
    pub const fn offset(self) -> usize {
        match self {
            Self::First => 0,
            Self::Second => HALF_BYTES,
        }
    }
}

/// What the file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents<'a> {
    /// No record was ever written as a whole.
    Empty,
    /// The newest whole record.
    Record {
        /// The half that it is in.
        half: Half,
        /// Its number; the next one is higher by 1.
        sequence: u64,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// Both halves were written and neither holds: more than one write went wrong.
    Corrupt,
}

/// The record is longer than [`MAX_RECORD_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// Looks for the newest whole record in the two halves.
#[must_use]
pub fn contents<'a>(first: &'a [u8; HALF_BYTES], second: &'a [u8; HALF_BYTES]) -> Contents<'a> {
    let found = |half: Half, bytes| parse(bytes).map(|(sequence, bytes)| (half, sequence, bytes));
    let newest = match (found(Half::First, first), found(Half::Second, second)) {
        (Some(a), Some(b)) => Some(if a.1 > b.1 { a } else { b }),
        (a, b) => a.or(b),
    };
    let blank = |half: &[u8]| half.iter().all(|&byte| byte == 0);
    match newest {
        Some((half, sequence, bytes)) => Contents::Record { half, sequence, bytes },
        // The very first write may be cut off; it leaves the other half as it was made.
        None if blank(first) || blank(second) => Contents::Empty,
        None => Contents::Corrupt,
    }
}

/// Sequence number and bytes of the record in a half.
fn parse(half: &[u8; HALF_BYTES]) -> Option<(u64, &[u8])> {
    let number = |at: usize| half.get(at..)?.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes));
    let length = number(4)? as usize;
    let sequence = u64::from_le_bytes(*half.get(8..)?.first_chunk::<8>()?);
    if number(0)? != MAGIC || length > MAX_RECORD_BYTES {
        return None;
    }
    let record = half.get(HEADER_BYTES..)?.get(..length)?;
    (number(CHECKED_HEADER_BYTES)? == checksum(half.get(..CHECKED_HEADER_BYTES)?, record))
        .then_some((sequence, record))
}

fn checksum(header: &[u8], record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(record);
    hasher.finalize()
}

/// Lays out the next record after `current` in `out`, and says to which half it must be written. A file that is corrupt is written from
/// the start.
///
/// # Errors
/// [`TooLong`].
pub fn next(current: Contents<'_>, record: &[u8], out: &mut [u8; HALF_BYTES]) -> Result<Half, TooLong> {
    let (half, sequence) = match current {
        // 2^64 records cannot be written in the life of a disk.
        Contents::Record { half, sequence, .. } => (half.other(), sequence.wrapping_add(1)),
        Contents::Empty | Contents::Corrupt => (Half::First, 1),
    };
    if record.len() > MAX_RECORD_BYTES {
        return Err(TooLong);
    }
    out.fill(0);
    let (header, room) = out.split_at_mut(HEADER_BYTES);
    let (checked, crc) = header.split_at_mut(CHECKED_HEADER_BYTES);
    let length = record.len() as u32;
    let fields = MAGIC.to_le_bytes().into_iter().chain(length.to_le_bytes()).chain(sequence.to_le_bytes());
    for (to, from) in checked.iter_mut().zip(fields) {
        *to = from;
    }
    crc.copy_from_slice(&checksum(checked, record).to_le_bytes());
    room.get_mut(..record.len()).ok_or(TooLong)?.copy_from_slice(record);
    Ok(half)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    type File = [[u8; HALF_BYTES]; 2];

    fn write(file: &mut File, record: &[u8]) {
        let mut out = [0; HALF_BYTES];
        let half = next(contents(&file[0], &file[1]), record, &mut out).unwrap();
        file[half.offset() / HALF_BYTES] = out;
    }

    fn read(file: &File) -> Option<Vec<u8>> {
        match contents(&file[0], &file[1]) {
            Contents::Record { bytes, .. } => Some(bytes.to_vec()),
            Contents::Empty => None,
            Contents::Corrupt => panic!("corrupt"),
        }
    }

    fn records(count: u8) -> impl Iterator<Item = Vec<u8>> {
        (0..count).map(|n| std::vec![n; 700 + 450 * usize::from(n)])
    }

    #[test]
    fn the_last_record_written_is_the_one_that_is_read() {
        let mut file = [[0; HALF_BYTES]; 2];
        assert_eq!(read(&file), None);
        for record in records(6) {
            write(&mut file, &record);
            assert_eq!(read(&file), Some(record));
        }
        write(&mut file, &[]);
        assert_eq!(read(&file), Some(Vec::new()));
    }

    #[test]
    fn a_write_torn_at_any_byte_leaves_the_record_before_or_the_new_one() {
        let mut file = [[0; HALF_BYTES]; 2];
        let mut before = None;
        for record in records(5) {
            let mut whole = file;
            write(&mut whole, &record);
            for half in [0, 1] {
                for cut in 0..=HALF_BYTES {
                    // From either end, since a disk may write a half's sectors in either order.
                    let mut torn = file;
                    torn[half][..cut].copy_from_slice(&whole[half][..cut]);
                    let seen = read(&torn);
                    assert!(seen == before || seen.as_ref() == Some(&record), "front of {half} at {cut}");
                    let mut torn = file;
                    torn[half][cut..].copy_from_slice(&whole[half][cut..]);
                    let seen = read(&torn);
                    assert!(seen == before || seen.as_ref() == Some(&record), "back of {half} at {cut}");
                }
            }
            file = whole;
            before = Some(record);
        }
    }

    #[test]
    fn any_subset_of_the_sectors_of_a_write_leaves_a_whole_record() {
        const SECTOR: usize = 512;
        let mut file = [[0; HALF_BYTES]; 2];
        let mut before = None;
        for record in records(7) {
            let mut whole = file;
            write(&mut whole, &record);
            for subset in 0..1u32 << (FILE_BYTES / SECTOR / 2) {
                let mut torn = file;
                for half in [0, 1] {
                    for sector in (0..HALF_BYTES / SECTOR).filter(|n| subset & 1 << n != 0) {
                        let bytes = sector * SECTOR..(sector + 1) * SECTOR;
                        torn[half][bytes.clone()].copy_from_slice(&whole[half][bytes]);
                    }
                }
                let seen = read(&torn);
                assert!(seen == before || seen.as_ref() == Some(&record), "sectors {subset:#b}");
                // What is left of a torn write does not keep the next one from being whole.
                write(&mut torn, b"after");
                assert_eq!(read(&torn), Some(b"after".to_vec()));
            }
            file = whole;
            before = Some(record);
        }
    }

    #[test]
    fn two_broken_halves_are_reported_and_can_be_written_over() {
        let mut file = [[1; HALF_BYTES]; 2];
        assert_eq!(contents(&file[0], &file[1]), Contents::Corrupt);
        write(&mut file, b"new");
        assert_eq!(read(&file), Some(b"new".to_vec()));
    }

    #[test]
    fn a_record_that_does_not_fit_is_refused() {
        let mut out = [0; HALF_BYTES];
        assert_eq!(next(Contents::Empty, &[0; MAX_RECORD_BYTES + 1], &mut out), Err(TooLong));
        assert!(next(Contents::Empty, &[0; MAX_RECORD_BYTES], &mut out).is_ok());
    }
}
