//! A walk through the metadata of one place: fetched file by file as the verifier asks for them, from the disk or from a server.
//!
//! ```text
//!   begin ─▶ verifier: which file? ─▶ disk: storage service ───┐
//!              ▲                   └▶ server: fetcher ─────────┤
//!              └──────────────── the file, or that it is not there
//! ```
//! The manager parses none of it. All files of a walk lie in one region of the manager's, which either one service can write (while it reads a
//! file into it) or the verifier can read, never both; the verifier walks from the beginning each time, over what lies there then. What was seen
//! goes into the record on the system disk before a module is looked at.

use super::mirrors::release;
use super::{Job, Mirrors, Place, STORAGE, VERIFIER, refused, storage_question};
use crate::cache::discard;
use crate::manager::{Manager, StartError, at};
use crate::metadata::{Good, Metadata, offers};
use crate::modules::NOTE_REFUSED;
use crate::network::FETCHER;
use alloc::boxed::Box;
use alloc::format;
use hic_abi::{Handle, Nanos, Rights, SELF};
use hic_channel::{Message, WORDS};
use hic_fetch::Source;
use hic_hicmod::verdict::{Refusal, Span};
use hic_rt::{clock, log, sys};
use hic_store::StoreError;
use hic_store::messages::{Reply, Request};
use hic_tuf::Trusted;
use hic_tuf::ask::{Answer, MAX_NAME_BYTES, MAX_QUESTION_BYTES, METADATA, Question};

/// Bytes for all files of a walk: the longest list, and more roots of usual size than one walk follows.
const REGION_BYTES: u64 = 2 << 20;
/// Folder of the metadata on a server (docs/spec/repository.md).
const FOLDER: &str = "metadata/";
/// So long a server has for all its metadata: each file of it has its own limits, and there may be many.
const WHOLE: Nanos = 300_000_000_000;
/// The file that no metadata lacks.
const TIMESTAMP: &str = "timestamp.tuf";

/// A walk on its way.
#[derive(Clone, Debug)]
pub struct Walk {
    place: Place,
    question: Box<Question>,
    /// Where the files lie, one behind the other.
    region: Handle,
    address: u64,
    /// The file that is being fetched.
    name: heapless::String<MAX_NAME_BYTES>,
    limit: u32,
    done: u32,
    /// Bytes of the region that files take up.
    used: u64,
    /// Module files of the disk that wait to be listed.
    files: u32,
    /// It was refused before a file of it was seen: the refusal, and whether the root allows modules that are not listed. What is open is whether there is any.
    probe: Option<(Box<Refusal>, bool)>,
    began: Nanos,
}

impl Walk {
    /// The region that the files go to.
    pub const fn region(&self) -> Handle {
        self.region
    }

    /// Where the next file goes.
    pub const fn next_address(&self) -> u64 {
        self.address + self.used
    }

    /// Until when a server has to have given all files.
    pub const fn deadline(&self) -> Nanos {
        self.began.saturating_add(WHOLE)
    }

    /// Most bytes that the next file may have.
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// The file has come, with so many bytes, or it is not there. What is said of the place, if that was all there was to know.
    fn push(&mut self, length: Option<u32>) -> Option<Metadata> {
        if let Some((refusal, unlisted)) = self.probe.take() {
            return Some(match length {
                Some(_) => Metadata::Refused(refusal),
                None => Metadata::Absent { unlisted, refusal },
            });
        }
        let file = length.map(|length| Span { address: self.next_address(), length: length.into() });
        self.used += u64::from(length.unwrap_or(0));
        // There is room: `fetch` looked.
        let _ = self.question.files.push(file);
        None
    }

    /// Whether none of the files that the verifier asked for is there. That is no proof that there is no metadata: what a walk asks for first may be
    /// missing where a timestamp, which no metadata lacks, is not.
    fn is_blank(&self) -> bool {
        self.question.files.iter().all(Option::is_none)
    }
}

impl Manager {
    /// Begins a walk through the disk's metadata, if the system trusts a repository root; then the modules are listed.
    pub(super) fn begin_walk(&mut self, files: u32) -> Job {
        if self.trust_root.repository.length == 0 {
            return self.list_from_start(files);
        }
        match self.new_walk(Place::Disk, files) {
            Ok(walk) => self.ask_walk(walk),
            Err(refusal) => self.placed(Place::Disk, files, Metadata::Refused(refusal)),
        }
    }

