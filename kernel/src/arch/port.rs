//! I/O ports.
//!
//! The functions are safe to call with any port by memory rules: no port of a PC that Core-0 uses itself starts DMA, and ports handed to
//! a sandbox are the module manager's decision, made by capability before the call arrives here.

use core::arch::asm;

/// Reads a byte.
pub fn read8(port: u16) -> u8 {
    let value;
    // SAFETY: `in` touches no memory of ours (module comment).
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Reads 16 bits.
pub fn read16(port: u16) -> u16 {
    let value;
    // SAFETY: as in `read8`.
    unsafe { asm!("in ax, dx", in("dx") port, out("ax") value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Reads 32 bits.
pub fn read32(port: u16) -> u32 {
    let value;
    // SAFETY: as in `read8`.
    unsafe { asm!("in eax, dx", in("dx") port, out("eax") value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Writes a byte. A device may react by reading memory, so stores before it stay before it.
pub fn write8(port: u16, value: u8) {
    // SAFETY: as in `read8`.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nostack, preserves_flags)) };
}

/// Writes 16 bits.
pub fn write16(port: u16, value: u16) {
    // SAFETY: as in `read8`.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nostack, preserves_flags)) };
}

/// Writes 32 bits.
pub fn write32(port: u16, value: u32) {
    // SAFETY: as in `read8`.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack, preserves_flags)) };
}
