//! Probes and the timers that remain: RFC 9293 3.8.4, 3.8.6.1.

use super::harness::*;
use super::std::vec;
use crate::*;

fn window(mut segment: Segment<'_>, size: u16) -> Segment<'_> {
    segment.window = size;
    segment
}

#[test]
fn a_zero_window_is_probed_ever_less_often_and_its_opening_resumes() {
    let mut host = established(plain(), Options::default(), 0);
    host.write(&vec![1; 3000]);
    assert!(host.drain(Micros(2000)).is_empty());
    let mut last = Micros(2000);
    let mut gap = Micros(0);
    for _ in 0..30 {
        let at = host.conn.deadline().unwrap();
        host.tick(at);
        let probe = host.drain(at);
        assert_eq!((probe.len(), probe[0].out.seq, probe[0].data.len()), (1, OURS, 0));
        assert!(at.since(last) >= gap && at.since(last) <= Micros::from_secs(60));
        gap = at.since(last);
        last = at;
        host.receive(at, &window(from_peer(0, 0, &[]), 0));
    }
    assert_eq!(gap, Micros::from_secs(60));
    host.receive(last, &window(from_peer(0, 0, &[]), 65535));
    assert_eq!(host.drain(last).len(), 3);
    // The backoff of the probes is not that of the data.
    assert!(host.conn.deadline().unwrap() < last.after(Micros::from_secs(2)));
}

#[test]
fn a_peer_that_stops_answering_window_probes_is_given_up() {
    let mut host = established(plain(), Options::default(), 0);
    host.write(b"x");
    host.drain(Micros(2000));
    while let Some(at) = host.conn.deadline() {
        host.tick(at);
        host.drain(at);
    }
    assert_eq!(host.conn.state(), State::Closed(CloseReason::TimedOut));
}

#[test]
fn a_small_window_is_used_after_the_override_time() {
    let mut host = established(plain(), Options::default(), 65535);
    host.receive(Micros(1500), &window(from_peer(0, 0, &[]), 100));
    host.write(&vec![1; 3000]);
    assert!(host.drain(Micros(2000)).is_empty());
    let at = host.conn.deadline().unwrap();
    host.tick(at);
    let sent = host.drain(at);
    assert_eq!((sent.len(), sent[0].data.len()), (1, 100));
}

#[test]
fn a_fin_waits_for_the_window_too() {
    let mut host = established(plain(), Options::default(), 0);
    host.conn.app_closed();
    assert!(host.drain(Micros(2000)).is_empty());
    assert!(host.conn.deadline().is_some());
    host.receive(Micros(3000), &window(from_peer(0, 0, &[]), 10));
    assert_eq!(host.drain(Micros(3000))[0].out.flags, Flags::FIN | Flags::ACK);
}

#[test]
fn a_window_taken_back_to_zero_does_not_kill_a_living_peer() {
    let mut host = established(plain(), Options::default(), 65535);
    host.write(b"x");
    host.drain(Micros(2000));
    for _ in 0..40 {
        let at = host.conn.deadline().unwrap();
        host.tick(at);
        assert_eq!(host.drain(at).len(), 1);
        host.receive(at, &window(from_peer(0, 0, &[]), 0));
    }
    assert_eq!(host.conn.state(), State::Established);
}

#[test]
fn keep_alive_is_off_unless_asked_for() {
    let host = established(plain(), Options::default(), 1000);
    assert_eq!(host.conn.deadline(), None);
}

#[test]
fn keep_alive_probes_after_silence_and_gives_up_on_a_dead_peer() {
    let keep_alive =
        Some(KeepAlive { idle: Micros::from_secs(10), interval: Micros::from_secs(2), probes: 3 });
    let mut host = established(Config { keep_alive, ..plain() }, Options::default(), 1000);
    let at = host.conn.deadline().unwrap();
    assert_eq!(at, Micros(1000).after(Micros::from_secs(10)));
    host.tick(at);
    let probe = host.drain(at);
    assert_eq!((probe.len(), probe[0].out.seq, probe[0].data.len()), (1, OURS, 0));
    // An answer starts over.
    host.receive(at, &from_peer(0, 0, &[]));
    let mut probes = 0;
    while let Some(at) = host.conn.deadline() {
        host.tick(at);
        probes += host.drain(at).len();
    }
    assert_eq!(probes, 3);
    assert_eq!(host.conn.state(), State::Closed(CloseReason::TimedOut));
}

#[test]
fn a_keep_alive_probe_is_answered() {
    let mut host = established(plain(), Options::default(), 1000);
    let mut probe = from_peer(0, 0, &[]);
    probe.seq = PEER;
    host.receive(Micros(2000), &probe);
    assert_eq!(host.drain(Micros(2000)).len(), 1);
}

#[test]
fn an_early_call_changes_nothing() {
    let mut host = established(Config::default(), Options::default(), 1000);
    host.write(b"x");
    host.drain(Micros(2000));
    let before = host.conn;
    assert_eq!(host.tick(Micros(2001)), Events::empty());
    assert_eq!(host.conn, before);
}
