//! Intel VT-d, legacy mode: which page tables each PCI function's DMA goes through (VT-d specification 3.3).
//!
//! One root table and one context table serve all units: only functions of bus 0 are driven, and a function without a context entry reaches
//! nothing (3.4). Caches are emptied by registers (6.5.1), faults are recorded in registers and reported by one interrupt (7.3). Left out,
//! and said in the book: interrupt remapping, device TLBs, and the regions that firmware reserves for itself.

use crate::config::MAX_DEVICES;
use crate::machine::Machine;

/// Units that are driven together; a PC has one to four.
pub const MAX_UNITS: usize = 8;
/// The processor vector on which units report faults.
pub const FAULT_VECTOR: u8 = 0xef;

// Registers (chapter 10).
const VERSION: u64 = 0x00;
const CAPABILITY: u64 = 0x08;
const EXTENDED: u64 = 0x10;
const COMMAND: u64 = 0x18;
const STATUS: u64 = 0x1c;
const ROOT: u64 = 0x20;
const CONTEXT_COMMAND: u64 = 0x28;
const FAULT_STATUS: u64 = 0x34;
const FAULT_CONTROL: u64 = 0x38;
const FAULT_DATA: u64 = 0x3c;
const FAULT_ADDRESS: u64 = 0x40;

/// Bits of COMMAND and STATUS that stay as they are when another one is written (10.4.4); the rest are one-shot.
const LASTING: u32 = 0x96ff_ffff;
const TRANSLATION: u32 = 1 << 31;
const SET_ROOT: u32 = 1 << 30;
const QUEUED_INVALIDATION: u32 = 1 << 26;
/// Commands to forget all contexts, all pages, or the pages of a domain; accesses that are under way end first (bits 48, 49).
const FORGET: u64 = 1 << 63;
const ALL_CONTEXTS: u64 = 1 << 61;
const ALL_PAGES: u64 = 1 << 60 | 3 << 48;
const PAGES_OF_DOMAIN: u64 = 2 << 60 | 3 << 48;
const FAULT_OVERFLOW: u32 = 1;
/// Upper word of a fault record: it is filled; it was a read.
const FAULT: u32 = 1 << 31;
const WAS_READ: u32 = 1 << 30;
/// The local APIC's address in a message-signalled interrupt.
const LOCAL_APIC: u32 = 0xfee0_0000;
/// Of entries of the root and the context table.
pub const PRESENT: u64 = 1;
/// Reads of a register until a unit must have done what it was told.
const PATIENCE: u32 = 10_000_000;

/// An access that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaFault {
    /// The function that asked: bus << 8 | device << 3 | function.
    pub source: u16,
    /// Address of the page.
    pub address: u64,
    /// Whether it wanted to read; otherwise it wanted to write.
    pub read: bool,
    /// Why it was refused (7.1.3; 2 = no context entry, 5 = may not write, 6 = may not read).
    pub reason: u8,
}

#[derive(Clone, Copy, Debug)]
struct Unit {
    base: u64,
    /// The register that empties its cache of pages.
    iotlb: u64,
    faults: u64,
    records: u64,
}

/// All units.
#[derive(Debug)]
pub struct Iommu {
    units: [Option<Unit>; MAX_UNITS],
    /// Levels of page tables that all units walk: 3 if they can, or 4.
    pub levels: u64,
}

fn read_long<M: Machine>(machine: &mut M, at: u64) -> u64 {
    u64::from(machine.mmio_read(at)) | u64::from(machine.mmio_read(at + 4)) << 32
}

/// The upper half goes last, because it holds what starts a command.
fn write_long<M: Machine>(machine: &mut M, at: u64, value: u64) {
    machine.mmio_write(at, value as u32);
    machine.mmio_write(at + 4, (value >> 32) as u32);
}

/// Waits for bits of a register. A unit that does not do as told cannot be trusted with memory that is about to be somebody else's.
fn until<M: Machine>(machine: &mut M, at: u64, bits: u32, value: u32) {
    assert!(
        (0..PATIENCE).any(|_| machine.mmio_read(at) & bits == value),
        "the IOMMU register {at:#x} is stuck"
    );
}

