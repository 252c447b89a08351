//! Switching off, resetting, and telling the emulator that something failed.
//!
//! Of ACPI only the power registers, the value of the sleep state S5 (ACPI 6.5, 4.8, 5.2.9 and 7.4.2) and the places of PCI's
//! configuration space and of IOMMUs are read; no AML is run.

use super::{CoreCell, paging, paging::read, pci, port};
use core0::iommu::MAX_UNITS;

/// QEMU's `isa-debug-exit`: the emulator ends with status `value * 2 + 1`. Elsewhere nobody listens.
const DEBUG_EXIT: u16 = 0xf4;
/// Value for a failure that a service reported: status 0x23.
pub const EXIT_FAILED: u8 = 0x11;
/// Value for a kernel panic: status 0x2b.
pub const EXIT_PANIC: u8 = 0x15;
const SLEEP_ENABLE: u16 = 1 << 13;
/// The same in the register of a machine without the fixed hardware (ACPI 6.5, 4.8.3.7).
const REDUCED_SLEEP_ENABLE: u8 = 1 << 5;
const HARDWARE_REDUCED: u32 = 1 << 20;
/// The chipset's own reset register, where the tables name none.
const RESET_CONTROL: u16 = 0xcf9;
const RESET_SUPPORTED: u32 = 1 << 10;
/// Largest table that is looked through, bytes.
const MAX_TABLE: u64 = 1 << 20;
const HEADER: u64 = 36;
/// Function number of the ICH9's LPC bridge, 00:1f.0, and its device identity.
const LPC: u16 = 0x1f << 3;
const LPC_IDENTITY: u32 = 0x2918_8086;
const LPC_PMBASE: u16 = 0x40;

#[derive(Clone, Copy)]
enum PowerOff {
    Port { register: u16, value: u16 },
    Memory { register: u64, value: u8 },
}

/// The table of tables: its address and the bytes of an entry; no address without ACPI.
#[derive(Clone, Copy)]
struct Root {
    table: u64,
    entry_bytes: u64,
}

static POWER_OFF: CoreCell<Option<PowerOff>> = CoreCell::new(None);
static ROOT: CoreCell<Root> = CoreCell::new(Root { table: 0, entry_bytes: 4 });

/// Finds the tables and how this machine switches off. `rsdp` is 0 when the loader named none; it may lie in memory that is free.
pub fn init(rsdp: u64) {
    // SAFETY: boot code; nothing else holds the content (`CoreCell`).
    unsafe { *ROOT.get() = root(rsdp).unwrap_or(*ROOT.get()) };
    pci::init(configuration_space);
    let found = from_tables().or_else(from_chipset);
    // SAFETY: as above.
    unsafe { *POWER_OFF.get() = found };
}

/// The root table that the root pointer names (ACPI 6.5, 5.2.5.3): the one of 64 bits where there is one.
fn root(rsdp: u64) -> Option<Root> {
    if rsdp == 0 || read::<[u8; 8]>(rsdp)? != *b"RSD PTR " {
        return None;
    }
    let wide = if read::<u8>(rsdp + 15)? >= 2 { read::<u64>(rsdp + 24)? } else { 0 };
    let narrow = u64::from(read::<u32>(rsdp + 16)?);
    Some(if wide != 0 {
        Root { table: wide, entry_bytes: 8 }
    } else {
        Root { table: narrow, entry_bytes: 4 }
    })
}

/// The description table with this signature.
fn table(signature: [u8; 4]) -> Option<u64> {
    // SAFETY: a copy of what `init` has written.
    let root = unsafe { *ROOT.get() };
    let end = table_end(root.table).filter(|_| root.table != 0)?;
    let mut at = root.table + HEADER;
    while at + root.entry_bytes <= end {
        let high = if root.entry_bytes == 8 { u64::from(read::<u32>(at + 4)?) << 32 } else { 0 };
        let table = high | u64::from(read::<u32>(at)?);
        if read(table) == Some(signature) {
            return Some(table);
        }
        at += root.entry_bytes;
    }
    None
}

/// The fixed description table and where the system's AML begins.
fn descriptions() -> Option<(u64, u64)> {
    let fadt = table(*b"FACP")?;
    let dsdt = match read::<u32>(fadt + 40)? {
        0 => read::<u64>(fadt + 140)?,
        dsdt => u64::from(dsdt),
    };
    Some((fadt, dsdt))
}

/// Where PCI's configuration space is mapped, on a machine that says so by the method `_CBA` (PCI firmware specification 3.0, 4.1.3):
/// its name, no arguments, a return opcode, and the address as a word of 32 or 64 bits. QEMU's microvm has no table for it.
fn configuration_space() -> Option<u64> {
    let method = find(descriptions()?.1, *b"_CBA\x00\xa4")? + 6;
    match read::<u8>(method)? {
        0x0c => read::<u32>(method + 1).map(u64::from),
        0x0e => read::<u64>(method + 1),
        _ => None,
    }
}

