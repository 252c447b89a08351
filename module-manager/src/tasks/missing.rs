//! What is installed and was not on the disk at boot: it is fetched from the network, once that is there, and started as if it were installed again.
//!
//! It is a task like those of an operator, so it never comes between two steps of one.

use crate::cache::ModuleName;
use crate::manager::Manager;
use alloc::format;
use alloc::vec::Vec;
use hic_abi::{FOREVER, Nanos};
use hic_control::manager::INSTALL;
use hic_rt::{clock, log};

/// Before the first attempt, for the network to come up, and between two.
const PAUSE: Nanos = 10_000_000_000;
/// Attempts for each module; after them an operator has to ask.
const ATTEMPTS: u32 = 30;

/// What is missing.
#[derive(Debug, Default)]
pub struct Missing {
    modules: Vec<ModuleName>,
    due: Nanos,
    attempts: u32,
}

impl Missing {
    /// Notes that these are missing.
    pub fn note(&mut self, modules: Vec<ModuleName>, now: Nanos) {
        *self = Self { modules, due: now.saturating_add(PAUSE), attempts: 0 };
    }
}

impl Manager {
    /// Goes on with what is missing; when to look again.
    pub fn missing_turn(&mut self) -> Nanos {
        let there = |(name, _): &ModuleName, manager: &Self| {
            manager.journal.find(name).is_some() || !manager.is_present(name)
        };
        let modules = core::mem::take(&mut self.missing.modules);
        let modules = modules.into_iter().filter(|module| !there(module, self)).collect();
        self.missing.modules = modules;
        let Some((name, version)) = self.missing.modules.first().cloned() else { return FOREVER };
        if self.sources().is_empty() || self.missing.attempts >= ATTEMPTS {
            return FOREVER;
        }
        if self.has_task() {
            // Its end is a reason to look again.
            return FOREVER;
        }
        let now = clock::now();
        if now < self.missing.due {
            return self.missing.due;
        }
        (self.missing.due, self.missing.attempts) = (now.saturating_add(PAUSE), self.missing.attempts + 1);
        // Those behind it have their turn, too.
        self.missing.modules.rotate_left(1);
        if let Err(refusal) = self.begin_task(INSTALL, &format!("{name} {version}")) {
            log!("{name} {version} is installed and missing: {refusal}");
        }
        self.missing.due
    }
}
