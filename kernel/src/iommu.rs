//! Intel VT-d, legacy mode: which page tables each PCI function's DMA goes through, and which interrupts it raises (VT-d specification, chapters 3
//! and 5).
//!
//! One root table and one context table serve all units: only functions of bus 0 are driven, and a function without a context entry reaches
//! nothing (3.4). One table of interrupts serves them, too. Caches are emptied by commands in a queue in memory (6.5.2), the only way that
//! units which remap interrupts have for it: all units read the same queue, one after the other, and the kernel waits for each. Faults are
//! recorded in registers and reported by one interrupt (7.3). Left out, and said in the book: device TLBs, and the regions that firmware
//! reserves for itself.

use crate::config::MAX_DEVICES;
use crate::machine::Machine;
use crate::remap::{LOCAL_APIC, TABLE_SIZE, entry};
use hic_abi::PAGE_SIZE;

/// Units that are driven together; a PC has one to four.
pub const MAX_UNITS: usize = 8;
/// The processor vector on which units report faults.
pub const FAULT_VECTOR: u8 = 0xef;

// Registers (chapter 10).
const CAPABILITY: u64 = 0x08;
const EXTENDED: u64 = 0x10;
const COMMAND: u64 = 0x18;
const STATUS: u64 = 0x1c;
const ROOT: u64 = 0x20;
const FAULT_STATUS: u64 = 0x34;
const FAULT_CONTROL: u64 = 0x38;
const FAULT_DATA: u64 = 0x3c;
const FAULT_ADDRESS: u64 = 0x40;
const QUEUE_TAIL: u64 = 0x88;
const QUEUE: u64 = 0x90;
const COMPLETION: u64 = 0x9c;
const INTERRUPTS: u64 = 0xb8;

/// What a unit can do: its walks of tables see the processor's caches; it takes commands by a queue; it remaps interrupts (10.4.3).
const COHERENT: u64 = 1;
const QUEUES: u64 = 1 << 1;
const REMAPS: u64 = 1 << 3;

/// Bits of COMMAND and STATUS that stay as they are when another one is written (10.4.4); the rest are one-shot.
const LASTING: u32 = 0x96ff_ffff;
const TRANSLATION: u32 = 1 << 31;
const SET_ROOT: u32 = 1 << 30;
const QUEUED_INVALIDATION: u32 = 1 << 26;
const REMAPPING: u32 = 1 << 25;
const SET_INTERRUPTS: u32 = 1 << 24;
/// Interrupts in the format of before remapping go through as they are.
const COMPATIBILITY: u32 = 1 << 23;
/// Commands (6.5.2): forget all contexts, all pages, the pages of a domain, all interrupts; accesses that are under way end first (bits 6, 7).
const ALL_CONTEXTS: u64 = 1 | 1 << 4;
const ALL_PAGES: u64 = 2 | 1 << 4 | 3 << 6;
const PAGES_OF_DOMAIN: u64 = 2 | 2 << 4 | 3 << 6;
const ALL_INTERRUPTS: u64 = 4;
/// When all commands before it are done, the completion register says so.
const SAY_DONE: u64 = 5 | 1 << 4;
const DONE: u32 = 1;
/// Bytes of a command.
const COMMAND_BYTES: u64 = 16;
/// Of the capability register.
const PAGES_OF_2_MIB: u64 = 1 << 34;
const FAULT_OVERFLOW: u32 = 1;
/// Upper word of a fault record: it is filled; it was a read.
const FAULT: u32 = 1 << 31;
const WAS_READ: u32 = 1 << 30;
/// Of entries of the root and the context table.
pub const PRESENT: u64 = 1;
/// Reads of a register until a unit must have done what it was told.
const PATIENCE: u32 = 10_000_000;

/// What a refused interrupt is called.
pub const INTERRUPT: &str = "interrupt";
/// Reasons of refused interrupts (7.1.3); others are of refused accesses.
const OF_INTERRUPTS: core::ops::Range<u8> = 0x20..0x28;

