//! Loss and what is sent again: RFC 5681 3.2, RFC 6675, RFC 6582, RFC 6298, RFC 2018 8.

use super::harness::*;
use super::std::{vec, vec::Vec};
use crate::record::Recovery;
use crate::*;

const MSS: u32 = 1460;

fn sending(sack: bool, segments: u32) -> Host {
    let options = Options { sack_permitted: sack, ..Options::default() };
    let mut host = established(Config { sack, ..plain() }, options, 65535);
    host.write(&vec![1; (segments * MSS) as usize]);
    assert_eq!(host.drain(Micros(2000)).len() as u32, segments);
    host
}

fn ack(segments: u32) -> Segment<'static> {
    from_peer(0, segments * MSS, &[])
}

/// An acknowledgement with SACK blocks, all in segments.
fn sack(cumulative: u32, blocks: &[(u32, u32)]) -> Segment<'static> {
    let mut segment = ack(cumulative);
    for (slot, (left, right)) in segment.options.sack.iter_mut().zip(blocks) {
        *slot = Some((OURS.add(1 + left * MSS), OURS.add(1 + right * MSS)));
    }
    segment
}

/// Which segments were sent, by number.
fn sent(host: &mut Host, now: Micros) -> Vec<i32> {
    host.drain(now).iter().map(|packet| packet.out.seq.since(OURS.add(1)) / MSS as i32).collect()
}

#[test]
fn the_third_duplicate_acknowledgement_retransmits_the_head() {
    let mut host = sending(false, 8);
    for _ in 0..2 {
        host.receive(Micros(3000), &ack(0));
        assert!(sent(&mut host, Micros(3000)).is_empty());
    }
    host.receive(Micros(3000), &ack(0));
    assert_eq!(sent(&mut host, Micros(3000)), [0]);
    assert_eq!(host.conn.r.cc.ssthresh, 4 * MSS);
    // A partial acknowledgement retransmits the next hole at once (NewReno).
    host.receive(Micros(4000), &ack(3));
    assert_eq!(sent(&mut host, Micros(4000)), [3]);
    host.receive(Micros(5000), &ack(8));
    assert_eq!(host.conn.r.cc.recovery, Recovery::Open);
    assert!(host.conn.r.cc.cwnd <= 4 * MSS);
}

#[test]
fn window_updates_and_data_are_not_duplicates() {
    let mut host = sending(false, 8);
    for window in [100, 200, 300, 400] {
        let mut update = ack(0);
        update.window = window;
        host.receive(Micros(3000), &update);
    }
    host.receive(Micros(3000), &from_peer(0, 0, b"data"));
    assert_eq!(host.conn.r.cc.recovery, Recovery::Open);
}

#[test]
fn sack_marks_the_holes_lost_and_only_they_are_sent_again() {
    let mut host = sending(true, 10);
    host.receive(Micros(3000), &sack(0, &[(1, 2)]));
    host.receive(Micros(3000), &sack(0, &[(3, 4), (1, 2)]));
    assert!(sent(&mut host, Micros(3000)).is_empty());
    host.receive(Micros(3000), &sack(0, &[(5, 9), (3, 4), (1, 2)]));
    // 0, 2 and 4 are lost; 9 is not known to be.
    let mut again = sent(&mut host, Micros(3000));
    host.receive(Micros(3500), &sack(1, &[(5, 9), (3, 4), (1, 2)]));
    again.extend(sent(&mut host, Micros(3500)));
    assert_eq!(again, [0, 2, 4]);
    host.receive(Micros(4000), &sack(9, &[]));
    host.receive(Micros(4000), &sack(10, &[]));
    assert_eq!((host.conn.r.cc.recovery, host.conn.r.snd.una), (Recovery::Open, 1 + u64::from(10 * MSS)));
    assert_eq!(host.conn.record().stats().retransmitted, 3);
}

