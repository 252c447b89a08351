//! Copy, move, delete, revoke; what a handle may be used for.

use super::invariants::{check, nothing_is_left};
use super::world::{ACCOUNT, Actor, World, pair, sandbox_spec};
use crate::config::MIN_TIMER;
use crate::machine::Machine;
use hic_abi::syscall::Syscall;
use hic_abi::{Error, FOREVER, Handle, ObjectType, Rights, SELF};
use std::vec::Vec;

fn copy(w: &mut World, who: Actor, to: Handle, from: Handle, rights: Rights) -> Result<(u64, u64), Error> {
    let args = [SELF.into(), to.into(), SELF.into(), from.into(), rights.bits().into()];
    w.sys(who, Syscall::CapCopy, args).expect("does not block")
}

#[test]
fn a_copy_has_the_rights_asked_for_and_no_others() {
    let mut w = World::new();
    let (child, n) = (w.child(), w.notification());
    w.give(n, child, 3, Rights::SEND | Rights::COPY);
    assert_eq!(w.rights(child, 3), Ok(Rights::SEND | Rights::COPY));
}

#[test]
fn rights_never_grow_over_a_chain_of_copies() {
    let mut w = World::new();
    let (child, n) = (w.child(), w.notification());
    w.give(n, child, 3, Rights::SEND | Rights::COPY);
    copy(&mut w, child, 4, 3, Rights::all()).expect("copied");
    copy(&mut w, child, 5, 4, Rights::all()).expect("copied");
    assert_eq!(w.rights(child, 5), Ok(Rights::SEND | Rights::COPY));
    assert_eq!(w.refused(child, Syscall::Wait, [5, 0, 0, 0, 0]), Error::MissingRights);
}

#[test]
fn without_the_copy_right_nothing_is_copied() {
    let mut w = World::new();
    let (child, n) = (w.child(), w.notification());
    w.give(n, child, 3, Rights::SEND);
    assert_eq!(copy(&mut w, child, 4, 3, Rights::SEND), Err(Error::MissingRights));
    check(&w.k);
}

#[test]
fn a_move_empties_the_slot_it_came_from() {
    let mut w = World::new();
    let (child, n) = (w.child(), w.notification());
    w.ok(w.manager, Syscall::CapMove, [child.cap.into(), 3, SELF.into(), n.into(), 0]);
    assert_eq!(w.rights(w.manager, n), Err(Error::InvalidHandle));
    assert_eq!(w.rights(child, 3), Ok(Rights::all()));
    check(&w.k);
}

#[test]
fn a_filled_slot_slot_zero_and_a_slot_beyond_the_space_take_nothing() {
    let mut w = World::new();
    let (child, n) = (w.child(), w.notification());
    w.give(n, child, 3, Rights::all());
    for slot in [0, 3, 64, 65, u32::MAX] {
        assert_eq!(copy(&mut w, child, slot, 3, Rights::all()), Err(Error::SlotUnusable), "slot {slot}");
    }
}

#[test]
fn a_deleted_capability_is_gone_and_its_object_with_the_last_one() {
    let mut w = World::new();
    let (child, n) = (w.child(), w.notification());
    w.give(n, child, 3, Rights::all());
    w.ok(w.manager, Syscall::CapDelete, [0, n.into(), 0, 0, 0]);
    assert_eq!(w.k.notifications.live(), 1);
    w.ok(child, Syscall::CapDelete, [0, 3, 0, 0, 0]);
    assert_eq!(w.k.notifications.live(), 0);
    assert_eq!(w.refused(child, Syscall::Signal, [3, 1, 0, 0, 0]), Error::InvalidHandle);
    check(&w.k);
}

#[test]
fn revoking_reaches_copies_of_copies_in_every_space_and_spares_the_origin() {
    let mut w = World::new();
    let (a, b, n) = (w.child(), w.child(), w.notification());
    w.give(n, a, 3, Rights::all());
    copy(&mut w, a, 4, 3, Rights::all()).expect("copied");
    w.ok(w.manager, Syscall::CapMove, [b.cap.into(), 9, a.cap.into(), 4, 0]);
    w.ok(w.manager, Syscall::CapRevoke, [0, n.into(), 0, 0, 0]);
    assert_eq!(w.rights(a, 3), Err(Error::InvalidHandle));
    assert_eq!(w.rights(b, 9), Err(Error::InvalidHandle));
    assert_eq!(w.rights(w.manager, n), Ok(Rights::all()));
    check(&w.k);
}

