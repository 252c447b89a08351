//! The repository's metadata: fetched file by file as the verifier asks for them, and what it means for the modules of the disk.
//!
//! The manager parses none of it. All files of a walk lie in one region of the manager's, which either the storage service can write (while it
//! reads a file into it) or the verifier can read, never both; the verifier walks from the beginning each time, over what lies there then.
//! What was seen goes into the record on the system disk before a module is looked at.

use crate::manager::{Manager, StartError, at};
use crate::modules::NOTE_REFUSED;
use crate::repository::{File, Job, STORAGE, VERIFIER, refused, storage_question};
use alloc::boxed::Box;
use hic_abi::{Handle, Rights};
use hic_channel::{Message, WORDS};
use hic_hicmod::manifest::Version;
use hic_hicmod::verdict::{Facts, Listing, MAX_LISTING_BYTES, Refusal, Span, Verdict};
use hic_rt::{cap, log, sys};
use hic_store::messages::{Reply, Request};
use hic_store::{FileName, StoreError};
use hic_tuf::Trusted;
use hic_tuf::ask::{Answer, MAX_NAME_BYTES, MAX_QUESTION_BYTES, METADATA, Question};
use module_manager::admission::{self, Objection, Standing};

/// Bytes for all files of a walk: the longest list, and more roots of usual size than one walk follows.
const REGION_BYTES: u64 = 2 << 20;

/// What is known of the metadata.
#[derive(Default)]
pub enum Metadata {
    /// The system trusts no repository root: modules are judged by their own signatures alone.
    #[default]
    Unused,
    /// There is none on the disk, and never was.
    Absent {
        /// Whether the root says that modules may be used which are not listed.
        unlisted: bool,
    },
    /// It was refused.
    Refused(Box<Refusal>),
    /// It is good.
    Good {
        /// The list of modules.
        targets: Span,
        /// The last second at which it is believed.
        expires: u64,
        /// See [`Metadata::Absent`].
        unlisted: bool,
        /// What was seen.
        trusted: Trusted,
    },
}

impl Metadata {
    /// What matters for whether a module is admitted.
    fn standing(&self) -> Standing {
        match self {
            Self::Unused => Standing::Unused,
            Self::Absent { unlisted } => Standing::Absent { unlisted: *unlisted },
            Self::Refused(_) => Standing::Refused,
            Self::Good { unlisted, .. } => Standing::Good { unlisted: *unlisted },
        }
    }

    /// Whether another state of the repository is meant.
    fn differs(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Good { trusted: one, .. }, Self::Good { trusted: two, .. }) => one.targets != two.targets,
            (Self::Refused(one), Self::Refused(two)) => one.check != two.check,
            _ => core::mem::discriminant(self) != core::mem::discriminant(other),
        }
    }
}

/// A walk on its way.
#[derive(Clone, Debug)]
pub struct Walk {
    question: Box<Question>,
    /// The file that is being fetched.
    name: heapless::String<MAX_NAME_BYTES>,
    limit: u32,
    done: u32,
    /// Bytes of the region that files take up.
    used: u64,
    /// Module files that wait to be listed.
    files: u32,
}

impl Walk {
    /// Module files that wait to be listed.
    pub const fn files(&self) -> u32 {
        self.files
    }
}

impl Manager {
    /// Begins a walk, if the system trusts a repository root; then the modules are listed.
    pub fn begin_walk(&mut self, files: u32) -> Job {
        let root = self.trust_root.repository;
        if root.length == 0 {
            return self.list_from_start(files);
        }
        if let Err(error) = self.metadata_region() {
            return self.walked(files, Metadata::Refused(refused("memory", &error)));
        }
        let seen = self.repository.defaults.as_ref().map(|defaults| defaults.trusted).unwrap_or_default();
        let question = Box::new(Question { root, seen, now: self.now(), files: heapless::Vec::new() });
        let name = heapless::String::new();
        self.ask_walk(Walk { question, name, limit: 0, done: 0, used: 0, files })
    }

    /// The region for metadata, made on first use and kept.
    fn metadata_region(&mut self) -> Result<(), StartError> {
        if self.journal.metadata.region == 0 {
            let region = cap::allocate().ok_or(StartError::TooMuch("capability slots"))?;
            let made =
                sys::create_region(self.account, region, REGION_BYTES).map_err(at("region of metadata"));
            self.journal.metadata.address = made.inspect_err(|_| cap::drop_slot(region))?;
            self.journal.metadata.region = region;
        }
        Ok(())
    }

