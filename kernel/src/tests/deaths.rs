//! Faults, freezing, starting again, and servers that die at each moment of a call.

use super::invariants::{check, nothing_is_left};
use super::world::{ACCOUNT, Actor, CALL, SERVE, World, pair, sandbox_spec, word};
use crate::objects::State;
use hic_abi::message::{Fault, Kind};
use hic_abi::object::ThreadSpec;
use hic_abi::switch::{Entry, EntryKind};
use hic_abi::syscall::Syscall;
use hic_abi::{Error, Plain, Rights, SELF, USER_BASE};

const FAULT_BADGE: u64 = 0xfa;

/// Leads a child's faults to an endpoint of the manager; its slot.
fn watch(w: &mut World, child: Actor) -> u32 {
    let endpoint = w.endpoint();
    let port = w.port(endpoint, FAULT_BADGE);
    w.ok(w.manager, Syscall::SandboxFaultPort, [child.cap.into(), port.into(), 0, 0, 0]);
    endpoint
}

fn crash(w: &mut World, child: Actor) {
    w.k.run_instead(child.thread);
    w.k.threads[child.thread].context.frame.rip = 0x1234;
    w.k.exception(14, 6, 0xdead);
    w.k.choose_next();
}

fn freeze(w: &mut World, child: Actor) {
    w.ok(w.manager, Syscall::SandboxFreeze, [child.cap.into(), 99, 0, 0, 0]);
}

fn reset(w: &mut World, child: &mut Actor) {
    w.ok(w.manager, Syscall::SandboxReset, [child.cap.into(), 0, 0, 0, 0]);
    w.start(ACCOUNT, child);
}

#[test]
fn a_fault_becomes_a_message_with_its_cause_address_and_place() {
    let mut w = World::new();
    let child = w.child();
    let faults = watch(&mut w, child);
    crash(&mut w, child);
    let got = w.receive(w.manager, faults).expect("queued").expect("a message");
    assert_eq!((got.kind, got.badge), (Kind::Fault, FAULT_BADGE));
    assert_eq!(got.words, [Fault::Exception as u64, 14 | 6 << 8, 0xdead, 0x1234]);
    assert_eq!(got.caller, w.k.sandboxes[child.sandbox].serial);
    check(&w.k);
}

/// Found by the model: a thread belongs to its sandbox, and its fault is not lost with whoever had started it.
#[test]
fn a_fault_outlives_the_last_capability_on_its_thread() {
    let mut w = World::new();
    let child = w.child();
    let faults = watch(&mut w, child);
    let (slot, spec) = (w.slot(), ThreadSpec { entry: USER_BASE, stack: USER_BASE, argument: 0 });
    freeze(&mut w, child);
    w.receive(w.manager, faults).expect("queued").expect("a message");
    w.ok(w.manager, Syscall::SandboxReset, [child.cap.into(), 0, 0, 0, 0]);
    let at = w.put(w.manager, spec.as_bytes());
    w.ok(w.manager, Syscall::ThreadStart, [ACCOUNT.into(), child.cap.into(), slot.into(), at, 0]);
    freeze(&mut w, child);
    w.ok(w.manager, Syscall::CapDelete, [SELF.into(), slot.into(), 0, 0, 0]);
    assert_eq!(w.receive(w.manager, faults).expect("queued").expect("a message").kind, Kind::Fault);
    check(&w.k);
}

/// Found by the model: what an interrupted call had begun, the next choice of a thread or an idle processor may end.
#[test]
fn a_destroy_succeeds_whoever_takes_the_sandbox_apart() {
    let mut w = World::new();
    let child = w.child_with(ACCOUNT, &sandbox_spec("large", 16, 4096));
    let n = w.notification();
    w.give(n, child, 4095, Rights::SEND);
    w.k.run_instead(w.manager.thread);
    let frame = &mut w.k.threads[w.manager.thread].context.frame;
    frame.rax = Syscall::Destroy as u64;
    (frame.rdi, frame.rsi) = (SELF.into(), child.cap.into());
    assert!(w.enter_once(), "one entry did it all");
    while w.k.dismantle_some() {}
    assert!(!w.enter_once());
    assert!(w.result(w.manager).expect("it does not block").is_ok());
    let place = w.k.slot(w.manager.sandbox, child.cap).expect("a slot");
    assert!(w.k.caps.get(place).is_none(), "the capability is gone as well");
    check(&w.k);
}

