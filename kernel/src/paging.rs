//! Page tables of sandboxes (Intel SDM vol. 3A, 4.5) and of devices (VT-d specification, 3.7 and 9.8).
//!
//! Each table entry that leads to a lower table counts that table's filled entries in bits 52..62, which processor and IOMMU ignore; a
//! table that empties is freed at once, so that mapping and unmapping leave nothing behind.

use crate::frames::Frames;
use crate::iommu::Iommu;
use crate::machine::Machine;
use crate::objects::Account;
use crate::pool::Pool;
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
const ONE: u64 = 1 << COUNT_SHIFT;

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
    /// All accounts.
    pub accounts: &'a mut Pool<Account>,
    /// Who pays for tables.
    pub payer: u32,
    /// The top-level table.
    pub root: u64,
    /// Whether the processor uses these tables now.
    pub active: bool,
    /// Who walks a device's tables, and the number under which it keeps what it found; a sandbox has none. Without one there are no tables.
    pub iommu: Option<(&'a Iommu, u16)>,
}

/// Rights of an entry of a device's tables that leads to a lower one.
pub const DMA_TABLE: u64 = PRESENT | WRITABLE;

/// Pages of a lowest table, and of a large page.
pub const TABLE_PAGES: u64 = 512;

/// Where the pages of one mapping are in the tables, if they share a table: the address of the entry that leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way(u64);

impl Way {
    /// To be sought from the root.
    pub const UNKNOWN: Self = Self(0);
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
    pub const BASE: u64 = if DEVICE { 0 } else { USER_BASE };
    /// Rights of an entry that leads to a lower table.
    const TABLE: u64 = if DEVICE { DMA_TABLE } else { PRESENT | WRITABLE | USER };
    /// The level of the root; a device's addresses are those of memory, for which three levels do.
    const TOP: u32 = if DEVICE { 3 } else { 4 };

    /// Maps `pages` pages from a physical address on, each at its one user address and as the layout says by its number. None of them must
    /// be mapped. The way to a table is walked once, however many of its entries are filled; where a whole table would say the same of each of
    /// its pages, there is a large page instead.
    ///
    /// The way by which [`Self::unmap`] finds them again, if they share a table; it stays while one of them is mapped.
    ///
    /// # Errors
    /// [`Error::NoMemory`] when a table cannot be had; [`Error::Mapped`] when a page is mapped. Nothing is mapped then.
    #[inline(always)]
    pub fn map(&mut self, physical: u64, pages: u64, layout: &impl Layout) -> Result<Way, Error> {
        if !DEVICE && pages < TABLE_PAGES && chunk(physical, 0, pages) == pages {
            return self.map_in_table(physical, 0..pages, layout);
        }
        self.map_long(physical, pages, layout).map(|()| Way::UNKNOWN)
    }

    #[inline(never)]
    fn map_long(&mut self, physical: u64, pages: u64, layout: &impl Layout) -> Result<(), Error> {
        if DEVICE && self.iommu.is_none() {
            return Ok(());
        }
        let large_pages = self.iommu.is_none_or(|(iommu, _)| iommu.large_pages);
        let mut done = 0;
        while done < pages {
            let here = chunk(physical, done, pages);
            let whole = large_pages && here - done == TABLE_PAGES;
            let large = if whole { layout.uniform(&(done..here)) } else { None };
            let mapped = match large {
                Some(kind) => self.map_large(physical + done * PAGE_SIZE, kind),
                None => self.map_in_table(physical, done..here, layout).map(|_| ()),
            };
            if let Err(error) = mapped {
                self.unmap(physical, done, Way::UNKNOWN);
                return Err(error);
            }
            done = here;
        }
        self.forget();
        Ok(())
    }

    /// Writes an entry. An IOMMU sees entries in the order in which they were written.
    #[inline(always)]
    fn put(&mut self, entry: u64, value: u64) {
        match self.iommu {
            Some((iommu, _)) if DEVICE => iommu.write(self.machine, entry, value),
            _ => self.machine.write_u64(entry, value),
        }
    }

