//! Signals, waits, bindings, and the news that nobody can call any more.

use super::invariants::check;
use super::world::{ACCOUNT, Actor, CALL, SERVE, World, pair, sandbox_spec, word};
use hic_abi::message::Kind;
use hic_abi::syscall::Syscall;
use hic_abi::{Error, FOREVER, Handle, Rights};

fn signal(w: &mut World, n: Handle, bits: u64) {
    w.ok(w.manager, Syscall::Signal, [n.into(), bits, 0, 0, 0]);
}

fn wait(w: &mut World, who: Actor, n: Handle) -> Option<Result<u64, Error>> {
    w.sys(who, Syscall::Wait, [n.into(), FOREVER, 0, 0, 0]).map(|r| r.map(|(bits, _)| bits))
}

#[test]
fn bits_add_up_until_they_are_taken_all_at_once() {
    let mut w = World::new();
    let n = w.notification();
    signal(&mut w, n, 1);
    signal(&mut w, n, 4);
    let manager = w.manager;
    assert_eq!(wait(&mut w, manager, n), Some(Ok(5)));
    assert_eq!(w.refused(w.manager, Syscall::Wait, [n.into(), 0, 0, 0, 0]), Error::WouldBlock);
}

#[test]
fn a_waiting_thread_wakes_with_the_bits() {
    let mut w = World::new();
    let (child, n) = (w.child(), w.notification());
    w.give(n, child, 3, Rights::RECEIVE);
    assert_eq!(wait(&mut w, child, 3), None);
    signal(&mut w, n, 8);
    assert_eq!(w.result(child), Some(Ok((8, FOREVER))));
    check(&w.k);
}

/// Found by the model: whoever waits is promised bits.
#[test]
fn no_bits_wake_nobody() {
    let mut w = World::new();
    let (child, n) = (w.child(), w.notification());
    w.give(n, child, 3, Rights::RECEIVE);
    assert_eq!(wait(&mut w, child, 3), None);
    signal(&mut w, n, 0);
    assert_eq!(w.result(child), None);
    signal(&mut w, n, 2);
    assert_eq!(w.result(child), Some(Ok((2, FOREVER))));
    check(&w.k);
}

#[test]
fn signalling_needs_send_waiting_needs_receive_and_only_one_waits() {
    let mut w = World::new();
    let (child, n) = (w.child(), w.notification());
    w.give(n, child, 3, Rights::SEND);
    w.give(n, child, 4, Rights::RECEIVE);
    let second = w.threads(child, 1)[0];
    assert_eq!(w.refused(child, Syscall::Wait, [3, FOREVER, 0, 0, 0]), Error::MissingRights);
    assert_eq!(w.refused(child, Syscall::Signal, [4, 1, 0, 0, 0]), Error::MissingRights);
    assert_eq!(wait(&mut w, child, 4), None);
    assert_eq!(wait(&mut w, second, 4), Some(Err(Error::Busy)));
    check(&w.k);
}

#[test]
fn a_waiter_hears_that_its_notification_is_gone() {
    let mut w = World::new();
    let (child, n) = (w.child(), w.notification());
    w.give(n, child, 3, Rights::RECEIVE);
    wait(&mut w, child, 3);
    w.ok(w.manager, Syscall::Destroy, [0, n.into(), 0, 0, 0]);
    assert_eq!(w.result(child), Some(Err(Error::Gone)));
    check(&w.k);
}

#[test]
fn bits_of_a_bound_notification_end_a_receive() {
    let mut w = World::new();
    let p = pair(&mut w);
    let n = w.notification();
    w.give(n, p.server, 10, Rights::RECEIVE);
    w.ok(p.server, Syscall::BindNotification, [10, 0, 0, 0, 0]);
    assert_eq!(w.receive(p.server, SERVE), None);
    signal(&mut w, n, 6);
    let got = w.got(p.server).expect("received").expect("bits");
    assert_eq!((got.kind, got.words[0], got.caller), (Kind::Notification, 6, 0));
    assert_eq!(w.receive(p.server, SERVE), None, "they were taken");
    signal(&mut w, n, 1);
    w.call(p.client, CALL, word(3));
    assert_eq!(w.receive(p.server, SERVE).expect("queued").expect("a message").words[0], 3);
    check(&w.k);
}

