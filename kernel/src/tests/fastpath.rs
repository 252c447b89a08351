//! The fast path does what the general path does, and only sooner.

use super::arguments::Random;
use super::invariants::check;
use super::random::{Tally, crowd, step, stir};
use super::world::{ACCOUNT, Actor, BADGE, CALL, Pair, SERVE, World, pair, sandbox_spec, word};
use crate::config::TIME_SLICE;
use crate::machine::Machine;
use hic_abi::syscall::Syscall;
use hic_abi::{Error, FOREVER, Handle, Rights};
use std::format;
use std::string::String;

/// What a program, or the scheduler on its behalf, could notice.
fn observable(w: &mut World) -> String {
    let running = w.running();
    let k = &w.k;
    let mut all = format!("{running:?} {:?}", k.sched.current());
    for (index, thread) in (0..k.threads.touched()).filter_map(|i| Some((i, k.threads.at(i)?))) {
        let (frame, rest) =
            (thread.context.frame, (thread.state, thread.serving, thread.bound, thread.ready));
        all += &format!("\n{index} {rest:?} {frame:?}");
    }
    for (index, s) in (0..k.sandboxes.touched()).filter_map(|i| Some((i, k.sandboxes.at(i)?))) {
        all +=
            &format!("\n{index} {:?}", (s.cpu, s.budget, s.frozen, s.turn_left, s.ready, s.queue, s.filled));
    }
    for (index, endpoint) in (0..k.endpoints.touched()).filter_map(|i| Some((i, k.endpoints.at(i)?))) {
        all += &format!("\n{index} {endpoint:?}");
    }
    for (index, port) in (0..k.ports.touched()).filter_map(|i| Some((i, k.ports.at(i)?))) {
        all += &format!("\n{index} {port:?}");
    }
    all
}

/// The running thread calls, receives or answers, mostly in the way that the fast path is made for; at times it does anything at all.
fn chat(w: &mut World, random: &mut Random, tally: &mut Tally) {
    let Some(thread) = w.running().filter(|_| !random.once_in(12)) else { return step(w, random, tally) };
    // The slots of `crowd` in which its members hold endpoints and ports.
    let (endpoints, ports, notifications) = ([SERVE, 14, 19], [CALL, 15, 18], [12, 13]);
    let (call, handle) = match random.below(11) {
        0 | 1 => (Syscall::Receive, random.pick(&endpoints)),
        2 => (Syscall::Signal, random.pick(&notifications)),
        3 => (Syscall::Wait, random.pick(&notifications)),
        4 => (Syscall::Yield, 0),
        _ if w.k.threads[thread].serving.is_some() => (Syscall::ReplyReceive, random.pick(&endpoints)),
        _ => (Syscall::Call, random.pick(&ports)),
    };
    let soon = w.k.machine.now() + random.below(5_000_000);
    let odd = [1 << 32, 1 << 48, random.next()];
    let frame = &mut w.k.threads[thread].context.frame;
    (frame.rax, frame.rdi) = (call as u64, handle.into());
    frame.rsi = if random.once_in(10) { random.pick(&odd) } else { random.below(1 << 32) };
    (frame.rdx, frame.r10, frame.r8, frame.r9) = (random.next(), random.next(), random.next(), random.next());
    frame.r12 = if random.once_in(10) { soon } else { FOREVER };
    if call == Syscall::Wait {
        frame.rsi = frame.r12;
    }
    frame.r13 = if random.once_in(10) { random.next() } else { 0 };
    w.enter(call as u64);
    if random.once_in(8) {
        w.pass(random.below(3_000_000));
    }
}

#[test]
fn with_and_without_it_random_calls_lead_to_the_same_state() {
    let (mut fast_calls, mut quick_turns) = (0, 0);
    for seed in 1..120 {
        let (mut random, mut twin_random) = (Random(seed), Random(seed));
        let (mut tally, mut twin_tally) = (Tally::new(), Tally::new());
        let (mut w, mut twin) = (crowd(&mut random), crowd(&mut twin_random));
        twin.fast_path = false;
        for n in 0..600 {
            chat(&mut w, &mut random, &mut tally);
            chat(&mut twin, &mut twin_random, &mut twin_tally);
            if n % 30 == 0 {
                stir(&mut w, &mut random);
                stir(&mut twin, &mut twin_random);
            }
            while w.k.dismantle_some() {}
            while twin.k.dismantle_some() {}
            let (one, other) = (observable(&mut w), observable(&mut twin));
            let difference = one.lines().zip(other.lines()).find(|(one, other)| one != other);
            assert_eq!(difference, None, "seed {seed} step {n}");
        }
        assert_eq!((twin.k.counters.fast_calls, twin.quick_turns), (0, 0));
        fast_calls += w.k.counters.fast_calls;
        quick_turns += w.quick_turns;
        check(&w.k);
    }
    assert!(fast_calls >= 600, "only {fast_calls} calls took the fast path");
    assert!(quick_turns >= 600, "only {quick_turns} threads were the next in line");
}

#[test]
fn a_call_and_its_answer_take_it_both_ways() {
    let mut w = World::new();
    let p = pair(&mut w);
    w.receive(p.server, SERVE);
    let before = w.k.counters.fast_calls;
    w.call(p.client, CALL, word(1));
    assert_eq!(w.running(), Some(p.server.thread));
    w.message(p.server, Syscall::ReplyReceive, SERVE, word(2));
    assert_eq!(w.running(), Some(p.client.thread));
    assert_eq!(w.k.counters.fast_calls - before, 2);
    assert_eq!(w.got(p.client).map(|got| got.map(|got| got.words[0])), Some(Ok(2)));
    check(&w.k);
}

