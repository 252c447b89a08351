//! An IOMMU as the specification has it, stubborn where it may be: it keeps translations, contexts and entries of interrupts until it is told to
//! forget them.

use std::collections::BTreeMap;

/// Where its registers are.
pub const REGISTERS: u64 = 0xfed9_0000;
const BYTES: u64 = 0x1000;
const COMMAND: u64 = 0x18;
const STATUS: u64 = 0x1c;
const ROOT: u64 = 0x20;
const FAULT_STATUS: u64 = 0x34;
const FAULT_CONTROL: u64 = 0x38;
const FAULT_DATA: u64 = 0x3c;
const QUEUE_TAIL: u64 = 0x88;
const QUEUE: u64 = 0x90;
const COMPLETION: u64 = 0x9c;
const INTERRUPTS: u64 = 0xb8;
/// Where this one has its two fault records.
const FAULTS: u64 = 0x220;
const RECORDS: u64 = 2;
const TRANSLATES: u32 = 1 << 31;
const ROOT_SET: u32 = 1 << 30;
const QUEUES: u32 = 1 << 26;
const REMAPS: u32 = 1 << 25;
const INTERRUPTS_SET: u32 = 1 << 24;
const COMPATIBILITY: u32 = 1 << 23;
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
    /// Next command to be read, as an offset in the queue.
    head: u64,
    /// Table of interrupts, with the number of its entries.
    table: (u64, u64),
    /// By number.
    entries: BTreeMap<u64, [u64; 2]>,
    /// How often it raised its interrupt: when something is recorded and nothing was before (10.4.9).
    pub raised: u64,
    /// As often as this, something is refused as soon as there is room to record it.
    pub flood: u32,
}

