//! Releases that never do what they should, and old versions that do not either.

use super::script::{Blow, Bug, label};
use super::world::{World, policy};
use crate::{Action, Engine, Event, Failed, Outcome, Phase, Policy, Reason, Refused, Request, Who};
use hic_migrate::Refusal;

fn scenario() -> World {
    World::new(11, Policy { moves_per_second: 40, ..policy() })
}

fn rolled_back(mut world: World) -> Reason {
    match world.run() {
        Outcome::RolledBack { reason } => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn a_module_that_is_refused_touches_nothing() {
    let mut world = scenario();
    world.refuse_module = Some(Refused::Module { code: 4 });
    assert_eq!(world.run(), Outcome::AbortedBeforeStart { refusal: Refused::Module { code: 4 } });
    assert_eq!(world.trace()[..2], ["CheckModule", "DropToken"]);
}

#[test]
fn an_instance_that_cannot_be_made_or_started_is_cleared_away() {
    let mut world = scenario();
    world.fail_create = true;
    assert_eq!(rolled_back(world), Reason::NotCreated(Failed { code: 4, at: 2 }));
    let mut world = scenario();
    world.fail_start = true;
    assert_eq!(rolled_back(world), Reason::NotStarted(Failed { code: 4, at: 2 }));
}

#[test]
fn a_deadline_that_is_told_late_blames_nobody_the_first_time() {
    let mut engine = Engine::new(Request::new("a", "1", "2"), 1);
    for event in [Event::Began, Event::Checked(Ok(())), Event::Created(Ok(())), Event::Started(Ok(()))] {
        let _ = engine.on(1, event);
    }
    let deadline = engine.deadline().expect("the exporter was asked");
    // The machine stood still.
    let late = deadline + 300_000_000;
    assert_eq!(engine.on(late, Event::Tick), []);
    let again = engine.deadline().expect("asked still");
    assert_eq!(again - late, deadline - 1, "the same time again");
    // And again: by now it would have answered.
    let actions = engine.on(again + 300_000_000, Event::Tick);
    assert!(actions.contains(&Action::Restart(Who::Old)), "{actions:?}");
    // In time, a hang is a hang at once.
    let mut engine = Engine::new(Request::new("a", "1", "2"), 1);
    for event in [Event::Began, Event::Checked(Ok(())), Event::Created(Ok(())), Event::Started(Ok(()))] {
        let _ = engine.on(1, event);
    }
    assert!(engine.on(deadline, Event::Tick).contains(&Action::Restart(Who::Old)));
}

#[test]
fn a_release_that_dies_at_its_start_goes_back() {
    let reason = rolled_back(scenario().bug(Who::New, Bug::DiesBefore(label::PREPARE)));
    assert!(matches!(reason, Reason::Died { who: Who::New, phase: Phase::WarmUp, .. }), "{reason}");
}

#[test]
fn a_release_that_hangs_at_its_start_goes_back() {
    let reason = rolled_back(scenario().bug(Who::New, Bug::Hangs(label::PREPARE)));
    assert_eq!(reason, Reason::Hang { who: Who::New, phase: Phase::WarmUp });
}

#[test]
fn a_release_whose_health_fails_after_the_switch_goes_back() {
    let mut world = scenario();
    world.sick = true;
    assert_eq!(rolled_back(world), Reason::Unhealthy { phase: Phase::Validate, test: 3 });
}

/// Whatever the new one always does wrong before the commit: the old one serves everything in the end.
#[test]
fn a_release_that_fails_at_any_question_goes_back() {
    for question in [label::PREPARE, label::IMPORT, label::MIGRATE, label::CHECK] {
        for bug in [
            Bug::DiesBefore(question),
            Bug::DiesAfter(question),
            Bug::Hangs(question),
            Bug::Refuses(question),
        ] {
            let reason = rolled_back(scenario().bug(Who::New, bug));
            let by_new = match reason {
                Reason::Died { who, .. } | Reason::Hang { who, .. } | Reason::Refused { who, .. } => {
                    who == Who::New
                }
                _ => false,
            };
            assert!(by_new, "{bug:?}: {reason}");
        }
    }
}

/// The figures are the instance's own.
#[test]
fn whoever_claims_to_have_moved_more_than_there_is_overflows_no_sum() {
    let questions = [label::PREPARE, label::EXPORT, label::IMPORT, label::MIGRATE, label::CHECK];
    for (who, question) in Who::BOTH.into_iter().flat_map(|who| questions.map(|question| (who, question))) {
        for back in [false, true] {
            let mut world = scenario().bug(who, Bug::Boasts(question));
            if back {
                world.run_to(Phase::Watch);
                world.strike(Blow::Rollback);
            }
            let outcome = world.run();
            assert!(outcome.serving().is_some(), "{who:?}, {question}: {outcome}");
        }
    }
}

/// These it is asked on the way back only.
#[test]
fn a_release_that_cannot_give_back_is_salvaged() {
    for question in [label::EXPORT, label::COMPLETE] {
        for bug in [
            Bug::DiesBefore(question),
            Bug::DiesAfter(question),
            Bug::Hangs(question),
            Bug::Refuses(question),
        ] {
            let mut world = scenario().bug(Who::New, bug);
            world.run_to(Phase::Watch);
            world.strike(Blow::Rollback);
            assert_eq!(world.run(), Outcome::RolledBack { reason: Reason::Requested }, "{bug:?}");
            assert!(world.trace().iter().any(|line| line.contains("import") && line.contains("everything")));
            assert!(world.trace().iter().any(|line| line == "Freeze(New)"), "{bug:?}");
        }
    }
}

#[test]
fn a_release_that_does_not_start_again_is_salvaged() {
    let mut world = scenario().bug(Who::New, Bug::NeverRestarts);
    world.run_to(Phase::Watch);
    world.strike(Blow::Kill(Who::New));
    assert!(matches!(world.run(), Outcome::RolledBack { reason: Reason::Died { .. } }));
}

#[test]
fn an_old_version_that_refuses_to_give_anything_is_left_as_it_is() {
    for question in [label::PREPARE, label::EXPORT] {
        let reason = rolled_back(scenario().bug(Who::Old, Bug::Refuses(question)));
        let Reason::Refused { who: Who::Old, refusal: Refusal::NoResources, .. } = reason else {
            panic!("{reason}")
        };
    }
}

/// It dies again and again, so the update goes back to it; where its death lies in what the new one asks of it, there is nothing to go back to.
#[test]
fn an_old_version_that_fails_at_any_question_ends_in_one_whole_version() {
    for question in [label::PREPARE, label::EXPORT, label::COMPLETE] {
        for bug in [
            Bug::DiesBefore(question),
            Bug::DiesAfter(question),
            Bug::Hangs(question),
            Bug::Refuses(question),
        ] {
            let outcome = scenario().bug(Who::Old, bug).run();
            assert!(outcome.serving().is_some(), "{bug:?}: {outcome}");
        }
    }
}

#[test]
fn an_old_version_that_does_not_start_again_is_salvaged_forward() {
    for phase in [Phase::Migrate, Phase::Switch, Phase::Rest, Phase::Validate, Phase::Watch, Phase::Turn] {
        let mut world = scenario().bug(Who::Old, Bug::NeverRestarts);
        if phase == Phase::Turn {
            world.run_to(Phase::Watch);
            world.strike(Blow::Rollback);
        }
        world.run_to(phase);
        world.strike(Blow::Kill(Who::Old));
        let outcome = world.run();
        let forced = matches!(
            outcome,
            Outcome::Completed { forced: Some(Reason::NotRestarted { who: Who::Old, .. }) }
        );
        assert!(forced, "{phase:?}: {outcome}");
        assert!(world.trace().iter().any(|line| line == "Freeze(Old)"));
        assert!(!world.trace().iter().any(|line| line == "Old: Shutdown"));
    }
}

#[test]
fn when_neither_comes_up_nothing_is_destroyed() {
    let mut world = scenario().bug(Who::Old, Bug::NeverRestarts).bug(Who::New, Bug::NeverRestarts);
    world.run_to(Phase::Watch);
    world.strike(Blow::Kill(Who::Old));
    world.strike(Blow::Kill(Who::New));
    let outcome = world.run();
    assert!(matches!(outcome, Outcome::Lost { .. }), "{outcome}");
    assert!(!world.trace().iter().any(|line| line.starts_with("Destroy")));
}

#[test]
fn a_transaction_that_the_kernel_refuses_goes_back() {
    let reason = Reason::NotMoved(Failed { code: 6, at: 0 });
    for first in 1..6 {
        for last in first + 1..first + 4 {
            let mut world = scenario();
            world.fail_transactions = first..last;
            assert_eq!(rolled_back(world), reason, "{first}..{last}");
        }
    }
    let mut world = scenario();
    world.fail_transactions = 1..u64::MAX;
    assert_eq!(rolled_back(world), reason, "nothing had moved");
}

#[test]
fn when_the_kernel_moves_nothing_any_more_nothing_is_destroyed() {
    let mut world = scenario();
    world.fail_transactions = 3..u64::MAX;
    assert_eq!(world.run().serving(), None);
    assert!(!world.trace().iter().any(|line| line.starts_with("Destroy") || line == "DropToken"));
}

#[test]
fn a_default_that_cannot_be_recorded_goes_back() {
    let mut world = scenario();
    world.fail_record = true;
    assert_eq!(rolled_back(world), Reason::NotRecorded(Failed { code: 4, at: 2 }));
}

#[test]
fn work_that_does_not_come_back_is_not_waited_for() {
    let slow = |silent: fn(&Action) -> bool| {
        let mut world = scenario();
        world.silent = silent;
        rolled_back(world)
    };
    assert_eq!(slow(|a| *a == Action::CheckModule), Reason::TooSlow { phase: Phase::Check });
    assert_eq!(slow(|a| *a == Action::CreateInstance), Reason::TooSlow { phase: Phase::Create });
    assert_eq!(slow(|a| *a == Action::StartInstance), Reason::TooSlow { phase: Phase::WarmUp });
    let record = slow(|a| *a == Action::RecordDefault(Who::New));
    assert_eq!(record, Reason::NotRecorded(Failed::default()));
}

#[test]
fn a_restart_that_does_not_come_back_has_failed() {
    let mut world = scenario();
    world.silent = |a| *a == Action::Restart(Who::Old);
    world.run_to(Phase::Watch);
    world.strike(Blow::Kill(Who::Old));
    let error = Failed::default();
    let forced = Some(Reason::NotRestarted { who: Who::Old, error });
    assert_eq!(world.run(), Outcome::Completed { forced });
}

#[test]
fn a_committed_version_that_fails_at_being_told_so_stays_as_it_is() {
    for bug in [Bug::DiesBefore(label::COMMIT), Bug::DiesAfter(label::COMMIT), Bug::Hangs(label::COMMIT)] {
        let mut world = scenario().bug(Who::New, bug);
        let outcome = world.run();
        assert!(matches!(outcome, Outcome::Completed { forced: Some(_) }), "{bug:?}: {outcome}");
    }
}

#[test]
fn an_old_version_that_cannot_abort_a_batch_ends_in_one_whole_version() {
    for bug in [Bug::DiesBefore(label::ABORT), Bug::DiesAfter(label::ABORT), Bug::Hangs(label::ABORT)] {
        let mut world = scenario().bug(Who::Old, bug);
        world.fail_transactions = 2..3;
        let outcome = world.run();
        assert!(outcome.serving().is_some(), "{bug:?}: {outcome}");
    }
}

#[test]
fn after_the_record_a_new_version_that_dies_is_started_again() {
    let mut world = scenario();
    world.run_to(Phase::Commit);
    while world.default == Who::Old {
        world.micro_step();
    }
    world.micro_step();
    world.strike(Blow::Kill(Who::New));
    assert_eq!(world.run(), Outcome::Completed { forced: None });
}

#[test]
fn an_answer_of_the_wrong_form_is_a_refusal() {
    let mut world = scenario();
    world.run_to(Phase::WarmUp);
    let mut engine: Engine = world.engine().clone();
    let _ = engine.on(world.now, Event::Started(Ok(())));
    let garbage = hic_channel::Message::new(77, [u64::MAX; 8]);
    let _ = engine.on(world.now, Event::Answered { who: Who::Old, answer: &garbage });
    let reason = Reason::Refused { who: Who::Old, phase: Phase::WarmUp, refusal: Refusal::Malformed };
    assert_eq!(engine.report().reason, Some(reason));
    let _ = Request::new("", "", "");
}
