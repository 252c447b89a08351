//! Payloads of root, timestamp and snapshot.

use core::fmt;

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::envelope::Envelope;
use crate::error::Check;
use crate::{CLOCK_TOLERANCE_S, Digest, Key, codec};

/// Most keys of all roles together.
pub const MAX_KEYS: usize = 16;

/// Whose statement a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// Says which keys speak for which role.
    Root = 1,
    /// Says which snapshot is current.
    Timestamp = 2,
    /// Says which targets file belongs to it.
    Snapshot = 3,
    /// Names the modules.
    Targets = 4,
}

impl Role {
    /// All of them, as a root lists them.
    pub const ALL: [Self; 4] = [Self::Root, Self::Timestamp, Self::Snapshot, Self::Targets];

    /// Its name, as in the names of files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Timestamp => "timestamp",
            Self::Snapshot => "snapshot",
            Self::Targets => "targets",
        }
    }

    /// The only format of its files that this crate reads and writes. Lists of format 1 did not say who publishes and signs a module.
    #[must_use]
    pub const fn format(self) -> u16 {
        match self {
            Self::Targets => 2,
            Self::Root | Self::Timestamp | Self::Snapshot => 1,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What every payload starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// From 1 on, one more with each change.
    pub version: u32,
    /// When it was made, seconds since 1970, UTC.
    pub issued: u64,
    /// Last second at which it is believed.
    pub expires: u64,
}

impl Head {
    /// What is wrong with it in itself.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        (self.version == 0).then_some("versions start at 1")
    }

    /// That `now` lies between issue and expiry.
    pub(crate) fn check_time(&self, now: u64) -> Result<(), Check> {
        if now > self.expires {
            return Err(Check::Expired { expires: self.expires, now });
        }
        if self.issued > now.saturating_add(CLOCK_TOLERANCE_S) {
            return Err(Check::Future { issued: self.issued, now });
        }
        Ok(())
    }
}

/// The keys of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleKeys {
    /// How many of them must have signed, at least 1.
    pub threshold: u8,
    /// Numbers in [`Root::keys`], ascending.
    pub keys: Vec<u8, MAX_KEYS>,
}

/// Payload of a root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root<'a> {
    /// Version and times.
    pub head: Head,
    /// Whether a module that the metadata does not name may be used if its own signature is good. For development systems.
    pub unlisted: bool,
    /// All keys, in ascending order of their bytes.
    #[serde(borrow)]
    pub keys: Vec<Key<'a>, MAX_KEYS>,
    /// Of root, timestamp, snapshot and targets, in this order.
    pub roles: [RoleKeys; 4],
}

impl<'a> Root<'a> {
    /// Reads a payload.
    pub(crate) fn parse(payload: &'a [u8]) -> Result<Self, Check> {
        let form = |problem| Check::Form { problem };
        let root: Self = codec::whole(payload).ok_or(form("its payload is no root"))?;
        root.problem().map_or(Ok(root), |problem| Err(form(problem)))
    }

    /// What is wrong with it in itself.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        if let Some(problem) = self.head.problem() {
            return Some(problem);
        }
        if !self.keys.iter().all(Key::is_well_formed) {
            return Some("a key is not RSA-3072");
        }
        if !self.keys.is_sorted_by(|a, b| a < b) {
            return Some("its keys are not in order, or one is there twice");
        }
        let fine = |role: &RoleKeys| {
            role.keys.is_sorted_by(|a, b| a < b)
                && role.keys.iter().all(|&key| usize::from(key) < self.keys.len())
                && (1..=role.keys.len()).contains(&usize::from(role.threshold))
        };
        (!self.roles.iter().all(fine))
            .then_some("a role has keys that are not there, or too few for its threshold")
    }

    /// The keys of a role.
    #[must_use]
    pub const fn role(&self, role: Role) -> &RoleKeys {
        let [root, timestamp, snapshot, targets] = &self.roles;
        match role {
            Role::Root => root,
            Role::Timestamp => timestamp,
            Role::Snapshot => snapshot,
            Role::Targets => targets,
        }
    }

    /// The same, as keys.
    pub fn keys_of(&self, role: Role) -> impl Iterator<Item = &Key<'a>> {
        self.role(role).keys.iter().filter_map(|&key| self.keys.get(usize::from(key)))
    }

    /// That enough keys of `role` signed `file`. A key counts once, since a file holds each identifier once.
    pub(crate) fn check_signed(&self, role: Role, file: &Envelope<'_>) -> Result<(), Check> {
        let (statement, needed) = (file.statement(), self.role(role).threshold);
        let mut good = 0;
        for key in self.keys_of(role) {
            let id = key.id();
            let signature = file.signatures().find(|(signer, _)| *signer == id.as_bytes());
            if signature.is_some_and(|(_, signature)| key.has_signed(&statement, signature)) {
                good += 1;
            }
            if good == needed {
                return Ok(());
            }
        }
        Err(Check::Threshold { good, needed })
    }

    /// Digest of the keys of timestamp and snapshot: their versions begin anew when it changes (TUF 5.3.11).
    pub(crate) fn online_keys(&self) -> Digest {
        let of = |role| {
            self.keys_of(role).fold(Digest::default(), |sum, key| Digest::of_parts(&[sum.as_bytes(), key.0]))
        };
        Digest::of_parts(&[of(Role::Timestamp).as_bytes(), of(Role::Snapshot).as_bytes()])
    }
}

/// Which file of the next role is current.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    /// Its version.
    pub version: u32,
    /// Bytes of the file, signatures included.
    pub length: u32,
    /// Its digest, signatures included.
    pub digest: Digest,
}

impl FileRef {
    /// That `bytes` are the file.
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<(), Check> {
        let same = bytes.len() == self.length as usize && Digest::of(bytes) == self.digest;
        if same { Ok(()) } else { Err(Check::Mixed) }
    }
}

/// Payload of timestamp and snapshot: each names the current file of the role after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    /// Version and times.
    pub head: Head,
    /// The snapshot, or the targets file.
    pub file: FileRef,
}

impl Pointer {
    /// Reads a payload.
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, Check> {
        let form = |problem| Check::Form { problem };
        let pointer: Self = codec::whole(payload).ok_or(form("its payload is none of its role"))?;
        pointer.head.problem().map_or(Ok(pointer), |problem| Err(form(problem)))
    }
}
