//! What the installed modules say to a change, before it: the plan that an operator reads, and whether a module can go alone.

use super::Answer;
use crate::manager::Manager;
use crate::modules::PLATFORM;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use hic_hicmod::manifest::{Manifest, Name, Version};
use hic_resolve::MAX_CHANGES;
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

    /// The version of another module that a plan lacks and that a server offers: the newest that would do.
    pub(super) fn lacking(&self, name: &str, version: Version) -> Option<(Name, Version)> {
        let (module, versions) = self.with_known(|known| {
            let own = known.available.iter().find(|manifest| manifest.name == name)?;
            known.lacking(&own.name, version).map(|(module, versions)| (module.to_string(), versions))
        })?;
        let would_do = self.offered().filter(|(_, o)| *o.name == *module && versions.matches(o.version));
        would_do.map(|(_, offer)| (offer.name.clone(), offer.version)).max_by_key(|(_, version)| *version)
    }

    /// Begins to fetch what the plan of the task under way lacks, if a server offers it and it was not asked for yet; whether it did.
    pub(super) fn fetch_lacking(&mut self, name: &Name, version: Version) -> Answer<bool> {
        let Some(lacking) = self.lacking(name, version) else { return Ok(false) };
        let Some(task) = &mut self.task else { return Ok(false) };
        if task.parts.len() >= MAX_CHANGES || task.parts.contains(&lacking) {
            return Ok(false);
        }
        let (module, wanted) = lacking.clone();
        task.parts.push(lacking);
        self.begin_fetching(
            &module,
            wanted,
            format!("{name} {version} needs {module} {wanted}; fetching it"),
        )?;
        Ok(true)
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
