//! A module that somebody wants and that is not in memory: looked for in what the repositories on the network offer, and fetched from one after the other
//! until one has it as the list says.

use super::{Network, Purpose, Transfer};
use crate::cache::discard;
use crate::manager::{Manager, at};
use crate::metadata::Metadata;
use crate::repository::{MAX_FILE, refused};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use hic_abi::{Handle, Rights, SELF};
use hic_fetch::{Download, Source};
use hic_hicmod::manifest::{Name, Version};
use hic_hicmod::verdict::Refusal;
use hic_rt::{clock, log, sys};
use hic_store::FileName;
use module_manager::admission::Standing;

/// Folder of the modules in a repository (docs/spec/repository.md).
const FOLDER: &str = "targets/";
/// Room for a module that no list names, so that nobody knows its length before it comes (development). One that is listed has as much as it is long.
const UNLISTED_ROOM: u32 = 8 << 20;

/// Who is looked for.
pub struct Search {
    name: Name,
    version: Version,
    /// Its file was asked for.
    fetching: bool,
}

/// A file that is wanted.
pub struct Wish {
    file: FileName,
    room: u32,
    /// Its bytes, if a list says so.
    length: Option<u32>,
    /// Repositories that were not asked yet.
    rest: Vec<Source>,
    /// Why those before did not have it, if it was not for want of the file.
    reason: Option<Box<Refusal>>,
}

impl Network {
    /// Whether somebody waits for [`Self::outcome`].
    pub const fn is_searching(&self) -> bool {
        self.search.is_some()
    }
}

impl Manager {
    /// Begins to look for a module; `network.outcome` tells how it ended.
    pub fn begin_search(&mut self, name: &Name, version: Version) {
        log!("{name} {version} is looked for on the network");
        self.network.outcome = None;
        self.network.search = Some(Search { name: name.clone(), version, fetching: false });
        self.begin_look();
    }

    /// Goes on with a search once it is known what is offered.
    pub fn search_turn(&mut self) {
        let looking = self.network.looking || !self.repository.is_idle();
        let Some(search) = self.network.search.as_mut().filter(|search| !looking && !search.fetching) else {
            return;
        };
        (search.fetching, self.network.begun) = (true, true);
        let (name, version) = (search.name.clone(), search.version);
        match self.wish_for(&name, version) {
            Ok(wish) => self.ask_next(wish),
            Err(refusal) => self.end_search(Err(refusal)),
        }
    }

    fn end_search(&mut self, outcome: Result<crate::cache::ModuleName, Box<Refusal>>) {
        (self.network.search, self.network.outcome) = (None, Some(outcome));
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
                match (good.unlisted, self.repository.mirrors.refused_remote()) {
                    (true, _) => by_name(),
                    // The list that would name it may be the one that was refused.
                    (false, Some(refusal)) => Err(Box::new(refusal.clone())),
                    (false, None) => Err(not_offered(name, version, good)),
                }
            }
            Some(Metadata::Absent { .. }) if self.standing() == (Standing::Absent { unlisted: true }) => {
                by_name()
            }
            Some(Metadata::Absent { refusal, .. } | Metadata::Refused(refusal)) => Err(refusal.clone()),
            None => Err(refused("metadata-missing", &"no repository could be asked what it offers")),
        }
    }

    /// Asks the next repository for the file.
    fn ask_next(&mut self, mut wish: Wish) {
        if wish.rest.is_empty() {
            let none = || refused("http-not-found", &"no repository on the network has such a file");
            let refusal = wish.reason.unwrap_or_else(none);
            return self.end_search(Err(refusal));
        }
        let source = wish.rest.remove(0);
        let Some(path) = source.path(&format!("{FOLDER}{}", wish.file)) else {
            return self.wish_failed(wish, refused("http-path", &"the path of the file is too long"));
        };
        match self.new_room(wish.room) {
            Ok((region, address)) => {
                let download = Download::begin(source, path, wish.room, wish.length, clock::now());
                let purpose = Purpose::Module(wish);
                self.network.transfer = Some(Transfer { purpose, download, region, address });
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
