//! A machine of plain memory: the clock moves when a test says so, and what the kernel does to the outside is written down.

use super::remapper::Remapper;
use crate::machine::{Machine, PowerAction};
use core::ops::Range;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::vec::Vec;

/// Where usable memory begins; below it there is none, as on a PC.
pub const MEMORY_START: u64 = 0x20_0000;
/// The one PCI function besides which there is nothing: device 3, function 0.
pub const DEVICE_FUNCTION: u16 = 3 << 3;
/// Its only BAR.
pub const BAR_BASE: u64 = 0xfeb0_0000;
/// Bytes of that BAR: four pages.
pub const BAR_BYTES: u64 = 0x4000;
/// Page of the BAR in which its MSI-X table lies.
pub const MSIX_PAGE: u64 = 2;
/// Its MSI-X vectors.
pub const VECTORS: u64 = 4;
/// As which function the I/O APIC raises interrupts.
pub const IO_APIC_FUNCTION: u16 = 0xff00;

/// The machine.
pub struct SimMachine {
    memory: Vec<u8>,
    /// Nanoseconds since boot.
    pub clock: u64,
    /// When the timer fires; `u64::MAX` = never.
    pub timer: u64,
    /// The top-level table in use; 0 = the kernel's own.
    pub root: u64,
    /// How the system was ended.
    pub power: Option<PowerAction>,
    /// What was printed.
    pub printed: Vec<u8>,
    /// I/O port accesses: port, width, value written.
    pub io: Vec<(u16, u8, Option<u32>)>,
    /// ISA lines, the vectors that they lead to, if they are not masked, and whether by an entry of the table of interrupts.
    pub routed: Vec<(u8, Option<u8>, bool)>,
    /// Device registers written.
    pub mmio: BTreeMap<u64, u32>,
    /// The IOMMU, if it has one.
    pub remapper: Option<Remapper>,
    /// Memory as an IOMMU sees it that does not look into caches: what was written back. Before that, anything.
    pub behind: Option<Vec<u8>>,
    /// What the function of [`DEVICE_FUNCTION`] must not reach, at any moment.
    pub never_reached: Option<u64>,
    /// Whether there is a random number generator.
    pub has_entropy: bool,
    /// Where BARs may be put.
    pub window: Range<u64>,
    config: [u32; 64],
}

impl SimMachine {
    /// A machine with this many frames.
    pub fn new(frames: u64) -> Self {
        let mut config = [0; 64];
        config[0] = 0x1041_1af4;
        config[1] = 0x10 << 16; // A capability list.
        config[2] = 0x02_0000 << 8;
        config[4] = BAR_BASE as u32;
        config[0x34 / 4] = 0x40;
        config[0x10] = 0x11 | ((VECTORS as u32 - 1) << 16);
        config[0x11] = (MSIX_PAGE * 0x1000) as u32;
        config[0x12] = (MSIX_PAGE * 0x1000 + 0x800) as u32;
        Self {
            memory: std::vec![0; (frames * 4096) as usize],
            clock: 1_000_000,
            timer: u64::MAX,
            root: 0,
            power: None,
            printed: Vec::new(),
            io: Vec::new(),
            routed: Vec::new(),
            mmio: BTreeMap::new(),
            remapper: None,
            behind: None,
            never_reached: None,
            has_entropy: true,
            window: 0..0,
            config,
        }
    }

    /// The firmware has not set the BAR.
    pub fn unset_bar(&mut self) {
        self.config[4] = 0;
    }

    /// Physical memory; what lies outside is no memory, and the test ends.
    pub fn bytes(&self, at: u64, count: u64) -> &[u8] {
        let from = at.checked_sub(MEMORY_START).expect("an address in memory") as usize;
        &self.memory[from..from + count as usize]
    }

    /// The same, to change it.
    pub fn bytes_mut(&mut self, at: u64, count: u64) -> &mut [u8] {
        let from = at.checked_sub(MEMORY_START).expect("an address in memory") as usize;
        &mut self.memory[from..from + count as usize]
    }

    /// An IOMMU that does not look into caches sees something else in this page.
    pub fn hide(&mut self, page: u64) {
        let from = page.checked_sub(MEMORY_START).expect("an address in memory") as usize;
        if let Some(behind) = &mut self.behind {
            behind[from..from + 4096].fill(0xff);
        }
    }

    /// An entry of a table, as the IOMMU sees it.
    fn seen(&self, at: u64) -> u64 {
        let Some(behind) = &self.behind else { return self.read_u64(at) };
        let from = at.checked_sub(MEMORY_START).expect("an address in memory") as usize;
        u64::from_le_bytes(behind[from..from + 8].try_into().expect("8 bytes"))
    }

    /// A PCI function accesses memory; whether it gets through.
    pub fn dma(&mut self, function: u16, address: u64, write: bool) -> bool {
        let Some(mut remapper) = self.remapper.take() else { return true };
        let through = remapper.access(|at| self.seen(at), function, address, write);
        self.remapper = Some(remapper);
        through
    }

    /// A PCI function writes to the local APIC's address; the vector that arrives, if one does.
    pub fn signal(&mut self, function: u16, address: u32, data: u32) -> Option<u8> {
        let Some(mut remapper) = self.remapper.take() else { return Some(data as u8) };
        let vector = remapper.signal(|at| self.seen(at), function, address, data);
        self.remapper = Some(remapper);
        vector
    }
}

