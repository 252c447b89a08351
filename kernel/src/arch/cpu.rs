//! What the processor can do, and the control registers that follow from it.
//!
//! OSXSAVE stays off, so that `fxsave` covers all vector state there is; FSGSBASE stays off, so that ring 3 cannot move its segment
//! bases. Intel SDM vol. 3A, 2.5 and vol. 2A, CPUID.

use super::serial;
use core::arch::x86_64::{__cpuid, __cpuid_count, CpuidResult};
use x86_64::registers::control::{Cr4, Cr4Flags};

/// Whether SMAP is on; the interrupt stubs read it, because `clac` is an invalid instruction without SMAP.
pub static SMAP_ON: super::CoreCell<u8> = super::CoreCell::new(0);

/// Whether firmware left the local APIC in the mode in which it has no registers in memory (vol. 3A, 11.12.1).
const X2APIC_MODE: u64 = 1 << 10;
const APIC_BASE: u32 = 0x1b;

/// What boot has to know.
pub struct Features {
    /// 1 GiB pages.
    pub gib_pages: bool,
    /// Width of physical addresses.
    pub physical_bits: u32,
}

/// What the processor says of itself under this number; nothing beyond its last one.
fn cpuid(leaf: u32) -> CpuidResult {
    let last = __cpuid(leaf & 0xc000_0000).eax;
    if leaf <= last { __cpuid_count(leaf, 0) } else { CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 } }
}

/// Asks the processor.
pub fn features() -> Features {
    let physical_bits = match cpuid(0x8000_0008).eax & 0xff {
        0 => 36,
        bits => bits,
    };
    Features { gib_pages: cpuid(0x8000_0001).edx & 1 << 26 != 0, physical_bits }
}

/// Why this processor is not fit for Core-0. 64-bit mode and NX were looked for before there was Rust ([`super::boot`]), and bring SSE2 with them.
pub fn unfit() -> Option<&'static str> {
    if cpuid(1).edx & 1 << 9 == 0 {
        return Some(
            "this processor has no local APIC, or firmware switched it off: Core-0 has no other timer",
        );
    }
    if cpuid(1).ebx >> 24 != 0 {
        return Some("the core that boots has another number than 0, to which all interrupts are led");
    }
    // SAFETY: a register of every processor with a local APIC; reading it changes nothing.
    let mode = unsafe { x86_64::registers::model_specific::Msr::new(APIC_BASE).read() };
    (mode & X2APIC_MODE != 0)
        .then_some("firmware left the local APIC in x2APIC mode: switch that off in the firmware's settings")
}

/// Prints the features that Core-0 uses where they are there, with a sign that says whether this processor has them. Those that are left alone on purpose
/// are in the book (Boot, "The processor").
pub fn report() {
    let CpuidResult { ebx, ecx, .. } = cpuid(7);
    let (rdrand, power) = (cpuid(1).ecx, cpuid(0x8000_0007).edx);
    let gib_pages = u32::from(features().gib_pages);
    let protection = [(ebx, 7, " smep"), (ebx, 20, " smap"), (ecx, 2, " umip")];
    let others = [(gib_pages, 0, " pdpe1gb"), (rdrand, 30, " rdrand"), (power, 8, " invtsc")];
    serial::print(b"processor:");
    for (word, bit, name) in protection.into_iter().chain(others) {
        serial::print(name.as_bytes());
        serial::print(if word >> bit & 1 != 0 { b"+" } else { b"-" });
    }
    serial::print(b"\n");
}

/// Turns on what protects the kernel from ring 3. Only with the final page tables: the boot ones have no rights to enforce.
pub fn protect() {
    let mut flags = Cr4Flags::PHYSICAL_ADDRESS_EXTENSION
        | Cr4Flags::PAGE_GLOBAL
        | Cr4Flags::OSFXSR
        | Cr4Flags::OSXMMEXCPT_ENABLE
        | (Cr4::read() & Cr4Flags::MACHINE_CHECK_EXCEPTION);
    let leaf = cpuid(7);
    flags.set(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION, leaf.ebx & 1 << 7 != 0);
    flags.set(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, leaf.ebx & 1 << 20 != 0);
    flags.set(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION, leaf.ecx & 1 << 2 != 0);
    // SAFETY: each flag is supported, and nothing that is mapped for the kernel is a user page.
    unsafe {
        Cr4::write(flags);
        *SMAP_ON.get() = u8::from(flags.contains(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION));
    }
}

/// Frequency of the time-stamp counter in Hz, if the processor or the hypervisor states it (leaves 0x15 and 0x4000_0010).
pub fn stated_tsc_hz() -> Option<u64> {
    let hypervisor = cpuid(1).ecx & 1 << 31 != 0;
    let kilohertz = if hypervisor { cpuid(0x4000_0010).eax } else { 0 };
    if kilohertz != 0 {
        return Some(u64::from(kilohertz) * 1000);
    }
    let leaf = cpuid(0x15);
    let hertz = u64::from(leaf.ecx) * u64::from(leaf.ebx) / u64::from(leaf.eax.max(1));
    (leaf.eax != 0 && hertz != 0).then_some(hertz)
}

/// The time-stamp counter. Its order with other instructions is not fixed: nothing here measures less than what a system call takes.
#[inline]
pub fn tsc() -> u64 {
    // SAFETY: only reads processor state.
    unsafe { core::arch::x86_64::_rdtsc() }
}
