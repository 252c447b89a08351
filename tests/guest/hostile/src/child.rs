//! A sandbox made from this image: under trial, or beside the one under trial.

use hic_abi::object::SandboxSpec;
use hic_abi::start::Grant;
use hic_abi::{Handle, ObjectType, Rights, SELF, name_bytes};
use hic_rt::loader::{Identity, Instance, LoadError, at};
use hic_rt::{cap, sys};
use hic_stage::Image;

/// Name under which a child finds the board in its start page.
pub const BOARD: &str = "board";
/// Its slots from here on are for what it makes itself.
pub const FREE_SLOTS: Handle = 48;
/// Slots of its space.
pub const SLOTS: u64 = 2048;

const STACK_PAGES: u64 = 6;
const HEAP_PAGES: u64 = 1;

/// How much of the processor a child has.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Its priority.
    pub priority: u64,
    /// Nanoseconds in each period; 0 = all.
    pub budget: u64,
    /// The period, nanoseconds.
    pub period: u64,
    /// Whether it stops when the budget is spent.
    pub hard: bool,
}

/// A child.
pub struct Child {
    name: &'static str,
    image: Image,
    instance: Instance,
}

impl Child {
    /// Makes it; it does not run yet and holds nothing.
    pub fn create(
        image: Image,
        account: Handle,
        name: &'static str,
        share: Share,
    ) -> Result<Self, LoadError> {
        let spec = SandboxSpec {
            slots: SLOTS,
            priority: share.priority,
            budget: share.budget,
            period: share.period,
            hard_limit: share.hard.into(),
            name: name_bytes(name),
            purpose: name_bytes("test"),
        };
        let mut instance = Instance::create(account, &spec, &image, STACK_PAGES, HEAP_PAGES)?;
        instance.next_slot = FREE_SLOTS;
        Ok(Self { name, image, instance })
    }

    /// Copies a capability of the director's into one of its slots.
    pub fn give(&self, slot: Handle, from: Handle, rights: Rights) -> Result<(), LoadError> {
        sys::cap_copy((self.instance.sandbox, slot), (SELF, from), rights).map_err(at("give a capability"))
    }

    /// Maps a region in it without giving it a capability.
    pub fn show(&self, region: Handle, rights: Rights) -> Result<u64, LoadError> {
        sys::region_map(self.instance.sandbox, region, rights).map_err(at("show a region"))
    }

    /// Starts it over the board at this address, with its faults going to this port.
    pub fn start(&self, board: u64, faults: Handle) -> Result<(), LoadError> {
        sys::sandbox_fault_port(self.instance.sandbox, faults).map_err(at("fault port"))?;
        let grant = Grant {
            name: name_bytes(BOARD),
            slot: 0,
            object_type: ObjectType::Region as u32,
            address: board,
            length: hic_abi::PAGE_SIZE,
        };
        let identity = Identity { name: self.name, version: env!("CARGO_PKG_VERSION"), clock: None };
        self.instance.start(&self.image, &identity, &[grant])
    }

    /// Slot of its sandbox.
    pub fn sandbox(&self) -> Handle {
        self.instance.sandbox
    }

    /// Serial number of its sandbox.
    pub fn serial(&self) -> u64 {
        self.instance.serial
    }

    /// Address of the first byte above its stack's guard page.
    pub fn stack(&self) -> u64 {
        self.instance.address + (self.image.memory_pages() as u64 + 1) * hic_abi::PAGE_SIZE
    }

    /// Address of its image, which begins with pages that can only be read.
    pub fn image(&self) -> u64 {
        self.instance.address
    }

    /// Ends it and gives back all that was made for it.
    pub fn destroy(self) -> Result<(), LoadError> {
        sys::destroy(SELF, self.instance.sandbox).map_err(at("destroy a child"))?;
        cap::release(self.instance.sandbox);
        cap::drop_slot(self.instance.region);
        Ok(())
    }
}
