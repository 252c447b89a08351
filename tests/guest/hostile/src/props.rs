//! The objects on which attempts and their controls work, made anew for each run.

use alloc::vec::Vec;

use hic_abi::object::{AccountSpec, DeviceInfo, SandboxSpec};
use hic_abi::{Error, Handle, ObjectType, PAGE_SIZE, Rights, SELF, name_bytes};
use hic_rt::loader::{LoadError, at, new_slot};
use hic_rt::{StartPage, cap, start, sys};

/// What a prop region holds in each word.
pub const SECRET: u64 = 0x5ec2_e75e_c2e7_5ec2;
/// Frames of a prop account.
pub const ACCOUNT_FRAMES: u64 = 96;
/// Objects of a prop account.
pub const ACCOUNT_OBJECTS: u64 = 48;
/// Turns after which all that ended must have been taken apart.
const TURNS: usize = 10_000;
/// Slot of a prop sandbox in which a notification lies.
pub const INNER_SLOT: Handle = 1;
/// I/O ports of a prop range: the second serial line, which nobody drives.
pub const IO_PORTS: (u16, u32) = (0x2f8, 8);

/// A capability that a child is given.
#[derive(Clone, Copy, Debug)]
pub struct Gift {
    /// The child's slot.
    pub slot: Handle,
    /// On an object of this type.
    pub kind: ObjectType,
    /// With these rights.
    pub rights: Rights,
    /// The object is destroyed, and another one of its type made in its place, before the child runs.
    pub stale: bool,
}

impl Gift {
    /// A capability on a live object.
    pub const fn new(slot: Handle, kind: ObjectType, rights: Rights) -> Self {
        Self { slot, kind, rights, stale: false }
    }
}

/// What all props come from.
#[derive(Clone, Copy)]
pub struct Source {
    /// The director's start page.
    pub page: &'static StartPage,
    /// Who pays.
    pub account: Handle,
    /// Where prop ports lead.
    pub echo: Handle,
    /// A device with MSI-X vectors.
    device: Handle,
    /// Number of its last memory BAR: the first one may hold nothing but the interrupt table, which is mapped nowhere.
    bar: u8,
}

impl Source {
    /// Finds the device.
    pub fn new(page: &'static StartPage, account: Handle, echo: Handle) -> Result<Self, LoadError> {
        let devices = start::grants(page).iter().filter(|g| g.object_type == ObjectType::Device as u32);
        for grant in devices {
            let info: DeviceInfo = sys::device_info(grant.slot).map_err(at("device info"))?;
            if let (true, Some(bar)) = (info.vectors > 0, info.bar_base.iter().rposition(|&base| base != 0)) {
                return Ok(Self { page, account, echo, device: grant.slot, bar: bar as u8 });
            }
        }
        Err(at("find a device with MSI-X")(Error::NotSupported))
    }

    fn grant(&self, kind: ObjectType) -> Handle {
        match kind {
            ObjectType::Device => self.device,
            _ => start::grants(self.page).iter().find(|g| g.object_type == kind as u32).map_or(0, |g| g.slot),
        }
    }

    fn make(&self, kind: ObjectType, slot: Handle) -> Result<(), Error> {
        let account = self.account;
        match kind {
            ObjectType::Account => {
                let name = name_bytes("prop");
                let spec = AccountSpec { frames: ACCOUNT_FRAMES, objects: ACCOUNT_OBJECTS, name };
                sys::create_account(account, slot, &spec)
            }
            ObjectType::Sandbox => self.make_sandbox(slot),
            ObjectType::Region => {
                let address = sys::create_region(account, slot, PAGE_SIZE)?;
                sys::region_map(SELF, slot, Rights::READ | Rights::WRITE)?;
                // SAFETY: the region was just made and mapped here alone; it is a page long.
                unsafe { core::slice::from_raw_parts_mut(address as *mut u64, 512) }.fill(SECRET);
                sys::region_unmap(SELF, slot)
            }
            ObjectType::Endpoint => sys::create_endpoint(account, slot),
            ObjectType::Port => sys::create_port(account, slot, self.echo, 1),
            ObjectType::Notification => {
                sys::create_notification(account, slot).and_then(|()| sys::signal(slot, 1))
            }
            ObjectType::IoPorts => {
                let whole = self.grant(ObjectType::IoPorts);
                sys::create_io_ports(account, slot, whole, IO_PORTS.0, IO_PORTS.1)
            }
            ObjectType::Mmio => sys::device_bar(self.device, self.bar, slot, account),
            _ => Err(Error::NotSupported),
        }
    }

    fn make_sandbox(&self, slot: Handle) -> Result<(), Error> {
        let spec = SandboxSpec {
            slots: 64,
            priority: 1,
            budget: 0,
            period: 0,
            hard_limit: 0,
            name: name_bytes("prop"),
            purpose: name_bytes("test"),
        };
        sys::create_sandbox(self.account, slot, &spec)?;
        let inner = cap::allocate().ok_or(Error::SlotUnusable)?;
        sys::create_notification(self.account, inner)?;
        cap::release(inner);
        sys::cap_move((slot, INNER_SLOT), (SELF, inner))
    }
}

/// The props of one run.
pub struct Props {
    source: Source,
    made: Vec<(ObjectType, Handle)>,
}

impl Props {
    /// None yet.
    pub fn new(source: Source) -> Self {
        Self { source, made: Vec::new() }
    }

    /// The director's slot of the prop of this type, which is made if there is none.
    pub fn get(&mut self, kind: ObjectType) -> Result<Handle, LoadError> {
        if let Some((_, slot)) = self.made.iter().find(|(made, _)| *made == kind) {
            return Ok(*slot);
        }
        match kind {
            ObjectType::Account
            | ObjectType::Sandbox
            | ObjectType::Region
            | ObjectType::Endpoint
            | ObjectType::Port
            | ObjectType::Notification
            | ObjectType::IoPorts
            | ObjectType::Mmio => {
                let slot = new_slot()?;
                self.source.make(kind, slot).map_err(at(kind.name()))?;
                self.made.push((kind, slot));
                Ok(slot)
            }
            _ => Ok(self.source.grant(kind)),
        }
    }

    /// Destroys the prop of this type and puts another one in its place.
    pub fn replace(&mut self, kind: ObjectType) -> Result<(), LoadError> {
        let slot = self.get(kind)?;
        sys::destroy(SELF, slot).map_err(at("destroy a prop"))?;
        self.source.make(kind, slot).map_err(at(kind.name()))
    }

    /// Takes all of them away: sandboxes first, since they hold others; accounts last, and only if nothing is charged to them.
    pub fn strike(mut self) -> Result<(), LoadError> {
        self.made.sort_by_key(|(kind, _)| match kind {
            ObjectType::Sandbox => 0,
            ObjectType::Account => 2,
            _ => 1,
        });
        for (_, slot) in self.made {
            match destroy(slot) {
                // Whoever was under trial may have destroyed it.
                Ok(()) | Err(Error::InvalidHandle) => {}
                Err(error) => return Err(at("strike a prop")(error)),
            }
            cap::drop_slot(slot);
        }
        Ok(())
    }
}

/// Destroys an object. An account still pays for sandboxes that ended with their last capability, until the kernel has taken them apart: it does
/// some of that whenever it chooses a thread.
fn destroy(slot: Handle) -> Result<(), Error> {
    let mut result = sys::destroy(SELF, slot);
    for _ in 0..TURNS {
        if result != Err(Error::WrongState) {
            break;
        }
        sys::yield_now();
        result = sys::destroy(SELF, slot);
    }
    result
}
