//! Segments, the task state, the interrupt table and the stacks. Intel SDM vol. 3A, 3.5, 6.14 and 8.7.
//!
//! Device interrupts and exceptions have no stack of their own: from ring 3 they push straight into the thread's context (RSP0 points to
//! the end of its frame), and in ring 0 they arrive in [`super::entry::idle`] only. NMI, double fault and machine check may come at any
//! instruction, so each has its own stack; none may share, because such a stack is not re-entrant.

use super::{CoreCell, entry, paging::KERNEL_BASE};
use core::{arch::asm, ops::Range};
use core0::context::{USER_CODE, USER_DATA};
use x86_64::{
    PrivilegeLevel, VirtAddr,
    instructions::{
        segmentation::{CS, SS, Segment},
        tables::{lidt, load_tss},
    },
    registers::{
        model_specific::{Efer, EferFlags, LStar, SFMask, Star},
        rflags::RFlags,
    },
    structures::{
        DescriptorTablePointer,
        gdt::{Descriptor, GlobalDescriptorTable},
        idt::{Entry, HandlerFunc},
        tss::TaskStateSegment,
    },
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

/// Vectors with a stack of their own: NMI, double fault, machine check.
const FATAL_VECTORS: [usize; 3] = [2, 8, 18];
/// What ring 3 may raise, by `int3`.
const BREAKPOINT: usize = 3;

/// The task state; `entry` writes RSP0 (offset 4) each time it resumes a thread.
pub static TASK: CoreCell<TaskStateSegment> = CoreCell::new(TaskStateSegment::new());

static DESCRIPTORS: CoreCell<GlobalDescriptorTable> = CoreCell::new(GlobalDescriptorTable::new());

type Gates = [Entry<HandlerFunc>; 256];

static GATES: CoreCell<Gates> = CoreCell::new([const { Entry::missing() }; 256]);

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
        for (at, stack) in stacks()[1..].iter().enumerate() {
            task.interrupt_stack_table[at] = VirtAddr::new(stack + size_of::<Stack>() as u64);
        }
        let table = &mut *DESCRIPTORS.get();
        let [code, data, user_data, user_code, task] = [
            Descriptor::kernel_code_segment(),
            Descriptor::kernel_data_segment(),
            Descriptor::user_data_segment(),
            Descriptor::user_code_segment(),
            Descriptor::tss_segment_unchecked(task),
        ]
        .map(|descriptor| table.append(descriptor));
        table.load_unsafe();
        CS::set_reg(code);
        SS::set_reg(data);
        asm!("mov ds, {0:e}", "mov es, {0:e}", "mov fs, {0:e}", "mov gs, {0:e}", in(reg) 0, options(nostack));
        load_tss(task);
        assert_eq!([user_code, user_data].map(|selector| u64::from(selector.0)), [USER_CODE, USER_DATA]);
        Star::write(user_code, user_data, code, data)
            .expect("`sysret` computes with this order (vol. 3A, 5.8.8)");
    }
}

fn load_gates() {
    // SAFETY: boot code, run once; every gate leads to a stub of `entry`, and no two fatal ones share a stack.
    unsafe {
        let gates = &mut *GATES.get();
        for (vector, gate) in gates.iter_mut().enumerate() {
            // An interrupt gate: the processor turns interrupts off on the way in.
            let options = gate.set_handler_addr(VirtAddr::new(entry::stub(vector)));
            if let Some(stack) = FATAL_VECTORS.iter().position(|&fatal| fatal == vector) {
                options.set_stack_index(stack as u16);
            }
            // Every other `int` of ring 3 is a general protection fault of the caller.
            if vector == BREAKPOINT {
                options.set_privilege_level(PrivilegeLevel::Ring3);
            }
        }
        lidt(&DescriptorTablePointer {
            limit: size_of::<Gates>() as u16 - 1,
            base: VirtAddr::from_ptr(gates),
        });
    }
}

fn open_system_calls() {
    // SAFETY: EFER keeps long mode and NX; the entry is ours, `load_segments` chose its segments.
    unsafe { Efer::update(|flags| flags.insert(EferFlags::SYSTEM_CALL_EXTENSIONS)) };
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

/// Addresses of the kernel's stack and of the fatal ones: of the pages under them, which must stay unmapped.
pub fn stacks() -> [u64; 4] {
    let fatal = FATAL_STACKS.get() as u64;
    let bytes = size_of::<Stack>() as u64;
    [KERNEL_STACK.get() as u64, fatal, fatal + bytes, fatal + 2 * bytes]
}

/// The part of a kernel stack from this address up, or an empty range when the address is in none. An address in the page below a stack
/// means that the stack overflowed: all of it is in use.
pub fn stack_from(address: u64) -> Range<u64> {
    let bytes = size_of::<Stack>() as u64;
    let found = stacks().into_iter().find(|&at| (at..at + bytes).contains(&address));
    found.map_or(address..address, |at| address.next_multiple_of(8).max(at + PAGE as u64)..at + bytes)
}

const _: () = assert!(KERNEL_BASE == 0xffff_ffff_8000_0000 && core::mem::offset_of!(Stack, space) == PAGE);
