//! What the installed modules say to a change, before it: the plan that an operator reads, and whether a module can go alone.

use super::Answer;
use crate::manager::Manager;
use crate::modules::PLATFORM;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use hic_hicmod::manifest::{Manifest, Version};
use module_manager::plan::Known;

impl Manager {
    pub(super) fn with_known<T>(&self, ask: impl FnOnce(&Known<'_>) -> T) -> T {
        let installed = self.running();
        let available: Vec<&Manifest> = self.modules.iter().map(|loaded| &loaded.module.manifest).collect();
        ask(&Known { installed: &installed, available: &available, platform: PLATFORM })
    }

    /// Whether a module can come to this version while all others stay as they are.
    pub fn can_go_alone(&self, name: &str, version: Version) -> Answer<()> {
        self.with_known(|known| {
            // Names live as long as the modules: take the one of the manifest.
            let own = known.available.iter().find(|m| m.name == name);
            own.map_or(Ok(()), |own| known.can_go_alone(&own.name, version))
        })
    }

    /// The steps by which a module would come to this version, one line after the other; nothing is changed.
    pub(super) fn tell_plan(&mut self, name: &str, version: Version) -> Answer<String> {
        let lines = self.with_known(|known| {
            let own = known.available.iter().find(|m| m.name == name);
            let own = own
                .ok_or_else(|| format!("unknown-module: there is no module {name}; `modules` lists them"))?;
            known.describe(&own.name, version, &|manifest| self.decide(manifest))
        })?;
        for line in lines {
            self.add_line(line);
        }
        Ok("this was a plan: nothing was changed".into())
    }
}
