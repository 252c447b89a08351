//! A module repository as a folder: made, filled, published, checked and served (`docs/spec/repository.md`).
//!
//! ```text
//!   FOLDER/metadata/   what publish signs                 FOLDER.keys/   root-1.key.pem, ..., timestamp.key.pem, snapshot.key.pem,
//!         /targets/    NAME-VERSION.hicmod                               targets.key.pem: never served
//! ```
//!
//! What is published is what lies in `targets/`: adding is copying a file there, removing is deleting it. `timestamp.tuf` is written last and
//! moved into place, so that a client sees the state before or the new one. What it must never do: overwrite a key, or publish a
//! module under a name whose contents were others before.

mod check;
mod error;
mod keys;
mod serve;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hic_hicmod::signature::SignatureBlock;
use hic_hicmod::verify::{Signer, stated_signer};
use hic_hicmod::{Container, Module};
use hic_tuf::metadata::FileRef;
use hic_tuf::targets::is_file_name;
use hic_tuf::write::{self, Draft, RoleSpec, reference};
use hic_tuf::{FileName, Head, Role, Target, Targets};
use rsa::RsaPrivateKey;
use rsa::rand_core::OsRng;

pub use check::{Checked, CheckedModule};
pub use error::RepoError;
pub use keys::{KeyFolder, Passphrases};
pub use serve::Server;

const DAY_S: u64 = 86_400;
/// Snapshots and targets that stay when newer ones are published.
const KEPT: usize = 2;
/// The folder of metadata.
pub const METADATA: &str = "metadata";
/// The folder of modules.
pub const TARGETS: &str = "targets";

/// For how many days what is signed is believed.
#[derive(Debug, Clone, Copy)]
pub struct Lives {
    /// A root.
    pub root: u32,
    /// A list of modules.
    pub targets: u32,
    /// A snapshot.
    pub snapshot: u32,
    /// A timestamp: how long a mirror can hold new releases back unnoticed.
    pub timestamp: u32,
}

impl Default for Lives {
    fn default() -> Self {
        Self { root: 365, targets: 90, snapshot: 30, timestamp: 7 }
    }
}

/// What a new repository shall be.
#[derive(Debug, Clone, Copy)]
pub struct InitOptions {
    /// Keys of the root.
    pub root_keys: u8,
    /// How many of them must sign a new root.
    pub threshold: u8,
    /// Whether systems may also use modules that the repository does not list.
    pub unlisted: bool,
    /// How long things are believed.
    pub lives: Lives,
    /// The time, seconds since 1970, UTC.
    pub now: u64,
}

/// What was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Version of the timestamp.
    pub timestamp: u32,
    /// Version of the list.
    pub targets: u32,
    /// Modules in it.
    pub modules: usize,
    /// Whether the list is another one than before.
    pub changed: bool,
}

/// A repository.
#[derive(Debug, Clone)]
pub struct Repository {
    folder: PathBuf,
    keys: KeyFolder,
}

/// `FOLDER.keys`: where the keys of the repository in `FOLDER` lie if nothing else is said.
#[must_use]
pub fn default_keys(folder: &Path) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(".keys");
    PathBuf::from(name)
}

impl Repository {
    /// Makes a repository without modules in `folder`, and its keys in `keys`.
    ///
    /// # Errors
    /// [`RepoError`].
    pub fn init(folder: &Path, keys: KeyFolder, options: InitOptions) -> Result<Self, RepoError> {
        let repository = Self { folder: folder.to_owned(), keys };
        if repository.metadata().exists() {
            return Err(RepoError::Exists(repository.metadata()));
        }
        // Keys first: without a passphrase for them nothing is left behind that looks like a repository.
        repository.keys.create(options.root_keys)?;
        for path in [repository.metadata(), repository.targets()] {
            std::fs::create_dir_all(&path).map_err(RepoError::file(&path))?;
        }
        let head = head(1, options.now, options.lives.root);
        let root = repository.root_file(head, options.unlisted, options.threshold, &[])?;
        repository.put(FileName(Role::Root, 1), &root)?;
        repository.publish(options.now, options.lives)?;
        Ok(repository)
    }

    /// Opens the repository in `folder`; the keys are looked for when something is signed.
    ///
    /// # Errors
    /// [`RepoError::None`].
    pub fn open(folder: &Path, keys: KeyFolder) -> Result<Self, RepoError> {
        let repository = Self { folder: folder.to_owned(), keys };
        let first = repository.metadata().join(FileName(Role::Root, 1).to_string());
        if first.is_file() { Ok(repository) } else { Err(RepoError::None(folder.to_owned())) }
    }

    /// The folder of metadata.
    #[must_use]
    pub fn metadata(&self) -> PathBuf {
        self.folder.join(METADATA)
    }

    /// The folder of modules.
    #[must_use]
    pub fn targets(&self) -> PathBuf {
        self.folder.join(TARGETS)
    }

