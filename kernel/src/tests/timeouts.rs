//! Every blocking call has a deadline, and each ends alike: with an error, and nothing left behind.

use super::invariants::check;
use super::world::{CALL, SERVE, Send, World, pair, word};
use hic_abi::syscall::Syscall;
use hic_abi::{Error, Rights};

const SECOND: u64 = 1_000_000_000;

#[test]
fn a_queued_call_ends_at_its_deadline_and_is_never_delivered() {
    let mut w = World::new();
    let p = pair(&mut w);
    let deadline = w.k.machine.clock + SECOND;
    assert_eq!(w.call(p.client, CALL, Send { deadline, ..word(1) }), None);
    w.pass(SECOND - 1_000_000);
    assert_eq!(w.got(p.client), None, "never early");
    w.pass(2_000_000);
    assert_eq!(w.got(p.client), Some(Err(Error::Timeout)));
    assert_eq!(w.receive(p.server, SERVE), None);
    check(&w.k);
}

#[test]
fn a_call_that_waits_for_its_answer_ends_at_its_deadline_and_the_server_is_told() {
    let mut w = World::new();
    let p = pair(&mut w);
    w.receive(p.server, SERVE);
    let deadline = w.k.machine.clock + SECOND;
    w.call(p.client, CALL, Send { deadline, ..word(1) });
    w.pass(2 * SECOND);
    assert_eq!(w.got(p.client), Some(Err(Error::Timeout)));
    assert_eq!(w.reply(p.server, word(1)), Err(Error::CallerGone));
    check(&w.k);
}

#[test]
fn a_deadline_goes_on_when_a_queued_call_is_received() {
    let mut w = World::new();
    let p = pair(&mut w);
    let deadline = w.k.machine.clock + SECOND;
    w.call(p.client, CALL, Send { deadline, ..word(1) });
    assert!(w.receive(p.server, SERVE).is_some());
    w.pass(2 * SECOND);
    assert_eq!(w.got(p.client), Some(Err(Error::Timeout)));
    check(&w.k);
}

#[test]
fn an_answer_in_time_takes_the_deadline_away() {
    let mut w = World::new();
    let p = pair(&mut w);
    w.receive(p.server, SERVE);
    let deadline = w.k.machine.clock + SECOND;
    w.call(p.client, CALL, Send { deadline, ..word(1) });
    w.reply(p.server, word(9)).expect("replied");
    w.pass(2 * SECOND);
    assert_eq!(w.got(p.client).expect("answered").expect("a message").words[0], 9);
}

#[test]
fn a_receive_ends_at_its_deadline() {
    let mut w = World::new();
    let p = pair(&mut w);
    let deadline = w.k.machine.clock + SECOND;
    assert_eq!(w.receive_until(p.server, SERVE, deadline), None);
    w.pass(2 * SECOND);
    assert_eq!(w.got(p.server), Some(Err(Error::Timeout)));
    w.call(p.client, CALL, word(1));
    assert!(w.receive(p.server, SERVE).is_some(), "a later call is received as ever");
    check(&w.k);
}

#[test]
fn a_wait_ends_at_its_deadline_and_keeps_later_bits() {
    let mut w = World::new();
    let (child, n) = (w.child(), w.notification());
    w.give(n, child, 3, Rights::RECEIVE);
    let deadline = w.k.machine.clock + SECOND;
    assert_eq!(w.sys(child, Syscall::Wait, [3, deadline, 0, 0, 0]), None);
    w.pass(2 * SECOND);
    assert_eq!(w.result(child), Some(Err(Error::Timeout)));
    w.ok(w.manager, Syscall::Signal, [n.into(), 4, 0, 0, 0]);
    assert_eq!(w.ok(child, Syscall::Wait, [3, deadline, 0, 0, 0]), 4);
    check(&w.k);
}

#[test]
fn a_deadline_of_zero_polls_and_one_in_the_past_is_a_timeout() {
    let mut w = World::new();
    let p = pair(&mut w);
    let n = w.notification();
    w.give(n, p.server, 3, Rights::RECEIVE);
    assert_eq!(w.receive_until(p.server, SERVE, 0), Some(Err(Error::WouldBlock)));
    assert_eq!(w.receive_until(p.server, SERVE, 5), Some(Err(Error::Timeout)));
    assert_eq!(w.refused(p.server, Syscall::Wait, [3, 0, 0, 0, 0]), Error::WouldBlock);
    assert_eq!(w.refused(p.server, Syscall::Wait, [3, 5, 0, 0, 0]), Error::Timeout);
    assert_eq!(w.call(p.client, CALL, Send { deadline: 5, ..word(1) }), Some(Err(Error::Timeout)));
    check(&w.k);
}

#[test]
fn many_deadlines_pass_in_one_go() {
    let mut w = World::new();
    let p = pair(&mut w);
    let callers = w.threads(p.client, 100);
    for (n, caller) in callers.iter().enumerate() {
        let deadline = w.k.machine.clock + SECOND + n as u64;
        w.call(*caller, CALL, Send { deadline, ..word(1) });
    }
    w.pass(3 * SECOND);
    assert!(callers.iter().all(|c| w.got(*c) == Some(Err(Error::Timeout))));
    check(&w.k);
}
