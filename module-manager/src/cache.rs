//! The modules of the repository that are kept in memory, verified: so that an update does not wait for the disk, and a restart is copying and
//! relocating.

use crate::manager::{Manager, at};
use crate::modules::{Loaded, Origin, is_version, load_cached};
use crate::repository::refused;
use alloc::boxed::Box;
use hic_abi::{Handle, Rights, SELF, name_str};
use hic_hicmod::manifest::{Name, Version};
use hic_hicmod::verdict::Refusal;
use hic_rt::{cap, sys};
use module_manager::journal::{CachedModule, Trust};

/// A module by name and version.
pub type ModuleName = (Name, Version);

impl Manager {
    /// Keeps a verified file, which lies in a region of the manager that nobody else maps any more.
    pub fn keep(
        &mut self,
        region: Handle,
        address: u64,
        length: u64,
        trust: Trust,
        from: u16,
    ) -> Result<ModuleName, Box<Refusal>> {
        let memory = |error: &dyn core::fmt::Display| refused("memory", error);
        let mapped = sys::region_map(SELF, region, Rights::READ).map_err(at("map a module"));
        mapped.map_err(|error| memory(&error))?;
        let entry = CachedModule { region, from, place: CachedModule::NOWHERE, address, length, trust };
        let loaded = load_cached(&entry, Origin::Archive).map_err(|error| refused("format", &error))?;
        let module = (loaded.module.manifest.name.clone(), loaded.module.manifest.version);
        if let Some(known) = self.position(&module.0, module.1) {
            let known = &self.modules[known];
            if known.trust.digest == trust.digest {
                discard(region);
                return Ok(module);
            }
            if !self.is_idle(known) {
                let (name, version) = &module;
                return Err(refused(
                    "same-version",
                    &format_args!(
                        "{name} {version} is there with another content; a changed module needs a version of its own"
                    ),
                ));
            }
            self.forget_module(&module.0, module.1);
        }
        let place = self
            .cache_place()
            .ok_or_else(|| memory(&"all places for modules are taken by modules in use"))?;
        let loaded =
            load_cached(&entry, Origin::Repository(place)).map_err(|error| refused("format", &error))?;
        self.journal.cached[place] = entry;
        self.modules.push(loaded);
        Ok(module)
    }

    /// The module with this name and version, by number.
    pub fn position(&self, name: &str, version: Version) -> Option<usize> {
        let is_it = |m: &Loaded| m.module.manifest.name == name && m.module.manifest.version == version;
        self.modules.iter().position(is_it)
    }

    /// Whether this module is in memory.
    pub fn is_loaded(&self, name: &str, version: Version) -> bool {
        self.position(name, version).is_some()
    }

    /// Lets go of a module whose file is gone, unless it is in use or came with the system.
    pub fn forget_module(&mut self, name: &str, version: Version) {
        let Some(position) = self.position(name, version) else { return };
        if self.is_idle(&self.modules[position])
            && let Origin::Repository(place) = self.modules[position].origin
        {
            self.empty_place(place);
        }
    }

    fn empty_place(&mut self, place: usize) {
        self.modules.retain(|m| m.origin != Origin::Repository(place));
        discard(core::mem::replace(&mut self.journal.cached[place].region, 0));
    }

    /// A free place among the cached modules: an empty one, or that of a module that nobody runs.
    fn cache_place(&mut self) -> Option<usize> {
        if let Some(place) = self.journal.cached.iter().position(|cached| cached.region == 0) {
            return Some(place);
        }
        let idle = |m: &Loaded| match m.origin {
            Origin::Repository(place) if self.is_idle(m) => Some(place),
            _ => None,
        };
        let place = self.modules.iter().find_map(idle)?;
        self.empty_place(place);
        Some(place)
    }

    /// Whether a module of the repository may be let go.
    fn is_idle(&self, loaded: &Loaded) -> bool {
        let manifest = &loaded.module.manifest;
        let runs = self.journal.services().iter().any(|record| {
            record.is_used()
                && name_str(&record.info.name) == manifest.name
                && is_version(manifest.version, name_str(&record.info.version))
        });
        loaded.origin != Origin::Archive && !runs && !self.is_wanted(&manifest.name, manifest.version)
    }

    /// Whether a module is a default, or the one before it, or what an operator asks for just now.
    pub fn is_wanted(&self, name: &str, version: Version) -> bool {
        // Until the record is written, a power cut leads back to the one on the disk.
        let on_disk = self.journal.defaults.load();
        let records = [&self.repository.defaults, &on_disk].into_iter().flatten();
        let mut services = records.filter_map(|record| record.service(name));
        let is_default = services.any(|s| s.version == version || s.previous == Some(version));
        let request = self.journal.update.slots.load().map(|(request, _)| request);
        let in_update = request.is_some_and(|request| {
            name_str(&request.service) == name
                && [request.from, request.to].iter().any(|v| is_version(version, name_str(v)))
        });
        is_default || in_update || self.is_exchanged(name, version) || self.task_wants(name, version)
    }
}

impl Manager {
    /// A region of the manager's, of this many bytes, that nobody maps: its slot and its address.
    pub fn new_region(&self, bytes: u64) -> Result<(Handle, u64), Box<Refusal>> {
        let region = cap::allocate().ok_or_else(|| refused("memory", &"no capability slot is free"))?;
        match sys::create_region(self.account, region, bytes) {
            Ok(address) => Ok((region, address)),
            Err(error) => {
                cap::drop_slot(region);
                Err(refused("memory", &at("region")(error)))
            }
        }
    }
}

/// Ends a region and gives its slot back.
pub fn discard(region: Handle) {
    let _ = sys::destroy(SELF, region);
    cap::drop_slot(region);
}