    /// A device reads what ring 3 may only read or execute.
    const fn bits(kind: PageKind) -> u64 {
        if DEVICE { kind.bits() & (PRESENT | WRITABLE) } else { kind.bits() }
    }

    /// One entry for the 2 MiB at a physical address that is a multiple of it.
    fn map_large(&mut self, physical: u64, kind: PageKind) -> Result<(), Error> {
        let (above, leads) = self.make_way(Self::BASE + physical, 3)?;
        let entry = (leads & ADDRESS) + index(Self::BASE + physical, 2) * 8;
        if self.machine.read_u64(entry) & PRESENT != 0 {
            return Err(Error::Mapped);
        }
        self.put(entry, physical & ADDRESS | Self::bits(kind) | LARGE);
        self.put(above, leads + ONE);
        Ok(())
    }

    /// The pages with these numbers, which share a table: all of them or none.
    #[inline(always)]
    fn map_in_table(&mut self, physical: u64, pages: Range<u64>, layout: &impl Layout) -> Result<Way, Error> {
        let start = Self::BASE + physical + pages.start * PAGE_SIZE;
        let (way, leads) = match Self::entry(self.machine, self.root, start, 2) {
            Some((way, leads)) if leads & (PRESENT | LARGE) == PRESENT => (way, leads),
            _ => self.make_way(start, 2)?,
        };
        let first = (leads & ADDRESS) + index(start, 1) * 8;
        let same = layout.uniform(&pages);
        let (mut entry, mut came) = (first, 0);
        for page in pages {
            if self.machine.read_u64(entry) & PRESENT != 0 {
                (first..entry).step_by(8).for_each(|entry| self.put(entry, 0));
                self.prune(start);
                return Err(Error::Mapped);
            }
            if let Some(kind) = same.or_else(|| layout.kind(page)) {
                self.put(entry, (physical + page * PAGE_SIZE) & ADDRESS | Self::bits(kind));
                came += 1;
            }
            entry += 8;
        }
        if came == 0 {
            self.prune(start);
            return Ok(Way::UNKNOWN);
        }
        self.put(way, leads + (came << COUNT_SHIFT));
        Ok(Way(way))
    }

    /// The entry of a level on the way to an address, and what it says; `None` when the way ends above it.
    #[inline(always)]
    fn entry(machine: &M, root: u64, address: u64, level: u32) -> Option<(u64, u64)> {
        let mut table = root;
        for level in (level + 1..=Self::TOP).rev() {
            let value = machine.read_u64(table + index(address, level) * 8);
            if value & PRESENT == 0 {
                return None;
            }
            table = value & ADDRESS;
        }
        let entry = table + index(address, level) * 8;
        Some((entry, machine.read_u64(entry)))
    }

    /// The same, it and those above it leading to tables, which are made where they are missing.
    #[inline(never)]
    fn make_way(&mut self, address: u64, lowest: u32) -> Result<(u64, u64), Error> {
        let (mut above, mut leads) = (0, self.root);
        for level in (lowest..=Self::TOP).rev() {
            let entry = (leads & ADDRESS) + index(address, level) * 8;
            let mut value = self.machine.read_u64(entry);
            if level == 2 && value & LARGE != 0 {
                return Err(Error::Mapped);
            }
            if value & PRESENT == 0 {
                let Some(frame) = self.new_table() else {
                    self.prune(address);
                    return Err(Error::NoMemory);
                };
                value = frame | Self::TABLE;
                self.put(entry, value);
                // What the root has is not counted.
                if level < Self::TOP {
                    self.put(above, leads + ONE);
                }
            }
            (above, leads) = (entry, value);
        }
        Ok((above, leads))
    }

    /// Unmaps those of `pages` pages from a physical address on that are mapped: by the way of the mapping, or sought from the root.
    #[inline(always)]
    pub fn unmap(&mut self, physical: u64, pages: u64, way: Way) {
        if way != Way::UNKNOWN {
            let leads = self.machine.read_u64(way.0);
            return self.empty_table(way.0, leads, Self::BASE + physical, pages);
        }
        self.unmap_long(physical, pages);
    }