#[test]
fn deleting_a_capability_in_the_middle_leaves_what_derives_from_it_revocable() {
    let mut w = World::new();
    let (a, n) = (w.child(), w.notification());
    w.give(n, a, 3, Rights::all());
    copy(&mut w, a, 4, 3, Rights::all()).expect("copied");
    w.ok(a, Syscall::CapDelete, [0, 3, 0, 0, 0]);
    w.ok(w.manager, Syscall::CapRevoke, [0, n.into(), 0, 0, 0]);
    assert_eq!(w.rights(a, 4), Err(Error::InvalidHandle));
}

#[test]
fn a_long_revocation_lets_more_important_threads_run_between() {
    let mut w = World::new();
    let n = w.notification();
    let slots: Vec<Handle> = (0..500).map(|_| w.slot()).collect();
    for &slot in &slots {
        w.ok(w.manager, Syscall::CapCopy, [SELF.into(), slot.into(), SELF.into(), n.into(), u64::MAX]);
    }
    let urgent = w.child_with(ACCOUNT, &sandbox_spec("urgent", 20, 64));
    let wake = w.notification();
    w.give(wake, urgent, 3, Rights::RECEIVE);
    let deadline = w.k.machine.now() + MIN_TIMER;
    w.sys(urgent, Syscall::Wait, [3, deadline, 0, 0, 0]);
    w.k.run_instead(w.manager.thread);
    let frame = &mut w.k.threads[w.manager.thread].context.frame;
    frame.rax = Syscall::CapRevoke as u64;
    (frame.rdi, frame.rsi) = (SELF.into(), n.into());
    assert!(w.enter_once(), "one entry did it all");
    let left = slots.iter().filter(|&&slot| w.k.cap(w.manager.sandbox, slot).is_ok()).count();
    assert!((1..500).contains(&left), "{left} left after the first entry");
    w.pass(2 * MIN_TIMER);
    assert_eq!(w.running(), Some(urgent.thread));
    w.sys(urgent, Syscall::Wait, [3, FOREVER, 0, 0, 0]);
    assert_eq!(w.running(), Some(w.manager.thread));
    while w.enter_once() {}
    assert!(slots.iter().all(|&slot| w.k.cap(w.manager.sandbox, slot).is_err()));
    assert!(w.k.cap(w.manager.sandbox, n).is_ok());
    check(&w.k);
}

#[test]
fn revoking_a_long_chain_costs_the_same_for_each_link() {
    let mut w = World::new();
    let a = w.child_with(ACCOUNT, &sandbox_spec("long", 16, 4096));
    let n = w.notification();
    w.give(n, a, 1, Rights::all());
    for slot in 2..4000 {
        copy(&mut w, a, slot, slot - 1, Rights::all()).expect("copied");
    }
    let mut cost = |slot: u64| {
        crate::tests::accesses::during(|| {
            w.ok(a, Syscall::CapRevoke, [0, slot, 0, 0, 0]);
        })
    };
    let (short, long) = (cost(3899), cost(2899));
    assert!(long < short * 11, "100 links: {short}, 1000 links: {long}");
    check(&w.k);
}

/// Looks at slots and objects while one capability is deleted, or moved, from which this many others derive.
fn cost_with_children(children: Handle, call: Syscall) -> u64 {
    let mut w = World::new();
    let a = w.child_with(ACCOUNT, &sandbox_spec("many", 16, 4096));
    let n = w.notification();
    w.give(n, a, 1, Rights::all());
    copy(&mut w, a, 2, 1, Rights::all()).expect("copied");
    for slot in 3..3 + children {
        copy(&mut w, a, slot, 2, Rights::all()).expect("copied");
    }
    let args = match call {
        Syscall::CapDelete => [0, 2, 0, 0, 0],
        _ => [0, 4000, 0, 2, 0],
    };
    let cost = crate::tests::accesses::during(|| {
        w.ok(a, call, args);
    });
    w.ok(a, Syscall::CapRevoke, [0, 1, 0, 0, 0]);
    assert!(w.rights(a, 3).is_err() && w.rights(a, 2 + children).is_err(), "all are still reached");
    check(&w.k);
    cost
}

