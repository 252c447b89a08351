//! The private keys of a repository: PKCS#8 PEM, each readable by its owner alone. They are no module signer's keys, and need no certificates.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hic_hicmod::sign::generate_key;
use hic_tuf::Role;
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use rsa::rand_core::OsRng;

use super::RepoError;
use crate::keys::{KeyError, read_key};

/// A folder of keys.
#[derive(Debug, Clone)]
pub struct KeyFolder {
    folder: PathBuf,
}

impl KeyFolder {
    /// The keys in `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Makes all keys, `roots` of them for the root.
    pub(super) fn create(&self, roots: u8) -> Result<(), RepoError> {
        std::fs::create_dir_all(&self.folder).map_err(RepoError::file(&self.folder))?;
        for number in 1..=roots {
            make(&self.root(number))?;
        }
        [Role::Timestamp, Role::Snapshot, Role::Targets].iter().try_for_each(|role| make(&self.path(*role)))
    }

    /// The key of a role that has one.
    ///
    /// # Errors
    /// [`RepoError::Key`]: it is not there, or cannot be read.
    pub fn of(&self, role: Role) -> Result<RsaPrivateKey, RepoError> {
        Ok(read_key(&self.path(role))?)
    }

    /// The keys of the root that are there.
    ///
    /// # Errors
    /// [`RepoError::Key`]: there is none, or one cannot be read.
    pub fn roots(&self) -> Result<Vec<RsaPrivateKey>, RepoError> {
        let paths = (1..=u8::MAX).map(|number| self.root(number)).take_while(|path| path.exists());
        let keys = paths.map(|path| Ok(read_key(&path)?)).collect::<Result<Vec<_>, RepoError>>()?;
        if keys.is_empty() { Ok(vec![read_key(&self.root(1))?]) } else { Ok(keys) }
    }

    /// Puts a new key in the place of a role's, which is kept under another name: `timestamp-before-2.key.pem`.
    pub(super) fn exchange(&self, role: Role, root: u32) -> Result<(), RepoError> {
        let paths = match role {
            Role::Root => {
                (1..=u8::MAX).map(|number| self.root(number)).take_while(|path| path.exists()).collect()
            }
            _ => vec![self.path(role)],
        };
        for path in paths {
            let stem = path.file_name().unwrap_or_default().to_string_lossy().replace(".key.pem", "");
            let old = self.folder.join(format!("{stem}-before-{}.key.pem", root + 1));
            std::fs::rename(&path, &old).map_err(RepoError::file(&path))?;
            make(&path)?;
        }
        Ok(())
    }

    fn root(&self, number: u8) -> PathBuf {
        self.folder.join(format!("root-{number}.key.pem"))
    }

    fn path(&self, role: Role) -> PathBuf {
        self.folder.join(format!("{role}.key.pem"))
    }
}

fn make(path: &Path) -> Result<(), RepoError> {
    let key = generate_key(&mut OsRng).map_err(KeyError::Sign)?;
    let text = key.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::Pem)?;
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(path);
    opened.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => RepoError::Exists(path.to_owned()),
        _ => RepoError::File(path.to_owned(), error),
    })
}
