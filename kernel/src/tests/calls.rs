//! Call, receive, reply: who gets what, and in which order.

use super::invariants::check;
use super::world::{BADGE, CALL, SERVE, Send, World, pair, word};
use crate::objects::State;
use hic_abi::message::Kind;
use hic_abi::syscall::Syscall;
use hic_abi::{Error, Rights};

#[test]
fn a_call_brings_words_label_badge_and_the_callers_identity_and_a_reply_brings_words_back() {
    let mut w = World::new();
    let p = pair(&mut w);
    assert_eq!(w.receive(p.server, SERVE), None);
    assert_eq!(w.call(p.client, CALL, word(11)), None);
    let got = w.got(p.server).expect("received").expect("a message");
    assert_eq!((got.badge, got.label, got.kind, got.words), (BADGE, 7, Kind::Call, [11, 2, 3, 4]));
    assert_eq!(got.caller, w.k.sandboxes[p.client.sandbox].serial);
    w.reply(p.server, Send { label: 9, words: [5, 6, 7, 8], ..word(0) }).expect("replied");
    let answer = w.got(p.client).expect("answered").expect("a message");
    assert_eq!((answer.label, answer.words), (9, [5, 6, 7, 8]));
    check(&w.k);
}

#[test]
fn a_caller_cannot_forge_what_the_server_sees() {
    let mut w = World::new();
    let p = pair(&mut w);
    w.receive(p.server, SERVE);
    w.k.run_instead(p.client.thread);
    let frame = &mut w.k.threads[p.client.thread].context.frame;
    (frame.r12, frame.r13, frame.r9) = (u64::MAX, 0, 0);
    let forged = (Kind::Fault as u64) << 56 | 1;
    assert_eq!(w.sys(p.client, Syscall::Call, [CALL.into(), forged, 1, 2, 3]), None);
    let got = w.got(p.server).expect("received").expect("a message");
    assert_eq!((got.kind, got.badge), (Kind::Call, BADGE));
    assert_eq!(got.caller, w.k.sandboxes[p.client.sandbox].serial);
}

#[test]
fn a_call_needs_the_send_right_and_a_receive_the_receive_right() {
    let mut w = World::new();
    let p = pair(&mut w);
    w.give(p.port, p.client, 20, Rights::MANAGE);
    w.give(p.endpoint, p.server, 20, Rights::MANAGE);
    assert_eq!(w.call(p.client, 20, word(1)), Some(Err(Error::MissingRights)));
    assert_eq!(w.receive(p.server, 20), Some(Err(Error::MissingRights)));
}

#[test]
fn callers_are_served_in_the_order_in_which_they_called() {
    let mut w = World::new();
    let p = pair(&mut w);
    let callers = w.threads(p.client, 20);
    for (n, caller) in callers.iter().enumerate() {
        assert_eq!(w.call(*caller, CALL, word(n as u64)), None);
    }
    check(&w.k);
    let mut got = w.receive(p.server, SERVE).expect("queued").expect("a message");
    for n in 0..20u64 {
        assert_eq!(got.words[0], n);
        if n < 19 {
            got = w.reply_receive(p.server, SERVE, word(n)).expect("queued").expect("a message");
        }
    }
    w.reply(p.server, word(19)).expect("replied");
    for (n, caller) in callers.iter().enumerate() {
        assert_eq!(w.got(*caller).expect("answered").expect("a message").words[0], n as u64);
    }
    check(&w.k);
}

#[test]
fn a_busy_port_does_not_starve_the_others_of_its_endpoint() {
    let mut w = World::new();
    let p = pair(&mut w);
    let other = w.port(p.endpoint, 2);
    w.give(other, p.client, 20, Rights::SEND);
    for caller in w.threads(p.client, 3) {
        w.call(caller, CALL, word(1));
    }
    w.call(p.client, 20, word(1));
    let badges: [u64; 3] = core::array::from_fn(|n| {
        let got = if n == 0 { w.receive(p.server, SERVE) } else { w.reply_receive(p.server, SERVE, word(0)) };
        got.expect("queued").expect("a message").badge
    });
    assert_eq!(badges, [BADGE, 2, BADGE]);
}

#[test]
fn a_call_hands_the_processor_to_the_server_and_back() {
    let mut w = World::new();
    let p = pair(&mut w);
    w.receive(p.server, SERVE);
    w.call(p.client, CALL, word(1));
    assert_eq!(w.running(), Some(p.server.thread));
}

