//! The records that outlive a restart of the module manager: one for each instance of a service, in memory that the keeper holds.
//!
//! A record is written while its phase is [`Phase::CREATING`] and counts only once the phase says otherwise, so whatever instant the
//! manager dies at, a record is whole or unfinished. The keeper's memory is trusted (nobody else maps it); the header is checked
//! all the same, because an empty journal and a full one look alike otherwise.

mod exchange;
mod kept;

pub use exchange::{ExchangeRecord, ImagePlace, Seen, Stage, Turn};
pub use kept::KeptDefaults;

use crate::policy::Window;
use crate::rollout::record::PlanRecord;
use core::sync::atomic::{Ordering, compiler_fence};
use hic_abi::start::{Grant, MAX_GRANTS};
use hic_abi::{Handle, Nanos};
use hic_control::manager::ServiceInfo;
use hic_rt::loader::Instance;

/// A service that answers has proved healthy when it has run for so long since its start.
pub const PROBATION: Nanos = 10_000_000_000;
/// Marks a journal of this layout.
pub const MAGIC: u64 = u64::from_le_bytes(*b"HICjrnl7");
/// Instances that the journal holds.
pub const MAX_SERVICES: usize = 48;
/// Grants in a record.
pub const MAX_RECORD_GRANTS: usize = MAX_GRANTS - 12;
/// Capabilities that the manager keeps for one service.
pub const MAX_HELD: usize = 64;
/// Ports to other services that one service has.
pub const MAX_PORTS: usize = 16;
/// Modules of the boot archive.
pub const MAX_ARCHIVED: usize = 64;
/// Modules of the repository that are kept in memory.
pub const MAX_CACHED: usize = 24;

/// Where a record is in its life. Numbers, because the journal is plain memory.
pub struct Phase;

impl Phase {
    /// Not used.
    pub const EMPTY: u64 = 0;
    /// Being made: after a crash, what it holds is destroyed and it is made anew.
    pub const CREATING: u64 = 1;
    /// Made and started; its sandbox runs or is frozen.
    pub const LIVE: u64 = 2;
    /// Being started again: after a crash, the restart is done over.
    pub const RESTARTING: u64 = 3;
    /// Dead, and left so by its policy.
    pub const STOPPED: u64 = 4;
    /// Started by the keeper: listed, but not managed here.
    pub const KEPT: u64 = 5;
}

/// Which of several instances of one service this is. Numbers, because the journal is plain memory.
pub struct Standing;

impl Standing {
    /// The one that new callers reach: the service.
    pub const DEFAULT: u64 = 0;
    /// Made by an update that is under way, or left by one.
    pub const OTHER: u64 = 1;
}

/// A port to another service, which the manager can switch.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ClientPort {
    /// Name of the service.
    pub service: [u8; 32],
    /// The manager's slot.
    pub slot: Handle,
    /// Padding, zero.
    pub reserved: u32,
}

/// A module of the repository, verified, in memory.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CachedModule {
    /// Slot of the region that holds the file; 0 = none.
    pub region: Handle,
    /// Where it came from: one of the numbers below.
    pub from: u16,
    /// Its place on the system disk, + 1; or one of the numbers below.
    pub place: u16,
    /// Where it is mapped.
    pub address: u64,
    /// Bytes of the file.
    pub length: u64,
    /// What the verifier found.
    pub trust: Trust,
}

impl CachedModule {
    /// The repository disk.
    pub const DISK: u16 = 0;
    /// A repository on the network.
    pub const NETWORK: u16 = 1;
    /// The system disk, where what came over the network is kept while it is installed.
    pub const SYSTEM: u16 = 2;
    /// It has no place on the system disk.
    pub const NOWHERE: u16 = 0;
    /// It was to have one, and the disk did not take it.
    pub const REFUSED: u16 = u16::MAX;
}

/// What the verifier found about a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Trust {
    /// One of the numbers below.
    pub state: u64,
    /// 1 if the chain ends in a development root.
    pub development: u64,
    /// SHA-384 of the module's content.
    pub digest: [u8; 48],
    /// Who signed it.
    pub signer: [u8; 64],
}

// SAFETY: `repr(C)`, 128 bytes of integers without padding.
unsafe impl hic_abi::Plain for Trust {}

impl Trust {
    /// Every check passed.
    pub const VERIFIED: u64 = 1;
    /// There is nobody to verify it: an image for tests of the kernel.
    pub const UNVERIFIED: u64 = 2;
    /// A check failed.
    pub const REFUSED: u64 = 3;

    /// Whether the module may be started.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        matches!(self.state, Self::VERIFIED | Self::UNVERIFIED)
    }
}

