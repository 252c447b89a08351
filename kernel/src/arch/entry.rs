//! The way from ring 3 into the kernel and back.
//!
//! A thread that is not running is a [`Context`]. `CURRENT` names the one that runs; an entry stores every register there before Rust
//! sees the kernel stack. A system call that ends in a thread which entered by `syscall` returns that thread's context to the assembly;
//! everything else ends in [`resume`] or in [`idle`]. Offsets in the assembly are those of `core0::context`, which asserts them. Intel SDM
//! vol. 2B, SYSCALL and SYSRET; vol. 3A, 6.14.

use super::{CoreCell, cpu::SMAP_ON, segments};
use core::{
    arch::{global_asm, naked_asm},
    mem::offset_of,
    num::NonZeroU8,
};
use core0::context::{Context, Frame, RESTORE_INTERRUPT, RESTORE_SYSCALL};
use hic_abi::syscall::Syscall;

static CURRENT: CoreCell<*mut Context> = CoreCell::new(core::ptr::null_mut());
static USER_STACK: CoreCell<u64> = CoreCell::new(0);

/// An `fxrstor64` image of cleared registers. One instruction with it clears x87, MMX and vector registers alike; `fninit` and `pxor`
/// would leave the old x87 values readable through MMX.
#[repr(C, align(16))]
struct CleanVectors([u8; 512]);

static CLEAN: CleanVectors = {
    let mut image = [0; 512];
    // FCW 0x037f at 0, MXCSR 0x1f80 at 24: all exceptions masked (vol. 1, 10.5.1).
    (image[0], image[1], image[24], image[25]) = (0x7f, 0x03, 0x80, 0x1f);
    CleanVectors(image)
};

/// Bytes between two stubs.
const STUB_BYTES: usize = 16;
/// Offset of RSP0 in the task state (vol. 3A, 8.7).
const TASK_RSP0: usize = 4;
const FRAME_BYTES: usize = size_of::<Frame>();

// One stub a vector: an error code where the processor pushes none, the vector, and on to the common part. 8, 10 to 14, 17, 21, 29 and
// 30 bring an error code (vol. 3A, 6.15; AMD64 vol. 2, 8.2). `push` is written out, for one length and no ambiguity.
global_asm!(
    ".pushsection .text.stubs, \"ax\", @progbits",
    ".balign 16",
    "interrupt_stubs:",
    ".set vector, 0",
    ".rept 256",
    ".balign 16",
    ".if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)",
    ".byte 0x6a, 0",
    ".endif",
    ".byte 0x68",
    ".long vector",
    ".if vector == 2 || vector == 8 || vector == 18",
    "jmp {fatal}",
    ".else",
    "jmp {common}",
    ".endif",
    ".set vector, vector + 1",
    ".endr",
    ".popsection",
    fatal = sym fatal,
    common = sym interrupt,
);

unsafe extern "C" {
    static interrupt_stubs: u8;
}

/// Address of the stub of this vector.
pub fn stub(vector: usize) -> u64 {
    &raw const interrupt_stubs as u64 + (vector * STUB_BYTES) as u64
}

/// `naked_asm!` that names the registers of a context by their offsets in it.
macro_rules! context_asm {
    ($($line:literal),*; $($operands:tt)*) => {
        naked_asm!(
            $($line,)*
            rip = const offset_of!(Context, frame.rip),
            rflags = const offset_of!(Context, frame.rflags),
            rsp = const offset_of!(Context, frame.rsp),
            rdi = const offset_of!(Context, frame.rdi),
            rsi = const offset_of!(Context, frame.rsi),
            rdx = const offset_of!(Context, frame.rdx),
            r10 = const offset_of!(Context, frame.r10),
            r8 = const offset_of!(Context, frame.r8),
            r9 = const offset_of!(Context, frame.r9),
            rbx = const offset_of!(Context, frame.rbx),
            rbp = const offset_of!(Context, frame.rbp),
            r12 = const offset_of!(Context, frame.r12),
            r13 = const offset_of!(Context, frame.r13),
            r14 = const offset_of!(Context, frame.r14),
            r15 = const offset_of!(Context, frame.r15),
            $($operands)*
        )
    };
}