#[test]
fn deleting_or_moving_a_capability_costs_the_same_however_many_derive_from_it() {
    for call in [Syscall::CapDelete, Syscall::CapMove] {
        assert_eq!(cost_with_children(2, call), cost_with_children(3000, call), "{call:?}");
    }
}

#[test]
fn a_stale_handle_never_reaches_a_new_object() {
    let mut w = World::new();
    let (child, n) = (w.child(), w.notification());
    w.give(n, child, 3, Rights::all());
    w.ok(w.manager, Syscall::Destroy, [0, n.into(), 0, 0, 0]);
    let fresh = w.notification();
    assert_eq!(w.k.notifications.touched(), 1, "the new one took the old one's place");
    assert_eq!(w.refused(child, Syscall::Signal, [3, 1, 0, 0, 0]), Error::InvalidHandle);
    assert_eq!(w.refused(w.manager, Syscall::Wait, [fresh.into(), 0, 0, 0, 0]), Error::WouldBlock);
    check(&w.k);
}

#[test]
fn an_object_of_another_type_is_refused() {
    let mut w = World::new();
    let p = pair(&mut w);
    assert_eq!(w.refused(w.manager, Syscall::Signal, [p.endpoint.into(), 1, 0, 0, 0]), Error::WrongType);
    assert_eq!(w.refused(w.manager, Syscall::RegionInfo, [p.port.into(), 0, 0, 0, 0]), Error::WrongType);
    assert_eq!(w.refused(w.manager, Syscall::Receive, [p.port.into(), 0, 0, 0, 0]), Error::WrongType);
    assert_eq!(w.refused(w.manager, Syscall::Call, [p.endpoint.into(), 0, 0, 0, 0]), Error::WrongType);
    assert_eq!(w.refused(w.manager, Syscall::CapInfo, [p.port.into(), 1, 0, 0, 0]), Error::WrongType);
}

#[test]
fn a_space_is_closed_to_those_who_do_not_manage_its_sandbox() {
    let mut w = World::new();
    let (a, b) = (w.child(), w.child());
    w.give(b.cap, a, 3, Rights::all() - Rights::MANAGE);
    assert_eq!(w.refused(a, Syscall::CapInfo, [3, 1, 0, 0, 0]), Error::MissingRights);
    assert_eq!(w.refused(a, Syscall::CapMove, [0, 9, 3, 1, 0]), Error::MissingRights);
    assert_eq!(w.refused(a, Syscall::SandboxFreeze, [3, 0, 0, 0, 0]), Error::MissingRights);
}

#[test]
fn creating_needs_an_account_that_may_be_charged() {
    let mut w = World::new();
    let child = w.child();
    w.give(ACCOUNT, child, 3, Rights::all() - Rights::CHARGE);
    let args = [3, ObjectType::Endpoint as u64, 4, 0, 0];
    assert_eq!(w.refused(child, Syscall::Create, args), Error::MissingRights);
    for fixed in [ObjectType::Audit, ObjectType::Irq, ObjectType::Power, ObjectType::Thread] {
        let args = [ACCOUNT.into(), fixed as u64, 100, 0, 0];
        assert_eq!(w.refused(w.manager, Syscall::Create, args), Error::InvalidArgument, "{fixed:?}");
    }
}

#[test]
fn a_number_of_no_system_call_is_refused() {
    let mut w = World::new();
    for number in [Syscall::ALL.len() as u64, 1000, 1 << 32, u64::MAX] {
        assert_eq!(w.raw(w.manager, number, [0; 5]), Some(Err(Error::UnknownCall)));
    }
}

#[test]
fn an_empty_system_stays_whole_and_comes_apart_without_rest() {
    let mut w = World::new();
    pair(&mut w);
    let n = w.notification();
    let manager = w.manager;
    copy(&mut w, manager, 500, n, Rights::SEND).expect("copied");
    check(&w.k);
    nothing_is_left(w.k);
}
