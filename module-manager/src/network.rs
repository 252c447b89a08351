//! Files from the network: one at a time, by way of the fetcher, into memory of the manager.
//!
//! ```text
//!   a look   ─▶ metadata, file after file, as the verifier asks for them ([`crate::repository`]) ─▶ what is offered
//!   a search ─▶ a look ─▶ the module's file, as long as the list says ─▶ verifier ─▶ kept
//! ```
//! One look or one search at a time, each to its end ([`module_manager::turns`]). The fetcher is asked in slices and never waited for. It writes into a region of the manager, which is taken away from it before anybody looks at what is in
//! it. What came is worth nothing until the verifier has called it good.

mod search;

use crate::cache::ModuleName;
use crate::manager::{Manager, at};
use crate::repository::{Walk, refused};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use hic_abi::{FOREVER, Handle, Nanos, Rights, SELF};
use hic_channel::{Message, WORDS};
use hic_fetch::messages::MAX_MESSAGE_BYTES;
use hic_fetch::{Download, Failure, Path, Reply, Request, Source, Step};
use hic_hicmod::manifest::{Name, Version};
use hic_hicmod::verdict::Refusal;
use hic_rt::{clock, log, sys};
use module_manager::patience::{Patience, Verdict};
use module_manager::turns::{Begun, Turns};
use search::Wish;

/// The service asked.
pub const FETCHER: &str = "fetcher";

/// What a file is for.
enum Purpose {
    /// The next one of a walk through metadata.
    Metadata(Walk),
    /// A module.
    Module(Wish),
}

/// A file on its way.
struct Transfer {
    purpose: Purpose,
    download: Download,
    /// Memory that the fetcher can write.
    region: Handle,
    /// Where the file begins in it.
    address: u64,
}

/// What is being fetched, and why.
#[derive(Default)]
pub struct Network {
    transfer: Option<Transfer>,
    patience: Patience,
    /// Whose the transfer is.
    turns: Turns<Source, (Name, Version)>,
    /// The module file that is being verified, with the places that are still to be asked for it.
    arrived: Option<Wish>,
    /// Something was begun that waits for a turn and for no answer.
    begun: bool,
    /// When to look for the first time; `None` once that was done.
    first_look: Option<Nanos>,
    /// How the last search ended, for whoever waits for it.
    pub outcome: Option<Result<ModuleName, Box<Refusal>>>,
}

/// From the start of the manager to its first look at the network, which has to come up.
const FIRST_LOOK: Nanos = 10_000_000_000;

impl Network {
    /// Nothing is being fetched; the first look is due in a while.
    pub fn new(now: Nanos) -> Self {
        Self { first_look: Some(now.saturating_add(FIRST_LOOK)), ..Self::default() }
    }

    /// The region that is shown to a service at this moment, and how.
    pub fn shown(&self, name: &str) -> Option<(Handle, Rights)> {
        let transfer = self.transfer.as_ref().filter(|_| name == FETCHER)?;
        Some((transfer.region, Rights::READ | Rights::WRITE))
    }

    /// Whether something was begun since this was asked last.
    pub const fn has_begun(&mut self) -> bool {
        core::mem::replace(&mut self.begun, false)
    }

    /// Whether repositories are being asked what they offer, or are to be.
    pub const fn is_looking(&self) -> bool {
        self.turns.is_looking()
    }

    /// Begins with a file. Whoever does has the turn, and the file before it has ended, so its memory is not lost.
    fn begin_transfer(&mut self, purpose: Purpose, download: Download, region: Handle, address: u64) {
        debug_assert!(self.transfer.is_none(), "a file is on its way already");
        self.transfer = Some(Transfer { purpose, download, region, address });
        self.begun = true;
    }
}

fn question(request: &Request) -> Message {
    let mut buffer = [0; MAX_MESSAGE_BYTES];
    // Every request fits by the definition of the bound.
    Message::new(0, [0; WORDS]).with_payload(request.encode(&mut buffer).unwrap_or_default())
}

fn failed(failure: &Failure) -> Box<Refusal> {
    refused(&failure.code, &failure.text)
}

impl Manager {
    /// The repositories on the network.
    pub fn sources(&self) -> VecDeque<Source> {
        self.repository.sources()
    }

    /// Has all repositories on the network asked from now on what they offer; [`Network::is_looking`] tells when that is over.
    pub fn ask_look(&mut self) {
        self.network.turns.ask_look();
        self.network.begun = true;
    }

    /// Begins the look or the search that waits, once nobody else uses the network and it is known what the disk has.
    pub fn begin_turn(&mut self) {
        if !self.repository.is_idle() {
            return;
        }
        // A system without a root of its own believes no metadata, so it reads none.
        let is_read = self.trust_root.repository.length > 0;
        let asked = || if is_read { self.repository.sources() } else { VecDeque::new() };
        let Some(begun) = self.network.turns.begin(asked) else { return };
        self.network.begun = true;
        match begun {
            Begun::Look => self.next_server(),
            Begun::Search((name, version)) => self.fetch_module(&name, version),
        }
    }

