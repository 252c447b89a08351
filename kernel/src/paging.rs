//! Page tables of sandboxes (Intel SDM vol. 3A, 4.5) and of devices (VT-d specification, 3.7 and 9.8).
//!
//! Each table entry that leads to a lower table counts that table's filled entries in bits 52..62, which processor and IOMMU ignore; a
//! table that empties is freed at once, so that mapping and unmapping leave nothing behind.

use crate::frames::Frames;
use crate::machine::Machine;
use crate::objects::Account;
use core::ops::Range;
use hic_abi::{Error, PAGE_SIZE, USER_BASE};

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const WRITE_THROUGH: u64 = 1 << 3;
const CACHE_DISABLE: u64 = 1 << 4;
/// In an entry of level 2: it maps 2 MiB itself (SDM vol. 3A, 4.5, PS).
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const COUNT_SHIFT: u32 = 52;
const COUNT: u64 = 0x3ff << COUNT_SHIFT;

/// What ring 3 may do with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageKind {
    /// Read.
    Read,
    /// Read and write.
    Write,
    /// Read and execute.
    Execute,
    /// Read and write device registers, uncached.
    Device,
    /// Read device registers, uncached.
    DeviceRead,
}

impl PageKind {
    /// What a device may do with the page: it reads what ring 3 may only read or execute.
    const fn dma_bits(self) -> u64 {
        match self {
            Self::Write => PRESENT | WRITABLE,
            _ => PRESENT,
        }
    }

    const fn bits(self) -> u64 {
        PRESENT
            | USER
            | match self {
                Self::Read => NO_EXECUTE,
                Self::Write => NO_EXECUTE | WRITABLE,
                Self::Execute => 0,
                Self::Device => NO_EXECUTE | WRITABLE | CACHE_DISABLE | WRITE_THROUGH,
                Self::DeviceRead => NO_EXECUTE | CACHE_DISABLE | WRITE_THROUGH,
            }
    }
}

/// The page tables of one sandbox, or of one device: there, addresses are physical ones, and *present* is *readable*.
pub struct Paging<'a, M: Machine, const DEVICE: bool = false> {
    /// The machine.
    pub machine: &'a mut M,
    /// Where tables come from.
    pub frames: &'a mut Frames,
    /// Who pays for them.
    pub account: &'a mut Account,
    /// The top-level table.
    pub root: u64,
    /// Whether the processor uses these tables now.
    pub active: bool,
}

/// Rights of an entry of a device's tables that leads to a lower one.
pub const DMA_TABLE: u64 = PRESENT | WRITABLE;

/// Addresses of the entries on the way to a lowest table: levels 4 to 2, or 3 to 2.
type Path = [u64; 3];

/// Pages of a lowest table, and of a large page.
pub const TABLE_PAGES: u64 = 512;

/// What the way to an address ends in.
enum End {
    /// The lowest table.
    Table(u64),
    /// The entry of a large page.
    Large(u64),
}

/// How the pages of a run are mapped, by their numbers.
pub trait Layout {
    /// How one page is mapped; `None` = not at all.
    fn kind(&self, page: u64) -> Option<PageKind>;

    /// How all of these pages are mapped, if that is known to be the same for all.
    fn uniform(&self, pages: &Range<u64>) -> Option<PageKind>;
}

/// The number of the page, counted from `physical`, at which the table that has page `done` ends, or the run of `pages` does.
fn chunk(physical: u64, done: u64, pages: u64) -> u64 {
    let left = TABLE_PAGES - (physical / PAGE_SIZE + done) % TABLE_PAGES;
    pages.min(done + left)
}

fn index(address: u64, level: u32) -> u64 {
    address >> (12 + 9 * (level - 1)) & 0x1ff
}

