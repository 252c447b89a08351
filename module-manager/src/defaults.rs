//! Which version of a service a boot starts, and what is done when that version does not come up (issue: persistence; ledger P4.9).
//!
//! The record on the disk counts an attempt before a default is started, and forgets it when the service has proved healthy. So a default that dies
//! right after its start, or that takes the machine with it, is passed over for the version before it after two attempts.

use crate::manager::Manager;
use crate::modules::{NOTE_FALLBACK, Origin};
use crate::services::Purpose;
use alloc::vec::Vec;
use hic_abi::switch::{Entry, EntryKind};
use hic_abi::{Nanos, SELF, name_str};
use hic_hicmod::manifest::{Exchange, Name, Version};
use hic_rt::{clock, log, sys};
use hic_store::{BootChoice, Presence, ServiceDefault};

impl Manager {
    /// Finds out which versions are the defaults, and fetches those that are not in the archive.
    pub fn load_defaults(&mut self) {
        self.read_defaults();
        let Some(defaults) = &self.repository.defaults else { return };
        let missing = |service: &ServiceDefault| {
            service.presence != Presence::Removed && !self.is_loaded(&service.name, service.version)
        };
        if defaults.services.iter().any(missing) {
            self.scan_repository();
            self.finish_repository();
        }
        self.load_kept();
    }

    /// Starts the default version of a service. A version that failed at its last boots is passed over for the one before it.
    pub fn start_default(&mut self, name: &str) {
        let archived =
            self.modules.iter().position(|m| m.origin == Origin::Archive && m.module.manifest.name == name);
        let mut defaults = self.repository.defaults.take();
        let is_there = |version| self.is_loaded(name, version);
        let choice = defaults.as_mut().and_then(|defaults| defaults.begin_boot(name, is_there));
        self.repository.defaults = defaults;
        let chosen = match choice {
            None => archived,
            Some(choice) => {
                self.report_choice(name, choice);
                self.write_defaults();
                self.finish_repository();
                let version = choice.version();
                let found = self.position(name, version);
                if found.is_none() {
                    log!(
                        "{name} {version} is the default and cannot be found: the boot archive's version is started"
                    );
                }
                found.or(archived)
            }
        };
        let Some(module) = chosen else { return log!("{name} not started: no module") };
        if let Err(error) = self.create_service(module) {
            log!("{name} not started: {error}");
        }
    }

    fn report_choice(&self, name: &str, choice: BootChoice) {
        match choice {
            BootChoice::Default(version) => log!("{name} {version} is the default"),
            BootChoice::Fallback { version, failed } => {
                log!("{name} {failed} failed at its last boots: back to {version}");
                self.note(NOTE_FALLBACK, 0, format_args!("{name} {failed} failed: {version}"));
            }
            BootChoice::OnlyOne(version) => {
                log!("{name} {version} failed at its last boots, and there is no version before it");
            }
        }
    }

    /// Services that run a default which has not proved healthy yet.
    fn on_probation(&self) -> Vec<(Name, Version)> {
        let defaults = self.repository.defaults.iter().flat_map(|defaults| &defaults.services);
        defaults
            .filter(|service| service.attempts > 0)
            .map(|service| (service.name.clone(), service.version))
            .collect()
    }

    /// Calls those healthy that answer and have run long enough; when to look again.
    pub fn probation_turn(&mut self) -> Nanos {
        let waiting = self.on_probation();
        if waiting.is_empty() {
            return hic_abi::FOREVER;
        }
        let (now, mut again, mut changed) = (clock::now(), hic_abi::FOREVER, false);
        for (name, _) in waiting {
            // The manager hears when one that does not run is started again, and when one answers, and has its next turn then.
            let Some(index) = self.journal.find(&name) else { continue };
            let record = &self.journal.records[index];
            let Some(due) = record.proved_at() else { continue };
            if now < due {
                again = again.min(due);
                continue;
            }
            let running = name_str(&record.info.version).parse::<Version>();
            if let (true, Ok(version), Some(defaults)) =
                (self.runs(index), running, &mut self.repository.defaults)
            {
                changed |= defaults.healthy(&name, version);
            }
        }
        if changed {
            self.write_defaults();
        }
        again
    }

    /// A service died. If it was a default on probation that has failed often enough, the version before it takes its place; `true` then.
    pub fn fall_back(&mut self, index: usize) -> bool {
        let record = &self.journal.records[index];
        let (service, version) = (record.info.name, record.info.version);
        let name = name_str(&service);
        let suspect = self
            .on_probation()
            .iter()
            .any(|(suspect, v)| *suspect == name && crate::modules::is_version(*v, name_str(&version)));
        if !suspect || self.side_of(index).is_some() {
            return false;
        }
        let Some(defaults) = &mut self.repository.defaults else { return false };
        let Some(choice) = defaults.begin_boot(name, |_| true) else { return false };
        self.write_defaults();
        let BootChoice::Fallback { version: before, .. } = choice else { return false };
        self.report_choice(name, choice);
        let Some(module) = self.position(name, before) else {
            log!("{name} {before} cannot be found");
            return false;
        };
        self.replace_dead(index, module)
    }

    /// Starts another version in place of a dead instance that served nobody well, where it has one on the account of its service; its clients' ports
    /// follow.
    fn replace_dead(&mut self, dead: usize, module: usize) -> bool {
        // A driver's device is not free for another instance.
        if self.modules[module].module.manifest.exchange() == Exchange::InPlace {
            return self.exchange_dead(dead, module);
        }
        let record = &self.journal.records[dead];
        let name = record.info.name;
        let made = match record.service_account == record.instance.account {
            true => self.create_stopped(module, Purpose::Replace),
            false => self.create_successor(module, dead),
        };
        let started = made.and_then(|index| self.launch_new(index).map(|()| index));
        match started {
            Ok(index) => {
                self.set_standing(index, dead);
                self.lead_ports(name_str(&name));
                self.discard_instance(dead);
                true
            }
            Err(error) => {
                log!("{} not started: {error}", name_str(&name));
                false
            }
        }
    }

    /// Leads all ports of a service to its default instance.
    pub fn lead_ports(&self, name: &str) {
        let Some(endpoint) = self.journal.endpoint(name) else { return };
        let switch = |port| Entry {
            kind: EntryKind::SwitchPort as u64,
            args: [SELF, port, endpoint, 0].map(u64::from),
        };
        let entries: Vec<_> = self.service_ports(name).into_iter().map(switch).collect();
        if !entries.is_empty()
            && let Err((error, _)) = sys::transaction(&entries)
        {
            log!("the ports of {name} do not follow: {error}");
        }
    }
}
