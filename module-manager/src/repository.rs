//! The repository: which module files the storage service has, fetched, verified and kept in memory; and the defaults on the disk.
//!
//! One job at a time, in steps: each step is a question to the storage service or the verifier, and the next begins when its answer has come.
//! Nobody is waited for (but at boot, when nobody is served yet). A file's bytes lie in a region of the manager, which the storage service can
//! write while it reads the file into it, then the verifier can read, and then nobody can change.

use crate::manager::{Manager, StartError, at};
use crate::modules::{NOTE_REFUSED, Origin, load_cached, read_verdict};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use hic_abi::{Error, Handle, Nanos, Rights, SELF, name_str};
use hic_channel::{Message, WORDS};
use hic_hicmod::verdict::{Refusal, Span};
use hic_rt::{cap, clock, log, sys};
use hic_store::messages::{MAX_MESSAGE_BYTES, Reply, Request};
use hic_store::{Defaults, FileName, StoreError};
use module_manager::journal::{CachedModule, Journal, Record, Trust};

/// The services asked.
pub const STORAGE: &str = "storage";
/// See [`STORAGE`].
pub const VERIFIER: &str = "verifier";
/// Longest module file, bytes.
const MAX_FILE: u32 = 32 << 20;
/// How long the boot waits for the disk.
const BOOT_PATIENCE: Nanos = 30_000_000_000;

/// A file of the repository.
pub struct File {
    /// Its name.
    pub name: FileName,
    /// Its bytes.
    size: u32,
    /// Why it cannot be used; `None` for a good module.
    pub refusal: Option<Box<Refusal>>,
}

/// A file on its way into memory.
#[derive(Clone, Debug)]
struct Fetch {
    index: u32,
    count: u32,
    name: FileName,
    size: u32,
    region: Handle,
    address: u64,
    done: u32,
}

/// What was asked last.
#[derive(Clone, Debug, Default)]
enum Job {
    #[default]
    Idle,
    Listing {
        index: u32,
    },
    Reading(Fetch),
    Verifying(Fetch),
    /// The defaults are being written.
    Writing,
}

/// The manager's view of the disk.
#[derive(Default)]
pub struct Repository {
    job: Job,
    /// What this scan found so far, or the last one.
    files: Vec<File>,
    /// What the scan before it found and this one has not come to.
    before: Vec<File>,
    /// Where to go on with a scan that something more urgent interrupted.
    rest: Option<u32>,
    /// The defaults as they are to be on the disk; `None` while nothing was read.
    pub defaults: Option<Defaults>,
    /// A scan came to its end.
    complete: bool,
    /// A scan is to follow.
    scan: bool,
    /// The defaults are to be written.
    dirty: bool,
    /// How the last writing of the defaults ended, for whoever waits for it.
    pub written: Option<Result<(), StoreError>>,
}

impl Repository {
    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        matches!(self.job, Job::Idle) && !self.scan && !self.dirty && self.rest.is_none()
    }

    /// Whether there are files that nobody knows yet. Looking whether those that are known are still there is no reading.
    pub fn is_reading(&self) -> bool {
        let reads = matches!(self.job, Job::Reading(_) | Job::Verifying(_));
        reads || (!self.complete && !self.is_idle())
    }

    /// All files known.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter().chain(&self.before)
    }

    /// The region that is shown to a service at this moment, and how.
    fn shown(&self, name: &str) -> Option<(Handle, Rights)> {
        match (&self.job, name) {
            (Job::Reading(fetch), STORAGE) => Some((fetch.region, Rights::READ | Rights::WRITE)),
            (Job::Verifying(fetch), VERIFIER) => Some((fetch.region, Rights::READ)),
            _ => None,
        }
    }
}

fn storage_question(request: &Request<'_>) -> Message {
    let mut buffer = [0; MAX_MESSAGE_BYTES];
    // Every request fits by the definition of `MAX_MESSAGE_BYTES`.
    let bytes = request.encode(&mut buffer).unwrap_or_default();
    Message::new(0, [0; WORDS]).with_payload(bytes)
}

impl Manager {
    /// Looks through the repository (again). [`Self::repository_turn`] goes on with it.
    pub fn scan_repository(&mut self) {
        self.repository.scan = true;
        self.repository_turn();
    }

    /// Writes the defaults to the disk; `repository.written` tells when it is done.
    pub fn write_defaults(&mut self) {
        (self.repository.dirty, self.repository.written) = (true, None);
        self.repository_turn();
    }