impl<M: Machine, const DEVICE: bool> Paging<'_, M, DEVICE> {
    /// Where physical address 0 appears; the base of every lowest table either way.
    const BASE: u64 = if DEVICE { 0 } else { USER_BASE };
    /// Rights of an entry that leads to a lower table.
    const TABLE: u64 = if DEVICE { DMA_TABLE } else { PRESENT | WRITABLE | USER };
    /// The level of the root; a device's addresses are those of memory, for which three levels do.
    const TOP: u32 = if DEVICE { 3 } else { 4 };
    /// Entries on the way to a lowest table.
    const DEPTH: usize = Self::TOP as usize - 1;

    /// Maps `pages` pages from a physical address on, each at its one user address and as the layout says by its number. None of them must
    /// be mapped. The way to a table is walked once, however many of its entries are filled; where a whole table would say the same of each of
    /// its pages, a sandbox gets a large page instead.
    ///
    /// # Errors
    /// [`Error::NoMemory`] when a table cannot be had; [`Error::Mapped`] when a page is mapped. Nothing is mapped then.
    pub fn map(&mut self, physical: u64, pages: u64, layout: &impl Layout) -> Result<(), Error> {
        let mut done = 0;
        while done < pages {
            let here = chunk(physical, done, pages);
            let whole = !DEVICE && here - done == TABLE_PAGES;
            let large = if whole { layout.uniform(&(done..here)) } else { None };
            let mapped = match large {
                Some(kind) => self.map_large(physical + done * PAGE_SIZE, kind),
                None => self.map_in_table(physical, done..here, layout),
            };
            if let Err(error) = mapped {
                self.unmap(physical, done);
                return Err(error);
            }
            done = here;
        }
        Ok(())
    }

    /// One entry for the 2 MiB at a physical address that is a multiple of it.
    fn map_large(&mut self, physical: u64, kind: PageKind) -> Result<(), Error> {
        let (path, table) = self.descend(Self::BASE + physical, 3)?;
        let entry = table + index(Self::BASE + physical, 2) * 8;
        if self.machine.read_u64(entry) & PRESENT != 0 {
            return Err(Error::Mapped);
        }
        self.machine.write_u64(entry, physical & ADDRESS | kind.bits() | LARGE);
        self.count(&path, Self::DEPTH - 1, 1);
        Ok(())
    }

    /// The pages with these numbers, which share a table: all of them or none.
    fn map_in_table(&mut self, physical: u64, pages: Range<u64>, layout: &impl Layout) -> Result<(), Error> {
        let address = |page: u64| physical + page * PAGE_SIZE;
        let (path, table) = self.descend(Self::BASE + address(pages.start), 2)?;
        let entry = |page: u64| table + index(Self::BASE + address(page), 1) * 8;
        let bits = |kind: PageKind| if DEVICE { kind.dma_bits() } else { kind.bits() };
        let mut came = 0;
        for page in pages.clone() {
            if self.machine.read_u64(entry(page)) & PRESENT != 0 {
                (pages.start..page).for_each(|page| self.machine.write_u64(entry(page), 0));
                self.prune(&path, Self::DEPTH);
                self.forget(Self::BASE + address(pages.start));
                return Err(Error::Mapped);
            }
            if let Some(kind) = layout.kind(page) {
                self.machine.write_u64(entry(page), address(page) & ADDRESS | bits(kind));
                came += 1;
            }
        }
        self.count(&path, Self::DEPTH, came);
        if came == 0 {
            self.prune(&path, Self::DEPTH);
            self.forget(Self::BASE + address(pages.start));
        }
        Ok(())
    }

    /// The way through the entries of level `lowest` and above to the table below them, made where it is missing.
    fn descend(&mut self, address: u64, lowest: u32) -> Result<(Path, u64), Error> {
        let mut path: Path = [0; 3];
        let mut table = self.root;
        for (depth, level) in (lowest..=Self::TOP).rev().enumerate() {
            let entry = table + index(address, level) * 8;
            path[depth] = entry;
            let value = self.machine.read_u64(entry);
            if level == 2 && value & LARGE != 0 {
                return Err(Error::Mapped);
            }
            table = if value & PRESENT != 0 {
                value & ADDRESS
            } else {
                let Some(frame) = self.new_table() else {
                    self.prune(&path, depth);
                    self.forget(address);
                    return Err(Error::NoMemory);
                };
                self.machine.write_u64(entry, frame | Self::TABLE);
                self.count(&path, depth, 1);
                frame
            };
        }
        Ok((path, table))
    }

    /// Unmaps those of `pages` pages from a physical address on that are mapped.
    pub fn unmap(&mut self, physical: u64, pages: u64) {
        let mut done = 0;
        while done < pages {
            let here = chunk(physical, done, pages);
            self.unmap_in_table(Self::BASE + physical + done * PAGE_SIZE, here - done);
            done = here;
        }
    }

    fn unmap_in_table(&mut self, address: u64, pages: u64) {
        let Some((path, end)) = self.walk(address) else { return };
        let table = match end {
            End::Table(table) => table,
            End::Large(_) => {
                debug_assert!(pages == TABLE_PAGES, "a large page goes as it came, whole");
                self.machine.write_u64(path[Self::DEPTH - 1], 0);
                self.count(&path, Self::DEPTH - 1, -1);
                self.prune(&path, Self::DEPTH - 1);
                return self.forget(address);
            }
        };
        let first = table + index(address, 1) * 8;
        let mut gone = 0;
        for page in 0..pages {
            if self.machine.read_u64(first + page * 8) & PRESENT != 0 {
                self.machine.write_u64(first + page * 8, 0);
                gone += 1;
            }
        }
        if gone == 0 {
            return;
        }
        self.count(&path, Self::DEPTH, -gone);
        self.prune(&path, Self::DEPTH);
        (0..pages).for_each(|page| self.forget(address + page * PAGE_SIZE));
    }

    /// Drops what the processor has cached of the way to this address, tables just freed among it (SDM vol. 3A, 4.10.4.1).
    fn forget(&mut self, address: u64) {
        if self.active {
            self.machine.flush(address);
        }
    }

    /// Whether ring 3 may read, or write, the page of this address now.
    pub fn allows(&self, address: u64, write: bool) -> bool {
        let value = match self.walk(address) {
            Some((_, End::Table(table))) => self.machine.read_u64(table + index(address, 1) * 8),
            Some((_, End::Large(value))) => value,
            None => return false,
        };
        let device = value & CACHE_DISABLE != 0;
        value & PRESENT != 0 && !device && (!write || value & WRITABLE != 0)
    }

    #[inline]
    fn walk(&self, address: u64) -> Option<(Path, End)> {
        let mut path: Path = [0; 3];
        let mut table = self.root;
        for (depth, level) in (2..=Self::TOP).rev().enumerate() {
            let entry = table + index(address, level) * 8;
            path[depth] = entry;
            let value = self.machine.read_u64(entry);
            if value & PRESENT == 0 {
                return None;
            }
            if level == 2 && value & LARGE != 0 {
                return Some((path, End::Large(value)));
            }
            table = value & ADDRESS;
        }
        Some((path, End::Table(table)))
    }

    fn new_table(&mut self) -> Option<u64> {
        if self.account.frames_used >= self.account.frames_limit {
            return None;
        }
        let frame = crate::memory::allocate(self.frames, self.machine, 1)?;
        self.account.frames_used += 1;
        self.account.page_tables += 1;
        Some(frame)
    }

    /// Counts entries that came (or went, if negative) in the table that `path[depth - 1]` leads to; the root is not counted.
    #[inline]
    fn count(&mut self, path: &Path, depth: usize, came: i64) {
        if depth == 0 {
            return;
        }
        let entry = path[depth - 1];
        let value = self.machine.read_u64(entry);
        self.machine.write_u64(entry, value.wrapping_add_signed(came << COUNT_SHIFT));
    }

    /// Frees tables that have become empty, from the lowest up.
    #[inline]
    fn prune(&mut self, path: &Path, depth: usize) {
        for at in (0..depth).rev() {
            let value = self.machine.read_u64(path[at]);
            if value & PRESENT == 0 || value & COUNT != 0 {
                return;
            }
            self.machine.write_u64(path[at], 0);
            // All of its entries went one by one: it is zero.
            self.frames.free_run(value & ADDRESS, 1);
            self.account.frames_used -= 1;
            self.account.page_tables -= 1;
            self.count(path, at, -1);
        }
    }
}
