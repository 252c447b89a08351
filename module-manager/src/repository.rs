//! The repository: which module files the storage service has, fetched, verified and kept in memory; and the defaults on the disk.
//!
//! One job at a time, in steps: each step is a question to the storage service or the verifier, and the next begins when its answer has come.
//! Nobody is waited for (but at boot, when nobody is served yet). A file's bytes lie in a region of the manager, which the storage service can
//! write while it reads the file into it, then the verifier can read, and then nobody can change.

use crate::cache::{ModuleName, discard};
use crate::manager::{Manager, StartError, at};
use crate::metadata::{Metadata, Walk};
use crate::modules::{NOTE_REFUSED, read_verdict};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use hic_abi::{Error, FOREVER, Handle, Nanos, Rights, name_str};
use hic_channel::{Message, WORDS};
use hic_hicmod::verdict::{Refusal, Span};
use hic_rt::{cap, clock, log, sys};
use hic_store::messages::{MAX_MESSAGE_BYTES, Reply, Request};
use hic_store::{Defaults, FileName, StoreError};
use module_manager::journal::{Journal, Phase, Trust};
use module_manager::patience::{Patience, Verdict};

/// The services asked.
pub const STORAGE: &str = "storage";
/// The service that keeps the record, on a disk that nobody else writes.
pub const VAULT: &str = "vault";
/// See [`STORAGE`].
pub const VERIFIER: &str = "verifier";
/// Longest module file, bytes.
const MAX_FILE: u32 = 32 << 20;
/// How long the boot waits for the disk.
const BOOT_PATIENCE: Nanos = 60_000_000_000;

/// A file of the repository.
#[derive(Clone)]
pub struct File {
    /// Its name.
    pub name: FileName,
    /// Its bytes.
    size: u32,
    /// Changes when it is written anew.
    stamp: u64,
    /// The module in it, or why it cannot be used.
    pub content: Result<ModuleName, Box<Refusal>>,
}

impl File {
    /// Why it cannot be used.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.content.as_ref().err().map(|refusal| &**refusal)
    }

    fn is(&self, fetch: &Fetch) -> bool {
        self.name == fetch.name && self.size == fetch.size && self.stamp == fetch.stamp
    }
}

/// What a look through the repository brought.
#[derive(Default)]
pub struct Changes {
    /// Files that were not there before, or not like this.
    pub new: Vec<File>,
    /// Files that are not there any more.
    pub gone: Vec<File>,
    /// Why it came to no end.
    pub error: Option<StoreError>,
}

/// A file on its way into memory.
#[derive(Clone, Debug)]
pub struct Fetch {
    index: u32,
    count: u32,
    name: FileName,
    size: u32,
    stamp: u64,
    region: Handle,
    address: u64,
    done: u32,
    /// It came over the network, and is no file of the disk.
    remote: bool,
}

/// What was asked last.
#[derive(Clone, Debug, Default)]
pub enum Job {
    #[default]
    Idle,
    /// The storage service looks at the disk anew.
    Rescanning,
    /// The verifier looks at the metadata.
    Walking(Walk),
    /// A file of the metadata is read.
    Fetching(Walk),
    Listing {
        index: u32,
    },
    Reading(Fetch),
    Verifying(Fetch),
    /// The defaults are being written.
    Writing,
}

impl Job {
    /// Whose answer it waits for.
    fn service(&self) -> &'static str {
        match self {
            Self::Verifying(_) | Self::Walking(_) => VERIFIER,
            Self::Writing => VAULT,
            _ => STORAGE,
        }
    }
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
    /// What the metadata says.
    pub metadata: Metadata,
    /// It says something else than at the last scan: every file is looked at again.
    pub metadata_changed: bool,
    /// A scan came to its end.
    complete: bool,
    /// A scan is to follow.
    scan: bool,
    /// The scan reads refused files again, though they look as before.
    thorough: bool,
    /// What the scan under way found to have changed, or the last one.
    pub changes: Changes,
    /// How long the question of the job may still stay open.
    patience: Patience,
    /// A file that came over the network and is to be verified.
    arrived: Option<Fetch>,
    /// The defaults are to be written.
    dirty: bool,
    /// How the last writing of the defaults ended, for whoever waits for it.
    pub written: Option<Result<(), StoreError>>,
}