/// One endpoint that a service provides.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ProvidedEndpoint {
    /// Name of the service.
    pub name: [u8; 32],
    /// The manager's slot.
    pub slot: Handle,
    /// Padding, zero.
    pub reserved: u32,
}

/// One instance of a service.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Record {
    /// A [`Phase`] number.
    pub phase: u64,
    /// Its name, version and counters, as LIST shows them (state and serial are filled in when asked).
    pub info: ServiceInfo,
    /// Its sandbox and memory.
    pub instance: Instance,
    /// When its sandbox was made, monotonic nanoseconds.
    pub made_at: Nanos,
    /// When it was started last, monotonic nanoseconds.
    pub started_at: Nanos,
    /// 1 = since then it has answered the monitor's liveness question.
    pub answered: u64,
    /// A [`Standing`] number.
    pub standing: u64,
    /// Pays for what it makes at run time. It belongs to the service and outlives its instances.
    pub service_account: Handle,
    /// The slot in its space in which the batch token comes and goes; 0 = the service cannot be replaced.
    pub token: u32,
    /// The region of the channel to it; 0 = none.
    pub channel: Handle,
    /// The manager's port to its endpoint, to ring it.
    pub ring: Handle,
    /// The state region of its peer in an update, mapped in it for reading; 0 = none.
    pub peer: Handle,
    /// Pays for the region of an image that took the place of the first one; 0 = the instance's own account does.
    pub image_account: Handle,
    /// Restarts in the current window.
    pub window: Window,
    /// Endpoints in use.
    pub endpoint_count: u64,
    /// The endpoints.
    pub endpoints: [ProvidedEndpoint; 8],
    /// Ports to other services in use.
    pub port_count: u64,
    /// Those ports.
    pub ports: [ClientPort; MAX_PORTS],
    /// Regions mapped at each start, beside the instance's own: state, DMA and the channel.
    pub region_count: u64,
    /// Their slots.
    pub regions: [Handle; 16],
    /// Slots that the manager keeps for this service.
    pub held_count: u64,
    /// Those slots.
    pub held: [Handle; MAX_HELD],
    /// Grants in use.
    pub grant_count: u64,
    /// Its grants.
    pub grants: [Grant; MAX_RECORD_GRANTS],
}

impl Record {
    /// It is started: how it was before says nothing about how it is.
    pub const fn start(&mut self, now: Nanos) {
        (self.started_at, self.answered) = (now, 0);
    }

    /// The monitor's word that it answers, if it means this start of this instance.
    pub const fn answer(&mut self, serial: u64, restarts: u64) {
        if self.instance.serial == serial && self.info.restarts == restarts {
            self.answered = 1;
        }
    }

    /// When it has proved healthy if it still runs then. `None`: it has not answered yet, and may hang; nobody asks a service that provides nothing.
    #[must_use]
    pub const fn proved_at(&self) -> Option<Nanos> {
        match self.answered != 0 || self.endpoint_count == 0 {
            true => Some(self.started_at.saturating_add(PROBATION)),
            false => None,
        }
    }

    /// The grants in use.
    #[must_use]
    pub fn granted(&self) -> &[Grant] {
        self.grants.get(..self.grant_count as usize).unwrap_or_default()
    }

    /// The state and DMA regions in use.
    #[must_use]
    pub fn mapped_regions(&self) -> &[Handle] {
        self.regions.get(..self.region_count as usize).unwrap_or_default()
    }

    /// The endpoints in use.
    #[must_use]
    pub fn provided(&self) -> &[ProvidedEndpoint] {
        self.endpoints.get(..self.endpoint_count as usize).unwrap_or_default()
    }

    /// The slots that the manager keeps for it.
    #[must_use]
    pub fn held_slots(&self) -> &[Handle] {
        self.held.get(..self.held_count as usize).unwrap_or_default()
    }

    /// The ports to other services.
    #[must_use]
    pub fn client_ports(&self) -> &[ClientPort] {
        self.ports.get(..self.port_count as usize).unwrap_or_default()
    }

    /// Remembers a port to another service; `false` when there is no room.
    pub fn add_port(&mut self, service: [u8; 32], slot: Handle) -> bool {
        push(&mut self.ports, &mut self.port_count, ClientPort { service, slot, reserved: 0 })
    }

