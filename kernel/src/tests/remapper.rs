//! An IOMMU as the specification has it, stubborn where it may be: it keeps translations and contexts until it is told to forget them.

use std::collections::BTreeMap;

/// Where its registers are.
pub const REGISTERS: u64 = 0xfed9_0000;
const BYTES: u64 = 0x1000;
const COMMAND: u64 = 0x18;
const STATUS: u64 = 0x1c;
const ROOT: u64 = 0x20;
const CONTEXT_COMMAND: u64 = 0x2c;
const FAULT_STATUS: u64 = 0x34;
const FAULT_CONTROL: u64 = 0x38;
const FAULT_DATA: u64 = 0x3c;
/// Where this one has its cache's command (upper half) and its two fault records.
const IOTLB: u64 = 0xfc;
const FAULTS: u64 = 0x220;
const RECORDS: u64 = 2;
const TRANSLATES: u32 = 1 << 31;
const ROOT_SET: u32 = 1 << 30;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

#[derive(Clone, Copy)]
struct Context {
    top: u64,
    levels: u32,
    domain: u16,
}

/// The IOMMU.
pub struct Remapper {
    registers: BTreeMap<u64, u32>,
    root: u64,
    contexts: BTreeMap<u16, Context>,
    /// By domain and page: whether it may be written.
    pages: BTreeMap<(u16, u64), bool>,
}

impl Remapper {
    /// One whose tables have this many levels.
    pub fn new(levels: u32) -> Self {
        let capability = 2 | 1 << (8 + levels - 2) | (FAULTS / 16) << 24 | (RECORDS - 1) << 40;
        let extended = 0xf << 8;
        let mut registers = BTreeMap::new();
        registers.insert(0, 0x10);
        for (at, value) in [(8, capability), (0x10, extended)] {
            registers.insert(at, value as u32);
            registers.insert(at + 4, (value >> 32) as u32);
        }
        registers.insert(FAULT_CONTROL, 1 << 31);
        Self { registers, root: 0, contexts: BTreeMap::new(), pages: BTreeMap::new() }
    }

    /// Its register at a physical address.
    pub fn register(at: u64) -> Option<u64> {
        at.checked_sub(REGISTERS).filter(|&offset| offset < BYTES)
    }

    /// A register.
    pub fn read(&self, register: u64) -> u32 {
        self.registers.get(&register).copied().unwrap_or(0)
    }

    /// Gives a register another value than the machine came with.
    pub fn set(&mut self, register: u64, value: u32) {
        self.registers.insert(register, value);
    }

    /// The kernel writes a register.
    pub fn write(&mut self, register: u64, value: u32) {
        let value = match register {
            COMMAND => {
                if value & ROOT_SET != 0 {
                    self.root = u64::from(self.read(ROOT)) | u64::from(self.read(ROOT + 4)) << 32;
                }
                self.registers.insert(STATUS, value);
                value
            }
            CONTEXT_COMMAND if value >> 31 != 0 => {
                self.contexts.clear();
                value & !(1 << 31)
            }
            IOTLB if value >> 31 != 0 => {
                match value >> 28 & 3 {
                    1 => self.pages.clear(),
                    2 => self.pages.retain(|(domain, _), _| u32::from(*domain) != value & 0xffff),
                    other => panic!("no such invalidation: {other}"),
                }
                value & !(1 << 31)
            }
            FAULT_STATUS => self.read(FAULT_STATUS) & !value,
            at if at >= FAULTS && (at - FAULTS) % 16 == 12 => self.read(at) & !(value & 1 << 31),
            _ => value,
        };
        self.registers.insert(register, value);
    }

    /// The frames of its root and context table.
    pub fn tables(&self, memory: impl Fn(u64) -> u64) -> [u64; 2] {
        [self.root, memory(self.root) & ADDRESS]
    }

    /// The interrupt that it raises now.
    pub fn interrupt(&self) -> Option<u8> {
        let filled = (0..RECORDS).any(|n| self.read(FAULTS + 16 * n + 12) >> 31 != 0);
        (filled && self.read(FAULT_CONTROL) >> 31 == 0).then(|| self.read(FAULT_DATA) as u8)
    }

    /// Whether an access of a function goes through; if not, it is recorded while there is room.
    pub fn access(&mut self, memory: impl Fn(u64) -> u64, function: u16, address: u64, write: bool) -> bool {
        if self.read(STATUS) & TRANSLATES == 0 {
            return true;
        }
        match self.translate(memory, function, address, write) {
            Ok(()) => true,
            Err(reason) => {
                self.record(function, address, write, reason);
                false
            }
        }
    }

    fn translate(
        &mut self,
        memory: impl Fn(u64) -> u64,
        function: u16,
        address: u64,
        write: bool,
    ) -> Result<(), u32> {
        let context = match self.contexts.get(&function) {
            Some(context) => *context,
            None => {
                let at = (memory(self.root) & ADDRESS) + 16 * u64::from(function);
                let (low, high) = (memory(at), memory(at + 8));
                if low & 1 == 0 {
                    return Err(2);
                }
                let levels = (high & 7) as u32 + 2;
                let context = Context { top: low & ADDRESS, levels, domain: (high >> 8) as u16 };
                self.contexts.insert(function, context);
                context
            }
        };
        let page = (context.domain, address & ADDRESS);
        let writable = match self.pages.get(&page) {
            Some(writable) => *writable,
            None => {
                let writable = walk(memory, context, address).ok_or(if write { 5u32 } else { 6 })?;
                self.pages.insert(page, writable);
                writable
            }
        };
        if writable || !write { Ok(()) } else { Err(5) }
    }

    fn record(&mut self, function: u16, address: u64, write: bool, reason: u32) {
        let Some(at) = (0..RECORDS).map(|n| FAULTS + 16 * n).find(|at| self.read(at + 12) >> 31 == 0) else {
            self.registers.insert(FAULT_STATUS, 1);
            return;
        };
        let page = address & ADDRESS;
        let read = u32::from(!write) << 30;
        let words = [page as u32, (page >> 32) as u32, function.into(), 1 << 31 | read | reason];
        self.registers.extend((at..).step_by(4).zip(words));
    }
}

/// Whether the page may be written; `None` if it is not there. It is where its address says, or the test ends.
fn walk(memory: impl Fn(u64) -> u64, context: Context, address: u64) -> Option<bool> {
    assert!(address >> (12 + 9 * context.levels) == 0, "an address of this width");
    let (mut at, mut writable) = (context.top, true);
    for level in (1..=context.levels).rev() {
        let entry = memory(at + (address >> (12 + 9 * (level - 1)) & 0x1ff) * 8);
        if entry & 3 == 0 {
            return None;
        }
        assert_eq!(entry & 0x800f_ff80_0000_0ffc, 0, "reserved bits of {entry:#x}");
        writable &= entry & 2 != 0;
        at = entry & ADDRESS;
    }
    assert_eq!(at, address & ADDRESS, "a device's addresses are physical ones");
    Some(writable)
}
