//! The start page: what a sandbox finds out about itself without asking.
//!
//! Whoever starts a sandbox writes this page and passes its address to the entry point in `rdi`. Later starts of the same
//! sandbox (a restart) find the same grants in the same slots.

use crate::{Handle, plain};

/// Marks a start page.
pub const START_MAGIC: u64 = u64::from_le_bytes(*b"HICstart");
/// Named grants in a start page, at most.
pub const MAX_GRANTS: usize = 80;
/// What the name of a grant begins with that is the endpoint of a service: `endpoint:netstack`.
pub const ENDPOINT: &str = "endpoint:";

/// One capability that the sandbox was given, by name.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Grant {
    /// What it is for, for example `endpoint:netstack`, `port:eth_driver`, `state:connections`.
    pub name: [u8; 32],
    /// The slot.
    pub slot: Handle,
    /// An [`crate::ObjectType`] number.
    pub object_type: u32,
    /// A region's address; the first port of an I/O range; 0.
    pub address: u64,
    /// A region's bytes; the number of I/O ports; 0.
    pub length: u64,
}

/// The start page. It fits in one page.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct StartPage {
    /// [`START_MAGIC`].
    pub magic: u64,
    /// The sandbox's name.
    pub name: [u8; 32],
    /// The version of its module, for example `1.2.0`.
    pub version: [u8; 16],
    /// How often the sandbox was started before over the same capabilities; 0 = first start.
    pub restarts: u64,
    /// Address of its heap.
    pub heap: u64,
    /// Bytes of its heap.
    pub heap_bytes: u64,
    /// Address of the clock page, or 0.
    pub clock: u64,
    /// The first slot that no grant uses.
    pub first_free_slot: u64,
    /// Slots in its capability space.
    pub slots: u64,
    /// Filled entries of `grants`.
    pub grant_count: u64,
    /// The grants.
    pub grants: [Grant; MAX_GRANTS - 12],
}

/// The clock page, mapped read-only in each sandbox that may know the time.
///
/// `monotonic = base_nanos + ((tsc - base_tsc) * scale >> 32)`; `wall = wall_base_seconds * 10^9 + monotonic`. It is written once, at boot.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ClockPage {
    /// Nanoseconds per time-stamp count, 32.32 fixed point.
    pub scale: u64,
    /// The time-stamp counter at boot.
    pub base_tsc: u64,
    /// Unix time at boot, seconds, from the battery-backed clock.
    pub wall_base_seconds: u64,
}

impl ClockPage {
    /// Monotonic nanoseconds at this time-stamp count.
    #[must_use]
    pub const fn nanos(&self, tsc: u64) -> u64 {
        ((tsc.wrapping_sub(self.base_tsc) as u128 * self.scale as u128) >> 32) as u64
    }
}

plain!(Grant, StartPage, ClockPage);

const _: () = assert!(size_of::<StartPage>() <= crate::PAGE_SIZE as usize);

/// Where the parts of an instance lie in its region: image, guard page, stack, start page, heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceLayout {
    /// Pages of the image, bss included.
    pub image_pages: u64,
    /// Pages of the stack.
    pub stack_pages: u64,
    /// Pages of the heap.
    pub heap_pages: u64,
}

impl InstanceLayout {
    /// The guard page's number: right below the stack, so that an overflow faults.
    #[must_use]
    pub const fn guard_page(&self) -> u64 {
        self.image_pages
    }

    /// Offset of the stack's first byte.
    #[must_use]
    pub const fn stack(&self) -> u64 {
        (self.image_pages + 1) * crate::PAGE_SIZE
    }

    /// Offset of the stack's end, which is that of the start page.
    #[must_use]
    pub const fn start_page(&self) -> u64 {
        self.stack() + self.stack_pages * crate::PAGE_SIZE
    }

    /// Offset of the heap.
    #[must_use]
    pub const fn heap(&self) -> u64 {
        self.start_page() + crate::PAGE_SIZE
    }

    /// Bytes of the region.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.heap() + self.heap_pages * crate::PAGE_SIZE
    }
}