    /// Does what can be done now: takes answers in and asks the next question.
    pub fn repository_turn(&mut self) {
        loop {
            let job = core::mem::take(&mut self.repository.job);
            let before = core::mem::discriminant(&job);
            let next = self.advance(job);
            let waits = core::mem::discriminant(&next) == before && !matches!(next, Job::Idle);
            let has_more = self.repository.scan || self.repository.dirty || self.repository.rest.is_some();
            let rests = matches!(next, Job::Idle) && !has_more;
            self.repository.job = next;
            if waits || rests {
                return;
            }
        }
    }

    fn advance(&mut self, job: Job) -> Job {
        match job {
            Job::Idle => self.begin(),
            Job::Listing { index } => match self.storage_answer() {
                None => Job::Listing { index },
                Some(answer) => self.listed(index, &answer),
            },
            Job::Reading(fetch) => match self.storage_answer() {
                None => Job::Reading(fetch),
                Some(answer) => self.read(fetch, &answer),
            },
            Job::Verifying(fetch) => {
                match self.journal.find(VERIFIER).map(|verifier| self.answer_of(verifier)) {
                    Some(None) => Job::Verifying(fetch),
                    answer => self.verified(fetch, read_verdict(answer.flatten().as_ref())),
                }
            }
            Job::Writing => match self.storage_answer() {
                None => Job::Writing,
                Some(answer) => {
                    let result = match Reply::decode(answer.payload()) {
                        Ok(Reply::Written) => Ok(()),
                        Ok(Reply::Failed(error)) => Err(error),
                        _ => Err(StoreError::Malformed),
                    };
                    // An answer to what was replaced meanwhile says nothing.
                    if !self.repository.dirty {
                        self.repository.written = Some(result);
                    }
                    Job::Idle
                }
            },
        }
    }

    fn storage_answer(&self) -> Option<Message> {
        self.answer_of(self.journal.find(STORAGE)?)
    }

    fn ask_storage(&self, request: &Request<'_>) -> bool {
        self.journal.find(STORAGE).is_some_and(|storage| self.ask(storage, &storage_question(request)))
    }

    fn begin(&mut self) -> Job {
        if core::mem::take(&mut self.repository.dirty) {
            return self.begin_writing();
        }
        if let Some(index) = self.repository.rest.take() {
            return self.list_file(index);
        }
        if core::mem::take(&mut self.repository.scan) {
            self.repository.before = core::mem::take(&mut self.repository.files);
            return self.list_file(0);
        }
        Job::Idle
    }

    fn begin_writing(&mut self) -> Job {
        let mut buffer = [0; hic_store::MAX_RECORD_BYTES];
        let defaults = self.repository.defaults.get_or_insert_with(Defaults::default);
        let asked = match defaults.encode(&mut buffer) {
            Ok(record) => {
                keep_defaults(self.journal, record);
                self.ask_storage(&Request::WriteState { record })
            }
            Err(_) => false,
        };
        if asked {
            return Job::Writing;
        }
        self.repository.written = Some(Err(StoreError::NoDisk));
        Job::Idle
    }

    fn list_file(&mut self, index: u32) -> Job {
        if self.ask_storage(&Request::List { index }) { Job::Listing { index } } else { Job::Idle }
    }

    fn listed(&mut self, index: u32, answer: &Message) -> Job {
        let Ok(Reply::File { count, name, size }) = Reply::decode(answer.payload()) else { return Job::Idle };
        let fetch = Fetch { index, count, name, size, region: 0, address: 0, done: 0 };
        // A good module that was read before is still here unless the places for modules are all taken.
        let kept = self.journal.cached.iter().any(|cached| cached.region == 0);
        let is_it = |f: &File| f.name == fetch.name && f.size == size && (kept || f.refusal.is_some());
        let known = self.repository.before.iter().position(is_it);
        if let Some(known) = known {
            let before = self.repository.before.swap_remove(known);
            return self.next(&fetch, before.refusal);
        }
        match self.make_room(fetch.clone()) {
            Ok(fetch) => {
                self.ask_part(&fetch);
                Job::Reading(fetch)
            }
            Err(refusal) => self.next(&fetch, Some(refusal)),
        }
    }

    /// A region for the file, which the storage service can write.
    fn make_room(&mut self, mut fetch: Fetch) -> Result<Fetch, Box<Refusal>> {
        if fetch.size == 0 || fetch.size > MAX_FILE {
            return Err(refused("size", &format_args!("{} bytes are no module", fetch.size)));
        }
        let storage = self.journal.find(STORAGE).ok_or_else(|| refused("disk", &"no storage service"))?;
        let short = |error: &dyn fmt::Display| refused("memory", error);
        let region = cap::allocate().ok_or_else(|| short(&"no capability slot is free"))?;
        let made = sys::create_region(self.account, region, fetch.size.into()).map_err(at("region"));
        let made = made.and_then(|address| {
            self.show(storage, region, Rights::READ | Rights::WRITE)?;
            Ok(address)
        });
        match made {
            Ok(address) => {
                (fetch.region, fetch.address) = (region, address);
                Ok(fetch)
            }
            Err(error) => {
                discard(region);
                Err(short(&error))
            }
        }
    }

