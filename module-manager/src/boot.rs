//! Start-up: the first one reads the boot archive and starts everything; a later one finds the journal and finishes what was begun.

use crate::SERVICE;
use crate::exchange::Exchanging;
use crate::manager::{Manager, StartError, at};
use crate::modules::{self, Origin};
use crate::network::Network;
use crate::repository::{Repository, STORAGE, VAULT, VERIFIER};
use crate::services::Purpose;
use crate::tasks::Missing;
use alloc::vec::Vec;
use core::fmt::Write;
use hic_abi::{Plain, SELF, name_bytes, name_str};
use hic_control::{grants, manager::ServiceInfo};
use hic_rt::loader::new_slot;
use hic_rt::{StartPage, cap, clock, log, start, sys};
use hic_store::Defaults;
use hic_store::defaults::boot_choice;
use module_manager::install::{BootOrder, boot_order};
use module_manager::journal::{Journal, MAGIC, Phase, Record, Standing};

/// What the keeper starts; listed, not managed.
const KEPT: [&str; 3] = ["keeper", "module-manager", "monitor"];

/// Brings the manager to the point where it can answer.
pub fn start(page: &'static StartPage) -> Result<Manager, StartError> {
    let state = start::require(page, "state:journal");
    assert!(size_of::<Journal>() as u64 <= state.length, "the keeper's journal region is too small");
    // SAFETY: the keeper mapped this region for us alone, zeroed before the first start; `Journal` is plain memory of integers for
    // which zero is a value, and the region is at least as long (checked above).
    let journal = unsafe { &mut *(state.address as *mut Journal) };
    let archive = modules::open_archive(page)?;
    let mut manager = Manager {
        page,
        journal,
        modules: modules::archive_modules(&archive),
        trust_root: modules::trust_root(&archive),
        policy: crate::authority::policy(&archive),
        repository: Repository::default(),
        network: Network::new(clock::now()),
        fuse: None,
        update: None,
        task: None,
        exchanging: Exchanging::default(),
        missing: Missing::default(),
        account: start::require(page, grants::ACCOUNT).slot,
        monitor: start::require(page, "endpoint:monitor").slot,
    };
    if manager.journal.magic == MAGIC {
        manager.recover();
    } else {
        manager.begin_again();
        manager.first_start()?;
    }
    Ok(manager)
}

impl Manager {
    /// Starts all modules; one that cannot be started is reported and does not keep the others from running.
    ///
    /// First the verifier, which looks at all of them, then the storage service, which knows which versions are the defaults, then the rest.
    fn first_start(&mut self) -> Result<(), StartError> {
        for name in KEPT {
            self.list_kept(name);
        }
        self.journal.update.slots = hic_update::Slots::default();
        for slot in [&mut self.journal.bell, &mut self.journal.token] {
            *slot = new_slot()?;
            sys::create_notification(self.account, *slot).map_err(at("notification"))?;
        }
        if self.policy.is_none() {
            log!("no policy in this image: its modules get what they ask for");
        }
        match self.start_first(VERIFIER) {
            Some(verifier) => self.verify_archive(verifier)?,
            None => self.trust_archive(),
        }
        // The system disk comes first on the bus.
        let vault = self.start_first(VAULT);
        self.start_first(STORAGE);
        if vault.is_some() {
            self.load_defaults();
        }
        // From here on a later start finishes what is missing; before it, one begins again.
        self.journal.magic = MAGIC;
        self.create_missing();
        log!("{} services", self.journal.count);
        self.scan_repository();
        Ok(())
    }

    /// Starts one module before all others; its record, if there is such a module and it starts.
    fn start_first(&mut self, name: &str) -> Option<usize> {
        let module = self.modules.iter().position(|m| m.module.manifest.name == name)?;
        match self.create_service(module) {
            Ok(()) => self.journal.find(name),
            Err(error) => {
                log!("{name} not started: {error}");
                None
            }
        }
    }

    /// Clears away what a first start left that was cut off.
    fn begin_again(&mut self) {
        for slot in (self.page.first_free_slot as u32..self.page.slots as u32).rev() {
            if sys::cap_info(SELF, slot).is_ok() {
                let _ = sys::destroy(SELF, slot);
                let _ = sys::cap_delete(SELF, slot);
            }
        }
        // SAFETY: the journal is made of integers and arrays of them, for which zero is a value; `Slots` says so of itself.
        *self.journal = unsafe { core::mem::zeroed() };
    }

    fn list_kept(&mut self, name: &str) {
        let at = self.journal.count as usize;
        let Some(record) = self.journal.records.get_mut(at) else { return };
        record.info = ServiceInfo {
            name: name_bytes(name),
            version: version_of(env!("CARGO_PKG_VERSION")),
            ..ServiceInfo::zeroed()
        };
        if name == SERVICE.name() {
            record.provide(name_bytes(name), SERVICE.endpoint(self.page));
        } else if name == "monitor" {
            record.provide(name_bytes(name), self.monitor);
        }
        record.phase = Phase::KEPT;
        self.journal.count += 1;
    }

