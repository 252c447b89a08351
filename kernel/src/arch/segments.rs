//! Segments, the task state, the interrupt table and the stacks. Intel SDM vol. 3A, 3.5, 6.14 and 8.7.
//!
//! Device interrupts and exceptions have no stack of their own: from ring 3 they push straight into the thread's context (RSP0 points to
//! the end of its frame), and in ring 0 they arrive in [`super::entry::idle`] only. NMI, double fault and machine check may come at any
//! instruction, so each has its own stack; none may share, because such a stack is not re-entrant.

use super::{CoreCell, entry, paging::KERNEL_BASE};
use core::{arch::asm, ops::Range};
use x86_64::{
    VirtAddr,
    instructions::{
        segmentation::{CS, SS, Segment},
        tables::{lgdt, lidt, load_tss},
    },
    registers::{
        model_specific::{Efer, EferFlags, LStar, SFMask},
        rflags::RFlags,
    },
    structures::{DescriptorTablePointer, gdt::SegmentSelector, tss::TaskStateSegment},
};

/// Bytes of a stack that may be used.
const STACK_BYTES: usize = 64 << 10;
const PAGE: usize = 4096;

/// A stack above a page that is never mapped: running over faults instead of overwriting what lies below.
#[repr(C, align(4096))]
pub struct Stack {
    guard: [u8; PAGE],
    space: [u8; STACK_BYTES],
}

const NEW_STACK: Stack = Stack { guard: [0; PAGE], space: [0; STACK_BYTES] };

/// The one stack of the kernel; each entry starts again at its top.
pub static KERNEL_STACK: CoreCell<Stack> = CoreCell::new(NEW_STACK);
static FATAL_STACKS: CoreCell<[Stack; 3]> = CoreCell::new([NEW_STACK; 3]);

/// Vectors with a stack of their own: NMI, double fault, machine check. The position plus one is the IST number.
const FATAL_VECTORS: [usize; 3] = [2, 8, 18];

/// The task state; `entry` writes RSP0 (offset 4) each time it resumes a thread.
pub static TASK: CoreCell<TaskStateSegment> = CoreCell::new(TaskStateSegment::new());

const KERNEL_CODE: u16 = 0x08;
const KERNEL_DATA: u16 = 0x10;
const TASK_SELECTOR: u16 = 0x28;

/// Null, kernel code, kernel data, user data, user code (the order that `sysret` computes with), and the two words of the task state.
static DESCRIPTORS: CoreCell<[u64; 7]> = CoreCell::new([
    0,
    0x00af_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x00cf_f300_0000_ffff,
    0x00af_fb00_0000_ffff,
    0,
    0,
]);

#[derive(Clone, Copy)]
#[repr(C)]
struct Gate {
    offset_low: u16,
    selector: u16,
    stack: u8,
    kind: u8,
    offset_middle: u16,
    offset_high: u32,
    reserved: u32,
}

impl Gate {
    const EMPTY: Self =
        Self { offset_low: 0, selector: 0, stack: 0, kind: 0, offset_middle: 0, offset_high: 0, reserved: 0 };

    /// An interrupt gate: the processor turns interrupts off on the way in.
    fn new(handler: u64, stack: u8, from_ring_3: bool) -> Self {
        Self {
            offset_low: handler as u16,
            selector: KERNEL_CODE,
            stack,
            kind: if from_ring_3 { 0xee } else { 0x8e },
            offset_middle: (handler >> 16) as u16,
            offset_high: (handler >> 32) as u32,
            reserved: 0,
        }
    }
}

#[repr(C, align(16))]
struct Gates([Gate; 256]);

static GATES: CoreCell<Gates> = CoreCell::new(Gates([Gate::EMPTY; 256]));

/// Loads everything and opens the system call entry.
pub fn init() {
    load_segments();
    load_gates();
    open_system_calls();
}

