//! Questions to the dependency resolver: a plan that it gives can be carried out, and a problem that it finds is a sentence.

use hic_hicmod::Manifest;
use hic_hicmod::manifest::{Dependency, Interface, Kind, Platform, Requirement, Span, Version};
use hic_resolve::{Candidate, MAX_CHANGES, MAX_WORK, Plan, resolve};

use super::assert_sentence;
use crate::input::Input;

/// The system that is asked about.
const PLATFORM: Platform = Platform { abi: 1, ipc_lib: Version::new(2, 0, 0) };
/// Modules, and versions of each: few, so that they meet.
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const VERSIONS: u32 = 4;
/// Most releases of a repository that is tried.
const RELEASES: usize = 48;

/// Tries the bytes as a repository, what of it is installed, and what is asked for.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (name, version) = (NAMES[input.below(NAMES.len())], version(&mut input));
    let (mut releases, mut installed) = (Vec::new(), Vec::new());
    while !input.is_empty() && releases.len() < RELEASES {
        let (release, is_installed) = release(&mut input);
        if releases
            .iter()
            .any(|other: &Manifest| (&other.name, other.version) == (&release.name, release.version))
        {
            continue;
        }
        if is_installed && installed.iter().all(|other: &Manifest| other.name != release.name) {
            installed.push(release.clone());
        }
        releases.push(release);
    }
    let was: Vec<Candidate<'_>> = installed.iter().map(Candidate::from).collect();
    let can: Vec<Candidate<'_>> = releases.iter().map(Candidate::from).collect();
    match resolve(&was, &can, &PLATFORM, (name, version)) {
        Ok(plan) => check(&plan, &installed, &releases, (name, version)),
        Err(problem) => {
            assert_sentence(&problem, 4000);
            assert!(!problem.code().is_empty());
        }
    }
}

fn version(input: &mut Input<'_>) -> Version {
    Version::new(u32::from(input.byte()) % VERSIONS, 0, 0)
}

fn release(input: &mut Input<'_>) -> (Manifest, bool) {
    let own = NAMES[input.below(NAMES.len())];
    let mut manifest = Manifest::least(own.parse().expect("a name"), version(input), Kind::Service);
    let flags = input.byte();
    for _ in 0..flags & 3 {
        let on = input.below(NAMES.len() + 1);
        let name = *NAMES.get(on).unwrap_or(&"ipc_lib");
        let (from, below) = (version(input), version(input));
        let wanted = Requirement::new(from, (below > from).then_some(below)).unwrap_or(Requirement::ANY);
        let dependency = Dependency { module: name.parse().expect("a name"), version: wanted };
        let twice = manifest.dependencies.iter().any(|other| other.module == dependency.module);
        if name != own && !twice {
            manifest.dependencies.push(dependency).expect("at most three");
        }
    }
    let interfaces = |bits: u8| {
        let interface = |number: u8| Interface { name: "i".parse().expect("a name"), version: number.into() };
        (1..4).filter(|bit| bits & (1 << bit) != 0).map(interface).collect()
    };
    let both = input.byte();
    manifest.interfaces.provides = interfaces(both);
    manifest.interfaces.needs = interfaces(both >> 4);
    manifest.abi = Span { lowest: 1, highest: 1 };
    if flags & 0x40 != 0 {
        manifest.abi = Span { lowest: 2, highest: 3 };
    }
    manifest.build.ipc_lib = (flags & 0x20 != 0).then(|| version(input));
    (manifest, flags & 0x80 != 0)
}

/// A set of modules.
type Set<'m> = [&'m Manifest];

fn has_module(set: &Set<'_>, needed: &Dependency) -> bool {
    needed.module == "ipc_lib" && needed.version.matches(PLATFORM.ipc_lib)
        || set.iter().any(|other| other.name == needed.module && needed.version.matches(other.version))
}

fn has_interface(set: &Set<'_>, needed: &Interface) -> bool {
    set.iter().any(|other| other.interfaces.provides.contains(needed))
}

/// Whether all needs of all modules in a set are met by it, but for those that were not met before in modules that did not change. Written to be read,
/// not to be fast.
fn holds(set: &Set<'_>, before: &Set<'_>) -> bool {
    set.iter().all(|module| {
        let stayed =
            before.iter().any(|other| (&other.name, other.version) == (&module.name, module.version));
        let mut modules = module.dependencies.iter();
        let mut interfaces = module.interfaces.needs.iter();
        modules.all(|needed| has_module(set, needed) || stayed && !has_module(before, needed))
            && interfaces.all(|needed| has_interface(set, needed) || stayed && !has_interface(before, needed))
    })
}

/// A plan has few steps, each of which changes one module to a release that there is and that runs here, and leaves a set that holds.
fn check(plan: &Plan<'_>, installed: &[Manifest], releases: &[Manifest], goal: (&str, Version)) {
    assert!(plan.steps.len() <= MAX_CHANGES && plan.work <= MAX_WORK);
    let was: Vec<&Manifest> = installed.iter().collect();
    let mut set = was.clone();
    let mut changed = Vec::new();
    for step in &plan.steps {
        assert!(!changed.contains(&step.name), "{} changes twice", step.name);
        changed.push(step.name);
        let before = set.iter().position(|module| module.name == step.name);
        assert_eq!(before.map(|at| set[at].version), step.from);
        assert!(
            step.name == goal.0 || step.from.is_none_or(|from| from < step.to),
            "{} goes back",
            step.name
        );
        let next = releases.iter().find(|other| (other.name.as_str(), other.version) == (step.name, step.to));
        let next = next.expect("a release that there is");
        assert_eq!(next.check_platform(&PLATFORM), Ok(()), "{} {} does not run here", step.name, step.to);
        match before {
            Some(at) => set[at] = next,
            None => set.push(next),
        }
        assert!(holds(&set, &was), "after {} -> {} something is missing", step.name, step.to);
        assert_sentence(&step.why, 400);
    }
    assert!(
        set.iter().any(|module| (module.name.as_str(), module.version) == goal),
        "the goal is not reached"
    );
}