/// Something that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The function that asked: bus << 8 | device << 3 | function.
    pub source: u16,
    /// What it wanted: `read`, `write` or `interrupt`.
    pub wish: &'static str,
    /// Address of the page, or the entry of the interrupt; 0 also where it named none.
    pub what: u64,
    /// Why it was refused (7.1.3; 2 = no context entry, 5 = may not write, 6 = may not read, 0x22 = no such interrupt, 0x25 = an interrupt
    /// in the old format, 0x26 = another function's interrupt).
    pub reason: u8,
}

#[derive(Clone, Copy, Debug)]
struct Unit {
    base: u64,
    faults: u64,
    records: u64,
}

/// All units.
#[derive(Debug)]
pub struct Iommu {
    units: [Option<Unit>; MAX_UNITS],
    /// Levels of page tables that all units walk: 3 if they can, or 4.
    pub levels: u64,
    /// Whether all units know pages of 2 MiB (10.4.2, SLLPS).
    pub large_pages: bool,
    /// Whether all of them remap interrupts.
    pub remaps: bool,
    /// Whether all of them see what is in the processor's caches.
    pub coherent: bool,
    /// What they read.
    pub tables: Tables,
}

/// What units read in memory: physical addresses of frames.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tables {
    /// The root table.
    pub root: u64,
    /// The queue of commands.
    pub queue: u64,
    /// The table of interrupts; 0 = they are not remapped.
    pub interrupts: u64,
}

/// The number for what a device reaches; 0 is reserved (9.3).
pub const fn domain(device: u32) -> u16 {
    device as u16 + 1
}

fn read_long<M: Machine>(machine: &mut M, at: u64) -> u64 {
    u64::from(machine.mmio_read(at)) | u64::from(machine.mmio_read(at + 4)) << 32
}

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

    /// Does a command; when this returns, it is done.
    fn obey<M: Machine>(&self, machine: &mut M, tables: &Tables, command: u64) {
        let tail = u64::from(machine.mmio_read(self.base + QUEUE_TAIL));
        for (at, command) in [(tail, command), (tail + COMMAND_BYTES, SAY_DONE)] {
            machine.write_u64(tables.queue + at, command);
            machine.write_u64(tables.queue + at + 8, 0);
        }
        machine.mmio_write(self.base + COMPLETION, DONE);
        machine.mmio_write(self.base + QUEUE_TAIL, ((tail + 2 * COMMAND_BYTES) % PAGE_SIZE) as u32);
        until(machine, self.base + COMPLETION, DONE, DONE);
    }

    fn take_refusal<M: Machine>(&self, machine: &mut M) -> Option<Refusal> {
        let mut records = (0..self.records).map(|n| self.faults + 16 * n);
        let at = records.find(|at| machine.mmio_read(at + 12) & FAULT != 0)?;
        let (information, upper) = (read_long(machine, at), machine.mmio_read(at + 12));
        let source = machine.mmio_read(at + 8) as u16;
        machine.mmio_write(at + 12, FAULT);
        machine.mmio_write(self.base + FAULT_STATUS, FAULT_OVERFLOW);
        let (reason, page) = (upper as u8, information & !0xfff);
        let (wish, what) = match upper & WAS_READ {
            _ if OF_INTERRUPTS.contains(&reason) => (INTERRUPT, information >> 48),
            0 => ("write", page),
            _ => ("read", page),
        };
        Some(Refusal { source, wish, what, reason })
    }

    fn start<M: Machine>(&self, machine: &mut M, tables: &Tables) {
        self.command(machine, REMAPPING, false);
        self.command(machine, QUEUED_INVALIDATION, false);
        write_long(machine, self.base + QUEUE_TAIL, 0);
        write_long(machine, self.base + QUEUE, tables.queue);
        self.command(machine, QUEUED_INVALIDATION, true);
        write_long(machine, self.base + ROOT, tables.root);
        self.command(machine, SET_ROOT, true);
        self.obey(machine, tables, ALL_CONTEXTS);
        self.obey(machine, tables, ALL_PAGES);
        if tables.interrupts != 0 {
            write_long(machine, self.base + INTERRUPTS, tables.interrupts | TABLE_SIZE);
            self.command(machine, SET_INTERRUPTS, true);
            self.obey(machine, tables, ALL_INTERRUPTS);
            self.command(machine, COMPATIBILITY, false);
            self.command(machine, REMAPPING, true);
        }
        // What is from before; what comes meanwhile is asked for once.
        for _ in 0..self.records {
            let _before = self.take_refusal(machine);
        }
        machine.mmio_write(self.base + FAULT_DATA, FAULT_VECTOR.into());
        machine.mmio_write(self.base + FAULT_ADDRESS, LOCAL_APIC);
        machine.mmio_write(self.base + FAULT_CONTROL, 0);
        self.command(machine, TRANSLATION, true);
    }
}

