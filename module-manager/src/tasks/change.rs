//! Install, remove, replace: checks before anything is made or recorded, then the step itself.

use super::{Answer, Before, Order, Stage, refused};
use crate::manager::{Manager, StartError};
use crate::services::{Purpose, service_memory};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use hic_abi::{Error, name_str};
use hic_control::fault;
use hic_hicmod::manifest::{Exchange, Manifest, Name, Version};
use hic_rt::loader::LoadError;
use hic_rt::{log, sys};
use hic_store::defaults::{RecordError, boot_choice};
use hic_store::{Defaults, StoreError};
use hic_update::check::Refused as UpdateRefused;
use module_manager::install::{Refused, Room, may_join, may_leave};
use module_manager::journal::Phase;

pub fn start_failed(error: &StartError) -> String {
    if let StartError::Load(LoadError::Kernel { step, error: Error::NoMemory }) = error {
        return format!("memory: there is no piece of free memory that is large enough (step: {step})");
    }
    let code = match error {
        StartError::NoDevice => "no-device",
        StartError::NoAuthority(_) => "no-authority",
        StartError::TooMuch(_) => "no-resources",
        StartError::Denied(_) => "policy",
        StartError::Processor(_) => "processor",
        _ => "cannot-start",
    };
    format!("{code}: {error}")
}

fn record_failed(error: RecordError) -> String {
    format!("no-room: {error}")
}

impl Manager {
    pub(super) fn must_be_absent(&self, name: &Name) -> Answer<()> {
        let Some(index) = self.journal.find(name) else { return Ok(()) };
        let version = name_str(&self.journal.records[index].info.version);
        Err(format!(
            "already-installed: {name} {version} is there; `update {name} VERSION` replaces it, `remove {name}` ends it"
        ))
    }

