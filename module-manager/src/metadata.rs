//! What the repository's metadata means for a module: whether it is used, and what is offered.
//!
//! The verifier walks through the metadata ([`crate::repository`]); nothing of a list is read here before it called that list good.

use crate::manager::Manager;
use crate::modules::{NOTE_DOWNGRADE, Origin};
use crate::repository::{File, refused};
use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use hic_abi::Handle;
use hic_channel::{Message, WORDS};
use hic_hicmod::manifest::{Dependency, Name, Need, Version};
use hic_hicmod::verdict::{Facts, Listing, MAX_LISTING_BYTES, Refusal, Span, Verdict};
use hic_store::FileName;
use hic_tuf::{Target, Targets, Trusted};
use module_manager::admission::{self, Objection, Standing};
use module_manager::journal::CachedModule;

/// Most modules of one list that are shown and can be fetched: each takes some 200 bytes of the manager's heap.
const MAX_OFFERS: usize = 1024;

/// What is known of the metadata of one place.
pub enum Metadata {
    /// There is none.
    Absent {
        /// Whether the root says that modules may be used which are not listed.
        unlisted: bool,
        /// What that means where there was some before.
        refusal: Box<Refusal>,
    },
    /// It was refused.
    Refused(Box<Refusal>),
    /// It is good.
    Good(Box<Good>),
}

/// Good metadata.
pub struct Good {
    /// The region of the list: the manager's own, which nobody can write.
    pub region: Handle,
    /// The list of modules, in that region.
    pub targets: Span,
    /// The last second at which it is believed.
    pub expires: u64,
    /// See [`Metadata::Absent`].
    pub unlisted: bool,
    /// What was seen.
    pub trusted: Trusted,
    /// The modules in the list.
    pub offers: Vec<Offer>,
}

/// A module that the list names.
pub struct Offer {
    /// Its file.
    pub file: String,
    /// Bytes of the file.
    pub length: u32,
    /// SHA-384 of the file.
    pub digest: [u8; 48],
    /// The module.
    pub name: Name,
    /// Its version.
    pub version: Version,
    /// Its anti-rollback epoch.
    pub epoch: u32,
    /// What it needs, in words.
    pub needs: String,
    /// Who the list says publishes and has signed it.
    pub names: Rc<Names>,
}

/// Names of people in a list. Few publish and sign many modules, so that each pair is kept once.
#[derive(PartialEq, Eq)]
pub struct Names {
    /// Who publishes.
    pub publisher: String,
    /// Who signed.
    pub signer: String,
}

impl Offer {
    fn of(target: &Target<'_>, before: Option<&Self>) -> Option<Self> {
        let Target { file, length, version, epoch, .. } = *target;
        let names = Names { publisher: target.publisher.to_string(), signer: target.signer.to_string() };
        let same = before.map(|offer| &offer.names).filter(|before| ***before == names);
        let names = same.cloned().unwrap_or_else(|| Rc::new(names));
        let needs = needs_of(&target.needs, &target.dependencies);
        let name = target.name.try_into().ok()?;
        let digest = target.digest.as_bytes().try_into().ok()?;
        Some(Self { file: file.to_string(), length, digest, name, version, epoch, needs, names })
    }
}

/// The modules of a list that was found good.
pub fn offers(list: &[u8]) -> Vec<Offer> {
    let mut offers = Vec::new();
    for target in Targets::of_verified(list).iter().flat_map(Targets::iter).take(MAX_OFFERS) {
        let offer = Offer::of(&target, offers.last());
        offers.extend(offer);
    }
    offers
}

/// What a module needs, in words: `netstack, storage (optional), eth_driver >=1.2.0`.
pub fn needs_of(needs: &[Need], dependencies: &[Dependency]) -> String {
    let optional = |need: &Need| if need.optional { " (optional)" } else { "" };
    let services = needs.iter().map(|need| format!("{}{}", need.service, optional(need)));
    let modules = dependencies.iter().map(|wanted| format!("{} {}", wanted.module, wanted.version));
    services.chain(modules).collect::<Vec<_>>().join(", ")
}

impl Metadata {
    /// What matters for whether a module is admitted.
    pub fn standing(&self) -> Standing {
        match self {
            Self::Absent { unlisted, .. } => Standing::Absent { unlisted: *unlisted },
            Self::Refused(_) => Standing::Refused,
            Self::Good(good) => Standing::Good { unlisted: good.unlisted },
        }
    }

    /// Why it is none to go by.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) | Self::Absent { refusal, .. } => Some(refusal),
            Self::Good(_) => None,
        }
    }

    /// Whether another state of the repository is meant.
    pub fn differs(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Good(one), Self::Good(two)) => {
                (one.trusted.targets, one.unlisted) != (two.trusted.targets, two.unlisted)
            }
            (Self::Refused(one), Self::Refused(two)) => one.check != two.check,
            _ => core::mem::discriminant(self) != core::mem::discriminant(other),
        }
    }
}

