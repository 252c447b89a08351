//! The segments of an ELF file as one run of bytes at their addresses.

use hic_hicmod::image::{MAX_IMAGE_PAGES, PAGE_SIZE};
use object::elf;
use object::read::elf::ProgramHeader;

use super::{ElfError, LE, Segment};

const PAGE: u64 = PAGE_SIZE as u64;

/// The memory of an image before relocation. Index 0 of `body` is address 0.
pub(super) struct Flat {
    pub ro_pages: u32,
    pub rx_pages: u32,
    pub bss_bytes: u32,
    pub body: Vec<u8>,
}

/// What the pages of a segment may be used for, in the order in which an image holds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    ReadOnly,
    Executable,
    Writable,
}

/// A loadable segment with checked bounds.
struct Load<'a> {
    class: Class,
    start: u64,
    file: &'a [u8],
    /// End in memory, beyond the file's bytes when there is bss.
    end: u64,
}

pub(super) fn lay_out(file: &[u8], segments: &[Segment]) -> Result<Flat, ElfError> {
    let mut loads = Vec::new();
    for segment in segments {
        if segment.p_type(LE) == elf::PT_LOAD && segment.p_memsz(LE) != 0 {
            loads.push(load(file, segment)?);
        }
    }
    check_order(&loads)?;
    let start_of = |class| loads.iter().find(|load| load.class == class).map(|load| page_floor(load.start));
    let end_of = |class| loads.iter().rfind(|load| load.class == class).map(|load| load.end);

    let rx_start = start_of(Class::Executable).ok_or(ElfError::NothingToExecute)?;
    let rx_end = end_of(Class::Executable).ok_or(ElfError::NothingToExecute)?;
    let rw_start = start_of(Class::Writable).unwrap_or(rx_end.next_multiple_of(PAGE));
    let rw_end = end_of(Class::Writable).unwrap_or(rw_start);

    let file_end = loads.iter().map(|load| load.start + load.file.len() as u64).max().unwrap_or(0);
    // The pages before the writable ones are whole in the file, whatever their last segment's length.
    let body_end = file_end.max(rw_start);
    let mut body = vec![0; body_end as usize];
    for load in &loads {
        let at = load.start as usize;
        body[at..at + load.file.len()].copy_from_slice(load.file);
    }
    // `load` bounds every address by `MAX_IMAGE_PAGES`, so the conversions are exact.
    Ok(Flat {
        ro_pages: (rx_start / PAGE) as u32,
        rx_pages: ((rw_start - rx_start) / PAGE) as u32,
        bss_bytes: rw_end.saturating_sub(body_end) as u32,
        body,
    })
}

fn load<'a>(file: &'a [u8], segment: &Segment) -> Result<Load<'a>, ElfError> {
    let (start, memory_bytes) = (segment.p_vaddr(LE), segment.p_memsz(LE));
    let flags = segment.p_flags(LE);
    let (writable, executable) = (flags.contains(elf::PF_W), flags.contains(elf::PF_X));
    let class = match (writable, executable) {
        (true, true) => return Err(ElfError::WritableAndExecutable { address: start }),
        (true, false) => Class::Writable,
        (false, true) => Class::Executable,
        (false, false) => Class::ReadOnly,
    };
    let outside = ElfError::SegmentBounds { address: start };
    let end = start.checked_add(memory_bytes).ok_or(outside.clone())?;
    if end > u64::from(MAX_IMAGE_PAGES) * PAGE {
        return Err(ElfError::TooLarge { end });
    }
    let (offset, length) = segment.file_range(LE);
    let file = usize::try_from(offset)
        .ok()
        .zip(usize::try_from(length).ok())
        .and_then(|(offset, length)| file.get(offset..offset.checked_add(length)?))
        .ok_or(outside.clone())?;
    if file.len() as u64 > memory_bytes {
        return Err(outside);
    }
    Ok(Load { class, start, file, end })
}

/// Linked at 0; ascending; classes in the order of an image; no page with two classes.
fn check_order(loads: &[Load<'_>]) -> Result<(), ElfError> {
    let first = loads.first().ok_or(ElfError::NothingToExecute)?;
    if page_floor(first.start) != 0 {
        return Err(ElfError::Base { address: first.start });
    }
    for pair in loads.windows(2) {
        let [before, after] = pair else { continue };
        let address = after.start;
        if after.start < before.end {
            return Err(ElfError::SegmentOverlap { address });
        }
        if after.class < before.class {
            return Err(ElfError::SegmentOrder { address });
        }
        if after.class != before.class && page_floor(after.start) < before.end {
            return Err(ElfError::SharedPage { address });
        }
    }
    Ok(())
}

fn page_floor(address: u64) -> u64 {
    address - address % PAGE
}
