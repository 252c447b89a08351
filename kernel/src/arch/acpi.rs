//! Switching off, resetting, and telling the emulator that something failed.
//!
//! Of ACPI only the fixed power register and the value of the sleep state S5 are read (ACPI 6.5, 5.2.9 and 7.4.2); no AML is run.

use super::{CoreCell, paging::read, port};

/// QEMU's `isa-debug-exit`: the emulator ends with status `value * 2 + 1`. Elsewhere nobody listens.
const DEBUG_EXIT: u16 = 0xf4;
/// Value for a failure that a service reported: status 0x23.
pub const EXIT_FAILED: u8 = 0x11;
/// Value for a kernel panic: status 0x2b.
pub const EXIT_PANIC: u8 = 0x15;
const SLEEP_ENABLE: u16 = 1 << 13;
const RESET_CONTROL: u16 = 0xcf9;
/// Largest table that is looked through, bytes.
const MAX_TABLE: u64 = 1 << 20;
const HEADER: u64 = 36;
/// Function number of the ICH9's LPC bridge, 00:1f.0, and its device identity.
const LPC: u16 = 0x1f << 3;
const LPC_IDENTITY: u32 = 0x2918_8086;
const LPC_PMBASE: u16 = 0x40;

#[derive(Clone, Copy)]
struct PowerOff {
    register: u16,
    value: u16,
}

static POWER_OFF: CoreCell<Option<PowerOff>> = CoreCell::new(None);

/// Finds out how this machine switches off. `rsdp` is 0 when the loader named none.
pub fn init(rsdp: u64) {
    let found = from_tables(rsdp).or_else(from_chipset);
    // SAFETY: boot code; nothing else holds the content (`CoreCell`).
    unsafe { *POWER_OFF.get() = found };
}

fn from_tables(rsdp: u64) -> Option<PowerOff> {
    if rsdp == 0 || read::<[u8; 8]>(rsdp)? != *b"RSD PTR " {
        return None;
    }
    let fadt = fadt(rsdp)?;
    let register = u16::try_from(read::<u32>(fadt + 64)?).ok().filter(|&register| register != 0)?;
    let sleep_type = sleep_type(u64::from(read::<u32>(fadt + 40)?))?;
    Some(PowerOff { register, value: SLEEP_ENABLE | u16::from(sleep_type & 7) << 10 })
}

/// The fixed description table, by the root table of revision 0: every machine that we boot on has it below 4 GiB.
fn fadt(rsdp: u64) -> Option<u64> {
    let root = u64::from(read::<u32>(rsdp + 16)?);
    let end = table_end(root)?;
    let mut at = root + HEADER;
    while at + 4 <= end {
        let table = u64::from(read::<u32>(at)?);
        if read::<[u8; 4]>(table)? == *b"FACP" {
            return Some(table);
        }
        at += 4;
    }
    None
}

fn table_end(table: u64) -> Option<u64> {
    let length = u64::from(read::<u32>(table + 4)?);
    (HEADER..=MAX_TABLE).contains(&length).then_some(table + length)
}

/// The first element of the package `_S5_`: name, package opcode 0x12, length, count, then a byte with or without its prefix 0x0a.
fn sleep_type(dsdt: u64) -> Option<u8> {
    let end = table_end(dsdt)?;
    let mut at = dsdt + HEADER;
    while at + 8 < end {
        if read::<[u8; 5]>(at)? == *b"_S5_\x12" {
            let length_bytes = u64::from(read::<u8>(at + 5)? >> 6) + 1;
            let element = at + 5 + length_bytes + 1;
            let first = read::<u8>(element)?;
            return if first == 0x0a { read(element + 1) } else { Some(first) };
        }
        at += 1;
    }
    None
}

/// Without tables: the register of the ICH9, whose S5 is type 0 in QEMU.
fn from_chipset() -> Option<PowerOff> {
    let base = pci_read(LPC, LPC_PMBASE) & 0xff80;
    (pci_read(LPC, 0) == LPC_IDENTITY && base != 0)
        .then_some(PowerOff { register: base as u16 + 4, value: SLEEP_ENABLE })
}

/// Selects a word for the next access to the data port (PCI 3.0, 3.2.2.3.2); `false` for one this mechanism cannot reach.
fn select(function: u16, offset: u16) -> bool {
    port::write32(0xcf8, 1 << 31 | u32::from(function) << 8 | u32::from(offset & 0xfc));
    offset < 256
}

/// Reads a word of PCI configuration space; all ones where there is none.
pub fn pci_read(function: u16, offset: u16) -> u32 {
    if select(function, offset) { port::read32(0xcfc) } else { u32::MAX }
}

/// Writes a word of PCI configuration space; beyond its first 256 bytes nothing happens.
pub fn pci_write(function: u16, offset: u16, value: u32) {
    if select(function, offset) {
        port::write32(0xcfc, value);
    }
}

/// Switches off, or halts where the machine cannot.
pub fn power_off() -> ! {
    // SAFETY: a copy; nothing else holds the content (`CoreCell`).
    match unsafe { *POWER_OFF.get() } {
        Some(off) => port::write16(off.register, off.value),
        None => super::serial::print(b"It is now safe to switch off.\n"),
    }
    halt()
}

/// Resets by the chipset, or by a fault that cannot be handled.
pub fn reset() -> ! {
    port::write8(RESET_CONTROL, 2);
    port::write8(RESET_CONTROL, 6);
    // SAFETY: an empty interrupt table turns the next exception into a triple fault, which resets; nothing runs after it.
    unsafe {
        let nothing =
            x86_64::structures::DescriptorTablePointer { limit: 0, base: x86_64::VirtAddr::new_truncate(0) };
        x86_64::instructions::tables::lidt(&nothing);
        core::arch::asm!("ud2", options(noreturn));
    }
}

/// Ends the emulator with this value, or switches off.
pub fn exit(value: u8) -> ! {
    port::write8(DEBUG_EXIT, value);
    power_off()
}

/// Stops the processor for good.
pub fn halt() -> ! {
    loop {
        // SAFETY: interrupts stay off; only an NMI ends `hlt`, and it ends in a panic.
        unsafe { core::arch::asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