    fn ask_part(&self, fetch: &Fetch) {
        self.ask_storage(&Request::Read {
            name: &fetch.name,
            offset: fetch.done,
            length: fetch.size - fetch.done,
            destination: fetch.address + u64::from(fetch.done),
        });
    }

    fn read(&mut self, mut fetch: Fetch, answer: &Message) -> Job {
        match Reply::decode(answer.payload()) {
            Ok(Reply::Read { length }) if length > 0 && length <= fetch.size - fetch.done => {
                fetch.done += length
            }
            Ok(Reply::Failed(error)) => return self.give_up(fetch, refused("disk", &error)),
            _ => return self.give_up(fetch, refused("disk", &"the file ends before its size")),
        }
        if fetch.done < fetch.size {
            self.ask_part(&fetch);
            // The same job with another question: `repository_turn` must look at it again only when there is an answer.
            return Job::Reading(fetch);
        }
        match self.pass_to_verifier(&fetch) {
            Ok(()) => Job::Verifying(fetch),
            Err(error) => self.give_up(fetch, refused("no-verdict", &error)),
        }
    }

    /// Takes the file from the storage service, for good, and shows it to the verifier.
    fn pass_to_verifier(&mut self, fetch: &Fetch) -> Result<(), StartError> {
        self.hide(STORAGE, fetch.region)?;
        let verifier = self.journal.find(VERIFIER).ok_or(StartError::NoAuthority("verifier"))?;
        self.show_archive(verifier)?;
        self.show(verifier, fetch.region, Rights::READ)?;
        let file = Span { address: fetch.address, length: fetch.size.into() };
        self.ask(verifier, &self.verify_question(file));
        Ok(())
    }

    fn hide(&self, service: &str, region: Handle) -> Result<(), StartError> {
        let Some(index) = self.journal.find(service) else { return Ok(()) };
        match sys::region_unmap(self.journal.records[index].instance.sandbox, region) {
            Ok(()) | Err(Error::WrongState) => Ok(()),
            Err(error) => Err(at("unmap in another sandbox")(error)),
        }
    }

    fn verified(&mut self, fetch: Fetch, verdict: Result<Trust, Box<Refusal>>) -> Job {
        let kept = verdict.and_then(|trust| {
            let hidden = self.hide(VERIFIER, fetch.region);
            let kept = hidden.and_then(|()| self.keep(&fetch, trust));
            kept.map_err(|error| refused("memory", &error))
        });
        match kept {
            Ok(()) => self.next(&fetch, None),
            Err(refusal) => self.give_up(fetch, refusal),
        }
    }

    /// Keeps a verified file in memory. One that is known already is not kept twice.
    fn keep(&mut self, fetch: &Fetch, trust: Trust) -> Result<(), StartError> {
        sys::region_map(SELF, fetch.region, Rights::READ).map_err(at("map a module"))?;
        let entry = CachedModule {
            region: fetch.region,
            reserved: 0,
            address: fetch.address,
            length: fetch.size.into(),
            trust,
        };
        let manifest = load_cached(&entry, Origin::Archive)?.module.manifest;
        if self
            .modules
            .iter()
            .any(|m| m.module.manifest.name == manifest.name && m.module.manifest.version == manifest.version)
        {
            discard(fetch.region);
            return Ok(());
        }
        let place = self.cache_place().ok_or(StartError::TooMuch("modules of the repository"))?;
        self.journal.cached[place] = entry;
        self.modules.push(load_cached(&entry, Origin::Repository(place))?);
        Ok(())
    }

    /// A free place among the cached modules: an empty one, or that of a module that nobody runs.
    fn cache_place(&mut self) -> Option<usize> {
        if let Some(place) = self.journal.cached.iter().position(|cached| cached.region == 0) {
            return Some(place);
        }
        let runs = |m: &crate::modules::Loaded| {
            let is_it = |r: &&Record| {
                r.is_used()
                    && name_str(&r.info.name) == m.module.manifest.name
                    && crate::modules::is_version(m.module.manifest.version, name_str(&r.info.version))
            };
            self.journal.services().iter().find(is_it).is_some()
        };
        let idle = |m: &crate::modules::Loaded| match m.origin {
            Origin::Repository(place) if !runs(m) && !self.is_wanted(m) => Some(place),
            _ => None,
        };
        let place = self.modules.iter().find_map(idle)?;
        self.modules.retain(|m| m.origin != Origin::Repository(place));
        discard(core::mem::replace(&mut self.journal.cached[place].region, 0));
        Some(place)
    }

