//! The step that counts: the kernel transaction in which a batch changes hands, and the token that says whether it did.

use super::{AT_TOKEN, failed};
use crate::manager::Manager;
use alloc::vec::Vec;
use hic_abi::switch::{Entry, EntryKind};
use hic_abi::{Handle, Rights, SELF, name_str};
use hic_migrate::CapSlot;
use hic_rt::sys;
use hic_update::{Failed, TokenAt, Who};
use module_manager::journal::Standing;

impl Manager {
    /// Where the batch token is.
    pub(super) fn token_at(&self) -> TokenAt {
        let has = |who: &Who| {
            self.party(*who).is_some_and(|index| {
                let record = &self.journal.records[index];
                sys::cap_info(record.instance.sandbox, record.token).is_ok()
            })
        };
        Who::BOTH.into_iter().find(has).map_or(TokenAt::Nowhere, TokenAt::Slot)
    }

    pub(super) fn drop_token(&self) {
        for index in Who::BOTH.into_iter().filter_map(|who| self.party(who)) {
            let record = &self.journal.records[index];
            let _ = sys::cap_delete(record.instance.sandbox, record.token);
        }
    }

    pub(super) fn place_token(&mut self, at: Who) -> Result<(), Failed> {
        self.drop_token();
        let index = self.party(at).ok_or(Failed { code: 0, at: AT_TOKEN })?;
        let record = &self.journal.records[index];
        let to = (record.instance.sandbox, record.token);
        sys::cap_copy(to, (SELF, self.journal.token), Rights::READ).map_err(|error| failed(AT_TOKEN, error))
    }

    /// The step that counts: all of a batch changes hands, or nothing.
    pub(super) fn transact(
        &mut self,
        from: Who,
        to: Who,
        caps: &[CapSlot],
        slots: &[u32],
        switch_service_ports: bool,
    ) -> Result<(), Failed> {
        let parties = self.party(from).zip(self.party(to));
        let (exporter, importer) =
            parties.filter(|_| caps.len() == slots.len()).ok_or(Failed { code: 0, at: 0 })?;
        let [from, to] = [exporter, importer].map(|index| self.journal.records[index]);
        let endpoint = to.provided().first().map_or(0, |endpoint| endpoint.slot);
        let entry = |kind: EntryKind, args: [u32; 4]| Entry { kind: kind as u64, args: args.map(u64::from) };
        let (giver, taker) = (from.instance.sandbox, to.instance.sandbox);
        let mut entries = Vec::new();
        // One whose object has ended since it was named has nothing to move; the importer copes without it.
        let lives = |cap: &CapSlot| sys::cap_info(giver, cap.slot).is_ok();
        for cap in caps.iter().filter(|cap| cap.is_port && lives(cap)) {
            entries.push(entry(EntryKind::SwitchPort, [giver, cap.slot, endpoint, 0]));
        }
        for (cap, slot) in caps.iter().zip(slots).filter(|(cap, _)| lives(cap)) {
            entries.push(entry(EntryKind::MoveCapability, [giver, cap.slot, taker, *slot]));
        }
        if switch_service_ports {
            let ports = self.service_ports(name_str(&from.info.name));
            entries.extend(
                ports.into_iter().map(|port| entry(EntryKind::SwitchPort, [SELF, port, endpoint, 0])),
            );
        }
        entries.push(entry(EntryKind::MoveCapability, [giver, from.token, taker, to.token]));
        sys::transaction(&entries).map_err(|(error, index)| failed(index as u64, error))?;
        if switch_service_ports {
            self.set_standing(importer, exporter);
        }
        Ok(())
    }

    /// The manager's slots of all ports that lead to this service.
    pub fn service_ports(&self, service: &str) -> Vec<Handle> {
        let ports = self.journal.services().iter().filter(|r| r.is_used()).flat_map(|r| r.client_ports());
        ports.filter(|port| name_str(&port.service) == service).map(|port| port.slot).collect()
    }

    pub fn set_standing(&mut self, default: usize, other: usize) {
        self.journal.records[default].standing = Standing::DEFAULT;
        self.journal.records[other].standing = Standing::OTHER;
    }
}
