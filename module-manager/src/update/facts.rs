//! Whether an update may begin: the facts that the engine's check wants, and what an operator reads when it may not.

use crate::manager::Manager;
use crate::repository::{File, VAULT};
use crate::services::{instance_memory, largest_piece};
use alloc::format;
use alloc::string::String;
use core::fmt::Write;
use hic_abi::inspect::{MemoryInfo, SandboxInfo, What};
use hic_abi::{PAGE_SIZE, name_str};
use hic_control::grants;
use hic_hicmod::manifest::{PairError, check_pair};
use hic_rt::{clock, start, sys};
use hic_update::check::{Facts, PairProblem, Refused, refusal};
use hic_update::{Request, Who};
use module_manager::journal::MAX_SERVICES;

/// Thousandths of a processor above which a service is not updated.
const MAX_LOAD: u64 = 950;

impl Manager {
    /// Whether the update may begin; whoever follows it hears also who holds what is short.
    pub(super) fn checked(&mut self) -> Result<(), Refused> {
        let checked = self.check_facts();
        if let Err(Refused::Processor(_)) = checked {
            let held = self.held_by();
            self.tell_update(format!("the processor is {held}"));
        }
        checked
    }

    fn check_facts(&self) -> Result<(), Refused> {
        let Some((request, old)) = self.request().zip(self.party(Who::Old)) else {
            return Err(Refused::UnknownService);
        };
        let new = self.new_module();
        if new.is_none() && self.refused_file(name_str(&request.service), name_str(&request.to)).is_some() {
            return Err(Refused::Module { code: 0 });
        }
        if let Some(manifest) = new.map(|module| &self.modules[module].module.manifest) {
            if self.can_go_alone(&manifest.name, manifest.version).is_err() {
                return Err(Refused::Dependencies);
            }
            if self.decide(manifest).obstacle().is_some() {
                return Err(Refused::Denied);
            }
        }
        let manifest = |module: usize| self.modules.get(module).map(|m| &m.module.manifest);
        let (from, to) =
            (self.module_of(&self.journal.records[old]).ok().and_then(manifest), new.and_then(manifest));
        let facts = Facts {
            running: None,
            service_known: true,
            version_known: to.is_some(),
            same_version: request.from == request.to,
            updatable: from.is_some_and(|m| m.update.is_some() && !m.state_regions.is_empty()),
            pair: from
                .zip(to)
                .and_then(|(from, to)| check_pair(from, to).err())
                .map(|error| pair_problem(&error))
                .filter(|problem| *problem != PairProblem::Untested || !self.allows_untested(&request)),
            serving: self.runs(old),
            free_memory: self.free_memory(),
            needed_memory: new.map_or(0, |module| instance_memory(&self.modules[module])),
            free_piece: self.free_piece(),
            needed_piece: new.map_or(0, |module| largest_piece(&self.modules[module])),
            free_processor: self.free_processor(None),
            needed_processor: self.update_needs(),
            load: self.load(old),
            max_load: MAX_LOAD,
            // Without a system disk an update is good until the next boot; with one, the record must get there.
            storage: self.journal.find(VAULT).is_none_or(|vault| self.runs(vault)),
            instances: self.journal.services().iter().filter(|r| r.is_used()).count() as u64,
            max_instances: MAX_SERVICES as u64,
        };
        refusal(&facts).map_or(Ok(()), Err)
    }

    /// Whether a version that is not in memory may be somewhere, so that it is read or fetched before anything of it is checked.
    pub fn may_be_had(&self, service: &str, version: &str) -> bool {
        let is_refused = self.refused_file(service, version).is_some();
        let somewhere = self.repository.is_reading()
            || self.repository.holds(service, version)
            || !self.sources().is_empty();
        !is_refused && somewhere
    }

    /// Why the file of the repository that bears the name of this version is refused.
    pub fn refused_file(&self, service: &str, version: &str) -> Option<&File> {
        let mut wanted = heapless::String::<64>::new();
        write!(wanted, "{service}-{version}.hicmod").ok()?;
        self.repository.files().find(|file| file.refusal().is_some() && file.name == wanted)
    }

