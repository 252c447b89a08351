//! One child: how it is made, what it holds, how it comes back, how it goes without a trace.

use alloc::vec::Vec;

use hic_abi::object::SandboxSpec;
use hic_abi::start::Grant;
use hic_abi::{Error, Handle, ObjectType, Rights, SELF, name_bytes};
use hic_rt::loader::{Identity, Instance, LoadError, at};
use hic_rt::{cap, sys};

/// What an actor is made from.
#[derive(Clone, Copy, Debug)]
pub struct Casting {
    /// Its name, which is its role.
    pub name: &'static str,
    /// Slot of the account that pays for it.
    pub account: Handle,
    /// Scheduling priority, 0..=31.
    pub priority: u64,
    /// Capability slots: a power of two from 64 to 65,536.
    pub slots: u64,
    /// Heap pages.
    pub heap_pages: u64,
}

/// Stack pages of each actor: the loader's start page and log lines lie on the stack.
const STACK_PAGES: u64 = 8;

/// A child of the director.
pub struct Actor {
    name: &'static str,
    image: crate::Image,
    instance: Instance,
    grants: Vec<Grant>,
    shared: Vec<Handle>,
}

impl Actor {
    /// Makes its sandbox; it does not run yet.
    ///
    /// # Errors
    /// [`LoadError`] names the step that was refused.
    pub fn create(image: crate::Image, casting: &Casting) -> Result<Self, LoadError> {
        let spec = SandboxSpec {
            slots: casting.slots,
            priority: casting.priority,
            budget: 0,
            period: 0,
            hard_limit: 0,
            name: name_bytes(casting.name),
            purpose: name_bytes("test"),
        };
        let instance = Instance::create(casting.account, &spec, &image, STACK_PAGES, casting.heap_pages)?;
        Ok(Self { name: casting.name, image, instance, grants: Vec::new(), shared: Vec::new() })
    }

    /// Gives it a copy of a capability under a name; `place` is a region's (address, bytes) or (0, 0).
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn grant(
        &mut self,
        name: &str,
        slot: Handle,
        kind: ObjectType,
        rights: Rights,
        place: (u64, u64),
    ) -> Result<(), LoadError> {
        let to = self.instance.grant(slot, rights)?;
        self.note(name, to, kind, place);
        Ok(())
    }

    fn note(&mut self, name: &str, slot: Handle, kind: ObjectType, (address, length): (u64, u64)) {
        self.grants.push(Grant { name: name_bytes(name), slot, object_type: kind as u32, address, length });
    }

    /// Keeps its next slot empty, for a capability that is moved there later, and notes its name.
    pub fn reserve(&mut self, name: &str, kind: ObjectType) -> Handle {
        let slot = self.instance.next_slot;
        self.instance.next_slot += 1;
        self.note(name, slot, kind, (0, 0));
        slot
    }

    /// Gives it a region that is mapped for reading and writing at each start.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn share(&mut self, name: &str, region: Handle) -> Result<(), LoadError> {
        let place = sys::region_info(region).map_err(at("shared region"))?;
        self.shared.push(region);
        self.grant(name, region, ObjectType::Region, Rights::READ | Rights::WRITE, place)
    }

    /// Sends its faults to a port.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn watch(&self, port: Handle) -> Result<(), LoadError> {
        sys::sandbox_fault_port(self.instance.sandbox, port).map_err(at("fault port"))
    }

    /// Starts it, for the first time or after [`Actor::reset`].
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn start(&self) -> Result<(), LoadError> {
        for &region in &self.shared {
            sys::region_map(self.instance.sandbox, region, Rights::READ | Rights::WRITE)
                .map_err(at("map a shared region"))?;
        }
        let identity = Identity { name: self.name, version: env!("CARGO_PKG_VERSION"), clock: None };
        self.instance.start(&self.image, &identity, &self.grants)
    }

    /// Readies it, frozen, for another start over its capabilities.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn reset(&mut self) -> Result<(), LoadError> {
        self.instance.reset(&self.image)
    }

    /// Freezes it, as a crash would.
    ///
    /// # Errors
    /// [`Error::WrongState`]: it is frozen.
    pub fn freeze(&self) -> Result<(), Error> {
        sys::sandbox_freeze(self.instance.sandbox, 0)
    }

    /// Slot of its sandbox.
    #[must_use]
    pub fn sandbox(&self) -> Handle {
        self.instance.sandbox
    }

    /// Serial number of its sandbox.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.instance.serial
    }

    /// Ends it and gives back all that was made for it.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn destroy(self) -> Result<(), LoadError> {
        sys::destroy(SELF, self.instance.sandbox).map_err(at("destroy"))?;
        cap::release(self.instance.sandbox);
        cap::drop_slot(self.instance.region);
        Ok(())
    }
}
