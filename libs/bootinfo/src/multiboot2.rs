//! The boot information of Multiboot2 (specification 2.0, 3.4): a length, then tags, each at a multiple of 8.
//!
//! Only what the kernel needs is looked at; tags of other kinds are passed over by their length. The command line is not used.

use super::{LoaderError, Physical, StartInfo};

const END: u32 = 0;
const MODULE: u32 = 3;
const MEMORY_MAP: u32 = 6;
/// A copy of ACPI's root pointer, of revision 0 and of revision 2.
const ACPI_OLD: u32 = 14;
const ACPI_NEW: u32 = 15;
/// Length and a reserved word.
const HEADER: u32 = 8;
const TAG_HEADER: u32 = 8;
/// The longest message that is read: GRUB's has a few KiB.
const MAX_BYTES: u32 = 1 << 20;
/// What an entry of the memory map has at least; later versions may add to it.
const MEMORY_ENTRY_BYTES: u32 = 24;

pub(super) fn read(at: u64, memory: &impl Physical, info: &mut StartInfo) -> Result<(), LoaderError> {
    let readable = at.is_multiple_of(8) && at.checked_add(u64::from(MAX_BYTES)).is_some();
    let bytes = memory.u32(at).filter(|_| readable).ok_or(LoaderError::Message(at))?;
    if !(HEADER + TAG_HEADER..=MAX_BYTES).contains(&bytes) {
        return Err(LoaderError::Length(bytes));
    }
    let mut offset = HEADER;
    while offset + TAG_HEADER <= bytes {
        let word = |within: u32| memory.u32(at + u64::from(offset + within)).ok_or(LoaderError::Message(at));
        let (kind, size) = (word(0)?, word(4)?);
        if size < TAG_HEADER || size > bytes - offset {
            return Err(LoaderError::Tag { kind, offset });
        }
        if kind == END {
            return Ok(());
        }
        let tag = Tag { kind, size, offset, at: at + u64::from(offset) };
        tag.read(memory, info)?;
        offset += size.next_multiple_of(8);
    }
    Err(LoaderError::NoEnd)
}

/// A tag that lies within the message.
struct Tag {
    kind: u32,
    size: u32,
    offset: u32,
    at: u64,
}

impl Tag {
    fn malformed(&self) -> LoaderError {
        LoaderError::Tag { kind: self.kind, offset: self.offset }
    }

    /// A field of the tag.
    fn u32(&self, within: u32, memory: &impl Physical) -> Result<u32, LoaderError> {
        let inside = within.checked_add(4).is_some_and(|end| end <= self.size);
        memory.u32(self.at + u64::from(within)).filter(|_| inside).ok_or(self.malformed())
    }

    fn u64(&self, within: u32, memory: &impl Physical) -> Result<u64, LoaderError> {
        Ok(u64::from(self.u32(within, memory)?) | u64::from(self.u32(within + 4, memory)?) << 32)
    }

    fn read(&self, memory: &impl Physical, info: &mut StartInfo) -> Result<(), LoaderError> {
        match self.kind {
            // The first module is the archive.
            MODULE if info.archive == (0..0) => {
                let (start, end) = (self.u32(8, memory)?, self.u32(12, memory)?);
                info.archive = u64::from(start)..u64::from(end);
            }
            MEMORY_MAP => self.read_memory_map(memory, info)?,
            // The newer one names the 64-bit table, so it counts wherever it stands.
            ACPI_NEW => info.rsdp = self.at + u64::from(TAG_HEADER),
            ACPI_OLD if info.rsdp == 0 => info.rsdp = self.at + u64::from(TAG_HEADER),
            _ => {}
        }
        Ok(())
    }

    fn read_memory_map(&self, memory: &impl Physical, info: &mut StartInfo) -> Result<(), LoaderError> {
        let step = self.u32(8, memory)?;
        // Read for its bound: the entries come after the version.
        self.u32(12, memory)?;
        let whole =
            step >= MEMORY_ENTRY_BYTES && step.is_multiple_of(8) && (self.size - 16).is_multiple_of(step);
        if !whole {
            return Err(self.malformed());
        }
        for entry in (16..self.size).step_by(step as usize) {
            let kind = self.u32(entry + 16, memory)?;
            info.add(self.u64(entry, memory)?, self.u64(entry + 8, memory)?, kind)?;
        }
        Ok(())
    }
}
