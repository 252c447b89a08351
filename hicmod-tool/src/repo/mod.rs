//! A module repository as a folder: made, filled, published, checked and served (`docs/spec/repository.md`).
//!
//! ```text
//!   FOLDER/metadata/   what publish signs                 FOLDER.keys/   root-1.key.pem, ..., timestamp.key.pem, snapshot.key.pem,
//!         /targets/    NAME-VERSION.hicmod                               targets.key.pem: never served
//! ```
//!
//! What is published is what lies in `targets/`: adding is copying a file there, removing is deleting it. `timestamp.tuf` is written last and
//! moved into place, so that a client sees the state before or the new one. What it must never do: overwrite a key, or publish a
//! module under a name for which the newest list has other contents, unless it is a development build that asks for that.

mod check;
mod error;
mod keys;
mod progress;
mod rotate;
mod serve;
mod store;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use hic_hicmod::signature::SignatureBlock;
use hic_hicmod::verify::{Signer, stated_signer};
use hic_hicmod::{Container, Module};
use hic_tuf::metadata::FileRef;
use hic_tuf::targets::is_file_name;
use hic_tuf::write::{Draft, is_signed, reference};
use hic_tuf::{FileName, Head, Role, Target, Targets};
use rsa::rand_core::OsRng;

pub use check::{Checked, CheckedModule};
pub use error::RepoError;
pub use keys::{KeyFolder, Passphrases};
pub use progress::{Progress, Work};
pub use serve::Server;

const DAY_S: u64 = 86_400;
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

/// What is different from an ordinary publication.
#[derive(Clone, Copy, Default)]
struct Publishing {
    /// Published files may have other contents, and what cannot be read of them is made again.
    rebuilt: bool,
    /// Keys of timestamp or snapshot are new, so that systems forget the versions that they saw.
    anew: bool,
}

/// A repository.
#[derive(Debug, Clone)]
pub struct Repository {
    folder: PathBuf,
    keys: KeyFolder,
}

/// `FOLDER.keys`, beside the folder: where the keys of the repository in `FOLDER` lie if nothing else is said.
#[must_use]
pub fn default_keys(folder: &Path) -> PathBuf {
    // `.` and `..` have no name of their own.
    let named = if folder.file_name().is_some() { folder.to_owned() } else { resolved(folder) };
    let mut name = named.file_name().unwrap_or_default().to_owned();
    name.push(".keys");
    named.with_file_name(name)
}

