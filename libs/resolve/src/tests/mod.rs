//! Cases that people would write down, and thousands that nobody would, against a solver that tries everything.

mod brute;
mod cases;

use std::string::String;
use std::vec::Vec;

use hic_hicmod::Manifest;
use hic_hicmod::manifest::{Dependency, Kind, Platform, Version};

use crate::Candidate;

/// What the tests' systems offer.
pub const PLATFORM: Platform = Platform { abi: 1, ipc_lib: Version::new(2, 0, 0) };

/// A module as its author would write it: `netstack 1.3.0: eth_driver >=1.2.0, ipc_lib =2.0.0; tcp@1` (dependencies; interfaces
/// needed; interfaces provided).
pub fn module(text: &str) -> Manifest {
    let (head, rest) = text.split_once(':').unwrap_or((text, ""));
    let (name, number) = head.split_once(' ').unwrap();
    let mut manifest = Manifest::least(name.parse().unwrap(), number.trim().parse().unwrap(), Kind::Service);
    let mut lists =
        rest.split(';').map(|list| list.split(',').map(str::trim).filter(|item| !item.is_empty()));
    for item in lists.next().into_iter().flatten() {
        let (module, version) = item.split_once(' ').unwrap();
        let dependency = Dependency { module: module.parse().unwrap(), version: version.parse().unwrap() };
        manifest.dependencies.push(dependency).unwrap();
    }
    for item in lists.next().into_iter().flatten() {
        manifest.interfaces.needs.push(item.parse().unwrap()).unwrap();
    }
    for item in lists.next().into_iter().flatten() {
        manifest.interfaces.provides.push(item.parse().unwrap()).unwrap();
    }
    manifest.check().unwrap();
    manifest
}

/// Modules written one on each line.
pub fn modules(text: &str) -> Vec<Manifest> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(module).collect()
}

/// What is known of them.
pub fn candidates(modules: &[Manifest]) -> Vec<Candidate<'_>> {
    modules.iter().map(Candidate::from).collect()
}

/// The steps of the plan for `wanted`, one on each line, or the code and sentence of the problem.
pub fn plan(installed: &str, available: &str, wanted: &str) -> Result<Vec<String>, (String, String)> {
    use std::string::ToString;
    let (installed, available) = (modules(installed), modules(available));
    let (name, version) = wanted.split_once(' ').unwrap();
    let goal = (name, version.parse().unwrap());
    let plan = crate::resolve(&candidates(&installed), &candidates(&available), &PLATFORM, goal);
    let plan = plan.map_err(|problem| (problem.code().to_string(), problem.to_string()))?;
    Ok(plan
        .steps
        .iter()
        .map(|step| {
            let from = step.from.map_or("new".to_string(), |from| from.to_string());
            std::format!("{} {from} -> {}: {}", step.name, step.to, step.why)
        })
        .collect())
}
