//! What the policy of this system grants to a module (`libs/policy`), asked before any capability is made for it.

use crate::manager::{Manager, StartError};
use crate::modules::NOTE_REFUSED;
use crate::services::Purpose;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use hic_control::Refusal;
use hic_hicmod::Archive;
use hic_hicmod::manifest::Manifest;
use hic_policy::{Decision, POLICY, Policy};
use hic_rt::log;
use module_manager::describe::{denials, describe};
use module_manager::journal::Record;

/// The policy in the archive; `None`: the image has none, or none that can be used.
pub fn policy(archive: &Archive<'static>) -> Option<Policy<'static>> {
    let entry = archive.find(POLICY)?;
    let bytes = entry.bytes().ok()?;
    match Policy::parse(bytes) {
        Ok(policy) => Some(policy),
        Err(error) => {
            log!("{error}; until then no module gets any authority");
            Some(Policy::NOTHING)
        }
    }
}

impl Manager {
    /// What of the authority that a manifest asks for is granted.
    pub fn decide(&self, manifest: &Manifest) -> Decision {
        match &self.policy {
            Some(policy) => policy.decide(manifest),
            None => Decision { granted: manifest.clone(), denied: Default::default() },
        }
    }

    /// The manifest of a module with what is granted, for an instance that is to be made. What is denied is told to whoever asked for the instance, and is
    /// in the log and the audit log.
    pub fn granted(&mut self, module: usize, purpose: Purpose) -> Result<Box<Manifest>, StartError> {
        let manifest = &self.modules[module].module.manifest;
        let (name, version, decision) = (manifest.name.clone(), manifest.version, self.decide(manifest));
        for denied in &decision.denied {
            self.note(NOTE_REFUSED, 1, format_args!("denied {name}: {denied}"));
        }
        for denied in denials(&decision) {
            let line = format!("{name} {version}: denied by the policy: {denied}");
            match purpose {
                Purpose::Boot => log!("{line}"),
                Purpose::Install | Purpose::Replace => self.tell_task(line),
                Purpose::Update { .. } => self.tell_update(line),
            }
        }
        match decision.obstacle() {
            Some(denied) => Err(StartError::Denied(denied.to_string())),
            None => Ok(Box::new(decision.granted)),
        }
    }

    /// A line of what the module `NAME VERSION` is, is granted and is denied.
    pub fn module_line(&self, module: &str, index: usize) -> Result<String, Refusal> {
        let (name, version) = module.split_once(' ').ok_or(Refusal::Malformed)?;
        let manifest = &self.modules[self.module(name, version).ok_or(Refusal::NotFound)?].module.manifest;
        describe(manifest, &self.decide(manifest)).into_iter().nth(index).ok_or(Refusal::NotFound)
    }

    /// A line of what the instance in the sandbox with this serial number asked for and was denied.
    pub fn denial(&self, serial: u64, index: usize) -> Result<String, Refusal> {
        let in_it = |record: &&Record| record.is_used() && record.instance.serial == serial;
        let record = self.journal.services().iter().find(in_it).ok_or(Refusal::NotFound)?;
        let module = self.module_of(record).map_err(|_| Refusal::NotFound)?;
        let manifest = &self.modules[module].module.manifest;
        denials(&self.decide(manifest)).into_iter().nth(index).ok_or(Refusal::NotFound)
    }
}
