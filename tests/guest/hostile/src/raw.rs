//! System calls with whatever is in the registers.

use core::arch::asm;

/// All registers that the kernel looks at: number, six arguments, deadline, buffer.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    /// `rax`.
    pub number: u64,
    /// `rdi rsi rdx r10 r8 r9`.
    pub args: [u64; 6],
    /// `r12`.
    pub deadline: u64,
    /// `r13`.
    pub buffer: u64,
}

/// The status, `rdi` and `rsi`.
///
/// # Safety
/// The kernel may write through pointers among the registers: whatever the caller can write must be expendable where they lead.
pub unsafe fn call(registers: &Registers) -> (u64, u64, u64) {
    let [a, b, c, d, e, f] = registers.args;
    let (mut status, mut rdi, mut rsi) = (registers.number, a, b);
    // SAFETY: the caller answers for the memory; all registers that a system call changes are declared.
    unsafe {
        asm!("syscall", inlateout("rax") status, inlateout("rdi") rdi, inlateout("rsi") rsi,
            inlateout("rdx") c => _, inlateout("r10") d => _, inlateout("r8") e => _, inlateout("r9") f => _,
            inlateout("r12") registers.deadline => _, in("r13") registers.buffer,
            lateout("rcx") _, lateout("r11") _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
            out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _, options(nostack));
    }
    (status, rdi, rsi)
}