    #[inline(never)]
    fn unmap_long(&mut self, physical: u64, pages: u64) {
        if DEVICE && self.iommu.is_none() {
            return;
        }
        let mut done = 0;
        while done < pages {
            let here = chunk(physical, done, pages);
            let address = Self::BASE + physical + done * PAGE_SIZE;
            match Self::entry(self.machine, self.root, address, 2) {
                Some((way, value)) if value & LARGE != 0 => {
                    debug_assert!(here - done == TABLE_PAGES, "a large page goes as it came, whole");
                    self.put(way, 0);
                    if let Some((above, leads)) = Self::entry(self.machine, self.root, address, 3) {
                        self.put(above, leads - ONE);
                    }
                    self.prune(address);
                }
                Some((way, leads)) => self.empty_table(way, leads, address, here - done),
                None => {}
            }
            done = here;
        }
        self.forget();
    }

    /// A device's tables have changed: its IOMMU forgets what it found there. Tables that were freed on the way are nobody's until then.
    fn forget(&mut self) {
        if let Some((iommu, domain)) = self.iommu {
            iommu.forget(self.machine, domain);
        }
    }

    /// Empties entries of the table to which an entry of level 2 leads, if it leads to one.
    #[inline(always)]
    fn empty_table(&mut self, way: u64, leads: u64, address: u64, pages: u64) {
        if leads & PRESENT == 0 {
            return;
        }
        let first = (leads & ADDRESS) + index(address, 1) * 8;
        let mut gone = 0;
        for page in 0..pages {
            gone += self.machine.read_u64(first + page * 8) & PRESENT;
            self.put(first + page * 8, 0);
        }
        let left = leads - (gone << COUNT_SHIFT);
        self.put(way, left);
        if left & COUNT == 0 {
            self.prune(address);
        }
        if self.active {
            (0..pages).for_each(|page| self.machine.flush(address + page * PAGE_SIZE));
        }
    }

    /// Whether ring 3 may read, or write, the page of this address now.
    pub fn allows(machine: &M, root: u64, address: u64, write: bool) -> bool {
        let value = match Self::entry(machine, root, address, 2) {
            Some((_, value)) if value & (PRESENT | LARGE) == PRESENT => {
                machine.read_u64((value & ADDRESS) + index(address, 1) * 8)
            }
            Some((_, value)) => value,
            None => return false,
        };
        let device = value & CACHE_DISABLE != 0;
        value & PRESENT != 0 && !device && (!write || value & WRITABLE != 0)
    }

    fn new_table(&mut self) -> Option<u64> {
        let payer = &mut self.accounts[self.payer];
        if !payer.affords(0, 1) {
            return None;
        }
        let frame = crate::memory::allocate(self.frames, self.machine, 1)?;
        if let Some((iommu, _)) = self.iommu {
            iommu.show(self.machine, frame, PAGE_SIZE);
        }
        payer.frames_used += 1;
        payer.page_tables += 1;
        Some(frame)
    }

    /// Frees the tables on the way to an address that have become empty, from the lowest up, and has the processor forget them (SDM vol. 3A,
    /// 4.10.4.1).
    #[cold]
    fn prune(&mut self, address: u64) {
        let (mut way, mut depth, mut leads) = ([0; 3], 0, self.root | PRESENT);
        for level in (2..=Self::TOP).rev() {
            if leads & PRESENT != 0 {
                way[depth] = (leads & ADDRESS) + index(address, level) * 8;
                leads = self.machine.read_u64(way[depth]);
                depth += 1;
            }
        }
        let mut gone = 0;
        for &entry in way[..depth].iter().rev() {
            let left = self.machine.read_u64(entry) - gone;
            let filled = left & (COUNT | LARGE) != 0;
            self.put(entry, if filled { left } else { 0 });
            if filled {
                break;
            }
            if left & PRESENT != 0 {
                // All of its entries went one by one: it is zero.
                self.frames.free_run(left & ADDRESS, 1);
                let payer = &mut self.accounts[self.payer];
                payer.frames_used -= 1;
                payer.page_tables -= 1;
                gone = ONE;
            }
        }
        if self.active {
            self.machine.flush(address);
        }
    }
}
