//! A solver that tries every set of versions and every order, and what ours must have in common with it.

use std::format;
use std::string::String;
use std::vec::Vec;

use hic_hicmod::Manifest;
use hic_hicmod::manifest::Version;
use proptest::prelude::*;

use super::{PLATFORM, candidates, modules};
use crate::{Problem, resolve};

/// A set of installed modules.
type Set<'m> = Vec<&'m Manifest>;

/// Whether all needs of all modules in a set are met by it; written to be read, not to be fast.
fn holds(set: &Set<'_>) -> bool {
    set.iter().all(|module| {
        let dependencies = module.dependencies.iter().all(|needed| {
            needed.module == "ipc_lib" && needed.version.matches(PLATFORM.ipc_lib)
                || set
                    .iter()
                    .any(|other| other.name == needed.module && needed.version.matches(other.version))
        });
        let interfaces = module
            .interfaces
            .needs
            .iter()
            .all(|needed| set.iter().any(|other| other.interfaces.provides.contains(needed)));
        dependencies && interfaces
    })
}

fn with<'m>(set: &Set<'m>, change: &'m Manifest) -> Set<'m> {
    let kept = set.iter().copied().filter(|module| module.name != change.name);
    kept.chain([change]).collect()
}

/// Whether the changes can be made one after the other so that every set on the way holds.
fn can_be_reached(set: &Set<'_>, changes: &[&Manifest]) -> bool {
    changes.is_empty()
        || changes.iter().enumerate().any(|(index, change)| {
            let next = with(set, change);
            let rest: Vec<&Manifest> =
                changes.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, m)| *m).collect();
            holds(&next) && can_be_reached(&next, &rest)
        })
}

/// The fewest changes by which the module that is asked for comes to its version; `None`: it cannot.
fn fewest(installed: &Set<'_>, available: &[Manifest], goal: &Manifest) -> Option<usize> {
    let mut names: Vec<&str> = available.iter().map(|module| module.name.as_str()).collect();
    names.dedup();
    let mut best = None;
    try_all(installed, available, goal, &names, &mut Vec::new(), &mut best);
    best
}

fn try_all<'m>(
    installed: &Set<'m>,
    available: &'m [Manifest],
    goal: &'m Manifest,
    names: &[&str],
    changes: &mut Vec<&'m Manifest>,
    best: &mut Option<usize>,
) {
    let Some((name, rest)) = names.split_first() else {
        let end = changes.iter().fold(installed.clone(), |set, change| with(&set, change));
        let good = holds(&end) && can_be_reached(installed, changes);
        if good && best.is_none_or(|best| changes.len() < best) {
            *best = Some(changes.len());
        }
        return;
    };
    let present = installed.iter().find(|module| module.name == *name);
    let is_goal = goal.name == *name;
    if !is_goal || present.is_some_and(|module| module.version == goal.version) {
        try_all(installed, available, goal, rest, changes, best);
    }
    for other in available.iter().filter(|other| other.name == *name) {
        let changes_it = present.is_none_or(|module| other.version > module.version);
        let wanted = if is_goal { other.version == goal.version } else { changes_it };
        if wanted && present.is_none_or(|module| module.version != other.version) {
            changes.push(other);
            try_all(installed, available, goal, rest, changes, best);
            changes.pop();
        }
    }
}