#[test]
fn a_timeout_sends_the_rest_again_but_not_what_was_sacked() {
    let mut host = sending(true, 6);
    host.receive(Micros(3000), &sack(0, &[(2, 4)]));
    let at = host.conn.deadline().unwrap();
    host.tick(at);
    assert_eq!(sent(&mut host, at), [0]);
    assert_eq!(host.conn.r.cc.cwnd, MSS);
    host.receive(at, &sack(1, &[(2, 4)]));
    assert_eq!(sent(&mut host, at), [1, 4]);
    host.receive(at, &sack(4, &[]));
    assert_eq!(sent(&mut host, at), [5]);
}

#[test]
fn a_peer_that_reneges_gets_everything_again() {
    let mut host = sending(true, 4);
    host.receive(Micros(3000), &sack(0, &[(1, 4)]));
    sent(&mut host, Micros(3000));
    // The hole is filled, yet the peer asks for what it said it had.
    host.receive(Micros(4000), &ack(1));
    let mut again = vec![];
    for _ in 0..4 {
        let Some(at) = host.conn.deadline() else { break };
        host.tick(at);
        again.extend(sent(&mut host, at));
        let done = again.last().map_or(1, |last| *last as u32 + 1);
        host.receive(at, &ack(done));
        again.extend(sent(&mut host, at));
    }
    assert!([1, 2, 3].iter().all(|segment| again.contains(segment)), "{again:?}");
}

#[test]
fn sack_blocks_outside_what_is_in_flight_are_ignored() {
    let mut host = sending(true, 4);
    host.receive(Micros(3000), &sack(0, &[(3, 9), (2, 1), (0, 1)]));
    let mut below = sack(2, &[(0, 1)]);
    below.options.sack[1] = Some((OURS.sub(5000), OURS.sub(10)));
    host.receive(Micros(3000), &below);
    assert_eq!(host.conn.r.cc.sacked.count(), 0);
}

#[test]
fn timeouts_double_and_the_connection_dies_after_the_last() {
    let mut host = sending(false, 1);
    let mut times = vec![];
    while let Some(at) = host.conn.deadline() {
        host.tick(at);
        host.drain(at);
        times.push(at.0);
    }
    let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps[1], 2 * gaps[0]);
    assert_eq!(gaps[2], 4 * gaps[0]);
    assert_eq!(*gaps.last().unwrap(), 60_000_000);
    assert_eq!(host.conn.record().stats().timeouts, 15);
    assert_eq!(host.conn.state(), State::Closed(CloseReason::TimedOut));
    assert!(times.last().unwrap() > &100_000_000, "RFC 9293 3.8.3: at least 100 s");
}

#[test]
fn an_acknowledgement_of_a_retransmission_is_no_round_trip_sample() {
    let mut host = sending(false, 1);
    let before = host.conn.r.rto.srtt;
    let at = host.conn.deadline().unwrap();
    host.tick(at);
    host.drain(at);
    host.receive(at.after(Micros(5)), &ack(1));
    assert_eq!(host.conn.r.rto.srtt, before);
}

#[test]
fn a_timestamp_makes_a_sample_of_a_retransmission() {
    let timestamp = Some(segment::Timestamp { value: 1, echo: 7 });
    let mut host = established(Config::default(), Options { timestamp, ..Options::default() }, 65535);
    host.write(&[1; 100]);
    host.drain(Micros(2000));
    let at = host.conn.deadline().unwrap();
    host.tick(at);
    let echo = host.drain(at)[0].out.options.timestamp.unwrap().value;
    let mut answer = stamped(from_peer(0, 100, &[]), 2);
    answer.options.timestamp.as_mut().unwrap().echo = echo;
    host.receive(at.after(Micros::from_millis(80)), &answer);
    assert_eq!(host.conn.r.rto.srtt, (7 * 1000 + 80_000) / 8);
}

#[test]
fn a_tail_loss_is_mended_by_the_timer() {
    let mut host = sending(true, 3);
    host.receive(Micros(3000), &ack(2));
    let at = host.conn.deadline().unwrap();
    host.tick(at);
    assert_eq!(sent(&mut host, at), [2]);
}
