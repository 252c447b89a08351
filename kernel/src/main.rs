//! Core-0's bootable image: boot, then entries from ring 3, each of which ends by choosing what runs next.
//!
//! The object model is the library `core0`; `arch` is the processor. This file joins the two and holds the one kernel value.
#![no_std]
#![no_main]

extern crate hic_mem as _;

mod arch;

use arch::{
    CoreCell, acpi, apic, clock, cpu, entry, machine::X86, memory, memory::Memory, paging, segments, serial,
};
use core::fmt::{Display, Write};
use core0::{
    Kernel, Next, arena_need,
    boot::{self, BootInfo},
    context::{Context, RESTORE_SYSCALL},
    line::InLine,
};
use hic_abi::syscall::Syscall;
use hic_bootinfo::{StartInfo, dmar::Dmar};
use hic_hicmod::Binding;

static KERNEL: CoreCell<Option<Kernel<X86>>> = CoreCell::new(None);

const PAGE_FAULT: u64 = 14;
const GENERAL_PROTECTION: u8 = 13;
/// Exceptions below, interrupts from here on.
const FIRST_INTERRUPT: u8 = 32;

/// Which boot archive this kernel starts; `hicmod_tool::bind` finds it by its section.
#[unsafe(link_section = ".boot_archive")]
#[used]
static BOUND: [u8; Binding::BYTES] = [0; Binding::BYTES];

/// From the boot code, on the kernel stack, with what tells the protocol and the physical address of the loader's message.
extern "C" fn main(protocol: u32, message: u64) -> ! {
    serial::init();
    if let Some(reason) = cpu::unfit() {
        refuse(reason);
    }
    let features = cpu::features();
    paging::init(features.gib_pages, features.physical_bits);
    cpu::protect();
    segments::init();
    let _ = writeln!(serial::Serial, "Core-0 {}", env!("CARGO_PKG_VERSION"));
    cpu::report();
    apic::init();
    clock::init();
    let kernel = start(protocol, message);
    let next = kernel.choose_next();
    run(kernel, next)
}

/// Nothing can run: says why on the serial port.
fn refuse(reason: impl Display) -> ! {
    let _ = writeln!(serial::Serial, "\nboot refused: {reason}");
    acpi::exit(acpi::EXIT_FAILED)
}

/// Makes the one kernel of what the loader brought.
fn start(protocol: u32, message: u64) -> &'static mut Kernel<X86> {
    let info = StartInfo::read(protocol, message, &paging::DirectMap, &paging::image_range())
        .unwrap_or_else(|error| refuse(error));
    let tables = acpi::init(info.rsdp);
    let archive = memory::archive(&info).unwrap_or_else(|error| refuse(error));
    // SAFETY: a plain copy; volatile, because it is not what the compiler saw.
    let bound = Binding::from_bytes(&unsafe { (&raw const BOUND).read_volatile() });
    let archive = bound.check(archive).unwrap_or_else(|error| refuse(error));
    let mut memory = Memory::new(&info);
    let bytes = arena_need(memory.span() as usize);
    let Some(arena) = memory.take(bytes as u64) else {
        refuse(format_args!("no range of memory has room for the kernel's tables, {bytes} bytes"))
    };
    memory.free().iter().for_each(memory::clear);
    let dmar = tables.and_then(|tables| tables.table(&paging::DirectMap, *b"DMAR"));
    let dmar = Dmar::read(dmar, &paging::DirectMap, apic::io_number());
    let boot_info = BootInfo {
        memory: memory.free(),
        total_frames: memory.total_frames,
        kernel_frames: memory.total_frames - memory.free_frames(),
        archive: info.archive_pages(),
        archive_bytes: archive,
        clock: clock::page(),
        iommus: dmar.units(),
        io_apic: dmar.io_apic,
    };
    let kernel = boot::start(X86, &boot_info, arena).unwrap_or_else(|error| refuse(error));
    // SAFETY: no entry has happened yet, so this is the only reference to the kernel.
    unsafe { (*KERNEL.get()).insert(kernel) }
}

/// The kernel. Within one entry a reference ends before the next one is asked for: none is kept over a call of a function that asks again.
#[inline]
fn kernel() -> &'static mut Kernel<X86> {
    // SAFETY: one core and no nested entries (an interrupt in `idle` only makes it return); the reference of the entry before ended when its
    // thread was resumed. Ring 3 runs only after `start` has filled it.
    unsafe { (*KERNEL.get()).as_mut().unwrap_unchecked() }
}

/// How a system call ended, in the two registers in which a function returns 128 bits: below, the status for the caller's RAX; above, the context
/// of who goes on in its place, having entered by `syscall`, too, or 0.
#[repr(transparent)]
pub(crate) struct Outcome(u128);

impl Outcome {
    /// The caller goes on, and nothing else is due.
    #[inline(always)]
    fn same(status: u64) -> Self {
        Self(u128::from(status))
    }

    /// This one goes on.
    #[inline(always)]
    fn other(context: *mut Context) -> Self {
        Self((context as u128) << 64)
    }
}

