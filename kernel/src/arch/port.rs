//! I/O ports.
//!
//! The functions are safe to call with any port by memory rules: no port of a PC that Core-0 uses itself starts DMA, and ports handed to
//! a sandbox are the module manager's decision, made by capability before the call arrives here.

use core::sync::atomic::{Ordering, compiler_fence};
use x86_64::structures::port::{PortRead, PortWrite};

/// Reads 8, 16 or 32 bits.
pub fn read<T: PortRead>(port: u16) -> T {
    // SAFETY: `in` touches no memory of ours (module comment).
    unsafe { T::read_from_port(port) }
}

/// Writes 8, 16 or 32 bits. A device may react by reading memory, so stores before it stay before it.
pub fn write<T: PortWrite>(port: u16, value: T) {
    compiler_fence(Ordering::SeqCst);
    // SAFETY: as in `read`.
    unsafe { T::write_to_port(port, value) }
}
