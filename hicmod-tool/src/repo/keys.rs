//! The private keys of a repository: PKCS#8 PEM, encrypted with a passphrase unless somebody wants them plain, each readable by its owner alone.
//! They are no module signer's keys, and need no certificates.
//!
//! What it must never do: write a key in the clear where nobody asked for that.

use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use hic_hicmod::sign::generate_key;
use hic_tuf::Role;
use rsa::RsaPrivateKey;
use rsa::rand_core::OsRng;

use super::RepoError;
use super::progress::{Parts, Progress, Silent, Work};
use crate::keys::{KeyError, Passphrase, private};

/// Where the passphrases of keys come from.
pub trait Passphrases {
    /// That of the encrypted key in `path`.
    ///
    /// # Errors
    /// [`KeyError`]: there is none to be had.
    fn of(&self, path: &Path) -> Result<Passphrase, KeyError>;

    /// That for the new key in `path`; `None` for one that is not to be encrypted.
    ///
    /// # Errors
    /// [`KeyError`]: there is none to be had.
    fn for_new(&self, path: &Path) -> Result<Option<Passphrase>, KeyError>;
}

/// Nobody is asked: keys are plain. For development.
struct Plain;

impl Passphrases for Plain {
    fn of(&self, path: &Path) -> Result<Passphrase, KeyError> {
        Err(KeyError::Encrypted(path.to_owned()))
    }

    fn for_new(&self, _: &Path) -> Result<Option<Passphrase>, KeyError> {
        Ok(None)
    }
}

/// A folder of keys, and those who are asked and told when work is done with them.
#[derive(Clone)]
pub struct KeyFolder {
    folder: PathBuf,
    passphrases: Rc<dyn Passphrases>,
    progress: Rc<dyn Progress>,
}

impl fmt::Debug for KeyFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFolder").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl KeyFolder {
    /// The keys in `folder`, which are not encrypted: for development.
    #[must_use]
    pub fn plain(folder: &Path) -> Self {
        Self::new(folder, Rc::new(Plain))
    }

    /// The keys in `folder`.
    #[must_use]
    pub fn new(folder: &Path, passphrases: Rc<dyn Passphrases>) -> Self {
        Self { folder: folder.to_owned(), passphrases, progress: Rc::new(Silent) }
    }

    /// The same; `progress` is told how work on the keys and on their repository goes on.
    #[must_use]
    pub fn watched(self, progress: Rc<dyn Progress>) -> Self {
        Self { progress, ..self }
    }

    /// Work of so many parts begins.
    pub(super) fn parts(&self, work: Work, of: usize) -> Parts<'_> {
        Parts::new(&*self.progress, work, of)
    }

    /// Where they lie.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes all keys, `roots` of them for the root.
    pub(super) fn create(&self, roots: u8) -> Result<(), RepoError> {
        std::fs::create_dir_all(&self.folder).map_err(RepoError::file(&self.folder))?;
        let online = [Role::Timestamp, Role::Snapshot, Role::Targets].map(|role| self.path(role));
        let paths: Vec<_> = (1..=roots).map(|number| self.root(number)).chain(online).collect();
        let mut parts = self.parts(Work::MakeKeys, paths.len());
        paths.iter().try_for_each(|path| self.make(path, &mut parts))
    }

    /// The key of a role that has one.
    ///
    /// # Errors
    /// [`RepoError::Key`]: it is not there, or cannot be read.
    pub fn of(&self, role: Role) -> Result<RsaPrivateKey, RepoError> {
        self.read(&self.path(role))
    }

    /// The keys of the root that are there.
    ///
    /// # Errors
    /// [`RepoError::Key`]: there is none, or one cannot be read.
    pub fn roots(&self) -> Result<Vec<RsaPrivateKey>, RepoError> {
        let keys: Vec<_> = self.numbered_roots()?.into_iter().map(|(_, key)| key).collect();
        if keys.is_empty() { Ok(vec![self.read(&self.root(1))?]) } else { Ok(keys) }
    }

    /// The same with their numbers, which need not be in a row: the others may be elsewhere.
    pub(super) fn numbered_roots(&self) -> Result<Vec<(u8, RsaPrivateKey)>, RepoError> {
        let there = (1..=u8::MAX).filter(|number| self.root(*number).exists());
        there.map(|number| Ok((number, self.read(&self.root(number))?))).collect()
    }

    /// New keys for `roles`, which root `version` will name; nothing is written. Those of the root get the numbers `roots`.
    pub(super) fn exchange(&self, roles: &[Role], roots: &[u8], version: u32) -> Result<Exchange, RepoError> {
        let mut paths = Vec::new();
        for role in Role::ALL.into_iter().filter(|role| roles.contains(role)) {
            match role {
                Role::Root => paths.extend(roots.iter().map(|number| (role, self.root(*number)))),
                _ => paths.push((role, self.path(role))),
            }
        }
        let mut exchange = Exchange::default();
        let mut parts = self.parts(Work::MakeKeys, paths.len());
        for (role, path) in paths {
            let stem = path.file_name().unwrap_or_default().to_string_lossy().replace(".key.pem", "");
            let before = self.folder.join(format!("{stem}-before-{version}.key.pem"));
            if before.exists() {
                return Err(RepoError::Before(before));
            }
            let (key, passphrase) = self.new_key(&path, &mut parts)?;
            exchange.0.push(NewKey { role, replaces: path.exists(), path, before, key, passphrase });
        }
        Ok(exchange)
    }

    fn read(&self, path: &Path) -> Result<RsaPrivateKey, RepoError> {
        Ok(private::read(path, &mut |path| self.passphrases.of(path))?)
    }

    fn make(&self, path: &Path, parts: &mut Parts<'_>) -> Result<(), RepoError> {
        if path.exists() {
            return Err(RepoError::Exists(path.to_owned()));
        }
        let (key, passphrase) = self.new_key(path, parts)?;
        Ok(private::write(path, &key, passphrase.as_ref())?)
    }

    /// A new key and the passphrase with which it is to be written to `path`.
    fn new_key(
        &self,
        path: &Path,
        parts: &mut Parts<'_>,
    ) -> Result<(RsaPrivateKey, Option<Passphrase>), RepoError> {
        // Asked first: making a key takes a while, and whoever has no passphrase need not wait for it.
        let passphrase = self.passphrases.for_new(path)?;
        parts.next();
        Ok((generate_key(&mut OsRng).map_err(KeyError::Sign)?, passphrase))
    }

    /// The file of a key of the root.
    pub(super) fn root(&self, number: u8) -> PathBuf {
        self.folder.join(format!("root-{number}.key.pem"))
    }

    /// The file of the key of another role.
    pub(super) fn path(&self, role: Role) -> PathBuf {
        self.folder.join(format!("{role}.key.pem"))
    }
}

