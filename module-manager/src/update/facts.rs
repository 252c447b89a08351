//! Whether an update may begin: the facts that the engine's check wants, and what an operator reads when it may not.

use crate::manager::Manager;
use crate::modules::Loaded;
use crate::repository::File;
use alloc::format;
use alloc::string::String;
use core::fmt::Write;
use hic_abi::inspect::{MemoryInfo, SandboxInfo, What};
use hic_abi::{PAGE_SIZE, name_str};
use hic_control::grants;
use hic_hicmod::manifest::{Manifest, PairError, check_pair};
use hic_rt::{clock, log, start, sys};
use hic_update::check::{Facts, PairProblem, Refused, refusal};
use hic_update::{Event, Request, Who};
use module_manager::journal::MAX_SERVICES;

/// Thousandths of a processor above which a service is not updated.
const MAX_LOAD: u64 = 950;

impl Manager {
    pub(super) fn check_module(&mut self) -> Option<Event<'static>> {
        let service = self.request().map(|request| (request.service, request.to));
        let refused =
            service.is_some_and(|(name, to)| self.refused_file(name_str(&name), name_str(&to)).is_some());
        let held = service.is_some_and(|(name, to)| self.repository.holds(name_str(&name), name_str(&to)));
        if self.new_module().is_none() && held {
            // It had to make room for another one.
            self.refresh_repository();
        }
        let waits = self.repository.is_reading() || self.is_worth_a_search();
        if self.new_module().is_none() && !refused && waits {
            if let Some(running) = &mut self.update {
                running.checking = true;
            }
            return None;
        }
        Some(Event::Checked(self.checked()))
    }

    pub(super) fn finish_check(&mut self) {
        let waits = self.repository.is_reading() || self.network.is_searching();
        if waits || !self.update.as_ref().is_some_and(|running| running.checking) {
            return;
        }
        if self.is_worth_a_search() {
            return self.search_update();
        }
        let outcome = self.network.outcome.take();
        if let Some(running) = &mut self.update {
            running.checking = false;
            if let Some(Err(refusal)) = outcome {
                log!("update: {refusal}");
                running.lines.push(format!("{refusal}"));
            }
        }
        let checked = self.checked();
        self.drive(Event::Checked(checked));
    }

    /// Looks for the version that is wanted on the network.
    fn search_update(&mut self) {
        let Some(request) = self.request() else { return };
        if let Some(running) = &mut self.update {
            running.searched = true;
        }
        let name = name_str(&request.service).parse();
        if let (Ok(name), Ok(version)) = (name, name_str(&request.to).parse()) {
            self.begin_search(&name, version);
        }
    }

    /// Whether the version that is wanted is nowhere yet, and repositories on the network were not asked for it.
    fn is_worth_a_search(&self) -> bool {
        let searched = self.update.as_ref().is_none_or(|running| running.searched);
        let refused = self
            .request()
            .is_some_and(|r| self.refused_file(name_str(&r.service), name_str(&r.to)).is_some());
        !searched && !refused && self.new_module().is_none() && !self.sources().is_empty()
    }

    /// Whether the update may begin; whoever follows it hears also who holds what is short.
    fn checked(&mut self) -> Result<(), Refused> {
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
            needed_memory: new.map_or(0, |module| needed_memory(&self.modules[module])),
            free_processor: self.free_processor(None),
            needed_processor: self.update_needs(),
            load: self.load(old),
            max_load: MAX_LOAD,
            storage: true,
            instances: self.journal.services().iter().filter(|r| r.is_used()).count() as u64,
            max_instances: MAX_SERVICES as u64,
        };
        refusal(&facts).map_or(Ok(()), Err)
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
        let audit = start::find(self.page, grants::AUDIT).map(|grant| grant.slot);
        let info = audit.and_then(|audit| sys::inspect::<MemoryInfo>(audit, What::Memory, 0).ok());
        info.map_or(0, |info| info.free * PAGE_SIZE)
    }

    /// Thousandths of a processor that the instance has used since it exists.
    pub(super) fn load(&self, index: usize) -> u64 {
        let used = self.sandbox_info(index).map_or(0, |info| info.cpu_nanos);
        used.saturating_mul(1000) / clock::now().max(1)
    }
}

/// Memory that an instance of a module takes, bytes.
fn needed_memory(loaded: &Loaded) -> u64 {
    let manifest: &Manifest = &loaded.module.manifest;
    (loaded.module.image.memory_pages() as u64 + manifest.extra_pages()) * PAGE_SIZE
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
