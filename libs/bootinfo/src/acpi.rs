//! ACPI's tables, as far as the kernel reads them: how the machine is switched off and reset, where PCI's configuration space is mapped, and where
//! other tables are. No AML is run; of it a package and a method are recognised by their bytes.
//!
//! The tables are input from outside as the loader's message is: no address in them is followed that no processor has, and no length beyond
//! the largest table. Section numbers are those of ACPI 6.5.

use crate::{PHYSICAL_END, Physical};

/// Largest table that is looked through, bytes.
const MAX_TABLE: u64 = 1 << 20;
/// Bytes before the content of a table.
const HEADER: u64 = 36;

// Offsets in the fixed description table (5.2.9).
const DSDT: u64 = 40;
const POWER_CONTROL: u64 = 64;
const FLAGS: u64 = 112;
const RESET_REGISTER: u64 = 116;
const RESET_VALUE: u64 = 128;
const WIDE_DSDT: u64 = 140;
const SLEEP_CONTROL: u64 = 244;
/// Its flags.
const RESET_SUPPORTED: u32 = 1 << 10;
const HARDWARE_REDUCED: u32 = 1 << 20;

/// Of the power register (4.8.3.2.1), and of that of a machine without the fixed hardware (4.8.3.7).
const SLEEP_ENABLE: u16 = 1 << 13;
const REDUCED_SLEEP_ENABLE: u8 = 1 << 5;

/// A write that ends the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A byte to an I/O port.
    Byte {
        /// The port.
        port: u16,
        /// The byte.
        value: u8,
    },
    /// A word of 16 bits to an I/O port.
    Word {
        /// The port.
        port: u16,
        /// The word.
        value: u16,
    },
    /// A byte to a register in memory, which can be read.
    Memory {
        /// Its physical address.
        address: u64,
        /// The byte.
        value: u8,
    },
}

/// The table of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acpi {
    root: u64,
    entry_bytes: u64,
}

impl Acpi {
    /// The one that the root pointer names (5.2.5.3): of entries of 64 bits where there is one.
    pub fn find(rsdp: u64, memory: &impl Physical) -> Option<Self> {
        let rsdp = named(rsdp)?;
        let (signature, [revision]) = (memory.read(rsdp)?, memory.read(rsdp + 15)?);
        if signature != *b"RSD PTR " {
            return None;
        }
        let wide = if revision >= 2 { memory.u64(rsdp + 24)? } else { 0 };
        let (root, entry_bytes) = if wide == 0 { (memory.u32(rsdp + 16)?.into(), 4) } else { (wide, 8) };
        Some(Self { root: named(root)?, entry_bytes })
    }

    /// The address of the table with this signature.
    pub fn table(&self, memory: &impl Physical, signature: [u8; 4]) -> Option<u64> {
        let end = end_of(self.root, memory)?;
        let mut at = self.root + HEADER;
        while at + self.entry_bytes <= end {
            let table = if self.entry_bytes == 8 { memory.u64(at)? } else { memory.u32(at)?.into() };
            if named(table).and_then(|table| memory.read(table)) == Some(signature) {
                return Some(table);
            }
            at += self.entry_bytes;
        }
        None
    }

    /// What switches the machine off: a write of the value of the sleep state S5 (4.8.3.2, 7.4.2).
    pub fn power_off(&self, memory: &impl Physical) -> Option<Ending> {
        let (fadt, dsdt) = self.descriptions(memory)?;
        let sleep_type = sleep_type(dsdt, memory)? & 7;
        if memory.u32(fadt + FLAGS)? & HARDWARE_REDUCED != 0 {
            return byte_to(fadt + SLEEP_CONTROL, REDUCED_SLEEP_ENABLE | sleep_type << 2, memory);
        }
        let port = u16::try_from(memory.u32(fadt + POWER_CONTROL)?).ok().filter(|&port| port != 0)?;
        Some(Ending::Word { port, value: SLEEP_ENABLE | u16::from(sleep_type) << 10 })
    }

    /// What resets the machine (4.8.3.6).
    pub fn reset(&self, memory: &impl Physical) -> Option<Ending> {
        let fadt = self.table(memory, *b"FACP")?;
        if end_of(fadt, memory)? <= fadt + RESET_VALUE || memory.u32(fadt + FLAGS)? & RESET_SUPPORTED == 0 {
            return None;
        }
        let [value] = memory.read(fadt + RESET_VALUE)?;
        byte_to(fadt + RESET_REGISTER, value, memory)
    }

