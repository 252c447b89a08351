//! Files from the network: one at a time, from the repositories that an operator named, in their order, by way of the fetcher.
//!
//! The fetcher is asked in slices and never waited for. It writes into a region of the manager, which is taken away from it before anybody looks at what is in
//! it. What came is worth nothing until the verifier has called it good.

use crate::cache::{ModuleName, discard};
use crate::manager::{Manager, at};
use crate::repository::refused;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use hic_abi::{FOREVER, Handle, Nanos, PAGE_SIZE, Rights, SELF};
use hic_channel::{Message, WORDS};
use hic_fetch::messages::MAX_MESSAGE_BYTES;
use hic_fetch::{Download, Failure, Reply, Request, Source, Step};
use hic_hicmod::manifest::{Name, Version};
use hic_hicmod::verdict::Refusal;
use hic_rt::{cap, clock, log, sys};
use hic_store::FileName;
use module_manager::patience::{Patience, Verdict};

/// The service asked.
pub const FETCHER: &str = "fetcher";
/// Folder of the modules in a repository (docs/spec/repository.md).
const FOLDER: &str = "targets/";
/// Room for a module whose length nobody knows before it comes.
const ROOM: u32 = 4 << 20;

/// A file on its way.
struct Transfer {
    name: FileName,
    download: Download,
    region: Handle,
    address: u64,
    /// Repositories that were not asked yet.
    rest: Vec<Source>,
    /// Why those before did not have it, if it was not for want of the file.
    reason: Option<Failure>,
}

/// What is being fetched.
#[derive(Default)]
pub struct Network {
    transfer: Option<Transfer>,
    patience: Patience,
    /// How the last file ended, for whoever waits for it.
    pub outcome: Option<Result<ModuleName, Box<Refusal>>>,
}

impl Network {
    /// The region that is shown to a service at this moment, and how.
    pub fn shown(&self, name: &str) -> Option<(Handle, Rights)> {
        let transfer = self.transfer.as_ref().filter(|_| name == FETCHER)?;
        Some((transfer.region, Rights::READ | Rights::WRITE))
    }
}

fn question(request: &Request) -> Message {
    let mut buffer = [0; MAX_MESSAGE_BYTES];
    // Every request fits by the definition of the bound.
    Message::new(0, [0; WORDS]).with_payload(request.encode(&mut buffer).unwrap_or_default())
}

impl Manager {
    /// The repositories on the network.
    pub fn sources(&self) -> Vec<Source> {
        let known = self.repository.defaults.iter().flat_map(|defaults| &defaults.sources);
        known.filter_map(|source| source.parse().ok()).collect()
    }

    /// Begins to fetch a module; `network.outcome` tells how it ended.
    pub fn fetch_module(&mut self, name: &Name, version: Version) -> Result<(), Box<Refusal>> {
        let mut sources = self.sources();
        if sources.is_empty() {
            return Err(refused("no-repository", &"no repository on the network is known"));
        }
        let file = FileName::try_from(format!("{name}-{version}.hicmod").as_str());
        let file = file.map_err(|_| refused("http-path", &"the name of the file is too long"))?;
        let (region, address) = self.new_room(ROOM)?;
        let first = sources.remove(0);
        let Some(download) = begin(&first, &file) else {
            discard(region);
            return Err(refused("http-path", &"the path of the file is too long"));
        };
        self.network.outcome = None;
        self.network.transfer =
            Some(Transfer { name: file, download, region, address, rest: sources, reason: None });
        self.ask_fetcher();
        Ok(())
    }

    /// Memory for a file, which the fetcher can write.
    fn new_room(&self, bytes: u32) -> Result<(Handle, u64), Box<Refusal>> {
        let fetcher =
            self.journal.find(FETCHER).ok_or_else(|| refused("no-fetcher", &"this system has no fetcher"))?;
        let region = cap::allocate().ok_or_else(|| refused("memory", &"no capability slot is free"))?;
        let made = sys::create_region(self.account, region, bytes.into()).map_err(at("region"));
        let shown = made.and_then(|address| {
            self.show(fetcher, region, Rights::READ | Rights::WRITE)?;
            Ok(address)
        });
        shown.map(|address| (region, address)).map_err(|error| {
            discard(region);
            refused("memory", &error)
        })
    }

    fn ask_fetcher(&mut self) {
        let Some(transfer) = &self.network.transfer else { return };
        let message = question(&transfer.download.request(transfer.address));
        self.network.patience = Patience::begin(clock::now());
        if let Some(fetcher) = self.journal.find(FETCHER) {
            self.ask(fetcher, &message);
        }
    }