impl Machine for SimMachine {
    fn now(&self) -> u64 {
        self.clock
    }

    fn set_timer(&mut self, at: u64) {
        self.timer = at;
    }

    fn read(&self, from: u64, to: &mut [u8]) {
        to.copy_from_slice(self.bytes(from, to.len() as u64));
    }

    fn write(&mut self, to: u64, from: &[u8]) {
        self.bytes_mut(to, from.len() as u64).copy_from_slice(from);
    }

    fn copy(&mut self, from: u64, to: u64, bytes: u64) {
        assert!(from.abs_diff(to) >= bytes, "the ranges overlap");
        let copied = self.bytes(from, bytes).to_vec();
        self.write(to, &copied);
    }

    fn memory_mut(&mut self, at: u64, bytes: u64) -> &mut [u8] {
        self.bytes_mut(at, bytes)
    }

    fn zero(&mut self, at: u64, bytes: u64) {
        self.bytes_mut(at, bytes).fill(0);
    }

    fn read_u64(&self, at: u64) -> u64 {
        let mut word = [0; 8];
        self.read(at, &mut word);
        u64::from_le_bytes(word)
    }

    fn write_u64(&mut self, at: u64, value: u64) {
        self.write(at, &value.to_le_bytes());
    }

    fn init_root(&mut self, root: u64) {
        assert!(self.bytes(root, 4096).iter().all(|&b| b == 0), "a new table is zero");
        self.write_u64(root + 511 * 8, 0xdead_0000);
    }

    fn activate(&mut self, root: u64) {
        self.root = root;
    }

    fn deactivate(&mut self) {
        self.root = 0;
    }

    fn write_back(&mut self) {
        if let Some(behind) = &mut self.behind {
            behind.copy_from_slice(&self.memory);
        }
    }

    fn write_back_bytes(&mut self, at: u64, bytes: u64) {
        let Some(behind) = &mut self.behind else { return };
        let lines = (at - MEMORY_START) as usize / 64..((at - MEMORY_START + bytes) as usize).div_ceil(64);
        for line in lines {
            let line = line * 64..line * 64 + 64;
            behind[line.clone()].copy_from_slice(&self.memory[line]);
        }
        if let (Some(address), Some(remapper)) = (self.never_reached, &self.remapper) {
            assert!(!remapper.would_reach(|at| self.seen(at), DEVICE_FUNCTION, address));
        }
    }

    fn flush(&mut self, _address: u64) {}

    fn io_read(&mut self, port: u16, width: u8) -> u32 {
        self.io.push((port, width, None));
        0x5a
    }

    fn io_write(&mut self, port: u16, width: u8, value: u32) {
        self.io.push((port, width, Some(value)));
    }

    fn mmio_read(&mut self, at: u64) -> u32 {
        match (&self.remapper, Remapper::register(at)) {
            (Some(remapper), Some(register)) => remapper.read(register),
            _ => self.mmio.get(&at).copied().unwrap_or(0),
        }
    }

    fn mmio_write(&mut self, at: u64, value: u32) {
        match (self.remapper.take(), Remapper::register(at)) {
            (Some(mut remapper), Some(register)) => {
                remapper.write(register, value, |at| self.read_u64(at));
                self.remapper = Some(remapper);
            }
            (remapper, _) => {
                self.remapper = remapper;
                self.mmio.insert(at, value);
            }
        }
    }

    fn pci_read(&mut self, function: u16, offset: u16) -> u32 {
        if function == DEVICE_FUNCTION { self.config[usize::from(offset) / 4] } else { u32::MAX }
    }

    fn pci_write(&mut self, function: u16, offset: u16, value: u32) {
        assert_eq!(function, DEVICE_FUNCTION, "no other function is there to be written");
        self.config[usize::from(offset) / 4] = match offset {
            0x10 => value & !(BAR_BYTES as u32 - 1),
            0x04 => value & 0xffff | 0x10 << 16, // The status half is read-only here.
            0x14..=0x27 => 0,
            _ => value,
        };
    }

    fn pci_window(&self) -> Range<u64> {
        self.window.clone()
    }

    fn route_isa(&mut self, line: u8, vector: Option<u8>, remapped: bool) {
        self.routed.push((line, vector, remapped));
    }

    fn entropy(&mut self, out: &mut [u8]) -> bool {
        out.fill(0xa5);
        self.has_entropy
    }

    fn print(&mut self, text: &[u8]) {
        self.printed.extend_from_slice(text);
    }

    fn power(&mut self, action: PowerAction) {
        self.power = Some(action);
    }
}

/// The arena of a kernel, given back when its world ends: the random tests make hundreds.
pub struct Tables(*mut [u8]);

impl Tables {
    /// Zeroed memory for a kernel's tables, and what gives it back.
    pub fn new(bytes: usize) -> (&'static mut [u8], Self) {
        let arena = Box::leak(std::vec![0u8; bytes].into_boxed_slice());
        let tables = Self(&raw mut *arena);
        (arena, tables)
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        // SAFETY: made by `Box::leak` in `new` and given back once; the kernel over it is a field before this one or was moved out of
        // the world and dropped, and nothing else keeps a reference to its tables.
        drop(unsafe { Box::from_raw(self.0) });
    }
}
