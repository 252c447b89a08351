//! How little clients notice: moving has its share of the time, and the new version is looked at while it takes items.

use super::script::Blow;
use super::world::{SECOND, World, policy};
use crate::{Nanos, Outcome, Phase, Policy, Reason};
use std::vec::Vec;

/// So few that their batches never fill what the pace remembers of a second.
const ITEMS: u32 = 40;

/// No rate that matters beside the share.
fn shared(share: u64) -> Policy {
    Policy { moves_per_second: 10_000, batch_items: 5, share, ..policy() }
}

/// How long it took to move everything there, and how much of that was work.
fn there(world: &mut World) -> (Nanos, Nanos) {
    world.run_to(Phase::Migrate);
    let begin = world.now;
    world.run_to(Phase::Validate);
    (world.now - begin, world.engine().report().moving)
}

/// How long it took to move everything back.
fn back(world: &mut World) -> Nanos {
    let begin = world.now;
    assert!(matches!(world.run(), Outcome::RolledBack { .. }));
    world.now - begin
}

#[test]
fn moving_takes_its_share_of_the_time_and_wastes_none() {
    for share in [2, 8, 100, 500] {
        let mut world = World::new(ITEMS, shared(share));
        let (took, work) = there(&mut world);
        let whole = work * 1000 / share;
        assert!(took <= whole + whole / 20, "{took} ns at {share}, {work} of them work");
        assert!(
            took >= whole - whole / 20,
            "the last batch alone is not rested for: {took} ns at {share}, {work} of work"
        );
    }
}

#[test]
fn all_of_the_time_is_no_pause() {
    let (took, work) = there(&mut World::new(ITEMS, shared(1000)));
    assert_eq!(took, work);
}

#[test]
fn no_pause_is_longer_than_the_policy_s_longest() {
    let longest_pause = SECOND / 100;
    let mut world = World::new(ITEMS, Policy { longest_pause, ..shared(8) });
    let (took, work) = there(&mut world);
    let batches = world.trace().iter().filter(|line| line.starts_with("token to")).count() as u64;
    assert!(took <= work + batches * longest_pause && took * 8 < work * 1000);
}

#[test]
fn back_at_the_operator_s_word_it_goes_as_gently_as_there() {
    let mut world = World::new(ITEMS, shared(8));
    let (took, _) = there(&mut world);
    world.run_to(Phase::Watch);
    world.strike(Blow::Rollback);
    assert!(back(&mut world) > took / 3, "there the last wave goes one by one");
}

#[test]
fn back_from_a_version_that_fails_nobody_waits() {
    let mut world = World::new(ITEMS, shared(8));
    let (took, work) = there(&mut world);
    world.run_to(Phase::Watch);
    world.sick_from = 0;
    // Until the next health check is due, and the way.
    let back = back(&mut world);
    assert!(back < policy().check_period + 2 * work && took > 10 * work, "{back} ns back, {took} ns there");
}

/// Steps of the way there as one letter each: what is exported in which wave, a batch that moved, a check.
fn waves(world: &World) -> Vec<&'static str> {
    let trace = world.trace();
    let begin = trace.iter().position(|line| line == "New: share Beside").expect("it warmed up");
    let end = trace.iter().position(|line| line.ends_with("role")).expect("the switch came");
    let step = |line: &alloc::string::String| match line.as_str() {
        "New: Check" => Some("check"),
        line if line.starts_with("transact") => Some("batch"),
        line if line.contains("Low") && line.contains("export") => Some("low"),
        line if line.contains("Medium") && line.contains("export") => Some("medium"),
        line if line.contains("High") && line.contains("export") => Some("high"),
        line if line.contains("Persistent") && line.contains("export") => Some("persistent"),
        _ => None,
    };
    trace[begin..end].iter().filter_map(step).collect()
}

#[test]
fn the_new_version_is_looked_at_after_each_batch_and_after_each_item_that_must_not_notice() {
    // Three items for each wave.
    let mut world =
        World::new(12, Policy { wave_checks: [0, SECOND * 3600, SECOND * 3600, 0], ..shared(500) });
    assert_eq!(world.run(), Outcome::Completed { forced: None });
    let low = ["low", "batch", "check", "low", "batch", "check", "low"];
    let quiet = ["medium", "batch", "medium", "high", "batch", "high"];
    let last =
        ["persistent", "batch", "check", "persistent", "batch", "check", "persistent", "batch", "check"];
    let expected: Vec<_> = low.into_iter().chain(quiet).chain(last).collect();
    let seen = waves(&world);
    assert_eq!(seen[..expected.len()], expected);
}

#[test]
fn busy_waves_are_looked_at_as_often_as_the_policy_says() {
    let period = SECOND / 10;
    let checks = |period| {
        let mut world = World::new(400, Policy { wave_checks: [period; 4], ..shared(100) });
        world.run_to(Phase::Switch);
        let report = world.engine().report();
        let took = report.steps.iter().find(|step| step.phase == Phase::Migrate).and_then(|step| step.ended);
        let took = took.expect("it ended") - report.steps[3].started;
        (took, waves_checks(&world))
    };
    let (took, rare) = checks(period);
    assert!(rare > 3 && rare <= took / period + 1, "{rare} checks in {took} ns");
    let (_, each) = checks(0);
    assert!(each > 2 * rare, "{each} after each batch, {rare} at intervals");
}

#[test]
fn a_long_pause_is_no_time_without_a_look() {
    let period = SECOND / 10;
    let mut world = World::new(ITEMS, Policy { wave_checks: [period; 4], ..shared(2) });
    world.run_to(Phase::Migrate);
    let checks = |world: &World| checks_in(&world.trace());
    let (begin, mut seen, mut last, mut longest) = (world.now, checks(&world), world.now, 0);
    while world.engine().status().phase == Phase::Migrate {
        world.micro_step();
        if checks(&world) > seen {
            longest = longest.max(world.now - last);
            (seen, last) = (checks(&world), world.now);
        }
    }
    assert!(seen > (world.now - begin) / period / 2, "{seen} checks in {} ns", world.now - begin);
    assert!(longest < period + period / 2, "{longest} ns without a look");
}

fn waves_checks(world: &World) -> u64 {
    let trace = world.trace();
    let begin = trace.iter().position(|line| line == "New: share Beside").unwrap_or(0);
    checks_in(&trace[begin..])
}

fn checks_in(trace: &[alloc::string::String]) -> u64 {
    trace.iter().filter(|line| *line == "New: Check").count() as u64
}

#[test]
fn a_version_that_is_not_well_after_a_batch_gets_no_other() {
    let mut world = World::new(12, policy());
    world.sick_from = 2;
    let reason = Reason::Unhealthy { phase: Phase::Migrate, test: 3 };
    assert_eq!(world.run(), Outcome::RolledBack { reason });
    let trace = world.trace();
    assert_eq!(trace.iter().filter(|line| line.contains("from Old")).count(), 2);
    assert!(!trace.iter().any(|line| line.contains("ports")), "it never answered for the service");
    assert_eq!(world.engine().report().moved_back, world.engine().report().migrated);
}
