//! What of the processor is promised to whom. Nothing of it is kept anywhere but with the instances and the update under way, so what was reserved is
//! free again as soon as they are gone, also after a restart of the manager.

use crate::manager::Manager;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use hic_abi::name_str;
use hic_rt::sys;
use hic_update::processor::{Holder, Holders, Short, WARM_UP, free, room, update_holds, update_needs};
use hic_update::{Quota, Who};
use module_manager::shares::share;

impl Manager {
    /// Thousandths of the processor that are reserved for the instance in a record.
    pub fn promised(&self, index: usize) -> u64 {
        match self.side_of(index).filter(|_| self.reserves()) {
            None => self.journal.records[index].info.guarantee,
            Some(who) => {
                let [service, beside] =
                    update_holds(self.guarantee_of(Who::Old), self.guarantee_of(Who::New));
                let serves = self.update.as_ref().is_some_and(|running| running.engine.role_at() == who);
                if serves { service } else { beside }
            }
        }
    }

    fn reserves(&self) -> bool {
        self.update.as_ref().is_some_and(|running| running.engine.reserves())
    }

    /// What an instance of the update under way is guaranteed, or is to be.
    fn guarantee_of(&self, who: Who) -> u64 {
        match self.party(who) {
            Some(index) => self.journal.records[index].info.guarantee,
            None if who == Who::New => self.new_guarantee(),
            None => 0,
        }
    }

    /// What the version that the update is to make is guaranteed.
    fn new_guarantee(&self) -> u64 {
        self.new_module().map_or(0, |module| self.guarantee(module))
    }

    /// What a module is guaranteed: asked for and allowed.
    pub fn guarantee(&self, module: usize) -> u64 {
        self.decide(&self.modules[module].module.manifest).granted.guarantee()
    }

    /// What the update that is being checked needs beyond what its service has.
    pub fn update_needs(&self) -> u64 {
        update_needs(self.guarantee_of(Who::Old), self.new_guarantee())
    }

    /// Who holds how much.
    fn holders(&self) -> Vec<(String, u64)> {
        let used = (0..self.journal.count as usize).filter(|index| self.journal.records[*index].is_used());
        let holder = |index: usize| {
            let name = name_str(&self.journal.records[index].info.name);
            let beside = self.side_of(index).is_some_and(|who| {
                self.update.as_ref().is_some_and(|running| running.engine.role_at() != who)
            });
            (format!("{}{name}", if beside { "the update of " } else { "" }), self.promised(index))
        };
        let mut holders: Vec<_> = used.map(holder).collect();
        if self.reserves() && self.party(Who::New).is_none() {
            holders.push(("the update under way".into(), WARM_UP));
        }
        holders
    }

    /// What nobody holds, or nobody but this service.
    pub fn free_processor(&self, but_for: Option<&str>) -> u64 {
        let holders = self.holders();
        let others = holders.iter().filter(|(name, _)| but_for != Some(name.as_str()));
        free(others.map(|(name, guarantee)| Holder { name, guarantee: *guarantee }))
    }

    /// Who holds how much, in words.
    pub fn held_by(&self) -> String {
        let holders = self.holders();
        let holders: Vec<_> =
            holders.iter().map(|(name, guarantee)| Holder { name, guarantee: *guarantee }).collect();
        format!("{}", Holders(&holders))
    }

    /// Whether a module that is to be started at boot can have its guarantee.
    pub fn has_processor_for(&self, module: usize) -> Result<(), Short> {
        room(self.free_processor(None), self.guarantee(module))
    }

    /// Lets an instance of the update under way run with this share from now on.
    pub fn set_share(&self, who: Who, quota: Quota) {
        let Some(record) = self.party(who).map(|index| &self.journal.records[index]) else { return };
        let module = self.module_of(record).ok().and_then(|module| self.modules.get(module));
        if let Some(loaded) = module {
            let share = share(&self.decide(&loaded.module.manifest).granted, quota);
            let _ = sys::sandbox_share(record.instance.sandbox, &share);
        }
    }
}
