//! What the boot loader left: `hvm_start_info` of the PVH protocol (Xen, `arch-x86/hvm/start_info.h`).
//!
//! All of it but the archive is copied out before memory is zeroed, since the loader may have put it anywhere. The
//! command line is not used. Nothing here trusts a count or an address beyond the direct map.

use super::paging::{direct_end, pointer, read};
use core::ops::Range;

const MAGIC: u32 = 0x336e_c578;
/// Offsets in the structure.
const MODULE_COUNT: u64 = 12;
const MODULES: u64 = 16;
const RSDP: u64 = 32;
const MEMORY_MAP: u64 = 40;
const MEMORY_MAP_COUNT: u64 = 48;
const MEMORY_ENTRY_BYTES: u64 = 24;
const RAM: u32 = 1;
const PAGE: u64 = 4096;
/// Ranges of RAM that are kept; PCs have two or three.
pub const MAX_RAM: usize = 16;

/// The loader's message, copied.
pub struct StartInfo {
    /// RAM as reported, not aligned.
    pub ram: [Range<u64>; MAX_RAM],
    /// The first module, where the loader put it; empty without one.
    archive: Range<u64>,
    /// ACPI's root pointer, or 0.
    pub rsdp: u64,
}

/// Why the loader's message cannot be used.
#[derive(Debug)]
pub enum StartInfoError {
    /// No PVH structure at this address.
    BadMagic(#[allow(dead_code, reason = "read by Debug")] u64),
    /// Version 0 of the structure has no memory map.
    NoMemoryMap,
}

impl StartInfo {
    /// Reads the structure at this physical address.
    pub fn read(at: u64) -> Result<Self, StartInfoError> {
        if read::<u32>(at) != Some(MAGIC) {
            return Err(StartInfoError::BadMagic(at));
        }
        let word = |offset| read::<u64>(at + offset).unwrap_or(0);
        let half = |offset| read::<u32>(at + offset).unwrap_or(0);
        if half(4) == 0 || word(MEMORY_MAP) == 0 {
            return Err(StartInfoError::NoMemoryMap);
        }
        let mut info = Self {
            ram: [const { 0..0 }; MAX_RAM],
            archive: if half(MODULE_COUNT) == 0 { 0..0 } else { module(word(MODULES)) },
            rsdp: word(RSDP),
        };
        info.read_memory_map(word(MEMORY_MAP), half(MEMORY_MAP_COUNT));
        Ok(info)
    }

    fn read_memory_map(&mut self, at: u64, count: u32) {
        let mut slots = self.ram.iter_mut();
        for index in 0..u64::from(count) {
            let entry = at + index * MEMORY_ENTRY_BYTES;
            let (Some(start), Some(bytes), Some(kind)) =
                (read::<u64>(entry), read::<u64>(entry + 8), read::<u32>(entry + 16))
            else {
                return;
            };
            // QEMU leaves entries of type 0 behind; they mean nothing.
            if kind == RAM {
                match slots.next() {
                    Some(slot) => *slot = start..start.saturating_add(bytes),
                    None => return,
                }
            }
        }
    }

    /// The pages that hold the boot archive; empty without one.
    pub fn archive_pages(&self) -> Range<u64> {
        (self.archive.start & !(PAGE - 1))..self.archive.end.next_multiple_of(PAGE)
    }

    /// The boot archive.
    pub fn archive(&self) -> &'static [u8] {
        // SAFETY: `module` checked that it lies in the direct map, `Memory` never gives its pages out, and nothing writes to them.
        unsafe {
            core::slice::from_raw_parts(
                pointer(self.archive.start),
                (self.archive.end - self.archive.start) as usize,
            )
        }
    }
}

/// An entry of the module list; a module that is not in the direct map is none.
fn module(entry: u64) -> Range<u64> {
    match (read::<u64>(entry), read::<u64>(entry + 8)) {
        (Some(start), Some(bytes)) if start.checked_add(bytes).is_some_and(|end| end <= direct_end()) => {
            start..start + bytes
        }
        _ => 0..0,
    }
}
