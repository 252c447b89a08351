//! Modules that came over the network, on the system disk: so that what is installed starts again without the network.
//!
//! ```text
//!   chosen, and from the network ─▶ its bytes to the system disk, flushed ─▶ the record that names it ─▶ started
//!   boot: named by the record, neither in the archive nor on the repository disk ─▶ read back, verified again
//! ```
//! The bytes come before the record, and go where neither it nor the record before it needs what lies there, so a power cut leaves a record whose modules are
//! there ([`module_manager::kept`]). They are verified at each boot like any other file: the system disk has no say in what is good.

use super::{BOOT_PATIENCE, Job, Repository, VAULT, VERIFIER, refused, storage_question};
use crate::cache::discard;
use crate::manager::Manager;
use crate::modules::read_verdict;
use alloc::boxed::Box;
use alloc::vec::Vec;
use hic_abi::{Handle, Rights};
use hic_channel::Message;
use hic_hicmod::verdict::{Refusal, Span};
use hic_rt::log;
use hic_store::messages::{MAX_KEPT, Reply, Request, kept_name};
use hic_store::{Defaults, ServiceDefault, StoreError};
use module_manager::journal::{CachedModule, MAX_CACHED};
use module_manager::kept;

/// A module on its way to the system disk.
#[derive(Clone, Debug)]
pub struct Keep {
    /// Its place among the cached modules.
    cached: usize,
    /// Its place on the disk.
    place: u16,
    done: u32,
}

impl Keep {
    /// The region that the service of the system disk reads.
    pub(super) fn region(&self, cached: &[CachedModule]) -> Option<(Handle, Rights)> {
        cached.get(self.cached).map(|module| (module.region, Rights::READ))
    }
}

impl Manager {
    /// Begins to keep the next module that the record is about to name and that only the network has; `None` if there is none.
    pub(super) fn keep_next(&mut self) -> Option<Job> {
        let vault = self.journal.find(VAULT)?;
        let named: Vec<_> = (0..MAX_CACHED).map(|cached| self.is_named(cached)).collect();
        let (cached, place) = kept::begin(&mut self.journal.cached, |cached| named[cached])?;
        let Some(place) = place else {
            self.not_kept(cached, StoreError::Full);
            return self.keep_next();
        };
        let keep = Keep { cached, place, done: 0 };
        if let Err(error) = self.show(vault, self.journal.cached[cached].region, Rights::READ) {
            log!("{error}");
            self.not_kept(cached, StoreError::Device);
            return self.keep_next();
        }
        self.ask_keep(&keep);
        Some(Job::Keeping(keep))
    }

    /// Whether the record that is about to be written names a cached module, and whether the one on the disk does.
    fn is_named(&self, cached: usize) -> (bool, bool) {
        let of_place =
            |loaded: &&crate::modules::Loaded| loaded.origin == crate::modules::Origin::Repository(cached);
        let Some(loaded) = self.modules.iter().find(of_place) else { return (false, false) };
        let manifest = &loaded.module.manifest;
        let archived = self.is_archived(&manifest.name);
        let by = |record: &Option<Defaults>| {
            record
                .as_ref()
                .is_some_and(|record| kept::names(record, &manifest.name, manifest.version, archived))
        };
        (by(&self.repository.defaults), by(&self.journal.defaults.load()))
    }

    fn ask_keep(&mut self, keep: &Keep) {
        let CachedModule { address, length, .. } = self.journal.cached[keep.cached];
        self.ask_disk(
            VAULT,
            &Request::Keep {
                place: keep.place.into(),
                offset: keep.done,
                // A module has at most 32 MiB.
                length: length as u32 - keep.done,
                source: address + u64::from(keep.done),
                last: true,
            },
        );
    }

    pub(super) fn kept(&mut self, mut keep: Keep, answer: &Message) -> Job {
        let length = self.journal.cached[keep.cached].length as u32;
        let error = match Reply::decode(answer.payload()) {
            Ok(Reply::Kept { length: part }) if part > 0 && part <= length - keep.done => {
                keep.done += part;
                if keep.done < length {
                    self.ask_keep(&keep);
                    return Job::Keeping(keep);
                }
                None
            }
            Ok(Reply::Failed(error)) => Some(error),
            _ => Some(StoreError::Malformed),
        };
        self.end_keeping(&keep, error);
        Job::Idle
    }

    /// The end of it: the disk has the module, or not.
    pub(super) fn end_keeping(&mut self, keep: &Keep, error: Option<StoreError>) {
        let _ = self.hide(VAULT, self.journal.cached[keep.cached].region);
        match error {
            Some(error) => self.not_kept(keep.cached, error),
            None => {
                let entry = &mut self.journal.cached[keep.cached];
                entry.place = keep.place + 1;
                log!("{} bytes are kept on the system disk ({})", entry.length, kept_name(keep.place.into()));
            }
        }
    }