fn load_segments() {
    // SAFETY: boot code, run once; the tables are statics, so they outlive their use.
    unsafe {
        let task = &mut *TASK.get();
        let stacks = FATAL_STACKS.get().cast::<Stack>();
        for index in 0..FATAL_VECTORS.len() {
            task.interrupt_stack_table[index] = VirtAddr::new(stacks.add(index + 1) as u64);
        }
        let base = TASK.get() as u64;
        let limit = size_of::<TaskStateSegment>() as u64 - 1;
        let descriptors = &mut *DESCRIPTORS.get();
        // Present, 64-bit TSS, available (vol. 3A, 8.2.3).
        descriptors[5] = limit | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
        descriptors[6] = base >> 32;
        lgdt(&pointer(DESCRIPTORS.get() as u64, size_of_val(descriptors)));
        CS::set_reg(SegmentSelector(KERNEL_CODE));
        SS::set_reg(SegmentSelector(KERNEL_DATA));
        asm!("mov ds, {0:e}", "mov es, {0:e}", "mov fs, {0:e}", "mov gs, {0:e}", in(reg) 0, options(nostack));
        load_tss(SegmentSelector(TASK_SELECTOR));
    }
}

fn load_gates() {
    // SAFETY: boot code, run once; every gate leads to a stub of `entry`.
    unsafe {
        let gates = &mut *GATES.get();
        for (vector, gate) in gates.0.iter_mut().enumerate() {
            let stack = FATAL_VECTORS.iter().position(|&fatal| fatal == vector).map_or(0, |at| at as u8 + 1);
            // Ring 3 may execute `int3`; every other `int` is a general protection fault of the caller.
            *gate = Gate::new(entry::stub(vector), stack, vector == 3);
        }
        lidt(&pointer(GATES.get() as u64, size_of::<Gates>()));
    }
}

fn open_system_calls() {
    // STAR is written raw: bits 47:32 kernel code, 63:48 the selector before user data (vol. 3A, 5.8.8).
    let mut star = x86_64::registers::model_specific::Msr::new(0xc000_0081);
    // SAFETY: the selectors are those of `DESCRIPTORS`, the entry is ours; EFER keeps long mode and NX.
    unsafe {
        star.write(u64::from(KERNEL_DATA) << 48 | u64::from(KERNEL_CODE) << 32);
        Efer::update(|flags| flags.insert(EferFlags::SYSTEM_CALL_EXTENSIONS));
    }
    LStar::write(VirtAddr::new(entry::system_call as *const () as u64));
    SFMask::write(
        RFlags::INTERRUPT_FLAG
            | RFlags::DIRECTION_FLAG
            | RFlags::TRAP_FLAG
            | RFlags::NESTED_TASK
            | RFlags::ALIGNMENT_CHECK
            | RFlags::IOPL_LOW
            | RFlags::IOPL_HIGH,
    );
}

fn pointer(base: u64, bytes: usize) -> DescriptorTablePointer {
    DescriptorTablePointer { limit: (bytes - 1) as u16, base: VirtAddr::new(base) }
}

fn stacks() -> [u64; 4] {
    let fatal = FATAL_STACKS.get() as u64;
    let bytes = size_of::<Stack>() as u64;
    [KERNEL_STACK.get() as u64, fatal, fatal + bytes, fatal + 2 * bytes]
}

/// Virtual addresses of the pages that must stay unmapped.
pub fn guard_pages() -> [u64; 4] {
    stacks()
}

/// The part of a kernel stack from this address up, or an empty range when the address is in none. An address in the page below a stack
/// means that the stack overflowed: all of it is in use.
pub fn stack_from(address: u64) -> Range<u64> {
    let bytes = size_of::<Stack>() as u64;
    let found = stacks().into_iter().find(|&at| (at..at + bytes).contains(&address));
    found.map_or(address..address, |at| address.next_multiple_of(8).max(at + PAGE as u64)..at + bytes)
}

const _: () = assert!(KERNEL_BASE == 0xffff_ffff_8000_0000 && core::mem::offset_of!(Stack, space) == PAGE);
