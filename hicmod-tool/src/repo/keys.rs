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

/// A folder of keys.
#[derive(Clone)]
pub struct KeyFolder {
    folder: PathBuf,
    passphrases: Rc<dyn Passphrases>,
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
        Self { folder: folder.to_owned(), passphrases }
    }

    /// Makes all keys, `roots` of them for the root.
    pub(super) fn create(&self, roots: u8) -> Result<(), RepoError> {
        std::fs::create_dir_all(&self.folder).map_err(RepoError::file(&self.folder))?;
        for number in 1..=roots {
            self.make(&self.root(number))?;
        }
        let online = [Role::Timestamp, Role::Snapshot, Role::Targets];
        online.iter().try_for_each(|role| self.make(&self.path(*role)))
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
        let paths = self.paths(Role::Root);
        let keys = paths.iter().map(|path| self.read(path)).collect::<Result<Vec<_>, RepoError>>()?;
        if keys.is_empty() { Ok(vec![self.read(&self.root(1))?]) } else { Ok(keys) }
    }

    /// Puts new keys in the place of those of `roles`, which are kept under other names: `timestamp-before-2.key.pem`.
    pub(super) fn exchange(&self, roles: &[Role], root: u32) -> Result<(), RepoError> {
        // All of them are made before the first is put in place: without a passphrase for one of them the old keys stay where they are.
        let made = |path: PathBuf| self.new_key(&path).map(|key| (path, key));
        let paths = roles.iter().flat_map(|role| self.paths(*role));
        let fresh = paths.map(made).collect::<Result<Vec<_>, RepoError>>()?;
        for (path, (key, passphrase)) in fresh {
            let stem = path.file_name().unwrap_or_default().to_string_lossy().replace(".key.pem", "");
            let old = self.folder.join(format!("{stem}-before-{}.key.pem", root + 1));
            std::fs::rename(&path, &old).map_err(RepoError::file(&path))?;
            private::write(&path, &key, passphrase.as_ref())?;
        }
        Ok(())
    }

    /// The files of a role's keys; of the root, of those that are there.
    fn paths(&self, role: Role) -> Vec<PathBuf> {
        match role {
            Role::Root => {
                (1..=u8::MAX).map(|number| self.root(number)).take_while(|path| path.exists()).collect()
            }
            _ => vec![self.path(role)],
        }
    }

    fn read(&self, path: &Path) -> Result<RsaPrivateKey, RepoError> {
        Ok(private::read(path, &mut |path| self.passphrases.of(path))?)
    }

    fn make(&self, path: &Path) -> Result<(), RepoError> {
        if path.exists() {
            return Err(RepoError::Exists(path.to_owned()));
        }
        let (key, passphrase) = self.new_key(path)?;
        Ok(private::write(path, &key, passphrase.as_ref())?)
    }

    /// A new key and the passphrase with which it is to be written to `path`.
    fn new_key(&self, path: &Path) -> Result<(RsaPrivateKey, Option<Passphrase>), RepoError> {
        // Asked first: making a key takes a while, and whoever has no passphrase need not wait for it.
        let passphrase = self.passphrases.for_new(path)?;
        Ok((generate_key(&mut OsRng).map_err(KeyError::Sign)?, passphrase))
    }

    fn root(&self, number: u8) -> PathBuf {
        self.folder.join(format!("root-{number}.key.pem"))
    }

    fn path(&self, role: Role) -> PathBuf {
        self.folder.join(format!("{role}.key.pem"))
    }
}