/// Found by the model: nobody comes back from this call to clear up after it.
#[test]
fn a_sandbox_that_destroys_itself_leaves_no_capability_where_it_found_it() {
    let mut w = World::new();
    let (child, other) = (w.child(), w.child());
    w.give(other.cap, child, 5, Rights::all());
    w.give(child.cap, other, 6, Rights::all());
    assert_eq!(w.sys(child, Syscall::Destroy, [5, 6, 0, 0, 0]), None);
    while w.k.dismantle_some() {}
    assert_eq!(w.refused(w.manager, Syscall::CapInfo, [child.cap.into(), 0, 0, 0, 0]), Error::InvalidHandle);
    let place = w.k.slot(other.sandbox, 6).expect("a slot");
    assert!(w.k.caps.get(place).is_none());
    check(&w.k);
}

#[test]
fn a_fault_wakes_whoever_waits_for_it() {
    let mut w = World::new();
    let child = w.child();
    let faults = watch(&mut w, child);
    assert_eq!(w.receive(w.manager, faults), None);
    crash(&mut w, child);
    assert_eq!(w.got(w.manager).expect("received").expect("a message").kind, Kind::Fault);
    check(&w.k);
}

#[test]
fn exit_and_freeze_are_reported_with_their_reason() {
    let mut w = World::new();
    let (a, b) = (w.child(), w.child());
    let (from_a, from_b) = (watch(&mut w, a), watch(&mut w, b));
    assert_eq!(w.sys(a, Syscall::Exit, [5, 0, 0, 0, 0]), None);
    freeze(&mut w, b);
    let got = w.receive(w.manager, from_a).expect("queued").expect("a message");
    assert_eq!(got.words[..2], [Fault::Exit as u64, 5]);
    let got = w.receive(w.manager, from_b).expect("queued").expect("a message");
    assert_eq!(got.words[..2], [Fault::Frozen as u64, 99]);
    assert_eq!(w.refused(w.manager, Syscall::SandboxFreeze, [a.cap.into(), 0, 0, 0, 0]), Error::WrongState);
    check(&w.k);
}

#[test]
fn a_fault_on_a_port_that_moves_goes_to_the_successor() {
    let mut w = World::new();
    let child = w.child();
    let (old, new) = (w.endpoint(), w.endpoint());
    let port = w.port(old, FAULT_BADGE);
    w.ok(w.manager, Syscall::SandboxFaultPort, [child.cap.into(), port.into(), 0, 0, 0]);
    crash(&mut w, child);
    w.ok(w.manager, Syscall::PortSwitch, [port.into(), new.into(), 0, 0, 0]);
    assert_eq!(w.receive_until(w.manager, old, 0), Some(Err(Error::WouldBlock)));
    assert!(w.receive(w.manager, new).is_some());
    check(&w.k);
}

#[test]
fn a_frozen_sandbox_keeps_its_capabilities_memory_and_charge() {
    let mut w = World::new();
    let account = w.account(ACCOUNT, 100, 100);
    let child = w.child_with(account, &super::world::sandbox_spec("child", 16, 64));
    let n = w.notification();
    w.give(n, child, 3, Rights::SEND);
    let text = w.put(child, b"kept");
    let usage = w.usage(account);
    crash(&mut w, child);
    assert_eq!(w.usage(account), usage);
    let args = [child.cap.into(), 3, 0, 0, 0];
    assert!(matches!(w.sys(w.manager, Syscall::CapInfo, args), Some(Ok(_))));
    assert_eq!(w.k.machine.bytes(text - hic_abi::USER_BASE, 4), b"kept");
    check(&w.k);
}