/// The place that `path` means, whether all of it is there yet or not.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (mut there, mut rest) = (path.as_path(), Vec::new());
    loop {
        if let Ok(mut known) = there.canonicalize() {
            for part in rest.into_iter().rev() {
                match part {
                    Component::ParentDir => drop(known.pop()),
                    part => known.push(part),
                }
            }
            return known;
        }
        let mut parts = there.components();
        let Some(last) = parts.next_back() else { return path };
        rest.push(last);
        there = parts.as_path();
    }
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
        let InitOptions { root_keys: keys, threshold, .. } = options;
        if !(1..=keys).contains(&threshold) {
            return Err(RepoError::TooMany { keys, threshold });
        }
        if resolved(repository.keys.folder()).starts_with(resolved(folder)) {
            return Err(RepoError::KeysInside(repository.keys.folder().to_owned()));
        }
        // Keys first: without a passphrase for them nothing is left behind that looks like a repository.
        repository.keys.create(options.root_keys)?;
        for path in [repository.metadata(), repository.targets()] {
            std::fs::create_dir_all(&path).map_err(RepoError::file(&path))?;
        }
        let head = head(1, options.now, options.lives.root);
        let root = repository.first_root(head, options.unlisted, options.threshold)?;
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
            Err(error) if error.kind() == ErrorKind::NotFound => write_whole(&path, bytes),
            Err(error) => Err(RepoError::File(path, error)),
        }
    }

    /// Signs what lies in `targets/`. An unchanged list that is good for long enough, and signed by the key that the newest root names,
    /// keeps its version; the timestamp is always new.
    ///
    /// # Errors
    /// [`RepoError`]; [`RepoError::Taken`] for a file that has other contents than were published under its name.
    pub fn publish(&self, now: u64, lives: Lives) -> Result<Published, RepoError> {
        self.publish_files(now, lives, Publishing::default())
    }

    /// As [`Self::publish`], with files that have other contents than before, too: for development, where a version is built again and again. A system
    /// that began to fetch such a file before does not get it whole.
    ///
    /// # Errors
    /// [`RepoError`].
    pub fn publish_rebuilt(&self, now: u64, lives: Lives) -> Result<Published, RepoError> {
        self.publish_files(now, lives, Publishing { rebuilt: true, ..Publishing::default() })
    }

    fn publish_files(&self, now: u64, lives: Lives, how: Publishing) -> Result<Published, RepoError> {
        let modules = self.modules()?;
        let timestamp = self.next_timestamp(how.anew)?;
        let (list, changed) = self.publish_list(&modules, now, lives, how)?;
        let snapshot = self.publish_snapshot(list, now, lives)?;
        let draft = Draft::pointer(Role::Timestamp, head(timestamp, now, lives.timestamp), snapshot);
        self.put(FileName(Role::Timestamp, 0), &self.sign(&draft, Role::Timestamp)?)?;
        self.remove_old(Role::Targets)?;
        self.remove_old(Role::Snapshot)?;
        Ok(Published { timestamp, targets: list.version, modules: modules.len(), changed })
    }

    /// The modules in `targets/` with their names.
    fn modules(&self) -> Result<BTreeMap<String, Vec<u8>>, RepoError> {
        let folder = self.targets();
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(RepoError::file(&folder))? {
            let path = entry.map_err(RepoError::file(&folder))?.path();
            let Some(name) =
                path.file_name().and_then(|name| name.to_str()).filter(|name| is_file_name(name))
            else {
                continue;
            };
            found.push((name.to_owned(), path));
        }
        let mut parts = self.keys.parts(Work::ReadModules, found.len());
        let mut modules = BTreeMap::new();
        for (name, path) in found {
            parts.next();
            modules.insert(name, std::fs::read(&path).map_err(RepoError::file(&path))?);
        }
        Ok(modules)
    }

    fn publish_list(
        &self,
        modules: &BTreeMap<String, Vec<u8>>,
        now: u64,
        lives: Lives,
        how: Publishing,
    ) -> Result<(FileRef, bool), RepoError> {
        let mut parsed = Vec::new();
        for (name, bytes) in modules {
            let wrong = |problem: String| RepoError::Module(self.targets().join(name), problem);
            let module = Module::parse(bytes).map_err(|error| wrong(error.to_string()))?;
            parsed.push((name, bytes, module.manifest, signer_of(bytes).map_err(wrong)?));
        }
        let mut targets: Vec<Target<'_>> = Vec::new();
        let mut parts = self.keys.parts(Work::ListModules, parsed.len());
        for (name, bytes, manifest, signer) in &parsed {
            parts.next();
            let target = Target::describe(name, bytes, manifest, signer);
            let target =
                target.map_err(|error| RepoError::Module(self.targets().join(name), error.to_owned()))?;
            if targets.iter().any(|other| (other.name, other.version) == (target.name, target.version)) {
                let problem = format!("{} {} is there under another name, too", target.name, target.version);
                return Err(RepoError::Module(self.targets().join(name), problem));
            }
            targets.push(target);
        }
        // Signing asks for a passphrase.
        drop(parts);
        if let Some(kept) = self.kept_list(&targets, now, lives, how)? {
            return Ok((kept, false));
        }
        let version = self.next_version(Role::Targets)?;
        let draft = Draft::targets(head(version, now, lives.targets), &targets)?;
        let file = self.sign(&draft, Role::Targets)?;
        self.put(FileName(Role::Targets, version), &file)?;
        Ok((reference(version, &file), true))
    }

    /// The list that is there, if it still says what `targets` do, lasts, and is signed as the newest root wants it.
    fn kept_list(
        &self,
        targets: &[Target<'_>],
        now: u64,
        lives: Lives,
        how: Publishing,
    ) -> Result<Option<FileRef>, RepoError> {
        let Some((version, file)) = self.newest(Role::Targets)? else { return Ok(None) };
        let Some(list) = Targets::of_verified(&file) else {
            let damaged = RepoError::Damaged(self.path(FileName(Role::Targets, version)));
            return if how.rebuilt { Ok(None) } else { Err(damaged) };
        };
        let is_other = |target: &&Target<'_>| {
            list.find(target.file).is_some_and(|before| before.digest != target.digest)
        };
        if let Some(target) = targets.iter().find(is_other).filter(|_| !how.rebuilt) {
            return Err(RepoError::Taken(target.file.to_owned()));
        }
        // Signed anew once the key is another one: clients believe that of the newest root alone.
        let kept = fresh(list.head(), now, lives.targets)
            && list.iter().eq(targets.iter().cloned())
            && self.with_root(|root| Ok(is_signed(root, Role::Targets, &file)))?;
        Ok(kept.then(|| reference(version, &file)))
    }

    fn publish_snapshot(&self, list: FileRef, now: u64, lives: Lives) -> Result<FileRef, RepoError> {
        let version = self.next_version(Role::Snapshot)?;
        let draft = Draft::pointer(Role::Snapshot, head(version, now, lives.snapshot), list);
        let file = self.sign(&draft, Role::Snapshot)?;
        self.put(FileName(Role::Snapshot, version), &file)?;
        Ok(reference(version, &file))
    }

    /// Signs with the key of a role, if that is one that the newest root names for it.
    fn sign(&self, draft: &Draft, role: Role) -> Result<Vec<u8>, RepoError> {
        let file = draft.sign(&[&self.keys.of(role)?], &mut OsRng)?;
        self.with_root(|root| match is_signed(root, role, &file) {
            true => Ok(()),
            false => Err(RepoError::StrangeKey { key: self.keys.path(role), role, root: root.head.version }),
        })?;
        Ok(file)
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

/// Replaces a file as a whole: a reader finds the one before or the new one.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), RepoError> {
    crate::replace(path, bytes).map_err(RepoError::file(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lie_beside_the_folder_however_it_is_written() {
        for written in ["a/r", "a/r/", "a/r/."] {
            assert_eq!(default_keys(Path::new(written)), Path::new("a/r.keys"), "{written}");
        }
        let here = std::env::current_dir().expect("a folder").canonicalize().expect("a folder");
        let mut beside = here.clone().into_os_string();
        beside.push(".keys");
        assert_eq!(default_keys(Path::new(".")), Path::new(&beside));
        assert_eq!(default_keys(Path::new("src/..")), Path::new(&beside));
        assert_eq!(resolved(Path::new("not/there/../yet")), here.join("not/yet"));
    }
}
