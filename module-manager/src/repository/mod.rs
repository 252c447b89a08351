//! The repository: which module files the storage service has, fetched, verified and kept in memory; and the defaults on the disk.
//!
//! One job at a time, in steps: each step is a question to the storage service or the verifier, and the next begins when its answer has come.
//! Nobody is waited for (but at boot, when nobody is served yet). A file's bytes lie in a region of the manager, which the storage service can
//! write while it reads the file into it, then the verifier can read, and then nobody can change.
//!
//! This file: the jobs, and whose turn it is. `walk` goes through the metadata of a place, `mirrors` has what was found, `listing` looks through the disk,
//! `fetch` brings one file into memory and past the verifier, `record` keeps the defaults, `kept` the modules that only the network has.

mod fetch;
mod kept;
mod listing;
mod mirrors;
mod record;
mod walk;

pub use fetch::{Fetch, MAX_FILE};
use kept::Keep;
pub use listing::{Changes, File};
pub use mirrors::{Mirrors, Place};
pub use walk::Walk;

use crate::cache::ModuleName;
use crate::manager::{Manager, StartError};
use crate::metadata::Metadata;
use crate::modules::read_verdict;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use hic_abi::{FOREVER, Handle, Nanos, Rights, name_str};
use hic_channel::{Message, WORDS};
use hic_fetch::Source;
use hic_hicmod::verdict::{MAX_CHECK_BYTES, Refusal, Span};
use hic_rt::{clock, log, sys};
use hic_store::messages::{MAX_MESSAGE_BYTES, Reply, Request};
use hic_store::{Defaults, StoreError};
use module_manager::journal::Phase;
use module_manager::patience::{Patience, Verdict};
use module_manager::policy::Window;

/// The services asked.
pub const STORAGE: &str = "storage";
/// The service that keeps the record, on a disk that nobody else writes.
pub const VAULT: &str = "vault";
/// See [`STORAGE`].
pub const VERIFIER: &str = "verifier";
/// How long the boot waits for the disk.
const BOOT_PATIENCE: Nanos = 60_000_000_000;

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
    /// A module goes to the system disk.
    Keeping(Keep),
    /// The defaults are being written: this record.
    Writing(Vec<u8>),
}

impl Job {
    /// Whose answer it waits for.
    fn service(&self) -> &'static str {
        match self {
            Self::Verifying(_) | Self::Walking(_) => VERIFIER,
            Self::Writing(_) | Self::Keeping(_) => VAULT,
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
    /// The defaults as they are to be on the disk; `None` while nothing was read. What lies there is `journal.defaults`.
    pub defaults: Option<Defaults>,
    /// What the metadata of each place says.
    pub mirrors: Mirrors,
    /// What counts is something else than at the last scan: every file is looked at again.
    metadata_changed: bool,
    /// The same, found out by a look at a server: the next scan is that one.
    rejudge: bool,
    /// Numbers of the offers that the listing under way shows.
    pub offered: Vec<usize>,
    /// A server is not asked any more: what it said goes.
    pub prune: bool,
    /// Memory for the next walk.
    spare: Option<(Handle, u64)>,
    /// A walk whose next question is for the verifier.
    walk: Option<Walk>,
    /// What was found of places without the verifier, to be put down when no service reads a list.
    verdicts: Vec<(Place, Metadata)>,
    /// A scan came to its end.
    complete: bool,
    /// A scan is to follow.
    scan: bool,
    /// Somebody waits for a scan that begins from now on; the end of one that is under way says nothing about the disk as it is.
    asked: bool,
    /// The scan under way is that one: it reads refused files again, though they look as before.
    thorough: bool,
    /// What scans found to have changed since it was told last, or since the first one.
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
        let files = self.rest.is_some() || self.arrived.is_some();
        let more = self.scan || self.dirty || files || self.walk.is_some() || !self.verdicts.is_empty();
        matches!(self.job, Job::Idle) && !more
    }

    /// Whether there are files that nobody knows yet. Looking whether those that are known are still there, and still offered, is no reading.
    pub fn is_reading(&self) -> bool {
        let reads = matches!(self.job, Job::Reading(_) | Job::Verifying(_));
        reads || ((self.asked || !self.complete) && !self.is_idle())
    }

