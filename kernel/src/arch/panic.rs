//! The end of a kernel that found itself broken.
//!
//! It prints the reason, the registers where there are any, and the addresses on the stack that follow a call in the
//! kernel's text: release code has no frame pointers, so the list may name calls that returned long ago, but leaves out
//! none of those under way. `xtask` puts names to the lines that begin with `backtrace:`. Nothing here takes a lock,
//! allocates or returns.

use super::{CoreCell, acpi, paging, segments, serial::Serial};
use core::{fmt::Write, panic::PanicInfo};
use core0::context::Frame;
use x86_64::{registers::control::Cr2, structures::idt::ExceptionVector};

static PANICKED: CoreCell<bool> = CoreCell::new(false);
/// Lines of backtrace at most.
const MAX_LINES: usize = 48;

#[panic_handler]
fn panicked(info: &PanicInfo<'_>) -> ! {
    refuse_recursion();
    let _ = writeln!(Serial, "\nkernel panic: {info}");
    let here = 0u64;
    scan_stack(core::ptr::from_ref(&here) as u64);
    acpi::exit(acpi::EXIT_PANIC)
}

/// A panic inside a panic ends at once.
fn refuse_recursion() {
    // SAFETY: one core, interrupts off.
    if unsafe { core::mem::replace(&mut *PANICKED.get(), true) } {
        acpi::exit(acpi::EXIT_PANIC);
    }
}

/// An exception in ring 0, or one that cannot be survived in any ring.
pub extern "C" fn exception_in_kernel(frame: &Frame) -> ! {
    refuse_recursion();
    let f = frame;
    let _ = match ExceptionVector::try_from(f.vector as u8) {
        Ok(name) => write!(Serial, "\nkernel panic: {name:?} exception"),
        Err(unknown) => write!(Serial, "\nkernel panic: {unknown}"),
    };
    let _ = writeln!(Serial, " (vector {}, error {:#x})", f.vector, f.error);
    let cr2 = Cr2::read_raw();
    let _ = writeln!(Serial, "rip {:#x}:{:#018x} rflags {:#x} cr2 {cr2:#018x}", f.cs, f.rip, f.rflags);
    for line in [
        [("rax", f.rax), ("rbx", f.rbx), ("rcx", f.rcx), ("rdx", f.rdx)],
        [("rsi", f.rsi), ("rdi", f.rdi), ("rbp", f.rbp), ("rsp", f.rsp)],
        [("r8 ", f.r8), ("r9 ", f.r9), ("r10", f.r10), ("r11", f.r11)],
        [("r12", f.r12), ("r13", f.r13), ("r14", f.r14), ("r15", f.r15)],
    ] {
        for (register, value) in line {
            let _ = write!(Serial, "{register} {value:#018x} ");
        }
        let _ = writeln!(Serial);
    }
    let _ = writeln!(Serial, "backtrace: {:#018x}", f.rip);
    scan_stack(f.rsp);
    acpi::exit(acpi::EXIT_PANIC)
}

fn scan_stack(from: u64) {
    let [text, rodata, ..] = paging::image_bounds();
    let mut lines = 0;
    for at in segments::stack_from(from).step_by(8) {
        // SAFETY: `stack_from` names mapped, aligned words of one of the kernel's stacks.
        let value = unsafe { (at as *const u64).read_volatile() };
        if (text + 8..rodata).contains(&value) && follows_call(value) && lines < MAX_LINES {
            let _ = writeln!(Serial, "backtrace: {value:#018x}");
            lines += 1;
        }
    }
}

/// Whether the code before this address of the text ends in a call: E8 with a 32-bit distance, or FF /2 with 2 to 7 bytes.
fn follows_call(address: u64) -> bool {
    // SAFETY: the caller checked that the text reaches 8 bytes further down than the address.
    let byte = |back: u64| unsafe { ((address - back) as *const u8).read_volatile() };
    byte(5) == 0xe8 || (2..=7).any(|back| byte(back) == 0xff && byte(back - 1) >> 3 & 7 == 2)
}
