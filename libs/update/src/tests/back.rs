//! The way back, wherever it begins.

use super::script::Blow;
use super::world::{SECOND, World, policy};
use crate::{Outcome, Phase, Policy, Reason, Who};

fn scenario() -> World {
    let mut world = World::new(11, Policy { moves_per_second: 40, watch: 60 * SECOND, ..policy() });
    world.born_every = 40;
    world
}

fn back(outcome: Outcome, reason: Reason) -> bool {
    outcome == Outcome::RolledBack { reason }
}

#[test]
fn a_rollback_asked_for_anywhere_before_the_commit_ends_in_the_old_version() {
    let mut straight = scenario();
    straight.run_to(Phase::Commit);
    let commit = straight.steps;
    for step in 2..commit {
        let outcome = scenario().blow(step, Blow::Rollback).run();
        assert!(back(outcome, Reason::Requested), "at {step}: {outcome}");
    }
    let outcome = scenario().blow(commit + 2, Blow::Rollback).run();
    assert_eq!(outcome, Outcome::Completed { forced: None }, "too late");
}

#[test]
fn an_abort_ends_in_the_old_version_before_the_switch_and_is_too_late_after_it() {
    let mut straight = scenario();
    straight.run_to(Phase::Switch);
    let switch = straight.steps;
    for step in 2..switch {
        let outcome = scenario().blow(step, Blow::Abort).run();
        assert!(back(outcome, Reason::Aborted), "at {step}: {outcome}");
    }
    let outcome = scenario().blow(switch + 1, Blow::Abort).run();
    assert_eq!(outcome, Outcome::Completed { forced: None });
}

#[test]
fn the_way_back_mirrors_the_way_there() {
    let mut world = World::new(1, policy());
    world.run_to(Phase::Watch);
    let before = world.trace().len();
    world.strike(Blow::Rollback);
    assert!(back(world.run(), Reason::Requested));
    let trace = &world.trace()[before..];
    let turn = trace.iter().position(|line| line == "New: prepare Exporter").unwrap();
    assert_eq!(trace[turn + 1..turn + 4], ["Old: prepare Importer", "token to New", "New: export 7 Low 1"]);
    assert!(trace.iter().any(|line| line.starts_with("transact") && line.ends_with("from New: 1 and ports")));
    let end = [
        "Destroy(New)",
        "Old: Commit { own_format: true }",
        "DropToken",
        "Finish(RolledBack { reason: Requested })",
    ];
    assert_eq!(trace[trace.len() - end.len()..], end);
    assert_eq!(world.engine().report().moved_back, 1);
}

#[test]
fn what_never_had_anything_is_only_destroyed() {
    let mut world = World::new(1, policy());
    world.run_to(Phase::WarmUp);
    while !world.is_alive(Who::New) {
        world.micro_step();
    }
    world.strike(Blow::Kill(Who::New));
    assert!(matches!(world.run(), Outcome::RolledBack { reason: Reason::Died { who: Who::New, .. } }));
    assert!(!world.trace().iter().any(|line| line.starts_with("Restart") || line.starts_with("transact")));
}

#[test]
fn a_restarted_new_version_gives_everything_back_batch_by_batch() {
    let mut world = scenario();
    world.run_to(Phase::Watch);
    world.strike(Blow::Kill(Who::New));
    let outcome = world.run();
    assert!(
        matches!(outcome, Outcome::RolledBack { reason: Reason::Died { who: Who::New, .. } }),
        "{outcome}"
    );
    let trace = world.trace();
    assert_eq!(trace.iter().filter(|line| *line == "Restart(New)").count(), 1);
    assert!(!trace.iter().any(|line| line.contains("everything")));
    assert!(world.engine().report().downtime > 0);
}

#[test]
fn a_downtime_beyond_the_policy_goes_back() {
    let mut world = World::new(3, Policy { max_downtime: 3, ..policy() });
    let expected = Reason::Downtime { measured: 7, allowed: 3 };
    assert!(back(world.run(), expected));
}

#[test]
fn an_exporter_without_an_end_goes_back() {
    let mut world = World::new(30, Policy { max_batches: 8, batch_items: 2, ..policy() });
    let outcome = world.run();
    assert!(back(outcome, Reason::TooManyBatches { batches: 8 }), "{outcome}");
}

#[test]
fn the_old_versions_deaths_are_restarts_until_they_are_too_many() {
    let mut world = scenario();
    world.run_to(Phase::Watch);
    for _ in 0..2 {
        world.strike(Blow::Kill(Who::Old));
        let until = world.now + 6 * SECOND;
        while world.now < until {
            world.micro_step();
        }
        assert_eq!(world.engine().status().phase, Phase::Watch);
        assert!(world.is_alive(Who::Old), "the way back is kept open");
    }
    world.strike(Blow::Kill(Who::Old));
    let outcome = world.run();
    assert!(
        matches!(outcome, Outcome::RolledBack { reason: Reason::Died { who: Who::Old, .. } }),
        "{outcome}"
    );
}
