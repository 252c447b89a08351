//! Devices: their interrupts, windows on their registers, I/O ports, and what they reach by DMA (`docs/book/memory.md`).
//!
//! A region is mapped in a device as in a sandbox. The device holds nothing, so such a mapping lasts while whoever made it holds the region and,
//! with MANAGE, the device.

use super::state::{Body, Id, Irq, Model, Region};
use hic_abi::object::DeviceInfo;
use hic_abi::{Error, ObjectType, PAGE_SIZE, Plain, Rights};
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

/// What the ports of the test machine answer.
const PORT_ANSWERS: u64 = 0x5a;

/// A PCI function.
#[derive(Debug)]
pub struct Device {
    /// What the machine says of it.
    pub info: DeviceInfo,
    /// Pages of its first BAR that hold its interrupt table, which nobody maps.
    pub hidden: core::ops::Range<u64>,
    /// Whether it may use the bus.
    pub masters: bool,
}

/// An access to an I/O port: port, width, what was written.
pub type PortAccess = (u16, u8, Option<u32>);

impl Model {
    pub fn do_device_info(&mut self, caller: Id, device: u64, address: u64) -> Result<u64, Error> {
        let device = self.object(caller, device, ObjectType::Device, Rights::READ)?;
        let info = self.device(device).info;
        let physical = self.range(caller, address, size_of::<DeviceInfo>() as u64, true)?;
        self.write_bytes(physical, info.as_bytes());
        Ok(0)
    }

    pub fn do_master(&mut self, caller: Id, device: u64, on: u64) -> Result<u64, Error> {
        let device = self.object(caller, device, ObjectType::Device, Rights::MANAGE)?;
        self.device_mut(device).masters = on != 0;
        Ok(0)
    }

    pub fn do_vector(&mut self, caller: Id, args: [u64; 5]) -> Result<u64, Error> {
        let [device, entry, slot, account, _] = args;
        let device = self.object(caller, device, ObjectType::Device, Rights::MANAGE)?;
        let account = self.object(caller, account, ObjectType::Account, Rights::CHARGE)?;
        let place = self.vacant(caller, slot)?;
        if entry >= self.device(device).info.vectors {
            return Err(Error::InvalidArgument);
        }
        if self.all(ObjectType::Irq).iter().any(|irq| self.irq(*irq).entry == Some(entry)) {
            return Err(Error::Busy);
        }
        let irq = self.charged(account, Body::Irq(Irq { entry: Some(entry), ..Irq::default() }))?;
        self.give(place, irq, Rights::all(), None);
        Ok(0)
    }

    pub fn do_bar(&mut self, caller: Id, args: [u64; 5]) -> Result<u64, Error> {
        let [device, bar, slot, account, _] = args;
        let device = self.object(caller, device, ObjectType::Device, Rights::MANAGE)?;
        let account = self.object(caller, account, ObjectType::Account, Rights::CHARGE)?;
        let place = self.vacant(caller, slot)?;
        let Device { info, hidden, .. } = self.device(device);
        let base = *info.bar_base.get(bar as usize).ok_or(Error::InvalidArgument)?;
        if base == 0 {
            return Err(Error::NotSupported);
        }
        let pages = info.bar_size[bar as usize] / PAGE_SIZE;
        let window = Some(if bar == 0 { hidden.clone() } else { 0..0 });
        let region = Region { base, pages, seal: None, clock: false, window };
        let region = self.charged(account, Body::Region(region))?;
        self.give(place, region, Rights::all(), None);
        Ok(0)
    }

    /// `value`: what to write; `None` reads.
    pub fn do_port(&mut self, t: Id, caller: Id, args: [u64; 3], value: Option<u64>) -> Result<u64, Error> {
        let [range, port, width] = args;
        let rights = if value.is_some() { Rights::WRITE } else { Rights::READ };
        let range = self.object(caller, range, ObjectType::IoPorts, rights)?;
        let Body::Ports(first, count) = self.objects[&range].body else {
            panic!("{range} is no range of ports")
        };
        let end = port.checked_add(width).ok_or(Error::InvalidArgument)?;
        if ![1, 2, 4].contains(&width) || port < first || end > first + count {
            return Err(Error::InvalidArgument);
        }
        self.ports.push((port as u16, width as u8, value.map(|value| value as u32)));
        if value.is_none() {
            self.thread_mut(t).registers.rdi = PORT_ANSWERS;
        }
        Ok(0)
    }

    /// Whose account pays for what a device reaches: that of whoever mapped there first.
    pub fn payer_of(&self, device: Id) -> Option<Id> {
        let maker = self.mappings.iter().find(|m| m.space == device)?.maker?;
        self.objects[&maker].payer
    }

    /// Page tables that a device needs of its own: one for each 2 MiB and each 1 GiB of what it reaches. Without an IOMMU it has none.
    pub fn tables_of_device(&self, device: Id) -> u64 {
        if !self.confined {
            return 0;
        }
        let mut tables = BTreeSet::new();
        for page in self.reach(device).into_keys() {
            tables.extend([(21, page >> 21), (30, page >> 30)]);
        }
        tables.len() as u64
    }

    /// A mapping goes that nobody gave up. Without an IOMMU a device that may know the memory is off the bus first.
    pub fn withdraw(&mut self, goes: impl Fn(&Self, &super::state::Mapping) -> bool) {
        let (gone, kept): (Vec<_>, Vec<_>) = self.mappings.iter().copied().partition(|m| goes(self, m));
        self.mappings = kept;
        for mapping in gone {
            if !self.confined && self.kind(mapping.space) == ObjectType::Device {
                self.device_mut(mapping.space).masters = false;
            }
        }
    }

    /// A sandbox has one capability on a device less.
    pub fn lost_device(&mut self, sandbox: Id, device: Id) {
        let manages = self.caps.iter().any(|(place, cap)| {
            place.0 == sandbox && cap.object == device && cap.rights.contains(Rights::MANAGE)
        });
        if !manages {
            self.withdraw(|_, m| m.space == device && m.maker == Some(sandbox));
        }
    }

    /// Which vectors of the device are led to somebody.
    pub fn vectors(&self) -> BTreeMap<u64, Id> {
        let irqs = self.all(ObjectType::Irq).into_iter();
        irqs.filter_map(|id| self.irq(id).entry.map(|entry| (entry, id))).collect()
    }
}