    /// Whether there is an instance in this record.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.phase != Phase::EMPTY
    }

    /// Whether callers of the service reach this instance.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.is_used() && self.standing == Standing::DEFAULT
    }

    /// Remembers a slot; `false` when there is no room.
    pub fn hold(&mut self, slot: Handle) -> bool {
        push(&mut self.held, &mut self.held_count, slot)
    }

    /// Forgets a slot.
    pub fn let_go(&mut self, slot: Handle) {
        let count = self.held_slots().len();
        if let Some(at) = self.held_slots().iter().position(|held| *held == slot) {
            self.held.copy_within(at + 1..count, at);
            self.held_count -= 1;
        }
    }

    /// Where the image lies that this instance is started from.
    #[must_use]
    pub fn image(&self) -> ImagePlace {
        let Instance { region, address, stack_pages, heap_pages, .. } = self.instance;
        let account = if self.image_account == 0 { self.instance.account } else { self.image_account };
        ImagePlace { account, region, address, stack_pages, heap_pages, version: self.info.version }
    }

    /// Has this instance be started from another image.
    pub fn set_image(&mut self, place: &ImagePlace) {
        let ImagePlace { account, region, address, stack_pages, heap_pages, version } = *place;
        self.instance = Instance { region, address, stack_pages, heap_pages, ..self.instance };
        self.image_account = if account == self.instance.account { 0 } else { account };
        self.info.version = version;
    }

    /// Remembers a region to map at each start; `false` when there is no room.
    pub fn map_region(&mut self, slot: Handle) -> bool {
        push(&mut self.regions, &mut self.region_count, slot)
    }

    /// Remembers an endpoint; `false` when there is no room.
    pub fn provide(&mut self, name: [u8; 32], slot: Handle) -> bool {
        push(&mut self.endpoints, &mut self.endpoint_count, ProvidedEndpoint { name, slot, reserved: 0 })
    }

    /// Remembers a grant; `false` when there is no room.
    pub fn add_grant(&mut self, grant: Grant) -> bool {
        push(&mut self.grants, &mut self.grant_count, grant)
    }
}

fn push<T, const N: usize>(list: &mut [T; N], count: &mut u64, value: T) -> bool {
    match list.get_mut(*count as usize) {
        Some(entry) => {
            *entry = value;
            *count += 1;
            true
        }
        None => false,
    }
}

/// The update under way, or the last one.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct UpdateRecord {
    /// Records of the old and the new instance, + 1; 0 = there is none.
    pub parties: [u64; 2],
    /// Lines of its report that were told.
    pub told: u64,
    /// The request and how far it is.
    pub slots: hic_update::Slots,
}

/// Stores the word that decides whether what was stored before it counts. The fences keep the compiler from moving others over it; writer and reader run on
/// the same core.
pub(crate) fn store_last(word: &mut u64, value: u64) {
    compiler_fence(Ordering::SeqCst);
    // SAFETY: a valid, aligned, exclusively borrowed word; volatile so that the store is made here, once, in one piece.
    unsafe { core::ptr::write_volatile(word, value) };
    compiler_fence(Ordering::SeqCst);
}

/// The journal as it lies in the keeper's region.
#[repr(C)]
pub struct Journal {
    /// [`MAGIC`] once the manager has started for the first time.
    pub magic: u64,
    /// Records in use; some of them may be empty again.
    pub count: u64,
    /// The notification that answers through channels signal.
    pub bell: Handle,
    /// What the batch token is a copy of.
    pub token: Handle,
    /// What was found about the modules of the archive, in its order.
    pub trust: [Trust; MAX_ARCHIVED],
    /// Modules of the repository.
    pub cached: [CachedModule; MAX_CACHED],
    /// The defaults as the disk has them.
    pub defaults: KeptDefaults,
    /// The update under way, or the last one.
    pub update: UpdateRecord,
    /// The exchange in place that is under way.
    pub exchange: ExchangeRecord,
    /// The plan that is under way, or the last one.
    pub plan: PlanRecord,
    /// The records.
    pub records: [Record; MAX_SERVICES],
}

impl Journal {
    /// The records in use.
    #[must_use]
    pub fn services(&self) -> &[Record] {
        self.records.get(..self.count as usize).unwrap_or_default()
    }

    /// Index of the instance that callers of the service with this name reach; `name@version` names one instance.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        use hic_abi::name_str;
        let (name, version) =
            name.split_once('@').map_or((name, None), |(name, version)| (name, Some(version)));
        self.services().iter().position(|record| match version {
            Some(version) => {
                record.is_used()
                    && name_str(&record.info.name) == name
                    && name_str(&record.info.version) == version
            }
            None => record.is_default() && name_str(&record.info.name) == name,
        })
    }

    /// Index of an empty record.
    #[must_use]
    pub fn free_record(&self) -> Option<usize> {
        let used = self.services().iter().position(|record| !record.is_used());
        used.or_else(|| Some(self.count as usize).filter(|index| *index < MAX_SERVICES))
    }

    /// The endpoint of a provided service.
    #[must_use]
    pub fn endpoint(&self, service: &str) -> Option<Handle> {
        let provided = self.services().iter().filter(|r| r.is_default()).flat_map(Record::provided);
        provided.filter(|e| hic_abi::name_str(&e.name) == service).map(|e| e.slot).next()
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