    /// Copies a signed module, as NAME-VERSION.hicmod; [`Self::publish`] makes it known. Returns the file's name.
    ///
    /// # Errors
    /// [`RepoError::Module`], [`RepoError::Taken`], [`RepoError::File`].
    pub fn add(&self, from: &Path, bytes: &[u8]) -> Result<String, RepoError> {
        let wrong = |error: &dyn std::fmt::Display| RepoError::Module(from.to_owned(), error.to_string());
        let module = Module::parse(bytes).map_err(|error| wrong(&error))?;
        signer_of(bytes).map_err(|problem| wrong(&problem))?;
        let file = format!("{}-{}.hicmod", module.manifest.name, module.manifest.version);
        self.add_as(&file, from, bytes)?;
        Ok(file)
    }

    /// As [`Self::add`], under another name.
    ///
    /// # Errors
    /// [`RepoError`].
    pub fn add_as(&self, file: &str, from: &Path, bytes: &[u8]) -> Result<(), RepoError> {
        if !is_file_name(file) {
            return Err(RepoError::Module(
                from.to_owned(),
                format!("{file} cannot be a file of a repository"),
            ));
        }
        let path = self.targets().join(file);
        match std::fs::read(&path) {
            Ok(before) if before == bytes => Ok(()),
            Ok(_) => Err(RepoError::Taken(file.to_owned())),
            Err(_) => write_whole(&path, bytes),
        }
    }

    /// Signs what lies in `targets/`. An unchanged list that is good for long enough keeps its version; the timestamp is always new.
    ///
    /// # Errors
    /// [`RepoError`].
    pub fn publish(&self, now: u64, lives: Lives) -> Result<Published, RepoError> {
        let modules = self.modules()?;
        let (list, changed) = self.publish_list(&modules, now, lives)?;
        let snapshot = self.publish_snapshot(list, now, lives)?;
        let timestamp = self.version(FileName(Role::Timestamp, 0)).unwrap_or(0) + 1;
        let draft = Draft::pointer(Role::Timestamp, head(timestamp, now, lives.timestamp), snapshot);
        self.put(FileName(Role::Timestamp, 0), &self.sign(&draft, Role::Timestamp)?)?;
        self.remove_old(Role::Targets)?;
        self.remove_old(Role::Snapshot)?;
        Ok(Published { timestamp, targets: list.version, modules: modules.len(), changed })
    }

    /// The modules in `targets/` with their names.
    fn modules(&self) -> Result<BTreeMap<String, Vec<u8>>, RepoError> {
        let folder = self.targets();
        let mut modules = BTreeMap::new();
        for entry in std::fs::read_dir(&folder).map_err(RepoError::file(&folder))? {
            let path = entry.map_err(RepoError::file(&folder))?.path();
            let Some(name) =
                path.file_name().and_then(|name| name.to_str()).filter(|name| is_file_name(name))
            else {
                continue;
            };
            modules.insert(name.to_owned(), std::fs::read(&path).map_err(RepoError::file(&path))?);
        }
        Ok(modules)
    }

    fn publish_list(
        &self,
        modules: &BTreeMap<String, Vec<u8>>,
        now: u64,
        lives: Lives,
    ) -> Result<(FileRef, bool), RepoError> {
        let mut parsed = Vec::new();
        for (name, bytes) in modules {
            let wrong = |problem: String| RepoError::Module(self.targets().join(name), problem);
            let module = Module::parse(bytes).map_err(|error| wrong(error.to_string()))?;
            parsed.push((name, bytes, module.manifest, signer_of(bytes).map_err(wrong)?));
        }
        let mut targets: Vec<Target<'_>> = Vec::new();
        for (name, bytes, manifest, signer) in &parsed {
            let target = Target::describe(name, bytes, manifest, signer);
            let target =
                target.map_err(|error| RepoError::Module(self.targets().join(name), error.to_owned()))?;
            if targets.iter().any(|other| (other.name, other.version) == (target.name, target.version)) {
                let problem = format!("{} {} is there under another name, too", target.name, target.version);
                return Err(RepoError::Module(self.targets().join(name), problem));
            }
            targets.push(target);
        }
        let last = self.newest(Role::Targets);
        if let Some((version, file)) = &last
            && Targets::of_verified(file).is_some_and(|list| {
                fresh(list.head(), now, lives.targets) && list.iter().eq(targets.iter().cloned())
            })
        {
            return Ok((reference(*version, file), false));
        }
        let version = last.map_or(1, |(version, _)| version + 1);
        let draft = Draft::targets(head(version, now, lives.targets), &targets)?;
        let file = self.sign(&draft, Role::Targets)?;
        self.put(FileName(Role::Targets, version), &file)?;
        Ok((reference(version, &file), true))
    }

    fn publish_snapshot(&self, list: FileRef, now: u64, lives: Lives) -> Result<FileRef, RepoError> {
        let version = self.newest(Role::Snapshot).map_or(1, |(version, _)| version + 1);
        let draft = Draft::pointer(Role::Snapshot, head(version, now, lives.snapshot), list);
        let file = self.sign(&draft, Role::Snapshot)?;
        self.put(FileName(Role::Snapshot, version), &file)?;
        Ok(reference(version, &file))
    }

