//! Why a repository could not be made, changed or read.

use std::fmt;
use std::path::{Path, PathBuf};

use hic_tuf::write::WriteError;
use hic_tuf::{Refused, TargetError};

use crate::keys::KeyError;

/// Why a repository could not be made, changed or read.
#[derive(Debug)]
pub enum RepoError {
    /// A file could not be read or written.
    File(PathBuf, std::io::Error),
    /// There is a repository, or a key, already.
    Exists(PathBuf),
    /// There is no repository here.
    None(PathBuf),
    /// A key.
    Key(KeyError),
    /// Metadata could not be made.
    Write(WriteError),
    /// A metadata file of the repository cannot be read back.
    Damaged(PathBuf),
    /// A client would refuse the metadata.
    Refused(Refused),
    /// A file is no module that a repository can have.
    Module(PathBuf, String),
    /// A file is not the one that the metadata names.
    Target(PathBuf, TargetError),
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
        matches!(self, Self::Refused(_) | Self::Target(..) | Self::Module(..) | Self::Damaged(_))
    }
}

impl fmt::Display for RepoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Exists(path) => {
                write!(f, "{} exists and is not overwritten; choose another folder", path.display())
            }
            Self::None(path) => {
                write!(f, "{}: no repository; make one with `hicmod-tool repo init`", path.display())
            }
            Self::Key(error) => write!(f, "{error}"),
            Self::Write(error) => write!(f, "{error}"),
            Self::Damaged(path) => write!(f, "{}: not a metadata file that can be read", path.display()),
            Self::Refused(refused) => write!(f, "refused by the check {}: {refused}", refused.check.name()),
            Self::Module(path, problem) => write!(f, "{}: {problem}", path.display()),
            Self::Target(path, error) => {
                write!(f, "{}: refused by the check {}: {error}", path.display(), error.name())
            }
            Self::Taken(file) => write!(
                f,
                "{file} is in the repository with other contents; a release never changes: raise its version"
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
