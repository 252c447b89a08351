//! PCI configuration space: by two I/O ports as on every PC, or where ACPI says that it is mapped, on machines without these ports.

use super::{CoreCell, paging, port};
use core::ops::Range;

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
const ENABLE: u32 = 1 << 31;
/// What the host bridge of QEMU's microvm decodes for BARs ends where its configuration space begins (`hw/i386/microvm.h`).
const WINDOW_BYTES: u64 = 0x2000_0000;

/// Where configuration space is mapped; 0: it is reached by ports.
static MAPPED: CoreCell<u64> = CoreCell::new(0);

/// Chooses the way; `place` finds out where configuration space is mapped.
pub fn init(place: impl FnOnce() -> Option<u64>) {
    port::write::<u32>(ADDRESS, ENABLE);
    if port::read::<u32>(ADDRESS) != ENABLE {
        // SAFETY: boot code; nothing else holds the content (`CoreCell`).
        unsafe { *MAPPED.get() = place().unwrap_or(0) };
    }
}

fn mapped() -> u64 {
    // SAFETY: a copy of a word that is written once, by `init`.
    unsafe { *MAPPED.get() }
}

/// Where BARs may be put that the firmware has not set: empty where it sets them all.
pub fn window() -> Range<u64> {
    mapped().saturating_sub(WINDOW_BYTES)..mapped()
}

/// Where the word lies, or selected for the next access to the data port (PCI 3.0, 3.2.2.3.2).
enum Place {
    Mapped(*mut u32),
    Selected,
    /// Beyond the first 256 bytes, or not within reach.
    None,
}

fn select(function: u16, offset: u16) -> Place {
    let (function, offset) = (u32::from(function), u32::from(offset & 0xffc));
    if offset >= 256 {
        return Place::None;
    }
    if mapped() == 0 {
        port::write::<u32>(ADDRESS, ENABLE | function << 8 | offset);
        return Place::Selected;
    }
    let at = mapped().saturating_add(u64::from(function << 12 | offset));
    if at < paging::direct_end() { Place::Mapped(paging::pointer(at).cast()) } else { Place::None }
}

/// Reads a word of configuration space; all ones where there is none.
pub fn read(function: u16, offset: u16) -> u32 {
    match select(function, offset) {
        // SAFETY: an aligned word of configuration space within the direct map.
        Place::Mapped(word) => unsafe { word.read_volatile() },
        Place::Selected => port::read::<u32>(DATA),
        Place::None => u32::MAX,
    }
}

/// Writes a word of configuration space; where there is none, nothing happens.
pub fn write(function: u16, offset: u16, value: u32) {
    match select(function, offset) {
        // SAFETY: as in `read`; the kernel alone decides what is written here.
        Place::Mapped(word) => unsafe { word.write_volatile(value) },
        Place::Selected => port::write::<u32>(DATA, value),
        Place::None => {}
    }
}