/// Where `syscall` arrives: interrupts off, still on the user's stack, return address in RCX, flags in R11.
///
/// CS, SS, vector and error code of the frame are left alone: ring 3 cannot change the first two, and nobody reads the others here. Nor
/// RAX: the call's number is no more than the choice of the function, and its status replaces it.
#[unsafe(naked)]
pub unsafe extern "C" fn system_call() {
    context_asm!(
        "mov [rip + {user_stack}], rsp",
        "mov rsp, [rip + {current}]",
        "mov [rsp + {rip}], rcx",
        "mov rcx, [rip + {user_stack}]",
        "mov [rsp + {rflags}], r11",
        "mov [rsp + {rsp}], rcx",
        "mov [rsp + {rdi}], rdi",
        "mov [rsp + {rsi}], rsi",
        "mov [rsp + {rdx}], rdx",
        "mov [rsp + {r10}], r10",
        "mov [rsp + {r8}], r8",
        "mov [rsp + {r9}], r9",
        "mov [rsp + {rbx}], rbx",
        "mov [rsp + {rbp}], rbp",
        "mov [rsp + {r12}], r12",
        "mov [rsp + {r13}], r13",
        "mov [rsp + {r14}], r14",
        "mov [rsp + {r15}], r15",
        "lea rsp, [rip + {stack} + {stack_bytes}]",
        // The fourth argument of a function is RCX, which `syscall` needs for itself.
        "mov rcx, r10",
        "cmp rax, {calls}",
        "jae 3f",
        // The image lies in the top 2 GiB, so its addresses are 32 bits with their sign.
        "call [{table} + rax * 8]",
        "2:",
        "test rdx, rdx",
        "jnz {leave}",
        // The same thread: RBX, RBP, R13, R14 and R15 are still its own, as the calling convention demands of the handler.
        "fxrstor64 [rip + {clean}]",
        "mov rdx, [rip + {current}]",
        "mov rdi, [rdx + {rdi}]",
        "mov rsi, [rdx + {rsi}]",
        "mov r10, [rdx + {r10}]",
        "mov r8, [rdx + {r8}]",
        "mov r9, [rdx + {r9}]",
        "mov r12, [rdx + {r12}]",
        "mov rcx, [rdx + {rip}]",
        "mov r11, [rdx + {rflags}]",
        "mov rsp, [rdx + {rsp}]",
        "mov rdx, [rdx + {rdx}]",
        "sysretq",
        "3:",
        "call {unknown}",
        "jmp 2b";
        calls = const Syscall::ALL.len(),
        table = sym crate::SYSTEM_CALLS,
        unknown = sym crate::unknown_call,
        user_stack = sym USER_STACK,
        current = sym CURRENT,
        stack = sym segments::KERNEL_STACK,
        stack_bytes = const size_of::<segments::Stack>(),
        leave = sym leave,
        clean = sym CLEAN,
    )
}

/// Goes on with the thread whose context RDX names, by `sysret`. It entered by `syscall`, so its RIP lies in the low half.
#[unsafe(naked)]
unsafe extern "C" fn leave() {
    context_asm!(
        "mov [rip + {current}], rdx",
        "lea rcx, [rdx + {frame}]",
        "mov [rip + {task} + {rsp0}], rcx",
        "fxrstor64 [rip + {clean}]",
        "mov rdi, [rdx + {rdi}]",
        "mov rsi, [rdx + {rsi}]",
        "mov r10, [rdx + {r10}]",
        "mov r8, [rdx + {r8}]",
        "mov r9, [rdx + {r9}]",
        "mov rbx, [rdx + {rbx}]",
        "mov rbp, [rdx + {rbp}]",
        "mov r12, [rdx + {r12}]",
        "mov r13, [rdx + {r13}]",
        "mov r14, [rdx + {r14}]",
        "mov r15, [rdx + {r15}]",
        "mov rcx, [rdx + {rip}]",
        "mov r11, [rdx + {rflags}]",
        "mov rsp, [rdx + {rsp}]",
        "mov rax, [rdx + {rax}]",
        "mov rdx, [rdx + {rdx}]",
        "sysretq";
        rax = const offset_of!(Context, frame.rax),
        current = sym CURRENT,
        frame = const FRAME_BYTES,
        task = sym segments::TASK,
        rsp0 = const TASK_RSP0,
        clean = sym CLEAN,
    )
}

