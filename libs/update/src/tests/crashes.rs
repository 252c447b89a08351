//! Every crash at every point.

use super::script::{Blow, Bug, label};
use super::world::{World, policy};
use crate::{Outcome, Phase, Policy, Reason, Who};
use proptest::prelude::*;

const KILLS: [Blow; 3] = [Blow::KillManager, Blow::Kill(Who::Old), Blow::Kill(Who::New)];

/// A short update with everything in it: four waves, new clients, the rest, validation, window.
fn scenario() -> World {
    let mut world = World::new(9, Policy { moves_per_second: 40, ..policy() });
    world.born_every = 50;
    world
}

/// The same, whose operator wants the old version back.
fn going_back() -> World {
    let mut straight = scenario();
    straight.run_to(Phase::Watch);
    scenario().blow(straight.steps + 3, Blow::Rollback)
}

/// Kills each party before each micro-step of the scenario.
fn sweep(scenario: impl Fn() -> World, may: impl Fn(Outcome) -> bool) {
    for eager in [false, true] {
        let fresh = || {
            let mut world = scenario();
            world.eager = eager;
            world
        };
        let mut whole = fresh();
        whole.run();
        for blow in KILLS {
            for step in 1..=whole.steps {
                let outcome = fresh().blow(step, blow).run();
                assert!(may(outcome), "{blow:?} at {step}, eager {eager}: {outcome}");
            }
        }
    }
}

#[test]
fn one_death_anywhere_on_the_straight_path_loses_nothing() {
    sweep(scenario, |outcome| match outcome {
        Outcome::Completed { forced } => forced.is_none(),
        Outcome::RolledBack { reason } => matches!(reason, Reason::Died { who: Who::New, .. }),
        _ => false,
    });
}

#[test]
fn one_death_anywhere_on_the_way_back_loses_nothing() {
    sweep(going_back, |outcome| match outcome {
        Outcome::RolledBack { reason } => {
            matches!(reason, Reason::Requested | Reason::Died { who: Who::New, .. })
        }
        // Killed late enough, the manager comes back when the window is over, and the operator's wish died with it.
        Outcome::Completed { forced } => forced.is_none(),
        _ => false,
    });
}

#[test]
fn one_death_anywhere_while_the_old_version_takes_from_a_dead_new_one_loses_nothing() {
    sweep(
        || going_back().bug(Who::New, Bug::DiesAfter(label::EXPORT)),
        |outcome| outcome.serving().is_some(),
    );
}

#[test]
fn one_death_anywhere_while_the_new_version_takes_from_a_dead_old_one_loses_nothing() {
    let mut straight = scenario();
    straight.run_to(Phase::Switch);
    let switch = straight.steps;
    for at in [switch - 20, switch - 9, switch + 5] {
        sweep(
            || scenario().bug(Who::Old, Bug::NeverRestarts).blow(at, Blow::Kill(Who::Old)),
            |outcome| outcome.serving().is_some(),
        );
    }
}

fn blow() -> impl Strategy<Value = Blow> {
    prop_oneof![
        4 => Just(Blow::KillManager),
        3 => Just(Blow::Kill(Who::Old)),
        3 => Just(Blow::Kill(Who::New)),
        1 => Just(Blow::Rollback),
        1 => Just(Blow::Abort),
        1 => Just(Blow::Commit),
    ]
}

fn bug() -> impl Strategy<Value = Bug> {
    (0usize..4, label::PREPARE..=label::SHUTDOWN).prop_map(|(kind, question)| {
        [Bug::DiesBefore(question), Bug::DiesAfter(question), Bug::Hangs(question), Bug::Refuses(question)]
            [kind]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn deaths_and_wishes_in_any_combination_end_in_one_whole_version(
        blows in proptest::collection::vec((1usize..500, blow()), 2..6), eager: bool, born in 20usize..80,
    ) {
        let mut world = scenario();
        (world.blows, world.eager, world.born_every) = (blows, eager, born);
        let outcome = world.run();
        prop_assert!(outcome.serving().is_some(), "{}", outcome);
    }

    #[test]
    fn a_faulty_instance_and_deaths_beside_it_lose_nothing(
        blows in proptest::collection::vec((1usize..500, blow()), 0..3), who: bool, bug in bug(), eager: bool,
    ) {
        let who = if who { Who::Old } else { Who::New };
        let mut world = scenario().bug(who, bug);
        (world.blows, world.eager) = (blows, eager);
        let outcome = world.run();
        prop_assert!(outcome.serving().is_some(), "{}", outcome);
    }
}
