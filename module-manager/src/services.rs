//! Making an instance of a service from its module, starting it again, and taking it apart.

use crate::boot::{empty_record, version_of};
use crate::manager::{Manager, StartError, at};
use crate::modules::Loaded;
use hic_abi::object::{AccountSpec, SandboxSpec};
use hic_abi::start::{Grant, InstanceLayout};
use hic_abi::{Error, Handle, ObjectType, PAGE_SIZE, Plain, Rights, SELF, name_bytes, name_str};
use hic_control::{grants, manager::ServiceInfo};
use hic_hicmod::Image;
use hic_hicmod::manifest::{Authority, Exchange, Manifest};
use hic_rt::loader::{Identity, Instance, LoadError, new_slot};
use hic_rt::{cap, clock, log, start, sys};
use hic_update::Quota;
use module_manager::journal::{Phase, Record, Standing};
use module_manager::policy::Decision;
use module_manager::shares::{share, temporary_name};

/// Kernel objects that a service's account may hold: its ports, notifications and regions.
const ACCOUNT_OBJECTS: u64 = 32_768;
/// The same for an instance's own account, when its service has another one for what is made at run time.
const INSTANCE_OBJECTS: u64 = 1024;
/// Frames beyond what the manifest names: page tables of the mappings, and rounding.
const SPARE_FRAMES: u64 = 96;
/// Frames for page tables of an instance that maps memory of its service's account: one for each 2 MiB of 1 GiB.
const FOREIGN_TABLES: u64 = 512;

/// Why an instance is made.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// To be the service.
    Boot,
    /// To be a service that was not there; it does not run yet.
    Install,
    /// To be the service in place of another version that ends; it does not run yet.
    Replace,
    /// To take the service over from another instance, with what that one's service pays for.
    Update {
        /// The service's account.
        service_account: Handle,
    },
}

impl Manager {
    /// Makes and starts the service of a module, in a new record.
    pub fn create_service(&mut self, module: usize) -> Result<(), StartError> {
        self.has_processor_for(module).map_err(StartError::Processor)?;
        let index = self.journal.free_record().ok_or(StartError::TooMuch("services"))?;
        self.fill_record(index, module, Purpose::Boot).inspect_err(|_| self.discard_instance(index))
    }

    /// Makes an instance that is to take over from the one in record `from`; it does not run yet. Its record.
    pub fn create_successor(&mut self, module: usize, from: usize) -> Result<usize, StartError> {
        let index = self.journal.free_record().ok_or(StartError::TooMuch("services"))?;
        let service_account = self.journal.records[from].service_account;
        let made = self.fill_record(index, module, Purpose::Update { service_account });
        made.inspect_err(|_| self.discard_instance(index))?;
        Ok(index)
    }

    /// Makes an instance of a module that [`Manager::launch_new`] starts; its record counts as unfinished until then.
    pub fn create_stopped(&mut self, module: usize, purpose: Purpose) -> Result<usize, StartError> {
        let index = self.journal.free_record().ok_or(StartError::TooMuch("services"))?;
        let made = self.fill_record(index, module, purpose);
        made.inspect_err(|_| self.discard_instance(index))?;
        Ok(index)
    }

    /// Starts what [`Manager::create_stopped`] made.
    pub fn launch_new(&mut self, index: usize) -> Result<(), StartError> {
        self.launch_record(index)?;
        self.journal.records[index].phase = Phase::LIVE;
        Ok(())
    }

    /// Takes an instance apart: everything that was made for it ends, and what it was granted is free again.
    pub fn discard_instance(&mut self, index: usize) {
        let record = self.journal.records[index];
        // Cut off in the middle, this is finished by the next start of the manager.
        (self.journal.records[index].standing, self.journal.records[index].phase) =
            (Standing::OTHER, Phase::CREATING);
        let made_here = |slot: &&u32| u64::from(**slot) >= self.page.first_free_slot;
        // The account was made first and can only go when nothing is charged to it any more.
        for &slot in record.held_slots().iter().rev().filter(made_here) {
            let _ = sys::destroy(SELF, slot);
            cap::drop_slot(slot);
        }
        let shared = |other: &Record| other.is_used() && other.service_account == record.service_account;
        let users = self.journal.services().iter().filter(|other| shared(other)).count();
        if record.service_account != record.instance.account && record.service_account != 0 && users <= 1 {
            let _ = sys::destroy(SELF, record.service_account);
            cap::drop_slot(record.service_account);
        }
        self.journal.records[index] = empty_record();
    }

