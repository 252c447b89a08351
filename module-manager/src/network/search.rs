//! A module that somebody wants and that is not in memory: looked for in what the repositories on the network offer, and fetched from one after the other
//! until one has it as the list says.

use super::Purpose;
use crate::cache::discard;
use crate::manager::{Manager, at};
use crate::metadata::Metadata;
use crate::repository::{MAX_FILE, refused};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use hic_abi::{Handle, Rights, SELF};
use hic_fetch::{Download, Source};
use hic_hicmod::manifest::{Name, Version};
use hic_hicmod::verdict::Refusal;
use hic_rt::{clock, log, sys};
use hic_store::FileName;
use module_manager::admission::Standing;
use module_manager::turns::Busy;

/// Folder of the modules in a repository (docs/spec/repository.md).
const FOLDER: &str = "targets/";
/// Room for a module that no list names, so that nobody knows its length before it comes (development). One that is listed has as much as it is long.
const UNLISTED_ROOM: u32 = 8 << 20;

/// A file that is wanted.
pub struct Wish {
    file: FileName,
    room: u32,
    /// Its bytes, if a list says so.
    length: Option<u32>,
    /// Repositories that were not asked yet.
    rest: VecDeque<Source>,
    /// Why those before did not have it, if it was not for want of the file.
    reason: Option<Box<Refusal>>,
}

impl Manager {
    /// Has a module looked for; `network.outcome` tells how it ended. Refused while another one is.
    pub fn ask_search(&mut self, name: &Name, version: Version) -> Result<(), Busy> {
        self.network.turns.ask_search((name.clone(), version))?;
        log!("{name} {version} is looked for on the network");
        (self.network.outcome, self.network.begun) = (None, true);
        Ok(())
    }

    /// Goes on with a search once it is known what is offered.
    pub(super) fn fetch_module(&mut self, name: &Name, version: Version) {
        match self.wish_for(name, version) {
            Ok(wish) => self.ask_next(wish),
            Err(refusal) => self.end_search(Err(refusal)),
        }
    }

    fn end_search(&mut self, outcome: Result<crate::cache::ModuleName, Box<Refusal>>) {
        self.network.turns.end_search();
        (self.network.outcome, self.network.begun) = (Some(outcome), true);
    }

    /// Which file is to be fetched for a module, as the list says; without a list that counts, by its name, where the root allows that.
    fn wish_for(&self, name: &Name, version: Version) -> Result<Wish, Box<Refusal>> {
        let wish = |file: &str, room, length| {
            let file = FileName::try_from(file);
            let file = file.map_err(|_| refused("http-path", &"the name of the file is too long"))?;
            Ok(Wish { file, room, length, rest: self.sources(), reason: None })
        };
        let by_name = || wish(&format!("{name}-{version}.hicmod"), UNLISTED_ROOM, None);
        if self.trust_root.repository.length == 0 {
            return by_name();
        }
        match self.metadata() {
            Some(Metadata::Good(good)) => {
                if let Some(offer) = good.offers.iter().find(|o| o.name == *name && o.version == version) {
                    if offer.length == 0 || offer.length > MAX_FILE {
                        let why =
                            format_args!("{} bytes; at most {MAX_FILE} bytes are read for one", offer.length);
                        return Err(refused("size", &why));
                    }
                    return wish(&offer.file, offer.length, Some(offer.length));
                }
                match good.unlisted {
                    true => by_name(),
                    false => Err(self.complaint().unwrap_or_else(|| not_offered(name, version, good))),
                }
            }
            Some(Metadata::Absent { .. }) if self.standing() == (Standing::Absent { unlisted: true }) => {
                by_name()
            }
            Some(Metadata::Absent { refusal, .. } | Metadata::Refused(refusal)) => {
                Err(self.complaint().unwrap_or_else(|| refusal.clone()))
            }
            None => Err(self.complaint().unwrap_or_else(|| {
                refused("metadata-missing", &"no repository could be asked what it offers")
            })),
        }
    }

