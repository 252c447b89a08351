//! The manifest: what a module is, what it provides and needs, and all the authority it will ever have.
//!
//! The same types are written by an author as TOML (`hicmod.toml`, read on the host only) and stored in the module as
//! postcard behind a two-byte schema number. Every list and string is bounded, so that a manifest needs no allocator
//! and a loader knows its worst case. A field that the author leaves out gets the least: no heap, no authority.
//!
//! This module never decides who gets what: it says what a module asks for and whether that makes sense in itself.
//!
//! ```toml
//! name = "netstack"
//! version = "1.2.0"
//! summary = "ARP, IPv4, UDP and TCP"
//! kind = "service"                # service | application | driver
//! order = 4                       # calls go down: it may need only what has a lower order
//! priority = 20                   # 0 (lowest) to 31
//! budget_us = 4000                # guaranteed processor time ...
//! period_us = 10000               # ... in each period of this length
//! cpu = "conserving"              # conserving | hard
//! stack_pages = 16
//! heap_pages = 256
//! cspace_slots = 1024
//! state_regions = [{ name = "connections", pages = 64 }]
//! provides = ["netstack"]
//! needs = [{ service = "eth_driver" }, { service = "log", optional = true }]
//! authority = ["clock", "entropy"]
//! optional_authority = ["entropy"] # without these the module starts, too
//! restart = { always = { max = 5, window_s = 60 } }   # or "never"
//! # For kind = "driver" only:
//! # devices = [{ ids = ["1af4:1041"], dma_pages = 64 }]
//! # ioports = [{ base = 0x3f8, len = 8 }]
//! # irqs = [4]
//! publisher = "HIC project"      # shown; who vouches for the module is its signer
//! dependencies = [{ module = "eth_driver", version = ">=0.1.0" }, { module = "ipc_lib", version = "^2.0" }]
//! interfaces = { provides = ["netstack@1", "tcp@1"], needs = ["eth@1"] }
//! parts = [{ name = "tcp", version = "1.2.0" }]     # what a partial rollback can put back
//! health = { every_ms = 5000, checks = 3 }
//! epoch = 0                       # anti-rollback: raised by a release that makes the ones before it unfit
//! abi = { lowest = 1, highest = 1 }                 # versions of the Core-0 interface that it runs on
//! # Only for what can be replaced while it runs:
//! # [update]
//! # schema = 2                  # state schema that it publishes once committed
//! # readable_by = 1             # oldest schema whose readers understand what it publishes until then
//! # reads = 1                   # oldest schema that it reads
//! # protocols = { lowest = 1, highest = 1 }   # versions of the migration protocol that it speaks
//! # tested_with = ["1.1.0"]     # versions between which and this one moves both ways were tested
//! ```

mod check;
mod codec;
mod error;
mod order;
pub mod release;
mod requirement;
pub mod update;
mod values;

pub use check::{
    MAX_CSPACE_SLOTS, MAX_HEAP_PAGES, MAX_ORDER, MAX_PERIOD_US, MAX_PRIORITY, MAX_REGION_PAGES,
    MAX_STACK_PAGES, MIN_CSPACE_SLOTS, MIN_PERIOD_US,
};
pub use codec::{MAX_MANIFEST_BYTES, SCHEMA_VERSION, decode, encode};
pub use error::ManifestError;
pub use order::{MAX_MODULES, OrderError, StartOrder, start_order};
pub use release::{
    Build, Dependency, Health, IPC_LIB, Interface, Interfaces, Part, Platform, PlatformError, Span,
};
pub use requirement::Requirement;
pub use update::{Exchange, PairError, Update, check_pair};
pub use values::{InvalidText, PciId, Version};

use serde::{Deserialize, Serialize};

/// The name of a module, service or region; valid by [`crate::is_valid_name`] once checked.
pub type Name = heapless::String<{ crate::MAX_NAME_BYTES }>;
/// A list with at most `N` items.
pub type List<T, const N: usize> = heapless::Vec<T, N>;

/// Longest summary in bytes: one console line.
pub const MAX_SUMMARY_BYTES: usize = 80;
/// Most state regions of one module.
pub const MAX_STATE_REGIONS: usize = 8;
/// Most services that one module provides.
pub const MAX_PROVIDES: usize = crate::MAX_EXPORTS;
/// Most services that one module needs.
pub const MAX_NEEDS: usize = 16;
/// Most device claims of one module.
pub const MAX_DEVICES: usize = 4;
/// Most alternative identities in one device claim.
pub const MAX_DEVICE_IDS: usize = 8;
/// Most port ranges of one module.
pub const MAX_IOPORTS: usize = 8;
/// Most legacy interrupts of one module.
pub const MAX_IRQS: usize = 8;

