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

/// A page that both map; all zero at first.
pub struct Board {
    /// Physical addresses, by target.
    pub addresses: [AtomicU64; Target::ALL.len()],
    /// First word that the device had after it was told to read the target.
    pub seen: [AtomicU64; Target::ALL.len()],
    /// 1 = do not write to the kernel: nothing would stop it.
    pub spare_kernel: AtomicU64,
}
