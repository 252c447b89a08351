//! Making a service from its module, and starting it again.

use crate::boot::{empty_record, version_of};
use crate::manager::{Manager, StartError, at};
use hic_abi::object::{AccountSpec, SandboxSpec};
use hic_abi::start::Grant;
use hic_abi::{Error, Handle, ObjectType, PAGE_SIZE, Plain, Rights, name_bytes, name_str};
use hic_control::{grants, manager::ServiceInfo};
use hic_hicmod::Image;
use hic_hicmod::manifest::{CpuPolicy, Manifest};
use hic_rt::loader::{Identity, Instance, LoadError, new_slot};
use hic_rt::{clock, log, start, sys};
use module_manager::journal::{Phase, Record};
use module_manager::policy::Decision;

/// Kernel objects that a service's account may hold: its ports, notifications and regions.
const ACCOUNT_OBJECTS: u64 = 32_768;
/// Frames beyond what the manifest names: page tables of the mappings, and rounding.
const SPARE_FRAMES: u64 = 96;

impl Manager {
    /// Makes and starts the service of a module, in a new record.
    pub fn create_service(&mut self, module: usize) -> Result<(), StartError> {
        let index = self.journal.count as usize;
        let record = self.journal.records.get_mut(index).ok_or(StartError::TooMuch("services"))?;
        *record = empty_record();
        let result = self.fill_record(index, module);
        if result.is_err() && self.journal.count as usize == index {
            self.journal.records[index] = empty_record();
        }
        result
    }

    /// Makes and starts a service; its record counts as soon as there is something in it.
    pub fn fill_record(&mut self, index: usize, module: usize) -> Result<(), StartError> {
        let (manifest, image) = (self.modules[module].manifest.clone(), self.modules[module].image);
        let info = ServiceInfo {
            name: name_bytes(&manifest.name),
            version: version_of(manifest.version),
            ..ServiceInfo::zeroed()
        };
        let record = &mut self.journal.records[index];
        record.info = info;
        record.phase = Phase::CREATING;
        self.journal.count = self.journal.count.max(index as u64 + 1);
        let account = self.new_account(index, &manifest, &image)?;
        let instance = self.new_instance(account, &manifest, &image)?;
        let record = &mut self.journal.records[index];
        record.instance = instance;
        hold(record, instance.sandbox)?;
        hold(record, instance.region)?;
        self.grant_named(index, grants::ACCOUNT, account, ObjectType::Account, Rights::CHARGE, (0, 0))?;
        self.grant_endpoints(index, &manifest)?;
        self.grant_ports(index, &manifest)?;
        self.grant_state(index, &manifest)?;
        self.grant_hardware(index, &manifest)?;
        self.watch_faults(index)?;
        self.launch(index, &manifest, &image)?;
        self.journal.records[index].phase = Phase::LIVE;
        Ok(())
    }

    fn new_account(
        &mut self,
        index: usize,
        manifest: &Manifest,
        image: &Image<'_>,
    ) -> Result<Handle, StartError> {
        let slot = new_slot()?;
        let dma: u64 = manifest.devices.iter().map(|d| u64::from(d.dma_pages)).sum();
        let frames = image.memory_pages() as u64
            + manifest.extra_pages()
            + u64::from(manifest.account_pages)
            + u64::from(manifest.cspace_slots) / 64
            + dma
            + SPARE_FRAMES;
        let spec = AccountSpec { frames, objects: ACCOUNT_OBJECTS, name: name_bytes(&manifest.name) };
        sys::create_account(self.account, slot, &spec).map_err(at("account"))?;
        hold(&mut self.journal.records[index], slot)?;
        Ok(slot)
    }

    fn new_instance(
        &self,
        account: Handle,
        manifest: &Manifest,
        image: &Image<'_>,
    ) -> Result<Instance, StartError> {
        let spec = SandboxSpec {
            slots: u64::from(manifest.cspace_slots).next_power_of_two().max(64),
            priority: manifest.priority.into(),
            budget: u64::from(manifest.budget_us) * 1000,
            period: u64::from(manifest.period_us) * 1000,
            hard_limit: u64::from(manifest.cpu == CpuPolicy::Hard),
            name: name_bytes(&manifest.name),
            purpose: name_bytes("boot"),
        };
        let (stack, heap) = (manifest.stack_pages.into(), manifest.heap_pages.into());
        Ok(Instance::create(account, &spec, image, stack, heap)?)
    }

    /// Gives a service a capability under a name, in its next slot.
    pub fn grant_named(
        &mut self,
        index: usize,
        name: &str,
        slot: Handle,
        kind: ObjectType,
        rights: Rights,
        (address, length): (u64, u64),
    ) -> Result<(), StartError> {
        let record = &mut self.journal.records[index];
        let to = record.instance.grant(slot, rights)?;
        let grant = Grant { name: name_bytes(name), slot: to, object_type: kind as u32, address, length };
        if record.add_grant(grant) { Ok(()) } else { Err(StartError::TooMuch("grants")) }
    }

    fn grant_endpoints(&mut self, index: usize, manifest: &Manifest) -> Result<(), StartError> {
        for name in &manifest.provides {
            let slot = new_slot()?;
            let account = self.journal.records[index].instance.account;
            sys::create_endpoint(account, slot).map_err(at("endpoint"))?;
            let record = &mut self.journal.records[index];
            hold(record, slot)?;
            if !record.provide(name_bytes(name), slot) {
                return Err(StartError::TooMuch("endpoints"));
            }
            let full = prefixed(grants::ENDPOINT, name);
            let rights = Rights::RECEIVE | Rights::MANAGE;
            self.grant_named(index, name_str(&full), slot, ObjectType::Endpoint, rights, (0, 0))?;
        }
        Ok(())
    }

