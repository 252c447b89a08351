//! One file on its way: from the disk or the network into memory of the manager, past the verifier, and kept or dropped.

use super::{Job, STORAGE, VERIFIER, refused};
use crate::cache::discard;
use crate::manager::{Manager, StartError, at};
use crate::modules::NOTE_REFUSED;
use alloc::boxed::Box;
use hic_abi::{Error, Handle, Nanos, Rights};
use hic_channel::Message;
use hic_hicmod::verdict::{Refusal, Span};
use hic_rt::{clock, log, sys};
use hic_store::FileName;
use hic_store::messages::{Reply, Request};
use module_manager::journal::{CachedModule, Trust};

/// Longest module file, bytes: what the manager reserves at most for one, wherever it comes from.
pub const MAX_FILE: u32 = 32 << 20;

/// A file on its way into memory.
#[derive(Clone, Debug)]
pub struct Fetch {
    pub(super) index: u32,
    pub(super) count: u32,
    pub(super) name: FileName,
    pub(super) size: u32,
    pub(super) stamp: u64,
    pub(super) region: Handle,
    pub(super) address: u64,
    pub(super) done: u32,
    /// It came over the network, and is no file of the disk.
    pub(super) remote: bool,
    /// When it was first asked for, and when the verifier was.
    pub(super) began: Nanos,
    pub(super) shown: Nanos,
}

impl Manager {
    /// A region for the file, which the storage service can write.
    pub(super) fn make_room(&mut self, mut fetch: Fetch) -> Result<Fetch, Box<Refusal>> {
        if fetch.size == 0 || fetch.size > MAX_FILE {
            return Err(refused("size", &format_args!("{} bytes are no module", fetch.size)));
        }
        let storage = self.journal.find(STORAGE).ok_or_else(|| refused("disk", &"no storage service"))?;
        let (region, address) = self.new_region(fetch.size.into())?;
        if let Err(error) = self.show(storage, region, Rights::READ | Rights::WRITE) {
            discard(region);
            return Err(refused("memory", &error));
        }
        (fetch.region, fetch.address) = (region, address);
        Ok(fetch)
    }

    pub(super) fn ask_part(&mut self, fetch: &Fetch) {
        self.ask_storage(&Request::Read {
            name: &fetch.name,
            offset: fetch.done,
            length: fetch.size - fetch.done,
            destination: fetch.address + u64::from(fetch.done),
        });
    }

    pub(super) fn read(&mut self, mut fetch: Fetch, answer: &Message) -> Job {
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

    pub(super) fn begin_verifying(&mut self, mut fetch: Fetch) -> Job {
        fetch.shown = clock::now();
        match self.pass_to_verifier(&fetch) {
            Ok(()) => Job::Verifying(fetch),
            Err(error) => self.give_up(fetch, refused("no-verdict", &error)),
        }
    }

    /// Has a file verified that came over the network, and kept if it is good; `network.outcome` tells what came of it.
    pub fn take_arrived(&mut self, name: FileName, region: Handle, address: u64, size: u32) {
        let began = clock::now();
        let (index, count, stamp, done, remote) = (0, 0, 0, size, true);
        let fetch =
            Fetch { index, count, name, size, stamp, region, address, done, remote, began, shown: began };
        self.repository.arrived = Some(fetch);
        self.repository_turn();
    }

    /// Takes the file from the storage service, for good, and shows it to the verifier.
    fn pass_to_verifier(&mut self, fetch: &Fetch) -> Result<(), StartError> {
        self.hide(STORAGE, fetch.region)?;
        let verifier = self.journal.find(VERIFIER).ok_or(StartError::NoAuthority("verifier"))?;
        self.show_archive(verifier)?;
        self.show(verifier, fetch.region, Rights::READ)?;
        if let Some(list) = self.repository.mirrors.list() {
            self.show(verifier, list.region, Rights::READ)?;
        }
        let file = Span { address: fetch.address, length: fetch.size.into() };
        self.repository.be_patient();
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

    pub(super) fn verified(&mut self, fetch: Fetch, verdict: Result<Trust, Box<Refusal>>) -> Job {
        let kept = verdict.and_then(|trust| {
            self.hide(VERIFIER, fetch.region).map_err(|error| refused("memory", &error))?;
            let origin = if fetch.remote { CachedModule::NETWORK } else { CachedModule::DISK };
            self.keep(fetch.region, fetch.address, fetch.size.into(), trust, origin)
        });
        match kept {
            Ok(module) => {
                let (read, verified) = (fetch.shown - fetch.began, clock::now() - fetch.shown);
                let (read, verified) = (read / 1000, verified / 1000);
                log!(
                    "repository: {}: {} bytes read in {read} us, verified in {verified} us",
                    fetch.name,
                    fetch.size
                );
                self.next(&fetch, Ok(module), true)
            }
            Err(refusal) => self.give_up(fetch, refusal),
        }
    }

    pub(super) fn give_up(&mut self, fetch: Fetch, refusal: Box<Refusal>) -> Job {
        self.drop_fetch(&fetch, &refusal);
        self.next(&fetch, Err(refusal), true)
    }

    pub(super) fn drop_fetch(&mut self, fetch: &Fetch, refusal: &Refusal) {
        log!("repository: {}: {refusal}", fetch.name);
        self.note(NOTE_REFUSED, u64::from(fetch.index), format_args!("{} {}", refusal.check, fetch.name));
        let _ = (self.hide(STORAGE, fetch.region), self.hide(VERIFIER, fetch.region));
        discard(fetch.region);
    }
}