impl Manager {
    /// The metadata that counts; `None` if the system trusts no repository root, or no place could be asked.
    pub fn metadata(&self) -> Option<&Metadata> {
        self.repository.mirrors.leading()
    }

    /// What matters of it for whether a module is admitted.
    pub fn standing(&self) -> Standing {
        if self.trust_root.repository.length == 0 {
            return Standing::Unused;
        }
        let seen = self.repository.defaults.as_ref().is_some_and(|defaults| defaults.trusted.timestamp > 0);
        module_manager::mirrors::standing(self.metadata().map(Metadata::standing), seen)
    }

    /// What is offered and not in memory, nor known to be refused; each with its number in the list.
    pub fn offered(&self) -> impl Iterator<Item = (usize, &Offer)> {
        let offers = self.repository.mirrors.list().map_or(&[][..], |good| &good.offers);
        offers.iter().enumerate().filter(|(_, offer)| {
            let refused = self.repository.files().any(|f| f.refusal().is_some() && *f.name == *offer.file);
            !refused && !self.is_loaded(&offer.name, offer.version)
        })
    }

    /// The question about a file of the repository.
    pub fn listed_question(&self, file: Span, name: &FileName) -> Message {
        let question = self.verify_question(file);
        let Some(Metadata::Good(good)) = self.metadata() else { return question };
        let mut buffer = [0; MAX_LISTING_BYTES];
        match (Listing { targets: good.targets, file: name }).encode(&mut buffer) {
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
        let chosen = self.is_chosen(&manifest.name, manifest.version);
        match admission::admit(self.standing(), listed, chosen) {
            Ok(()) => Ok(()),
            Err(objection) => {
                let refusal = self.metadata().and_then(Metadata::refusal);
                let refusal = refusal.filter(|_| objection == Objection::Metadata).cloned();
                Err(refusal.map_or_else(|| refused(objection.name(), &objection), Box::new))
            }
        }
    }

    /// Whether the record names this version as the default of its service, or as the one before it: it was trusted before.
    pub fn is_chosen(&self, name: &str, version: Version) -> bool {
        let service = self.repository.defaults.as_ref().and_then(|defaults| defaults.service(name));
        service.is_some_and(|s| s.version == version || s.previous == Some(version))
    }

    /// Whether the policy names this version as one to which its module may go back over the end of an epoch.
    pub fn allows_downgrade(&self, name: &str, version: Version) -> bool {
        self.policy.as_ref().is_some_and(|policy| policy.allowed(name).0.downgrade.contains(&version))
    }

    /// Writes to the audit log that a module goes back over the end of an epoch, if it does.
    pub fn note_downgrade(&self, name: &str, version: &str) {
        let Some(module) = self.module(name, version) else { return };
        let lowest = self.repository.defaults.as_ref().map_or(0, |defaults| defaults.epoch(name));
        if self.modules[module].module.manifest.epoch < lowest {
            self.note(NOTE_DOWNGRADE, 0, format_args!("downgrade {name} {version}"));
            hic_rt::log!("{name} {version} is of an epoch that is over; the policy names it as a downgrade");
        }
    }

    /// Why a module that lies in memory is not put to use now: its metadata expired meanwhile, or it is of an epoch that is over.
    pub fn objection(&self, name: &str, version: &str) -> Option<Box<Refusal>> {
        let loaded = &self.modules[self.module(name, version)?];
        let manifest = &loaded.module.manifest;
        let from_outside = loaded.origin != Origin::Archive;
        // What lies in memory was good once. Now the disk has something else under its name, or nobody says any more that it is offered.
        let refused_now = self.refused_file(name, version).and_then(File::refusal);
        if let Some(refusal) = refused_now.filter(|_| from_outside && !self.is_chosen(name, manifest.version))
        {
            return Some(Box::new(refusal.clone()));
        }
        let lowest = self.repository.defaults.as_ref().map_or(0, |defaults| defaults.epoch(name));
        if manifest.epoch < lowest && !self.allows_downgrade(name, manifest.version) {
            let objection = Objection::Epoch { epoch: manifest.epoch, lowest };
            return Some(refused(objection.name(), &objection));
        }
        match self.metadata() {
            Some(Metadata::Good(good)) if from_outside && self.now() > good.expires => {
                let objection = Objection::Expired;
                Some(refused(objection.name(), &objection))
            }
            _ => self.withdrawn(loaded.origin, &manifest.name, manifest.version),
        }
    }

    /// Why a module that came over the network is not put to use any more: the list that counts now may not name it. For those of the disk each scan finds
    /// that out.
    fn withdrawn(&self, origin: Origin, name: &str, version: Version) -> Option<Box<Refusal>> {
        let Origin::Repository(place) = origin else { return None };
        if self.journal.cached.get(place)?.from == CachedModule::DISK {
            return None;
        }
        let list = self.repository.mirrors.list();
        let listed =
            list.is_some_and(|good| good.offers.iter().any(|o| o.name == name && o.version == version));
        let admitted = admission::admit(self.standing(), listed, self.is_chosen(name, version));
        admitted.err().map(|objection| refused(objection.name(), &objection))
    }
}
