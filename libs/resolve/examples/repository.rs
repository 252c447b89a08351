//! One question to the resolver over a repository of made-up modules, for `cargo xtask bench`, which counts its instructions.
//!
//! `repository COUNT`: COUNT modules in two versions each, a hundred of them installed in the older one; every module depends on three others.
//! Asked for is the newer version of an installed module, which needs newer versions of all that it depends on.

use std::process::ExitCode;

use hic_hicmod::Manifest;
use hic_hicmod::manifest::{Dependency, Kind, Platform, Requirement, Version};
use hic_resolve::{Candidate, Plan, Problem, resolve};

const PLATFORM: Platform = Platform { abi: 1, ipc_lib: Version::new(2, 0, 0) };
const OLD: Version = Version::new(1, 0, 0);
const NEW: Version = Version::new(1, 1, 0);
const INSTALLED: usize = 100;
/// The module that is asked for: it depends on the three before it, those on nothing that changes.
const GOAL: usize = 50;

fn name(number: usize) -> String {
    format!("m{number}")
}

fn module(number: usize, version: Version) -> Manifest {
    let own = name(number).parse().expect("a short name");
    let mut manifest = Manifest::least(own, version, Kind::Service);
    for on in number.saturating_sub(3)..number {
        let from = if number == GOAL && version == NEW { NEW } else { OLD };
        let version = Requirement::new(from, None).expect("no end, so not empty");
        let dependency = Dependency { module: name(on).parse().expect("a short name"), version };
        manifest.dependencies.push(dependency).expect("three");
    }
    manifest
}

/// What is counted: from the metadata of all modules to the plan.
#[inline(never)]
#[unsafe(no_mangle)]
fn resolver_question<'a>(
    installed: &[Candidate<'a>],
    available: &[Candidate<'a>],
    goal: &'a str,
) -> Result<Plan<'a>, Problem<'a>> {
    resolve(installed, available, &PLATFORM, (goal, NEW))
}

fn main() -> ExitCode {
    let Some(count) = std::env::args().nth(1).and_then(|text| text.parse::<usize>().ok()) else {
        eprintln!("repository COUNT: a number of modules is wanted");
        return ExitCode::FAILURE;
    };
    let modules: Vec<Manifest> =
        (0..count).flat_map(|n| [OLD, NEW].map(|version| module(n, version))).collect();
    let available: Vec<Candidate<'_>> = modules.iter().map(Candidate::from).collect();
    let old = available.iter().filter(|candidate| candidate.version == OLD);
    let installed: Vec<Candidate<'_>> = old.take(INSTALLED).copied().collect();
    match resolver_question(&installed, &available, &name(GOAL)) {
        Ok(plan) => {
            println!("{} steps, {} comparisons", plan.steps.len(), plan.work);
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}