    /// Takes the open question back: the memory that it is about will go.
    pub fn stop_fetcher(&self) {
        if let Some(fetcher) = self.journal.find(FETCHER) {
            self.ask(fetcher, &question(&Request::Stop));
        }
    }

    /// Takes the fetcher's answer in and asks again; when to look again if nobody answers.
    pub fn network_turn(&mut self) -> Nanos {
        loop {
            if self.network.transfer.is_none() {
                return FOREVER;
            }
            let Some(fetcher) = self.journal.find(FETCHER) else {
                self.fail(Failure::new("no-fetcher", &"the fetcher was removed", false));
                continue;
            };
            let Some(answer) = self.answer_of(fetcher) else {
                match self.network.patience.at(clock::now()) {
                    Verdict::Wait(until) => return until,
                    Verdict::Again => self.start_again(FETCHER),
                    Verdict::GiveUp => {
                        self.fail(Failure::new("no-answer", &"the service fetcher does not answer", false))
                    }
                }
                continue;
            };
            let reply = Reply::decode(answer.payload()).unwrap_or(Reply::Stopped);
            let step = self.network.transfer.as_mut().map(|t| t.download.answered(reply, clock::now()));
            match step.unwrap_or(Step::Ask) {
                Step::Ask => self.ask_fetcher(),
                Step::Done(length) => self.arrive(length),
                Step::GiveUp(failure) => self.fail(failure),
            }
        }
    }

    /// A repository does not have the file, or not whole: the next one is asked.
    fn fail(&mut self, failure: Failure) {
        let Some(mut transfer) = self.network.transfer.take() else { return };
        log!("network: {} ({} bytes came): {failure}", transfer.download.path(), transfer.download.at());
        if failure.code != "http-not-found" {
            transfer.reason = Some(failure.clone());
        }
        while !transfer.rest.is_empty() {
            let source = transfer.rest.remove(0);
            if let Some(download) = begin(&source, &transfer.name) {
                transfer.download = download;
                self.network.transfer = Some(transfer);
                return self.ask_fetcher();
            }
        }
        self.stop_fetcher();
        let _ = self.hide(FETCHER, transfer.region);
        discard(transfer.region);
        let failure = transfer.reason.unwrap_or(failure);
        self.network.outcome = Some(Err(refused(&failure.code, &failure.text)));
    }

    /// The file is there: it is taken from the fetcher, for good, and looked at.
    fn arrive(&mut self, length: u32) {
        let Some(transfer) = self.network.transfer.take() else { return };
        let Transfer { name, region, address, .. } = transfer;
        let taken = self.hide(FETCHER, region).map_err(|error| refused("memory", &error));
        match taken.and_then(|()| self.fit(region, address, length)) {
            Ok((region, address)) => self.take_arrived(name, region, address, length),
            Err(refusal) => {
                discard(region);
                self.network.outcome = Some(Err(refusal));
            }
        }
    }

    /// Moves a file into a region of its own size, and ends the one that had room for any.
    fn fit(&self, from: Handle, address: u64, length: u32) -> Result<(Handle, u64), Box<Refusal>> {
        if length == 0 {
            return Err(refused("size", &"the file is empty"));
        }
        let memory = |error: &dyn core::fmt::Display| refused("memory", error);
        let region = cap::allocate().ok_or_else(|| memory(&"no capability slot is free"))?;
        let copied = sys::create_region(self.account, region, length.into()).and_then(|to| {
            sys::region_map(SELF, from, Rights::READ)?;
            sys::region_map(SELF, region, Rights::READ | Rights::WRITE)?;
            // SAFETY: both regions are the manager's own, mapped just now, at least `length` bytes long (`length` is at most `ROOM`, see
            // `Download::answered`) and disjoint; nobody else maps them any more.
            unsafe {
                core::ptr::copy_nonoverlapping(address as *const u8, to as *mut u8, length as usize);
            }
            sys::region_unmap(SELF, region)?;
            Ok(to)
        });
        match copied {
            Ok(to) => {
                discard(from);
                Ok((region, to))
            }
            Err(error) => {
                discard(region);
                Err(memory(&error))
            }
        }
    }

    /// Where a module came from and how large it is, for a report.
    pub fn told_of(&self, name: &Name, version: Version) -> Option<String> {
        let loaded = &self.modules[self.position(name, version)?];
        Some(format!("fetched: {name} {version} ({} bytes) over the network", loaded.file.length))
    }
}

fn begin(source: &Source, file: &str) -> Option<Download> {
    let path = source.path(&format!("{FOLDER}{file}"))?;
    Some(Download::begin(source.clone(), path, ROOM, None, clock::now()))
}

const _: () = assert!((ROOM as u64).is_multiple_of(PAGE_SIZE));