#[test]
fn one_thread_at_a_time_waits_on_an_endpoint() {
    let mut w = World::new();
    let p = pair(&mut w);
    let second = w.threads(p.server, 1)[0];
    assert_eq!(w.receive(p.server, SERVE), None);
    assert_eq!(w.receive(second, SERVE), Some(Err(Error::Busy)));
    check(&w.k);
}

#[test]
fn a_reply_without_a_call_is_refused_and_a_second_reply_too() {
    let mut w = World::new();
    let p = pair(&mut w);
    assert_eq!(w.reply(p.server, word(1)), Err(Error::CallerGone));
    w.receive(p.server, SERVE);
    w.call(p.client, CALL, word(1));
    assert_eq!(w.reply(p.server, word(1)), Ok(()));
    assert_eq!(w.reply(p.server, word(2)), Err(Error::CallerGone));
    assert_eq!(w.got(p.client).map(|g| g.map(|g| g.words[0])), Some(Ok(1)));
}

#[test]
fn a_server_that_receives_again_without_an_answer_ends_the_call() {
    let mut w = World::new();
    let p = pair(&mut w);
    w.receive(p.server, SERVE);
    w.call(p.client, CALL, word(1));
    assert_eq!(w.receive(p.server, SERVE), None);
    assert_eq!(w.got(p.client), Some(Err(Error::ServerDied)));
    check(&w.k);
}

#[test]
fn a_caller_that_is_gone_does_not_keep_the_server_from_the_next_one() {
    let mut w = World::new();
    let p = pair(&mut w);
    w.receive(p.server, SERVE);
    w.call(p.client, CALL, word(1));
    w.ok(w.manager, Syscall::SandboxFreeze, [p.client.cap.into(), 0, 0, 0, 0]);
    assert_eq!(w.reply_receive(p.server, SERVE, word(1)), None);
    assert!(matches!(w.k.threads[p.server.thread].state, State::Receiving { .. }));
    check(&w.k);
}

#[test]
fn a_server_calls_on_while_it_owes_an_answer() {
    let mut w = World::new();
    let p = pair(&mut w);
    let deep = w.child();
    let endpoint = w.endpoint();
    let port = w.port(endpoint, 3);
    w.give(endpoint, deep, SERVE, Rights::RECEIVE);
    w.give(port, p.server, 20, Rights::SEND);
    w.receive(p.server, SERVE);
    w.receive(deep, SERVE);
    w.call(p.client, CALL, word(1));
    w.call(p.server, 20, word(2));
    w.reply(deep, word(3)).expect("replied");
    w.reply(p.server, word(4)).expect("replied");
    assert_eq!(w.got(p.client).expect("answered").expect("a message").words[0], 4);
    check(&w.k);
}

#[test]
fn calling_where_nobody_can_ever_receive_is_refused() {
    let mut w = World::new();
    let p = pair(&mut w);
    w.call(p.client, CALL, word(1));
    w.ok(w.manager, Syscall::Destroy, [0, p.endpoint.into(), 0, 0, 0]);
    assert_eq!(w.got(p.client), Some(Err(Error::Gone)), "who waited hears of it");
    assert_eq!(w.call(p.client, CALL, word(1)), Some(Err(Error::Gone)));
    w.ok(w.manager, Syscall::Destroy, [0, p.port.into(), 0, 0, 0]);
    assert_eq!(w.call(p.client, CALL, word(1)), Some(Err(Error::InvalidHandle)));
    check(&w.k);
}

#[test]
fn call_receive_reply_and_signal_cost_the_same_whatever_else_is_there() {
    let mut w = World::new();
    let p = pair(&mut w);
    let n = w.notification();
    let round = |w: &mut World| {
        crate::tests::accesses::during(|| {
            w.reply_receive(p.server, SERVE, word(1));
            w.call(p.client, CALL, word(1));
            w.sys(w.manager, Syscall::Signal, [n.into(), 1, 0, 0, 0]);
        })
    };
    let steady = |w: &mut World| [round(w), round(w), round(w)][2];
    let alone = steady(&mut w);
    let callers = w.threads(p.client, 300);
    let idle = w.port(p.endpoint, 1);
    let elsewhere = w.endpoint();
    w.ok(w.manager, Syscall::PortSwitch, [idle.into(), elsewhere.into(), 0, 0, 0]);
    w.give(idle, p.client, 30, Rights::SEND);
    for caller in callers {
        w.call(caller, 30, word(1));
    }
    assert_eq!(steady(&mut w), alone);
    check(&w.k);
}
