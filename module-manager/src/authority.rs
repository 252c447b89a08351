//! What the policy of this system grants to a module (`libs/policy`), asked before any capability is made for it.

use crate::manager::{Manager, StartError};
use crate::modules::NOTE_REFUSED;
use alloc::boxed::Box;
use alloc::string::ToString;
use hic_hicmod::Archive;
use hic_hicmod::manifest::Manifest;
use hic_policy::{Decision, POLICY, Policy};
use hic_rt::log;

/// The policy in the archive; `None`: the image has none, or none that can be used.
pub fn policy(archive: &Archive<'static>) -> Option<Policy<'static>> {
    let entry = archive.find(POLICY)?;
    let bytes = entry.bytes().ok()?;
    match Policy::parse(bytes) {
        Ok(policy) => Some(policy),
        Err(error) => {
            log!("{error}; until then no module gets any authority");
            Some(Policy::NOTHING)
        }
    }
}

impl Manager {
    /// What of the authority that a manifest asks for is granted.
    pub fn decide(&self, manifest: &Manifest) -> Decision {
        match &self.policy {
            Some(policy) => hic_policy::decide(manifest, &policy.allowed(&manifest.name).0),
            None => Decision { granted: manifest.clone(), denied: Default::default() },
        }
    }

    /// The manifest with what is granted, for an instance that is to be made. What is denied is logged and noted in the audit log.
    pub fn granted(&self, manifest: &Manifest) -> Result<Box<Manifest>, StartError> {
        let decision = self.decide(manifest);
        let name = &manifest.name;
        for denied in &decision.denied {
            log!("{name} {}: denied by the policy: {denied}", manifest.version);
            self.note(NOTE_REFUSED, 1, format_args!("denied {name}: {denied}"));
        }
        match decision.obstacle() {
            Some(denied) => Err(StartError::Denied(denied.to_string())),
            None => Ok(Box::new(decision.granted)),
        }
    }
}