    /// Whether a module is a default, or the one before it, or in an update.
    fn is_wanted(&self, loaded: &crate::modules::Loaded) -> bool {
        let manifest = &loaded.module.manifest;
        let service = self.repository.defaults.as_ref().and_then(|defaults| defaults.service(&manifest.name));
        let is_default = service.is_some_and(|s| {
            s.version == manifest.version || s.previous.is_some_and(|v| v == manifest.version)
        });
        let request = self.journal.update.slots.load().map(|(request, _)| request);
        let in_update = request.is_some_and(|request| {
            name_str(&request.service) == manifest.name
                && [request.from, request.to]
                    .iter()
                    .any(|version| crate::modules::is_version(manifest.version, name_str(version)))
        });
        is_default || in_update
    }

    fn give_up(&mut self, fetch: Fetch, refusal: Box<Refusal>) -> Job {
        log!("repository: {}: {refusal}", fetch.name);
        self.note(NOTE_REFUSED, u64::from(fetch.index), format_args!("{} {}", refusal.check, fetch.name));
        let _ = (self.hide(STORAGE, fetch.region), self.hide(VERIFIER, fetch.region));
        discard(fetch.region);
        self.next(&fetch, Some(refusal))
    }

    fn next(&mut self, fetch: &Fetch, refusal: Option<Box<Refusal>>) -> Job {
        self.repository.files.push(File { name: fetch.name.clone(), size: fetch.size, refusal });
        let following = fetch.index + 1;
        if following >= fetch.count {
            self.repository.before.clear();
            self.repository.complete = true;
            return Job::Idle;
        }
        if self.repository.dirty {
            self.repository.rest = Some(following);
            return Job::Idle;
        }
        self.list_file(following)
    }

    /// Shows a service that starts again what it was shown before.
    pub fn show_again(&self, index: usize) -> Result<(), StartError> {
        let name = name_str(&self.journal.records[index].info.name);
        if name == VERIFIER {
            self.show_archive(index)?;
        }
        match self.repository.shown(name) {
            Some((region, rights)) => self.show(index, region, rights),
            None => Ok(()),
        }
    }

    /// After a restart of the manager: what was under way is forgotten, and nobody is left with a question about memory that will go.
    pub fn calm_services(&mut self) {
        let kept = self
            .journal
            .defaults
            .get(..self.journal.defaults_length as usize)
            .filter(|kept| !kept.is_empty());
        self.repository.defaults = kept.and_then(|kept| Defaults::decode(kept).ok());
        self.ask_storage(&Request::List { index: u32::MAX });
        if let Some(verifier) = self.journal.find(VERIFIER) {
            self.ask(verifier, &self.verify_question(Span { address: 0, length: 0 }));
        }
    }

    /// Reads the defaults. For the boot only: waits for the disk.
    pub fn read_defaults(&mut self) {
        let Some(storage) = self.journal.find(STORAGE) else { return };
        let answer = self.ask_and_wait(storage, &storage_question(&Request::ReadState), BOOT_PATIENCE);
        let defaults = match answer.as_ref().map(|answer| Reply::decode(answer.payload())) {
            Some(Ok(Reply::State { record: Some(record) })) => {
                keep_defaults(self.journal, record);
                Defaults::decode(record)
            }
            Some(Ok(Reply::State { record: None })) => Ok(Defaults::default()),
            Some(Ok(Reply::Failed(error))) => return log!("defaults: {error}"),
            _ => return log!("defaults: the storage service did not answer"),
        };
        match defaults {
            Ok(defaults) => self.repository.defaults = Some(defaults),
            Err(error) => log!("defaults: {error}; the boot archive's versions are started"),
        }
    }

    /// Goes on until nothing is under way. For the boot only.
    pub fn finish_repository(&mut self) {
        let deadline = clock::now() + BOOT_PATIENCE;
        while !self.repository.is_idle() {
            if sys::wait(self.journal.bell, deadline).is_err() {
                return log!("the repository does not answer");
            }
            self.repository_turn();
        }
    }
}

/// Keeps the defaults over a restart of the manager.
fn keep_defaults(journal: &mut Journal, record: &[u8]) {
    for (to, from) in journal.defaults.iter_mut().zip(record) {
        *to = *from;
    }
    journal.defaults_length = record.len() as u64;
}

fn refused(check: &str, why: &dyn fmt::Display) -> Box<Refusal> {
    Box::new(Refusal::new(check, why))
}

/// Ends a region and gives its slot back.
fn discard(region: Handle) {
    let _ = sys::destroy(SELF, region);
    cap::drop_slot(region);
}
