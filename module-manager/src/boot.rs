//! Start-up: the first one reads the boot archive and starts everything; a later one finds the journal and finishes what was begun.

use crate::manager::{Manager, StartError, at};
use alloc::vec::Vec;
use core::fmt::Write;
use hic_abi::{Plain, Rights, SELF, name_bytes};
use hic_control::{grants, manager::ServiceInfo};
use hic_hicmod::{Archive, Module, manifest};
use hic_rt::{StartPage, cap, log, start, sys};
use module_manager::journal::{Journal, MAGIC, Phase, Record};

/// What the keeper starts; listed, not managed.
const KEPT: [&str; 3] = ["keeper", "module-manager", "monitor"];

/// Brings the manager to the point where it can answer.
pub fn start(page: &'static StartPage) -> Result<Manager, StartError> {
    let state = start::require(page, "state:journal");
    assert!(size_of::<Journal>() as u64 <= state.length, "the keeper's journal region is too small");
    // SAFETY: the keeper mapped this region for us alone, zeroed before the first start; `Journal` is plain memory of integers for
    // which zero is a value, and the region is at least as long (checked above).
    let journal = unsafe { &mut *(state.address as *mut Journal) };
    let modules = read_archive(page)?;
    let mut manager = Manager {
        page,
        journal,
        modules,
        account: start::require(page, grants::ACCOUNT).slot,
        monitor: start::require(page, "endpoint:monitor").slot,
    };
    if manager.journal.magic == MAGIC {
        manager.recover();
    } else {
        manager.first_start()?;
    }
    Ok(manager)
}

fn read_archive(page: &'static StartPage) -> Result<Vec<Module<'static>>, StartError> {
    let grant = start::require(page, "archive");
    match sys::region_map(SELF, grant.slot, Rights::READ) {
        Ok(_) | Err(hic_abi::Error::Mapped) => {}
        Err(error) => return Err(at("map the boot archive")(error)),
    }
    // SAFETY: the region holds the boot archive, `length` bytes, mapped read-only; nobody can write it any more.
    let bytes = unsafe { core::slice::from_raw_parts(grant.address as *const u8, grant.length as usize) };
    let archive = Archive::parse(bytes).map_err(StartError::Archive)?;
    let mut modules = Vec::new();
    for entry in archive.iter() {
        let bytes = entry.bytes().map_err(StartError::Archive)?;
        modules.push(Module::parse(bytes).map_err(StartError::Module)?);
    }
    Ok(modules)
}

impl Manager {
    /// Starts all modules; one that cannot be started is reported and does not keep the others from running.
    fn first_start(&mut self) -> Result<(), StartError> {
        let manifests: Vec<_> = self.modules.iter().map(|m| &m.manifest).collect();
        let order = manifest::start_order(&manifests).map_err(StartError::Order)?;
        for name in KEPT {
            self.list_kept(name);
        }
        self.journal.magic = MAGIC;
        for index in order {
            let name = self.modules[index].manifest.name.clone();
            if KEPT.contains(&name.as_str()) {
                continue;
            }
            if let Err(error) = self.create_service(index) {
                log!("{name} not started: {error}");
            }
        }
        log!("{} services", self.journal.count);
        Ok(())
    }

    fn list_kept(&mut self, name: &str) {
        let at = self.journal.count as usize;
        let Some(record) = self.journal.records.get_mut(at) else { return };
        record.info = ServiceInfo {
            name: name_bytes(name),
            version: version_of(env!("CARGO_PKG_VERSION")),
            ..ServiceInfo::zeroed()
        };
        if name == "module-manager" {
            let own = start::require(self.page, "endpoint:module-manager").slot;
            record.provide(name_bytes(name), own);
        } else if name == "monitor" {
            record.provide(name_bytes(name), self.monitor);
        }
        record.phase = Phase::KEPT;
        self.journal.count += 1;
    }

    /// Finishes what an earlier start of the manager began. Slots that no record names were made for something unfinished: they are emptied.
    fn recover(&mut self) {
        for record in self.journal.services() {
            for &slot in record.held_slots() {
                cap::claim(slot);
            }
        }
        for slot in self.page.first_free_slot as u32..self.page.slots as u32 {
            if cap::claim(slot) {
                let _ = sys::cap_delete(SELF, slot);
                cap::release(slot);
            }
        }
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
        self.create_missing();
        log!("back over {} services, {unfinished} of them unfinished", self.journal.count);
    }

    /// Makes a service anew whose making was cut off.
    fn create_again(&mut self, index: usize) {
        let record: &Record = &self.journal.records[index];
        let made_here = |slot: &&u32| u64::from(**slot) >= self.page.first_free_slot;
        // The account was made first and can only go when nothing is charged to it any more.
        for &slot in record.held_slots().iter().rev().filter(made_here) {
            let _ = sys::destroy(SELF, slot);
            cap::drop_slot(slot);
        }
        let module = self.module_of(record);
        self.journal.records[index] = empty_record();
        if let Err(error) = module.and_then(|m| self.fill_record(index, m)) {
            log!("service {index} not started: {error}");
        }
    }

    /// Starts modules that the manager had not come to when it died.
    fn create_missing(&mut self) {
        let manifests: Vec<_> = self.modules.iter().map(|m| &m.manifest).collect();
        let Ok(order) = manifest::start_order(&manifests) else { return };
        for index in order {
            let name = self.modules[index].manifest.name.clone();
            if self.journal.find(&name).is_none()
                && let Err(error) = self.create_service(index)
            {
                log!("{name} not started: {error}");
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