    /// Begins a walk through the metadata of a server; [`Self::repository_turn`] goes on with it.
    pub fn begin_remote_walk(&mut self, source: Source) {
        let place = Place::Network(Box::new(source));
        match self.new_walk(place.clone(), 0) {
            Ok(walk) => self.repository.walk = Some(walk),
            Err(refusal) => self.unreachable(place, refusal),
        }
    }

    fn new_walk(&mut self, place: Place, files: u32) -> Result<Walk, Box<Refusal>> {
        let (region, address) = match self.repository.spare.take() {
            Some(spare) => spare,
            None => self.new_region(REGION_BYTES)?,
        };
        let (root, seen) = (self.trust_root.repository, self.seen());
        let question = Box::new(Question { root, seen, now: self.now(), files: heapless::Vec::new() });
        let name = heapless::String::new();
        let began = clock::now();
        Ok(Walk {
            place,
            question,
            region,
            address,
            name,
            limit: 0,
            done: 0,
            used: 0,
            files,
            probe: None,
            began,
        })
    }

    /// Keeps the memory of a walk for the next one: walks are frequent. Nobody maps it any more.
    fn put_by(&mut self, region: Handle, address: u64) {
        match self.repository.spare {
            None => self.repository.spare = Some((region, address)),
            Some(_) => discard(region),
        }
    }

    fn seen(&self) -> Trusted {
        self.repository.defaults.as_ref().map(|defaults| defaults.trusted).unwrap_or_default()
    }

    /// The regions of metadata that a service is to see now, and how.
    pub(super) fn metadata_shown(&self, name: &str) -> Option<(Handle, Rights)> {
        match (self.repository.job(), name) {
            (Job::Fetching(walk), STORAGE) => Some((walk.region, Rights::READ | Rights::WRITE)),
            (Job::Walking(walk), VERIFIER) => Some((walk.region, Rights::READ)),
            (Job::Verifying(_), VERIFIER) => Some((self.repository.mirrors.list()?.region, Rights::READ)),
            _ => None,
        }
    }

    /// Shows the verifier what there is so far.
    pub(super) fn ask_walk(&mut self, walk: Walk) -> Job {
        match self.pass_walk(&walk) {
            Ok(()) => Job::Walking(walk),
            Err(error) => self.walked(walk, Metadata::Refused(refused("no-verdict", &error))),
        }
    }

    fn pass_walk(&mut self, walk: &Walk) -> Result<(), StartError> {
        self.hide(STORAGE, walk.region)?;
        let verifier = self.journal.find(VERIFIER).ok_or(StartError::NoAuthority("verifier"))?;
        self.show_archive(verifier)?;
        self.show(verifier, walk.region, Rights::READ)?;
        let mut buffer = [0; MAX_QUESTION_BYTES];
        let bytes = walk.question.encode(&mut buffer).ok_or(StartError::TooMuch("metadata files"))?;
        self.repository.be_patient();
        self.ask(verifier, &Message::new(METADATA, [0; WORDS]).with_payload(bytes));
        Ok(())
    }

    /// What the verifier says to the files so far.
    pub(super) fn walk_answered(&mut self, mut walk: Walk, answer: Option<&Message>) -> Job {
        let answer = answer.filter(|answer| answer.label == METADATA);
        let outcome = match answer.and_then(|answer| Answer::decode(answer.payload())) {
            Some(Answer::Fetch { name, limit }) => return self.fetch(Walk { name, limit, done: 0, ..walk }),
            Some(Answer::Good { .. }) if walk.question.seen != self.seen() => {
                // Another place was looked at meanwhile: what it showed counts here, too.
                walk.question.seen = self.seen();
                return self.ask_walk(walk);
            }
            Some(Answer::Good { trusted, expires, unlisted, .. }) => {
                self.take_list(&walk, trusted, expires, unlisted).unwrap_or_else(Metadata::Refused)
            }
            Some(Answer::Refused { refusal, absent: true, unlisted }) => {
                Metadata::Absent { unlisted, refusal: Box::new(refusal) }
            }
            // An empty disk has no newer root than the installed one: that alone is no old state replayed.
            Some(Answer::Refused { refusal, unlisted, .. }) if walk.is_blank() => {
                return self.probe(walk, Box::new(refusal), unlisted);
            }
            Some(Answer::Refused { refusal, .. }) => Metadata::Refused(Box::new(refusal)),
            None => Metadata::Refused(refused("no-verdict", &"the verifier's answer cannot be read")),
        };
        self.walked(walk, outcome)
    }

