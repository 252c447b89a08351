//! What a device reaches by DMA: *a device maps regions as a sandbox does*.
//!
//! Who holds a device with MANAGE maps regions of its own into it, each at its physical address, with no more rights than its capability
//! on the region has, and read-only where the region is sealed. The mapping ends with that capability or that device, as one in a sandbox
//! would. With an IOMMU a device reaches what is mapped in it and nothing else, from before the first driver runs. Without one the same
//! calls are bookkeeping, of which one promise is left: before memory goes that a device may still know, the device leaves the bus.

use crate::iommu::{DmaFault, Iommu, Unconfined};
use crate::kernel::Kernel;
use crate::log::Text;
use crate::machine::Machine;
use crate::memory::is_memory;
use crate::objects::{ObjectRef, Space};
use crate::paging::{PageKind, Paging};
use core::fmt::Write;
use hic_abi::audit::{Event, Record};
use hic_abi::{Error, Handle, ObjectType, Plain, Rights, name_bytes};

/// Faults that one interrupt reports: each takes a device off the bus, so more can only be those of functions that nobody drives.
const FAULTS_AT_ONCE: usize = 64;

/// The IOMMU's number for what a device reaches; 0 is reserved (VT-d 9.3).
const fn domain(device: u32) -> u16 {
    device as u16 + 1
}

impl<M: Machine> Kernel<M> {
    /// Takes all of memory away from devices, at boot, and says whether that was possible.
    pub(crate) fn confine_devices(&mut self, root: u32, units: &[u64]) {
        let text: &[u8] = match self.start_iommu(root, units) {
            Some(Ok(())) => b"IOMMU: a device reaches what its driver maps into it, and nothing else",
            Some(Err(_)) => {
                b"an IOMMU that Core-0 cannot drive: a device reaches all memory, its driver is trusted"
            }
            None => b"no IOMMU: a device reaches all memory, its driver is trusted",
        };
        self.log_line("core-0", text);
    }

    fn start_iommu(&mut self, root: u32, units: &[u64]) -> Option<Result<(), Unconfined>> {
        units.first()?;
        let tables = [self.kernel_frame(root)?, self.kernel_frame(root)?];
        let started = Iommu::start(&mut self.machine, units, tables);
        Some(started.map(|iommu| self.iommu = Some(iommu)))
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
    pub(crate) fn map_for_dma(
        &mut self,
        device: u32,
        holder: u32,
        base: u64,
        pages: u64,
        kind: impl Fn(u64) -> Option<PageKind>,
    ) -> Result<(), Error> {
        let payer = self.sandboxes[holder].header.account;
        let first = self.devices[device].mappings.is_empty();
        if !first && self.devices[device].payer != payer {
            return Err(Error::Busy);
        }
        self.devices[device].payer = payer;
        if self.iommu.is_none() {
            return Ok(());
        }
        if first {
            self.devices[device].root = self.take_frames(payer, 1)?;
        }
        let mapped = self.dma_paging(device).map(base, pages, kind);
        let (function, root) = (self.devices[device].function, self.devices[device].root);
        match (&self.iommu, mapped) {
            (Some(iommu), Ok(())) if first => {
                iommu.attach(&mut self.machine, function, domain(device), root);
            }
            (Some(iommu), Ok(())) => iommu.grown(&mut self.machine, domain(device)),
            (_, Err(_)) => self.forget_for_dma(device),
            (None, _) => {}
        }
        mapped
    }

    /// A device reaches these pages no more, when this returns.
    pub(crate) fn unmap_for_dma(&mut self, device: u32, base: u64, pages: u64) {
        if self.iommu.is_some() {
            self.dma_paging(device).unmap(base, pages);
            self.forget_for_dma(device);
        }
    }

    /// Tables of a device became smaller; nothing of them is used again before the IOMMU has forgotten it. Empty ones go.
    fn forget_for_dma(&mut self, device: u32) {
        let Some(iommu) = &self.iommu else { return };
        let at = &mut self.devices[device];
        let root = if at.mappings.is_empty() { core::mem::take(&mut at.root) } else { 0 };
        let (function, payer) = (at.function, at.payer);
        if root != 0 {
            iommu.detach(&mut self.machine, function);
        }
        iommu.forget(&mut self.machine, domain(device));
        if root != 0 {
            self.return_frames(payer, root, 1);
        }
    }

    fn dma_paging(&mut self, device: u32) -> Paging<'_, M, true> {
        let (root, payer) = (self.devices[device].root, self.devices[device].payer);
        Paging {
            machine: &mut self.machine,
            frames: &mut self.frames,
            account: &mut self.accounts[payer],
            root,
            active: false,
        }
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

    /// A sandbox lost a capability: mappings that hung on it end.
    pub(crate) fn unmap_lost(&mut self, loser: u32, object: ObjectRef) {
        if is_memory(object.kind) {
            self.unmap_unheld(loser, object.id.index);
        } else if object.kind == ObjectType::Device {
            self.unmap_unmanaged(loser, object);
        }
    }

    /// What a sandbox mapped into a device stays while it holds that device with MANAGE.
    fn unmap_unmanaged(&mut self, loser: u32, device: ObjectRef) {
        if self.any_cap(loser, |cap| cap.object == device && cap.rights.contains(Rights::MANAGE)) {
            return;
        }
        let mut at = self.devices[device.id.index].mappings.first();
        while let Some(mapping) = at {
            at = self.devices[device.id.index].mappings.after(&self.mappings, mapping);
            if self.mappings[mapping].holder == loser {
                self.withdraw(mapping);
            }
        }
    }

    /// The IOMMU refused something.
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
        let (nanos, event) = (self.machine.now(), Event::DmaRefused as u32);
        let a = u64::from(source) | u64::from(reason) << 16;
        self.audit.append(Record { nanos, event, a, b: address, text: name_bytes(verb), ..Record::zeroed() });
        let mut line = Text::<120>::new();
        let _ = write!(
            line,
            "IOMMU: device {:02x}:{:02x}.{} is off the bus: refused its {verb} at {address:#x}, reason {reason}",
            source >> 8,
            source >> 3 & 0x1f,
            source & 7
        );
        self.log_line("core-0", line.as_bytes());
    }
}