/// Everything that the system knows about a module before it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The module's name, for example `netstack`.
    pub name: Name,
    /// Its version.
    pub version: Version,
    /// One line for an operator.
    #[serde(default)]
    pub summary: heapless::String<MAX_SUMMARY_BYTES>,
    /// Which layer it belongs to; decides what it may ask for.
    pub kind: Kind,
    /// Level in the fixed order of services, 0 to [`MAX_ORDER`]. It may need only services of lower levels.
    pub order: u8,
    /// Scheduling priority, 0 (lowest) to [`MAX_PRIORITY`].
    pub priority: u8,
    /// Guaranteed processor time in each period, microseconds. 0 together with `period_us` 0: no guarantee.
    #[serde(default)]
    pub budget_us: u32,
    /// Length of the period, microseconds.
    #[serde(default)]
    pub period_us: u32,
    /// What happens beyond the budget.
    #[serde(default)]
    pub cpu: CpuPolicy,
    /// Stack, 4 KiB pages, without the guard page.
    pub stack_pages: u32,
    /// Heap, 4 KiB pages; fixed for the life of an instance.
    #[serde(default)]
    pub heap_pages: u32,
    /// Frames that the module may charge to its account beside its instance and its state, for what it makes at run time
    /// (buffers, connections), 4 KiB each.
    #[serde(default)]
    pub account_pages: u32,
    /// Slots of the capability space.
    pub cspace_slots: u32,
    /// Memory that survives a restart and passes to a successor.
    #[serde(default)]
    pub state_regions: List<StateRegion, MAX_STATE_REGIONS>,
    /// Names under which others may ask for it.
    #[serde(default)]
    pub provides: List<Name, MAX_PROVIDES>,
    /// Services that it calls; each becomes a port at start, in this order.
    #[serde(default)]
    pub needs: List<Need, MAX_NEEDS>,
    /// PCI functions that it drives. Drivers only.
    #[serde(default)]
    pub devices: List<Device, MAX_DEVICES>,
    /// I/O port ranges that it uses. Drivers only.
    #[serde(default)]
    pub ioports: List<IoPortRange, MAX_IOPORTS>,
    /// Legacy ISA interrupts that it handles. Drivers only.
    #[serde(default)]
    pub irqs: List<u8, MAX_IRQS>,
    /// System-wide authority, least by default.
    #[serde(default)]
    pub authority: List<Authority, { Authority::COUNT }>,
    /// What happens when it dies.
    #[serde(default)]
    pub restart: Restart,
    /// How it is exchanged for another version while it runs; `None`: it is not.
    #[serde(default)]
    pub update: Option<Update>,
    /// Who publishes it, for people. Nothing is granted because of it: who vouches for a module is its signer.
    #[serde(default)]
    pub publisher: heapless::String<{ release::MAX_PUBLISHER_BYTES }>,
    /// Modules that have to be installed, in which versions; [`IPC_LIB`] among them.
    #[serde(default)]
    pub dependencies: List<Dependency, { release::MAX_DEPENDENCIES }>,
    /// Interfaces that it provides and needs.
    #[serde(default)]
    pub interfaces: Interfaces,
    /// Functional parts with versions of their own.
    #[serde(default)]
    pub parts: List<Part, { release::MAX_PARTS }>,
    /// How its health is judged after an update; `None`: by the system's default.
    #[serde(default)]
    pub health: Option<Health>,
    /// Anti-rollback epoch: once a release of an epoch was trusted, those of lower epochs are not.
    #[serde(default)]
    pub epoch: u32,
    /// Versions of the Core-0 ABI on which it runs.
    #[serde(default)]
    pub abi: Span,
    /// Authority among `authority` without which the module works, too; the rest is essential.
    #[serde(default)]
    pub optional_authority: List<Authority, { Authority::COUNT }>,
    /// What the build recorded.
    #[serde(default)]
    pub build: Build,
}

