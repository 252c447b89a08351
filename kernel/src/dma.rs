//! What a device reaches by DMA: *a device maps regions as a sandbox does*.
//!
//! Who holds a device with MANAGE maps regions of its own into it, each at its physical address, with no more rights than its capability
//! on the region has, and read-only where the region is sealed. The mapping ends with the last such capability or that device, as one in a sandbox
//! would. With an IOMMU a device reaches what is mapped in it and nothing else, from before the first driver runs. Without one the same
//! calls are bookkeeping, of which one promise is left: before memory goes that a device may still know, the device leaves the bus.

use crate::caps::Cap;
use crate::config::EFFORT;
use crate::iommu::{Iommu, PRESENT, Tables, domain};
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::memory::is_memory;
use crate::objects::{Device, Space};
use crate::paging::DMA_TABLE;
use hic_abi::{Error, Rights};

impl<M: Machine> Kernel<M> {
    /// Takes all of memory and all interrupts away from devices, at boot, and says how far that was possible. `io_apic` is the source of the
    /// I/O APIC's interrupts; `None` where the platform does not let interrupts be remapped.
    pub(crate) fn confine_devices(&mut self, root: u32, units: &[u64], io_apic: Option<u16>) {
        let text: &[u8] = match (units.is_empty(), self.start_iommu(root, units, io_apic), self.remaps()) {
            (_, Some(()), true) => b"IOMMU: devices reach what is theirs, raise what is theirs",
            (_, Some(()), false) => b"IOMMU: devices reach what is theirs, raise any interrupt",
            (false, None, _) => b"unknown IOMMU: devices reach all memory, raise any interrupt",
            (true, None, _) => b"no IOMMU: devices reach all memory, raise any interrupt",
        };
        self.log_line("core-0", text);
    }

    /// Each device has a domain of its own and, for good, a top-level table in which nothing is mapped yet.
    fn start_iommu(&mut self, account: u32, units: &[u64], io_apic: Option<u16>) -> Option<()> {
        units.first()?;
        let mut iommu = Iommu::find(&mut self.machine, units)?;
        let (root, contexts) = (self.kernel_frame(account)?, self.kernel_frame(account)?);
        self.machine.write_u64(root, contexts | PRESENT);
        for index in 0..self.devices.touched() {
            let table = self.kernel_frame(account)?;
            let mut top = table;
            if iommu.levels == 4 {
                top = self.kernel_frame(account)?;
                self.machine.write_u64(top, table | DMA_TABLE);
            }
            let entry = contexts + 16 * u64::from(self.devices[index].function & 0xff);
            self.machine.write_u64(entry + 8, u64::from(domain(index)) << 8 | (iommu.levels - 2));
            self.machine.write_u64(entry, top | PRESENT);
            self.devices[index].dma_table = table;
        }
        let mut tables = Tables { root, queue: self.kernel_frame(account)?, interrupts: 0 };
        if let Some(source) = io_apic.filter(|_| iommu.remaps) {
            (tables.interrupts, self.io_apic) = (self.kernel_frame(account)?, source);
        }
        iommu.start(&mut self.machine, tables);
        (self.iommu, self.unread) = (Some(iommu), true);
        Some(())
    }

    /// What a device reaches is charged to the account of whoever maps it; one account at a time pays for a device.
    pub(crate) fn pay_for_reach(&mut self, device: u32, holder: u32) -> Result<(), Error> {
        let payer = self.sandboxes[holder].header.account;
        let Device { mappings, payer: pays, .. } = &mut self.devices[device];
        if !mappings.is_empty() && *pays != payer {
            return Err(Error::Busy);
        }
        *pays = payer;
        Ok(())
    }

    /// Takes a mapping away that nobody gave up. Without an IOMMU a device is taken off the bus first: nobody told it to stop.
    pub(crate) fn withdraw(&mut self, mapping: u32) {
        if let Space::Device(device) = self.mappings[mapping].space
            && self.iommu.is_none()
        {
            self.set_master(device, false);
        }
        self.end_mapping(mapping);
    }

    /// A sandbox loses the capability in this place: mappings that hang on it end. Whether all have; one entry does [`EFFORT`] of it.
    #[inline(never)]
    pub(crate) fn unmap_lost(&mut self, lost: Cap, place: u32, heir: Option<u32>) -> bool {
        if is_memory(lost.object.kind) {
            self.unmap_unheld(lost, place, heir)
        } else {
            self.unmap_unmanaged(lost, place)
        }
    }

    /// What a sandbox mapped into a device stays while it holds that device with MANAGE.
    #[cold]
    fn unmap_unmanaged(&mut self, lost: Cap, place: u32) -> bool {
        let device = lost.object.id.index;
        let mut at = self.devices[device].mappings.first();
        if at.is_none() || !self.hangs_on(lost, place, Rights::MANAGE) {
            return true;
        }
        while let Some(mapping) = at {
            if self.effort >= EFFORT {
                return false;
            }
            at = self.devices[device].mappings.after(&self.mappings, mapping);
            if self.mappings[mapping].holder == lost.owner {
                self.withdraw(mapping);
            }
        }
        true
    }
}