/// The system call of this number; its first five arguments, in their order. There is one such function for each number, so that nothing is
/// decoded while the system runs.
extern "C" fn system_call<const NUMBER: u64>(a: u64, b: u64, c: u64, d: u64, e: u64) -> Outcome {
    let handed = match Syscall::from_number(NUMBER) {
        Some(Syscall::Call) => kernel().fast_call(),
        Some(Syscall::ReplyReceive) => kernel().fast_reply_receive(),
        _ => return general_call::<NUMBER>(a, b, c, d, e),
    };
    match handed {
        Some(context) => Outcome::other(context.as_ptr()),
        None => slow_message::<NUMBER>(),
    }
}

/// A message that is not like the last one. Its only argument is loaded again, so that the fast path need not keep it.
#[cold]
extern "C" fn slow_message<const NUMBER: u64>() -> Outcome {
    let handed = match Syscall::from_number(NUMBER) {
        Some(Syscall::Call) => kernel().first_call(),
        _ => kernel().first_reply_receive(),
    };
    if let Some(context) = handed {
        return Outcome::other(context.as_ptr());
    }
    // SAFETY: the entry stored the registers of the thread that is in the kernel.
    let handle = unsafe { (*entry::current()).frame.rdi };
    general_call::<NUMBER>(handle, 0, 0, 0, 0)
}

/// The same, by the general path.
extern "C" fn general_call<const NUMBER: u64>(a: u64, b: u64, c: u64, d: u64, e: u64) -> Outcome {
    let Some(status) = kernel().syscall(Syscall::from_number(NUMBER), [a, b, c, d, e]) else {
        return go_on::<NUMBER>();
    };
    Outcome::same(status)
}

/// A system call of a number that means nothing.
extern "C" fn unknown_call(a: u64, b: u64, c: u64, d: u64, e: u64) -> Outcome {
    general_call::<{ u64::MAX }>(a, b, c, d, e)
}

type SystemCall = extern "C" fn(u64, u64, u64, u64, u64) -> Outcome;

macro_rules! system_calls {
    ($($number:literal)*) => { [$(system_call::<$number>),*] };
}

/// The function of each number, for the entry code.
static SYSTEM_CALLS: [SystemCall; Syscall::ALL.len()] = system_calls![
    0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47
    48 49 50
];

/// Who goes on after a system call that its caller does not come back from at once.
#[inline(always)]
fn go_on<const NUMBER: u64>() -> Outcome {
    if NUMBER == Syscall::Yield as u64 { go_on_with(kernel().next_turn()) } else { go_on_after_block() }
}

extern "C" fn go_on_after_block() -> Outcome {
    go_on_with(kernel().next_in_line())
}

#[inline(always)]
fn go_on_with(next: InLine) -> Outcome {
    match next {
        // SAFETY: the context of a live thread.
        Some((context, false)) if unsafe { context.as_ref() }.restore == RESTORE_SYSCALL => {
            Outcome::other(context.as_ptr())
        }
        Some(_) => go_on_somehow(true),
        None => go_on_somehow(false),
    }
}

/// The same, when the timer is to be armed, the next one did not enter by `syscall`, or nobody was `chosen` yet.
#[cold]
extern "C" fn go_on_somehow(chosen: bool) -> Outcome {
    let armed = if chosen { kernel().arm_for_next() } else { None };
    let next = armed.map_or_else(|| kernel().choose_next(), |context| Next::Run(context.as_ptr()));
    if let Next::Run(context) = next {
        // SAFETY: `choose_next` names the context of a live thread.
        if unsafe { (*context).restore } == RESTORE_SYSCALL {
            return Outcome::other(context);
        }
    }
    run(kernel(), next)
}

/// An interrupt or exception out of ring 3; the registers are in this context.
extern "C" fn interrupt(context: &Context) -> ! {
    let kernel = kernel();
    let frame = &context.frame;
    let vector = frame.vector as u8;
    if vector < FIRST_INTERRUPT {
        let address =
            if frame.vector == PAGE_FAULT { x86_64::registers::control::Cr2::read_raw() } else { frame.rip };
        kernel.exception(vector, frame.error, address);
    } else {
        dispatch(kernel, vector);
    }
    let next = kernel.choose_next();
    run(kernel, next)
}

fn dispatch(kernel: &mut Kernel<X86>, vector: u8) {
    apic::acknowledge(vector);
    match vector {
        apic::TIMER_VECTOR if apic::fired() => kernel.timer(),
        0x30..=0xef => kernel.interrupt(vector),
        // The timer before its time, a spurious vector, or one that nothing was ever led to.
        _ => {}
    }
}

/// Resumes whom the kernel chose; while there is nobody, zeroes what was given back, piece by piece, then idles.
fn run(kernel: &mut Kernel<X86>, mut next: Next) -> ! {
    loop {
        match next {
            Next::Run(context) => {
                // SAFETY: `choose_next` names the context of a live thread and has made its address space current.
                let rip = unsafe { (*context).frame.rip };
                if rip >> 47 == 0 {
                    // SAFETY: as above; RIP is in the low half, and this function uses its stack no more.
                    unsafe { entry::resume(context) }
                }
                // `sysret` and `iret` to such an address would fault in ring 0, on the user's stack pointer.
                kernel.exception(GENERAL_PROTECTION, 0, rip);
            }
            Next::Idle => {
                let busy = kernel.dismantle_some() || kernel.zero_some();
                let vector = if busy { entry::let_interrupt_in() } else { entry::idle() };
                kernel.idle_ended();
                if let Some(vector) = vector {
                    dispatch(kernel, vector.get());
                }
            }
        }
        next = kernel.choose_next();
    }
}
