//! The PC as [`Machine`]: what the object model may do to hardware, and nothing else.
//!
//! Addresses come from the kernel's own frame table and from device windows that were checked when their objects were made. Memory
//! accesses beyond the direct map would be a bug of the kernel and stop it; device registers there read as all ones.

use super::{acpi, apic, clock, paging, pci, port, serial};
use core::ops::Range;
use core0::machine::{Machine, PowerAction};
use x86_64::{VirtAddr, instructions::tlb};

/// Bytes that are written back together, at least (SDM vol. 2A, CLFLUSH).
const CACHE_LINE: usize = 64;

/// The machine, once the rest of `arch` is set up; its state lives in the registers and statics there.
pub struct X86;

/// The direct map's address of a range of memory. Panics when the range is not in it, which no checked object can cause.
#[inline]
fn memory(at: u64, bytes: u64) -> *mut u8 {
    let end = at.checked_add(bytes);
    assert!(end.is_some_and(|end| end <= paging::direct_end()), "{bytes} bytes at {at:#x} are not in memory");
    (paging::DIRECT_MAP + at) as *mut u8
}

/// The direct map's address of an entry of a page table; tables are whole pages, so that one comparison does. Panics like [`memory`].
#[inline(always)]
fn entry(at: u64) -> *mut u64 {
    assert!(at < paging::direct_end(), "no page table has an entry at {at:#x}");
    (paging::DIRECT_MAP + at) as *mut u64
}

fn register(at: u64) -> Option<*mut u32> {
    let inside = at.checked_add(4).is_some_and(|end| end <= paging::direct_end());
    (inside && at.is_multiple_of(4)).then(|| paging::pointer(at).cast())
}

impl Machine for X86 {
    #[inline]
    fn now(&self) -> u64 {
        clock::now()
    }

    fn set_timer(&mut self, at: u64) {
        // `u64::MAX` turns the timer off: 584 years are as good as never.
        apic::arm(at);
    }

    fn read(&self, from: u64, to: &mut [u8]) {
        let from = memory(from, to.len() as u64);
        // SAFETY: mapped; a frame of ring 3 memory or a table, never part of a Rust object that `to` could alias.
        unsafe { core::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len()) }
    }

    fn write(&mut self, to: u64, from: &[u8]) {
        let to = memory(to, from.len() as u64);
        // SAFETY: as in `read`.
        unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) }
    }

    fn copy(&mut self, from: u64, to: u64, bytes: u64) {
        let (from, to) = (memory(from, bytes), memory(to, bytes));
        // SAFETY: both mapped; the trait's rule says that they do not overlap.
        unsafe { core::ptr::copy_nonoverlapping(from, to, bytes as usize) }
    }

    fn memory_mut(&mut self, at: u64, bytes: u64) -> &mut [u8] {
        // SAFETY: mapped; the caller's own frames, and the borrow of `self` keeps every other access of the object model away.
        unsafe { core::slice::from_raw_parts_mut(memory(at, bytes), bytes as usize) }
    }

    fn zero(&mut self, at: u64, bytes: u64) {
        // SAFETY: mapped, as in `read`.
        unsafe { memory(at, bytes).write_bytes(0, bytes as usize) }
    }

    #[inline(always)]
    fn read_u64(&self, at: u64) -> u64 {
        // SAFETY: mapped; an entry of a page table. Volatile, because the processor sets accessed and dirty bits.
        unsafe { entry(at).read_volatile() }
    }

    #[inline(always)]
    fn write_u64(&mut self, at: u64, value: u64) {
        // SAFETY: as in `read_u64`; the kernel's half is not reachable from a table that the object model owns.
        unsafe { entry(at).write_volatile(value) }
    }

    fn init_root(&mut self, root: u64) {
        for (slot, entry) in paging::kernel_half() {
            self.write_u64(root + slot as u64 * 8, entry);
        }
    }

    #[inline(always)]
    fn activate(&mut self, root: u64) {
        paging::activate(root);
    }

    fn deactivate(&mut self) {
        paging::activate(paging::kernel_root());
    }

    fn write_back(&mut self) {
        // SAFETY: it only costs time.
        unsafe { core::arch::asm!("wbinvd", options(nostack, preserves_flags)) };
    }

    fn write_back_bytes(&mut self, at: u64, bytes: u64) {
        let first = memory(at, bytes);
        for line in (0..bytes).step_by(CACHE_LINE) {
            // SAFETY: mapped; it only costs time.
            unsafe { core::arch::x86_64::_mm_clflush(first.add(line as usize)) };
        }
    }

    fn flush(&mut self, address: u64) {
        tlb::flush(VirtAddr::new_truncate(address));
    }

    fn io_read(&mut self, at: u16, width: u8) -> u32 {
        match width {
            1 => u32::from(port::read::<u8>(at)),
            2 => u32::from(port::read::<u16>(at)),
            _ => port::read::<u32>(at),
        }
    }

    fn io_write(&mut self, at: u16, width: u8, value: u32) {
        match width {
            1 => port::write::<u8>(at, value as u8),
            2 => port::write::<u16>(at, value as u16),
            _ => port::write::<u32>(at, value),
        }
    }

    fn mmio_read(&mut self, at: u64) -> u32 {
        // SAFETY: an aligned device register within the direct map.
        register(at).map_or(u32::MAX, |register| unsafe { register.read_volatile() })
    }

    fn mmio_write(&mut self, at: u64, value: u32) {
        if let Some(register) = register(at) {
            // SAFETY: as in `mmio_read`.
            unsafe { register.write_volatile(value) };
        }
    }

    fn pci_read(&mut self, function: u16, offset: u16) -> u32 {
        pci::read(function, offset)
    }

    fn pci_write(&mut self, function: u16, offset: u16, value: u32) {
        pci::write(function, offset, value);
    }

    fn pci_window(&self) -> Range<u64> {
        pci::window()
    }

    fn route_isa(&mut self, line: u8, vector: Option<u8>, remapped: bool) {
        apic::route_isa(line, vector, remapped);
    }

    fn entropy(&mut self, out: &mut [u8]) -> bool {
        let Some(source) = x86_64::instructions::random::RdRand::new() else { return false };
        for chunk in out.chunks_mut(8) {
            // Ten tries: a failure beyond that means a broken source (Intel DRNG guide, 5.2.1).
            let Some(word) = (0..10).find_map(|_| source.get_u64()) else { return false };
            chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        }
        true
    }

    fn print(&mut self, text: &[u8]) {
        serial::print(text);
    }

    fn power(&mut self, action: PowerAction) {
        match action {
            PowerAction::Off => acpi::power_off(),
            PowerAction::Reset => acpi::reset(),
            PowerAction::Failed => acpi::exit(acpi::EXIT_FAILED),
        }
    }
}