    /// The sentence for a refusal, with what the verifier said where it was the verifier.
    pub fn explain(&self, refused: &Refused, service: &str, version: &str, out: &mut dyn Write) {
        if let Some(text) = self.why_not(refused, service, version) {
            let _ = out.write_str(&text);
            return;
        }
        let file = match refused {
            Refused::Module { .. } => self.refused_file(service, version),
            _ => None,
        };
        // The message is cut where the answer has no more room.
        let _ = match file.and_then(|file| Some((file, file.refusal()?))) {
            Some((file, refusal)) => write!(out, "{}: {}: {}", refusal.check, file.name, refusal.text),
            None => write!(out, "{}: {refused}", refused.code()),
        };
    }

    /// Whether the policy lets this service be exchanged with a version that it was not tested with.
    fn allows_untested(&self, request: &Request) -> bool {
        let name = name_str(&request.service);
        self.policy.as_ref().is_some_and(|policy| policy.allowed(name).0.untested)
    }

    /// What the disk, the resolver or the policy said, where it was one of them.
    fn why_not(&self, refused: &Refused, service: &str, version: &str) -> Option<String> {
        if let (Refused::UnknownVersion, Some(error)) = (refused, self.repository.changes.error) {
            return Some(format!(
                "{}: there is no {service} {version}; the disk was not read: {error}",
                refused.code()
            ));
        }
        if let Refused::Processor(short) = refused {
            return Some(format!("{}: {short}; it is {}", refused.code(), self.held_by()));
        }
        let manifest = &self.modules.get(self.module(service, version)?)?.module.manifest;
        match refused {
            Refused::Dependencies => self.can_go_alone(service, manifest.version).err(),
            Refused::Denied => self.decide(manifest).obstacle().map(|denied| {
                format!("denied: the policy of this system denies {denied}, and {service} {version} does not work without")
            }),
            _ => None,
        }
    }

    pub fn sandbox_info(&self, index: usize) -> Option<SandboxInfo> {
        let (audit, serial) =
            (start::find(self.page, grants::AUDIT)?.slot, self.journal.records[index].instance.serial);
        (0..)
            .map_while(|i| sys::inspect::<SandboxInfo>(audit, What::Sandbox, i).ok())
            .find(|s| s.serial == serial)
    }

    pub fn runs(&self, index: usize) -> bool {
        self.sandbox_info(index).is_some_and(|info| info.frozen == 0 && info.threads > 0)
    }

    pub fn free_memory(&self) -> u64 {
        self.memory_info().map_or(0, |info| info.free * PAGE_SIZE)
    }

    /// The largest piece of memory that is free, bytes. Memory that waits to be zeroed may make it larger: then nobody knows.
    fn free_piece(&self) -> u64 {
        let known = self.memory_info().filter(|info| info.dirty == 0);
        known.map_or(u64::MAX, |info| info.largest_free * PAGE_SIZE)
    }

    fn memory_info(&self) -> Option<MemoryInfo> {
        let audit = start::find(self.page, grants::AUDIT)?.slot;
        sys::inspect::<MemoryInfo>(audit, What::Memory, 0).ok()
    }

    /// Thousandths of a processor that the instance has used since it exists.
    pub(super) fn load(&self, index: usize) -> u64 {
        let used = self.sandbox_info(index).map_or(0, |info| info.cpu_nanos);
        let since = clock::now().saturating_sub(self.journal.records[index].made_at);
        used.saturating_mul(1000) / since.max(1)
    }
}

fn pair_problem(error: &PairError) -> PairProblem {
    match error {
        PairError::DifferentModules { .. } | PairError::SameVersion { .. } => PairProblem::DifferentModules,
        PairError::NotUpdatable { .. } => PairProblem::NotUpdatable,
        PairError::Forward { .. } => PairProblem::Forward,
        PairError::Backward { .. } => PairProblem::Backward,
        PairError::Protocol { .. } => PairProblem::Protocol,
        PairError::Untested { .. } => PairProblem::Untested,
    }
}