#[test]
fn a_reset_sandbox_starts_again_over_the_same_capabilities_and_identity() {
    let mut w = World::new();
    let mut p = pair(&mut w);
    let serial = w.k.sandboxes[p.server.sandbox].serial;
    crash(&mut w, p.server);
    w.call(p.client, CALL, word(3));
    reset(&mut w, &mut p.server);
    assert_eq!(w.k.sandboxes[p.server.sandbox].serial, serial);
    assert_eq!(w.receive(p.server, SERVE).expect("queued").expect("a message").words[0], 3);
    check(&w.k);
}

#[test]
fn only_a_frozen_sandbox_is_reset_and_only_a_thawed_one_started() {
    let mut w = World::new();
    let child = w.child();
    assert_eq!(
        w.refused(w.manager, Syscall::SandboxReset, [child.cap.into(), 0, 0, 0, 0]),
        Error::WrongState
    );
    freeze(&mut w, child);
    let spec = w.put(w.manager, hic_abi::object::ThreadSpec { entry: 0, stack: 0, argument: 0 }.as_bytes());
    let args = [ACCOUNT.into(), child.cap.into(), 0, spec, 0];
    assert_eq!(w.refused(w.manager, Syscall::ThreadStart, args), Error::WrongState);
}

#[test]
fn a_thread_must_start_inside_user_memory() {
    let mut w = World::new();
    let child = w.child();
    for (entry, stack) in [(0, hic_abi::USER_BASE), (hic_abi::USER_BASE, u64::MAX), (u64::MAX, u64::MAX)] {
        let spec = hic_abi::object::ThreadSpec { entry, stack, argument: 0 };
        let address = w.put(w.manager, spec.as_bytes());
        let args = [ACCOUNT.into(), child.cap.into(), 0, address, 0];
        assert_eq!(w.refused(w.manager, Syscall::ThreadStart, args), Error::BadAddress);
    }
    check(&w.k);
}

#[test]
fn a_server_that_dies_before_it_receives_leaves_the_call_queued() {
    let mut w = World::new();
    let mut p = pair(&mut w);
    w.call(p.client, CALL, word(1));
    crash(&mut w, p.server);
    assert_eq!(w.got(p.client), None);
    reset(&mut w, &mut p.server);
    assert!(w.receive(p.server, SERVE).is_some());
    w.reply(p.server, word(8)).expect("replied");
    assert_eq!(w.got(p.client).expect("answered").expect("a message").words[0], 8);
    check(&w.k);
}

#[test]
fn a_server_that_dies_with_a_call_in_hand_ends_it_and_no_other() {
    let mut w = World::new();
    let p = pair(&mut w);
    let second = w.threads(p.client, 1)[0];
    w.receive(p.server, SERVE);
    w.call(p.client, CALL, word(1));
    w.call(second, CALL, word(2));
    crash(&mut w, p.server);
    assert_eq!(w.got(p.client), Some(Err(Error::ServerDied)));
    assert_eq!(w.got(second), None, "nobody had received it");
    check(&w.k);
}

#[test]
fn a_server_that_dies_after_its_reply_takes_nothing_back() {
    let mut w = World::new();
    let p = pair(&mut w);
    w.receive(p.server, SERVE);
    w.call(p.client, CALL, word(1));
    w.reply(p.server, word(9)).expect("replied");
    crash(&mut w, p.server);
    assert_eq!(w.got(p.client).expect("answered").expect("a message").words[0], 9);
    check(&w.k);
}

