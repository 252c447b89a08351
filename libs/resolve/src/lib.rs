//! Which modules have to change so that one can be installed or updated, and in which order (ledger P1.9).
//!
//! Principles:
//! - *What works stays.* An installed module keeps its version unless something that is asked for cannot be had otherwise; of all
//!   answers one with the fewest changes is given, and in it the newest versions. Nothing is removed, and nothing but the module that was
//!   asked for ever goes back to an older version.
//! - *No step in the dark.* Changes are made one at a time, so an answer is an order in which the set of modules holds together after every
//!   single change. What would only work in one stroke is refused, and the sentence says between which modules.
//! - *Bounded.* A repository is input from outside: there is a limit on the changes of one answer and on the comparisons made for it,
//!   beyond which the question is refused ([`MAX_CHANGES`], [`MAX_WORK`]).
//! - *Pure.* Metadata goes in, a plan or a sentence comes out. Whether two versions can be exchanged while clients talk to them is not decided
//!   here ([`hic_hicmod::manifest::check_pair`]).
//!
//! Why this is not the crate `pubgrub`: docs/adr/0030.
//!
//! ```text
//!   installed ─┐                         fewest changes first
//!   available ─┼─▶ Universe ─▶ search: which versions ─▶ order: one at a time ─▶ Plan
//!   platform ──┘                  └── first dead end ─▶ Problem, a sentence
//! ```
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod order;
mod problem;
mod search;
#[cfg(test)]
mod tests;
mod universe;

use alloc::vec::Vec;
use core::fmt;

use hic_hicmod::Manifest;
use hic_hicmod::manifest::{Dependency, Interface, Platform, Requirement, Span, Version};

pub use problem::{Link, Problem, Stuck};

/// Most changes of one plan. Orders are searched among its subsets, so this bounds memory, too: 2¹² bits.
pub const MAX_CHANGES: usize = 12;
/// Most comparisons of a need with what is there, for one question. A plan of an ordinary repository takes a few thousand; what takes more
/// than this was made to.
pub const MAX_WORK: u64 = 4_000_000;

/// What is known of one version of a module before anything of it is loaded.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The module.
    pub name: &'a str,
    /// The version.
    pub version: Version,
    /// Modules that have to be there.
    pub dependencies: &'a [Dependency],
    /// Interfaces that it offers.
    pub provides: &'a [Interface],
    /// Interfaces that some module has to offer.
    pub needs: &'a [Interface],
    /// Versions of the Core-0 ABI on which it runs.
    pub abi: Span,
    /// The runtime that it links.
    pub ipc_lib: Option<Version>,
}

impl<'a> From<&'a Manifest> for Candidate<'a> {
    fn from(manifest: &'a Manifest) -> Self {
        Self {
            name: &manifest.name,
            version: manifest.version,
            dependencies: &manifest.dependencies,
            provides: &manifest.interfaces.provides,
            needs: &manifest.interfaces.needs,
            abi: manifest.abi,
            ipc_lib: manifest.build.ipc_lib,
        }
    }
}

/// A need of a module, as its manifest states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need<'a> {
    /// A module in some version.
    Module(&'a str, Requirement),
    /// An interface, whoever offers it.
    Interface(&'a Interface),
}

impl fmt::Display for Need<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Module(name, requirement) => write!(f, "{name} {requirement}"),
            Self::Interface(interface) => write!(f, "the interface {interface}"),
        }
    }
}

/// Why a step is in the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why<'a> {
    /// It was asked for.
    Asked,
    /// This module, in this version, needs it.
    NeededBy(&'a str, Version, Need<'a>),
    /// In its installed version it would not go with what others change to.
    OutOfStep(Need<'a>),
}

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("it was asked for"),
            Self::NeededBy(name, version, need) => write!(f, "{name} {version} needs {need}"),
            Self::OutOfStep(need) => write!(f, "the installed version needs {need}, which changes"),
        }
    }
}

/// One change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step<'a> {
    /// The module.
    pub name: &'a str,
    /// The version that is installed; `None`: none is.
    pub from: Option<Version>,
    /// The version that is to be.
    pub to: Version,
    /// Why.
    pub why: Why<'a>,
}

/// What has to change, in this order: after every step all needs of all modules are met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan<'a> {
    /// The changes; empty if the version that was asked for is installed and nothing is amiss. The last is usually the one that was asked
    /// for.
    pub steps: Vec<Step<'a>>,
    /// Comparisons that were made, of [`MAX_WORK`].
    pub work: u64,
}

/// Finds how `name` can come to `version`.
///
/// `installed` are the modules that run, `available` those that can be had; a version in both is one. The runtime of `platform` counts as
/// installed under [`hic_hicmod::manifest::IPC_LIB`], and no other version of it can be had.
pub fn resolve<'a>(
    installed: &[Candidate<'a>],
    available: &[Candidate<'a>],
    platform: &Platform,
    (name, version): (&'a str, Version),
) -> Result<Plan<'a>, Problem<'a>> {
    let universe = universe::Universe::new(installed, available, platform);
    search::search(&universe, name, version)
}