    /// Where PCI's configuration space is mapped, on a machine that says so by the method `_CBA` (PCI firmware specification 3.0, 4.1.3):
    /// its name, no arguments, a return opcode, and the address as a word of 32 or 64 bits. QEMU's microvm has no table for it.
    pub fn configuration_space(&self, memory: &impl Physical) -> Option<u64> {
        let (_, dsdt) = self.descriptions(memory)?;
        let method = find(dsdt, *b"_CBA\x00\xa4", memory)? + 6;
        match memory.read(method)? {
            [0x0c] => memory.u32(method + 1).map(u64::from),
            [0x0e] => memory.u64(method + 1),
            _ => None,
        }
    }

    /// The fixed description table, and the one in which the system's AML begins.
    fn descriptions(&self, memory: &impl Physical) -> Option<(u64, u64)> {
        let fadt = self.table(memory, *b"FACP")?;
        let dsdt = match memory.u32(fadt + DSDT)? {
            0 => memory.u64(fadt + WIDE_DSDT)?,
            dsdt => dsdt.into(),
        };
        Some((fadt, named(dsdt)?))
    }
}

/// An address that something names: neither 0, which means none, nor one that no processor has.
fn named(address: u64) -> Option<u64> {
    (1..PHYSICAL_END).contains(&address).then_some(address)
}

fn end_of(table: u64, memory: &impl Physical) -> Option<u64> {
    let length = u64::from(memory.u32(table + 4)?);
    (HEADER..=MAX_TABLE).contains(&length).then_some(table + length)
}

/// A write to the register of a generic address (5.2.3.2): its space in the first byte, 0 for memory and 1 for ports, the address from the
/// fifth on.
fn byte_to(generic_address: u64, value: u8, memory: &impl Physical) -> Option<Ending> {
    let address = memory.u64(generic_address + 4)?;
    match memory.read(generic_address)? {
        [0] => memory.read::<1>(address).map(|_| Ending::Memory { address, value }),
        [1] => Some(Ending::Byte { port: u16::try_from(address).ok()?, value }),
        _ => None,
    }
}

/// Where these bytes begin in a table of AML.
fn find<const N: usize>(table: u64, bytes: [u8; N], memory: &impl Physical) -> Option<u64> {
    let end = end_of(table, memory)?;
    (table + HEADER..end.saturating_sub(N as u64)).find(|&at| memory.read(at) == Some(bytes))
}

