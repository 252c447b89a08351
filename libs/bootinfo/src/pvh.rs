//! `hvm_start_info` of the PVH protocol (Xen, `arch-x86/hvm/start_info.h`). The command line is not used.

use super::{LoaderError, Physical, StartInfo};

const MAGIC: u32 = 0x336e_c578;
/// Offsets in the structure.
const VERSION: u64 = 4;
const MODULE_COUNT: u64 = 12;
const MODULES: u64 = 16;
const RSDP: u64 = 32;
const MEMORY_MAP: u64 = 40;
const MEMORY_MAP_COUNT: u64 = 48;
const MEMORY_ENTRY_BYTES: u64 = 24;
/// Far above what any loader leaves: 128 is the most that a BIOS interface carries.
const MAX_ENTRIES: u32 = 4096;

pub(super) fn read(at: u64, memory: &impl Physical, info: &mut StartInfo) -> Result<(), LoaderError> {
    let bad = LoaderError::Message(at);
    let half = |offset: u64| at.checked_add(offset).and_then(|at| memory.u32(at)).ok_or(bad);
    let word = |offset: u64| at.checked_add(offset).and_then(|at| memory.u64(at)).ok_or(bad);
    if half(0)? != MAGIC {
        return Err(bad);
    }
    // Version 0 has no memory map.
    if half(VERSION)? == 0 || word(MEMORY_MAP)? == 0 {
        return Err(LoaderError::NoMemoryMap);
    }
    info.rsdp = word(RSDP)?;
    if half(MODULE_COUNT)? > 0 {
        let entry = word(MODULES)?;
        let field = |offset: u64| entry.checked_add(offset).and_then(|at| memory.u64(at));
        let (Some(start), Some(bytes)) = (field(0), field(8)) else {
            return Err(LoaderError::Message(entry));
        };
        info.archive = start..start.saturating_add(bytes);
    }
    read_memory_map(word(MEMORY_MAP)?, half(MEMORY_MAP_COUNT)?, memory, info)
}

fn read_memory_map(
    at: u64,
    count: u32,
    memory: &impl Physical,
    info: &mut StartInfo,
) -> Result<(), LoaderError> {
    if count > MAX_ENTRIES {
        return Err(LoaderError::Message(at));
    }
    for index in 0..u64::from(count) {
        let entry = at.saturating_add(index * MEMORY_ENTRY_BYTES);
        let field = |offset| memory.u64(entry.saturating_add(offset)).ok_or(LoaderError::Message(entry));
        // QEMU leaves entries of type 0 behind; they mean nothing. The word's upper half is reserved.
        info.add(field(0)?, field(8)?, field(16)? as u32)?;
    }
    Ok(())
}