    /// The servers that are asked.
    pub fn sources(&self) -> VecDeque<Source> {
        let known = self.defaults.iter().flat_map(|defaults| &defaults.sources);
        known.filter_map(|source| source.parse().ok()).collect()
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

    /// What counts, in a form that shows whether it is something else.
    fn standard(&self) -> (u8, u32, heapless::String<MAX_CHECK_BYTES>) {
        match self.mirrors.leading() {
            None => (0, 0, heapless::String::new()),
            Some(Metadata::Absent { unlisted, .. }) => (1 + u8::from(*unlisted), 0, heapless::String::new()),
            Some(Metadata::Refused(refusal)) => (3, 0, refusal.check.clone()),
            Some(Metadata::Good(good)) => {
                (4 + u8::from(good.unlisted), good.trusted.targets, heapless::String::new())
            }
        }
    }

    /// Whether what counts is something else after this change.
    fn is_changed_by(&mut self, change: impl FnOnce(&mut Mirrors)) -> bool {
        let before = self.standard();
        change(&mut self.mirrors);
        before != self.standard()
    }

    /// Changes what is known of servers. Files of the disk are judged by what counts then.
    fn change_mirrors(&mut self, change: impl FnOnce(&mut Mirrors)) {
        let changed = self.is_changed_by(change);
        self.scan |= changed;
        self.rejudge |= changed;
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
        self.repository.asked = true;
        self.scan_repository();
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
            Job::Keeping(keep) => match self.journal.find(VAULT).map(|vault| self.answer_of(vault)) {
                Some(None) => Job::Keeping(keep),
                Some(Some(answer)) => self.kept(keep, &answer),
                None => {
                    self.end_keeping(&keep, Some(StoreError::NoDisk));
                    Job::Idle
                }
            },
            Job::Writing(record) => match self.journal.find(VAULT).and_then(|vault| self.answer_of(vault)) {
                None => Job::Writing(record),
                Some(answer) => {
                    let result = match Reply::decode(answer.payload()) {
                        Ok(Reply::Written) => Ok(()),
                        Ok(Reply::Failed(error)) => Err(error),
                        _ => Err(StoreError::Malformed),
                    };
                    self.wrote(&record, result)
                }
            },
        }
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
        // It may be in the middle of what it was asked, and would let the next question wait, too.
        self.start_again(service);
        let silent = || refused("no-answer", &format_args!("the service {service} does not answer"));
        match job {
            Job::Verifying(fetch) => self.give_up(fetch, silent()),
            Job::Walking(walk) | Job::Fetching(walk) => self.walked(walk, Metadata::Refused(silent())),
            Job::Reading(fetch) => {
                self.drop_fetch(&fetch, &silent());
                self.stop_scan(StoreError::Device)
            }
            Job::Keeping(keep) => {
                self.end_keeping(&keep, Some(StoreError::Device));
                Job::Idle
            }
            Job::Writing(record) => self.wrote(&record, Err(StoreError::Device)),
            Job::Idle | Job::Rescanning | Job::Listing { .. } => self.stop_scan(StoreError::Device),
        }
    }

    fn storage_answer(&self) -> Option<Message> {
        self.answer_of(self.journal.find(STORAGE)?)
    }

    fn ask_storage(&mut self, request: &Request<'_>) -> bool {
        self.ask_disk(STORAGE, request)
    }

    /// Asks the service of one of the two disks.
    fn ask_disk(&mut self, service: &str, request: &Request<'_>) -> bool {
        self.repository.be_patient();
        self.journal.find(service).is_some_and(|index| self.ask(index, &storage_question(request)))
    }

    fn begin(&mut self) -> Job {
        if core::mem::take(&mut self.repository.prune) {
            let sources = self.sources();
            self.repository.change_mirrors(|mirrors| mirrors.prune(|place| place.is_asked(&sources)));
        }
        if self.repository.dirty {
            // What the record names is there before it. What one names that could not be read nobody knows, so nothing takes its place.
            if !self.journal.defaults.is_unread()
                && let Some(job) = self.keep_next()
            {
                return job;
            }
            self.repository.dirty = false;
            return self.begin_writing();
        }
        if let Some(index) = self.repository.rest.take() {
            return self.list_file(index);
        }
        if let Some((place, outcome)) = self.repository.verdicts.pop() {
            return self.placed(place, 0, outcome);
        }
        if let Some(walk) = self.repository.walk.take() {
            return self.ask_walk(walk);
        }
        if let Some(fetch) = self.repository.arrived.take() {
            return self.begin_verifying(fetch);
        }
        if core::mem::take(&mut self.repository.scan) {
            self.repository.changes.error = None;
            self.repository.metadata_changed |= core::mem::take(&mut self.repository.rejudge);
            if core::mem::take(&mut self.repository.asked) {
                (self.repository.complete, self.repository.thorough) = (false, true);
            }
            if self.ask_storage(&Request::Rescan) {
                return Job::Rescanning;
            }
            return self.stop_scan(StoreError::NoDisk);
        }
        Job::Idle
    }

    /// Shows a service that starts again what it was shown before.
    pub fn show_again(&self, index: usize) -> Result<(), StartError> {
        let name = name_str(&self.journal.records[index].info.name);
        if name == VERIFIER {
            self.show_archive(index)?;
        }
        let kept = self.repository.keep_shown(&self.journal.cached).filter(|_| name == VAULT);
        let shown = [self.repository.shown(name), self.network.shown(name), self.metadata_shown(name), kept];
        shown.into_iter().flatten().try_for_each(|(region, rights)| self.show(index, region, rights))
    }

    /// After a restart of the manager: what was under way is forgotten, and nobody is left with a question about memory that will go.
    pub fn calm_services(&mut self) {
        self.repository.defaults = self.journal.defaults.load();
        for service in [STORAGE, VAULT, VERIFIER] {
            self.calm(service);
            // Whoever reads memory that goes now dies of it. That is not its fault: deaths begin to count anew.
            if let Some(index) = self.journal.find(service) {
                self.journal.records[index].window = Window::default();
            }
        }
        self.stop_fetcher();
    }

    /// Takes the open question to a service back: it gets one that is about nothing.
    fn calm(&mut self, service: &str) {
        if service != VERIFIER {
            self.ask_disk(service, &Request::List { index: u32::MAX });
        } else if let Some(verifier) = self.journal.find(VERIFIER) {
            self.ask(verifier, &self.verify_question(Span { address: 0, length: 0 }));
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

pub fn refused(check: &str, why: &dyn fmt::Display) -> Box<Refusal> {
    Box::new(Refusal::new(check, why))
}