    fn grant_ports(&mut self, index: usize, manifest: &Manifest) -> Result<(), StartError> {
        for need in &manifest.needs {
            let Some(endpoint) = self.journal.endpoint(&need.service) else {
                if need.optional {
                    continue;
                }
                return Err(StartError::NoAuthority("endpoint of a service that it needs"));
            };
            let slot = new_slot()?;
            let account = self.journal.records[index].instance.account;
            sys::create_port(account, slot, endpoint, index as u64 + 1).map_err(at("port"))?;
            hold(&mut self.journal.records[index], slot)?;
            let full = prefixed(grants::PORT, &need.service);
            let rights = Rights::SEND | Rights::COPY;
            self.grant_named(index, name_str(&full), slot, ObjectType::Port, rights, (0, 0))?;
        }
        Ok(())
    }

    fn grant_state(&mut self, index: usize, manifest: &Manifest) -> Result<(), StartError> {
        for state in &manifest.state_regions {
            let full = prefixed(grants::STATE, &state.name);
            self.grant_region(index, name_str(&full), u64::from(state.pages))?;
        }
        Ok(())
    }

    /// Makes a region that is mapped in the service at each start.
    pub fn grant_region(&mut self, index: usize, name: &str, pages: u64) -> Result<(), StartError> {
        let slot = new_slot()?;
        let account = self.journal.records[index].instance.account;
        let bytes = pages * PAGE_SIZE;
        let address = sys::create_region(account, slot, bytes).map_err(at("region"))?;
        let record = &mut self.journal.records[index];
        hold(record, slot)?;
        if !record.map_region(slot) {
            return Err(StartError::TooMuch("regions"));
        }
        let rights = Rights::READ | Rights::WRITE;
        self.grant_named(index, name, slot, ObjectType::Region, rights, (address, bytes))
    }

    /// Sends the service's faults to the monitor, under its index + 1.
    fn watch_faults(&mut self, index: usize) -> Result<(), StartError> {
        let slot = new_slot()?;
        sys::create_port(self.account, slot, self.monitor, index as u64 + 1).map_err(at("fault port"))?;
        let record = &mut self.journal.records[index];
        hold(record, slot)?;
        sys::sandbox_fault_port(record.instance.sandbox, slot).map_err(at("fault port"))
    }

    fn launch(&mut self, index: usize, manifest: &Manifest, image: &Image<'_>) -> Result<(), StartError> {
        let record = &self.journal.records[index];
        for &region in record.mapped_regions() {
            sys::region_map(record.instance.sandbox, region, Rights::READ | Rights::WRITE)
                .map_err(at("map a state region"))?;
        }
        let clock = start::find(self.page, "clock").map(|g| g.slot);
        let identity = Identity { name: &manifest.name, version: name_str(&record.info.version), clock };
        Ok(record.instance.start(image, &identity, record.granted())?)
    }

    /// Starts a frozen service again over its capabilities and its state; `Ok(false)` when it was running.
    pub fn restart(&mut self, index: usize) -> Result<bool, StartError> {
        let module = self.module_of(&self.journal.records[index])?;
        let (manifest, image) = (self.modules[module].manifest.clone(), self.modules[module].image);
        let was = core::mem::replace(&mut self.journal.records[index].phase, Phase::RESTARTING);
        match self.journal.records[index].instance.reset(&image) {
            Ok(()) => {}
            Err(LoadError::Kernel { step: "reset", error: Error::WrongState }) => {
                self.journal.records[index].phase = was;
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
        self.launch(index, &manifest, &image)?;
        let record = &mut self.journal.records[index];
        record.info.restarts += 1;
        record.phase = Phase::LIVE;
        log!("{} started again, restart {}", manifest.name, record.info.restarts);
        Ok(true)
    }

    /// Restarts after a crash of the manager itself, which may have come between any two steps of a restart.
    pub fn restart_and_report(&mut self, index: usize) {
        let sandbox = self.journal.records[index].instance.sandbox;
        let _ = sys::sandbox_freeze(sandbox, 0);
        if let Err(error) = self.restart(index) {
            log!("service {index} cannot be started again: {error}");
        }
    }

    /// What the monitor asks for when a service died.
    pub fn revive(&mut self, index: usize) -> Result<bool, StartError> {
        let module = self.module_of(&self.journal.records[index])?;
        let manifest = &self.modules[module].manifest;
        let decision = self.journal.records[index].window.decide(manifest.restart, clock::now());
        match decision {
            Decision::Restart => self.restart(index),
            Decision::Never | Decision::TooOften => {
                log!("{} stays stopped: {decision:?}", manifest.name);
                self.journal.records[index].phase = Phase::STOPPED;
                Ok(false)
            }
        }
    }
}

fn hold(record: &mut Record, slot: Handle) -> Result<(), StartError> {
    if record.hold(slot) { Ok(()) } else { Err(StartError::TooMuch("capabilities")) }
}

fn prefixed(prefix: &str, name: &str) -> [u8; 32] {
    let mut full = name_bytes::<32>(prefix);
    for (to, from) in full.iter_mut().skip(prefix.len()).zip(name.as_bytes()) {
        *to = *from;
    }
    full
}
