//! The list of modules, and whether a file is the one that it names.

use core::fmt;

use hic_hicmod::is_valid_name;
use hic_hicmod::manifest::release::{MAX_DEPENDENCIES, MAX_PUBLISHER_BYTES};
use hic_hicmod::manifest::{Dependency, List, MAX_NEEDS, Manifest, Need, Version};
use hic_hicmod::verdict::MAX_SIGNER_BYTES;
use serde::{Deserialize, Serialize};

use crate::error::Check;
use crate::metadata::Head;
use crate::{Digest, codec};

/// Longest name of a file, bytes of ASCII.
pub const MAX_FILE_NAME_BYTES: usize = 64;
/// A module of the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target<'a> {
    /// Name of the file, as it lies on the disk and below `targets/`.
    pub file: &'a str,
    /// Bytes of the file.
    pub length: u32,
    /// SHA-384 of the whole file.
    pub digest: Digest,
    /// Name of the module.
    pub name: &'a str,
    /// Its version.
    pub version: Version,
    /// Raised when versions before it must not come back: those with a lower epoch are refused once this one was accepted.
    pub epoch: u32,
    /// Services that it calls, as its manifest says.
    pub needs: List<Need, MAX_NEEDS>,
    /// Modules that have to be installed, as its manifest says.
    pub dependencies: List<Dependency, MAX_DEPENDENCIES>,
    /// Who publishes it, as its manifest says.
    pub publisher: &'a str,
    /// Common name of who signed it. Like all that is here it is what the repository says, until the module was fetched and verified.
    pub signer: &'a str,
}

/// Why a file is not the module that the metadata names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is what the variant's line and its Display name")]
pub enum TargetError {
    /// It has another length.
    Length { listed: u32, found: usize },
    /// It has other contents.
    Digest,
    /// It holds another module or version: the wrong software under a right name.
    Identity,
    /// It needs something else than the metadata says.
    Dependencies,
    /// It is of another anti-rollback epoch than the metadata says.
    Epoch,
    /// Somebody else signed it than the metadata says.
    Signer,
    /// It names another publisher than the metadata does.
    Publisher,
}

impl TargetError {
    /// Stable code, as consoles and the audit log show it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Length { .. } => "target-length",
            Self::Digest => "target-digest",
            Self::Identity => "target-identity",
            Self::Dependencies => "target-dependencies",
            Self::Epoch => "target-epoch",
            Self::Signer => "target-signer",
            Self::Publisher => "target-publisher",
        }
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Length { listed, found } => {
                write!(f, "{found} bytes where the repository's metadata says {listed}; fetch the file again")
            }
            Self::Digest => f.write_str("not the file that the repository's metadata names; fetch it again"),
            Self::Identity => {
                f.write_str("holds another module or version than the repository's metadata says")
            }
            Self::Dependencies => f.write_str("needs something else than the repository's metadata says"),
            Self::Epoch => {
                f.write_str("is of another anti-rollback epoch than the repository\'s metadata says")
            }
            Self::Signer => f.write_str("was signed by somebody else than the repository's metadata says"),
            Self::Publisher => f.write_str("names another publisher than the repository's metadata says"),
        }
    }
}

impl core::error::Error for TargetError {}