/// A repository of four modules in up to three versions, as text.
fn repository() -> impl Strategy<Value = String> {
    let requirement =
        prop::sample::select(&["*", "^1.0", "^2.0", ">=2.0.0", "<3.0.0", "=1.0.0", "=3.0.0", "<2.0.0"][..]);
    let dependency = (0usize..5, requirement);
    let release = (
        prop::collection::vec(dependency, 0..3),
        prop::collection::vec(0usize..3, 0..2),
        prop::collection::vec(0usize..3, 0..3),
    );
    prop::collection::vec(prop::collection::vec(release, 1..4), 4).prop_map(|all| {
        let mut text = String::new();
        for (module, releases) in all.iter().enumerate() {
            for (version, (dependencies, needs, provides)) in releases.iter().enumerate() {
                let mut seen = Vec::new();
                let mut wanted = Vec::new();
                for (on, requirement) in dependencies {
                    if *on != module && !seen.contains(on) {
                        seen.push(*on);
                        let name = if *on == 4 { "ipc_lib".into() } else { format!("m{on}") };
                        wanted.push(format!("{name} {requirement}"));
                    }
                }
                let interfaces = |list: &[usize]| {
                    let mut list = list.to_vec();
                    list.sort_unstable();
                    list.dedup();
                    list.iter().map(|n| format!("i{n}@1")).collect::<Vec<_>>().join(",")
                };
                let (needs, provides) = (interfaces(needs), interfaces(provides));
                text += &format!("m{module} {}.0.0: {};{needs};{provides}\n", version + 1, wanted.join(","));
            }
        }
        text
    })
}

/// A set of the repository's modules that holds: of those that were picked, all that can stay.
fn consistent<'m>(available: &'m [Manifest], picks: &[Option<u8>; 4]) -> Set<'m> {
    let mut set: Set<'m> = Vec::new();
    for (module, pick) in picks.iter().enumerate() {
        let name = format!("m{module}");
        let releases: Vec<&Manifest> = available.iter().filter(|other| other.name == name.as_str()).collect();
        if let Some(pick) = pick {
            set.extend(releases.get(usize::from(*pick) % releases.len()));
        }
    }
    while !holds(&set) {
        set.pop();
    }
    set
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn plans_are_found_exactly_where_trying_everything_finds_one_and_are_as_short(
        text in repository(), picks: [Option<u8>; 4], goal: prop::sample::Index,
    ) {
        let available = modules(&text);
        let installed = consistent(&available, &picks);
        let goal = goal.get(&available);
        let there: Vec<_> = installed.iter().copied().map(crate::Candidate::from).collect();
        let found = resolve(&there, &candidates(&available), &PLATFORM, (&goal.name, goal.version));
        let expected = fewest(&installed, &available, goal);
        match found {
            Ok(plan) => {
                prop_assert_eq!(Some(plan.steps.len()), expected, "{:?}", plan);
                let mut set = installed.clone();
                for step in &plan.steps {
                    let is_it = |m: &&&Manifest| m.name == step.name;
                    prop_assert_eq!(set.iter().find(is_it).map(|m| m.version), step.from);
                    let change = available.iter().find(|m| m.name == step.name && m.version == step.to).unwrap();
                    set = with(&set, change);
                    prop_assert!(holds(&set), "after {:?}", step);
                }
                prop_assert!(set.iter().any(|m| m.name == goal.name && m.version == goal.version));
            }
            Err(problem) => {
                prop_assert_eq!(expected, None, "{}", problem);
                let text = std::string::ToString::to_string(&problem);
                prop_assert!(!text.is_empty());
                let known = matches!(problem, Problem::Conflict { .. } | Problem::OneStroke { .. });
                prop_assert!(known, "{}", text);
            }
        }
    }

    #[test]
    fn the_same_question_has_the_same_answer_in_whatever_order_modules_are_listed(
        text in repository(), picks: [Option<u8>; 4], goal: prop::sample::Index, turn: prop::sample::Index,
    ) {
        let available = modules(&text);
        let installed = consistent(&available, &picks);
        let goal = goal.get(&available);
        let there: Vec<_> = installed.iter().copied().map(crate::Candidate::from).collect();
        let mut known = candidates(&available);
        let first = resolve(&there, &known, &PLATFORM, (&goal.name, goal.version)).map(|plan| plan.steps);
        let middle = turn.index(known.len());
        known.rotate_left(middle);
        let second = resolve(&there, &known, &PLATFORM, (&goal.name, goal.version)).map(|plan| plan.steps);
        prop_assert_eq!(first, second);
        prop_assert!(goal.version > Version::new(0, 0, 0));
    }
}
