//! The dynamic section: refuses what would need a dynamic linker, and writes relocation addends in place.

use hic_hicmod::image::PAGE_SIZE;
use object::elf;
use object::read::elf::{Dyn, ProgramHeader};

use super::layout::Flat;
use super::{ElfError, LE, Segment};

/// Size of an `Elf64_Rela` (System V gABI, "Relocation"): offset, info, addend.
const RELA_BYTES: usize = 24;

/// Writes each addend to the word that it is for, and returns the offsets of those words in ascending order.
pub(super) fn apply_relocations(
    file: &[u8],
    segments: &[Segment],
    flat: &mut Flat,
) -> Result<Vec<u32>, ElfError> {
    let Some((address, bytes)) = rela_table(file, segments)? else {
        return Ok(Vec::new());
    };
    let outside = ElfError::RelocationTable { address };
    let table = usize::try_from(address)
        .ok()
        .zip(usize::try_from(bytes).ok())
        .and_then(|(start, bytes)| flat.body.get(start..start.checked_add(bytes)?))
        .ok_or(outside.clone())?
        .to_vec();
    let (rows, rest) = table.as_chunks::<RELA_BYTES>();
    if !rest.is_empty() {
        return Err(outside);
    }
    let mut offsets = Vec::with_capacity(rows.len());
    for row in rows {
        offsets.push(apply(word(row, 0), word(row, 8), word(row, 16), flat)?);
    }
    offsets.sort_unstable();
    Ok(offsets)
}

fn apply(offset: u64, info: u64, addend: u64, flat: &mut Flat) -> Result<u32, ElfError> {
    // `ELF64_R_TYPE` is the low half of `r_info`.
    let kind = info as u32;
    if kind != elf::R_X86_64_RELATIVE.0 {
        return Err(ElfError::RelocationKind { offset, kind });
    }
    let data_start = (flat.ro_pages as usize + flat.rx_pages as usize) * PAGE_SIZE;
    if offset < data_start as u64 {
        return Err(ElfError::RelocationInText { offset });
    }
    let at = usize::try_from(offset).unwrap_or(usize::MAX);
    let target = at
        .checked_add(8)
        .and_then(|end| flat.body.get_mut(at..end))
        .ok_or(ElfError::RelocationOutside { offset })?;
    target.copy_from_slice(&addend.to_le_bytes());
    u32::try_from(offset).map_err(|_| ElfError::RelocationOutside { offset })
}

/// Address and length of the relocation table, if there is one.
fn rela_table(file: &[u8], segments: &[Segment]) -> Result<Option<(u64, u64)>, ElfError> {
    let (mut address, mut bytes) = (None, 0);
    for segment in segments {
        let entries = segment.dynamic(LE, file).map_err(|error| ElfError::Dynamic(error.to_string()))?;
        for entry in entries.unwrap_or_default() {
            let (tag, value) = (entry.tag(LE), entry.val(LE));
            match tag {
                elf::DT_NULL => break,
                elf::DT_NEEDED => return Err(ElfError::NeedsLibrary),
                elf::DT_TEXTREL => return Err(ElfError::TextRelocations),
                elf::DT_RELR | elf::DT_REL | elf::DT_JMPREL => {
                    return Err(ElfError::RelocationForm { tag: tag.0 });
                }
                elf::DT_RELA => address = Some(value),
                elf::DT_RELASZ => bytes = value,
                elf::DT_RELAENT if value != RELA_BYTES as u64 => {
                    return Err(ElfError::RelocationForm { tag: tag.0 });
                }
                _ => {}
            }
        }
    }
    Ok(address.map(|address| (address, bytes)))
}

fn word(row: &[u8; RELA_BYTES], at: usize) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&row[at..at + 8]);
    u64::from_le_bytes(raw)
}