    /// Looks whether a place that was refused before a file of it was seen has metadata at all.
    fn probe(&mut self, walk: Walk, refusal: Box<Refusal>, unlisted: bool) -> Job {
        let probe = Some((refusal, unlisted));
        match heapless::String::try_from(TIMESTAMP) {
            Ok(name) => {
                self.fetch(Walk { name, limit: hic_tuf::MAX_SMALL_BYTES as u32, done: 0, probe, ..walk })
            }
            // A name of thirteen bytes fits.
            Err(_) => Job::Idle,
        }
    }

    /// Keeps a copy of the list, which the verifier found good, and reads what it offers.
    fn take_list(
        &self,
        walk: &Walk,
        trusted: Trusted,
        expires: u64,
        unlisted: bool,
    ) -> Result<Metadata, Box<Refusal>> {
        let memory = |error: &dyn core::fmt::Display| refused("memory", error);
        self.hide(VERIFIER, walk.region).map_err(|error| memory(&error))?;
        let list = walk.question.files.last().copied().flatten();
        let list = list.ok_or_else(|| refused("no-verdict", &"the verifier names no list of modules"))?;
        let length = u32::try_from(list.length).map_err(|error| memory(&error))?;
        sys::region_map(SELF, walk.region, Rights::READ).map_err(|error| memory(&at("map")(error)))?;
        let copied = self.copy_of(list.address, length);
        sys::region_unmap(SELF, walk.region).map_err(|error| memory(&at("unmap")(error)))?;
        let (region, address) = copied?;
        if let Err(error) = sys::region_map(SELF, region, Rights::READ) {
            discard(region);
            return Err(memory(&at("map")(error)));
        }
        // SAFETY: `copy_of` made a region of this length, mapped here for reading just now, which nobody can write; it stays until the list is replaced, and
        // what is read here is copied.
        let bytes = unsafe { core::slice::from_raw_parts(address as *const u8, length as usize) };
        let targets = Span { address, length: list.length };
        Ok(Metadata::Good(Box::new(Good {
            region,
            targets,
            expires,
            unlisted,
            trusted,
            offers: offers(bytes),
        })))
    }

    /// Asks for the file that the verifier wants, where the walk is.
    fn fetch(&mut self, walk: Walk) -> Job {
        let room = REGION_BYTES.saturating_sub(walk.used);
        if u64::from(walk.limit) >= room || walk.question.files.is_full() {
            let why = "the repository has more metadata than is read at once; install a newer root";
            return self.walked(walk, Metadata::Refused(refused("metadata-size", &why)));
        }
        if let Err(error) = self.hide(VERIFIER, walk.region) {
            return self.walked(walk, Metadata::Refused(refused("memory", &error)));
        }
        let Place::Network(source) = walk.place.clone() else { return self.fetch_from_disk(walk) };
        match source.path(&format!("{FOLDER}{}", walk.name)) {
            Some(path) => {
                self.fetch_metadata(walk, &source, path);
                Job::Idle
            }
            None => {
                let refusal = refused("http-path", &"the path of the file is too long");
                self.walked(walk, Metadata::Refused(refusal))
            }
        }
    }

    fn fetch_from_disk(&mut self, walk: Walk) -> Job {
        let storage = self.journal.find(STORAGE).ok_or(StartError::NoAuthority("storage"));
        match storage.and_then(|storage| self.show(storage, walk.region, Rights::READ | Rights::WRITE)) {
            Ok(()) => {
                self.ask_metadata_part(&walk);
                Job::Fetching(walk)
            }
            Err(error) => self.walked(walk, Metadata::Refused(refused("memory", &error))),
        }
    }

    fn ask_metadata_part(&mut self, walk: &Walk) {
        let request = Request::Read {
            name: &walk.name,
            offset: walk.done,
            // One more than is allowed, to see that the file ends.
            length: walk.limit + 1 - walk.done,
            destination: walk.next_address() + u64::from(walk.done),
        };
        self.repository.be_patient();
        if let Some(storage) = self.journal.find(STORAGE) {
            self.ask(storage, &storage_question(&request));
        }
    }

    /// A part of the file has come from the disk, or it is not there.
    pub(super) fn metadata_came(&mut self, mut walk: Walk, answer: &Message) -> Job {
        let left = walk.limit + 1 - walk.done;
        let file = match Reply::decode(answer.payload()) {
            Ok(Reply::Read { length }) if length > 0 && length < left => {
                walk.done += length;
                self.ask_metadata_part(&walk);
                return Job::Fetching(walk);
            }
            Ok(Reply::Read { length }) if length <= left => Some(walk.done + length),
            Ok(Reply::Failed(StoreError::NotFound)) => None,
            Ok(Reply::Failed(error)) => {
                return self.walked(walk, Metadata::Refused(refused("disk", &error)));
            }
            _ => {
                let why = "the storage service's answer cannot be read";
                return self.walked(walk, Metadata::Refused(refused("disk", &why)));
            }
        };
        match walk.push(file) {
            Some(outcome) => self.walked(walk, outcome),
            None => self.ask_walk(walk),
        }
    }

