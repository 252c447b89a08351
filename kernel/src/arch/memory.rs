//! Which physical memory is free after boot, and making it zero.

use super::paging;
use core::{arch::asm, ops::Range};
use core0::config::MAX_FRAMES;
use core0::frames;
use hic_bootinfo::{LoaderError, MAX_RAM, StartInfo};

const PAGE: u64 = 4096;
/// Below this firmware, its data and real-mode tables live.
const LOW_MEMORY: u64 = 1 << 20;
/// Free ranges at most: those of the loader, and one more for each range cut out of them.
const MAX_RANGES: usize = MAX_RAM + 4;

/// Free, page-aligned, disjoint ranges, and the count of all frames.
pub struct Memory {
    free: [Range<u64>; MAX_RANGES],
    count: usize,
    /// Whole frames of RAM, free or not.
    pub total_frames: u64,
}

impl Memory {
    /// RAM above the first MiB without the kernel image and the boot archive.
    pub fn new(info: &StartInfo) -> Self {
        let mut memory = Self { free: [const { 0..0 }; MAX_RANGES], count: 0, total_frames: 0 };
        for ram in &info.ram {
            let end = (ram.end & !(PAGE - 1)).min(paging::direct_end()).min(MAX_FRAMES as u64 * PAGE);
            let start = ram.start.next_multiple_of(PAGE);
            memory.total_frames += end.saturating_sub(start) / PAGE;
            memory.add(start.max(LOW_MEMORY)..end);
        }
        memory.remove(&paging::image_range());
        memory.remove(&info.archive_pages());
        memory.tidy();
        memory
    }

    fn add(&mut self, range: Range<u64>) {
        if !range.is_empty()
            && let Some(slot) = self.free.get_mut(self.count)
        {
            *slot = range;
            self.count += 1;
        }
    }

    /// Cuts whole pages out.
    fn remove(&mut self, range: &Range<u64>) {
        let Range { start, end } = *range;
        for index in 0..self.count {
            let old = self.free[index].clone();
            if start < old.end && old.start < end {
                self.free[index] = old.start..start.clamp(old.start, old.end);
                self.add(end.clamp(old.start, old.end)..old.end);
            }
        }
    }

    /// Ascending, without empty ranges.
    fn tidy(&mut self) {
        self.free[..self.count].sort_unstable_by_key(|range| (range.is_empty(), range.start));
        self.count = self.free[..self.count].iter().take_while(|range| !range.is_empty()).count();
    }

    /// Frames that the kernel's books cover: to the last free one, from where they begin.
    pub fn span(&self) -> u64 {
        let first = self.free[0].start & !(frames::ALIGNMENT - 1);
        self.free().last().map_or(0, |last| (last.end - first) / PAGE)
    }

    /// Takes whole pages for the kernel's own tables from the start of a range, and zeroes them; `None` when none is large enough.
    pub fn take(&mut self, bytes: u64) -> Option<&'static mut [u8]> {
        let bytes = bytes.next_multiple_of(PAGE);
        let range = self.free[..self.count].iter_mut().find(|range| range.end - range.start >= bytes)?;
        let start = range.start;
        range.start += bytes;
        self.tidy();
        clear(&(start..start + bytes));
        // SAFETY: mapped, ours alone from now on, and zero is a value of every byte.
        Some(unsafe { core::slice::from_raw_parts_mut(paging::pointer(start), bytes as usize) })
    }

    /// The free ranges, ascending.
    pub fn free(&self) -> &[Range<u64>] {
        &self.free[..self.count]
    }

    /// Frames in the free ranges.
    pub fn free_frames(&self) -> u64 {
        self.free().iter().map(|range| (range.end - range.start) / PAGE).sum()
    }
}

/// The boot archive's bytes.
pub fn archive(info: &StartInfo) -> Result<&'static [u8], LoaderError> {
    let Range { start, end } = info.archive;
    if end > paging::direct_end() {
        return Err(LoaderError::ArchivePlace { start, end });
    }
    // SAFETY: in the direct map, and RAM outside of the kernel by `StartInfo`; `Memory` never gives its pages out and nobody writes to them.
    Ok(unsafe { core::slice::from_raw_parts(paging::pointer(start), (end - start) as usize) })
}

/// Zeroes the pages that are not zero already. Reading first is as quick as writing, and an emulator's untouched memory stays untouched:
/// a guest of 2 GiB then costs its host only what it uses.
pub fn clear(range: &Range<u64>) {
    for page in range.clone().step_by(PAGE as usize) {
        let words = paging::pointer(page).cast::<u64>();
        // SAFETY: a page of free memory, mapped and aligned, referred to by nothing.
        unsafe {
            if !is_zero(words) {
                words.write_bytes(0, PAGE as usize / 8);
            }
        }
    }
}

/// General registers on purpose: an emulator keeps them in the host's registers, but vector registers in memory.
///
/// # Safety
/// A page's worth of words is readable.
unsafe fn is_zero(words: *const u64) -> bool {
    let seen: u64;
    // SAFETY: the caller's promise; 64 rounds of 8 words.
    unsafe {
        asm!(
            "2:",
            ".irp offset, 0, 8, 16, 24, 32, 40, 48, 56",
            "or {seen}, [{at} + \\offset]",
            ".endr",
            "add {at}, 64",
            "dec {rounds:e}",
            "jnz 2b",
            seen = inout(reg) 0u64 => seen,
            at = inout(reg) words => _,
            rounds = inout(reg) PAGE / 64 => _,
            options(readonly, nostack),
        );
    }
    seen == 0
}