#[test]
fn a_dead_servers_receive_right_moves_to_its_successor_in_one_step() {
    let mut w = World::new();
    let p = pair(&mut w);
    let successor = w.child();
    let callers = w.threads(p.client, 5);
    for (n, caller) in callers.iter().enumerate() {
        w.call(*caller, CALL, word(n as u64));
    }
    crash(&mut w, p.server);
    let args = [p.server.cap, SERVE, successor.cap, SERVE].map(u64::from);
    let address = w.put(w.manager, Entry { kind: EntryKind::MoveCapability as u64, args }.as_bytes());
    w.ok(w.manager, Syscall::Transaction, [address, 1, 0, 0, 0]);
    assert_eq!(w.receive(successor, SERVE).expect("queued").expect("a message").words[0], 0);
    check(&w.k);
}

#[test]
fn a_client_that_dies_leaves_the_queue_and_the_server() {
    let mut w = World::new();
    let p = pair(&mut w);
    let callers = w.threads(p.client, 5);
    w.receive(p.server, SERVE);
    for caller in callers {
        w.call(caller, CALL, word(1));
    }
    w.ok(w.manager, Syscall::Destroy, [0, p.client.cap.into(), 0, 0, 0]);
    assert_eq!(w.reply_receive(p.server, SERVE, word(1)), None);
    check(&w.k);
}

#[test]
fn threads_of_one_sandbox_that_serve_each_other_die_together() {
    let mut w = World::new();
    let p = pair(&mut w);
    let second = w.threads(p.server, 1)[0];
    w.give(p.port, p.server, CALL, Rights::SEND);
    w.receive(p.server, SERVE);
    w.call(second, CALL, word(1));
    freeze(&mut w, p.server);
    assert_eq!(w.k.threads[second.thread].state, State::Stopped);
    check(&w.k);
    w.ok(w.manager, Syscall::SandboxReset, [p.server.cap.into(), 0, 0, 0, 0]);
    check(&w.k);
}

#[test]
fn a_sandbox_that_destroys_itself_by_its_own_last_capability_is_gone_and_nothing_else() {
    let mut w = World::new();
    let child = w.child();
    let args = [child.cap.into(), 3, SELF.into(), child.cap.into(), 0];
    w.ok(w.manager, Syscall::CapMove, args);
    let sandboxes = w.k.sandboxes.live();
    assert_eq!(w.sys(child, Syscall::Destroy, [SELF.into(), 3, 0, 0, 0]), None);
    assert_eq!(w.k.sandboxes.live(), sandboxes - 1);
    check(&w.k);
}

#[test]
fn sandboxes_that_hold_each_other_go_with_the_last_capability_from_outside() {
    let mut w = World::new();
    let (a, b) = (w.child(), w.child());
    w.give(a.cap, b, 3, Rights::all());
    w.ok(w.manager, Syscall::CapMove, [a.cap.into(), 3, SELF.into(), b.cap.into(), 0]);
    w.ok(w.manager, Syscall::Destroy, [SELF.into(), a.cap.into(), 0, 0, 0]);
    assert_eq!(w.k.sandboxes.live(), 1, "only the manager is left");
    check(&w.k);
    nothing_is_left(w.k);
}

#[test]
fn a_chain_of_sandboxes_comes_apart_without_recursion() {
    let mut w = World::new();
    let chain: std::vec::Vec<Actor> = (0..40).map(|_| w.child()).collect();
    for pair in chain.windows(2).rev() {
        let args = [pair[0].cap.into(), 3, SELF.into(), pair[1].cap.into(), 0];
        w.ok(w.manager, Syscall::CapMove, args);
    }
    w.ok(w.manager, Syscall::CapDelete, [SELF.into(), chain[0].cap.into(), 0, 0, 0]);
    while w.k.dismantle_some() {}
    assert_eq!(w.k.sandboxes.live(), 1);
    check(&w.k);
}