    /// A file has come from a server, with so many bytes, or it is not there. The fetcher does not see the memory any more.
    pub fn metadata_arrived(&mut self, mut walk: Walk, length: Option<u32>) {
        match walk.push(length) {
            Some(outcome) => {
                self.put_by(walk.region, walk.address);
                self.repository.verdicts.push((walk.place, outcome));
            }
            None => self.repository.walk = Some(walk),
        }
        self.repository_turn();
    }

    /// A file cannot be had from a server. One that sends too much is refused; one that sends nothing is as if it were not there, and what it showed
    /// before counts until it expires.
    pub fn metadata_failed(&mut self, walk: Walk, refusal: Box<Refusal>) {
        let _ = self.hide(FETCHER, walk.region);
        self.put_by(walk.region, walk.address);
        match refusal.check.as_str() {
            "metadata-size" => {
                self.repository.verdicts.push((walk.place, Metadata::Refused(refusal)));
                self.repository_turn();
            }
            _ => self.unreachable(walk.place, refusal),
        }
    }

    fn unreachable(&mut self, place: Place, refusal: Box<Refusal>) {
        if place.is_asked(&self.sources()) {
            self.tell_refused(&place, &refusal);
            self.repository.change_mirrors(|mirrors| mirrors.fail(place, refusal));
        }
        self.next_server();
    }

    fn tell_refused(&self, place: &Place, refusal: &Refusal) {
        match place {
            Place::Disk => log!("repository: {refusal}"),
            Place::Network(source) => log!("repository {source}: {refusal}"),
        }
        self.note(NOTE_REFUSED, u64::from(place.is_remote()), format_args!("repository {}", refusal.check));
    }

    /// The end of a walk: its memory goes, and what was found is put down.
    pub(super) fn walked(&mut self, walk: Walk, outcome: Metadata) -> Job {
        let _ = (self.hide(STORAGE, walk.region), self.hide(VERIFIER, walk.region));
        self.put_by(walk.region, walk.address);
        self.placed(walk.place, walk.files, outcome)
    }

    /// Puts down what was found at a place; what was seen is written, and then the modules of the disk are looked at.
    pub(super) fn placed(&mut self, place: Place, files: u32, outcome: Metadata) -> Job {
        if !place.is_asked(&self.sources()) {
            // It was removed while it was being asked.
            release(outcome);
            self.next_server();
            return Job::Idle;
        }
        let known = self.repository.mirrors.at(&place).filter(|known| known.failure.is_none());
        let news = known.and_then(|known| known.metadata.as_ref()).is_none_or(|known| outcome.differs(known));
        if news || place.is_remote() {
            self.tell_outcome(&place, &outcome);
        }
        let trusted = match &outcome {
            Metadata::Good(good) => Some(good.trusted),
            _ => None,
        };
        let remote = place.is_remote();
        let set = |mirrors: &mut Mirrors| mirrors.set(place, outcome);
        if remote {
            self.repository.change_mirrors(set);
        } else {
            // The scan that follows is the one under way.
            let changed = self.repository.is_changed_by(set);
            self.repository.metadata_changed |= changed;
        }
        let defaults = self.repository.defaults.get_or_insert_with(Default::default);
        let fresh = trusted.filter(|trusted| defaults.trusted != *trusted);
        if let Some(trusted) = fresh {
            // Flushed before a module is looked at: a power cut does not bring an older state back.
            defaults.trusted = trusted;
        }
        if remote {
            self.repository.dirty |= fresh.is_some();
            self.next_server();
            return Job::Idle;
        }
        if fresh.is_some() {
            self.repository.write_first(files);
            return Job::Idle;
        }
        self.list_from_start(files)
    }

    fn tell_outcome(&self, place: &Place, outcome: &Metadata) {
        match outcome {
            Metadata::Refused(refusal) => self.tell_refused(place, refusal),
            Metadata::Good(good) => {
                log!("repository: metadata of targets {} is good ({place})", good.trusted.targets);
                if good.unlisted {
                    log!(
                        "repository: its root is one for development: modules that it does not list are used, too"
                    );
                }
            }
            Metadata::Absent { unlisted: true, .. } => {
                log!(
                    "repository: no metadata ({place}); its root is one for development: modules are used without"
                );
            }
            Metadata::Absent { .. } => log!("repository: no metadata ({place})"),
        }
    }
}
