//! The registers of a thread that is not running, laid out for the entry and exit assembly.
//!
//! The order of the fields is the order of the pushes in `arch`; nothing here may be reordered alone. The words of a message (RDX, R10, R8,
//! R9) lie side by side, so that handing them over is two loads and two stores.

/// General registers, ending with what the processor pushes on an interrupt (Intel SDM vol. 3A, 6.14.2).
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(16))]
#[allow(missing_docs, reason = "the names are the registers' own")]
pub struct Frame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub rcx: u64,
    pub rax: u64,
    pub rdx: u64,
    pub r10: u64,
    pub r8: u64,
    pub r9: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

/// [`Context::restore`]: the thread entered by `syscall` and leaves by `sysret`, with cleared vector registers.
pub const RESTORE_SYSCALL: u64 = 0;
/// [`Context::restore`]: the thread was interrupted; `fx` holds its vector registers and it leaves by `iret`.
pub const RESTORE_INTERRUPT: u64 = 1;
/// [`Context::restore`]: a new thread; it leaves by `iret` with cleared vector registers.
pub const RESTORE_NEW: u64 = 2;

/// Everything the processor must get back when the thread goes on.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub struct Context {
    /// General registers; interrupts from ring 3 push to its end (TSS.RSP0 points there).
    pub frame: Frame,
    /// One of the `RESTORE_` values.
    pub restore: u64,
    reserved: u64,
    /// The `fxsave64` area; meaningful with [`RESTORE_INTERRUPT`] only.
    pub fx: [u8; 512],
}

impl Context {
    /// That of a thread that has not run yet: all registers are 0.
    pub(crate) fn new() -> Self {
        Self { frame: Frame::default(), restore: RESTORE_NEW, reserved: 0, fx: [0; 512] }
    }
}

/// Selector of ring 3 code, as `sysret` computes it from STAR.
pub const USER_CODE: u64 = 0x23;
/// Selector of ring 3 data and stack.
pub const USER_DATA: u64 = 0x1b;
/// RFLAGS of a new thread: interrupts on, nothing else.
pub const USER_FLAGS: u64 = 0x202;

const _: () = assert!(size_of::<Frame>() == 176 && core::mem::offset_of!(Context, fx) == 192);
