//! A port is led from one server to another while its clients wait.

use super::invariants::check;
use super::world::{Actor, CALL, Pair, SERVE, World, pair, word};
use crate::tests::accesses;
use hic_abi::syscall::Syscall;
use hic_abi::{Error, Handle, Rights};
use std::vec::Vec;

/// Another server with an endpoint of its own.
fn successor(w: &mut World) -> (Actor, Handle) {
    let server = w.child();
    let endpoint = w.endpoint();
    w.give(endpoint, server, SERVE, Rights::RECEIVE);
    (server, endpoint)
}

fn switch(w: &mut World, p: &Pair, endpoint: Handle) {
    w.ok(w.manager, Syscall::PortSwitch, [p.port.into(), endpoint.into(), 0, 0, 0]);
}

#[test]
fn queued_calls_move_with_their_port_in_order() {
    let mut w = World::new();
    let p = pair(&mut w);
    let (new, endpoint) = successor(&mut w);
    let callers = w.threads(p.client, 10);
    for (n, caller) in callers.iter().enumerate() {
        w.call(*caller, CALL, word(n as u64));
    }
    switch(&mut w, &p, endpoint);
    check(&w.k);
    assert_eq!(w.receive_until(p.server, SERVE, 0), Some(Err(Error::WouldBlock)));
    let mut seen = Vec::new();
    let mut got = w.receive(new, SERVE);
    while let Some(message) = got {
        seen.push(message.expect("a message").words[0]);
        got = w.reply_receive(new, SERVE, word(0));
    }
    assert_eq!(seen, (0..10).collect::<Vec<_>>());
    check(&w.k);
}

#[test]
fn a_waiting_successor_is_served_at_once() {
    let mut w = World::new();
    let p = pair(&mut w);
    let (new, endpoint) = successor(&mut w);
    assert_eq!(w.receive(new, SERVE), None);
    w.call(p.client, CALL, word(42));
    switch(&mut w, &p, endpoint);
    assert_eq!(w.got(new).expect("received").expect("a message").words[0], 42);
    check(&w.k);
}

#[test]
fn a_received_call_is_answered_by_whoever_received_it() {
    let mut w = World::new();
    let p = pair(&mut w);
    let (new, endpoint) = successor(&mut w);
    w.receive(p.server, SERVE);
    w.call(p.client, CALL, word(1));
    switch(&mut w, &p, endpoint);
    assert_eq!(w.receive(new, SERVE), None, "the successor does not see it");
    w.reply(p.server, word(77)).expect("replied");
    assert_eq!(w.got(p.client).expect("answered").expect("a message").words[0], 77);
    check(&w.k);
}

#[test]
fn badge_and_callers_identity_stay_the_same_over_a_switch() {
    let mut w = World::new();
    let p = pair(&mut w);
    let (new, endpoint) = successor(&mut w);
    w.receive(p.server, SERVE);
    w.receive(new, SERVE);
    w.call(p.client, CALL, word(1));
    let before = w.got(p.server).expect("received").expect("a message");
    w.reply(p.server, word(0)).expect("replied");
    switch(&mut w, &p, endpoint);
    w.call(p.client, CALL, word(1));
    let after = w.got(new).expect("received").expect("a message");
    assert_eq!((before.badge, before.caller), (after.badge, after.caller));
}

#[test]
fn a_switch_costs_the_same_for_one_caller_and_for_a_thousand() {
    let cost = |count: usize| {
        let mut w = World::new();
        let p = pair(&mut w);
        let (_, endpoint) = successor(&mut w);
        for caller in w.threads(p.client, count) {
            w.call(caller, CALL, word(0));
        }
        w.k.run_instead(w.manager.thread);
        accesses::during(|| switch(&mut w, &p, endpoint))
    };
    assert_eq!(cost(1), cost(1000));
}

#[test]
fn no_call_is_lost_or_doubled_over_ten_thousand_switches() {
    let mut w = World::new();
    let p = pair(&mut w);
    let (new, endpoint) = successor(&mut w);
    w.receive(p.server, SERVE);
    w.receive(new, SERVE);
    let (mut served, mut count) = ([0u64; 2], 0);
    for round in 0..10_000u64 {
        if round % 3 == 0 {
            w.call(p.client, CALL, word(count));
        }
        switch(&mut w, &p, if round % 2 == 0 { endpoint } else { p.endpoint });
        if round % 3 != 0 {
            w.call(p.client, CALL, word(count));
        }
        for (n, server) in [p.server, new].into_iter().enumerate() {
            let Some(got) = w.got(server) else { continue };
            assert_eq!(got.expect("a message").words[0], count);
            served[n] += 1;
            assert_eq!(w.reply_receive(server, SERVE, word(count + 1)), None);
        }
        count = w.got(p.client).expect("answered").expect("a message").words[0];
        assert_eq!(count, round + 1);
    }
    assert_eq!(served[0] + served[1], 10_000);
    assert!(served.iter().all(|&n| n > 1000), "both served: {served:?}");
    check(&w.k);
}

#[test]
fn switching_needs_authority_over_both_sides() {
    let mut w = World::new();
    let p = pair(&mut w);
    w.give(p.port, p.client, 20, Rights::all() - Rights::MANAGE);
    w.give(p.endpoint, p.client, 21, Rights::all());
    w.give(p.port, p.client, 22, Rights::all());
    w.give(p.endpoint, p.client, 23, Rights::all() - Rights::MANAGE);
    assert_eq!(w.refused(p.client, Syscall::PortSwitch, [20, 21, 0, 0, 0]), Error::MissingRights);
    assert_eq!(w.refused(p.client, Syscall::PortSwitch, [22, 23, 0, 0, 0]), Error::MissingRights);
}

#[test]
fn a_port_whose_endpoint_is_gone_can_be_led_to_another() {
    let mut w = World::new();
    let p = pair(&mut w);
    let (new, endpoint) = successor(&mut w);
    w.ok(w.manager, Syscall::Destroy, [0, p.endpoint.into(), 0, 0, 0]);
    switch(&mut w, &p, endpoint);
    w.receive(new, SERVE);
    w.call(p.client, CALL, word(5));
    assert_eq!(w.got(new).expect("received").expect("a message").words[0], 5);
    check(&w.k);
}
