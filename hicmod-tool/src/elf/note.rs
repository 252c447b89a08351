//! What a linked file says of itself: the notes that `libs/rt` puts there, of the runtime and of the services that the program exports.

use hic_hicmod::MAX_NAME_BYTES;
use hic_hicmod::manifest::Version;
use object::elf;
use object::read::elf::{FileHeader, ProgramHeader};

use super::{ElfError, Header, LE, Segment};

/// Owner and types of the notes, as `libs/abi` names them.
const NAME: &[u8] = b"HIC";
const RUNTIME: u32 = 1;
const EXPORTS: u32 = 2;

/// The runtime of a linked file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Linked {
    /// Version of the Core-0 ABI that it was compiled for.
    pub abi: u16,
    /// Its own version.
    pub ipc_lib: Version,
}

/// The runtime that `file` links; `None` if it links none of ours.
pub(crate) fn linked_runtime(file: &[u8]) -> Result<Option<Linked>, ElfError> {
    let not_elf = |error: object::Error| ElfError::NotElf64(error.to_string());
    let header = Header::parse(file).map_err(not_elf)?;
    let segments = header.program_headers(LE, file).map_err(not_elf)?;
    let first = notes(file, segments, RUNTIME).first().copied();
    first.map(|note| read(note).ok_or(ElfError::RuntimeNote)).transpose()
}

/// Names of the services that the program in `file` exports, in its order; none if it says nothing of it.
///
/// Whether they are names, and all different, is for the image to say: here is only taken apart what `hic_rt::entry!` put together.
pub(super) fn exports(file: &[u8], segments: &[Segment]) -> Result<Vec<String>, ElfError> {
    let table = match notes(file, segments, EXPORTS)[..] {
        [] => return Ok(Vec::new()),
        [table] => table,
        [_, _, ..] => return Err(ElfError::SecondExports),
    };
    let (rows, []) = table.as_chunks::<MAX_NAME_BYTES>() else { return Err(ElfError::Exports) };
    rows.iter().map(|row| name(row).ok_or(ElfError::Exports)).collect()
}

fn name(row: &[u8; MAX_NAME_BYTES]) -> Option<String> {
    let end = row.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    Some(std::str::from_utf8(row.get(..end)?).ok()?.to_owned())
}

/// What our notes of this type hold.
fn notes<'a>(file: &'a [u8], segments: &'a [Segment], kind: u32) -> Vec<&'a [u8]> {
    let mut found = Vec::new();
    for segment in segments.iter().filter(|segment| segment.p_type(LE) == elf::PT_NOTE) {
        // Notes of a form that is not read here are somebody else's.
        let Ok(Some(mut notes)) = segment.notes(LE, file) else { continue };
        while let Ok(Some(note)) = notes.next() {
            if note.name() == NAME && note.n_type(LE).0 == kind {
                found.push(note.desc());
            }
        }
    }
    found
}

fn read(description: &[u8]) -> Option<Linked> {
    let (words, []) = description.as_chunks::<4>() else { return None };
    match words {
        [abi, major, minor, patch] => Some(Linked {
            abi: u16::try_from(u32::from_le_bytes(*abi)).ok()?,
            ipc_lib: Version::new(
                u32::from_le_bytes(*major),
                u32::from_le_bytes(*minor),
                u32::from_le_bytes(*patch),
            ),
        }),
        _ => None,
    }
}