impl Repository {
    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        let more = self.scan || self.dirty || self.rest.is_some() || self.arrived.is_some();
        matches!(self.job, Job::Idle) && !more
    }

    /// Whether there are files that nobody knows yet. Looking whether those that are known are still there is no reading.
    pub fn is_reading(&self) -> bool {
        let reads =
            matches!(self.job, Job::Reading(_) | Job::Verifying(_) | Job::Walking(_) | Job::Fetching(_));
        reads || (!self.complete && !self.is_idle())
    }

    /// A file that holds this module.
    pub fn holds(&self, name: &str, version: &str) -> bool {
        let is_it = |(n, v): &ModuleName| *n == name && crate::modules::is_version(*v, version);
        self.files().any(|file| file.content.as_ref().is_ok_and(is_it))
    }

    /// All files known.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter().chain(&self.before)
    }

    /// What is under way.
    pub const fn job(&self) -> &Job {
        &self.job
    }

    /// A question was asked just now.
    pub fn be_patient(&mut self) {
        self.patience = Patience::begin(clock::now());
    }

    /// Writes the record; then that many module files are listed.
    pub fn write_first(&mut self, files: u32) {
        (self.dirty, self.written) = (true, None);
        self.begin_listing();
        // With no file to list there is nothing to go on with.
        self.rest = Some(0).filter(|_| files > 0);
        self.complete |= files == 0;
    }

    /// From here on, files of the last scan are those that were not come to yet.
    fn begin_listing(&mut self) {
        self.before = core::mem::take(&mut self.files);
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

pub fn storage_question(request: &Request<'_>) -> Message {
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

    /// The same for somebody who waits for the end of it ([`Repository::is_reading`]), with another look at what was refused.
    pub fn refresh_repository(&mut self) {
        (self.repository.complete, self.repository.thorough) = (false, true);
        self.scan_repository();
    }

    /// Writes the defaults to the disk; `repository.written` tells when it is done.
    pub fn write_defaults(&mut self) {
        (self.repository.dirty, self.repository.written) = (true, None);
        self.repository_turn();
    }

    /// Does what can be done now: takes answers in and asks the next question. When to look again if nobody answers.
    pub fn repository_turn(&mut self) -> Nanos {
        loop {
            let job = core::mem::take(&mut self.repository.job);
            let before = core::mem::discriminant(&job);
            let mut next = self.advance(job);
            let waits = core::mem::discriminant(&next) == before && !matches!(next, Job::Idle);
            if waits {
                match self.repository.patience.at(clock::now()) {
                    Verdict::Wait(until) => {
                        self.repository.job = next;
                        return until;
                    }
                    Verdict::Again => {
                        self.repository.job = next;
                        let service = self.repository.job.service();
                        self.start_again(service);
                        continue;
                    }
                    Verdict::GiveUp => next = self.overdue(next),
                }
            }
            self.repository.job = next;
            if self.repository.is_idle() {
                return FOREVER;
            }
        }
    }

    fn advance(&mut self, job: Job) -> Job {
        match job {
            Job::Idle => self.begin(),
            Job::Rescanning => match self.storage_answer() {
                None => Job::Rescanning,
                Some(answer) => self.rescanned(&answer),
            },
            Job::Walking(walk) => {
                match self.journal.find(VERIFIER).map(|verifier| self.answer_of(verifier)) {
                    Some(None) => Job::Walking(walk),
                    answer => self.walk_answered(walk, answer.flatten().as_ref()),
                }
            }
            Job::Fetching(walk) => match self.storage_answer() {
                None => Job::Fetching(walk),
                Some(answer) => self.metadata_came(walk, &answer),
            },
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
                    answer => {
                        let answer = answer.flatten();
                        let verdict =
                            self.admit(answer.as_ref()).and_then(|()| read_verdict(answer.as_ref()));
                        self.verified(fetch, verdict)
                    }
                }
            }
            Job::Writing => match self.journal.find(VAULT).and_then(|vault| self.answer_of(vault)) {
                None => Job::Writing,
                Some(answer) => {
                    let result = match Reply::decode(answer.payload()) {
                        Ok(Reply::Written) => Ok(()),
                        Ok(Reply::Failed(error)) => Err(error),
                        _ => Err(StoreError::Malformed),
                    };
                    self.wrote(result)
                }
            },
        }
    }

    fn wrote(&mut self, result: Result<(), StoreError>) -> Job {
        // An answer to what was replaced meanwhile says nothing.
        if !self.repository.dirty {
            self.repository.written = Some(result);
        }
        Job::Idle
    }

    /// A service that does not answer is started again; it finds the question open.
    pub fn start_again(&mut self, name: &str) {
        let stopped = |index: &usize| self.journal.records[*index].phase == Phase::STOPPED;
        let Some(index) = self.journal.find(name).filter(|index| !stopped(index)) else { return };
        log!("{name} does not answer: it is started again");
        self.restart_and_report(index);
    }

    /// Gives a job up whose question stays open, and takes the question back: it may be about memory that will go.
    fn overdue(&mut self, job: Job) -> Job {
        let service = job.service();
        log!("{service} does not answer: given up");
        self.calm(service);
        let silent = || refused("no-answer", &format_args!("the service {service} does not answer"));
        match job {
            Job::Verifying(fetch) => self.give_up(fetch, silent()),
            Job::Walking(walk) | Job::Fetching(walk) => {
                self.walked(walk.files(), Metadata::Refused(silent()))
            }
            Job::Reading(fetch) => {
                self.drop_fetch(&fetch, &silent());
                self.stop_scan(StoreError::Device)
            }
            Job::Writing => self.wrote(Err(StoreError::Device)),
            Job::Idle | Job::Rescanning | Job::Listing { .. } => self.stop_scan(StoreError::Device),
        }
    }

    /// Ends a scan that cannot go on; what was known stays known.
    fn stop_scan(&mut self, error: StoreError) -> Job {
        let before = core::mem::take(&mut self.repository.before);
        self.repository.files.extend(before);
        self.repository.changes.error = Some(error);
        self.end_scan()
    }

    fn end_scan(&mut self) -> Job {
        (self.repository.complete, self.repository.thorough) = (true, false);
        self.repository.rest = None;
        Job::Idle
    }

    fn storage_answer(&self) -> Option<Message> {
        self.answer_of(self.journal.find(STORAGE)?)
    }

    fn ask_storage(&mut self, request: &Request<'_>) -> bool {
        self.repository.patience = Patience::begin(clock::now());
        self.journal.find(STORAGE).is_some_and(|storage| self.ask(storage, &storage_question(request)))
    }

    fn ask_vault(&mut self, request: &Request<'_>) -> bool {
        self.repository.patience = Patience::begin(clock::now());
        self.journal.find(VAULT).is_some_and(|vault| self.ask(vault, &storage_question(request)))
    }

    fn begin(&mut self) -> Job {
        if core::mem::take(&mut self.repository.dirty) {
            return self.begin_writing();
        }
        if let Some(index) = self.repository.rest.take() {
            return self.list_file(index);
        }
        if let Some(fetch) = self.repository.arrived.take() {
            return self.begin_verifying(fetch);
        }
        if core::mem::take(&mut self.repository.scan) {
            self.repository.changes = Changes::default();
            if self.ask_storage(&Request::Rescan) {
                return Job::Rescanning;
            }
            return self.stop_scan(StoreError::NoDisk);
        }
        Job::Idle
    }

    fn rescanned(&mut self, answer: &Message) -> Job {
        match Reply::decode(answer.payload()) {
            Ok(Reply::Scanned { count }) => self.begin_walk(count),
            Ok(Reply::Failed(error)) => self.stop_scan(error),
            _ => self.stop_scan(StoreError::Malformed),
        }
    }

    /// Lists the module files, from the first one on.
    pub fn list_from_start(&mut self, files: u32) -> Job {
        self.repository.begin_listing();
        if files == 0 { self.finish_scan() } else { self.list_file(0) }
    }

    /// All files were looked at: what is left of those of the last scan is gone, or was written anew.
    fn finish_scan(&mut self) -> Job {
        let before = core::mem::take(&mut self.repository.before);
        for file in before {
            if let Ok((name, version)) = &file.content
                && !self.repository.files.iter().any(|other| other.content == file.content)
            {
                self.forget_module(name, *version);
            }
            if !self.repository.files.iter().any(|other| other.name == file.name) {
                self.repository.changes.gone.push(file);
            }
        }
        self.end_scan()
    }

    fn begin_writing(&mut self) -> Job {
        let mut buffer = [0; hic_store::MAX_RECORD_BYTES];
        let defaults = self.repository.defaults.get_or_insert_with(Defaults::default);
        let asked = match defaults.encode(&mut buffer) {
            Ok(record) => {
                keep_defaults(self.journal, record);
                self.ask_vault(&Request::WriteState { record })
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
        if self.ask_storage(&Request::List { index }) {
            return Job::Listing { index };
        }
        self.stop_scan(StoreError::NoDisk)
    }

    fn listed(&mut self, index: u32, answer: &Message) -> Job {
        let (count, name, size, stamp) = match Reply::decode(answer.payload()) {
            Ok(Reply::File { count, name, size, stamp }) => (count, name, size, stamp),
            Ok(Reply::Failed(error)) => return self.stop_scan(error),
            _ => return self.stop_scan(StoreError::Malformed),
        };
        let fetch = Fetch { index, count, name, size, stamp, region: 0, address: 0, done: 0, remote: false };
        let known = self.repository.before.iter().position(|file| file.is(&fetch));
        let known = known.filter(|&known| self.is_settled(&self.repository.before[known]));
        if let Some(known) = known {
            let before = self.repository.before.swap_remove(known);
            return self.next(&fetch, before.content, false);
        }
        match self.make_room(fetch.clone()) {
            Ok(fetch) => {
                self.ask_part(&fetch);
                Job::Reading(fetch)
            }
            Err(refusal) => self.next(&fetch, Err(refusal), true),
        }
    }

    /// Whether a file that looks as before need not be read again.
    fn is_settled(&self, file: &File) -> bool {
        if self.repository.metadata_changed {
            return false;
        }
        match &file.content {
            Err(_) => !self.repository.thorough,
            Ok((name, version)) => self.is_loaded(name, *version) || !self.is_wanted(name, *version),
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

    fn ask_part(&mut self, fetch: &Fetch) {
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
        self.begin_verifying(fetch)
    }

    fn begin_verifying(&mut self, fetch: Fetch) -> Job {
        match self.pass_to_verifier(&fetch) {
            Ok(()) => Job::Verifying(fetch),
            Err(error) => self.give_up(fetch, refused("no-verdict", &error)),
        }
    }

    /// Has a file verified that came over the network, and kept if it is good; `network.outcome` tells what came of it.
    pub fn take_arrived(&mut self, name: FileName, region: Handle, address: u64, size: u32) {
        let fetch =
            Fetch { index: 0, count: 0, name, size, stamp: 0, region, address, done: size, remote: true };
        self.repository.arrived = Some(fetch);
        self.repository_turn();
    }

    /// Takes the file from the storage service, for good, and shows it to the verifier.
    fn pass_to_verifier(&mut self, fetch: &Fetch) -> Result<(), StartError> {
        self.hide(STORAGE, fetch.region)?;
        let verifier = self.journal.find(VERIFIER).ok_or(StartError::NoAuthority("verifier"))?;
        self.show_archive(verifier)?;
        self.show(verifier, fetch.region, Rights::READ)?;
        if self.journal.metadata.region != 0 {
            self.show(verifier, self.journal.metadata.region, Rights::READ)?;
        }
        let file = Span { address: fetch.address, length: fetch.size.into() };
        self.repository.patience = Patience::begin(clock::now());
        self.ask(verifier, &self.listed_question(file, &fetch.name));
        Ok(())
    }

    pub fn hide(&self, service: &str, region: Handle) -> Result<(), StartError> {
        let Some(index) = self.journal.find(service) else { return Ok(()) };
        match sys::region_unmap(self.journal.records[index].instance.sandbox, region) {
            Ok(()) | Err(Error::WrongState) => Ok(()),
            Err(error) => Err(at("unmap in another sandbox")(error)),
        }
    }

    fn verified(&mut self, fetch: Fetch, verdict: Result<Trust, Box<Refusal>>) -> Job {
        let kept = verdict.and_then(|trust| {
            self.hide(VERIFIER, fetch.region).map_err(|error| refused("memory", &error))?;
            self.keep(fetch.region, fetch.address, fetch.size.into(), trust)
        });
        match kept {
            Ok(module) => self.next(&fetch, Ok(module), true),
            Err(refusal) => self.give_up(fetch, refusal),
        }
    }

    fn give_up(&mut self, fetch: Fetch, refusal: Box<Refusal>) -> Job {
        self.drop_fetch(&fetch, &refusal);
        self.next(&fetch, Err(refusal), true)
    }

    fn drop_fetch(&mut self, fetch: &Fetch, refusal: &Refusal) {
        log!("repository: {}: {refusal}", fetch.name);
        self.note(NOTE_REFUSED, u64::from(fetch.index), format_args!("{} {}", refusal.check, fetch.name));
        let _ = (self.hide(STORAGE, fetch.region), self.hide(VERIFIER, fetch.region));
        discard(fetch.region);
    }

    /// Notes what a file holds and goes on with the next one.
    fn next(&mut self, fetch: &Fetch, content: Result<ModuleName, Box<Refusal>>, read: bool) -> Job {
        if fetch.remote {
            self.network.outcome = Some(content);
            return Job::Idle;
        }
        let Fetch { name, size, stamp, .. } = fetch.clone();
        let file = File { name, size, stamp, content };
        if read {
            let known = self.repository.before.iter().position(|before| before.is(fetch));
            let before = known.map(|known| self.repository.before.swap_remove(known));
            if let (Some(Ok((name, version))), Err(_)) =
                (before.as_ref().map(|before| &before.content), &file.content)
            {
                // It was good, and the metadata says otherwise now.
                self.forget_module(name, *version);
            }
            // One that was only read again, since its module was not in memory any more, is no news.
            if before.is_none_or(|before| before.content != file.content) {
                self.repository.changes.new.push(file.clone());
            }
        }
        self.repository.files.push(file);
        let following = fetch.index + 1;
        if following >= fetch.count {
            return self.finish_scan();
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
        let shown = [self.repository.shown(name), self.network.shown(name), self.metadata_shown(name)];
        shown.into_iter().flatten().try_for_each(|(region, rights)| self.show(index, region, rights))
    }

    /// After a restart of the manager: what was under way is forgotten, and nobody is left with a question about memory that will go.
    pub fn calm_services(&mut self) {
        let kept = self
            .journal
            .defaults
            .get(..self.journal.defaults_length as usize)
            .filter(|kept| !kept.is_empty());
        self.repository.defaults = kept.and_then(|kept| Defaults::decode(kept).ok());
        [STORAGE, VAULT, VERIFIER].into_iter().for_each(|service| self.calm(service));
        self.stop_fetcher();
    }

    /// Takes the open question to a service back: it gets one that is about nothing.
    fn calm(&mut self, service: &str) {
        if service == STORAGE {
            self.ask_storage(&Request::List { index: u32::MAX });
        } else if service == VAULT {
            self.ask_vault(&Request::List { index: u32::MAX });
        } else if let Some(verifier) = self.journal.find(VERIFIER) {
            self.ask(verifier, &self.verify_question(Span { address: 0, length: 0 }));
        }
    }

    /// Reads the defaults. For the boot only: waits for the disk.
    pub fn read_defaults(&mut self) {
        let Some(vault) = self.journal.find(VAULT) else {
            return log!("no system disk: nothing outlives power");
        };
        let answer = self.ask_and_wait(vault, &storage_question(&Request::ReadState), BOOT_PATIENCE);
        let defaults = match answer.as_ref().map(|answer| Reply::decode(answer.payload())) {
            Some(Ok(Reply::State { record: Some(record) })) => {
                keep_defaults(self.journal, record);
                Defaults::decode(record)
            }
            Some(Ok(Reply::State { record: None })) => Ok(Defaults::default()),
            Some(Ok(Reply::Failed(error))) => return log!("defaults: {error}"),
            _ => return log!("defaults: the service vault did not answer"),
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
            let wake = self.repository_turn().min(deadline);
            if self.repository.is_idle() {
                return;
            }
            let _ = sys::wait(self.journal.bell, wake);
            if clock::now() >= deadline {
                return log!("the repository does not answer");
            }
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

pub fn refused(check: &str, why: &dyn fmt::Display) -> Box<Refusal> {
    Box::new(Refusal::new(check, why))
}
