//! The modules that the manager may start: those of the boot archive and those of the repository, each verified.
//!
//! Bytes that came from outside are looked at by the verifier, in a sandbox without authority, and here only after it found them signed. A
//! verified module stays in memory, so that a restart is copying and relocating.

use crate::manager::{Manager, StartError, at};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use hic_abi::audit::NoteText;
use hic_abi::{Handle, Nanos, Plain, Rights, SELF, name_bytes, name_str};
use hic_channel::Message;
use hic_control::grants;
use hic_hicmod::Module;
use hic_hicmod::archive::{self, Archive, Entry};
use hic_hicmod::manifest::{Platform, Version};
use hic_hicmod::verdict::{Question, Refusal, Span, VERIFY, Verdict};
use hic_rt::{clock, log, start, sys};
use module_manager::journal::{CachedModule, Record, Trust};

/// How long the verifier may take for one module at boot.
const PATIENCE: Nanos = 20_000_000_000;
/// Codes of notes in the audit log.
pub const NOTE_REFUSED: u64 = 1;
/// See [`NOTE_REFUSED`].
pub const NOTE_FALLBACK: u64 = 3;
/// See [`NOTE_REFUSED`].
pub const NOTE_DOWNGRADE: u64 = 6;

/// What this system offers to every module. The manager links the runtime that all modules of its boot archive were built with, and the
/// kernel starts that archive and no other (docs/adr/0024).
pub const PLATFORM: Platform = Platform {
    abi: hic_abi::ABI,
    ipc_lib: Version::new(hic_rt::IPC_LIB[0], hic_rt::IPC_LIB[1], hic_rt::IPC_LIB[2]),
};

/// A module that can be started.
pub struct Loaded {
    /// What it is.
    pub module: Module<'static>,
    /// Its file.
    pub file: Span,
    /// Where it came from.
    pub origin: Origin,
    /// What the verifier found.
    pub trust: Trust,
}

/// Where a module came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The boot archive.
    Archive,
    /// The repository; its place among the cached ones.
    Repository(usize),
}

/// The root certificate and the revocation list of the boot archive.
#[derive(Clone, Copy, Debug)]
pub struct TrustRoot {
    /// The certificate, DER; empty in an image without one.
    pub root: Span,
    /// Revoked certificates; may be empty.
    pub revoked: Span,
    /// The root of the module repository; empty in an image without one.
    pub repository: Span,
    /// When the archive was made, seconds since 1970, UTC; 0 if it does not say. The clock is never believed to be earlier.
    pub built: u64,
}

fn span(bytes: &[u8]) -> Span {
    Span { address: bytes.as_ptr() as u64, length: bytes.len() as u64 }
}