/// Common part of all stubs but the fatal ones. From ring 3 the stack pointer is inside the current context's frame.
#[unsafe(naked)]
unsafe extern "C" fn interrupt() {
    naked_asm!(
        "cld",
        // The selector of the interrupted code: vector, error code and RIP lie below it.
        "test byte ptr [rsp + 24], 3",
        "jz 3f",
        "push rdi",
        "push rsi",
        "push r9",
        "push r8",
        "push r10",
        "push rdx",
        "push rax",
        "push rcx",
        "push r11",
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov rdi, rsp",
        "fxsave64 [rdi + {fx}]",
        "mov qword ptr [rdi + {restore}], {interrupted}",
        // The processor leaves AC as ring 3 had it, and AC would disarm SMAP.
        "cmp byte ptr [rip + {smap}], 0",
        "je 2f",
        "clac",
        "2:",
        "lea rsp, [rip + {stack} + {stack_bytes}]",
        "call {handler}",
        "ud2",
        // Ring 0: an exception is a bug of the kernel; a device interrupt ends the wait of `idle`, and its vector is the result. The stack pointer
        // to go back to lies above vector, error code, RIP, CS and flags. Interrupts stay off: the gate turned them off.
        "3:",
        "mov eax, [rsp]",
        "cmp eax, 32",
        "jb {fatal}",
        "mov rsp, [rsp + 40]",
        "ret",
        fx = const offset_of!(Context, fx),
        restore = const offset_of!(Context, restore),
        interrupted = const RESTORE_INTERRUPT,
        smap = sym SMAP_ON,
        stack = sym segments::KERNEL_STACK,
        stack_bytes = const size_of::<segments::Stack>(),
        handler = sym crate::interrupt,
        fatal = sym fatal,
    )
}

/// What the kernel does not survive: it builds a frame on whatever stack this is and reports.
#[unsafe(naked)]
unsafe extern "C" fn fatal() {
    naked_asm!(
        "cld",
        "push rdi",
        "push rsi",
        "push r9",
        "push r8",
        "push r10",
        "push rdx",
        "push rax",
        "push rcx",
        "push r11",
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov rdi, rsp",
        // Below this lies the red zone of the code that was interrupted, but nobody returns to it.
        "and rsp, -16",
        "call {handler}",
        "ud2",
        handler = sym super::panic::exception_in_kernel,
    )
}

/// Goes on with this thread.
///
/// # Safety
/// The context is complete and stays where it is until the next entry; its RIP lies in the low half; the current address space maps the
/// kernel's half; nothing on the kernel stack is needed any more.
#[unsafe(naked)]
pub unsafe extern "C" fn resume(context: *mut Context) -> ! {
    naked_asm!(
        "mov rdx, rdi",
        "cmp qword ptr [rdi + {restore}], {interrupted}",
        "jb {leave}",
        // From now on it enters by `syscall`, unless an interrupt says otherwise. `mov` and `lea` leave the flags of the comparison.
        "mov qword ptr [rdi + {restore}], {syscall}",
        "mov [rip + {current}], rdi",
        "lea rax, [rdi + {frame}]",
        "mov [rip + {task} + {rsp0}], rax",
        "mov rsp, rdi",
        "jne 2f",
        "fxrstor64 [rdi + {fx}]",
        "jmp 3f",
        "2:",
        "fxrstor64 [rip + {clean}]",
        "3:",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "pop r11",
        "pop rcx",
        "pop rax",
        "pop rdx",
        "pop r10",
        "pop r8",
        "pop r9",
        "pop rsi",
        "pop rdi",
        "add rsp, 16",
        "iretq",
        current = sym CURRENT,
        frame = const FRAME_BYTES,
        task = sym segments::TASK,
        rsp0 = const TASK_RSP0,
        restore = const offset_of!(Context, restore),
        syscall = const RESTORE_SYSCALL,
        interrupted = const RESTORE_INTERRUPT,
        fx = const offset_of!(Context, fx),
        clean = sym CLEAN,
        leave = sym leave,
    )
}

/// The context of the thread that entered the kernel last.
pub fn current() -> *mut Context {
    // SAFETY: one word, which only the assembly changes (`CoreCell`).
    unsafe { *CURRENT.get() }
}

/// Waits for an interrupt; its vector. Interrupts are on nowhere else in the kernel but in [`let_interrupt_in`]. Naked, so the stack pointer
/// leads to the return address all the while, and the caller keeps nothing in the registers that a call may change.
#[unsafe(naked)]
pub extern "C" fn idle() -> Option<NonZeroU8> {
    naked_asm!("sti", "hlt", "cli", "xor eax, eax", "ret")
}

/// As [`idle`], but takes only one that is waiting already. `sti` works after the instruction that follows it.
#[unsafe(naked)]
pub extern "C" fn let_interrupt_in() -> Option<NonZeroU8> {
    naked_asm!("sti", "nop", "cli", "xor eax, eax", "ret")
}