#[test]
fn bits_that_came_first_are_delivered_by_the_next_receive() {
    let mut w = World::new();
    let p = pair(&mut w);
    let n = w.notification();
    w.give(n, p.server, 10, Rights::RECEIVE);
    signal(&mut w, n, 2);
    w.ok(p.server, Syscall::BindNotification, [10, 0, 0, 0, 0]);
    let got = w.receive(p.server, SERVE).expect("at once").expect("bits");
    assert_eq!((got.kind, got.words[0]), (Kind::Notification, 2));
}

#[test]
fn a_refused_binding_leaves_the_old_one() {
    let mut w = World::new();
    let p = pair(&mut w);
    let (mine, theirs) = (w.notification(), w.notification());
    w.give(mine, p.server, 10, Rights::RECEIVE);
    w.give(theirs, p.server, 11, Rights::RECEIVE);
    let second = w.threads(p.server, 1)[0];
    w.ok(second, Syscall::BindNotification, [11, 0, 0, 0, 0]);
    w.ok(p.server, Syscall::BindNotification, [10, 0, 0, 0, 0]);
    assert_eq!(w.refused(p.server, Syscall::BindNotification, [11, 0, 0, 0, 0]), Error::Busy);
    assert_eq!(w.refused(p.server, Syscall::BindNotification, [63, 0, 0, 0, 0]), Error::InvalidHandle);
    w.receive(p.server, SERVE);
    signal(&mut w, mine, 1);
    assert!(w.got(p.server).is_some());
    check(&w.k);
}

#[test]
fn an_unbound_notification_leaves_receives_alone() {
    let mut w = World::new();
    let p = pair(&mut w);
    let n = w.notification();
    w.give(n, p.server, 10, Rights::RECEIVE);
    w.ok(p.server, Syscall::BindNotification, [10, 0, 0, 0, 0]);
    w.ok(p.server, Syscall::BindNotification, [0, 0, 0, 0, 0]);
    w.receive(p.server, SERVE);
    signal(&mut w, n, 1);
    assert_eq!(w.got(p.server), None);
    check(&w.k);
}

#[test]
fn the_last_sender_that_goes_is_reported_however_it_goes() {
    for by_death in [false, true] {
        let mut w = World::new();
        let p = pair(&mut w);
        let n = w.notification();
        w.ok(w.manager, Syscall::PortWatch, [p.port.into(), n.into(), 2, 0, 0]);
        w.keep(p.port, 600, Rights::MANAGE);
        w.ok(w.manager, Syscall::CapDelete, [0, p.port.into(), 0, 0, 0]);
        let poll = [n.into(), 0, 0, 0, 0];
        assert_eq!(w.refused(w.manager, Syscall::Wait, poll), Error::WouldBlock, "the client has one");
        if by_death {
            w.ok(w.manager, Syscall::Destroy, [0, p.client.cap.into(), 0, 0, 0]);
        } else {
            w.ok(p.client, Syscall::CapDelete, [0, CALL.into(), 0, 0, 0]);
        }
        assert_eq!(w.ok(w.manager, Syscall::Wait, poll), 2);
        check(&w.k);
    }
}

#[test]
fn watching_a_port_without_senders_reports_at_once() {
    let mut w = World::new();
    let p = pair(&mut w);
    let n = w.notification();
    w.keep(p.port, 600, Rights::MANAGE);
    w.ok(p.client, Syscall::CapDelete, [0, CALL.into(), 0, 0, 0]);
    w.ok(w.manager, Syscall::CapDelete, [0, p.port.into(), 0, 0, 0]);
    w.ok(w.manager, Syscall::PortWatch, [600, n.into(), 2, 0, 0]);
    assert_eq!(w.ok(w.manager, Syscall::Wait, [n.into(), 0, 0, 0, 0]), 2);
}

#[test]
fn a_copy_that_cannot_send_does_not_count_as_a_sender() {
    let mut w = World::new();
    let p = pair(&mut w);
    let n = w.notification();
    w.ok(w.manager, Syscall::PortWatch, [p.port.into(), n.into(), 1, 0, 0]);
    w.give(p.port, p.server, 30, Rights::MANAGE | Rights::COPY);
    w.ok(p.client, Syscall::CapDelete, [0, CALL.into(), 0, 0, 0]);
    w.ok(w.manager, Syscall::CapDelete, [0, p.port.into(), 0, 0, 0]);
    assert_eq!(w.ok(w.manager, Syscall::Wait, [n.into(), 0, 0, 0, 0]), 1);
    check(&w.k);
}

