//! The order in which metadata is fetched and checked (TUF specification 1.0, 5.3 to 5.6).
//!
//! ```text
//!   installed root ─▶ root N+1? ─ no ─▶ timestamp ─▶ snapshot ─▶ targets ─▶ Current
//!                      ▲   │ yes: signed by N and by N+1, version N+1
//!                      └───┘
//! ```
//!
//! Each file goes through its checks in this order, and nothing of a payload is believed before its signatures were counted:
//!
//! | root | timestamp | snapshot, targets |
//! | --- | --- | --- |
//! | length | length | length, digest (as the file before it says) |
//! | form | form | form |
//! | signatures of the root before | signatures | signatures |
//! | own signatures | version not below the one seen | version as named, not below the one seen |
//! | version | names no snapshot below the one seen | |
//! | at the end: not below, not beside the one seen | | |
//! | at the end: time | time | time |
//!
//! A [`Client`] is one state of this walk; giving it a file consumes it. It does no I/O and knows no clock. What was seen before changes only
//! through [`Current::trusted`], after all four roles were found good.

use crate::envelope::Envelope;
use crate::error::{Check, Refused};
use crate::metadata::{FileRef, Pointer, Role, Root};
use crate::targets::Targets;
use crate::trusted::Trusted;
use crate::{MAX_ROOT_BYTES, MAX_ROOT_UPDATES, MAX_SMALL_BYTES, MAX_TARGETS_BYTES};

/// A file that is to be fetched next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its role.
    pub role: Role,
    /// Its version; 0 for the timestamp, whose name has none.
    pub version: u32,
    /// Most bytes that it may have. Fetch one more to see that it ends.
    pub limit: usize,
    /// Whether it may be absent: the root after the last one.
    pub optional: bool,
}

/// Name of a metadata file, on a disk and below `metadata/`: `timestamp.tuf`, `2.root.tuf`. The timestamp's version is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileName(pub Role, pub u32);

impl core::fmt::Display for FileName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self(Role::Timestamp, _) => write!(f, "{}.tuf", Role::Timestamp),
            Self(role, version) => write!(f, "{version}.{role}.tuf"),
        }
    }
}

impl core::fmt::Display for Wanted {
    /// Its [`FileName`].
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        FileName(self.role, self.version).fmt(f)
    }
}

/// What follows when a file was good.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "moved a few times in a session; no heap is needed")]
pub enum Next<'a> {
    /// Another one is wanted.
    More(Client<'a>),
    /// The metadata is complete.
    Done(Current<'a>),
}

/// A walk that has come to some point.
#[derive(Clone, Debug)]
pub struct Client<'a> {
    root: Root<'a>,
    seen: Trusted,
    new: Trusted,
    now: u64,
    updates: u32,
    /// The earliest end of what was accepted so far.
    expires: u64,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Root,
    Timestamp,
    Snapshot(FileRef),
    Targets(FileRef),
}

/// Metadata that passed every check.
#[derive(Clone, Debug)]
pub struct Current<'a> {
    /// What is to be kept from now on.
    pub trusted: Trusted,
    /// The modules.
    pub targets: Targets<'a>,
    /// The last second at which all of it is believed.
    pub expires: u64,
    /// See [`Root::unlisted`].
    pub unlisted: bool,
}

impl<'a> Client<'a> {
    /// Begins with the installed root. It is trusted because it came with the system; its signatures are not looked at.
    ///
    /// # Errors
    /// [`Refused`]: the installed root cannot be read.
    pub fn new(installed: &'a [u8], seen: Trusted, now: u64) -> Result<Self, Refused> {
        let refused = |check| Refused { role: Role::Root, check };
        let file = within(installed, MAX_ROOT_BYTES).and_then(|bytes| Envelope::parse(Role::Root, bytes));
        let payload = file.map_err(refused)?.payload();
        let root = Root::parse(payload).map_err(refused)?;
        let new = Trusted { root: root.head.version, root_digest: crate::Digest::of(payload), ..seen };
        let client = Self { root, seen, new, now, updates: 0, expires: u64::MAX, state: State::Root };
        client.check_fork().map_err(refused)?;
        Ok(client)
    }

    /// Whether the last root says that modules which are not listed may be used.
    #[must_use]
    pub const fn allows_unlisted(&self) -> bool {
        self.root.unlisted
    }

    /// What is to be fetched next.
    #[must_use]
    pub const fn wanted(&self) -> Wanted {
        let (role, version, limit, optional) = match self.state {
            State::Root => (Role::Root, self.new.root.saturating_add(1), MAX_ROOT_BYTES, true),
            State::Timestamp => (Role::Timestamp, 0, MAX_SMALL_BYTES, false),
            State::Snapshot(file) => (Role::Snapshot, file.version, MAX_SMALL_BYTES, false),
            State::Targets(file) => (Role::Targets, file.version, MAX_TARGETS_BYTES, false),
        };
        Wanted { role, version, limit, optional }
    }

