//! Page tables of sandboxes (Intel SDM vol. 3A, 4.5).
//!
//! Each table entry that leads to a lower table counts that table's filled entries in bits 52..62, which the processor ignores; a
//! table that empties is freed at once, so that mapping and unmapping leave nothing behind.

use crate::frames::Frames;
use crate::machine::Machine;
use crate::objects::Account;
use hic_abi::{Error, PAGE_SIZE, USER_BASE};

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const WRITE_THROUGH: u64 = 1 << 3;
const CACHE_DISABLE: u64 = 1 << 4;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const COUNT_SHIFT: u32 = 52;
const COUNT: u64 = 0x3ff << COUNT_SHIFT;
const COUNT_ONE: u64 = 1 << COUNT_SHIFT;

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

/// The page tables of one sandbox.
pub struct Paging<'a, M: Machine> {
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

/// Addresses of the entries on the way to a page: levels 4 to 1.
type Path = [u64; 4];

fn index(address: u64, level: u32) -> u64 {
    address >> (12 + 9 * (level - 1)) & 0x1ff
}

impl<M: Machine> Paging<'_, M> {
    /// Maps the page of a physical address at its one user address. It must not be mapped.
    ///
    /// # Errors
    /// [`Error::NoMemory`] when a table cannot be had; [`Error::Mapped`] when the page is mapped.
    pub fn map(&mut self, physical: u64, kind: PageKind) -> Result<(), Error> {
        let address = USER_BASE + physical;
        let mut path: Path = [0; 4];
        let mut table = self.root;
        for level in (2..=4).rev() {
            let entry = table + index(address, level) * 8;
            path[4 - level as usize] = entry;
            let value = self.machine.read_u64(entry);
            if value & PRESENT == 0 {
                let Some(frame) = self.new_table() else {
                    self.prune(&path, 4 - level as usize);
                    self.forget(address);
                    return Err(Error::NoMemory);
                };
                self.machine.write_u64(entry, frame | PRESENT | WRITABLE | USER);
                self.count(&path, 4 - level as usize, true);
                table = frame;
            } else {
                table = value & ADDRESS;
            }
        }
        let entry = table + index(address, 1) * 8;
        if self.machine.read_u64(entry) & PRESENT != 0 {
            return Err(Error::Mapped);
        }
        self.machine.write_u64(entry, physical & ADDRESS | kind.bits());
        self.count(&path, 3, true);
        Ok(())
    }

    /// Unmaps the page of a physical address, if it is mapped.
    pub fn unmap(&mut self, physical: u64) {
        let address = USER_BASE + physical;
        let Some((path, table)) = self.walk(address) else { return };
        let entry = table + index(address, 1) * 8;
        if self.machine.read_u64(entry) & PRESENT == 0 {
            return;
        }
        self.machine.write_u64(entry, 0);
        self.count(&path, 3, false);
        self.prune(&path, 3);
        self.forget(address);
    }

    /// Drops what the processor has cached of the way to this address, tables just freed among it (SDM vol. 3A, 4.10.4.1).
    fn forget(&mut self, address: u64) {
        if self.active {
            self.machine.flush(address);
        }
    }

    /// Whether ring 3 may read, or write, the page of this address now.
    pub fn allows(&self, address: u64, write: bool) -> bool {
        let Some((_, table)) = self.walk(address) else { return false };
        let value = self.machine.read_u64(table + index(address, 1) * 8);
        let device = value & CACHE_DISABLE != 0;
        value & PRESENT != 0 && !device && (!write || value & WRITABLE != 0)
    }

    fn walk(&self, address: u64) -> Option<(Path, u64)> {
        let mut path: Path = [0; 4];
        let mut table = self.root;
        for level in (2..=4).rev() {
            let entry = table + index(address, level) * 8;
            path[4 - level as usize] = entry;
            let value = self.machine.read_u64(entry);
            if value & PRESENT == 0 {
                return None;
            }
            table = value & ADDRESS;
        }
        Some((path, table))
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

    /// Counts an entry that came or went in the table that `path[depth - 1]` leads to; the root is not counted.
    fn count(&mut self, path: &Path, depth: usize, came: bool) {
        if depth == 0 {
            return;
        }
        let entry = path[depth - 1];
        let value = self.machine.read_u64(entry);
        let value = if came { value + COUNT_ONE } else { value - COUNT_ONE };
        self.machine.write_u64(entry, value);
    }

    /// Frees tables that have become empty, from the lowest up.
    fn prune(&mut self, path: &Path, depth: usize) {
        for at in (0..depth).rev() {
            let value = self.machine.read_u64(path[at]);
            if value & PRESENT == 0 || value & COUNT != 0 {
                return;
            }
            self.machine.write_u64(path[at], 0);
            self.machine.zero(value & ADDRESS, PAGE_SIZE);
            self.frames.free_run(value & ADDRESS, 1);
            self.account.frames_used -= 1;
            self.account.page_tables -= 1;
            self.count(path, at, false);
        }
    }
}
