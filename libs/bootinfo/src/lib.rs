//! What the boot loader left: memory, the boot archive, ACPI's root; what ACPI's tables say ([`acpi`]), and that of IOMMUs ([`dmar`]).
//!
//! PVH and Multiboot2 say the same in different forms. [`StartInfo`] is what remains of either, so nothing above knows who loaded the
//! kernel. Everything but the archive is copied, since it may lie in memory that is zeroed next. The message is input from outside: no
//! count, length or address in it is followed before it was checked, and what does not fit ends in a [`LoaderError`].
//!
//! Memory is reached through [`Physical`] alone, so the tests hand in messages as bytes. What nobody says, the frequency of the counters, is
//! measured ([`calibrate`]).
#![no_std]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

#[cfg(test)]
extern crate std;

pub mod acpi;
pub mod calibrate;
pub mod dmar;
mod multiboot2;
mod pvh;
#[cfg(test)]
mod tests;

use core::fmt;
use core::ops::Range;

const PAGE_BYTES: u64 = 4096;

/// What the boot code passes as the protocol when it was entered by the PVH note.
pub const PVH: u32 = 0;
/// What EAX holds when a Multiboot2 loader jumps to the kernel.
pub const MULTIBOOT2: u32 = 0x36d7_6289;
/// Ranges of RAM that are kept; a BIOS reports two or three, UEFI a dozen.
pub const MAX_RAM: usize = 64;
/// The kind of RAM that anybody may use, in both protocols (ACPI 6.5, table 15.4).
const RAM: u32 = 1;

/// No processor of this architecture has addresses from here on (52 bits; Intel SDM volume 3A, 4.1.4).
const PHYSICAL_END: u64 = 1 << 52;

/// Physical memory as the parsers see it.
pub trait Physical {
    /// The bytes at this address, or `None` where there are not that many to be read.
    fn read<const N: usize>(&self, at: u64) -> Option<[u8; N]>;

    /// A little-endian word of 32 bits.
    fn u32(&self, at: u64) -> Option<u32> {
        self.read(at).map(u32::from_le_bytes)
    }

    /// A little-endian word of 64 bits.
    fn u64(&self, at: u64) -> Option<u64> {
        self.read(at).map(u64::from_le_bytes)
    }
}

/// Why the loader's message cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoaderError {
    /// No protocol leaves this mark.
    Protocol(u32),
    /// There is no message at this address: not readable, not aligned, or not what its protocol says.
    Message(u64),
    /// A Multiboot2 message states this length.
    Length(u32),
    /// A tag of Multiboot2 is too short for its kind or longer than the message.
    Tag {
        /// Its kind.
        kind: u32,
        /// Its offset in the message.
        offset: u32,
    },
    /// The message ends without its last tag.
    NoEnd,
    /// It says nothing about memory.
    NoMemoryMap,
    /// This range of RAM overlaps one before it.
    MemoryTwice {
        /// Its first byte.
        start: u64,
        /// The byte after its last one.
        end: u64,
    },
    /// It names no module, so there is no boot archive.
    NoArchive,
    /// The boot archive, these bytes, is not in RAM, or lies over the kernel.
    ArchivePlace {
        /// Its first byte.
        start: u64,
        /// The byte after its last one.
        end: u64,
    },
}

impl core::error::Error for LoaderError {}

impl fmt::Display for LoaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Protocol(mark) => {
                write!(f, "the loader speaks neither PVH nor Multiboot2 (EAX {mark:#x})")
            }
            Self::Message(at) => write!(f, "the loader left no valid message at {at:#x}"),
            Self::Length(bytes) => write!(f, "the Multiboot2 message cannot have {bytes} bytes"),
            Self::Tag { kind, offset } => {
                write!(f, "tag {kind} at {offset:#x} of the Multiboot2 message is malformed")
            }
            Self::NoEnd => f.write_str("the Multiboot2 message has no end"),
            Self::NoMemoryMap => f.write_str("the loader does not say where memory is"),
            Self::MemoryTwice { start, end } => {
                write!(f, "the loader's memory map names {start:#x}..{end:#x} twice")
            }
            Self::NoArchive => f.write_str(
                "the loader brought no boot archive; name it with -initrd (QEMU) or module2 (GRUB)",
            ),
            Self::ArchivePlace { start, end } => {
                write!(f, "the boot archive at {start:#x}..{end:#x} is not in RAM, or over the kernel")
            }
        }
    }
}

/// The loader's message, copied.
#[derive(Debug)]
pub struct StartInfo {
    /// RAM as reported, not aligned; the rest is empty.
    pub ram: [Range<u64>; MAX_RAM],
    ranges: usize,
    /// The first module, where the loader put it.
    pub archive: Range<u64>,
    /// ACPI's root pointer, or 0.
    pub rsdp: u64,
}

impl StartInfo {
    /// Reads the message at `at` in the form of `protocol`; `kernel` is the memory that no archive can be in.
    ///
    /// # Errors
    /// The first [`LoaderError`].
    pub fn read(
        protocol: u32,
        at: u64,
        memory: &impl Physical,
        kernel: &Range<u64>,
    ) -> Result<Self, LoaderError> {
        let mut info = Self { ram: [const { 0..0 }; MAX_RAM], ranges: 0, archive: 0..0, rsdp: 0 };
        match protocol {
            PVH => pvh::read(at, memory, &mut info)?,
            MULTIBOOT2 => multiboot2::read(at, memory, &mut info)?,
            mark => return Err(LoaderError::Protocol(mark)),
        }
        info.check(kernel)?;
        Ok(info)
    }

    /// Notes an entry of the memory map. Ranges beyond the last slot are memory that stays unused.
    fn add(&mut self, start: u64, bytes: u64, kind: u32) -> Result<(), LoaderError> {
        let end = start.saturating_add(bytes);
        if kind != RAM || start == end {
            return Ok(());
        }
        // A frame that is free twice would have two owners.
        if self.ram.iter().any(|ram| ram.start < end && start < ram.end) {
            return Err(LoaderError::MemoryTwice { start, end });
        }
        if let Some(slot) = self.ram.get_mut(self.ranges) {
            *slot = start..end;
            self.ranges += 1;
        }
        Ok(())
    }

    fn check(&self, kernel: &Range<u64>) -> Result<(), LoaderError> {
        let Range { start, end } = self.archive;
        if self.ranges == 0 {
            return Err(LoaderError::NoMemoryMap);
        }
        if start == end {
            return Err(LoaderError::NoArchive);
        }
        let over_kernel = start < kernel.end && kernel.start < end;
        if start > end || end > PHYSICAL_END || over_kernel || !self.is_ram(start, end) {
            return Err(LoaderError::ArchivePlace { start, end });
        }
        Ok(())
    }

    /// Whether all of this lies in RAM, which may be reported in pieces.
    fn is_ram(&self, mut start: u64, end: u64) -> bool {
        while start < end {
            match self.ram.iter().find(|ram| ram.contains(&start)) {
                Some(ram) => start = ram.end,
                None => return false,
            }
        }
        true
    }

    /// The pages that hold the boot archive.
    #[must_use]
    pub fn archive_pages(&self) -> Range<u64> {
        (self.archive.start & !(PAGE_BYTES - 1))..self.archive.end.next_multiple_of(PAGE_BYTES)
    }
}