    /// Looks at the repositories on the network for the first time once that is up, so that `modules` shows what they offer; when to turn again.
    pub fn first_look_turn(&mut self) -> Nanos {
        let Some(due) = self.network.first_look.filter(|_| !self.has_task()) else { return FOREVER };
        if clock::now() < due {
            return due;
        }
        self.network.first_look = None;
        self.ask_look();
        FOREVER
    }

    /// The next repository, when the walk through the metadata of the one before it has ended.
    pub fn next_server(&mut self) {
        match self.network.turns.next_server() {
            Some(source) => self.begin_remote_walk(source),
            None => self.network.begun = true,
        }
    }

    /// Fetches the file that the verifier wants next into the memory of the walk.
    pub fn fetch_metadata(&mut self, walk: Walk, source: &Source, path: Path) {
        let download =
            Download::begin(source.clone(), path, walk.limit(), None, clock::now()).by(walk.deadline());
        let (region, address) = (walk.region(), walk.next_address());
        match self.show_fetcher(region) {
            Ok(()) => {
                self.network.begin_transfer(Purpose::Metadata(walk), download, region, address);
                self.ask_fetcher();
            }
            Err(refusal) => self.metadata_failed(walk, refusal),
        }
    }

    fn show_fetcher(&self, region: Handle) -> Result<(), Box<Refusal>> {
        let fetcher =
            self.journal.find(FETCHER).ok_or_else(|| refused("no-fetcher", &"this system has no fetcher"))?;
        let shown = self.show(fetcher, region, Rights::READ | Rights::WRITE);
        shown.map_err(|error| refused("memory", &error))
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

    /// Takes the fetcher's answers in and asks again; when to look again if nobody answers.
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

    /// A repository does not have the file, or not whole.
    fn fail(&mut self, failure: Failure) {
        let Some(transfer) = self.network.transfer.take() else { return };
        let Transfer { purpose, download, region, .. } = transfer;
        self.stop_fetcher();
        let _ = self.hide(FETCHER, region);
        match purpose {
            Purpose::Metadata(walk) if failure.code == "http-not-found" => self.metadata_arrived(walk, None),
            Purpose::Metadata(walk) => {
                log!("network: {} ({} bytes came): {failure}", download.path(), download.at());
                // A file that is longer than the longest of its role is judged as one on the disk would be.
                let refusal = match failure.code.as_str() {
                    "http-too-long" => refused("metadata-size", &failure.text),
                    _ => failed(&failure),
                };
                self.metadata_failed(walk, refusal);
            }
            Purpose::Module(wish) => {
                log!("network: {} ({} bytes came): {failure}", download.path(), download.at());
                crate::cache::discard(region);
                self.wish_failed(wish, failed(&failure));
            }
        }
    }

    /// The file is there: it is taken from the fetcher, for good, and looked at.
    fn arrive(&mut self, length: u32) {
        let Some(transfer) = self.network.transfer.take() else { return };
        let Transfer { purpose, region, address, .. } = transfer;
        let taken = self.hide(FETCHER, region).map_err(|error| refused("memory", &error));
        match (purpose, taken) {
            (Purpose::Metadata(walk), Ok(())) => self.metadata_arrived(walk, Some(length)),
            (Purpose::Metadata(walk), Err(refusal)) => self.metadata_failed(walk, refusal),
            (Purpose::Module(wish), Ok(())) => self.wish_arrived(wish, (region, address), length),
            (Purpose::Module(wish), Err(refusal)) => {
                crate::cache::discard(region);
                self.wish_failed(wish, refusal);
            }
        }
    }

    /// A region with a copy of these bytes of the manager's, mapped nowhere; its slot and address.
    pub fn copy_of(&self, address: u64, length: u32) -> Result<(Handle, u64), Box<Refusal>> {
        let (region, to) = self.new_region(length.into())?;
        let copied = sys::region_map(SELF, region, Rights::READ | Rights::WRITE).and_then(|_| {
            // SAFETY: `address` lies in a region of the manager's, mapped here for reading by the caller with at least `length` bytes from there on, and
            // taken from every service before; the new region is as long, mapped just now, and nobody else's.
            unsafe {
                core::ptr::copy_nonoverlapping(address as *const u8, to as *mut u8, length as usize);
            }
            sys::region_unmap(SELF, region)
        });
        copied.map(|()| (region, to)).map_err(|error| {
            crate::cache::discard(region);
            refused("memory", &at("copy")(error))
        })
    }
}