#[test]
fn a_large_sandbox_is_taken_apart_in_several_entries() {
    let mut w = World::new();
    let (frames, objects) = w.usage(ACCOUNT);
    let spec = sandbox_spec("large", 16, 1024);
    let large = w.child_with(ACCOUNT, &spec);
    let n = w.notification();
    for slot in 10..1000 {
        w.give(n, large, slot, Rights::all());
    }
    w.k.run_instead(w.manager.thread);
    let frame = &mut w.k.threads[w.manager.thread].context.frame;
    frame.rax = Syscall::Destroy as u64;
    (frame.rdi, frame.rsi) = (SELF.into(), large.cap.into());
    let entries = 1 + (0..).take_while(|_| w.enter_once()).count();
    assert!((10..=20).contains(&entries), "{entries} entries");
    assert_eq!(w.k.threads[w.manager.thread].context.frame.rax, 0);
    assert_eq!(w.refused(w.manager, Syscall::Destroy, [0, large.cap.into(), 0, 0, 0]), Error::InvalidHandle);
    w.ok(w.manager, Syscall::CapDelete, [SELF.into(), n.into(), 0, 0, 0]);
    w.ok(w.manager, Syscall::CapDelete, [SELF.into(), large.region.into(), 0, 0, 0]);
    assert_eq!(w.usage(ACCOUNT), (frames, objects));
    check(&w.k);
}

#[test]
fn no_handle_reaches_a_sandbox_that_is_being_taken_apart() {
    let mut w = World::new();
    let large = w.child_with(ACCOUNT, &sandbox_spec("large", 16, 1024));
    let n = w.notification();
    for slot in 10..1000 {
        w.give(n, large, slot, Rights::all());
    }
    let other = w.slot();
    let copy = [SELF.into(), other.into(), SELF.into(), large.cap.into(), Rights::all().bits().into()];
    w.ok(w.manager, Syscall::CapCopy, copy);
    w.k.run_instead(w.manager.thread);
    let frame = &mut w.k.threads[w.manager.thread].context.frame;
    frame.rax = Syscall::Destroy as u64;
    (frame.rdi, frame.rsi) = (SELF.into(), large.cap.into());
    assert!(w.enter_once(), "it is done at once: nothing to look at");
    for call in [Syscall::SandboxReset, Syscall::SandboxFreeze, Syscall::SandboxFuse] {
        assert_eq!(w.refused(w.manager, call, [other.into(), 1, 0, 0, 0]), Error::InvalidHandle);
    }
    let into = [other.into(), 11, SELF.into(), n.into(), Rights::all().bits().into()];
    assert_eq!(w.refused(w.manager, Syscall::CapCopy, into), Error::InvalidHandle);
    check(&w.k);
    nothing_is_left(w.k);
}

#[test]
fn a_running_thread_is_not_destroyed_by_its_capability() {
    let mut w = World::new();
    let child = w.child();
    let spec =
        hic_abi::object::ThreadSpec { entry: hic_abi::USER_BASE, stack: hic_abi::USER_BASE, argument: 0 };
    let address = w.put(w.manager, spec.as_bytes());
    let slot = w.slot();
    w.ok(w.manager, Syscall::ThreadStart, [ACCOUNT.into(), child.cap.into(), slot.into(), address, 0]);
    assert_eq!(w.refused(w.manager, Syscall::Destroy, [0, slot.into(), 0, 0, 0]), Error::WrongState);
    let threads = w.k.threads.live();
    freeze(&mut w, child);
    w.ok(w.manager, Syscall::Destroy, [0, slot.into(), 0, 0, 0]);
    assert_eq!(w.k.threads.live(), threads - 1);
    check(&w.k);
}

#[test]
fn a_dead_client_frees_the_server_from_its_debt() {
    let mut w = World::new();
    let p = pair(&mut w);
    w.receive(p.server, SERVE);
    w.call(p.client, CALL, word(1));
    freeze(&mut w, p.client);
    assert_eq!(w.reply(p.server, word(1)), Err(Error::CallerGone));
    check(&w.k);
}