    /// Finishes what an earlier start of the manager began. Slots that no record names were made for something unfinished: they are emptied.
    fn recover(&mut self) {
        self.calm_services();
        for record in self.journal.services() {
            for &slot in record.held_slots().iter().chain([&record.service_account]) {
                cap::claim(slot);
            }
        }
        let cached = self.journal.cached.iter().map(|cached| cached.region);
        let own = [self.journal.bell, self.journal.token];
        for slot in own.into_iter().chain(cached).chain(self.journal.exchange.slots()) {
            cap::claim(slot);
        }
        for slot in self.page.first_free_slot as u32..self.page.slots as u32 {
            if cap::claim(slot) {
                let _ = sys::cap_delete(SELF, slot);
                cap::release(slot);
            }
        }
        self.apply_trust();
        self.reload_cached();
        // Before anything asks what is wanted, and tells what becomes of it.
        self.restore_plan();
        self.resume_exchange();
        let mut unfinished = 0;
        for index in 0..self.journal.count as usize {
            unfinished +=
                u64::from(matches!(self.journal.records[index].phase, Phase::CREATING | Phase::RESTARTING));
            match self.journal.records[index].phase {
                Phase::CREATING => self.create_again(index),
                Phase::RESTARTING => self.restart_and_report(index),
                _ => {}
            }
        }
        // What the disk holds is not in the journal.
        self.scan_repository();
        self.resume_update();
        if self.repository.defaults.is_some() {
            self.write_defaults();
        }
        self.create_missing();
        self.discard_orphans();
        self.finish_replacements();
        log!("back over {} services, {unfinished} of them unfinished", self.journal.count);
    }

    /// Takes apart instances that belong to no update and are nobody's service, and services that were removed.
    fn discard_orphans(&mut self) {
        for index in 0..self.journal.count as usize {
            let record = &self.journal.records[index];
            let (name, other) = (record.info.name, record.standing == Standing::OTHER);
            let kept = !record.is_used() || record.phase == Phase::KEPT || self.side_of(index).is_some();
            if !kept && (other || !self.is_present(name_str(&name))) {
                self.lead_ports(name_str(&name));
                self.discard_instance(index);
            }
        }
    }

    /// Whether this service is to run: the archive brings it or it was installed, and it was not removed.
    pub fn is_present(&self, name: &str) -> bool {
        let archived = self.is_archived(name);
        self.repository.defaults.as_ref().map_or(archived, |defaults| defaults.is_present(name, archived))
    }

    /// Whether the archive brings this service.
    pub fn is_archived(&self, name: &str) -> bool {
        self.modules.iter().any(|m| m.origin == Origin::Archive && m.module.manifest.name == name)
    }

    /// Makes a service anew whose making was cut off. What an update was making is the update's business.
    fn create_again(&mut self, index: usize) {
        let record = self.journal.records[index];
        self.discard_instance(index);
        if record.standing == Standing::OTHER || !self.is_present(name_str(&record.info.name)) {
            return;
        }
        let module = self.module_of(&record);
        if let Err(error) = module.and_then(|m| self.fill_record(index, m, Purpose::Boot)) {
            log!("service {index} not started: {error}");
            self.discard_instance(index);
        }
    }

    /// Starts what is to run and has no record yet, each in its default version: what the archive brings, and what was installed.
    fn create_missing(&mut self) {
        let archived =
            self.modules.iter().filter(|m| m.origin == Origin::Archive).map(|m| &m.module.manifest);
        let mut manifests: Vec<_> = archived.filter(|manifest| self.is_present(&manifest.name)).collect();
        let mut missing = Vec::new();
        for installed in self.repository.defaults.iter().flat_map(Defaults::installed) {
            if manifests.iter().any(|manifest| manifest.name == installed.name) {
                continue;
            }
            let version = boot_choice(installed).version();
            match self.position(&installed.name, version) {
                Some(position) => manifests.push(&self.modules[position].module.manifest),
                None => {
                    log!("{} {version} is installed and not on the disk: not started", installed.name);
                    missing.push((installed.name.clone(), version));
                }
            }
        }
        let BootOrder { order, left_out } = boot_order(&manifests);
        for (at, error) in left_out {
            log!("{} not started: {error}", manifests[at].name);
        }
        let names: Vec<_> = order.into_iter().map(|at| manifests[at].name.clone()).collect();
        self.missing.note(missing, clock::now());
        for name in names {
            if !KEPT.contains(&name.as_str()) && self.journal.find(&name).is_none() {
                self.start_default(&name);
            }
        }
    }
}

/// A record with nothing in it.
pub fn empty_record() -> Record {
    // SAFETY: a record is made of integers and arrays of them; all-zero is an empty one.
    unsafe { core::mem::zeroed() }
}

/// A version as the fixed field holds it.
pub fn version_of(version: impl core::fmt::Display) -> [u8; 16] {
    struct Field([u8; 16], usize);
    impl Write for Field {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            for &byte in text.as_bytes() {
                *self.0.get_mut(self.1).ok_or(core::fmt::Error)? = byte;
                self.1 += 1;
            }
            Ok(())
        }
    }
    let mut field = Field([0; 16], 0);
    let _ = write!(field, "{version}");
    field.0
}