#[test]
fn a_ring_follows_its_port_over_a_switch() {
    let mut w = World::new();
    let p = pair(&mut w);
    let (old, new, other) = (w.notification(), w.notification(), w.endpoint());
    w.ok(w.manager, Syscall::Signal, [p.port.into(), 1, 0, 0, 0]);
    w.ok(w.manager, Syscall::EndpointNotify, [p.endpoint.into(), old.into(), 0, 0, 0]);
    w.ok(w.manager, Syscall::EndpointNotify, [other.into(), new.into(), 0, 0, 0]);
    w.ok(p.client, Syscall::Signal, [CALL.into(), 2, 0, 0, 0]);
    w.ok(w.manager, Syscall::PortSwitch, [p.port.into(), other.into(), 0, 0, 0]);
    w.ok(p.client, Syscall::Signal, [CALL.into(), 4, 0, 0, 0]);
    assert_eq!(w.ok(w.manager, Syscall::Wait, [old.into(), 0, 0, 0, 0]), 2, "a ring before the tie is lost");
    assert_eq!(w.ok(w.manager, Syscall::Wait, [new.into(), 0, 0, 0, 0]), 4);
    w.ok(w.manager, Syscall::Destroy, [0, new.into(), 0, 0, 0]);
    w.ok(p.client, Syscall::Signal, [CALL.into(), 8, 0, 0, 0]);
    w.ok(w.manager, Syscall::Destroy, [0, other.into(), 0, 0, 0]);
    assert_eq!(w.refused(p.client, Syscall::Signal, [CALL.into(), 8, 0, 0, 0]), Error::Gone);
    check(&w.k);
}

/// The program sees one call, however often the kernel lets it be made again.
#[test]
fn a_long_call_burns_as_much_of_a_fuse_as_a_short_one() {
    let mut w = World::new();
    let (child, n) = (w.child_with(ACCOUNT, &sandbox_spec("long", 16, 256)), w.notification());
    w.give(n, child, 1, Rights::all());
    for slot in 2..250 {
        w.ok(child, Syscall::CapCopy, [0, slot, 0, 1, u64::MAX]);
    }
    w.ok(w.manager, Syscall::SandboxFuse, [child.cap.into(), 3, 9, 0, 0]);
    let calls = w.k.counters.system_calls;
    w.ok(child, Syscall::CapRevoke, [0, 1, 0, 0, 0]);
    assert!(w.k.counters.system_calls > calls + 2, "the call was not long");
    w.ok(child, Syscall::Null, [0; 5]);
    assert!(w.sys(child, Syscall::Null, [0; 5]).is_none());
    assert!(w.k.sandboxes[child.sandbox].frozen);
    check(&w.k);
}

#[test]
fn a_fuse_freezes_at_exactly_that_call() {
    let mut w = World::new();
    let p = pair(&mut w);
    w.ok(w.manager, Syscall::SandboxFuse, [p.client.cap.into(), 3, 9, 0, 0]);
    w.ok(p.client, Syscall::Null, [0; 5]);
    w.ok(p.client, Syscall::Null, [0; 5]);
    assert!(!w.k.sandboxes[p.client.sandbox].frozen);
    assert!(w.sys(p.client, Syscall::Null, [0; 5]).is_none());
    assert!(w.k.sandboxes[p.client.sandbox].frozen && w.k.fuses == 0);
    assert_eq!(
        w.refused(w.manager, Syscall::SandboxFuse, [p.client.cap.into(), 1, 0, 0, 0]),
        Error::WrongState
    );
    w.ok(w.manager, Syscall::SandboxFuse, [p.server.cap.into(), 5, 0, 0, 0]);
    w.ok(w.manager, Syscall::SandboxFuse, [p.server.cap.into(), 0, 0, 0, 0]);
    assert_eq!(w.k.fuses, 0, "called off");
    check(&w.k);
}