impl Iommu {
    /// Looks at the units whose registers are at these addresses. `None`: there are too many, or one of them takes no commands from a queue,
    /// walks other tables, or knows too few domains for one a device.
    pub fn find<M: Machine>(machine: &mut M, bases: &[u64]) -> Option<Self> {
        let (mut units, mut all, mut skills) = ([None; MAX_UNITS], !0, !0);
        for (n, &base) in bases.iter().enumerate() {
            let [capability, extended] = [CAPABILITY, EXTENDED].map(|at| read_long(machine, base + at));
            let domains = 1_usize << (4 + 2 * (capability & 7));
            if extended & QUEUES == 0 || domains <= MAX_DEVICES {
                return None;
            }
            all &= capability;
            skills &= extended;
            *units.get_mut(n)? = Some(Unit {
                base,
                faults: base + 16 * (capability >> 24 & 0x3ff),
                records: (capability >> 40 & 0xff) + 1,
            });
        }
        let levels = (3..=4).find(|levels| all >> (8 + levels - 2) & 1 != 0)?;
        let (remaps, coherent) = (skills & REMAPS != 0, skills & COHERENT != 0);
        let large_pages = all & PAGES_OF_2_MIB != 0;
        Some(Self { units, levels, large_pages, remaps, coherent, tables: Tables::default() })
    }

    /// From here on a function reaches and raises what these tables say, and nothing else.
    pub fn start<M: Machine>(&mut self, machine: &mut M, tables: Tables) {
        self.tables = tables;
        machine.write_back();
        self.units.iter().flatten().for_each(|unit| unit.start(machine, &tables));
    }

    fn obey<M: Machine>(&self, machine: &mut M, command: u64) {
        self.units.iter().flatten().for_each(|unit| unit.obey(machine, &self.tables, command));
    }

    /// Writes an entry of a table that the units read.
    pub fn write<M: Machine>(&self, machine: &mut M, at: u64, value: u64) {
        machine.write_u64(at, value);
        self.show(machine, at, 8);
    }

    /// Lets the units see these bytes as the processor does.
    pub fn show<M: Machine>(&self, machine: &mut M, at: u64, bytes: u64) {
        if !self.coherent {
            machine.write_back_bytes(at, bytes);
        }
    }

    /// The tables of a domain have changed: once this returns, nothing is reached that is not in them (6.5), and all that is.
    pub fn forget<M: Machine>(&self, machine: &mut M, domain: u16) {
        self.obey(machine, PAGES_OF_DOMAIN | u64::from(domain) << 16);
    }

    /// Once this returns, this function, and no other, raises this vector; or nobody does.
    pub fn admit<M: Machine>(&self, machine: &mut M, vector: u8, source: Option<u16>) {
        let [low, high] = source.map_or([0; 2], |source| entry(vector, source));
        let at = self.tables.interrupts + 16 * u64::from(vector);
        // Present last, absent first.
        for (at, value) in [(at, 0), (at + 8, high), (at, low)] {
            self.write(machine, at, value);
        }
        self.obey(machine, ALL_INTERRUPTS);
    }

    /// The next thing that was refused.
    pub fn take_refusal<M: Machine>(&self, machine: &mut M) -> Option<Refusal> {
        self.units.iter().flatten().find_map(|unit| unit.take_refusal(machine))
    }
}