    /// Takes the wanted file, or `None` if it is not there. A file that did not end within the limit is given with one byte more.
    ///
    /// # Errors
    /// [`Refused`]: nothing of this session is to be kept.
    pub fn give(self, file: Option<&'a [u8]>) -> Result<Next<'a>, Refused> {
        let wanted = self.wanted();
        let refused = |check| Refused { role: wanted.role, check };
        let bytes = match file {
            Some(bytes) => Some(within(bytes, wanted.limit).map_err(refused)?),
            None if wanted.optional => None,
            None => return Err(refused(Check::Missing)),
        };
        let next = match (self.state, bytes) {
            (State::Root, Some(bytes)) => self.next_root(bytes),
            (State::Root, None) => self.last_root(),
            (State::Timestamp, bytes) => self.timestamp(bytes.unwrap_or_default()),
            (State::Snapshot(file), bytes) => self.snapshot(file, bytes.unwrap_or_default()),
            (State::Targets(file), bytes) => {
                return self.targets(file, bytes.unwrap_or_default()).map_err(refused);
            }
        };
        next.map(Next::More).map_err(refused)
    }

    /// TUF 5.3.3 to 5.3.8.
    fn next_root(mut self, bytes: &'a [u8]) -> Result<Self, Check> {
        if self.updates == MAX_ROOT_UPDATES {
            return Err(Check::TooManyRoots);
        }
        let file = Envelope::parse(Role::Root, bytes)?;
        self.root.check_signed(Role::Root, &file)?;
        let root = Root::parse(file.payload())?;
        root.check_signed(Role::Root, &file)?;
        let (named, found) = (self.new.root.saturating_add(1), root.head.version);
        if found != named {
            return Err(Check::Version { named, found });
        }
        (self.new.root, self.new.root_digest) = (found, crate::Digest::of(file.payload()));
        (self.root, self.updates) = (root, self.updates + 1);
        self.check_fork()?;
        Ok(self)
    }

    /// That a root with the version of the one seen is the one seen.
    fn check_fork(&self) -> Result<(), Check> {
        if self.new.root == self.seen.root && self.new.root_digest != self.seen.root_digest {
            return Err(Check::Fork { version: self.new.root });
        }
        Ok(())
    }

    /// TUF 5.3.9 to 5.3.11: no later root is there.
    fn last_root(mut self) -> Result<Self, Check> {
        if self.new.root < self.seen.root {
            return Err(Check::Rollback { seen: self.seen.root, found: self.new.root });
        }
        self.until(self.root.head.expires);
        self.root.head.check_time(self.now)?;
        self.new.online_keys = self.root.online_keys();
        if self.new.online_keys != self.seen.online_keys {
            // Whoever had the old keys could sign a version so high that nothing comes after it (fast-forward).
            (self.seen.timestamp, self.seen.snapshot, self.seen.targets) = (0, 0, 0);
        }
        self.state = State::Timestamp;
        Ok(self)
    }

    /// TUF 5.4.
    fn timestamp(mut self, bytes: &[u8]) -> Result<Self, Check> {
        let pointer = self.pointer(Role::Timestamp, bytes)?;
        not_below(self.seen.timestamp, pointer.head.version)?;
        not_below(self.seen.snapshot, pointer.file.version)?;
        pointer.head.check_time(self.now)?;
        self.new.timestamp = pointer.head.version;
        self.until(pointer.head.expires);
        self.state = State::Snapshot(pointer.file);
        Ok(self)
    }

    /// TUF 5.5.
    fn snapshot(mut self, named: FileRef, bytes: &[u8]) -> Result<Self, Check> {
        named.check(bytes)?;
        let pointer = self.pointer(Role::Snapshot, bytes)?;
        is_named(named.version, pointer.head.version)?;
        not_below(self.seen.targets, pointer.file.version)?;
        pointer.head.check_time(self.now)?;
        self.new.snapshot = pointer.head.version;
        self.until(pointer.head.expires);
        self.state = State::Targets(pointer.file);
        Ok(self)
    }

    /// TUF 5.6.
    fn targets(mut self, named: FileRef, bytes: &'a [u8]) -> Result<Next<'a>, Check> {
        named.check(bytes)?;
        let file = Envelope::parse(Role::Targets, bytes)?;
        self.root.check_signed(Role::Targets, &file)?;
        let targets = Targets::parse(file.payload())?;
        is_named(named.version, targets.head().version)?;
        targets.head().check_time(self.now)?;
        self.new.targets = targets.head().version;
        self.until(targets.head().expires);
        let Self { new: trusted, expires, root: Root { unlisted, .. }, .. } = self;
        Ok(Next::Done(Current { trusted, targets, expires, unlisted }))
    }

    fn pointer(&self, role: Role, bytes: &[u8]) -> Result<Pointer, Check> {
        let file = Envelope::parse(role, bytes)?;
        self.root.check_signed(role, &file)?;
        Pointer::parse(file.payload())
    }

    fn until(&mut self, expires: u64) {
        self.expires = self.expires.min(expires);
    }
}

fn within(bytes: &[u8], limit: usize) -> Result<&[u8], Check> {
    if bytes.len() > limit { Err(Check::TooLong { limit }) } else { Ok(bytes) }
}

fn is_named(named: u32, found: u32) -> Result<(), Check> {
    if found == named { Ok(()) } else { Err(Check::Version { named, found }) }
}

fn not_below(seen: u32, found: u32) -> Result<(), Check> {
    if found < seen { Err(Check::Rollback { seen, found }) } else { Ok(()) }
}
