//! Switching off, resetting, and telling the emulator that something failed. What the tables say of it, [`hic_bootinfo::acpi`] reads.

use super::{CoreCell, paging, paging::DirectMap, pci, port};
use hic_bootinfo::acpi::{Acpi, Ending};

/// QEMU's `isa-debug-exit`: the emulator ends with status `value * 2 + 1`. Elsewhere nobody listens.
pub const DEBUG_EXIT: u16 = 0xf4;
/// Value for a failure that a service reported: status 0x23.
pub const EXIT_FAILED: u8 = 0x11;
/// Value for a kernel panic: status 0x2b.
pub const EXIT_PANIC: u8 = 0x15;
/// The chipset's own reset register, where the tables name none.
const RESET_CONTROL: u16 = 0xcf9;
/// Function number of the ICH9's LPC bridge, 00:1f.0, and its device identity.
const LPC: u16 = 0x1f << 3;
const LPC_IDENTITY: u32 = 0x2918_8086;
const LPC_PMBASE: u16 = 0x40;
/// For its power register (ACPI 6.5, 4.8.3.2.1).
const SLEEP_ENABLE: u16 = 1 << 13;

/// How this machine is switched off and reset.
struct Endings {
    off: Option<Ending>,
    reset: Option<Ending>,
}

static ENDINGS: CoreCell<Endings> = CoreCell::new(Endings { off: None, reset: None });

/// Finds the tables, and in them how this machine ends. `rsdp` is 0 when the loader named none; it may lie in memory that is free.
pub fn init(rsdp: u64) -> Option<Acpi> {
    let tables = Acpi::find(rsdp, &DirectMap);
    pci::init(|| tables?.configuration_space(&DirectMap));
    let off = tables.and_then(|tables| tables.power_off(&DirectMap)).or_else(from_chipset);
    let reset = tables.and_then(|tables| tables.reset(&DirectMap));
    // SAFETY: boot code; nothing else holds the content (`CoreCell`).
    unsafe { *ENDINGS.get() = Endings { off, reset } };
    tables
}

/// Without tables: the register of the ICH9, whose S5 is type 0 in QEMU.
fn from_chipset() -> Option<Ending> {
    let base = pci::read(LPC, LPC_PMBASE) & 0xff80;
    (pci::read(LPC, 0) == LPC_IDENTITY && base != 0)
        .then_some(Ending::Word { port: base as u16 + 4, value: SLEEP_ENABLE })
}

fn end(ending: Ending) {
    match ending {
        Ending::Byte { port, value } => port::write(port, value),
        Ending::Word { port, value } => port::write(port, value),
        // SAFETY: a device register within the direct map, or `Acpi` would not have named it; the write ends the machine.
        Ending::Memory { address, value } => unsafe { paging::pointer(address).write_volatile(value) },
    }
}

/// Switches off, or halts where the machine cannot.
pub fn power_off() -> ! {
    // SAFETY: a copy; nothing else holds the content (`CoreCell`).
    match unsafe { (*ENDINGS.get()).off } {
        Some(ending) => end(ending),
        None => super::serial::print(b"It is now safe to switch off.\n"),
    }
    halt()
}

/// Resets as the tables say, by the chipset, or by a fault that cannot be handled.
pub fn reset() -> ! {
    // SAFETY: as in `power_off`.
    if let Some(ending) = unsafe { (*ENDINGS.get()).reset } {
        end(ending);
    }
    port::write::<u8>(RESET_CONTROL, 2);
    port::write::<u8>(RESET_CONTROL, 6);
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
    port::write::<u8>(DEBUG_EXIT, value);
    power_off()
}

/// Stops the processor for good.
pub fn halt() -> ! {
    loop {
        // SAFETY: interrupts stay off; only an NMI ends `hlt`, and it ends in a panic.
        unsafe { core::arch::asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