    /// Exchanges the keys of `roles` and publishes: what to do when one was lost or stolen. With `unlisted`, the new root also says whether systems
    /// may use modules that are not listed. The new root is signed by the old root's keys and its own.
    ///
    /// # Errors
    /// [`RepoError`].
    pub fn rotate(
        &self,
        roles: &[Role],
        unlisted: Option<bool>,
        now: u64,
        lives: Lives,
    ) -> Result<u32, RepoError> {
        let (version, file) = self.newest(Role::Root).ok_or_else(|| RepoError::None(self.folder.clone()))?;
        let path = self.metadata().join(FileName(Role::Root, version).to_string());
        let old = write::root_of(&file).ok_or(RepoError::Damaged(path))?;
        let (unlisted, threshold) = (unlisted.unwrap_or(old.unlisted), old.role(Role::Root).threshold);
        let before = self.keys.roots()?;
        self.keys.exchange(roles, version)?;
        let root = self.root_file(head(version + 1, now, lives.root), unlisted, threshold, &before)?;
        self.put(FileName(Role::Root, version + 1), &root)?;
        self.publish(now, lives)?;
        Ok(version + 1)
    }

    /// A root for the keys that are there, signed by them and those in `before`.
    fn root_file(
        &self,
        head: Head,
        unlisted: bool,
        threshold: u8,
        before: &[RsaPrivateKey],
    ) -> Result<Vec<u8>, RepoError> {
        let roots = self.keys.roots()?;
        let modulus = |key: &RsaPrivateKey| write::modulus(&key.to_public_key());
        let root_moduli = roots.iter().map(modulus).collect::<Result<Vec<_>, _>>()?;
        let online = [Role::Timestamp, Role::Snapshot, Role::Targets]
            .map(|role| self.keys.of(role).and_then(|key| Ok(modulus(&key)?)));
        let [timestamp, snapshot, targets] = online;
        let (timestamp, snapshot, targets) = ([&timestamp?[..]], [&snapshot?[..]], [&targets?[..]]);
        let root_keys: Vec<&[u8]> = root_moduli.iter().map(Vec::as_slice).collect();
        let one = |keys| RoleSpec { threshold: 1, keys };
        let specs =
            [RoleSpec { threshold, keys: &root_keys }, one(&timestamp), one(&snapshot), one(&targets)];
        let draft = Draft::root(&write::root(head, unlisted, specs)?);
        let mut signers: Vec<&RsaPrivateKey> = roots.iter().collect();
        signers.extend(before.iter().filter(|key| !roots.contains(key)));
        Ok(draft.sign(&signers, &mut OsRng)?)
    }

    fn sign(&self, draft: &Draft, role: Role) -> Result<Vec<u8>, RepoError> {
        Ok(draft.sign(&[&self.keys.of(role)?], &mut OsRng)?)
    }

    fn put(&self, name: FileName, bytes: &[u8]) -> Result<(), RepoError> {
        write_whole(&self.metadata().join(name.to_string()), bytes)
    }

    fn version(&self, name: FileName) -> Option<u32> {
        let file = std::fs::read(self.metadata().join(name.to_string())).ok()?;
        write::peek(name.0, &file).map(|head| head.version)
    }

    /// Versions of the files of a role, ascending.
    fn versions(&self, role: Role) -> Vec<u32> {
        let names = std::fs::read_dir(self.metadata()).into_iter().flatten().flatten();
        let ending = format!(".{role}.tuf");
        let number = |name: std::ffi::OsString| name.to_str()?.strip_suffix(&ending)?.parse().ok();
        let mut versions: Vec<u32> = names.filter_map(|entry| number(entry.file_name())).collect();
        versions.sort_unstable();
        versions
    }

    fn newest(&self, role: Role) -> Option<(u32, Vec<u8>)> {
        let version = self.versions(role).pop()?;
        let path = self.metadata().join(FileName(role, version).to_string());
        Some((version, std::fs::read(path).ok()?))
    }

    fn remove_old(&self, role: Role) -> Result<(), RepoError> {
        let versions = self.versions(role);
        for version in versions.iter().take(versions.len().saturating_sub(KEPT)) {
            let path = self.metadata().join(FileName(role, *version).to_string());
            std::fs::remove_file(&path).map_err(RepoError::file(&path))?;
        }
        Ok(())
    }
}

/// Who a module says has signed it. Whether that is so, each system finds out for itself.
fn signer_of(module: &[u8]) -> Result<Signer, String> {
    let container = Container::parse(module).map_err(|error| error.to_string())?;
    let block = SignatureBlock::find(&container).map_err(|error| error.to_string())?;
    stated_signer(&block).map_err(|error| error.to_string())
}

/// From now on, for so many days.
fn head(version: u32, now: u64, days: u32) -> Head {
    Head { version, issued: now, expires: now + u64::from(days) * DAY_S }
}

/// Whether something signed has half of its life before it.
fn fresh(head: &Head, now: u64, days: u32) -> bool {
    head.expires > now + u64::from(days) * DAY_S / 2
}

/// Writes beside and moves, so that a reader finds the file before or the new one.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), RepoError> {
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    std::fs::write(&beside, bytes).map_err(RepoError::file(&beside))?;
    std::fs::rename(&beside, path).map_err(RepoError::file(path))
}