    /// The region of metadata, and how a service is to see it now.
    pub fn metadata_shown(&self, name: &str) -> Option<(Handle, Rights)> {
        let rights = match (self.repository.job(), name) {
            (Job::Fetching(_), STORAGE) => Rights::READ | Rights::WRITE,
            (Job::Walking(_) | Job::Verifying(_), VERIFIER) => Rights::READ,
            _ => return None,
        };
        Some((self.journal.metadata.region, rights)).filter(|(region, _)| *region != 0)
    }

    fn ask_walk(&mut self, walk: Walk) -> Job {
        match self.pass_walk(&walk) {
            Ok(()) => Job::Walking(walk),
            Err(error) => self.walked(walk.files, Metadata::Refused(refused("no-verdict", &error))),
        }
    }

    fn pass_walk(&mut self, walk: &Walk) -> Result<(), StartError> {
        let region = self.journal.metadata.region;
        self.hide(STORAGE, region)?;
        let verifier = self.journal.find(VERIFIER).ok_or(StartError::NoAuthority("verifier"))?;
        self.show_archive(verifier)?;
        self.show(verifier, region, Rights::READ)?;
        let mut buffer = [0; MAX_QUESTION_BYTES];
        let bytes = walk.question.encode(&mut buffer).ok_or(StartError::TooMuch("metadata files"))?;
        self.repository.be_patient();
        self.ask(verifier, &Message::new(METADATA, [0; WORDS]).with_payload(bytes));
        Ok(())
    }

    /// What the verifier says to the files so far.
    pub fn walk_answered(&mut self, walk: Walk, answer: Option<&Message>) -> Job {
        let files = walk.files;
        let answer = answer.filter(|answer| answer.label == METADATA);
        let outcome = match answer.and_then(|answer| Answer::decode(answer.payload())) {
            Some(Answer::Fetch { name, limit }) => return self.fetch(Walk { name, limit, done: 0, ..walk }),
            Some(Answer::Good { trusted, expires, unlisted, .. }) => {
                let list = walk.question.files.last().copied().flatten();
                let targets = list.unwrap_or(Span { address: 0, length: 0 });
                Metadata::Good { targets, expires, unlisted, trusted }
            }
            Some(Answer::Refused { absent: true, unlisted, .. }) if walk.question.seen.timestamp == 0 => {
                Metadata::Absent { unlisted }
            }
            Some(Answer::Refused { refusal, .. }) => Metadata::Refused(Box::new(refusal)),
            None => Metadata::Refused(refused("no-verdict", &"the verifier's answer cannot be read")),
        };
        self.walked(files, outcome)
    }

    /// Asks the storage service for the file that the verifier wants.
    fn fetch(&mut self, walk: Walk) -> Job {
        let room = REGION_BYTES.saturating_sub(walk.used);
        if u64::from(walk.limit) >= room || walk.question.files.is_full() {
            let why = "the repository has more metadata than is read at once; install a newer root";
            return self.walked(walk.files, Metadata::Refused(refused("metadata-size", &why)));
        }
        let region = self.journal.metadata.region;
        let storage = self.journal.find(STORAGE).ok_or(StartError::NoAuthority("storage"));
        let shown = self.hide(VERIFIER, region).and(storage);
        match shown.and_then(|storage| self.show(storage, region, Rights::READ | Rights::WRITE)) {
            Ok(()) => {
                self.ask_metadata_part(&walk);
                Job::Fetching(walk)
            }
            Err(error) => self.walked(walk.files, Metadata::Refused(refused("memory", &error))),
        }
    }

    fn ask_metadata_part(&mut self, walk: &Walk) {
        let request = Request::Read {
            name: &walk.name,
            offset: walk.done,
            // One more than is allowed, to see that the file ends.
            length: walk.limit + 1 - walk.done,
            destination: self.journal.metadata.address + walk.used + u64::from(walk.done),
        };
        self.repository.be_patient();
        if let Some(storage) = self.journal.find(STORAGE) {
            self.ask(storage, &storage_question(&request));
        }
    }

    /// A part of the file has come, or it is not there.
    pub fn metadata_came(&mut self, mut walk: Walk, answer: &Message) -> Job {
        let left = walk.limit + 1 - walk.done;
        let file = match Reply::decode(answer.payload()) {
            Ok(Reply::Read { length }) if length > 0 && length < left => {
                walk.done += length;
                self.ask_metadata_part(&walk);
                return Job::Fetching(walk);
            }
            Ok(Reply::Read { length }) if length <= left => {
                walk.done += length;
                let address = self.journal.metadata.address + walk.used;
                Some(Span { address, length: walk.done.into() })
            }
            Ok(Reply::Failed(StoreError::NotFound)) => None,
            Ok(Reply::Failed(error)) => {
                return self.walked(walk.files, Metadata::Refused(refused("disk", &error)));
            }
            _ => {
                let why = "the storage service's answer cannot be read";
                return self.walked(walk.files, Metadata::Refused(refused("disk", &why)));
            }
        };
        walk.used += u64::from(walk.done);
        // There is room: `fetch` looked.
        let _ = walk.question.files.push(file);
        self.ask_walk(walk)
    }