/// The archive of this boot, mapped.
pub fn open_archive(page: &'static hic_rt::StartPage) -> Result<Archive<'static>, StartError> {
    let grant = start::require(page, "archive");
    match sys::region_map(SELF, grant.slot, Rights::READ) {
        Ok(_) | Err(hic_abi::Error::Mapped) => {}
        Err(error) => return Err(at("map the boot archive")(error)),
    }
    // SAFETY: the region holds the boot archive, `length` bytes, mapped read-only; nobody can write it any more.
    let bytes = unsafe { core::slice::from_raw_parts(grant.address as *const u8, grant.length as usize) };
    Archive::parse(bytes).map_err(StartError::Archive)
}

/// The root of trust in the archive.
pub fn trust_root(files: &Archive<'static>) -> TrustRoot {
    let none = Span { address: 0, length: 0 };
    let entry = |name| files.find(name).and_then(|entry| entry.bytes().ok()).map_or(none, span);
    let built = files.built().unwrap_or(0);
    if let Some(behind) = built.checked_sub(clock::wall_seconds().unwrap_or(0)).filter(|behind| *behind > 0) {
        log!(
            "the machine's clock is {behind} s behind the time at which this system was made; that time counts, set the clock"
        );
    }
    TrustRoot {
        root: entry(archive::TRUST_ROOT),
        revoked: entry(archive::REVOKED),
        repository: entry(archive::REPOSITORY_ROOT),
        built,
    }
}

/// The modules of the archive, in its order, not verified yet. One that does not parse is left out.
pub fn archive_modules(archive: &Archive<'static>) -> Vec<Loaded> {
    let mut modules = Vec::new();
    for entry in archive.iter().filter(Entry::is_module) {
        let parsed = entry.bytes().map_err(StartError::Archive);
        let parsed =
            parsed.and_then(|bytes| Ok((span(bytes), Module::parse(bytes).map_err(StartError::Module)?)));
        match parsed {
            Ok((file, module)) => {
                modules.push(Loaded { module, file, origin: Origin::Archive, trust: Trust::zeroed() });
            }
            Err(error) => log!("boot archive: {}: {error}", entry.name),
        }
    }
    modules
}

impl Manager {
    /// The module with this name and version, by number.
    pub fn module(&self, name: &str, version: &str) -> Option<usize> {
        let wanted =
            |m: &Loaded| m.module.manifest.name == name && is_version(m.module.manifest.version, version);
        self.modules.iter().position(wanted)
    }

    /// The module that a record was made from.
    pub fn module_of(&self, record: &Record) -> Result<usize, StartError> {
        self.module(name_str(&record.info.name), name_str(&record.info.version)).ok_or(StartError::NoModule)
    }

    /// The time that counts, seconds since 1970, UTC: never before this system was made.
    pub fn now(&self) -> u64 {
        clock::wall_seconds().unwrap_or(0).max(self.trust_root.built)
    }

    /// The question about one file of the repository.
    pub fn verify_question(&self, module: Span) -> Message {
        self.question_at(module, self.now())
    }

    /// The question about one file of the archive. The kernel is bound to the archive, so what counts is when it was made: a system that was
    /// made well starts whatever its clock says, and when its signers have expired (docs/adr/0028).
    fn archive_question(&self, module: Span) -> Message {
        match self.trust_root.built {
            0 => self.verify_question(module),
            built => self.question_at(module, built),
        }
    }

    fn question_at(&self, module: Span, now: u64) -> Message {
        let TrustRoot { root, revoked, .. } = self.trust_root;
        Message::new(VERIFY, Question { module, root, revoked, now }.to_words())
    }

    /// Verifies the modules of the archive; those that fail are not started. Once in a boot: the archive cannot change.
    pub fn verify_archive(&mut self, verifier: usize) -> Result<(), StartError> {
        self.show_archive(verifier)?;
        let began = clock::now();
        for number in 0..self.modules.len() {
            let question = self.archive_question(self.modules[number].file);
            let answer = self.ask_and_wait(verifier, &question, PATIENCE);
            let trust = match read_verdict(answer.as_ref()) {
                Ok(trust) => trust,
                Err(refusal) => {
                    let name = &self.modules[number].module.manifest.name;
                    log!("boot archive: {name} refused: {refusal}");
                    self.note(NOTE_REFUSED, 0, format_args!("refused {name}: {}", refusal.check));
                    Trust { state: Trust::REFUSED, ..Trust::zeroed() }
                }
            };
            if let Some(place) = self.journal.trust.get_mut(number) {
                *place = trust;
            }
        }
        let (count, took) = (self.modules.len(), (clock::now() - began) / 1000);
        log!("{count} modules of the archive looked at by the verifier in {took} us");
        self.apply_trust();
        if self.modules.iter().any(|loaded| loaded.trust.development != 0) {
            log!("this system trusts a DEVELOPMENT root: whoever has its keys can sign modules for it");
        }
        Ok(())
    }

    /// Without a verifier in the image, its modules are taken as they are, and the log says so.
    pub fn trust_archive(&mut self) {
        log!("no verifier in this image: its modules are not verified");
        for place in self.journal.trust.iter_mut().take(self.modules.len()) {
            *place = Trust { state: Trust::UNVERIFIED, ..Trust::zeroed() };
        }
        self.apply_trust();
    }

    /// Lets only those modules of the archive be that the journal calls good. Call it before modules of the repository join them.
    pub fn apply_trust(&mut self) {
        let mut trust = self.journal.trust.iter().copied();
        self.modules.retain_mut(|loaded| {
            loaded.trust = trust.next().unwrap_or(Trust::zeroed());
            loaded.trust.is_good()
        });
    }

    /// Lets the verifier read the archive.
    pub fn show_archive(&self, verifier: usize) -> Result<(), StartError> {
        let archive = start::require(self.page, "archive").slot;
        self.show(verifier, archive, Rights::READ)
    }

    /// Maps one of the manager's regions in an instance.
    pub fn show(&self, index: usize, region: Handle, rights: Rights) -> Result<(), StartError> {
        let sandbox = self.journal.records[index].instance.sandbox;
        match sys::region_map(sandbox, region, rights) {
            Ok(_) | Err(hic_abi::Error::Mapped) => Ok(()),
            Err(error) => Err(at("map in another sandbox")(error)),
        }
    }

    /// Finds the verified modules of the repository again after a restart of the manager.
    pub fn reload_cached(&mut self) {
        for (number, cached) in self.journal.cached.iter().enumerate() {
            if cached.region == 0 {
                continue;
            }
            let mapped = sys::region_map(SELF, cached.region, Rights::READ);
            if mapped.is_ok() || mapped == Err(hic_abi::Error::Mapped) {
                match load_cached(cached, Origin::Repository(number)) {
                    Ok(loaded) => self.modules.push(loaded),
                    Err(error) => log!("a cached module is lost: {error}"),
                }
            }
        }
    }

    /// Writes to the audit log.
    pub fn note(&self, a: u64, b: u64, text: fmt::Arguments<'_>) {
        // What does not fit is in the system log.
        let words = alloc::fmt::format(text);
        if let Some(audit) = start::find(self.page, grants::AUDIT) {
            let _ = sys::audit_note(audit.slot, a, b, &NoteText(name_bytes(&words)));
        }
    }
}

/// Reads a cached module, mapped here already. It was verified before it was cached, and nobody can write it.
pub fn load_cached(cached: &CachedModule, origin: Origin) -> Result<Loaded, StartError> {
    // SAFETY: the region holds the file, is the manager's own, mapped here for reading for as long as the manager runs, and
    // mapped for writing nowhere any more.
    let bytes = unsafe { core::slice::from_raw_parts(cached.address as *const u8, cached.length as usize) };
    let module = Module::parse(bytes).map_err(StartError::Module)?;
    Ok(Loaded { module, file: span(bytes), origin, trust: cached.trust })
}

/// What the verifier said, and whether what it found good fits this system.
pub fn read_verdict(answer: Option<&Message>) -> Result<Trust, Box<Refusal>> {
    match answer.map(|answer| Verdict::decode(answer.payload())) {
        Some(Some(Verdict::Good(facts))) => {
            facts
                .manifest
                .check_platform(&PLATFORM)
                .map_err(|error| Box::new(Refusal::new(error.check_name(), &error)))?;
            let (digest, signer) = (facts.digest, name_bytes(&facts.signer));
            Ok(Trust { state: Trust::VERIFIED, development: facts.development.into(), digest, signer })
        }
        Some(Some(Verdict::Refused(refusal))) => Err(Box::new(refusal)),
        Some(None) => Err(Box::new(Refusal::new("verdict", &"the verifier's answer cannot be read"))),
        None => Err(Box::new(Refusal::new("no-verdict", &"the verifier did not answer"))),
    }
}

/// Whether a version is written like this.
pub fn is_version(version: Version, text: &str) -> bool {
    name_str(&crate::boot::version_of(version)) == text
}