impl<'a> Target<'a> {
    /// The entry for `file`, whose bytes, manifest and signer's common name are these.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn describe(
        file: &'a str,
        bytes: &[u8],
        manifest: &'a Manifest,
        signer: &'a str,
    ) -> Result<Self, &'static str> {
        let length = u32::try_from(bytes.len()).map_err(|_| "the file is too long")?;
        let target = Self {
            file,
            length,
            digest: Digest::of(bytes),
            name: &manifest.name,
            version: manifest.version,
            epoch: manifest.epoch,
            needs: manifest.needs.clone(),
            dependencies: manifest.dependencies.clone(),
            publisher: &manifest.publisher,
            signer,
        };
        target.problem().map_or(Ok(target), Err)
    }

    fn problem(&self) -> Option<&'static str> {
        if !is_file_name(self.file) {
            return Some("a file's name is not 1 to 64 of a-z 0-9 _ - . + or does not end in .hicmod");
        }
        if !is_valid_name(self.name) {
            return Some("a module's name is not valid");
        }
        if !is_shown(self.publisher, MAX_PUBLISHER_BYTES) || !is_shown(self.signer, MAX_SIGNER_BYTES) {
            return Some("the name of a publisher or signer is too long or cannot be shown");
        }
        let mut names =
            self.needs.iter().map(|need| &need.service).chain(self.dependencies.iter().map(|d| &d.module));
        (!names.all(|name| is_valid_name(name))).then_some("a dependency is not valid")
    }

    /// That `bytes` are the file. Before they are parsed.
    ///
    /// # Errors
    /// [`TargetError::Length`], [`TargetError::Digest`].
    pub fn check_bytes(&self, bytes: &[u8]) -> Result<(), TargetError> {
        if bytes.len() != self.length as usize {
            return Err(TargetError::Length { listed: self.length, found: bytes.len() });
        }
        if Digest::of(bytes) != self.digest {
            return Err(TargetError::Digest);
        }
        Ok(())
    }

    /// That the module in it, verified and signed by `signer`, is what the metadata says.
    ///
    /// # Errors
    /// [`TargetError::Identity`], [`TargetError::Dependencies`], [`TargetError::Epoch`], [`TargetError::Signer`], [`TargetError::Publisher`].
    pub fn check_module(&self, manifest: &Manifest, signer: &str) -> Result<(), TargetError> {
        if manifest.name != self.name || manifest.version != self.version {
            return Err(TargetError::Identity);
        }
        if manifest.needs != self.needs || manifest.dependencies != self.dependencies {
            return Err(TargetError::Dependencies);
        }
        if manifest.epoch != self.epoch {
            return Err(TargetError::Epoch);
        }
        if signer != self.signer {
            return Err(TargetError::Signer);
        }
        if manifest.publisher != self.publisher {
            return Err(TargetError::Publisher);
        }
        Ok(())
    }
}

/// Whether `name` can be a file of the repository: no separator, nothing that a shell or a file system takes for something else.
#[must_use]
pub fn is_file_name(name: &str) -> bool {
    let first = name.bytes().next();
    first.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        && name.len() <= MAX_FILE_NAME_BYTES
        && name.ends_with(".hicmod")
        && name.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.' | b'+')
        })
}

/// Whether a name of somebody can go to a console.
fn is_shown(name: &str, most: usize) -> bool {
    name.len() <= most && !name.chars().any(char::is_control)
}

/// Payload of the targets role, each entry checked once.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    head: Head,
    count: u32,
    entries: &'a [u8],
}

impl<'a> Targets<'a> {
    /// Reads a payload: a head, the number of entries, and the entries in ascending order of their files' names.
    pub(crate) fn parse(payload: &'a [u8]) -> Result<Self, Check> {
        let form = |problem| Check::Form { problem };
        let malformed = form("its payload is no list of targets");
        let ((head, count), entries) = codec::take::<(Head, u32)>(payload).ok_or(malformed)?;
        if let Some(problem) = head.problem() {
            return Err(form(problem));
        }
        let (mut rest, mut last) = (entries, "");
        for _ in 0..count {
            let (target, behind) = codec::take::<Target<'a>>(rest).ok_or(malformed)?;
            if let Some(problem) = target.problem() {
                return Err(form(problem));
            }
            if target.file <= last {
                return Err(form("its entries are not in order, or a file is there twice"));
            }
            (rest, last) = (behind, target.file);
        }
        if rest.is_empty() { Ok(Self { head, count, entries }) } else { Err(malformed) }
    }

    /// The list in a file whose signatures were found good before. They are not looked at again.
    #[must_use]
    pub fn of_verified(file: &'a [u8]) -> Option<Self> {
        Self::parse(crate::envelope::Envelope::parse(crate::Role::Targets, file).ok()?.payload()).ok()
    }

    /// Version and times.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The entries, in ascending order of their files' names.
    pub fn iter(&self) -> impl Iterator<Item = Target<'a>> + use<'a> {
        let mut rest = self.entries;
        // Each entry was read once by `parse`, so this ends with the last one.
        core::iter::from_fn(move || {
            let (target, behind) = postcard::take_from_bytes::<Target<'a>>(rest).ok()?;
            rest = behind;
            Some(target)
        })
    }

    /// The entry of a file.
    #[must_use]
    pub fn find(&self, file: &str) -> Option<Target<'a>> {
        self.iter().find(|target| target.file == file)
    }

    /// The entry of a module.
    #[must_use]
    pub fn module(&self, name: &str, version: Version) -> Option<Target<'a>> {
        self.iter().find(|target| target.name == name && target.version == version)
    }
}