    /// The record is written all the same: what is installed runs, and a boot looks for it on the network.
    fn not_kept(&mut self, cached: usize, error: StoreError) {
        self.journal.cached[cached].place = CachedModule::REFUSED;
        log!("a module is not kept on the system disk, so a boot needs the network for it: {error}");
    }

    /// Reads what the system disk keeps, as far as the record names it and nobody else has it. For the boot only: waits.
    pub fn load_kept(&mut self) {
        let Some(vault) = self.journal.find(VAULT) else { return };
        let mut index = 0;
        while self.has_missing() {
            let answer = self.ask_and_wait(vault, &storage_question(&Request::List { index }), BOOT_PATIENCE);
            let Some(Ok(Reply::File { count, name, size, .. })) =
                answer.as_ref().map(|answer| Reply::decode(answer.payload()))
            else {
                return;
            };
            let place = (0..MAX_KEPT as u16).find(|place| kept_name((*place).into()) == name);
            if let Some(place) = place.filter(|_| size > 0)
                && let Err(refusal) = self.load_place(vault, place, size)
            {
                log!("system disk: {name}: {refusal}");
            }
            index += 1;
            if index >= count {
                return;
            }
        }
    }

    fn has_missing(&self) -> bool {
        let missing = |service: &ServiceDefault| {
            let mut versions = [Some(service.version), service.previous].into_iter().flatten();
            self.is_present(&service.name) && versions.any(|version| !self.is_loaded(&service.name, version))
        };
        self.repository.defaults.as_ref().is_some_and(|defaults| defaults.services.iter().any(missing))
    }

    fn load_place(&mut self, vault: usize, place: u16, size: u32) -> Result<(), Box<Refusal>> {
        if size > super::MAX_FILE {
            return Err(refused("size", &format_args!("{size} bytes are no module")));
        }
        let (region, address) = self.new_region(size.into())?;
        let read = self.read_place(vault, place, (region, address), size);
        read.inspect_err(|_| {
            let _ = (self.hide(VAULT, region), self.hide(VERIFIER, region));
            discard(region);
        })
    }

    /// Reads a file of the system disk, has it verified, and keeps it in memory if the record names it.
    fn read_place(
        &mut self,
        vault: usize,
        place: u16,
        (region, address): (Handle, u64),
        size: u32,
    ) -> Result<(), Box<Refusal>> {
        let memory = |error: &dyn core::fmt::Display| refused("memory", error);
        self.show(vault, region, Rights::READ | Rights::WRITE).map_err(|error| memory(&error))?;
        let (name, mut done) = (kept_name(place.into()), 0);
        while done < size {
            let (offset, length, destination) = (done, size - done, address + u64::from(done));
            let request = Request::Read { name: &name, offset, length, destination };
            let answer = self.ask_and_wait(vault, &storage_question(&request), BOOT_PATIENCE);
            match answer.as_ref().map(|answer| Reply::decode(answer.payload())) {
                Some(Ok(Reply::Read { length: part })) if part > 0 && part <= length => done += part,
                Some(Ok(Reply::Failed(error))) => return Err(refused("disk", &error)),
                _ => return Err(refused("disk", &"the file ends before its size")),
            }
        }
        self.hide(VAULT, region).map_err(|error| memory(&error))?;
        let verifier =
            self.journal.find(VERIFIER).ok_or_else(|| refused("no-verdict", &"there is no verifier"))?;
        self.show(verifier, region, Rights::READ).map_err(|error| memory(&error))?;
        let question = self.verify_question(Span { address, length: size.into() });
        let answer = self.ask_and_wait(verifier, &question, BOOT_PATIENCE);
        let trust = read_verdict(answer.as_ref())?;
        self.hide(VERIFIER, region).map_err(|error| memory(&error))?;
        let (name, version) = self.keep(region, address, size.into(), trust, CachedModule::SYSTEM)?;
        let Some(position) = self.position(&name, version) else { return Ok(()) };
        let crate::modules::Origin::Repository(cached) = self.modules[position].origin else { return Ok(()) };
        if self.is_named(cached).0 {
            self.journal.cached[cached].place = place + 1;
            log!("{name} {version} is read from the system disk");
        } else {
            // It was removed or replaced: nothing starts it, and its place is free.
            self.forget_module(&name, version);
        }
        Ok(())
    }
}

impl Repository {
    /// The region of a module that is being kept.
    pub(super) fn keep_shown(&self, cached: &[CachedModule]) -> Option<(Handle, Rights)> {
        match &self.job {
            Job::Keeping(keep) => keep.region(cached),
            _ => None,
        }
    }
}