    /// The end of a walk: what was seen is written down, then the modules are listed.
    pub fn walked(&mut self, files: u32, outcome: Metadata) -> Job {
        let region = self.journal.metadata.region;
        let _ = (self.hide(STORAGE, region), self.hide(VERIFIER, region));
        let changed = outcome.differs(&self.repository.metadata);
        self.repository.metadata_changed = changed;
        match &outcome {
            Metadata::Refused(refusal) if changed => {
                log!("repository: {refusal}");
                self.note(NOTE_REFUSED, 0, format_args!("repository {}", refusal.check));
            }
            Metadata::Good { trusted, unlisted, .. } if changed => {
                log!("repository: metadata of targets {} is good", trusted.targets);
                if *unlisted {
                    log!(
                        "repository: its root is one for development: modules that it does not list are used, too"
                    );
                }
            }
            Metadata::Absent { unlisted: true } if changed => {
                log!("repository: no metadata; its root is one for development: modules are used without");
            }
            _ => {}
        }
        if let Metadata::Good { trusted, .. } = &outcome {
            let defaults = self.repository.defaults.get_or_insert_with(Default::default);
            if defaults.trusted != *trusted {
                defaults.trusted = *trusted;
                // Flushed before a module is looked at: a power cut does not bring an older state back.
                self.repository.write_first(files);
                self.repository.metadata = outcome;
                return Job::Idle;
            }
        }
        self.repository.metadata = outcome;
        self.list_from_start(files)
    }

    /// The question about a file of the repository.
    pub fn listed_question(&self, file: Span, name: &FileName) -> Message {
        let question = self.verify_question(file);
        let Metadata::Good { targets, .. } = self.repository.metadata else { return question };
        let mut buffer = [0; MAX_LISTING_BYTES];
        match (Listing { targets, file: name }).encode(&mut buffer) {
            Some(bytes) => question.with_payload(bytes),
            // A name is shorter than its place, so this is no question that could find the file good.
            None => Message::new(0, [0; WORDS]),
        }
    }

    /// Whether a file that the verifier found good is used.
    pub fn admit(&self, answer: Option<&Message>) -> Result<(), Box<Refusal>> {
        let Some(Verdict::Good(facts)) = answer.and_then(|answer| Verdict::decode(answer.payload())) else {
            // Whoever reads the verdict says what it is.
            return Ok(());
        };
        let Facts { listed, manifest, .. } = facts;
        let objection = admission::admit(
            self.repository.metadata.standing(),
            listed,
            self.is_chosen(&manifest.name, manifest.version),
        );
        match (objection, &self.repository.metadata) {
            (Ok(()), _) => Ok(()),
            (Err(Objection::Metadata), Metadata::Refused(refusal)) => Err(refusal.clone()),
            (Err(objection), _) => Err(refused(objection.name(), &objection)),
        }
    }

    /// Whether the record names this version as the default of its service, or as the one before it: it was trusted before.
    fn is_chosen(&self, name: &str, version: Version) -> bool {
        let service = self.repository.defaults.as_ref().and_then(|defaults| defaults.service(name));
        service.is_some_and(|s| s.version == version || s.previous == Some(version))
    }

    /// Why a module that lies in memory is not put to use now: its metadata expired meanwhile, or it is of an epoch that is over.
    pub fn objection(&self, name: &str, version: &str) -> Option<Box<Refusal>> {
        let loaded = &self.modules[self.module(name, version)?];
        let manifest = &loaded.module.manifest;
        let from_disk = loaded.origin != crate::modules::Origin::Archive;
        // What lies in memory was good once. Now the disk has something else under its name, or nobody says any more that it is offered.
        let refused_now = self.refused_file(name, version).and_then(File::refusal);
        if let Some(refusal) = refused_now.filter(|_| from_disk && !self.is_chosen(name, manifest.version)) {
            return Some(Box::new(refusal.clone()));
        }
        let lowest = self.repository.defaults.as_ref().map_or(0, |defaults| defaults.epoch(name));
        if manifest.epoch < lowest {
            let objection = Objection::Epoch { epoch: manifest.epoch, lowest };
            return Some(refused(objection.name(), &objection));
        }
        match self.repository.metadata {
            Metadata::Good { expires, .. } if from_disk && self.now() > expires => {
                let objection = Objection::Expired;
                Some(refused(objection.name(), &objection))
            }
            _ => None,
        }
    }
}
