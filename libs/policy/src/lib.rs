//! Which authority a module may have: granted = what its manifest asks for, cut to what the policy allows (ledger P2.3, O8).
//!
//! Principles:
//! - *Reviewed like code.* The policy of a system is a file of its sources (`qemu/policy.toml`), packed into the boot archive, and with it
//!   named by the kernel: nobody changes it on the way, and no module brings its own.
//! - *A newcomer gets the least.* A module that the policy does not name is allowed what `[default]` says.
//! - *Nothing is granted in silence, nothing is denied in silence.* [`decide`] answers with what is granted and with each thing that
//!   was asked for and denied.
//! - *Half a module is worse than none.* What is denied is essential (the module does not start) unless the module says that it works
//!   without, or the thing is only a bound that it can live below.
//!
//! Pure: whoever creates the capabilities grants what is in [`Decision::granted`] and nothing else.
#![no_std]

#[cfg(feature = "text")]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod decide;
mod file;

pub use decide::{Decision, Denied, MAX_DENIED, decide};
#[cfg(feature = "text")]
pub use file::Rules;
pub use file::{MAX_POLICY_BYTES, POLICY, Policy, PolicyError};

use hic_hicmod::manifest::{
    Authority, IoPortRange, List, MAX_DEVICES, MAX_IOPORTS, MAX_IRQS, MAX_NEEDS, MAX_PROVIDES, Manifest,
    Name, PciId, Version,
};
use serde::{Deserialize, Serialize};

/// Most versions to which a module may go back over the end of an epoch.
pub const MAX_DOWNGRADES: usize = 4;

/// All that a module is allowed. What is left out is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    /// System-wide authority.
    #[serde(default)]
    pub authority: List<Authority, { Authority::COUNT }>,
    /// Services that it may call.
    #[serde(default)]
    pub services: List<Name, MAX_NEEDS>,
    /// Services that it may be. A module may always provide its own name, unless another module's policy entry has that name in its list.
    #[serde(default)]
    pub provides: List<Name, MAX_PROVIDES>,
    /// Identities of devices that it may drive.
    #[serde(default)]
    pub devices: List<PciId, { 2 * MAX_DEVICES }>,
    /// I/O ports that it may use.
    #[serde(default)]
    pub ioports: List<IoPortRange, MAX_IOPORTS>,
    /// Legacy interrupts that it may handle.
    #[serde(default)]
    pub irqs: List<u8, MAX_IRQS>,
    /// Memory in 4 KiB pages: stack, heap, state, device memory, and what it may charge at run time. Without the image, which is what its
    /// signer vouches for.
    #[serde(default)]
    pub memory_pages: u32,
    /// Highest priority at which it runs.
    #[serde(default)]
    pub priority: u8,
    /// Part of the processor that it may be guaranteed, thousandths.
    #[serde(default)]
    pub processor: u16,
    /// Whether it may be exchanged with a version that it was not tested with.
    #[serde(default)]
    pub untested: bool,
    /// Versions to which it may go back although they are of an anti-rollback epoch that is over (ledger P1.8): a downgrade that is meant, version by
    /// version.
    #[serde(default)]
    pub downgrade: List<Version, MAX_DOWNGRADES>,
}

impl Allowed {
    /// Nothing at all.
    pub const NOTHING: Self = Self {
        authority: List::new(),
        services: List::new(),
        provides: List::new(),
        devices: List::new(),
        ioports: List::new(),
        irqs: List::new(),
        memory_pages: 0,
        priority: 0,
        processor: 0,
        untested: false,
        downgrade: List::new(),
    };
}

/// Pages of memory that a manifest asks for beside its image.
#[must_use]
pub fn asked_pages(manifest: &Manifest) -> u64 {
    let dma: u64 = manifest.devices.iter().map(|device| u64::from(device.dma_pages)).sum();
    manifest.extra_pages() + u64::from(manifest.account_pages) + dma
}
