//! Why a repository could not be made, changed or read.

use std::fmt;
use std::path::{Path, PathBuf};

use hic_tuf::write::WriteError;
use hic_tuf::{Refused, Role, TargetError};

use crate::keys::KeyError;

/// Why a repository could not be made, changed or read.
#[derive(Debug)]
pub enum RepoError {
    /// A file could not be read or written.
    File(PathBuf, std::io::Error),
    /// There is a repository, or a key, already.
    Exists(PathBuf),
    /// More of the root's keys must sign than there are to be, or none.
    TooMany {
        /// Keys of the root.
        keys: u8,
        /// How many must sign.
        threshold: u8,
    },
    /// The folder for the keys lies in the one that is handed out.
    KeysInside(PathBuf),
    /// The name that an exchange gives to a key is taken.
    Before(PathBuf),
    /// Fewer of the root's keys are there than must sign the next root.
    FewKeys {
        /// Where they should be.
        folder: PathBuf,
        /// The root.
        root: u32,
        /// How many are there.
        found: usize,
        /// How many must sign.
        needed: u8,
    },
    /// A key that signs with every publication is none that the newest root names for its role.
    StrangeKey {
        /// Where it is.
        key: PathBuf,
        /// What it should sign.
        role: Role,
        /// Version of the root.
        root: u32,
    },
    /// Keys were exchanged for the root of this version, and publishing failed.
    NotPublished(u32, Box<RepoError>),
    /// There is no repository here.
    None(PathBuf),
    /// A key.
    Key(KeyError),
    /// Metadata could not be made.
    Write(WriteError),
    /// A metadata file of the repository cannot be read back.
    Damaged(PathBuf),
    /// The timestamp is not there, though there were some, or cannot be read.
    Timestamp(PathBuf),
    /// A client would refuse the metadata.
    Refused(Refused),
    /// A file is no module that a repository can have.
    Module(PathBuf, String),
    /// A file is not the one that the metadata names.
    Target(PathBuf, TargetError),
    /// A listed module is not there.
    Missing(PathBuf),
    /// The name and version are there already, with other contents.
    Taken(String),
}

impl RepoError {
    /// [`Self::File`] for `path`.
    pub(super) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        |error| Self::File(path, error)
    }

    /// Whether what was checked is not good, rather than that it could not be checked.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Refused(_) | Self::Target(..) | Self::Module(..) | Self::Missing(_) | Self::Damaged(_)
        )
    }
}

impl fmt::Display for RepoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Exists(path) => {
                write!(f, "{} exists and is not overwritten; choose another folder", path.display())
            }
            Self::TooMany { keys, threshold } => write!(
                f,
                "{threshold} keys cannot sign a new root of which there are {keys}; give a --threshold from 1 to {keys}, or more --root-keys"
            ),
            Self::KeysInside(path) => write!(
                f,
                "{} lies in the repository, and whoever hands that out would hand the keys out, too; name a folder outside with --keys",
                path.display()
            ),
            Self::Before(path) => write!(
                f,
                "{} is there and is not overwritten: an exchange before this one did not end, and it may be the key that the repository \
                 uses; compare, then put it in its place or keep it elsewhere",
                path.display()
            ),
            Self::FewKeys { folder, root, found, needed } => write!(
                f,
                "{}: {found} of the keys of root {root} are there as root-*.key.pem, {needed} must sign; bring them together (an exchange that did \
                 not end may have left one as root-N-before-{}.key.pem)",
                folder.display(),
                root.saturating_add(1)
            ),
            Self::StrangeKey { key, role, root } => write!(
                f,
                "{}: not a key that root {root} names for {role}, so every system would refuse what it signs; bring back the right one, or let a new \
                 root name this one with `hicmod-tool repo rotate`",
                key.display()
            ),
            Self::NotPublished(root, error) => write!(
                f,
                "root {root} is made and the keys are exchanged, but nothing was published: {error}; mend that, then publish and do not exchange again"
            ),
            Self::None(path) => {
                write!(f, "{}: no repository; make one with `hicmod-tool repo init`", path.display())
            }
            Self::Key(error) => write!(f, "{error}"),
            Self::Write(error) => write!(f, "{error}"),
            Self::Damaged(path) => write!(f, "{}: not a metadata file that can be read", path.display()),
            Self::Timestamp(path) => write!(
                f,
                "{}: missing or damaged, so that its version is not known, and systems refuse one below what they saw; bring back the newest copy, or \
                 let them begin anew with `hicmod-tool repo rotate FOLDER timestamp`",
                path.display()
            ),
            Self::Refused(refused) => write!(f, "refused by the check {}: {refused}", refused.check.name()),
            Self::Module(path, problem) => write!(f, "{}: {problem}", path.display()),
            Self::Target(path, error) => {
                write!(f, "{}: refused by the check {}: {error}", path.display(), error.name())
            }
            Self::Missing(path) => {
                write!(
                    f,
                    "{} is listed and not there; put it back, or withdraw it with `publish`",
                    path.display()
                )
            }
            Self::Taken(file) => write!(
                f,
                "{file} is in the repository with other contents; a release never changes: put it back as it was and raise the version of what is new"
            ),
        }
    }
}

impl std::error::Error for RepoError {}

impl From<WriteError> for RepoError {
    fn from(error: WriteError) -> Self {
        Self::Write(error)
    }
}

impl From<KeyError> for RepoError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}
