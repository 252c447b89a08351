//! Closing and resetting: RFC 9293 3.6, RFC 5961 3, RFC 6191.

use super::harness::*;
use crate::*;

fn fin(mut segment: Segment<'_>) -> Segment<'_> {
    segment.flags |= Flags::FIN;
    segment
}

fn reset(offset: u32) -> Segment<'static> {
    Segment { seq: PEER.add(1 + offset), flags: Flags::RST, ..Segment::default() }
}

#[test]
fn an_orderly_close_ends_in_time_wait_and_closed() {
    let mut now = Micros(0);
    let mut hosts = pair(Config::default(), &mut now);
    hosts[0].write(b"bye");
    hosts[0].conn.app_closed();
    let until = now.after(Micros::from_secs(1));
    settle(&mut hosts, &mut now, until);
    assert_eq!((hosts[0].conn.state(), hosts[1].conn.state()), (State::FinWait2, State::CloseWait));
    // Half-close: the other direction still works.
    hosts[1].write(b"and you");
    hosts[1].conn.app_closed();
    let until = now.after(Micros::from_secs(1));
    settle(&mut hosts, &mut now, until);
    assert_eq!(hosts[0].rx.0, b"and you");
    assert_eq!(hosts[0].conn.state(), State::TimeWait);
    assert_eq!(hosts[1].conn.state(), State::Closed(CloseReason::Normal));
    let until = now.after(Micros::from_secs(60));
    settle(&mut hosts, &mut now, until);
    assert_eq!(hosts[0].conn.state(), State::Closed(CloseReason::Normal));
    assert_eq!(hosts[0].conn.deadline(), None);
}

#[test]
fn a_simultaneous_close_leaves_both_in_time_wait() {
    let mut now = Micros(0);
    let mut hosts = pair(Config::default(), &mut now);
    hosts.iter_mut().for_each(|host| host.conn.app_closed());
    let until = now.after(Micros::from_secs(1));
    settle(&mut hosts, &mut now, until);
    for host in &hosts {
        assert_eq!(host.conn.state(), State::TimeWait);
        assert!(host.seen.contains(Events::LOCAL_CLOSED | Events::REMOTE_CLOSED | Events::TIME_WAIT));
    }
}

#[test]
fn a_lost_fin_is_sent_again() {
    let mut host = established(plain(), Options::default(), 1000);
    host.conn.app_closed();
    let first = host.drain(Micros(2000));
    assert_eq!((first.len(), first[0].out.flags), (1, Flags::FIN | Flags::ACK));
    let at = host.conn.deadline().unwrap();
    host.tick(at);
    let again = host.drain(at);
    assert_eq!(
        (again.len(), again[0].out.seq, again[0].out.flags),
        (1, OURS.add(1), Flags::FIN | Flags::ACK)
    );
}

#[test]
fn a_fin_that_arrives_early_waits_for_the_data_before_it() {
    let mut host = established(plain(), Options::default(), 1000);
    let events = host.receive(Micros(2000), &fin(from_peer(3, 0, b"def")));
    assert!(!events.intersects(Events::REMOTE_CLOSED | Events::READABLE));
    let events = host.receive(Micros(2001), &from_peer(0, 0, b"abc"));
    assert!(events.contains(Events::REMOTE_CLOSED | Events::READABLE));
    assert_eq!(host.rx.0, b"abcdef");
    assert_eq!((host.conn.rx_ready(), host.conn.rx_finished()), (6, true));
}

#[test]
fn data_after_the_fin_is_ignored() {
    let mut host = established(plain(), Options::default(), 1000);
    host.receive(Micros(2000), &fin(from_peer(0, 0, b"abc")));
    host.receive(Micros(2001), &from_peer(4, 0, b"more"));
    assert_eq!(host.conn.rx_ready(), 3);
    assert_eq!(host.rx.0, b"abc");
}

#[test]
fn a_repeated_fin_in_time_wait_is_acknowledged_and_restarts_the_wait() {
    let mut host = established(plain(), Options::default(), 1000);
    host.conn.app_closed();
    host.drain(Micros(2000));
    host.receive(Micros(3000), &fin(from_peer(0, 1, &[])));
    assert_eq!(host.conn.state(), State::TimeWait);
    host.drain(Micros(3000));
    let later = Micros::from_secs(30);
    host.receive(later, &fin(from_peer(0, 1, &[])));
    assert_eq!(host.drain(later).len(), 1);
    assert_eq!(host.conn.deadline(), Some(later.after(Micros::from_secs(60))));
}