#[test]
fn an_answer_by_a_handle_that_may_not_receive_is_refused() {
    let mut w = World::new();
    let p = pair(&mut w);
    w.give(p.endpoint, p.server, 40, Rights::MANAGE);
    w.receive(p.server, SERVE);
    w.call(p.client, CALL, word(1));
    w.message(p.server, Syscall::ReplyReceive, 40, word(2));
    assert_eq!(w.got(p.server), Some(Err(Error::MissingRights)));
    check(&w.k);
}

/// A pair of which both sides have found their ways, and the server waits again.
fn acquainted(w: &mut World) -> Pair {
    let p = pair(w);
    w.receive(p.server, SERVE);
    w.call(p.client, CALL, word(1));
    w.reply_receive(p.server, SERVE, word(2));
    assert_eq!(w.k.counters.fast_calls, 2);
    p
}

/// A server that waits on an endpoint of its own, and a port to it.
fn another(w: &mut World) -> (Actor, Handle, Handle) {
    let (server, endpoint) = (w.child(), w.endpoint());
    let port = w.port(endpoint, 7);
    w.give(endpoint, server, SERVE, Rights::RECEIVE);
    w.receive(server, SERVE);
    (server, endpoint, port)
}

#[test]
fn a_call_after_its_capability_was_deleted_is_refused() {
    let mut w = World::new();
    let p = acquainted(&mut w);
    w.ok(p.client, Syscall::CapDelete, [0, CALL.into(), 0, 0, 0]);
    assert_eq!(w.call(p.client, CALL, word(3)), Some(Err(Error::InvalidHandle)));
    check(&w.k);
}

#[test]
fn a_call_after_its_capability_was_moved_goes_where_the_handle_leads_now() {
    let mut w = World::new();
    let p = acquainted(&mut w);
    let (server, _, port) = another(&mut w);
    w.ok(p.client, Syscall::CapMove, [0, 40, 0, CALL.into(), 0]);
    w.give(port, p.client, CALL, Rights::SEND);
    w.call(p.client, CALL, word(3));
    assert_eq!(w.got(server).map(|got| got.map(|got| got.badge)), Some(Ok(7)));
    check(&w.k);
}

#[test]
fn a_call_after_a_switch_goes_to_the_new_endpoint() {
    let mut w = World::new();
    let p = acquainted(&mut w);
    let (server, endpoint, _) = another(&mut w);
    w.ok(w.manager, Syscall::PortSwitch, [p.port.into(), endpoint.into(), 0, 0, 0]);
    w.call(p.client, CALL, word(3));
    assert_eq!(w.got(server).map(|got| got.map(|got| got.badge)), Some(Ok(BADGE)));
    check(&w.k);
}

#[test]
fn a_call_does_not_reach_what_took_the_place_of_a_destroyed_port() {
    let mut w = World::new();
    let p = acquainted(&mut w);
    let (server, endpoint, _) = another(&mut w);
    w.ok(w.manager, Syscall::Destroy, [0, p.port.into(), 0, 0, 0]);
    w.port(endpoint, 8);
    assert_eq!(w.call(p.client, CALL, word(3)), Some(Err(Error::InvalidHandle)));
    assert_eq!(w.got(server), None, "it still waits");
    check(&w.k);
}

#[test]
fn a_call_does_not_reach_what_took_the_place_of_a_destroyed_endpoint() {
    let mut w = World::new();
    let p = acquainted(&mut w);
    w.ok(w.manager, Syscall::Destroy, [0, p.endpoint.into(), 0, 0, 0]);
    let (server, ..) = another(&mut w);
    assert_eq!(w.call(p.client, CALL, word(3)), Some(Err(Error::Gone)));
    assert_eq!(w.got(server), None, "it still waits");
    check(&w.k);
}

#[test]
fn a_fuse_counts_the_next_call() {
    let mut w = World::new();
    let p = acquainted(&mut w);
    w.ok(w.manager, Syscall::SandboxFuse, [p.client.cap.into(), 1, 5, 0, 0]);
    w.call(p.client, CALL, word(3));
    assert!(w.k.sandboxes[p.client.sandbox].frozen);
    assert_eq!(w.got(p.server), None, "it still waits");
    check(&w.k);
}

#[test]
fn two_that_keep_calling_each_other_do_not_starve_a_third() {
    for fast_path in [true, false] {
        let mut w = World::new();
        w.fast_path = fast_path;
        let p = pair(&mut w);
        let third = w.child_with(ACCOUNT, &sandbox_spec("third", 16, 64));
        w.receive(p.server, SERVE);
        let n = w.notification();
        w.sys(w.manager, Syscall::Wait, [n.into(), FOREVER, 0, 0, 0]);
        let mut ran = 0;
        for _ in 0..400 {
            match w.running() {
                Some(t) if t == third.thread => ran += 1,
                Some(t) if t == p.client.thread => drop(w.call(p.client, CALL, word(1))),
                _ => drop(w.message(p.server, Syscall::ReplyReceive, SERVE, word(2))),
            }
            w.pass(TIME_SLICE / 20);
        }
        assert!((150..=250).contains(&ran), "fast path {fast_path}: the third had {ran} of 400");
    }
}