    /// Makes and starts a service; its record counts as soon as there is something in it.
    pub fn fill_record(&mut self, index: usize, module: usize, purpose: Purpose) -> Result<(), StartError> {
        let image = self.modules[module].module.image;
        let manifest = self.granted(module, purpose)?;
        let info = ServiceInfo {
            name: name_bytes(&manifest.name),
            version: version_of(manifest.version),
            guarantee: manifest.guarantee(),
            ..ServiceInfo::zeroed()
        };
        self.journal.records[index] = empty_record();
        let record = &mut self.journal.records[index];
        record.info = info;
        if let Purpose::Update { .. } | Purpose::Replace = purpose {
            record.standing = Standing::OTHER;
        }
        record.phase = Phase::CREATING;
        self.journal.count = self.journal.count.max(index as u64 + 1);
        let account = self.new_account(index, &manifest, &image)?;
        let service_account = self.service_account(index, account, &manifest, purpose)?;
        let instance = self.new_instance(account, &manifest, &image, purpose)?;
        let record = &mut self.journal.records[index];
        (record.instance, record.made_at) = (instance, clock::now());
        hold(record, instance.sandbox)?;
        hold(record, instance.region)?;
        let kind = ObjectType::Account;
        self.grant_named(index, grants::ACCOUNT, service_account, kind, Rights::CHARGE, (0, 0))?;
        self.grant_endpoints(index, &manifest)?;
        self.grant_ports(index, &manifest)?;
        self.grant_state(index, &manifest)?;
        self.grant_hardware(index, &manifest)?;
        self.grant_channel(index, &manifest)?;
        self.watch_faults(index)?;
        match purpose {
            Purpose::Boot => self.launch(index, &manifest, &image)?,
            Purpose::Update { .. } => {}
            Purpose::Install | Purpose::Replace => return Ok(()),
        }
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
        let (frames, objects) = instance_needs(manifest, image);
        let spec = AccountSpec { frames, objects, name: name_bytes(&manifest.name) };
        sys::create_account(self.account, slot, &spec).map_err(at("account"))?;
        hold(&mut self.journal.records[index], slot)?;
        Ok(slot)
    }

    /// The account that pays for what the service makes at run time. Where the service can be replaced, it is not the instance's own: it goes
    /// on when the instance ends.
    fn service_account(
        &mut self,
        index: usize,
        own: Handle,
        manifest: &Manifest,
        purpose: Purpose,
    ) -> Result<Handle, StartError> {
        let account = match (purpose, manifest.exchange()) {
            (Purpose::Update { service_account }, _) => service_account,
            (_, Exchange::Restart | Exchange::InPlace) => own,
            (_, Exchange::Rolling) => {
                let slot = new_slot()?;
                let frames = u64::from(manifest.account_pages);
                let spec = AccountSpec { frames, objects: ACCOUNT_OBJECTS, name: name_bytes(&manifest.name) };
                sys::create_account(self.account, slot, &spec).map_err(at("service account"))?;
                slot
            }
        };
        self.journal.records[index].service_account = account;
        Ok(account)
    }

