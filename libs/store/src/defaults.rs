//! The defaults record: which services are started at boot and in which version, what is done when that version does not come up, and where else
//! than on its disk the system looks for modules.
//!
//! The module manager writes it, flushed, *before* it acts on it: it counts an attempt before it starts a default, and makes a version
//! the default before it tells anybody that the update is done. So whatever was seen to happen is what a reboot finds.
//!
//! ```text
//!   boot: begin_boot ─▶ attempts + 1, written ─▶ start ─▶ healthy: attempts = 0, written
//!                                                  └─ died, or power failed: attempts stays
//!   attempts = 2 at the next boot: the version before is started; once that is healthy, it is the default again
//! ```

use core::fmt;

use hic_hicmod::manifest::{Name, Version};
use serde::{Deserialize, Serialize};

use hic_tuf::Trusted;

/// Boots in which a default may fail before the version before it is started.
pub const MAX_BOOT_ATTEMPTS: u32 = 2;
/// Most services with a default of their own: as many as the longest record holds, with room to spare.
pub const MAX_SERVICES: usize = 40;
/// Most modules whose epoch is above zero.
pub const MAX_EPOCHS: usize = 16;

/// Schema of the record: the first two bytes, little-endian. Postcard does not describe itself, so another schema is refused by number.
const SCHEMA: u16 = 2;
/// The schema before: without [`Presence`] and [`Defaults::sources`].
const FIRST_SCHEMA: u16 = 1;
const SCHEMA_BYTES: usize = size_of::<u16>();

/// Most repositories on the network that are known.
pub const MAX_SOURCES: usize = 4;
/// Longest address of one, bytes.
pub const MAX_SOURCE_BYTES: usize = 64;

/// Address of a repository on the network: `http://10.0.2.2:8000/`.
pub type Source = heapless::String<MAX_SOURCE_BYTES>;

/// Those that are known.
pub type Sources = heapless::Vec<Source, MAX_SOURCES>;

/// All that outlives power.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defaults {
    /// Services that an operator changed: updated, installed or removed. Any other one is started from the boot archive.
    pub services: heapless::Vec<ServiceDefault, MAX_SERVICES>,
    /// The update that runs, so that a boot after a power failure can say what was cut off.
    pub update: Option<RunningUpdate>,
    /// Repositories on the network.
    pub sources: Sources,
    /// What was seen of the repository's metadata.
    pub trusted: Trusted,
    /// The highest epochs of modules that were chosen; others have epoch 0.
    pub epochs: heapless::Vec<Epoch, MAX_EPOCHS>,
}

/// The highest epoch of a module that was ever chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// The module.
    pub name: Name,
    /// Releases of lower epochs are not used any more.
    pub epoch: u32,
}

/// Whether a service is there, apart from what the boot archive says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Presence {
    /// As the archive says: started if it brings the service.
    #[default]
    Shipped,
    /// Started, whether the archive brings it or not.
    Installed,
    /// Not started, although the archive brings it.
    Removed,
}

/// The default version of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceDefault {
    /// The service.
    pub name: Name,
    /// What is started.
    pub version: Version,
    /// What was the default before; started if `version` fails at boot.
    pub previous: Option<Version>,
    /// Boots that started `version` since it last proved healthy.
    pub attempts: u32,
    /// Whether it is started at all.
    pub presence: Presence,
}

/// What the record says of one module ([`Defaults::said`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    name: Name,
    service: Option<ServiceDefault>,
    epoch: u32,
}

impl Said {
    /// The version that is started at boot, if the record names one.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.service.as_ref().map(|service| service.version)
    }
}

/// A record of [`FIRST_SCHEMA`].
#[derive(Deserialize)]
struct FirstDefaults {
    services: heapless::Vec<FirstServiceDefault, MAX_SERVICES>,
    update: Option<RunningUpdate>,
}

/// A service in it.
#[derive(Deserialize)]
struct FirstServiceDefault {
    name: Name,
    version: Version,
    previous: Option<Version>,
    attempts: u32,
}

impl From<FirstDefaults> for Defaults {
    fn from(first: FirstDefaults) -> Self {
        let service = |FirstServiceDefault { name, version, previous, attempts }| ServiceDefault {
            name,
            version,
            previous,
            attempts,
            presence: Presence::Shipped,
        };
        Self {
            services: first.services.into_iter().map(service).collect(),
            update: first.update,
            ..Self::default()
        }
    }
}

/// An update that was begun and is not finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningUpdate {
    /// The service.
    pub name: Name,
    /// The version that served when it began.
    pub from: Version,
    /// The version that it leads to.
    pub to: Version,
    /// How far it came.
    pub phase: UpdatePhase,
}

/// How far an update came. Until it is committed, the default is the version that it began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpdatePhase {
    /// The old version serves.
    Started,
    /// The new version serves and is watched.
    Switched,
    /// It goes back.
    Reverting,
}

impl fmt::Display for UpdatePhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Started => "before the switch",
            Self::Switched => "after the switch, before the commit",
            Self::Reverting => "on its way back",
        })
    }
}

