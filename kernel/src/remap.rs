//! Which interrupts a device raises: *its own, and no other* (VT-d specification, chapter 5).
//!
//! An interrupt is a write to the local APIC's address, which no page table covers: without this module a device can raise any vector, a
//! non-maskable interrupt among them. With it, what a device writes only names an entry of a table that the kernel alone writes. The entry
//! has the vector, and the one function that it is for. A write in the old format, of an entry that is not there, or of another function's is
//! refused and recorded. The number of an entry is that of its vector, so that no table of which is free need be kept.

use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::objects::IrqSource;

/// For the register of the table's address: 2 to the power of this plus 1 entries, one for each vector; destinations of eight bits (10.4.29).
pub const TABLE_SIZE: u64 = 7;
const PRESENT: u64 = 1;
/// All 16 bits of the source are compared with the entry's (9.10, SVT and SQ).
const VERIFY_SOURCE: u64 = 1 << 18;
/// The local APIC's address in a message-signalled interrupt.
pub const LOCAL_APIC: u32 = 0xfee0_0000;
/// The rest of the address names an entry (5.1.2.2).
const NAMES_ENTRY: u32 = 1 << 4;

/// The entry of a vector: fixed, edge triggered, to the one core, whose APIC has the number 0 (9.10).
pub const fn entry(vector: u8, source: u16) -> [u64; 2] {
    [PRESENT | (vector as u64) << 16, VERIFY_SOURCE | source as u64]
}

/// What a device writes, and where, to raise a vector.
pub const fn message(vector: u8, remapped: bool) -> (u32, u32) {
    if remapped { (LOCAL_APIC | NAMES_ENTRY | (vector as u32) << 5, 0) } else { (LOCAL_APIC, vector as u32) }
}

impl<M: Machine> Kernel<M> {
    /// Whether interrupts are remapped.
    pub(crate) fn remaps(&self) -> bool {
        self.iommu.as_ref().is_some_and(|iommu| iommu.tables.interrupts != 0)
    }

    /// From here on this source, and no other, raises this vector; or nobody does.
    pub(crate) fn admit(&mut self, vector: u8, source: Option<IrqSource>) {
        if let Some(iommu) = self.iommu.as_ref().filter(|iommu| iommu.tables.interrupts != 0) {
            let function = source.map(|source| match source {
                IrqSource::Isa(_) => self.io_apic,
                IrqSource::Msix { device, .. } => self.devices[device].function,
            });
            iommu.admit(&mut self.machine, vector, function);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_and_the_message_that_names_it_have_the_bits_of_the_specification() {
        assert_eq!(entry(0x31, 0x00fa), [0x31_0001, 0x4_00fa]);
        assert_eq!(message(0x31, true), (0xfee0_0630, 0));
        assert_eq!(message(0xef, true), (0xfee0_1df0, 0));
        assert_eq!(message(0x31, false), (0xfee0_0000, 0x31));
    }

    #[test]
    fn no_message_names_the_entry_of_another_vector() {
        for vector in 0..=u8::MAX {
            let (address, data) = message(vector, true);
            // Handle bits 0 to 14 at 5, bit 15 at 2; no subhandle, which bit 3 would announce (5.1.2.2).
            let handle = address >> 5 & 0x7fff | (address >> 2 & 1) << 15;
            assert_eq!((address >> 20, handle, address >> 3 & 1, data), (0xfee, vector.into(), 0, 0));
        }
    }
}
