//! What a disk does.

use core::fmt;

/// Bytes of a sector; virtio counts in these whatever the disk's own blocks are (virtio 1.2, 5.2.4).
pub const SECTOR_BYTES: usize = 512;

/// Why a transfer was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// The sector lies beyond the end of the disk: what names it is damaged.
    Outside {
        /// Its number.
        sector: u64,
    },
    /// The disk cannot be written.
    ReadOnly,
    /// The disk reports an error.
    Failed,
    /// More was read than any whole file system asks for: a chain of clusters is a circle.
    Endless,
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside { sector } => write!(f, "sector {sector} lies beyond the end of the disk"),
            Self::ReadOnly => f.write_str("the disk cannot be written"),
            Self::Failed => f.write_str("the disk reports an error"),
            Self::Endless => f.write_str("the file system has no end"),
        }
    }
}

impl core::error::Error for DiskError {}

/// A disk. Transfers are whole sectors, at least one and at most [`crate::cache::CHUNK_SECTORS`].
pub trait Disk {
    /// Sectors of the disk.
    fn sectors(&self) -> u64;

    /// Reads sectors from number `first` on.
    ///
    /// # Errors
    /// [`DiskError`].
    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<(), DiskError>;

    /// Writes sectors from number `first` on. They may stay in the disk's own cache until [`Self::flush`].
    ///
    /// # Errors
    /// [`DiskError`].
    fn write(&mut self, first: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Returns once all that was written outlives power.
    ///
    /// # Errors
    /// [`DiskError`].
    fn flush(&mut self) -> Result<(), DiskError>;
}