impl Manifest {
    /// The least that a module of this name, version and kind can ask for: one page of stack and nothing else.
    #[must_use]
    pub fn least(name: Name, version: Version, kind: Kind) -> Self {
        Self {
            name,
            version,
            summary: heapless::String::new(),
            kind,
            order: 1,
            priority: 1,
            budget_us: 0,
            period_us: 0,
            cpu: CpuPolicy::default(),
            stack_pages: 1,
            heap_pages: 0,
            account_pages: 0,
            cspace_slots: MIN_CSPACE_SLOTS,
            state_regions: List::new(),
            provides: List::new(),
            needs: List::new(),
            devices: List::new(),
            ioports: List::new(),
            irqs: List::new(),
            authority: List::new(),
            restart: Restart::default(),
            update: None,
            publisher: heapless::String::new(),
            dependencies: List::new(),
            interfaces: Interfaces::default(),
            parts: List::new(),
            health: None,
            epoch: 0,
            abi: Span::default(),
            optional_authority: List::new(),
            build: Build::default(),
        }
    }

    /// Whether the module asks for this authority.
    pub fn has_authority(&self, authority: Authority) -> bool {
        self.authority.contains(&authority)
    }

    /// Whether the module provides the service `name`.
    pub fn provides_service(&self, name: &str) -> bool {
        self.provides.iter().any(|provided| provided == name)
    }

    /// Pages that an instance takes beside its image: stack, heap and state regions.
    pub fn extra_pages(&self) -> u64 {
        let state: u64 = self.state_regions.iter().map(|region| u64::from(region.pages)).sum();
        u64::from(self.stack_pages) + u64::from(self.heap_pages) + state
    }

    /// The part of the processor that it is to be guaranteed, thousandths: a part of one counts as a whole one.
    pub fn guarantee(&self) -> u64 {
        (u64::from(self.budget_us) * 1000).div_ceil(u64::from(self.period_us).max(1))
    }
}

/// Which layer a module belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Serves others by IPC; no hardware.
    Service,
    /// Uses services; no hardware and no power over others.
    Application,
    /// A service with hardware.
    Driver,
}

/// What happens when a module has used its budget before the end of the period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CpuPolicy {
    /// It goes on with time that nobody else has a guarantee for.
    #[default]
    Conserving,
    /// It waits for the next period.
    Hard,
}

/// Authority over the system that is not a service of another module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authority {
    /// Read the wall clock and set it.
    Clock,
    /// Draw random numbers.
    Entropy,
    /// Drain the audit log.
    Audit,
    /// Look at sandboxes, accounts and capabilities of others.
    Inspect,
    /// Read the system log.
    LogRead,
    /// Power off and reset.
    Power,
    /// Create, replace and end instances.
    Manage,
    /// Be asked things by the module manager through a channel, while it does not wait.
    Channel,
}

impl Authority {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Clock,
        Self::Entropy,
        Self::Audit,
        Self::Inspect,
        Self::LogRead,
        Self::Power,
        Self::Manage,
        Self::Channel,
    ];
    /// Number of authorities: a manifest can name each once.
    pub const COUNT: usize = Self::ALL.len();

    /// As manifests and policies write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Entropy => "entropy",
            Self::Audit => "audit",
            Self::Inspect => "inspect",
            Self::LogRead => "log-read",
            Self::Power => "power",
            Self::Manage => "manage",
            Self::Channel => "channel",
        }
    }
}

/// What happens when a module's instance dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Restart {
    /// It stays dead and its resources are reclaimed.
    Never,
    /// It is started again, until it died more than `max` times within `window_s` seconds.
    Always {
        /// Restarts that are tried in one window, at least 1.
        max: u16,
        /// Length of the window in seconds, at least 1.
        window_s: u32,
    },
}

impl Default for Restart {
    /// Five times a minute: a service which dies that often will not be cured by one more start.
    fn default() -> Self {
        Restart::Always { max: 5, window_s: 60 }
    }
}

/// Memory that belongs to the module's account and outlives its instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateRegion {
    /// Unique among the regions of the module.
    pub name: Name,
    /// Size in 4 KiB pages, at least 1.
    pub pages: u32,
}

/// A service that the module calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Need {
    /// Name of the service, as another module's `provides` states it.
    pub service: Name,
    /// Whether the module also works without it.
    #[serde(default)]
    pub optional: bool,
}

/// A claim to PCI functions: the first one with any of the identities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Identities that the driver understands, written as `"1af4:1041"`.
    pub ids: List<PciId, MAX_DEVICE_IDS>,
    /// Memory that the device may read and write, 4 KiB pages.
    #[serde(default)]
    pub dma_pages: u32,
}

/// A range of x86 I/O ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IoPortRange {
    /// First port.
    pub base: u16,
    /// Number of ports, at least 1.
    pub len: u16,
}

#[cfg(test)]
pub(crate) mod tests;