/// The first element of the package `_S5_`: name, package opcode 0x12, length, count, then a byte with or without its prefix 0x0a.
fn sleep_type(dsdt: u64, memory: &impl Physical) -> Option<u8> {
    let at = find(dsdt, *b"_S5_\x12", memory)?;
    let [length] = memory.read(at + 5)?;
    let element = at + 5 + u64::from(length >> 6) + 2;
    match memory.read(element)? {
        [0x0a, value] => Some(value),
        [value, _] => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Readable memory from 0 on; the root pointer is at [`RSDP`].
    struct Bytes(Vec<u8>);

    const RSDP: u64 = 0x10;
    const FADT: usize = 0x100;
    const REGISTER: u64 = 0x300;

    impl Physical for Bytes {
        fn read<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
            let at = usize::try_from(at).ok()?;
            self.0.get(at..at.checked_add(N)?)?.try_into().ok()
        }
    }

    impl Bytes {
        fn put(&mut self, at: usize, bytes: &[u8]) {
            let end = at + bytes.len();
            self.0.resize(self.0.len().max(end), 0);
            self.0[at..end].copy_from_slice(bytes);
        }

        fn table(&mut self, at: usize, signature: &[u8; 4], content: &[u8]) {
            self.put(at, signature);
            self.put(at + 4, &(HEADER as u32 + content.len() as u32).to_le_bytes());
            self.put(at + HEADER as usize, content);
        }

        fn acpi(&self) -> Acpi {
            Acpi::find(RSDP, self).expect("a root pointer")
        }
    }

    /// A machine whose tables say this of it, and this in AML; the root table has entries of 32 or of 64 bits.
    fn machine(flags: u32, aml: &[u8], wide: bool) -> Bytes {
        let mut bytes = Bytes(Vec::new());
        bytes.put(RSDP as usize, b"RSD PTR ");
        bytes.put(RSDP as usize + 15, &[if wide { 2 } else { 0 }]);
        bytes.put(
            RSDP as usize + if wide { 24 } else { 16 },
            &0x80u64.to_le_bytes()[..if wide { 8 } else { 4 }],
        );
        let entries: Vec<u8> = [0x280u64, FADT as u64]
            .iter()
            .flat_map(|table| table.to_le_bytes()[..if wide { 8 } else { 4 }].to_vec())
            .collect();
        bytes.table(0x80, b"RSDT", &entries);
        bytes.table(FADT, b"FACP", &[0; 220]);
        bytes.put(FADT + 64, &0x604u32.to_le_bytes());
        bytes.put(FADT + 112, &flags.to_le_bytes());
        bytes.put(FADT + 116, &[1, 8, 0, 1, 0xf9, 0x0c]);
        bytes.put(FADT + 128, &[0x0f]);
        bytes.put(FADT + if wide { 140 } else { 40 }, &0x200u32.to_le_bytes());
        bytes.put(FADT + 244, &[0, 8, 0, 0]);
        bytes.put(FADT + 248, &REGISTER.to_le_bytes());
        bytes.table(0x200, b"DSDT", &[aml, b"\0\0\0\0\0\0\0\0\0\0"].concat());
        bytes.table(0x280, b"APIC", &[0; 8]);
        bytes.put(REGISTER as usize, &[0]);
        bytes
    }

    /// QEMU's q35 and microvm in their own bytes.
    const S5: &[u8] = b"\x08_S5_\x12\x06\x04\x00\x00\x00\x00";
    const S5_PREFIXED: &[u8] = b"\x08_S5_\x12\x07\x04\x0a\x05\x0a\x05";
    const CBA: &[u8] = b"\x14\x0c_CBA\x00\xa4\x0c\x00\x00\x00\xe0\x08_S5_\x12\x07\x04\x0a\x05\x0a\x05";

    #[test]
    fn a_pc_is_switched_off_by_its_power_register_with_the_value_that_aml_names() {
        for (aml, value) in [(S5, 0x2000), (S5_PREFIXED, 0x2000 | 5 << 10)] {
            for wide in [false, true] {
                let bytes = machine(0, aml, wide);
                let off = bytes.acpi().power_off(&bytes);
                assert_eq!(off, Some(Ending::Word { port: 0x604, value }));
            }
        }
    }

    #[test]
    fn a_machine_without_the_fixed_hardware_is_switched_off_by_a_register_in_memory_or_a_port() {
        let mut bytes = machine(HARDWARE_REDUCED, CBA, true);
        let off = bytes.acpi().power_off(&bytes);
        assert_eq!(off, Some(Ending::Memory { address: REGISTER, value: 0x20 | 5 << 2 }));
        assert_eq!(bytes.acpi().configuration_space(&bytes), Some(0xe000_0000));
        bytes.put(FADT + 244, &[1]);
        let off = bytes.acpi().power_off(&bytes);
        assert_eq!(off, Some(Ending::Byte { port: REGISTER as u16, value: 0x20 | 5 << 2 }));
        bytes.put(FADT + 244, &[0]);
        bytes.put(FADT + 248, &(1u64 << 40).to_le_bytes());
        assert_eq!(bytes.acpi().power_off(&bytes), None, "a register that cannot be reached");
    }

    #[test]
    fn only_a_machine_that_says_so_is_reset_by_its_register() {
        let bytes = machine(RESET_SUPPORTED, S5, true);
        assert_eq!(bytes.acpi().reset(&bytes), Some(Ending::Byte { port: 0xcf9, value: 0x0f }));
        let bytes = machine(0, S5, true);
        assert_eq!(bytes.acpi().reset(&bytes), None);
        let mut old = machine(RESET_SUPPORTED, S5, true);
        old.put(FADT + 4, &116u32.to_le_bytes());
        assert_eq!(old.acpi().reset(&old), None, "a table from before there was such a register");
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let bytes = machine(0, b"nothing", true);
        let acpi = bytes.acpi();
        assert_eq!((acpi.power_off(&bytes), acpi.configuration_space(&bytes)), (None, None));
        assert_eq!((acpi.table(&bytes, *b"APIC"), acpi.table(&bytes, *b"DMAR")), (Some(0x280), None));
        assert_eq!([0, 8, u64::MAX - 3].map(|rsdp| Acpi::find(rsdp, &bytes)), [None; 3]);
    }

    #[test]
    fn whatever_byte_is_wrong_the_reading_ends_and_names_nothing_that_cannot_be_reached() {
        let good = machine(HARDWARE_REDUCED | RESET_SUPPORTED, CBA, true);
        let look = |bytes: &Bytes| {
            let Some(acpi) = Acpi::find(RSDP, bytes) else { return };
            let _ = acpi.configuration_space(bytes);
            for ending in [acpi.power_off(bytes), acpi.reset(bytes)] {
                if let Some(Ending::Memory { address, .. }) = ending {
                    assert!((address as usize) < bytes.0.len());
                }
            }
        };
        for at in 0..good.0.len() {
            for value in [0, 1, 4, 0x0c, 0x7f, 0xff] {
                let mut bytes = Bytes(good.0.clone());
                bytes.0[at] = value;
                look(&bytes);
            }
            look(&Bytes(good.0[..at].to_vec()));
        }
    }
}
