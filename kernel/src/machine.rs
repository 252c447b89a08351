//! What Core-0 needs of the machine below it.
//!
//! The object model is generic over [`Machine`]: `arch::x86_64` implements it with the real processor, the tests with a
//! `Vec` of simulated memory. Nothing above this trait executes a privileged instruction or follows a raw pointer to
//! physical memory.

use core::ops::Range;

/// A way to end the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerAction {
    /// Power off.
    Off,
    /// Reset.
    Reset,
    /// Power off and tell the emulator that the system failed.
    Failed,
}

/// The machine: clock, timer, physical memory, address spaces, devices.
pub trait Machine {
    /// Monotonic nanoseconds since boot.
    fn now(&self) -> u64;

    /// Arms the timer for this time, in place of the one before; it may come late, never early. Times in the past fire at once.
    fn set_timer(&mut self, at: u64);

    /// Copies from physical memory. `from` and its length lie in memory that the frame table covers.
    fn read(&self, from: u64, to: &mut [u8]);

    /// Copies to physical memory, under the same rule.
    fn write(&mut self, to: u64, from: &[u8]);

    /// Copies within physical memory; the ranges do not overlap.
    fn copy(&mut self, from: u64, to: u64, bytes: u64);

    /// The kernel's own view of a run of physical memory, to fill the first sandbox at boot.
    fn memory_mut(&mut self, at: u64, bytes: u64) -> &mut [u8];

    /// Zeroes physical memory; both arguments are multiples of 8.
    fn zero(&mut self, at: u64, bytes: u64);

    /// Reads a page-table entry.
    fn read_u64(&self, at: u64) -> u64;

    /// Writes a page-table entry.
    fn write_u64(&mut self, at: u64, value: u64);

    /// Writes the kernel's half into a new, zeroed top-level table.
    fn init_root(&mut self, root: u64);

    /// Makes this top-level table the current one.
    fn activate(&mut self, root: u64);

    /// Makes the kernel's own table the current one.
    fn deactivate(&mut self);

    /// Writes the processor's caches back, for an IOMMU that does not look into them.
    fn write_back(&mut self);

    /// The same of these bytes alone.
    fn write_back_bytes(&mut self, at: u64, bytes: u64);

    /// Forgets a cached translation of the current address space.
    fn flush(&mut self, address: u64);

    /// Reads an I/O port; width 1, 2 or 4.
    fn io_read(&mut self, port: u16, width: u8) -> u32;

    /// Writes an I/O port; width 1, 2 or 4.
    fn io_write(&mut self, port: u16, width: u8, value: u32);

    /// Reads 32 bits of device registers at a physical address.
    fn mmio_read(&mut self, at: u64) -> u32;

    /// Writes 32 bits of device registers at a physical address.
    fn mmio_write(&mut self, at: u64, value: u32);

    /// Reads an aligned 32-bit word of PCI configuration space; `function` is bus << 8 | device << 3 | function.
    fn pci_read(&mut self, function: u16, offset: u16) -> u32;

    /// Writes an aligned 32-bit word of PCI configuration space.
    fn pci_write(&mut self, function: u16, offset: u16, value: u32);

    /// Where BARs may be put that the firmware has not set.
    fn pci_window(&self) -> Range<u64>;

    /// Leads an ISA interrupt line (0..16) to this vector, edge triggered, unmasked; by the entry of this number, where interrupts are remapped.
    /// Or masks it.
    fn route_isa(&mut self, line: u8, vector: Option<u8>, remapped: bool);

    /// Fills `out` with hardware random bytes; `false` when the hardware has none.
    fn entropy(&mut self, out: &mut [u8]) -> bool;

    /// Prints on the boot console (the serial port), while no service has taken it over.
    fn print(&mut self, text: &[u8]);

    /// Ends the system. The test machine records the action and returns.
    fn power(&mut self, action: PowerAction);
}
