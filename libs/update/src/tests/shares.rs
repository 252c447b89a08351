//! The processor: what is promised, and who runs with which share.

use super::script::{Blow, Bug, label};
use super::world::{World, policy};
use crate::processor::{Holder, Holders, Short, WARM_UP, free, room, update_holds, update_needs};
use crate::{Action, Outcome, Phase, Policy, Quota, Refused, Who};
use proptest::prelude::*;
use std::string::ToString;
use std::vec::Vec;

const HELD: [Holder<'_>; 3] = [
    Holder { name: "verifier", guarantee: 200 },
    Holder { name: "inetd", guarantee: 0 },
    Holder { name: "netstack", guarantee: 405 },
];

#[test]
fn what_is_short_is_named_with_the_shortfall_and_those_who_hold_it() {
    assert_eq!(free(HELD), 345);
    assert_eq!(room(345, 345), Ok(()));
    let short = room(345, 350).unwrap_err();
    assert_eq!(
        short.to_string(),
        "0.5 % of the processor are short: 34.5 % of the 95.0 % that can be guaranteed are free, 35.0 % are wanted"
    );
    assert_eq!(Holders(&HELD).to_string(), "held by verifier 20.0 %, netstack 40.5 %");
    assert_eq!(Holders(&[]).to_string(), "nobody holds any");
    let all = [Holder { name: "a", guarantee: u64::MAX }; 2];
    assert_eq!(room(free(all), 1), Err(Short { free: 0, wanted: 1 }), "no overflow makes room");
}

proptest! {
    #[test]
    fn what_an_update_needs_is_what_it_holds_beyond_what_the_service_held(from in 0..=1000_u64, to in 0..=1000_u64) {
        let [service, beside] = update_holds(from, to);
        prop_assert_eq!(service + beside, from + update_needs(from, to));
        prop_assert!(beside == WARM_UP && service >= to, "at no time one of the two has more than is held for it");
    }
}

/// Runs to the end and says in which phases something was reserved.
fn reserving(mut world: World) -> (Outcome, Vec<Phase>) {
    let mut phases = Vec::new();
    let mut before = false;
    while world.end.is_none() {
        world.micro_step();
        let Some(engine) = &world.engine else { continue };
        let (reserves, phase) = (engine.reserves(), engine.status().phase);
        assert_eq!(reserves, !matches!(phase, Phase::Check | Phase::Done), "in {phase:?}");
        assert!(
            reserves || !world.exists(Who::New) || phase == Phase::Done,
            "nobody runs on what was not reserved"
        );
        if reserves != before {
            phases.push(phase);
            before = reserves;
        }
    }
    (world.run(), phases)
}

#[test]
fn what_was_reserved_is_free_again_however_the_update_ends() {
    let begun_and_ended = [Phase::Create, Phase::Done];
    let good = || World::new(6, policy());
    assert_eq!(reserving(good()), (Outcome::Completed { forced: None }, begun_and_ended.to_vec()));
    let mut refused = good();
    refused.refuse_module = Some(Refused::Module { code: 4 });
    assert_eq!(reserving(refused).1, [], "nothing was promised to what was refused");
    let mut not_made = good();
    not_made.fail_create = true;
    for world in [
        not_made,
        good().blow(12, Blow::Abort),
        good().blow(60, Blow::Rollback),
        good().bug(Who::New, Bug::Hangs(label::PREPARE)),
        good().bug(Who::New, Bug::DiesBefore(label::MIGRATE)),
    ] {
        let (outcome, phases) = reserving(world);
        assert!(matches!(outcome, Outcome::RolledBack { .. }), "{outcome:?}");
        assert_eq!(phases, begun_and_ended);
    }
}

fn shares(world: &World) -> Vec<(Who, Quota)> {
    let share = |action: &Action| match action {
        Action::Share { who, quota } => Some((*who, *quota)),
        _ => None,
    };
    world.trace.iter().filter_map(share).collect()
}

#[test]
fn the_new_one_has_its_quota_until_it_is_the_default_and_then_the_old_one_has() {
    let mut world = World::new(6, policy());
    world.run_to(Phase::Switch);
    assert_eq!(shares(&world), [(Who::New, Quota::Beside)], "it was made with the one for its warm-up");
    world.run_to(Phase::Watch);
    let swapped = [(Who::Old, Quota::Beside), (Who::New, Quota::Service)];
    assert_eq!(shares(&world)[1..], swapped, "first down, then up: never more than was reserved");
    world.run();
    assert_eq!(shares(&world).len(), 3);
}

#[test]
fn on_the_way_back_the_old_one_gets_its_share_again() {
    let mut world = World::new(6, Policy { manual_commit: 1, ..policy() });
    world.run_to(Phase::Watch);
    world.strike(Blow::Rollback);
    assert!(matches!(world.run(), Outcome::RolledBack { .. }));
    let back = [(Who::New, Quota::Beside), (Who::Old, Quota::Service)];
    assert_eq!(shares(&world)[3..], back);
}
