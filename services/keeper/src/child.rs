//! One of the two sandboxes that the keeper keeps: how it is made, what it holds, and how it comes back.

use hic_abi::object::{AccountSpec, SandboxSpec};
use hic_abi::start::Grant;
use hic_abi::{Error, Handle, ObjectType, PAGE_SIZE, Rights, name_bytes};
use hic_control::grants;
use hic_hicmod::container::Container;
use hic_hicmod::{Archive, Image};
use hic_rt::loader::{GrantList, Identity, Instance, LoadError, at, new_slot};
use hic_rt::{StartPage, clock, start, sys};

/// More restarts than this within [`WINDOW`] mean that a restart does not help.
const MAX_RESTARTS: u64 = 10;
/// Nanoseconds.
const WINDOW: u64 = 10_000_000_000;
/// The module's version as the console shows it.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a child needs; fixed here, because the keeper reads no manifest.
pub struct Plan {
    /// Name of its module in the boot archive.
    pub name: &'static str,
    /// Scheduling priority.
    pub priority: u64,
    /// Capability slots.
    pub slots: u64,
    /// Stack pages.
    pub stack_pages: u64,
    /// Heap pages.
    pub heap_pages: u64,
    /// Name and pages of the region that outlives its restarts.
    pub state: (&'static str, u64),
}

/// A child and everything that is needed to start it again.
pub struct Child {
    plan: &'static Plan,
    image: Image<'static>,
    instance: Instance,
    grants: GrantList,
    state: Handle,
    window: u64,
    in_window: u64,
}

impl Child {
    /// Makes its account, its sandbox and its state region.
    pub fn create(
        plan: &'static Plan,
        root: Handle,
        frames: u64,
        objects: u64,
        archive: &Archive<'static>,
    ) -> Result<Self, LoadError> {
        let image = find_image(archive, plan.name)?;
        let account = new_slot()?;
        let spec = AccountSpec { frames, objects, name: name_bytes(plan.name) };
        sys::create_account(root, account, &spec).map_err(at("account"))?;
        let sandbox = SandboxSpec {
            slots: plan.slots,
            priority: plan.priority,
            budget: 0,
            period: 0,
            hard_limit: 0,
            name: name_bytes(plan.name),
            purpose: name_bytes("boot"),
        };
        let instance = Instance::create(account, &sandbox, &image, plan.stack_pages, plan.heap_pages)?;
        let state = new_slot()?;
        let address =
            sys::create_region(account, state, plan.state.1 * PAGE_SIZE).map_err(at("state region"))?;
        let mut child =
            Self { plan, image, instance, grants: GrantList::new(), state, window: 0, in_window: 0 };
        let length = plan.state.1 * PAGE_SIZE;
        child.grant(plan.state.0, state, ObjectType::Region, Rights::all(), (address, length))?;
        child.grant(grants::ACCOUNT, account, ObjectType::Account, Rights::all(), (0, 0))?;
        Ok(child)
    }

    /// Gives it a capability under a name.
    pub fn grant(
        &mut self,
        name: &str,
        slot: Handle,
        kind: ObjectType,
        rights: Rights,
        (address, length): (u64, u64),
    ) -> Result<(), LoadError> {
        let to = self.instance.grant(slot, rights)?;
        self.grants.add(Grant { name: name_bytes(name), slot: to, object_type: kind as u32, address, length })
    }

    /// Gives it a port to an endpoint.
    pub fn grant_port(
        &mut self,
        name: &str,
        root: Handle,
        endpoint: Handle,
        badge: u64,
    ) -> Result<(), LoadError> {
        let port = new_slot()?;
        sys::create_port(root, port, endpoint, badge).map_err(at("port"))?;
        self.grant(name, port, ObjectType::Port, Rights::SEND | Rights::COPY, (0, 0))
    }

    /// Sends its faults to the keeper.
    pub fn watch(&mut self, root: Handle, endpoint: Handle, badge: u64) -> Result<(), LoadError> {
        let port = new_slot()?;
        sys::create_port(root, port, endpoint, badge).map_err(at("fault port"))?;
        sys::sandbox_fault_port(self.instance.sandbox, port).map_err(at("fault port"))
    }

    /// Starts it, for the first time or after a reset.
    pub fn start(&self, page: &StartPage) -> Result<(), LoadError> {
        sys::region_map(self.instance.sandbox, self.state, Rights::READ | Rights::WRITE)
            .map_err(at("map the state region"))?;
        let clock = start::find(page, "clock").map(|g| g.slot);
        let identity = Identity { name: self.plan.name, version: VERSION, clock };
        self.instance.start(&self.image, &identity, self.grants.as_slice())
    }

    /// Starts it again over its capabilities and its state.
    pub fn restart(&mut self, page: &StartPage) -> Result<(), LoadError> {
        let now = clock::now();
        if now.saturating_sub(self.window) > WINDOW {
            (self.window, self.in_window) = (now, 0);
        }
        self.in_window += 1;
        if self.in_window > MAX_RESTARTS {
            return Err(LoadError::Kernel { step: "restarted too often", error: Error::WrongState });
        }
        self.instance.reset(&self.image)?;
        self.start(page)
    }

    /// Freezes it, as a crash would, at its `calls`th system call from now; 0 = at once.
    pub fn freeze(&self, calls: u64) -> Result<(), Error> {
        match calls {
            0 => sys::sandbox_freeze(self.instance.sandbox, 1),
            calls => sys::sandbox_fuse(self.instance.sandbox, calls, 1),
        }
    }

    /// Serial number of its sandbox.
    pub fn serial(&self) -> u64 {
        self.instance.serial
    }

    /// How often it was started again.
    pub fn restarts(&self) -> u64 {
        self.instance.restarts
    }
}

fn find_image(archive: &Archive<'static>, name: &'static str) -> Result<Image<'static>, LoadError> {
    let missing = || LoadError::Kernel { step: name, error: Error::NotSupported };
    let file = archive.find(name).ok_or_else(missing)?.bytes().map_err(|_| missing())?;
    let container = Container::parse(file).map_err(|_| missing())?;
    let image = container.image().ok_or_else(missing)?.map_err(LoadError::Image)?;
    // The keeper makes one endpoint for each child, of the child's name: a program that serves something else could not be asked.
    if !image.exports().iter().eq([name]) {
        return Err(LoadError::Kernel { step: "services of a kept module", error: Error::InvalidArgument });
    }
    Ok(image)
}
