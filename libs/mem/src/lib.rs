//! The memory functions and unwinding traps that a freestanding binary needs in order to link.
//!
//! The compiler emits calls to `memcpy` and its family, and the precompiled `core` names `rust_eh_personality`; on this
//! target triple a C library would bring them. The functions are naked, because a compiled loop in `memcpy` may itself be
//! compiled into a call to `memcpy`. Only a binary's `main.rs` names this crate (`extern crate hic_mem as _;`); it must never be
//! linked into a host program.
#![no_std]
#![cfg(not(test))]

use core::arch::naked_asm;
use core::ffi::c_int;

/// Copies `count` bytes; the ranges do not overlap (ISO C 7.24.2.1).
///
/// # Safety
/// `from` is readable and `to` writable for `count` bytes.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "mov rcx, rdx",
        "shr rcx, 6",
        "jz 3f",
        "2:",
        "movdqu xmm0, [rsi]",
        "movdqu xmm1, [rsi + 16]",
        "movdqu xmm2, [rsi + 32]",
        "movdqu xmm3, [rsi + 48]",
        "movdqu [rdi], xmm0",
        "movdqu [rdi + 16], xmm1",
        "movdqu [rdi + 32], xmm2",
        "movdqu [rdi + 48], xmm3",
        "add rsi, 64",
        "add rdi, 64",
        "dec rcx",
        "jnz 2b",
        "3:",
        "mov ecx, edx",
        "shr ecx, 3",
        "and ecx, 7",
        "rep movsq",
        "mov ecx, edx",
        "and ecx, 7",
        "rep movsb",
        "ret",
    )
}

/// Copies `count` bytes; the ranges may overlap (ISO C 7.24.2.2).
///
/// # Safety
/// `from` is readable and `to` writable for `count` bytes.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    naked_asm!(
        // A forward copy is right unless `to` lies inside the source range: then it would read what it wrote.
        "mov rax, rdi",
        "sub rax, rsi",
        "cmp rax, rdx",
        "jae {memcpy}",
        "mov rax, rdi",
        "mov rcx, rdx",
        "lea rsi, [rsi + rdx - 1]",
        "lea rdi, [rdi + rdx - 1]",
        "std",
        "and ecx, 7",
        "rep movsb",
        "sub rsi, 7",
        "sub rdi, 7",
        "mov rcx, rdx",
        "shr rcx, 3",
        "rep movsq",
        "cld",
        "ret",
        memcpy = sym memcpy,
    )
}

/// Fills `count` bytes with the low byte of `value` (ISO C 7.24.6.1).
///
/// # Safety
/// `to` is writable for `count` bytes.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memset(to: *mut u8, value: c_int, count: usize) -> *mut u8 {
    naked_asm!(
        "mov r8, rdi",
        "movzx eax, sil",
        "mov rcx, 0x0101010101010101",
        "imul rax, rcx",
        "mov rcx, rdx",
        "shr rcx, 6",
        "jz 3f",
        "movq xmm0, rax",
        "punpcklqdq xmm0, xmm0",
        "2:",
        "movdqu [rdi], xmm0",
        "movdqu [rdi + 16], xmm0",
        "movdqu [rdi + 32], xmm0",
        "movdqu [rdi + 48], xmm0",
        "add rdi, 64",
        "dec rcx",
        "jnz 2b",
        "3:",
        "mov ecx, edx",
        "shr ecx, 3",
        "and ecx, 7",
        "rep stosq",
        "mov ecx, edx",
        "and ecx, 7",
        "rep stosb",
        "mov rax, r8",
        "ret",
    )
}

/// Compares `count` bytes as unsigned numbers, from the first on (ISO C 7.24.4.1).
///
/// # Safety
/// Both are readable for `count` bytes.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, count: usize) -> c_int {
    naked_asm!(
        "mov rcx, rdx",
        "shr rcx, 3",
        "jz 4f",
        "2:",
        "mov rax, [rdi]",
        "mov r8, [rsi]",
        "cmp rax, r8",
        "jne 3f",
        "add rdi, 8",
        "add rsi, 8",
        "dec rcx",
        "jnz 2b",
        "jmp 4f",
        // The first byte in memory decides, so it has to become the highest one.
        "3:",
        "bswap rax",
        "bswap r8",
        "cmp rax, r8",
        "sbb eax, eax",
        "or eax, 1",
        "ret",
        "4:",
        "and edx, 7",
        "jz 6f",
        "5:",
        "movzx eax, byte ptr [rdi]",
        "movzx ecx, byte ptr [rsi]",
        "sub eax, ecx",
        "jne 7f",
        "inc rdi",
        "inc rsi",
        "dec edx",
        "jnz 5b",
        "6:",
        "xor eax, eax",
        "7:",
        "ret",
    )
}

/// Tells whether `count` bytes differ; compilers call it where the order does not matter.
///
/// # Safety
/// Both are readable for `count` bytes.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, count: usize) -> c_int {
    naked_asm!("jmp {memcmp}", memcmp = sym memcmp)
}

/// Counts the bytes before the first zero byte (ISO C 7.24.6.3).
///
/// # Safety
/// `text` ends with a zero byte and is readable up to it.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strlen(text: *const u8) -> usize {
    naked_asm!(
        "mov rax, rdi",
        "2:",
        "cmp byte ptr [rax], 0",
        "je 3f",
        "inc rax",
        "jmp 2b",
        "3:",
        "sub rax, rdi",
        "ret"
    )
}

/// Trap: every freestanding binary aborts on panic, so nothing ever unwinds.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn rust_eh_personality() {
    naked_asm!("ud2")
}

/// Trap, for the same reason.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn _Unwind_Resume() {
    naked_asm!("ud2")
}