impl Remapper {
    /// One whose tables have this many levels, and that may know large pages.
    pub fn new(levels: u32, large_pages: bool) -> Self {
        let large = u64::from(large_pages) << 34;
        let capability = large | 2 | 1 << (8 + levels - 2) | (FAULTS / 16) << 24 | (RECORDS - 1) << 40;
        let extended = 1 << 1 | 1 << 3 | 0xf << 8;
        let mut registers = BTreeMap::new();
        registers.insert(0, 0x10);
        for (at, value) in [(8, capability), (0x10, extended)] {
            registers.insert(at, value as u32);
            registers.insert(at + 4, (value >> 32) as u32);
        }
        registers.insert(FAULT_CONTROL, 1 << 31);
        // What firmware may have left.
        registers.insert(STATUS, COMPATIBILITY);
        Self {
            registers,
            root: 0,
            contexts: BTreeMap::new(),
            pages: BTreeMap::new(),
            head: 0,
            table: (0, 0),
            entries: BTreeMap::new(),
            raised: 0,
            flood: 0,
        }
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

    fn long(&self, register: u64) -> u64 {
        u64::from(self.read(register)) | u64::from(self.read(register + 4)) << 32
    }

    /// The kernel writes a register.
    pub fn write(&mut self, register: u64, value: u32, memory: impl Fn(u64) -> u64) {
        let value = match register {
            COMMAND => {
                if value & ROOT_SET != 0 {
                    self.root = self.long(ROOT);
                }
                if value & INTERRUPTS_SET != 0 {
                    let table = self.long(INTERRUPTS);
                    assert_eq!(table & 0xff0, 0, "no extended destinations, and nothing reserved");
                    self.table = (table & ADDRESS, 2 << (table & 0xf));
                }
                assert!(value & TRANSLATES == 0 || self.root != 0, "it translates without tables");
                self.registers.insert(STATUS, value);
                value
            }
            QUEUE_TAIL => {
                self.registers.insert(QUEUE_TAIL, value);
                if self.read(STATUS) & QUEUES != 0 {
                    self.obey(u64::from(value), memory);
                } else {
                    self.head = 0;
                }
                value
            }
            COMPLETION => self.read(COMPLETION) & !value,
            FAULT_STATUS => self.read(FAULT_STATUS) & !value,
            at if at >= FAULTS && (at - FAULTS) % 16 == 12 => self.read(at) & !(value & 1 << 31),
            _ => value,
        };
        let taken = register >= FAULTS && self.read(register) & !value & 1 << 31 != 0;
        self.registers.insert(register, value);
        if taken && self.flood != 0 {
            self.flood -= 1;
            self.record(0x18, 0xfec0_0000, 0, 5);
        }
    }

    /// Reads commands up to `tail` from a queue of one page.
    fn obey(&mut self, tail: u64, memory: impl Fn(u64) -> u64) {
        let queue = self.long(QUEUE);
        assert_eq!(queue & 0xfff, 0, "a queue of 256 commands of 16 bytes");
        while self.head != tail {
            let (command, upper) = (memory(queue + self.head), memory(queue + self.head + 8));
            assert_eq!(upper, 0, "nothing is reserved or by address");
            self.head = (self.head + 16) % 4096;
            match (command & 0xf, command >> 4 & 3) {
                (1, 1) => self.contexts.clear(),
                (2, 1) => self.pages.clear(),
                (2, 2) => self.pages.retain(|(domain, _), _| u64::from(*domain) != command >> 16 & 0xffff),
                (4, 0) => self.entries.clear(),
                (5, 1) => drop(self.registers.insert(COMPLETION, 1)),
                other => panic!("no such command: {other:?}"),
            }
        }
    }

    /// A function writes `data` to the local APIC's address: the vector that arrives, if one does.
    pub fn signal(
        &mut self,
        memory: impl Fn(u64) -> u64,
        function: u16,
        address: u32,
        data: u32,
    ) -> Option<u8> {
        assert_eq!(address >> 20, 0xfee);
        if self.read(STATUS) & REMAPS == 0 {
            return Some(data as u8);
        }
        let number = u64::from(address >> 5 & 0x7fff | (address >> 2 & 1) << 15);
        let reason = match address >> 3 & 3 {
            0 | 1 if self.read(STATUS) & COMPATIBILITY != 0 => return Some(data as u8),
            0 | 1 => 0x25,
            _ if data != 0 => 0x20,
            _ if number >= self.table.1 => 0x21,
            _ => {
                let at = self.table.0 + 16 * number;
                let entry = *self.entries.entry(number).or_insert_with(|| [memory(at), memory(at + 8)]);
                let [low, high] = entry;
                if low & 1 == 0 {
                    0x22
                } else if high >> 18 == 1 && high & 0xffff != u64::from(function) {
                    0x26
                } else {
                    assert_eq!(
                        (low & 0xffff_ffff_ff00_ffff, high >> 16 & 3),
                        (1, 0),
                        "what the kernel writes"
                    );
                    return Some((low >> 16) as u8);
                }
            }
        };
        self.record(function, number << 48, 0, reason);
        None
    }

    /// The frames of its root and context table, of its queue and of its table of interrupts.
    pub fn tables(&self, memory: impl Fn(u64) -> u64) -> [u64; 4] {
        [self.root, memory(self.root) & ADDRESS, self.long(QUEUE), self.table.0]
    }

    /// Whether something is recorded.
    fn is_pending(&self) -> bool {
        (0..RECORDS).any(|n| self.read(FAULTS + 16 * n + 12) >> 31 != 0)
    }

    /// The interrupt that it raises now.
    pub fn interrupt(&self) -> Option<u8> {
        (self.is_pending() && self.read(FAULT_CONTROL) >> 31 == 0).then(|| self.read(FAULT_DATA) as u8)
    }

    /// Whether an access of a function goes through; if not, it is recorded while there is room.
    pub fn access(&mut self, memory: impl Fn(u64) -> u64, function: u16, address: u64, write: bool) -> bool {
        if self.read(STATUS) & TRANSLATES == 0 {
            return true;
        }
        match self.translate(memory, function, address, write) {
            Ok(()) => true,
            Err(reason) => {
                self.record(function, address & ADDRESS, u32::from(!write) << 30, reason);
                false
            }
        }
    }

    /// Whether an access would go through that is tried now by one that remembers nothing.
    pub fn would_reach(&self, memory: impl Fn(u64) -> u64, function: u16, address: u64) -> bool {
        let at = (memory(self.root) & ADDRESS) + 16 * u64::from(function);
        let (low, high) = (memory(at), memory(at + 8));
        let context = Context { top: low & ADDRESS, levels: (high & 7) as u32 + 2, domain: 0 };
        walk(memory, context, address, true).is_some()
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
                let large_pages = self.read(12) >> 2 & 1 != 0;
                let writable =
                    walk(memory, context, address, large_pages).ok_or(if write { 5u32 } else { 6 })?;
                self.pages.insert(page, writable);
                writable
            }
        };
        if writable || !write { Ok(()) } else { Err(5) }
    }

    pub fn record(&mut self, function: u16, information: u64, kind: u32, reason: u32) {
        self.raised += u64::from(!self.is_pending());
        let Some(at) = (0..RECORDS).map(|n| FAULTS + 16 * n).find(|at| self.read(at + 12) >> 31 == 0) else {
            self.registers.insert(FAULT_STATUS, 1);
            return;
        };
        let words =
            [information as u32, (information >> 32) as u32, function.into(), 1 << 31 | kind | reason];
        self.registers.extend((at..).step_by(4).zip(words));
    }
}

/// Whether the page may be written; `None` if it is not there. It is where its address says, or the test ends.
fn walk(memory: impl Fn(u64) -> u64, context: Context, address: u64, large_pages: bool) -> Option<bool> {
    assert!(address >> (12 + 9 * context.levels) == 0, "an address of this width");
    let (mut at, mut writable) = (context.top, true);
    for level in (1..=context.levels).rev() {
        let entry = memory(at + (address >> (12 + 9 * (level - 1)) & 0x1ff) * 8);
        if entry & 3 == 0 {
            return None;
        }
        assert_eq!(entry & 0x800f_ff80_0000_0f7c, 0, "reserved bits of {entry:#x}");
        writable &= entry & 2 != 0;
        at = entry & ADDRESS;
        if entry & 1 << 7 != 0 {
            assert!(level == 2 && large_pages, "a large page where there may be none");
            assert_eq!(at, address & !0x1f_ffff, "a device's addresses are physical ones");
            return Some(writable);
        }
    }
    assert_eq!(at, address & ADDRESS, "a device's addresses are physical ones");
    Some(writable)
}
