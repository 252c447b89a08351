//! The storage service as the module manager would make it: with the disk, its DMA memory, and a channel.

use crate::failure::Failure;
use alloc::vec::Vec;
use hic_abi::object::{AccountSpec, SandboxSpec};
use hic_abi::start::Grant;
use hic_abi::{Handle, ObjectType, PAGE_SIZE, Rights, name_bytes, name_str};
use hic_control::grants;
use hic_hicmod::Archive;
use hic_hicmod::container::Container;
use hic_rt::loader::{Identity, Instance, LoadError, new_slot};
use hic_rt::region::Mapped;
use hic_rt::{StartPage, start, sys};
use hic_stage::Image;
use hic_stage::refused;

/// Name of the module.
const NAME: &str = "vault";
/// A virtio disk: vendor | device << 16.
const DISK: u64 = 0x1af4 | 0x1042 << 16;
/// As in the module's manifest.
const STACK_PAGES: u64 = 16;
const HEAP_PAGES: u64 = 64;
const DMA_PAGES: u64 = 8;
const SLOTS: u64 = 64;
const PRIORITY: u64 = 12;
/// Frames of its account, and kernel objects.
const FRAMES: u64 = 1024;
const OBJECTS: u64 = 64;
/// Bit of the bell.
pub const ANSWERED: u64 = 1;
/// Most bytes of one read.
pub const WINDOW: u64 = 256 * 1024;

/// The service and what is shared with it.
pub struct Service {
    image: Image,
    instance: Instance,
    grants: Vec<Grant>,
    /// Regions that it has mapped.
    shared: [Handle; 3],
    /// The channel, mapped here too.
    pub channel: Mapped,
    /// Where it puts parts of files, mapped here too.
    pub window: Mapped,
    /// Port to its endpoint.
    pub port: Handle,
    /// Notification that it signals.
    pub bell: Handle,
    /// Where its faults arrive.
    pub faults: Handle,
}

impl Service {
    /// Makes it and starts it.
    #[inline(never)]
    pub fn create(page: &'static StartPage) -> Result<Self, Failure> {
        hic_stage::own_image(page)?;
        let image = image(page)?;
        let account = new_slot()?;
        let spec = AccountSpec { frames: FRAMES, objects: OBJECTS, name: name_bytes(NAME) };
        let root = start::require(page, "account:root").slot;
        sys::create_account(root, account, &spec).map_err(refused("account"))?;
        let spec = SandboxSpec {
            slots: SLOTS,
            priority: PRIORITY,
            budget: 0,
            period: 0,
            hard_limit: 0,
            name: name_bytes(NAME),
            purpose: name_bytes("test"),
        };
        let instance = Instance::create(account, &spec, &image, STACK_PAGES, HEAP_PAGES)?;
        let region = |bytes| region(account, bytes);
        let (dma, channel, window) =
            (region(DMA_PAGES * PAGE_SIZE)?, region(hic_channel::BYTES as u64)?, region(WINDOW)?);
        let map = |slot| Mapped::map(slot, Rights::READ | Rights::WRITE).map_err(refused("map"));
        let [endpoint, port, bell, faults, fault_port] = slots()?;
        sys::create_endpoint(account, endpoint).map_err(refused("endpoint"))?;
        sys::create_endpoint(account, faults).map_err(refused("endpoint"))?;
        sys::create_port(account, port, endpoint, 0).map_err(refused("port"))?;
        sys::create_port(account, fault_port, faults, 0).map_err(refused("port"))?;
        sys::create_notification(account, bell).map_err(refused("notification"))?;
        sys::bind_notification(bell).map_err(refused("bind"))?;
        sys::sandbox_fault_port(instance.sandbox, fault_port).map_err(refused("fault port"))?;
        let (channel_here, window_here) = (map(channel)?, map(window)?);
        let mut service = Self {
            image,
            instance,
            grants: Vec::new(),
            shared: [dma, channel, window],
            channel: channel_here,
            window: window_here,
            port,
            bell,
            faults,
        };
        service.grant_all(page, endpoint)?;
        service.start()?;
        Ok(service)
    }