fn from_tables() -> Option<PowerOff> {
    let (fadt, dsdt) = descriptions()?;
    let sleep_type = sleep_type(dsdt)? & 7;
    if read::<u32>(fadt + 112)? & HARDWARE_REDUCED != 0 {
        // A generic address: its space, 0 for memory, in the first byte, the address from the fifth on.
        let register = read::<u64>(fadt + 248)?;
        let usable = read::<u8>(fadt + 244)? == 0 && read::<u8>(register).is_some();
        let value = REDUCED_SLEEP_ENABLE | sleep_type << 2;
        return usable.then_some(PowerOff::Memory { register, value });
    }
    let register = u16::try_from(read::<u32>(fadt + 64)?).ok().filter(|&register| register != 0)?;
    Some(PowerOff::Port { register, value: SLEEP_ENABLE | u16::from(sleep_type) << 10 })
}

/// Registers of the IOMMUs of PCI segment 0 (VT-d specification, 8.1 and 8.3), how many there are, and one more when there are too many.
pub fn iommus() -> ([u64; MAX_UNITS + 1], usize) {
    let (mut found, mut count) = ([0; MAX_UNITS + 1], 0);
    let dmar = table(*b"DMAR").unwrap_or(0);
    let (mut at, end) = (dmar + HEADER + 12, table_end(dmar).filter(|_| dmar != 0).unwrap_or(0));
    while at + 16 <= end {
        if let (Some(0), Some(0), Some(base)) = (read::<u16>(at), read::<u16>(at + 6), read(at + 8))
            && let Some(place) = found.get_mut(count)
        {
            *place = base;
            count += 1;
        }
        at += u64::from(read::<u16>(at + 2).unwrap_or(0)).max(4);
    }
    (found, count)
}

fn table_end(table: u64) -> Option<u64> {
    let length = u64::from(read::<u32>(table + 4)?);
    (HEADER..=MAX_TABLE).contains(&length).then_some(table + length)
}

/// Where these bytes begin in a table of AML.
fn find<const N: usize>(dsdt: u64, bytes: [u8; N]) -> Option<u64> {
    let end = table_end(dsdt)?;
    (dsdt + HEADER..end.saturating_sub(N as u64)).find(|&at| read(at) == Some(bytes))
}

/// The first element of the package `_S5_`: name, package opcode 0x12, length, count, then a byte with or without its prefix 0x0a.
fn sleep_type(dsdt: u64) -> Option<u8> {
    let at = find(dsdt, *b"_S5_\x12")?;
    let length_bytes = u64::from(read::<u8>(at + 5)? >> 6) + 1;
    let element = at + 5 + length_bytes + 1;
    let first = read::<u8>(element)?;
    if first == 0x0a { read(element + 1) } else { Some(first) }
}

/// Without tables: the register of the ICH9, whose S5 is type 0 in QEMU.
fn from_chipset() -> Option<PowerOff> {
    let base = pci::read(LPC, LPC_PMBASE) & 0xff80;
    (pci::read(LPC, 0) == LPC_IDENTITY && base != 0)
        .then_some(PowerOff::Port { register: base as u16 + 4, value: SLEEP_ENABLE })
}

/// Switches off, or halts where the machine cannot.
pub fn power_off() -> ! {
    // SAFETY: a copy; nothing else holds the content (`CoreCell`).
    match unsafe { *POWER_OFF.get() } {
        Some(PowerOff::Port { register, value }) => port::write16(register, value),
        // SAFETY: a device register within the direct map, as `from_tables` checked; the write ends the machine.
        Some(PowerOff::Memory { register, value }) => unsafe {
            paging::pointer(register).write_volatile(value)
        },
        None => super::serial::print(b"It is now safe to switch off.\n"),
    }
    halt()
}

/// Writes the reset register that the tables name (ACPI 6.5, 4.8.3.6), if they name one.
fn reset_by_tables() -> Option<()> {
    let fadt = table(*b"FACP").filter(|&fadt| table_end(fadt).is_some_and(|end| end > fadt + 128))?;
    let (register, value) = (read::<u64>(fadt + 120)?, read::<u8>(fadt + 128)?);
    match (read::<u32>(fadt + 112)? & RESET_SUPPORTED, read::<u8>(fadt + 116)?) {
        (RESET_SUPPORTED, 1) => port::write8(register as u16, value),
        (RESET_SUPPORTED, 0) if read::<u8>(register).is_some() => {
            // SAFETY: a device register within the direct map, as the read shows; the write ends the machine.
            unsafe { paging::pointer(register).write_volatile(value) };
        }
        _ => {}
    }
    Some(())
}

/// Resets as the tables say, by the chipset, or by a fault that cannot be handled.
pub fn reset() -> ! {
    let _ = reset_by_tables();
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
