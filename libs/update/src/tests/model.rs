//! An instance as a set of numbers: what it keeps in its state region, and the migration trait over it.

use hic_migrate::{
    CapSlot, Exported, Health, Imported, Migrated, Migration, Prepare, Ready, Refusal, Share, Side,
};
use std::collections::BTreeSet;
use std::vec::Vec;

/// The capability that stands for the role.
pub const ROLE: u32 = 1_000_000;

/// A batch on its way: its number and what is in it.
pub type Batch = Option<(u64, BTreeSet<u32>)>;

/// What lies in an instance's state region: it outlives the instance.
#[derive(Clone, Debug, Default)]
pub struct Region {
    /// What it serves: items, maybe the role.
    pub own: BTreeSet<u32>,
    pub leaving: Batch,
    pub incoming: Batch,
    pub migrated: u64,
    pub completed: u64,
    /// It was told that it is alone.
    pub alone: bool,
}

impl Region {
    /// What this side owns when nobody runs: the rules of the crate's documentation.
    pub fn claims(&self, peer: &Region, has_token: bool, given_up: bool) -> BTreeSet<u32> {
        let mut all = self.own.clone();
        if let Some((batch, items)) = &self.leaving
            && (has_token || given_up)
            && peer.migrated != *batch
        {
            all.extend(items);
        }
        if let Some((batch, items)) = &self.incoming
            && (peer.completed == *batch || has_token && !(given_up && peer.does_not_give(*batch)))
        {
            all.extend(items);
        }
        all
    }

    fn does_not_give(&self, batch: u64) -> bool {
        self.leaving.as_ref().is_none_or(|(leaving, _)| *leaving != batch)
    }

    /// What the restart of an instance does with its region.
    pub fn restore(&mut self, has_token: bool) {
        if has_token {
            return;
        }
        self.incoming = None;
        if let Some((batch, _)) = self.leaving.take() {
            self.completed = batch;
        }
    }
}

/// An instance that answers a question.
pub struct Instance<'a> {
    pub region: &'a mut Region,
    pub side: &'a mut Option<Side>,
    pub peer: &'a Region,
    pub has_token: bool,
    pub sick: bool,
}

fn caps(items: &BTreeSet<u32>) -> Vec<CapSlot> {
    items.iter().map(|item| CapSlot { slot: *item, is_port: *item == ROLE || item % 2 == 0 }).collect()
}

impl Instance<'_> {
    fn must_be(&self, side: Side) -> Result<(), Refusal> {
        if *self.side == Some(side) { Ok(()) } else { Err(Refusal::NotPrepared) }
    }

    fn choose(&self, share: Share) -> BTreeSet<u32> {
        let own = self.region.own.iter().copied();
        match share {
            Share::Role => own.filter(|item| *item == ROLE).collect(),
            Share::Items { wave, max } => {
                let fits = |item: &u32| *item != ROLE && item % 4 <= wave as u32;
                own.filter(fits).take(max.into()).collect()
            }
            Share::Everything { .. } => BTreeSet::new(),
        }
    }

    /// What is left in the region of a peer that is dead for good.
    fn salvage(&self, max: u16) -> (BTreeSet<u32>, u64) {
        let mut all = self.peer.own.clone();
        if let Some((batch, items)) = &self.peer.leaving
            && self.region.migrated != *batch
        {
            all.extend(items);
        }
        if let Some((batch, items)) = &self.peer.incoming
            && self.region.completed == *batch
        {
            all.extend(items);
        }
        let left: Vec<u32> = all.difference(&self.region.own).copied().collect();
        let taken: BTreeSet<u32> = left.iter().copied().take(max.into()).collect();
        let rest = left.len() - taken.len();
        (taken, rest as u64)
    }
}

impl Migration for Instance<'_> {
    fn prepare_migration(&mut self, plan: &Prepare) -> Result<Ready, Refusal> {
        *self.side = Some(plan.side);
        self.region.alone = false;
        Ok(Ready { protocol: 1, items: self.region.own.iter().filter(|item| **item != ROLE).count() as u64 })
    }

    fn export_state(&mut self, batch: u64, share: Share) -> Result<Exported, Refusal> {
        self.must_be(Side::Exporter)?;
        let items = match &self.region.leaving {
            Some((current, items)) if *current == batch => items.clone(),
            Some((current, _)) => return Err(Refusal::WrongBatch { current: *current }),
            None => self.choose(share),
        };
        self.region.own.retain(|item| !items.contains(item));
        let left = self.region.own.iter().filter(|item| **item != ROLE).count() as u64;
        if !items.is_empty() {
            self.region.leaving = Some((batch, items.clone()));
        }
        Ok(Exported { items: items.len() as u64, left, caps: caps(&items) })
    }

    fn import_state(&mut self, batch: u64, share: Share) -> Result<Imported, Refusal> {
        self.must_be(Side::Importer)?;
        if let (true, Some((_, items))) = (self.has_token, &self.region.incoming) {
            // It is this one's own already, and to be migrated: the engine never asks for another before.
            return Err(Refusal::Corrupt { item: items.len() as u64 });
        }
        let (items, left, from) = match (share, &self.peer.leaving) {
            (Share::Everything { max }, _) => {
                let (items, left) = self.salvage(max);
                let from = caps(&items);
                (items, left, from)
            }
            (_, Some((leaving, items))) if *leaving == batch => (items.clone(), 0, Vec::new()),
            _ => return Err(Refusal::Corrupt { item: 0 }),
        };
        if !items.is_empty() {
            self.region.incoming = Some((batch, items.clone()));
        }
        Ok(Imported { items: items.len() as u64, left, slots: items.iter().copied().collect(), from })
    }

    fn migrate_connection(&mut self, batch: u64) -> Result<Migrated, Refusal> {
        match self.region.incoming.take() {
            Some((current, items)) if current == batch && self.has_token => {
                let count = items.iter().filter(|item| **item != ROLE).count() as u64;
                self.region.own.extend(items);
                self.region.migrated = batch;
                Ok(Migrated { items: count, lost: 0, longest_freeze: 7, total_freeze: count * 5 })
            }
            other => {
                self.region.incoming = other;
                let again = Migrated { items: 0, lost: 0, longest_freeze: 7, total_freeze: 0 };
                let wrong = Refusal::WrongBatch { current: 0 };
                if self.region.migrated == batch { Ok(again) } else { Err(wrong) }
            }
        }
    }

    fn complete_migration(&mut self, batch: u64) -> Result<(), Refusal> {
        match &self.region.leaving {
            Some((current, _)) if *current == batch && !self.has_token => {
                self.region.leaving = None;
                self.region.completed = batch;
                Ok(())
            }
            _ if self.region.completed == batch => Ok(()),
            _ => Err(Refusal::WrongBatch { current: 99 }),
        }
    }

    fn abort_migration(&mut self, batch: u64) -> Result<(), Refusal> {
        match (&self.region.leaving, &self.region.incoming) {
            (Some((current, items)), _) if *current == batch && self.has_token => {
                self.region.own.extend(items);
                self.region.leaving = None;
                Ok(())
            }
            (_, Some((current, _))) if *current == batch && !self.has_token => {
                self.region.incoming = None;
                Ok(())
            }
            _ => Err(Refusal::WrongBatch { current: 0 }),
        }
    }

    fn check(&mut self) -> Health {
        Health { failed: u64::from(self.sick) * 3, ..Health::default() }
    }

    fn commit(&mut self, _: bool) {
        self.region.alone = true;
        *self.side = None;
    }

    fn shutdown(&mut self) {}
}