#[test]
fn time_wait_makes_way_for_a_newer_syn_only() {
    let mut host = established(plain(), Options::default(), 1000);
    host.conn.app_closed();
    host.drain(Micros(2000));
    host.receive(Micros(3000), &fin(from_peer(0, 1, &[])));
    let syn = |seq| Segment { seq, flags: Flags::SYN, ..Segment::default() };
    assert!(host.conn.may_reopen(&syn(PEER.add(1000))));
    assert!(!host.conn.may_reopen(&syn(PEER)));
    let data = from_peer(1000, 1, b"x");
    assert!(!host.conn.may_reopen(&data));
}

#[test]
fn only_the_exact_reset_closes_and_one_in_the_window_is_challenged() {
    let mut host = established(plain(), Options::default(), 1000);
    assert_eq!(host.receive(Micros(2000), &reset(10)), Events::DROPPED);
    assert_eq!(host.drain(Micros(2000)).len(), 1);
    assert_eq!(host.receive(Micros(2000), &reset(100_000)), Events::DROPPED);
    assert!(host.drain(Micros(2000)).is_empty());
    assert!(host.receive(Micros(2000), &reset(0)).contains(Events::RESET | Events::CLOSED));
    assert_eq!(host.conn.state(), State::Closed(CloseReason::Reset));
    assert!(host.drain(Micros(2000)).is_empty());
}

#[test]
fn challenges_are_limited_to_ten_a_second() {
    let mut host = established(plain(), Options::default(), 1000);
    let mut answers = 0;
    for step in 0..100 {
        host.receive(Micros(2000 + step), &reset(10));
        answers += host.drain(Micros(2000 + step)).len();
    }
    assert_eq!(answers, 10);
    let later = Micros::from_secs(2);
    host.receive(later, &reset(10));
    assert_eq!(host.drain(later).len(), 1);
}

#[test]
fn an_acknowledgement_of_unsent_data_is_challenged() {
    let mut host = established(plain(), Options::default(), 1000);
    assert_eq!(host.receive(Micros(2000), &from_peer(0, 500, b"evil")), Events::DROPPED);
    assert_eq!(host.drain(Micros(2000)).len(), 1);
    assert_eq!(host.conn.rx_ready(), 0);
    // Much older than any window: a blind guess (RFC 5961 5.2).
    let mut old = from_peer(0, 0, b"evil");
    old.ack = Some(OURS.sub(100_000));
    assert_eq!(host.receive(Micros(2000), &old), Events::DROPPED);
}

#[test]
fn aborting_sends_one_reset() {
    let mut host = established(plain(), Options::default(), 1000);
    host.write(b"unsent");
    assert_eq!(host.conn.abort(), Events::CLOSED);
    let sent = host.drain(Micros(2000));
    assert_eq!((sent.len(), sent[0].out.flags), (1, Flags::RST | Flags::ACK));
    assert_eq!(sent[0].out.seq, OURS.add(1));
    assert_eq!(host.conn.state(), State::Closed(CloseReason::Aborted));
    assert_eq!(host.conn.abort(), Events::empty());
}

#[test]
fn an_application_that_leaves_unread_data_resets() {
    let mut host = established(plain(), Options::default(), 1000);
    host.receive(Micros(2000), &from_peer(0, 0, b"unread"));
    assert_eq!(host.conn.app_detached(Micros(2000)), Events::CLOSED);
    assert_eq!(host.drain(Micros(2000))[0].out.flags, Flags::RST | Flags::ACK);
}

#[test]
fn an_application_that_left_in_order_closes_and_resets_on_later_data() {
    let mut host = established(plain(), Options::default(), 1000);
    host.write(b"last");
    assert_eq!(host.conn.app_detached(Micros(2000)), Events::empty());
    let sent = host.drain(Micros(2000));
    assert_eq!((sent.len(), sent[0].out.flags), (1, Flags::PSH | Flags::FIN | Flags::ACK));
    host.receive(Micros(3000), &from_peer(0, 5, &[]));
    assert_eq!(host.conn.state(), State::FinWait2);
    assert_eq!(host.conn.deadline(), Some(Micros(3000).after(Micros::from_secs(60))));
    assert!(host.receive(Micros(4000), &from_peer(0, 5, b"too late")).contains(Events::CLOSED));
    assert_eq!(host.drain(Micros(4000))[0].out.flags, Flags::RST | Flags::ACK);
}

#[test]
fn a_segment_for_nobody_is_reset_but_a_reset_is_not() {
    let syn = Segment { seq: Seq(9), flags: Flags::SYN | Flags::FIN, payload: b"ab", ..Segment::default() };
    let answer = reset_for(&syn).unwrap();
    assert_eq!((answer.seq, answer.ack, answer.flags), (Seq(0), Some(Seq(13)), Flags::RST | Flags::ACK));
    assert_eq!(reset_for(&reset(0)), None);
    let mut host = connect(plain());
    host.conn.abort();
    assert!(host.receive(Micros(1), &from_peer(0, 0, b"x")).contains(Events::SEND_RESET));
}