    pub(super) fn removable(&self, name: &Name) -> Answer<()> {
        may_leave(&self.running(), name).map_err(|refusal| refused(&refusal))?;
        match self.managed(name) {
            Ok(index) => self.not_updating(name, index),
            // Installed, and not found at boot.
            Err(_) if self.is_present(name) => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }

    pub(super) fn replaceable(&self, name: &Name, version: Version) -> Answer<usize> {
        let index = self.managed(name)?;
        self.not_updating(name, index)?;
        let record = &self.journal.records[index];
        if crate::modules::is_version(version, name_str(&record.info.version)) {
            return Err(format!("same-version: {name} {version} is what runs"));
        }
        let module = self.module_of(record).map_err(|error| start_failed(&error))?;
        let manifest = &self.modules[module].module.manifest;
        if manifest.update.is_some() {
            return Err(format!(
                "has-live-update: {name} is exchanged without an end of its service; `update {name} {version}` does that"
            ));
        }
        if !manifest.devices.is_empty() {
            return Err(refused(&module_manager::install::Refused::HoldsDevice));
        }
        Ok(index)
    }

    pub(super) fn not_updating(&self, name: &Name, index: usize) -> Answer<()> {
        if self.side_of(index).is_none() {
            return Ok(());
        }
        Err(format!("update-running: {name} is in an update; `commit` or `rollback {name}` ends it"))
    }

    /// The module that an operator names, or why it cannot be had.
    pub(super) fn wanted_module(&self, name: &Name, version: Version) -> Answer<usize> {
        let number = format!("{version}");
        if let Some(module) = self.position(name, version) {
            return match self.objection(name, &number) {
                Some(objection) => Err(format!("{objection}")),
                None => Ok(module),
            };
        }
        if self.refused_file(name, &number).is_some() {
            let mut text = String::new();
            self.explain(&UpdateRefused::Module { code: 0 }, name, &number, &mut text);
            return Err(text);
        }
        let mut text = format!("unknown-module: there is no {name} {version} in the repository");
        let versions: Vec<_> = self.modules.iter().filter(|m| m.module.manifest.name == *name).collect();
        for (n, loaded) in versions.iter().enumerate() {
            let _ = write!(
                text,
                "{}{}",
                if n == 0 { "; there is " } else { ", " },
                loaded.module.manifest.version
            );
        }
        if let Some(error) = self.repository.changes.error {
            let _ = write!(text, "; the disk was not read: {error}");
        }
        Err(text)
    }

    /// Whether a module fits those that run but for the service `instead`.
    fn must_fit(&self, module: usize, instead: Option<&Name>) -> Answer<()> {
        let loaded = &self.modules[module].module;
        let stays = |manifest: &&Manifest| instead.is_none_or(|name| manifest.name != *name);
        let running: Vec<_> = self.running().into_iter().filter(stays).collect();
        // For an update twice the need, since both versions exist for a moment (ledger P1.10).
        let times = if instead.is_some() { 2 } else { 1 };
        let wanted = times * service_memory(&loaded.manifest, &loaded.image);
        let room = Room {
            free_memory: self.free_memory(),
            wanted_memory: wanted,
            free_processor: self.free_processor(instead.map(|name| name.as_str())),
            guarantee: self.guarantee(module),
        };
        may_join(&running, &loaded.manifest, &room).map_err(|refusal| match refusal {
            Refused::Processor(_) => format!("{}; it is {}", refused(&refusal), self.held_by()),
            _ => refused(&refusal),
        })
    }

    pub(super) fn make_installed(&mut self, name: &Name, version: Version) -> Answer<()> {
        self.must_be_absent(name)?;
        let module = self.wanted_module(name, version)?;
        self.must_fit(module, None)?;
        self.can_go_alone(name, version)?;
        let index = self.create_stopped(module, Purpose::Install).map_err(|error| start_failed(&error))?;
        self.write_down(name, (index, self.epoch_of(module)), |defaults| defaults.install(name, version))
            .inspect_err(|_| self.discard_instance(index))
    }

    pub(super) fn make_replacement(&mut self, name: &Name, version: Version) -> Answer<()> {
        let old = self.replaceable(name, version)?;
        let module = self.step_module(name, version)?;
        self.must_fit(module, Some(name))?;
        self.must_still_serve(name, module)?;
        self.can_go_alone(name, version)?;
        let running = name_str(&self.journal.records[old].info.version).parse::<Version>();
        let running = running.map_err(|error| format!("malformed: {error}"))?;
        let index = self.create_stopped(module, Purpose::Replace).map_err(|error| start_failed(&error))?;
        let change = |defaults: &mut Defaults| {
            defaults.set_default(name, version, running)?;
            defaults.put_on_probation(name);
            Ok(())
        };
        self.write_down(name, (index, self.epoch_of(module)), change)
            .inspect_err(|_| self.discard_instance(index))
    }

    /// What others need of a service its next version must provide, too.
    fn must_still_serve(&self, name: &Name, module: usize) -> Answer<()> {
        let (running, next) = (self.running(), &self.modules[module].module.manifest);
        let Some(now) = running.iter().find(|manifest| manifest.name == *name) else { return Ok(()) };
        for service in now.provides.iter().filter(|service| !next.provides_service(service)) {
            let needs_it =
                |m: &&&Manifest| m.needs.iter().any(|need| !need.optional && need.service == *service);
            if let Some(client) = running.iter().find(needs_it) {
                return Err(format!(
                    "needed: {} needs \"{service}\", which {name} {} does not provide",
                    client.name, next.version
                ));
            }
        }
        Ok(())
    }

    pub(super) fn record_removal(&mut self, name: &Name) -> Answer<()> {
        self.removable(name)?;
        let running = self.journal.find(name).map(|index| self.journal.records[index].info.version);
        let version = match running {
            Some(version) => name_str(&version).parse().map_err(|error| format!("malformed: {error}"))?,
            None => Version::new(0, 0, 0),
        };
        let archived = self.is_archived(name);
        self.write_down(name, (0, 0), |defaults| defaults.remove(name, version, archived))
    }

    fn epoch_of(&self, module: usize) -> u32 {
        self.modules[module].module.manifest.epoch
    }

    /// Changes the record and has it written; [`Manager::task_turn`] goes on when it is on the disk, with the instance that was made. The epoch is that of the
    /// release that is chosen.
    fn write_down(
        &mut self,
        name: &Name,
        (index, epoch): (usize, u32),
        change: impl FnOnce(&mut Defaults) -> Result<(), RecordError>,
    ) -> Answer<()> {
        let defaults = self.repository.defaults.get_or_insert_with(Defaults::default);
        let before = defaults.choose(name, epoch, change).map_err(record_failed)?;
        self.enter(Stage::Recording { index, before: Before::Service(before) });
        self.write_defaults();
        Ok(())
    }

    /// The record could not be written: everything is as before.
    pub(super) fn undo(&mut self, order: &Order, index: usize, before: Before, error: &StoreError) -> String {
        self.take_back_change(before);
        if matches!(order, Order::Install(..) | Order::Replace(..)) {
            self.discard_instance(index);
        }
        format!("{}: it could not be recorded, so nothing was changed: {error}", error.code())
    }

    fn take_back_change(&mut self, before: Before) {
        match before {
            Before::Service(before) => self.take_back(before),
            Before::Sources(before) => {
                self.repository.defaults.get_or_insert_with(Defaults::default).sources = *before;
                self.write_defaults();
            }
        }
    }

    pub(super) fn start_installed(&mut self, index: usize, before: Before) -> Answer<String> {
        let info = self.journal.records[index].info;
        let (name, version) = (name_str(&info.name), name_str(&info.version));
        if let Err(error) = self.launch_new(index) {
            self.discard_instance(index);
            self.take_back_change(before);
            return Err(start_failed(&error));
        }
        self.lead_provided(index);
        Ok(format!("{name} {version} runs, and is started at each boot"))
    }

    /// Those who can do without a service have ports to it all the same, from when it was there before.
    fn lead_provided(&self, index: usize) {
        for provided in self.journal.records[index].provided() {
            self.lead_ports(name_str(&provided.name));
        }
    }

    pub(super) fn end_removed(&mut self, name: &Name) -> Answer<String> {
        if let Ok(index) = self.managed(name) {
            self.discard_instance(index);
        }
        Ok(match self.is_archived(name) {
            true => format!(
                "{name} has ended, and is not started at boot; the boot archive still brings it, so `install` has it back"
            ),
            false => format!("{name} has ended, and is not started at boot"),
        })
    }

    pub(super) fn start_replacement(&mut self, index: usize) -> Answer<String> {
        let info = self.journal.records[index].info;
        let (name, version) = (name_str(&info.name), name_str(&info.version));
        let old = self.managed(name)?;
        self.swap(index, old).map_err(|error| start_failed(&error))?;
        Ok(format!(
            "{name} {version} runs in place of the old version, which comes back if this one does not stay up"
        ))
    }

    /// Ends the instance `old` and starts the one in record `index` in its place.
    fn swap(&mut self, index: usize, old: usize) -> Result<(), StartError> {
        // Its phase first: the monitor, which hears of the freeze, must not have it started again.
        self.journal.records[old].phase = Phase::STOPPED;
        let _ = sys::sandbox_freeze(self.journal.records[old].instance.sandbox, fault::REASON_RESTART);
        self.set_standing(index, old);
        self.lead_provided(index);
        self.discard_instance(old);
        let launched = self.launch_new(index);
        if launched.is_err() {
            // It exists and does not run: the monitor's question leads to the version before.
            self.journal.records[index].phase = Phase::LIVE;
        }
        launched
    }

    /// After a restart of the manager: services that were to run in another version, which had not taken the place of the old one yet.
    pub fn finish_replacements(&mut self) {
        for index in 0..self.journal.count as usize {
            let record = &self.journal.records[index];
            if !record.is_default() || record.phase == Phase::KEPT || self.side_of(index).is_some() {
                continue;
            }
            let (name, version) = (record.info.name, record.info.version);
            let service = self.repository.defaults.as_ref().and_then(|d| d.service(name_str(&name)));
            let Some(chosen) = service.map(|service| boot_choice(service).version()) else { continue };
            let plain = self
                .module_of(record)
                .is_ok_and(|m| self.modules[m].module.manifest.exchange() == Exchange::Restart);
            if !plain || crate::modules::is_version(chosen, name_str(&version)) {
                continue;
            }
            let Some(module) = self.position(name_str(&name), chosen) else { continue };
            log!("{} {chosen} takes its place, as was begun", name_str(&name));
            let made = self.create_stopped(module, Purpose::Replace);
            if let Err(error) = made.and_then(|new| self.swap(new, index)) {
                log!("{}: {error}", name_str(&name));
            }
        }
    }
}