/// What a boot starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootChoice {
    /// The default.
    Default(Version),
    /// The version before it, since the default failed [`MAX_BOOT_ATTEMPTS`] times; to be reported.
    Fallback {
        /// What is started.
        version: Version,
        /// What failed.
        failed: Version,
    },
    /// The default although it failed, since there is none before it; to be reported.
    OnlyOne(Version),
}

impl BootChoice {
    /// What is started.
    #[must_use]
    pub const fn version(self) -> Version {
        match self {
            Self::Default(version) | Self::Fallback { version, .. } | Self::OnlyOne(version) => version,
        }
    }
}

/// Which version of a service a boot starts.
#[must_use]
pub fn boot_choice(service: &ServiceDefault) -> BootChoice {
    match service.previous {
        _ if service.attempts < MAX_BOOT_ATTEMPTS => BootChoice::Default(service.version),
        Some(version) => BootChoice::Fallback { version, failed: service.version },
        None => BootChoice::OnlyOne(service.version),
    }
}

/// Why a record cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// More than [`MAX_SERVICES`] services.
    TooManyServices,
    /// More than [`MAX_EPOCHS`] modules have an epoch.
    TooManyEpochs,
    /// It was written by a system with another schema.
    Schema {
        /// Its number.
        found: u16,
    },
    /// The checksum held, but the bytes are no record.
    Malformed,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyServices => {
                write!(f, "more than {MAX_SERVICES} services were updated, installed or removed")
            }
            Self::TooManyEpochs => write!(f, "more than {MAX_EPOCHS} modules have an anti-rollback epoch"),
            Self::Schema { found } => {
                write!(
                    f,
                    "the defaults record has schema {found}, this system reads {FIRST_SCHEMA} and {SCHEMA}"
                )
            }
            Self::Malformed => f.write_str("the defaults record is malformed"),
        }
    }
}

impl core::error::Error for RecordError {}