impl Unit {
    fn command<M: Machine>(&self, machine: &mut M, bit: u32, on: bool) {
        let others = machine.mmio_read(self.base + STATUS) & LASTING & !bit;
        let bits = if on { bit } else { 0 };
        machine.mmio_write(self.base + COMMAND, others | bits);
        until(machine, self.base + STATUS, bit, bits);
    }

    fn forget<M: Machine>(&self, machine: &mut M, register: u64, what: u64) {
        write_long(machine, register, FORGET | what);
        until(machine, register + 4, (FORGET >> 32) as u32, 0);
    }

    fn take_fault<M: Machine>(&self, machine: &mut M) -> Option<DmaFault> {
        let mut records = (0..self.records).map(|n| self.faults + 16 * n);
        let at = records.find(|at| machine.mmio_read(at + 12) & FAULT != 0)?;
        let (address, upper) = (read_long(machine, at), machine.mmio_read(at + 12));
        let source = machine.mmio_read(at + 8) as u16;
        machine.mmio_write(at + 12, FAULT);
        machine.mmio_write(self.base + FAULT_STATUS, FAULT_OVERFLOW);
        Some(DmaFault { source, address: address & !0xfff, read: upper & WAS_READ != 0, reason: upper as u8 })
    }

    fn start<M: Machine>(&self, machine: &mut M, root: u64) {
        self.command(machine, QUEUED_INVALIDATION, false);
        write_long(machine, self.base + ROOT, root);
        self.command(machine, SET_ROOT, true);
        self.forget(machine, self.base + CONTEXT_COMMAND, ALL_CONTEXTS);
        self.forget(machine, self.iotlb, ALL_PAGES);
        while self.take_fault(machine).is_some() {}
        machine.mmio_write(self.base + FAULT_DATA, FAULT_VECTOR.into());
        machine.mmio_write(self.base + FAULT_ADDRESS, LOCAL_APIC);
        machine.mmio_write(self.base + FAULT_CONTROL, 0);
        self.command(machine, TRANSLATION, true);
    }
}

impl Iommu {
    /// Looks at the units whose registers are at these addresses. `None`: there are too many, or one of them takes no commands by registers
    /// (version 6 and later), walks other tables, or knows too few domains for one a device.
    pub fn find<M: Machine>(machine: &mut M, bases: &[u64]) -> Option<Self> {
        let (mut units, mut widths) = ([None; MAX_UNITS], !0);
        for (n, &base) in bases.iter().enumerate() {
            let [capability, extended] = [CAPABILITY, EXTENDED].map(|at| read_long(machine, base + at));
            let domains = 1_usize << (4 + 2 * (capability & 7));
            if machine.mmio_read(base + VERSION) >> 4 & 0xf >= 6 || domains <= MAX_DEVICES {
                return None;
            }
            widths &= capability >> 8;
            *units.get_mut(n)? = Some(Unit {
                base,
                iotlb: base + 16 * (extended >> 8 & 0x3ff) + 8,
                faults: base + 16 * (capability >> 24 & 0x3ff),
                records: (capability >> 40 & 0xff) + 1,
            });
        }
        let levels = (3..=4).find(|levels| widths >> (levels - 2) & 1 != 0)?;
        Some(Self { units, levels })
    }

    /// From here on a function reaches what the tables say that this root table leads to, and nothing else.
    pub fn start<M: Machine>(&self, machine: &mut M, root: u64) {
        machine.write_back();
        self.units.iter().flatten().for_each(|unit| unit.start(machine, root));
    }

    /// The tables of a domain have changed: once this returns, nothing is reached that is not in them (6.5.1), and all that is.
    pub fn forget<M: Machine>(&self, machine: &mut M, domain: u16) {
        machine.write_back();
        let what = PAGES_OF_DOMAIN | u64::from(domain) << 32;
        self.units.iter().flatten().for_each(|unit| unit.forget(machine, unit.iotlb, what));
    }

    /// The next access that was refused.
    pub fn take_fault<M: Machine>(&self, machine: &mut M) -> Option<DmaFault> {
        self.units.iter().flatten().find_map(|unit| unit.take_fault(machine))
    }
}
