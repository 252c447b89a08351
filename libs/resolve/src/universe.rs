//! All known versions of all known modules, numbered, so that the search compares numbers.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use hic_hicmod::manifest::{IPC_LIB, Platform, PlatformError, Span, Version};

use crate::{Candidate, Need};

/// Number of a module: its place among the names.
pub type Module = usize;
/// Number of a version of a module: its place among the releases.
pub type Release = usize;

/// The set of versions in which each module is, by number of the module.
pub type Chosen = Vec<Option<Release>>;

/// See the module's comment.
pub struct Universe<'a> {
    /// By name, then by version, ascending; each once.
    releases: Vec<Candidate<'a>>,
    /// Why a release cannot run here.
    unfit: Vec<Option<PlatformError>>,
    /// The module of each release.
    modules: Vec<Module>,
    /// The name of each module, ascending, and its releases.
    names: Vec<(&'a str, Range<Release>)>,
    /// Who offers an interface.
    providers: BTreeMap<(&'a str, u16), Vec<Release>>,
    /// What is installed.
    pub installed: Chosen,
}

impl<'a> Universe<'a> {
    /// Numbers everything; n log n comparisons of names.
    pub fn new(installed: &[Candidate<'a>], available: &[Candidate<'a>], platform: &Platform) -> Self {
        let runtime = Candidate {
            name: IPC_LIB,
            version: platform.ipc_lib,
            dependencies: &[],
            provides: &[],
            needs: &[],
            abi: Span::only(platform.abi),
            ipc_lib: None,
        };
        let others = available.iter().filter(|candidate| candidate.name != IPC_LIB);
        let kept = installed.iter().filter(|candidate| candidate.name != IPC_LIB);
        let mut releases: Vec<Candidate<'a>> =
            core::iter::once(&runtime).chain(kept.clone()).chain(others).copied().collect();
        // Stable, so that of two with the same name and version the installed one is first, and stays.
        releases.sort_by(|a, b| (a.name, a.version).cmp(&(b.name, b.version)));
        releases.dedup_by(|later, earlier| (later.name, later.version) == (earlier.name, earlier.version));
        let mut universe = Self {
            unfit: releases.iter().map(|c| platform.check(c.abi, c.ipc_lib).err()).collect(),
            modules: Vec::with_capacity(releases.len()),
            names: Vec::new(),
            providers: BTreeMap::new(),
            installed: Chosen::new(),
            releases,
        };
        universe.number();
        universe.installed = vec![None; universe.names.len()];
        for candidate in kept.chain([&runtime]) {
            if let Some(module) = universe.module(candidate.name) {
                let release = universe.release(module, candidate.version);
                let place = universe.installed.get_mut(module);
                if let Some(place) = place {
                    *place = release;
                }
            }
        }
        universe
    }

    fn number(&mut self) {
        for (number, candidate) in self.releases.iter().enumerate() {
            match self.names.last_mut() {
                Some((name, range)) if *name == candidate.name => range.end = number + 1,
                _ => self.names.push((candidate.name, number..number + 1)),
            }
            self.modules.push(self.names.len() - 1);
            for interface in candidate.provides {
                self.providers.entry((&interface.name, interface.version)).or_default().push(number);
            }
        }
    }

    /// The module of this name.
    pub fn module(&self, name: &str) -> Option<Module> {
        self.names.binary_search_by(|(known, _)| (*known).cmp(name)).ok()
    }

    /// Its name.
    pub fn name(&self, module: Module) -> &'a str {
        self.names.get(module).map_or("", |(name, _)| name)
    }

    /// The release of a module with this version.
    pub fn release(&self, module: Module, version: Version) -> Option<Release> {
        self.releases_of(module).find(|&release| self.version(release) == version)
    }

    /// All releases of a module, oldest first.
    pub fn releases_of(&self, module: Module) -> Range<Release> {
        self.names.get(module).map_or(0..0, |(_, range)| range.clone())
    }

    /// What is known of a release.
    pub fn candidate(&self, release: Release) -> Option<&Candidate<'a>> {
        self.releases.get(release)
    }

    /// Its module.
    pub fn module_of(&self, release: Release) -> Module {
        self.modules.get(release).copied().unwrap_or(usize::MAX)
    }

    /// Its version.
    pub fn version(&self, release: Release) -> Version {
        self.candidate(release).map_or(Version::new(0, 0, 0), |candidate| candidate.version)
    }

    /// Why it cannot run here.
    pub fn unfit(&self, release: Release) -> Option<PlatformError> {
        self.unfit.get(release).copied().flatten()
    }

    /// What a release needs.
    pub fn needs(&self, release: Release) -> impl Iterator<Item = Need<'a>> + use<'a> {
        let (dependencies, interfaces) =
            self.candidate(release).map_or((&[][..], &[][..]), |c| (c.dependencies, c.needs));
        let modules = dependencies.iter().map(|d| Need::Module(d.module.as_str(), d.version));
        modules.chain(interfaces.iter().map(Need::Interface))
    }

    /// All releases that would meet a need, oldest first within a module.
    pub fn that_meet(&self, need: &Need<'_>) -> Vec<Release> {
        match need {
            Need::Module(name, requirement) => {
                let releases = self.module(name).map_or(0..0, |module| self.releases_of(module));
                releases.filter(|&release| requirement.matches(self.version(release))).collect()
            }
            Need::Interface(interface) => {
                self.providers.get(&(interface.name.as_str(), interface.version)).cloned().unwrap_or_default()
            }
        }
    }

    /// Whether a need is met by what is chosen.
    pub fn is_met(&self, need: &Need<'_>, chosen: &Chosen) -> bool {
        let is_chosen = |release: Release| chosen.get(self.module_of(release)) == Some(&Some(release));
        match need {
            Need::Module(name, requirement) => self
                .module(name)
                .and_then(|module| chosen.get(module).copied().flatten())
                .is_some_and(|release| requirement.matches(self.version(release))),
            Need::Interface(interface) => self
                .providers
                .get(&(interface.name.as_str(), interface.version))
                .is_some_and(|providers| providers.iter().any(|&release| is_chosen(release))),
        }
    }
}
