//! Shared memory that this program holds a capability on.

use hic_abi::{Error, Handle, Rights, SELF};

/// Lets a device reach a region by DMA, for reading and writing, or finds that it does. It needs MANAGE on the device.
///
/// # Errors
/// See [`hic_abi::syscall::Syscall::RegionMap`].
pub fn map_for_dma(device: Handle, region: Handle) -> Result<(), Error> {
    match crate::sys::region_map(device, region, Rights::READ | Rights::WRITE) {
        Ok(_) | Err(Error::Mapped) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A region mapped into this program.
#[derive(Clone, Copy, Debug)]
pub struct Mapped {
    /// The capability.
    pub slot: Handle,
    /// Its address.
    pub address: u64,
    /// Its bytes.
    pub bytes: u64,
}

impl Mapped {
    /// Maps the region in a slot for reading and writing, or finds it mapped.
    ///
    /// # Errors
    /// See [`hic_abi::syscall::Syscall::RegionMap`].
    pub fn map(slot: Handle, rights: Rights) -> Result<Self, Error> {
        let (address, bytes) = crate::sys::region_info(slot)?;
        match crate::sys::region_map(SELF, slot, rights) {
            Ok(_) | Err(Error::Mapped) => Ok(Self { slot, address, bytes }),
            Err(error) => Err(error),
        }
    }

    /// Its first byte. Whoever else maps the region may change its bytes at any time: read and write through raw pointers, atomics or
    /// volatile access, and check what was copied.
    #[must_use]
    pub fn pointer(&self) -> *mut u8 {
        self.address as *mut u8
    }

    /// Unmaps it and deletes the capability.
    pub fn discard(self) {
        crate::cap::drop_slot(self.slot);
    }
}
