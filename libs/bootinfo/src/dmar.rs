//! ACPI's table of IOMMUs (VT-d specification, chapter 8): where their registers are, and as which source the I/O APIC raises interrupts.
//!
//! The table is input from outside as the loader's message is: no length in it is followed beyond the table's end, and none stands still.

use crate::Physical;

/// Units that are kept; who drives them takes fewer.
pub const MAX_UNITS: usize = 16;
/// Largest table that is looked through, bytes.
const MAX_BYTES: u64 = 1 << 20;
/// Bytes before the structures: the header of every table, width of addresses, flags, reserved.
const HEADER: u64 = 48;
const FLAGS: u64 = 37;
/// The platform lets interrupts be remapped.
const REMAPS_INTERRUPTS: u8 = 1;
/// Bytes of a structure that a unit has at least, and of a device scope with a path of one step.
const UNIT: u64 = 16;
const SCOPE: u64 = 8;
/// Kind of a unit among the structures, and of an I/O APIC among the scopes.
const KIND_UNIT: u16 = 0;
const KIND_IO_APIC: u8 = 3;

/// What the table says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dmar {
    units: [u64; MAX_UNITS],
    count: usize,
    /// The source of the I/O APIC's interrupts, bus << 8 | device << 3 | function; `None` also where the platform does not let interrupts be
    /// remapped.
    pub io_apic: Option<u16>,
}

impl Dmar {
    /// Reads the table at this address, if there is one; `number` is that of the I/O APIC. What is damaged ends the reading.
    pub fn read(table: Option<u64>, memory: &impl Physical, number: u8) -> Self {
        let mut found = Self::default();
        if let Some(table) = table {
            let _ = found.look(table, memory, number);
        }
        found
    }

    /// Physical addresses of the registers of the units of PCI segment 0.
    #[must_use]
    pub fn units(&self) -> &[u64] {
        self.units.get(..self.count).unwrap_or_default()
    }

    fn look(&mut self, table: u64, memory: &impl Physical, number: u8) -> Option<()> {
        table.checked_add(MAX_BYTES)?;
        let length = u64::from(memory.u32(table + 4)?);
        let end = table + Some(length).filter(|bytes| *bytes <= MAX_BYTES)?;
        let [flags] = memory.read(table + FLAGS)?;
        let mut at = table + HEADER;
        while at + UNIT <= end {
            let [kind, bytes] = [at, at + 2].map(|at| memory.read(at).map(u16::from_le_bytes));
            let next = at + u64::from(bytes?).max(4);
            if kind? == KIND_UNIT {
                self.take_unit(at, memory)?;
                if flags & REMAPS_INTERRUPTS != 0 && self.io_apic.is_none() {
                    self.io_apic = io_apic(at + UNIT, next.min(end), memory, number);
                }
            }
            at = next;
        }
        Some(())
    }

    fn take_unit(&mut self, at: u64, memory: &impl Physical) -> Option<()> {
        if memory.read(at + 6)? == [0; 2]
            && let Some(place) = self.units.get_mut(self.count)
        {
            *place = memory.u64(at + 8)?;
            self.count += 1;
        }
        Some(())
    }
}

/// The source of this I/O APIC, if it is among these scopes.
fn io_apic(mut at: u64, end: u64, memory: &impl Physical, number: u8) -> Option<u16> {
    while at + SCOPE <= end {
        let [kind, bytes, _, _, id, bus, device, function] = memory.read(at)?;
        if kind == KIND_IO_APIC && id == number {
            return Some(u16::from(bus) << 8 | u16::from(device & 0x1f) << 3 | u16::from(function & 7));
        }
        at += u64::from(bytes).max(2);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    struct Bytes(Vec<u8>);

    impl Physical for Bytes {
        fn read<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
            let at = usize::try_from(at).ok()?;
            self.0.get(at..at.checked_add(N)?)?.try_into().ok()
        }
    }

    /// As QEMU writes it: one unit that has the I/O APIC 0 as ff:00.0; then one of segment 1, and one with two scopes.
    fn table(flags: u8) -> Bytes {
        let mut bytes = Vec::from(*b"DMAR\0\0\0\0");
        bytes.resize(36, 0);
        bytes.extend([38, flags]);
        bytes.resize(48, 0);
        let unit = |bytes: &mut Vec<u8>, segment: u8, base: u64, scopes: &[[u8; 8]]| {
            bytes.extend([0, 0, 16 + 8 * scopes.len() as u8, 0, 0, 0, segment, 0]);
            bytes.extend(base.to_le_bytes());
            bytes.extend(scopes.concat());
        };
        unit(&mut bytes, 0, 0xfed9_0000, &[[3, 8, 0, 0, 0, 0xff, 0, 0]]);
        unit(&mut bytes, 1, 0xfeda_0000, &[]);
        // A region that firmware reserves: another kind.
        bytes.extend([1, 0, 24, 0]);
        bytes.resize(bytes.len() + 20, 0);
        unit(&mut bytes, 0, 0xfedb_0000, &[[1, 8, 0, 0, 2, 0, 2, 0], [3, 8, 0, 0, 2, 0xf0, 0x1f, 7]]);
        let length = bytes.len() as u32;
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        Bytes(bytes)
    }

    #[test]
    fn the_units_of_segment_0_and_the_source_of_each_io_apic_are_found() {
        let table = table(1);
        for (number, source) in [(0, Some(0xff00)), (2, Some(0xf0ff)), (1, None)] {
            let dmar = Dmar::read(Some(0), &table, number);
            assert_eq!((dmar.units(), dmar.io_apic), (&[0xfed9_0000, 0xfedb_0000][..], source));
        }
    }

    #[test]
    fn without_a_table_there_is_nothing_and_without_the_flag_no_source() {
        assert_eq!(Dmar::read(None, &table(1), 0), Dmar::default());
        let dmar = Dmar::read(Some(0), &table(0), 0);
        assert_eq!((dmar.units().len(), dmar.io_apic), (2, None));
    }

    #[test]
    fn whatever_byte_is_wrong_the_reading_ends_within_the_table() {
        let good = table(1);
        for at in 0..good.0.len() {
            for value in [0, 1, 4, 0x7f, 0xff] {
                let mut bytes = good.0.clone();
                bytes[at] = value;
                let _ = Dmar::read(Some(0), &Bytes(bytes), 0);
            }
            let cut = Bytes(good.0[..at].to_vec());
            assert!(Dmar::read(Some(0), &cut, 0).units().len() <= 2);
        }
        assert_eq!(Dmar::read(Some(u64::MAX - 2), &good, 0), Dmar::default());
    }

    #[test]
    fn more_units_than_are_kept_are_left_out() {
        let mut bytes = table(1).0;
        let unit = bytes[48..72].to_vec();
        (0..40).for_each(|_| bytes.extend(&unit));
        let length = bytes.len() as u32;
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        assert_eq!(Dmar::read(Some(0), &Bytes(bytes), 0).units().len(), MAX_UNITS);
    }
}
