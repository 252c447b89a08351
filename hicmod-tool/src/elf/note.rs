//! What the runtime in a linked file says of itself: the note that `libs/rt` puts there.

use hic_hicmod::manifest::Version;
use object::elf;
use object::read::elf::{FileHeader, ProgramHeader};

use super::{ElfError, Header, LE};

/// Owner and type of the note, as `libs/abi` names them.
const NAME: &[u8] = b"HIC";
const RUNTIME: u32 = 1;

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
    for segment in header.program_headers(LE, file).map_err(not_elf)? {
        if segment.p_type(LE) != elf::PT_NOTE {
            continue;
        }
        // Notes of a form that is not read here are somebody else's.
        let Ok(Some(mut notes)) = segment.notes(LE, file) else { continue };
        while let Ok(Some(note)) = notes.next() {
            if note.name() == NAME && note.n_type(LE).0 == RUNTIME {
                return read(note.desc()).map(Some).ok_or(ElfError::RuntimeNote);
            }
        }
    }
    Ok(None)
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