    fn new_instance(
        &self,
        account: Handle,
        manifest: &Manifest,
        image: &Image<'_>,
        purpose: Purpose,
    ) -> Result<Instance, StartError> {
        let (name, purpose, quota) = match purpose {
            Purpose::Boot => (name_bytes(&manifest.name), "boot", Quota::Service),
            Purpose::Install => (name_bytes(&manifest.name), "install", Quota::Service),
            Purpose::Replace => (name_bytes(&manifest.name), "replace", Quota::Service),
            Purpose::Update { .. } => (temporary_name(manifest), "rolling update", Quota::WarmUp),
        };
        let share = share(manifest, quota);
        let spec = SandboxSpec {
            slots: u64::from(manifest.cspace_slots).next_power_of_two().max(64),
            priority: share.priority,
            budget: share.budget,
            period: share.period,
            hard_limit: share.hard_limit.into(),
            name,
            purpose: name_bytes(purpose),
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
            let record = &mut self.journal.records[index];
            hold(record, slot)?;
            if !record.add_port(name_bytes(&need.service), slot) {
                return Err(StartError::TooMuch("ports"));
            }
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

    /// The way by which the manager asks the service things without waiting for it, and the slot of the batch token.
    fn grant_channel(&mut self, index: usize, manifest: &Manifest) -> Result<(), StartError> {
        let moves = manifest.exchange() == Exchange::Rolling;
        if !moves && !manifest.has_authority(Authority::Channel) {
            return Ok(());
        }
        self.grant_region(index, grants::CHANNEL, (hic_channel::BYTES as u64).div_ceil(PAGE_SIZE))?;
        let record = &self.journal.records[index];
        let channel = record.mapped_regions().last().copied().unwrap_or(0);
        let endpoint = record
            .provided()
            .first()
            .map(|e| e.slot)
            .ok_or(StartError::NoAuthority("endpoint of its own"))?;
        let ring = new_slot()?;
        sys::create_port(self.account, ring, endpoint, 0).map_err(at("port to ring it"))?;
        hold(&mut self.journal.records[index], ring)?;
        let place = (bell_bit(index), 0);
        let bell = self.journal.bell;
        self.grant_named(index, grants::BELL, bell, ObjectType::Notification, Rights::SEND, place)?;
        let record = &mut self.journal.records[index];
        (record.channel, record.ring) = (channel, ring);
        if moves {
            record.token = record.instance.next_slot;
            record.instance.next_slot += 1;
        }
        Ok(())
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
        if record.peer != 0 {
            sys::region_map(record.instance.sandbox, record.peer, Rights::READ)
                .map_err(at("map the peer's state"))?;
        }
        self.show_again(index)?;
        let clock = start::find(self.page, "clock").map(|g| g.slot);
        let identity = Identity { name: &manifest.name, version: name_str(&record.info.version), clock };
        record.instance.start(image, &identity, record.granted())?;
        self.journal.records[index].start(clock::now());
        Ok(())
    }

    /// Starts an instance that was made and not started.
    pub fn launch_record(&mut self, index: usize) -> Result<(), StartError> {
        let module = self.module_of(&self.journal.records[index])?;
        let (manifest, image) =
            (self.modules[module].module.manifest.clone(), self.modules[module].module.image);
        self.launch(index, &manifest, &image)
    }

    /// Starts a frozen service again over its capabilities and its state; `Ok(false)` when it was running.
    pub fn restart(&mut self, index: usize) -> Result<bool, StartError> {
        let module = self.module_of(&self.journal.records[index])?;
        let (manifest, image) =
            (self.modules[module].module.manifest.clone(), self.modules[module].module.image);
        let began = clock::now();
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
        let took = (clock::now() - began) / 1000;
        log!("{} started again, restart {}, made ready in {took} us", manifest.name, record.info.restarts);
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
        if self.runs(index) {
            // Somebody was faster: the question came twice.
            return Ok(false);
        }
        if self.exchanged_died(index) || self.fall_back(index) {
            return Ok(true);
        }
        let module = self.module_of(&self.journal.records[index])?;
        let manifest = &self.modules[module].module.manifest;
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

/// Frames and kernel objects that an instance's own account is to hold.
fn instance_needs(manifest: &Manifest, image: &Image<'_>) -> (u64, u64) {
    let dma: u64 = manifest.devices.iter().map(|d| u64::from(d.dma_pages)).sum();
    let (foreign, objects) = match manifest.exchange() {
        Exchange::Rolling => (FOREIGN_TABLES, INSTANCE_OBJECTS),
        Exchange::InPlace | Exchange::Restart => (u64::from(manifest.account_pages), ACCOUNT_OBJECTS),
    };
    let frames = image.memory_pages() as u64
        + manifest.extra_pages()
        + foreign
        + u64::from(manifest.cspace_slots) / 64
        + dma
        + SPARE_FRAMES;
    (frames, objects)
}

/// Memory that an instance's own account may hold, bytes.
pub fn instance_memory(loaded: &Loaded) -> u64 {
    instance_needs(&loaded.module.manifest, &loaded.module.image).0 * PAGE_SIZE
}

/// The largest region that an instance needs, bytes: its frames are contiguous. That there is room for the smaller ones beside it is not looked at.
pub fn largest_piece(loaded: &Loaded) -> u64 {
    let manifest = &loaded.module.manifest;
    let own = InstanceLayout {
        image_pages: loaded.module.image.memory_pages() as u64,
        stack_pages: manifest.stack_pages.into(),
        heap_pages: manifest.heap_pages.into(),
    };
    let state = manifest.state_regions.iter().map(|region| region.pages);
    let dma = manifest.devices.iter().map(|device| device.dma_pages);
    state.chain(dma).map(|pages| u64::from(pages) * PAGE_SIZE).fold(own.bytes(), u64::max)
}

/// Memory that a new service may come to hold, bytes.
pub fn service_memory(manifest: &Manifest, image: &Image<'_>) -> u64 {
    let run_time =
        if manifest.exchange() == Exchange::Rolling { u64::from(manifest.account_pages) } else { 0 };
    (instance_needs(manifest, image).0 + run_time) * PAGE_SIZE
}

fn hold(record: &mut Record, slot: Handle) -> Result<(), StartError> {
    if record.hold(slot) { Ok(()) } else { Err(StartError::TooMuch("capabilities")) }
}

/// The bit of the manager's bell that the instance in this record signals.
pub fn bell_bit(index: usize) -> u64 {
    1 << (index % 64)
}

fn prefixed(prefix: &str, name: &str) -> [u8; 32] {
    let mut full = name_bytes::<32>(prefix);
    for (to, from) in full.iter_mut().skip(prefix.len()).zip(name.as_bytes()) {
        *to = *from;
    }
    full
}