    /// Why a server did not say what it offers: the list that would name the module may be the one that is not there.
    fn complaint(&self) -> Option<Box<Refusal>> {
        self.repository.mirrors.remote_complaint().cloned().map(Box::new)
    }

    /// Asks the next repository for the file.
    fn ask_next(&mut self, mut wish: Wish) {
        let Some(source) = wish.rest.pop_front() else {
            let none = || refused("http-not-found", &"no repository on the network has such a file");
            let refusal = wish.reason.unwrap_or_else(none);
            return self.end_search(Err(refusal));
        };
        let Some(path) = source.path(&format!("{FOLDER}{}", wish.file)) else {
            return self.wish_failed(wish, refused("http-path", &"the path of the file is too long"));
        };
        match self.new_room(wish.room) {
            Ok((region, address)) => {
                let download = Download::begin(source, path, wish.room, wish.length, clock::now());
                self.network.begin_transfer(Purpose::Module(wish), download, region, address);
                self.ask_fetcher();
            }
            Err(refusal) => self.end_search(Err(refusal)),
        }
    }

    /// Memory for a file, which the fetcher can write.
    fn new_room(&self, bytes: u32) -> Result<(Handle, u64), Box<Refusal>> {
        let (region, address) = self.new_region(bytes.into())?;
        self.show_fetcher(region).inspect_err(|_| discard(region))?;
        Ok((region, address))
    }

    /// One repository does not have it as it must be: the next one is asked.
    pub(super) fn wish_failed(&mut self, mut wish: Wish, refusal: Box<Refusal>) {
        if refusal.check != "http-not-found" {
            wish.reason = Some(refusal);
        }
        self.ask_next(wish);
    }

    /// The file has come: it goes to the verifier.
    pub(super) fn wish_arrived(&mut self, wish: Wish, (region, address): (Handle, u64), length: u32) {
        match self.fit((region, address), length, wish.room) {
            Ok((region, address)) => {
                let file = wish.file.clone();
                self.network.arrived = Some(wish);
                self.take_arrived(file, region, address, length);
            }
            Err(refusal) => {
                discard(region);
                self.wish_failed(wish, refusal);
            }
        }
    }

    /// What the verifier said of it, after it was kept.
    pub fn arrival_judged(&mut self, content: Result<crate::cache::ModuleName, Box<Refusal>>) {
        let wish = self.network.arrived.take();
        match (content, wish) {
            (Err(refusal), Some(wish)) => self.wish_failed(wish, refusal),
            (content, _) => self.end_search(content),
        }
    }

    /// A file in a region of its own size; one that had room for more is moved.
    fn fit(
        &self,
        (from, address): (Handle, u64),
        length: u32,
        room: u32,
    ) -> Result<(Handle, u64), Box<Refusal>> {
        if length == 0 {
            return Err(refused("size", &"the file is empty"));
        }
        if length == room {
            return Ok((from, address));
        }
        sys::region_map(SELF, from, Rights::READ).map_err(|error| refused("memory", &at("map")(error)))?;
        let copied = self.copy_of(address, length)?;
        discard(from);
        Ok(copied)
    }

    /// Where a module came from and how large it is, for a report.
    pub fn told_of(&self, name: &Name, version: Version) -> Option<String> {
        let loaded = &self.modules[self.position(name, version)?];
        Some(format!("fetched: {name} {version} ({} bytes) over the network", loaded.file.length))
    }
}

/// No list names it; the answer names what there is.
fn not_offered(name: &Name, version: Version, good: &crate::metadata::Good) -> Box<Refusal> {
    let mut versions = String::new();
    for offer in good.offers.iter().filter(|offer| offer.name == *name) {
        versions += &format!("{}{}", if versions.is_empty() { "; it lists " } else { ", " }, offer.version);
    }
    let why = format_args!("the repository's metadata does not name {name} {version}{versions}");
    refused("unlisted", &why)
}