/// Keys that were made and are not in their places yet.
#[derive(Default)]
pub(super) struct Exchange(Vec<NewKey>);

struct NewKey {
    role: Role,
    path: PathBuf,
    /// Where the key goes that lies in `path` now, if one does.
    before: PathBuf,
    replaces: bool,
    key: RsaPrivateKey,
    passphrase: Option<Passphrase>,
}

impl Exchange {
    /// The new keys of a role; none if it keeps those that it has.
    pub(super) fn of(&self, role: Role) -> impl Iterator<Item = &RsaPrivateKey> {
        self.0.iter().filter(move |new| new.role == role).map(|new| &new.key)
    }

    /// Puts the keys in their places, those before them aside (`timestamp-before-2.key.pem`), and does `last`. When any of it fails, each key is where
    /// it was.
    pub(super) fn carry_out(&self, last: impl FnOnce() -> Result<(), RepoError>) -> Result<(), RepoError> {
        let mut done = Vec::new();
        let mut put = |new| {
            NewKey::put(new)?;
            done.push(new);
            Ok(())
        };
        let result = self.0.iter().try_for_each(&mut put).and_then(|()| last());
        if result.is_err() {
            done.into_iter().rev().for_each(NewKey::take_back);
        }
        result
    }
}

impl NewKey {
    fn put(&self) -> Result<(), RepoError> {
        if self.replaces {
            std::fs::rename(&self.path, &self.before).map_err(RepoError::file(&self.path))?;
        }
        private::write(&self.path, &self.key, self.passphrase.as_ref()).map_err(|error| {
            if self.replaces {
                self.take_back();
            }
            error.into()
        })
    }

    /// The error that led here is the one to be told.
    fn take_back(&self) {
        let _ = match self.replaces {
            true => std::fs::rename(&self.before, &self.path),
            false => std::fs::remove_file(&self.path),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_after_keys_were_moved_moves_them_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = KeyFolder::plain(folder.path());
        keys.make(&keys.root(1), &mut keys.parts(Work::MakeKeys, 1)).expect("made");
        let before = std::fs::read(keys.root(1)).expect("read");
        // One that replaces a key, and one that is the first of its name.
        let exchange = keys.exchange(&[Role::Root], &[1, 2], 2).expect("keys");
        let full = || RepoError::None(folder.path().to_owned());
        assert!(exchange.carry_out(|| Err(full())).is_err());
        let names = std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!((names, std::fs::read(keys.root(1)).expect("read") == before), (1, true));
        // Nor does one that cannot be put there leave the first exchanged.
        std::fs::create_dir(keys.root(2)).expect("made");
        assert!(exchange.carry_out(|| Ok(())).is_err());
        assert!(keys.root(2).is_dir() && std::fs::read(keys.root(1)).expect("read") == before);
        std::fs::remove_dir(keys.root(2)).expect("removed");
        exchange.carry_out(|| Ok(())).expect("exchanged");
        assert_eq!(keys.roots().expect("keys").len(), 2);
        assert!(std::fs::read(folder.path().join("root-1-before-2.key.pem")).expect("read") == before);
    }
}
