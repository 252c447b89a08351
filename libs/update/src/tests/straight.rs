//! The straight path.

use super::script::Blow;
use super::world::{SECOND, World, policy};
use crate::{BatchPart, Engine, Event, Outcome, Phase, Policy, Request};
use std::string::ToString;
use std::vec::Vec;

const DONE: Outcome = Outcome::Completed { forced: None };

#[test]
fn each_side_is_asked_for_its_part_in_order() {
    let mut world = World::new(1, policy());
    world.born_every = 0;
    assert_eq!(world.run(), DONE);
    let batch = ["New: import 2 Medium 1", "transact 2 from Old: 1", "New: migrate 2", "Old: complete 2"];
    let role = [
        "token to Old",
        "Old: export 3 High 2",
        "token to Old",
        "Old: export 4 Persistent 1",
        "token to Old",
        "Old: export 5 role",
        "New: import 5 role",
        "transact 5 from Old: 1 and ports",
        "Old: share Beside",
        "New: share Service",
        "New: migrate 5",
        "Old: complete 5",
        "token to Old",
        "Old: export 6 Persistent 2",
    ];
    let begin = [
        "CheckModule",
        "CreateInstance",
        "StartInstance",
        "Old: prepare Exporter",
        "New: prepare Importer",
        "New: Check",
        "New: share Beside",
        "token to Old",
        "Old: export 1 Low 1",
        "token to Old",
        "Old: export 2 Medium 1",
    ];
    let trace = world.trace();
    let head: Vec<_> = begin.into_iter().chain(batch).chain(role).collect();
    assert_eq!(trace[..head.len()], head);
    let checks = trace[head.len()..].iter().filter(|line| *line == "New: Check").count();
    assert_eq!(checks, 3 + 3, "three to validate, and one every 5 s of the window of 20 s but for its end");
    let end = [
        "RecordDefault(New)",
        "New: Commit { own_format: true }",
        "Old: Shutdown",
        "Destroy(Old)",
        "DropToken",
        "Finish(Completed { forced: None })",
    ];
    assert_eq!(trace[trace.len() - end.len()..], end);
}

#[test]
fn no_second_sees_more_moves_than_the_policy_allows_and_none_is_wasted() {
    let mut world = World::new(100, Policy { moves_per_second: 20, batch_items: 7, share: 1000, ..policy() });
    world.run_to(Phase::Migrate);
    let begin = world.now;
    world.run_to(Phase::Validate);
    let took = world.now - begin;
    assert!((4 * SECOND..7 * SECOND).contains(&took), "{took} ns for 100 items, 20 a second");
    assert_eq!(world.run(), DONE);
}

#[test]
fn batches_begin_with_one_item_and_double_until_the_policy_s_size() {
    let mut world = World::new(100, Policy { moves_per_second: 1000, batch_items: 10, ..policy() });
    world.run_to(Phase::Switch);
    let asked = |line: &alloc::string::String| {
        let rest = line.strip_prefix("Old: export ").filter(|rest| !rest.contains("Persistent"))?;
        rest.rsplit(' ').next()?.parse::<u64>().ok()
    };
    let mut sizes: Vec<u64> = world.trace().iter().filter_map(asked).collect();
    sizes.dedup();
    assert_eq!(sizes, [1, 2, 4, 8, 10]);
}

#[test]
fn clients_that_keep_coming_do_not_keep_a_wave_from_its_end() {
    let mut world = World::new(20, Policy { moves_per_second: 1000, ..policy() });
    world.born_every = 2;
    world.run_to(Phase::Watch);
    world.born_every = 0;
    assert_eq!(world.run(), DONE);
}

#[test]
fn the_operator_ends_the_window_early() {
    let mut world = World::new(5, Policy { manual_commit: 1, ..policy() });
    world.run_to(Phase::Watch);
    let begin = world.now;
    for _ in 0..200 {
        world.micro_step();
    }
    assert!(world.now - begin > 30 * SECOND, "the window does not end by itself");
    assert!(world.engine().status().can_commit);
    world.strike(Blow::Commit);
    let before = world.now;
    assert_eq!(world.run(), DONE);
    assert!(world.now - before < SECOND);
}

#[test]
fn a_commit_asked_for_during_validation_waits_for_its_end() {
    let mut world = World::new(5, policy());
    world.run_to(Phase::Validate);
    world.strike(Blow::Commit);
    let before = world.now;
    assert_eq!(world.run(), DONE);
    assert!(world.now - before < 2 * SECOND);
    let trace = world.trace();
    let validation = trace.iter().rposition(|line| line.starts_with("Old: complete")).unwrap_or(0);
    assert_eq!(trace[validation..].iter().filter(|line| *line == "New: Check").count(), 3);
}

#[test]
fn the_notes_read_as_an_operator_counts_the_steps() {
    let mut world = World::new(6, policy());
    world.run();
    for line in [
        "step 1/9 check",
        "step 4/9 migrate: 0 of 6 items, wave low",
        "step 5/9 switch",
        "step 5/9 move the rest: 6 of 6 items",
        "step 7/9 watch: 20 s left",
        "step 9/9 clean up",
    ] {
        assert!(world.notes.iter().any(|note| note == line), "{line} is missing in {:#?}", world.notes);
    }
}

#[test]
fn the_report_counts_items_batches_and_times() {
    let mut world = World::new(8, policy());
    world.run();
    let report = world.engine().report();
    assert_eq!((report.total, report.migrated, report.moved_back, report.lost), (8, 8, 0, 0));
    assert_eq!((report.longest_freeze, report.mean_freeze, report.downtime), (7, 5, 7));
    assert_eq!(
        report.batches,
        3 + 1 + 2 + 1,
        "one for each wave, a second one where the first could not be large, two of one item in the last wave, and the role"
    );
    assert_eq!(report.steps.len(), 10);
    assert!(report.steps.iter().all(|step| step.ended.is_some()));
    assert!(report.steps.is_sorted_by_key(|step| step.started));
    let parts: u64 = report.parts.iter().sum();
    assert!(report.parts[BatchPart::Export as usize] > 0 && report.parts[BatchPart::Complete as usize] > 0);
    assert!(parts <= report.moving, "{:?} of {}", report.parts, report.moving);
    let text = report.to_string();
    assert!(text.contains("\nof it token ") && text.contains(", take over "), "{text}");
    assert!(text.starts_with("netstack 1.2.0 -> 1.3.0, asked for by the console\n"), "{text}");
    assert!(text.ends_with("completed"), "{text}");
}

#[test]
fn an_event_that_nobody_waits_for_changes_nothing() {
    let mut engine = Engine::new(Request::new("a", "1", "2"), 1);
    let before = engine.journal();
    for event in [Event::Tick, Event::Placed(Ok(())), Event::Transacted(Ok(())), Event::Recorded(Ok(()))] {
        assert_eq!(engine.on(5, event), []);
    }
    assert_eq!(engine.journal(), before);
}
