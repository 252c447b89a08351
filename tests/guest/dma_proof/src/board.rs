//! What the director and the driver share: targets, and what the device saw there.

use core::sync::atomic::AtomicU64;

/// What the device is told to reach, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The driver's own region, mapped in the device.
    Mapped = 0,
    /// The driver's own region, mapped in the device and used, and unmapped again.
    Unmapped = 1,
    /// The driver's own region, never mapped in the device.
    Own = 2,
    /// Kernel code.
    Kernel = 3,
    /// The memory of another sandbox.
    Victim = 4,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Mapped, Self::Unmapped, Self::Own, Self::Kernel, Self::Victim];

    /// Its name in a report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mapped => "its mapped region",
            Self::Unmapped => "its unmapped region",
            Self::Own => "its other region",
            Self::Kernel => "the kernel",
            Self::Victim => "another sandbox",
        }
    }

    /// What the director puts there; of the kernel nobody but the kernel knows.
    pub const fn secret(self) -> u64 {
        0x5ec2_e700_5ec2_e700 + self as u64
    }

    /// What the device is told to write there.
    pub const fn pattern(self) -> u64 {
        0xbad0_da7a_bad0_da70 + self as u64
    }
}

/// What the device's buffer holds before it reads a target.
pub const BLANK: u64 = 0xb1a2_b1a2_b1a2_b1a2;

/// How the device is told to raise an interrupt that is not its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// In the form that names an entry of the table of interrupts, one that is nobody's; a machine that does not remap reads the vector in it.
    NobodysEntry = 0,
    /// The vector itself, in the format of before remapping.
    OldFormat = 1,
    /// The entry of another device.
    AnothersEntry = 2,
    /// A non-maskable interrupt, in the form of the first.
    NonMaskable = 3,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::NobodysEntry, Self::OldFormat, Self::AnothersEntry, Self::NonMaskable];

    /// What is written, and where: the local APIC's address, and what names an entry (VT-d specification, 5.1.2.2). Where interrupts are not
    /// remapped, the bits of the entry's number are those of the destination: everybody, since QEMU takes the first page for registers.
    pub const fn message(self, remapped: bool) -> (u64, u32) {
        const LOCAL_APIC: u64 = 0xfee0_0000;
        const NAMES_ENTRY: u64 = 1 << 4;
        const EVERYBODY: u64 = 0xff << 12;
        match self {
            Self::NobodysEntry if remapped => (LOCAL_APIC | NAMES_ENTRY, FOREIGN_VECTOR),
            Self::NobodysEntry => (LOCAL_APIC | NAMES_ENTRY | EVERYBODY, FOREIGN_VECTOR),
            Self::OldFormat => (LOCAL_APIC, FOREIGN_VECTOR),
            Self::AnothersEntry => (LOCAL_APIC | NAMES_ENTRY | (FOREIGN_VECTOR as u64) << 5, 0),
            Self::NonMaskable => (LOCAL_APIC | NAMES_ENTRY, 4 << 8),
        }
    }

    /// Whether it can be tried where nothing stops it: the last would end the system, and the one before means nothing there.
    pub const fn is_harmless(self) -> bool {
        matches!(self, Self::NobodysEntry | Self::OldFormat)
    }
}

/// The first vector that the kernel gives away, at boot: to the second serial line, [`FOREIGN_LINE`]. The control shows that it is.
const FOREIGN_VECTOR: u32 = 0x30;
/// The ISA line of the interrupt that is raised.
pub const FOREIGN_LINE: u64 = 3;

/// A page that both map; all zero at first.
pub struct Board {
    /// Physical addresses, by target.
    pub addresses: [AtomicU64; Target::ALL.len()],
    /// First word that the device had after it was told to read the target.
    pub seen: [AtomicU64; Target::ALL.len()],
    /// Interrupts of the other line that arrived, by signal.
    pub raised: [AtomicU64; Signal::ALL.len()],
    /// 1 = do not write to the kernel: nothing would stop it.
    pub spare_kernel: AtomicU64,
    /// 1 = only signals that are harmless where nothing stops them.
    pub spare_processor: AtomicU64,
}
