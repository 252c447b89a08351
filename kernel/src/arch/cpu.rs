//! What the processor can do, and the control registers that follow from it.
//!
//! OSXSAVE stays off, so that `fxsave` covers all vector state there is; FSGSBASE stays off, so that ring 3 cannot move its segment
//! bases. Intel SDM vol. 3A, 2.5 and vol. 2A, CPUID.

use core::arch::x86_64::{__cpuid, __cpuid_count};
use x86_64::registers::control::{Cr4, Cr4Flags};

/// Whether SMAP is on; the interrupt stubs read it, because `clac` is an invalid instruction without SMAP.
pub static SMAP_ON: super::CoreCell<u8> = super::CoreCell::new(0);

/// What boot has to know.
pub struct Features {
    /// 1 GiB pages.
    pub gib_pages: bool,
    /// Width of physical addresses.
    pub physical_bits: u32,
}

/// Asks the processor.
pub fn features() -> Features {
    let highest = __cpuid(0x8000_0000).eax;
    let gib_pages = highest >= 0x8000_0001 && __cpuid(0x8000_0001).edx & 1 << 26 != 0;
    let physical_bits = if highest >= 0x8000_0008 { __cpuid(0x8000_0008).eax & 0xff } else { 36 };
    Features { gib_pages, physical_bits }
}

/// Turns on what protects the kernel from ring 3. Only with the final page tables: the boot ones have no rights to enforce.
pub fn protect() {
    let mut flags = Cr4Flags::PHYSICAL_ADDRESS_EXTENSION
        | Cr4Flags::PAGE_GLOBAL
        | Cr4Flags::OSFXSR
        | Cr4Flags::OSXMMEXCPT_ENABLE
        | (Cr4::read() & Cr4Flags::MACHINE_CHECK_EXCEPTION);
    if __cpuid(0).eax >= 7 {
        let leaf = __cpuid_count(7, 0);
        flags.set(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION, leaf.ebx & 1 << 7 != 0);
        flags.set(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, leaf.ebx & 1 << 20 != 0);
        flags.set(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION, leaf.ecx & 1 << 2 != 0);
    }
    // SAFETY: each flag is supported, and nothing that is mapped for the kernel is a user page.
    unsafe {
        Cr4::write(flags);
        *SMAP_ON.get() = u8::from(flags.contains(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION));
    }
}

/// Frequency of the time-stamp counter in Hz, if the processor or the hypervisor states it (leaves 0x15 and 0x4000_0010).
pub fn stated_tsc_hz() -> Option<u64> {
    if __cpuid(1).ecx & 1 << 31 != 0 && __cpuid(0x4000_0000).eax >= 0x4000_0010 {
        let kilohertz = __cpuid(0x4000_0010).eax;
        return (kilohertz != 0).then_some(u64::from(kilohertz) * 1000);
    }
    if __cpuid(0).eax < 0x15 {
        return None;
    }
    let leaf = __cpuid(0x15);
    let hertz = u64::from(leaf.ecx) * u64::from(leaf.ebx) / u64::from(leaf.eax.max(1));
    (leaf.eax != 0 && hertz != 0).then_some(hertz)
}

/// The time-stamp counter. Its order with other instructions is not fixed: nothing here measures less than what a system call takes.
#[inline]
pub fn tsc() -> u64 {
    // SAFETY: only reads processor state.
    unsafe { core::arch::x86_64::_rdtsc() }
}