    fn grant_all(&mut self, page: &'static StartPage, endpoint: Handle) -> Result<(), Failure> {
        let both = Rights::READ | Rights::WRITE;
        let account = self.instance.account;
        let receive = Rights::RECEIVE | Rights::MANAGE;
        self.grant(grants::ACCOUNT, account, ObjectType::Account, Rights::CHARGE, (0, 0))?;
        self.grant("endpoint:vault", endpoint, ObjectType::Endpoint, receive, (0, 0))?;
        let device = start::grants(page)
            .iter()
            .find(|grant| name_str(&grant.name) == grants::DEVICE && grant.address == DISK)
            .ok_or(Failure::Wrong("this machine has no virtio disk"))?;
        let device_rights = Rights::READ | Rights::MANAGE;
        self.grant(grants::DEVICE, device.slot, ObjectType::Device, device_rights, (DISK, 0))?;
        let [dma, channel, _] = self.shared;
        for (name, slot) in [(grants::DMA, dma), (grants::CHANNEL, channel)] {
            let place = sys::region_info(slot).map_err(refused("region"))?;
            self.grant(name, slot, ObjectType::Region, both, place)?;
        }
        self.grant(grants::BELL, self.bell, ObjectType::Notification, Rights::SEND, (ANSWERED, 0))
    }

    fn grant(
        &mut self,
        name: &str,
        slot: Handle,
        kind: ObjectType,
        rights: Rights,
        (address, length): (u64, u64),
    ) -> Result<(), Failure> {
        let slot = self.instance.grant(slot, rights)?;
        let name = name_bytes(name);
        self.grants.push(Grant { name, slot, object_type: kind as u32, address, length });
        Ok(())
    }

    #[inline(never)]
    fn start(&self) -> Result<(), Failure> {
        for region in self.shared {
            sys::region_map(self.instance.sandbox, region, Rights::READ | Rights::WRITE)
                .map_err(refused("map into the service"))?;
        }
        let identity = Identity { name: NAME, version: "0.1.0", clock: None };
        Ok(self.instance.start(&self.image, &identity, &self.grants)?)
    }

    /// Starts it again over its capabilities, after it died.
    pub fn restart(&mut self) -> Result<(), Failure> {
        self.instance.reset(&self.image)?;
        self.start()
    }

    /// Kills it at its `calls`th system call from now.
    pub fn kill_at(&self, calls: u64) -> Result<(), Failure> {
        Ok(sys::sandbox_fuse(self.instance.sandbox, calls, 0).map_err(refused("fuse"))?)
    }

    /// How often it was started again.
    pub fn restarts(&self) -> u64 {
        self.instance.restarts
    }
}

fn slots() -> Result<[Handle; 5], LoadError> {
    let mut slots = [0; 5];
    for slot in &mut slots {
        *slot = new_slot()?;
    }
    Ok(slots)
}

fn region(account: Handle, bytes: u64) -> Result<Handle, Failure> {
    let slot = new_slot()?;
    sys::create_region(account, slot, bytes).map_err(refused("region"))?;
    Ok(slot)
}

/// The service's image in the boot archive, which [`hic_stage::own_image`] has mapped.
fn image(page: &StartPage) -> Result<Image, Failure> {
    let archive = start::require(page, "archive");
    // SAFETY: the region holds the boot archive, `length` bytes long, mapped read-only; nobody can write it any more.
    let bytes = unsafe { core::slice::from_raw_parts(archive.address as *const u8, archive.length as usize) };
    let damaged = Failure::Wrong("the boot archive holds no storage service");
    let archive = Archive::parse(bytes).map_err(|_| damaged)?;
    let file = archive.find(NAME).ok_or(damaged)?.bytes().map_err(|_| damaged)?;
    let container = Container::parse(file).map_err(|_| damaged)?;
    let image = container.image().ok_or(damaged)?;
    Ok(image.map_err(LoadError::Image)?)
}
