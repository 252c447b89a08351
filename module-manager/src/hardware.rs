//! Hardware and system authority: what a manifest names is looked up among the manager's own grants and passed on.

use crate::manager::{Manager, StartError, at};
use hic_abi::start::Grant;
use hic_abi::{ObjectType, Rights, name_str};
use hic_control::grants;
use hic_hicmod::manifest::{Authority, Manifest};
use hic_rt::loader::new_slot;
use hic_rt::{start, sys};

impl Manager {
    /// Grants devices, I/O ports, interrupts and system authority.
    pub fn grant_hardware(&mut self, index: usize, manifest: &Manifest) -> Result<(), StartError> {
        for device in &manifest.devices {
            let wanted =
                |id: u64| device.ids.iter().any(|d| u64::from(d.vendor) | u64::from(d.device) << 16 == id);
            let free = |slot: &u32| !self.is_given_away(*slot);
            let found = start::grants(self.page)
                .iter()
                .filter(|g| name_str(&g.name) == grants::DEVICE && wanted(g.address))
                .find(|g| free(&g.slot))
                .copied()
                .ok_or(StartError::NoDevice)?;
            self.pass_on(index, &found, Rights::READ | Rights::MANAGE)?;
            self.journal.records[index].hold(found.slot);
            if device.dma_pages > 0 {
                self.grant_region(index, grants::DMA, u64::from(device.dma_pages))?;
            }
        }
        self.grant_io_ports(index, manifest)?;
        for &line in &manifest.irqs {
            let found = start::grants(self.page)
                .iter()
                .find(|g| name_str(&g.name) == grants::IRQ && g.address == u64::from(line))
                .copied()
                .ok_or(StartError::NoAuthority("interrupt line of this number"))?;
            self.pass_on(index, &found, Rights::READ | Rights::MANAGE)?;
        }
        self.grant_authority(index, manifest)
    }

    /// Whether a device is in some service's hands.
    fn is_given_away(&self, slot: u32) -> bool {
        self.journal.services().iter().any(|r| r.held_slots().contains(&slot))
    }

    fn grant_io_ports(&mut self, index: usize, manifest: &Manifest) -> Result<(), StartError> {
        let whole = start::require(self.page, grants::IO_PORTS).slot;
        for range in &manifest.ioports {
            let slot = new_slot()?;
            sys::create_io_ports(self.account, slot, whole, range.base, range.len.into())
                .map_err(at("I/O ports"))?;
            if !self.journal.records[index].hold(slot) {
                return Err(StartError::TooMuch("capabilities"));
            }
            let place = (u64::from(range.base), u64::from(range.len));
            let rights = Rights::READ | Rights::WRITE;
            self.grant_named(index, grants::IO_PORTS, slot, ObjectType::IoPorts, rights, place)?;
        }
        Ok(())
    }

    fn grant_authority(&mut self, index: usize, manifest: &Manifest) -> Result<(), StartError> {
        let mut audit = Rights::empty();
        audit.set(Rights::READ, manifest.has_authority(Authority::Audit));
        audit.set(Rights::INSPECT, manifest.has_authority(Authority::Inspect));
        let wanted = [
            (grants::AUDIT, audit),
            (grants::LOG, rights_if(manifest, Authority::LogRead, Rights::READ | Rights::MANAGE)),
            (grants::ENTROPY, rights_if(manifest, Authority::Entropy, Rights::READ)),
            (grants::POWER, rights_if(manifest, Authority::Power, Rights::MANAGE)),
        ];
        for (name, rights) in wanted {
            if rights.is_empty() {
                continue;
            }
            let grant = *start::find(self.page, name).ok_or(StartError::NoAuthority("system authority"))?;
            self.pass_on(index, &grant, rights)?;
        }
        Ok(())
    }

    fn pass_on(&mut self, index: usize, grant: &Grant, rights: Rights) -> Result<(), StartError> {
        let kind = ObjectType::from_number(grant.object_type.into())
            .ok_or(StartError::NoAuthority("object of a known type"))?;
        let place = (grant.address, grant.length);
        self.grant_named(index, name_str(&grant.name), grant.slot, kind, rights, place)
    }
}

fn rights_if(manifest: &Manifest, authority: Authority, rights: Rights) -> Rights {
    if manifest.has_authority(authority) { rights } else { Rights::empty() }
}
