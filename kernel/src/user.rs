//! The window on user memory: every byte that the kernel reads from or writes to a sandbox goes through here.
//!
//! A user address is the region's physical address plus a constant, so the kernel checks the page tables and then uses its own map; a
//! wild pointer is an error of the caller and never a fault of the kernel. Everything is copied once, then checked.

use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::paging::Paging;
use hic_abi::{Error, PAGE_SIZE, Plain, USER_BASE};

impl<M: Machine> Kernel<M> {
    /// Checks that a sandbox may read (or write) this range; its physical address.
    ///
    /// # Errors
    /// [`Error::BadAddress`].
    pub(crate) fn user_range(
        &self,
        sandbox: u32,
        address: u64,
        bytes: u64,
        write: bool,
    ) -> Result<u64, Error> {
        let end = address.checked_add(bytes).ok_or(Error::BadAddress)?;
        if address < USER_BASE || end > 2 * USER_BASE - 1 {
            return Err(Error::BadAddress);
        }
        let root = self.sandboxes[sandbox].root;
        let mut page = address & !(PAGE_SIZE - 1);
        while page < end.max(address + 1) {
            if !Paging::<M>::allows(&self.machine, root, page, write) {
                return Err(Error::BadAddress);
            }
            page += PAGE_SIZE;
        }
        Ok(address - USER_BASE)
    }

    /// Copies bytes from a sandbox.
    pub(crate) fn copy_in(&mut self, sandbox: u32, address: u64, out: &mut [u8]) -> Result<(), Error> {
        let physical = self.user_range(sandbox, address, out.len() as u64, false)?;
        self.machine.read(physical, out);
        Ok(())
    }

    /// Copies bytes to a sandbox.
    pub(crate) fn copy_out(&mut self, sandbox: u32, address: u64, bytes: &[u8]) -> Result<(), Error> {
        let physical = self.user_range(sandbox, address, bytes.len() as u64, true)?;
        self.machine.write(physical, bytes);
        Ok(())
    }

    /// Copies a value from the caller.
    pub(crate) fn read_user<T: Plain>(&mut self, address: u64) -> Result<T, Error> {
        let mut value = T::zeroed();
        let sandbox = self.caller();
        self.copy_in(sandbox, address, value.as_bytes_mut())?;
        Ok(value)
    }

    /// Copies a value to the caller.
    pub(crate) fn write_user<T: Plain>(&mut self, address: u64, value: &T) -> Result<(), Error> {
        let sandbox = self.caller();
        self.copy_out(sandbox, address, value.as_bytes())
    }
}
