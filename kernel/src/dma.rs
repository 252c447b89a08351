//! What a device reaches by DMA: *a device maps regions as a sandbox does*.
//!
//! Who holds a device with MANAGE maps regions of its own into it, each at its physical address, with no more rights than its capability
//! on the region has, and read-only where the region is sealed. The mapping ends with that capability or that device, as one in a sandbox
//! would. With an IOMMU a device reaches what is mapped in it and nothing else, from before the first driver runs. Without one the same
//! calls are bookkeeping, of which one promise is left: before memory goes that a device may still know, the device leaves the bus.

use crate::audit::Entry;
use crate::caps::Cap;
use crate::config::EFFORT;
use crate::iommu::{DmaFault, Iommu, PRESENT};
use crate::kernel::Kernel;
use crate::log::Text;
use crate::machine::Machine;
use crate::memory::is_memory;
use crate::objects::{Device, ObjectRef, Space};
use crate::paging::{DMA_TABLE, Layout, Paging};
use core::fmt::Write;
use hic_abi::audit::Event;
use hic_abi::{Error, Handle, ObjectType, Rights, name_bytes};

/// Faults that one interrupt reports: each takes a device off the bus, so more can only be those of functions that nobody drives.
const FAULTS_AT_ONCE: usize = 64;

/// The IOMMU's number for what a device reaches; 0 is reserved (VT-d 9.3).
const fn domain(device: u32) -> u16 {
    device as u16 + 1
}

impl<M: Machine> Kernel<M> {
    /// Takes all of memory away from devices, at boot, and says whether that was possible.
    pub(crate) fn confine_devices(&mut self, root: u32, units: &[u64]) {
        let text: &[u8] = match (units.is_empty(), self.start_iommu(root, units)) {
            (_, Some(())) => b"IOMMU: a device reaches what its driver maps into it, and nothing else",
            (false, None) => {
                b"an IOMMU that Core-0 cannot drive: a device reaches all memory, its driver is trusted"
            }
            (true, None) => b"no IOMMU: a device reaches all memory, its driver is trusted",
        };
        self.log_line("core-0", text);
    }

    /// Each device has a domain of its own and, for good, a top-level table in which nothing is mapped yet.
    fn start_iommu(&mut self, account: u32, units: &[u64]) -> Option<()> {
        units.first()?;
        let iommu = Iommu::find(&mut self.machine, units)?;
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
        iommu.start(&mut self.machine, root);
        self.iommu = Some(iommu);
        Some(())
    }

    /// Where a region can be mapped: a sandbox, or a device.
    pub(crate) fn mappable(&self, space: Handle) -> Result<Space, Error> {
        match self.space(space) {
            Err(Error::WrongType) => {
                self.object(space, ObjectType::Device, Rights::MANAGE).map(Space::Device)
            }
            sandbox => sandbox.map(Space::Sandbox),
        }
    }

    /// Lets a device reach pages. Its tables are charged to the holder's account; one account at a time pays for a device.
    #[cold]
    pub(crate) fn map_for_dma(
        &mut self,
        device: u32,
        holder: u32,
        base: u64,
        pages: u64,
        layout: &impl Layout,
    ) -> Result<(), Error> {
        let payer = self.sandboxes[holder].header.account;
        if !self.devices[device].mappings.is_empty() && self.devices[device].payer != payer {
            return Err(Error::Busy);
        }
        self.devices[device].payer = payer;
        self.change_reach(device, |tables| tables.map(base, pages, layout)).unwrap_or(Ok(()))
    }

    /// A device reaches these pages no more, when this returns.
    #[cold]
    pub(crate) fn unmap_for_dma(&mut self, device: u32, base: u64, pages: u64) {
        self.change_reach(device, |tables| tables.unmap(base, pages));
    }

    /// Changes a device's tables, where there are any. Tables that are freed on the way are nobody's until the IOMMU has forgotten them.
    fn change_reach<T>(
        &mut self,
        device: u32,
        change: impl FnOnce(&mut Paging<'_, M, true>) -> T,
    ) -> Option<T> {
        let iommu = self.iommu.as_ref()?;
        let Device { dma_table: root, payer, .. } = self.devices[device];
        let account = &mut self.accounts[payer];
        let (machine, frames) = (&mut self.machine, &mut self.frames);
        let changed = change(&mut Paging { machine, frames, account, root, active: false });
        iommu.forget(&mut self.machine, domain(device));
        Some(changed)
    }

    /// Takes a mapping away that nobody gave up. Without an IOMMU a device is taken off the bus first: nobody told it to stop.
    pub(crate) fn withdraw(&mut self, mapping: u32) {
        if let Space::Device(device) = self.mappings[mapping].space
            && self.iommu.is_none()
        {
            self.set_master(device, false);
        }
        self.unmap(mapping);
    }

    /// A sandbox loses the capability in this place: mappings that hang on it end. Whether all have; one entry does [`EFFORT`] of it.
    #[inline(never)]
    pub(crate) fn unmap_lost(&mut self, loser: u32, object: ObjectRef, place: u32) -> bool {
        if is_memory(object.kind) {
            self.unmap_unheld(loser, object.id.index, place)
        } else {
            object.kind != ObjectType::Device || self.unmap_unmanaged(loser, object, place)
        }
    }

    /// What a sandbox mapped into a device stays while it holds that device with MANAGE.
    #[cold]
    fn unmap_unmanaged(&mut self, loser: u32, device: ObjectRef, place: u32) -> bool {
        let (first, slots) = (self.sandboxes[loser].space, self.sandboxes[loser].slots);
        let manages = |c: &Cap| c.object == device && c.rights.contains(Rights::MANAGE);
        let others = (first..first + slots).filter(|at| *at != place);
        if others.into_iter().any(|at| self.caps.get(at).is_some_and(manages)) {
            return true;
        }
        let mut at = self.devices[device.id.index].mappings.first();
        while let Some(mapping) = at {
            if self.effort >= EFFORT {
                return false;
            }
            at = self.devices[device.id.index].mappings.after(&self.mappings, mapping);
            if self.mappings[mapping].holder == loser {
                self.withdraw(mapping);
            }
        }
        true
    }

    /// The IOMMU refused something.
    #[cold]
    pub(crate) fn dma_faults(&mut self) {
        for _ in 0..FAULTS_AT_ONCE {
            let Some(iommu) = &self.iommu else { return };
            let Some(fault) = iommu.take_fault(&mut self.machine) else { return };
            self.refused_dma(fault);
        }
    }

    /// The device leaves the bus until its driver puts it back, so that it cannot keep the kernel busy with refusals.
    fn refused_dma(&mut self, fault: DmaFault) {
        let DmaFault { source, address, read, reason } = fault;
        self.counters.dma_faults += 1;
        let known = |d: &u32| self.devices.at(*d).is_some_and(|device| device.function == source);
        if let Some(device) = (0..self.devices.touched()).find(known) {
            self.set_master(device, false);
        }
        let verb = if read { "read" } else { "write" };
        let (nanos, event) = (self.machine.now(), Event::DmaRefused);
        let a = u64::from(source) | u64::from(reason) << 16;
        self.audit.append(&Entry { nanos, actor: 0, subject: 0, event, a, b: address }, &name_bytes(verb));
        let mut line = Text::<120>::new();
        let _ =
            write!(line, "IOMMU: device {source:#06x} is off the bus: refused its {verb} at {address:#x}");
        self.log_line("core-0", line.as_bytes());
    }
}
