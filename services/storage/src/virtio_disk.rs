//! The virtio disk as a [`Disk`].

use crate::dma::Dma;
use crate::transport::Registers;
use storage::disk::{Disk, DiskError, SECTOR_BYTES};
use virtio_drivers::device::blk::VirtIOBlk;

/// The disk.
pub struct VirtioDisk(VirtIOBlk<Dma, Registers>);

impl VirtioDisk {
    /// Starts the disk.
    pub fn start(registers: Registers) -> virtio_drivers::Result<Self> {
        VirtIOBlk::new(registers).map(Self)
    }

    /// Whether the machine gave the disk a serial number that `right` takes. One that does not tell has none.
    pub fn serial_is(&mut self, right: impl FnOnce(&[u8]) -> bool) -> bool {
        let mut serial = [0; 20];
        let length = self.0.device_id(&mut serial).unwrap_or(0);
        right(serial.get(..length).unwrap_or_default())
    }

    /// Number of the first sector for the crate, if all `bytes` lie on the disk.
    fn place(&self, first: u64, bytes: usize) -> Result<usize, DiskError> {
        let outside = DiskError::Outside { sector: first };
        let end = first.checked_add((bytes / SECTOR_BYTES) as u64).ok_or(outside)?;
        usize::try_from(first).ok().filter(|_| end <= self.0.capacity()).ok_or(outside)
    }
}

fn failed(_: virtio_drivers::Error) -> DiskError {
    DiskError::Failed
}

impl Disk for VirtioDisk {
    fn sectors(&self) -> u64 {
        self.0.capacity()
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<(), DiskError> {
        let first = self.place(first, out.len())?;
        self.0.read_blocks(first, out).map_err(failed)
    }

    fn write(&mut self, first: u64, bytes: &[u8]) -> Result<(), DiskError> {
        if self.0.readonly() {
            return Err(DiskError::ReadOnly);
        }
        let first = self.place(first, bytes.len())?;
        self.0.write_blocks(first, bytes).map_err(failed)
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        self.0.flush().map_err(failed)
    }
}