impl Defaults {
    /// What an operator made of a service, if anything.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&ServiceDefault> {
        self.services.iter().find(|service| service.name == name)
    }

    fn service_mut(&mut self, name: &str) -> Option<&mut ServiceDefault> {
        self.services.iter_mut().find(|service| service.name == name)
    }

    /// The lowest epoch of which releases of a module are still used.
    #[must_use]
    pub fn epoch(&self, name: &str) -> u32 {
        self.epochs.iter().find(|known| known.name == name).map_or(0, |known| known.epoch)
    }

    /// A release of this epoch was chosen: those of lower epochs are not used any more.
    ///
    /// # Errors
    /// [`RecordError::TooManyEpochs`].
    pub fn raise_epoch(&mut self, name: &Name, epoch: u32) -> Result<(), RecordError> {
        match self.epochs.iter_mut().find(|known| known.name == *name) {
            Some(known) => known.epoch = known.epoch.max(epoch),
            None if epoch == 0 => {}
            None => {
                let epoch = Epoch { name: name.clone(), epoch };
                self.epochs.push(epoch).map_err(|_| RecordError::TooManyEpochs)?;
            }
        }
        Ok(())
    }

    /// Makes `version` the default of a service that runs `running` by now: `running` is the version before it. Nothing changes if it is the
    /// default already.
    ///
    /// # Errors
    /// [`RecordError::TooManyServices`].
    pub fn set_default(
        &mut self,
        name: &Name,
        version: Version,
        running: Version,
    ) -> Result<(), RecordError> {
        match self.service_mut(name) {
            Some(service) if service.version == version => {}
            Some(service) => {
                (service.version, service.attempts) = (version, 0);
                service.previous = Some(running).filter(|&running| running != version);
            }
            None => {
                let previous = Some(running).filter(|&running| running != version);
                self.insert(name, version, previous, Presence::Shipped)?;
            }
        }
        Ok(())
    }

    fn insert(
        &mut self,
        name: &Name,
        version: Version,
        previous: Option<Version>,
        presence: Presence,
    ) -> Result<(), RecordError> {
        let service = ServiceDefault { name: name.clone(), version, previous, attempts: 0, presence };
        self.services.push(service).map_err(|_| RecordError::TooManyServices)
    }

    /// From now on `version` of a service is started at each boot.
    ///
    /// # Errors
    /// [`RecordError::TooManyServices`].
    pub fn install(&mut self, name: &Name, version: Version) -> Result<(), RecordError> {
        self.services.retain(|service| service.name != *name);
        self.insert(name, version, None, Presence::Installed)
    }

    /// From now on a service is not started any more. One that the boot archive brings stays in the record for that.
    ///
    /// # Errors
    /// [`RecordError::TooManyServices`].
    pub fn remove(&mut self, name: &Name, version: Version, archived: bool) -> Result<(), RecordError> {
        self.services.retain(|service| service.name != *name);
        if archived { self.insert(name, version, None, Presence::Removed) } else { Ok(()) }
    }

    /// What the record says of a module, to be put back if a change of it comes to nothing.
    #[must_use]
    pub fn said(&self, name: &Name) -> Said {
        Said { name: name.clone(), service: self.service(name).cloned(), epoch: self.epoch(name) }
    }

    /// Changes what the record says of a module of which a release of this epoch is chosen; what it said before.
    ///
    /// # Errors
    /// Those of the change and of [`Self::raise_epoch`]; then nothing is changed.
    pub fn choose(
        &mut self,
        name: &Name,
        epoch: u32,
        change: impl FnOnce(&mut Self) -> Result<(), RecordError>,
    ) -> Result<Said, RecordError> {
        let before = self.said(name);
        match change(self).and_then(|()| self.raise_epoch(name, epoch)) {
            Ok(()) => Ok(before),
            Err(error) => {
                self.restore(before);
                Err(error)
            }
        }
    }

    /// Puts back what the record said of a module before it was changed. Its epoch, too: of a release that was never used, nobody may have to stay above.
    pub fn restore(&mut self, before: Said) {
        let Said { name, service, epoch } = before;
        self.services.retain(|service| service.name != name);
        self.epochs.retain(|known| known.name != name);
        // There was room for both.
        let _ = service.map(|service| self.services.push(service));
        let _ = self.raise_epoch(&name, epoch);
    }

    /// The version that a service runs from now on has to prove itself: it counts as tried once.
    pub fn put_on_probation(&mut self, name: &str) {
        if let Some(service) = self.service_mut(name) {
            service.attempts = 1;
        }
    }

    /// Whether a boot starts a service that the archive brings or does not.
    #[must_use]
    pub fn is_present(&self, name: &str, archived: bool) -> bool {
        match self.service(name).map(|service| service.presence) {
            None | Some(Presence::Shipped) => archived,
            Some(Presence::Installed) => true,
            Some(Presence::Removed) => false,
        }
    }

    /// Services that are installed, whether the archive brings them or not.
    pub fn installed(&self) -> impl Iterator<Item = &ServiceDefault> {
        self.services.iter().filter(|service| service.presence == Presence::Installed)
    }

    /// Chooses what a boot starts and counts the attempt. The record must be on the disk before the version is started. `None`: the service
    /// has no default of its own, or was removed. A version that `is_there` does not find cannot be started, so it does not fail either: it is the default
    /// again once it is found.
    pub fn begin_boot(&mut self, name: &str, is_there: impl Fn(Version) -> bool) -> Option<BootChoice> {
        let service = self.service_mut(name).filter(|service| service.presence != Presence::Removed)?;
        let choice = boot_choice(service);
        if matches!(choice, BootChoice::Default(version) if is_there(version)) {
            service.attempts += 1;
        }
        Some(choice)
    }

    /// A version that a boot started has proved healthy. If it is the version before the default, it is the default again, with none before it:
    /// what failed is not tried again by itself. Whether the record changed.
    pub fn healthy(&mut self, name: &str, version: Version) -> bool {
        let Some(service) = self.service_mut(name) else { return false };
        if service.version == version {
            return core::mem::take(&mut service.attempts) != 0;
        }
        let fell_back =
            matches!(boot_choice(service), BootChoice::Fallback { version: v, .. } if v == version);
        if fell_back {
            (service.version, service.previous, service.attempts) = (version, None, 0);
        }
        fell_back
    }

    /// Writes the record to `buffer` and returns the part that was used; [`crate::MAX_RECORD_BYTES`] always suffice.
    ///
    /// # Errors
    /// [`RecordError::Malformed`]: the buffer is too small.
    pub fn encode<'a>(&self, buffer: &'a mut [u8]) -> Result<&'a [u8], RecordError> {
        let (schema, body) = buffer.split_first_chunk_mut::<SCHEMA_BYTES>().ok_or(RecordError::Malformed)?;
        *schema = SCHEMA.to_le_bytes();
        let used = postcard::to_slice(self, body).map_err(|_| RecordError::Malformed)?.len();
        buffer.get(..SCHEMA_BYTES + used).ok_or(RecordError::Malformed)
    }

    /// Reads a record that takes up all of `bytes`. Each service is in it once, with a valid name.
    ///
    /// # Errors
    /// [`RecordError::Schema`], [`RecordError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let (schema, body) = bytes.split_first_chunk::<SCHEMA_BYTES>().ok_or(RecordError::Malformed)?;
        let (defaults, rest) = match u16::from_le_bytes(*schema) {
            SCHEMA => postcard::take_from_bytes(body),
            FIRST_SCHEMA => postcard::take_from_bytes::<FirstDefaults>(body)
                .map(|(first, rest)| (Self::from(first), rest)),
            found => return Err(RecordError::Schema { found }),
        }
        .map_err(|_| RecordError::Malformed)?;
        let mut names = defaults.services.iter().map(|service| service.name.as_str());
        let twice =
            (1..).zip(names.clone()).any(|(n, name)| names.clone().skip(n).any(|other| other == name));
        let updated = defaults.update.as_ref().map(|update| update.name.as_str());
        let valid = names.by_ref().chain(updated).all(hic_hicmod::is_valid_name);
        if rest.is_empty() && valid && !twice { Ok(defaults) } else { Err(RecordError::Malformed) }
    }
}

#[cfg(test)]
mod tests;
