//! What the holder of the audit capability may look at. Reading changes nothing.

use crate::kernel::Kernel;
use crate::machine::Machine;
use hic_abi::inspect::{AccountInfo, CapInfo, MemoryInfo, PortInfo, SandboxInfo, SystemInfo, What};
use hic_abi::{Error, Handle, ObjectType, Plain, Rights};

impl<M: Machine> Kernel<M> {
    /// `Inspect`.
    pub(crate) fn sys_inspect(&mut self, args: [u64; 5]) -> Result<u64, Error> {
        let [audit, what, index, address, bytes] = args;
        self.object(audit as Handle, ObjectType::Audit, Rights::INSPECT)?;
        match What::from_number(what).ok_or(Error::InvalidArgument)? {
            What::Memory => self.show(address, bytes, &self.memory_info()),
            What::Account => self.show(address, bytes, &self.account_info(index)?),
            What::Sandbox => self.show(address, bytes, &self.sandbox_info(index)?),
            What::Port => self.show(address, bytes, &self.port_info(index)?),
            What::Capability => self.show(address, bytes, &self.cap_info(index)?),
            What::System => self.show(address, bytes, &self.system_info()),
        }
    }

    fn show<T: Plain>(&mut self, address: u64, bytes: u64, value: &T) -> Result<u64, Error> {
        if bytes != size_of::<T>() as u64 {
            return Err(Error::InvalidArgument);
        }
        self.write_user(address, value).map(|()| 0)
    }

    pub(crate) fn memory_info(&self) -> MemoryInfo {
        let dirty = self.frames.dirty_count();
        let free = self.frames.free_count() + dirty;
        MemoryInfo {
            total: self.total_frames,
            kernel: self.kernel_frames,
            free,
            charged: self.total_frames - self.kernel_frames - free,
            dirty,
            largest_free: self.frames.largest_free(),
        }
    }

    pub(crate) fn account_info(&self, index: u64) -> Result<AccountInfo, Error> {
        let index = within(index, self.accounts.touched())?;
        let Some(a) = self.accounts.at(index) else { return Ok(AccountInfo::zeroed()) };
        Ok(AccountInfo {
            generation: self.accounts.id(index).map_or(0, |id| u64::from(id.generation)),
            frames_used: a.frames_used,
            page_tables: a.page_tables,
            frames_limit: a.frames_limit,
            objects_used: a.objects_used,
            objects_limit: a.objects_limit,
            name: a.name,
        })
    }

    pub(crate) fn sandbox_info(&self, index: u64) -> Result<SandboxInfo, Error> {
        let index = within(index, self.sandboxes.touched())?;
        let Some(s) = self.sandboxes.at(index) else { return Ok(SandboxInfo::zeroed()) };
        Ok(SandboxInfo {
            serial: s.serial,
            frozen: u64::from(s.frozen),
            threads: u64::from(s.threads.len()),
            capabilities: u64::from(s.filled),
            slots: u64::from(s.slots),
            cpu_nanos: s.cpu,
            priority: u64::from(s.priority),
            budget: s.budget.amount,
            period: s.budget.period,
            hard_limit: u64::from(s.hard_limit),
            account: u64::from(s.header.account),
            name: s.name,
        })
    }

    pub(crate) fn port_info(&self, index: u64) -> Result<PortInfo, Error> {
        let index = within(index, self.ports.touched())?;
        let Some(p) = self.ports.at(index) else { return Ok(PortInfo::zeroed()) };
        Ok(PortInfo {
            generation: self.ports.id(index).map_or(0, |id| u64::from(id.generation)),
            badge: p.badge,
            endpoint: u64::from(p.endpoint.index),
            queued: u64::from(p.callers.len()),
            senders: u64::from(p.senders),
            switches: p.switches,
            account: u64::from(p.header.account),
        })
    }

    pub(crate) fn cap_info(&self, index: u64) -> Result<CapInfo, Error> {
        let sandbox = within(index >> 32, self.sandboxes.touched())?;
        let Some(s) = self.sandboxes.at(sandbox) else { return Err(Error::InvalidHandle) };
        let slot = within(index & 0xffff_ffff, s.slots)?;
        let place = s.space + slot;
        let Some(cap) = self.caps.get(place).filter(|c| self.is_live(c.object)) else {
            return Ok(CapInfo::zeroed());
        };
        Ok(CapInfo {
            object_type: cap.object.kind as u64,
            rights: u64::from(cap.rights.bits()),
            object: u64::from(cap.object.id.index),
            children: self.caps.children(place),
        })
    }

    pub(crate) fn system_info(&self) -> SystemInfo {
        SystemInfo {
            sandboxes: u64::from(self.sandboxes.live()),
            threads: u64::from(self.threads.live()),
            ports: u64::from(self.ports.live()),
            endpoints: u64::from(self.endpoints.live()),
            regions: u64::from(self.regions.live()),
            capabilities: self.filled_slots(),
            system_calls: self.counters.system_calls + self.counters.fast_calls,
            interrupts: self.counters.interrupts,
            switches: self.counters.switches + self.counters.fast_calls,
            idle_nanos: self.counters.idle,
            audit_records: self.audit.appended(),
            audit_dropped: self.audit.dropped,
            dma_confined: u64::from(self.iommu.is_some()),
            dma_refused: self.counters.dma_faults,
            interrupts_remapped: u64::from(self.remaps()),
        }
    }

    fn filled_slots(&self) -> u64 {
        (0..self.sandboxes.touched()).filter_map(|i| self.sandboxes.at(i)).map(|s| u64::from(s.filled)).sum()
    }
}

fn within(index: u64, end: u32) -> Result<u32, Error> {
    if index < u64::from(end) { Ok(index as u32) } else { Err(Error::InvalidHandle) }
}
