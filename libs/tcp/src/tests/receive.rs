//! Receiving: reassembly, acknowledgements, windows (RFC 9293 3.8.6, RFC 2018 4, RFC 7323 5).

use super::harness::*;
use super::std::{vec, vec::Vec};
use crate::segment::Timestamp;
use crate::*;

fn sacked(host: &mut Host, now: Micros) -> Vec<(i32, i32)> {
    let answer = host.drain(now);
    assert_eq!(answer.len(), 1);
    let from = |seq: Seq| seq.since(PEER.add(1));
    answer[0].out.options.sack.iter().flatten().map(|(left, right)| (from(*left), from(*right))).collect()
}

fn with_sack() -> Host {
    let options = Options { sack_permitted: true, ..Options::default() };
    established(Config { sack: true, ..plain() }, options, 1000)
}

#[test]
fn out_of_order_data_is_stored_in_place_and_reported_newest_first() {
    let mut host = with_sack();
    let now = Micros(2000);
    host.receive(now, &from_peer(10, 0, b"kl"));
    assert_eq!(sacked(&mut host, now), [(10, 12)]);
    host.receive(now, &from_peer(20, 0, b"u"));
    assert_eq!(sacked(&mut host, now), [(20, 21), (10, 12)]);
    host.receive(now, &from_peer(30, 0, b"E"));
    host.drain(now);
    host.receive(now, &from_peer(12, 0, b"m"));
    assert_eq!(sacked(&mut host, now), [(10, 13), (30, 31), (20, 21)]);
    let events = host.receive(now, &from_peer(0, 0, b"abcdefghij"));
    assert!(events.contains(Events::READABLE));
    assert_eq!(host.conn.rx_ready(), 13);
    assert_eq!(&host.rx.0[..13], b"abcdefghijklm");
    assert_eq!(host.drain(now)[0].out.ack, Some(PEER.add(14)));
}

#[test]
fn a_gap_beyond_the_last_that_fits_is_dropped_and_everything_arrives_in_the_end() {
    for (dialect, room) in DIALECTS.into_iter().zip([8, 8, 24]) {
        let mut host = with_sack();
        host.conn.r.dialect = dialect;
        let now = Micros(2000);
        for gap in 1..=room + 1 {
            host.receive(now, &from_peer(gap * 2, 0, b"x"));
        }
        assert_eq!(host.conn.r.rcv.held.count(), room as usize);
        for at in 0..2 * room + 3 {
            host.receive(now, &from_peer(at, 0, b"y"));
        }
        assert_eq!(host.conn.rx_ready(), u64::from(2 * room + 3));
    }
}

#[test]
fn overlapping_data_never_changes_what_can_be_read() {
    let mut host = established(plain(), Options::default(), 1000);
    host.receive(Micros(2000), &from_peer(0, 0, b"abc"));
    host.receive(Micros(2001), &from_peer(1, 0, b"XXde"));
    assert_eq!(host.rx.0, b"abcde");
}

#[test]
fn nothing_is_written_beyond_the_window() {
    let config = Config { rx_capacity: 8, ..plain() };
    let mut host = established(config, Options::default(), 1000);
    host.receive(Micros(2000), &from_peer(0, 0, b"0123456789"));
    assert_eq!(host.rx.0, b"01234567");
    let answer = host.drain(Micros(2000)).remove(0);
    assert_eq!((answer.out.ack, answer.out.window), (Some(PEER.add(9)), 0));
    // A probe beyond the closed window is answered, not stored.
    host.receive(Micros(3000), &from_peer(8, 0, b"8"));
    assert_eq!(host.drain(Micros(3000)).len(), 1);
    assert_eq!(host.rx.0.len(), 8);
    // Reading half of it opens the window; the peer hears of it unasked.
    host.conn.app_consumed(4).unwrap();
    assert_eq!(host.drain(Micros(3000))[0].out.window, 4);
}

#[test]
fn a_fin_at_the_edge_of_a_closed_window_is_taken() {
    let config = Config { rx_capacity: 4, ..plain() };
    let mut host = established(config, Options::default(), 1000);
    let mut last = from_peer(0, 0, b"0123");
    last.flags |= Flags::FIN;
    assert!(host.receive(Micros(2000), &last).contains(Events::READABLE | Events::REMOTE_CLOSED));
    assert_eq!(host.drain(Micros(2000))[0].out.ack, Some(PEER.add(6)));
}

#[test]
fn small_reads_do_not_open_the_window_by_small_steps() {
    let config = Config { rx_capacity: 4000, ..plain() };
    let mut host = established(config, Options::default(), 1000);
    host.receive(Micros(2000), &from_peer(0, 0, &[7; 1460]));
    host.receive(Micros(2000), &from_peer(1460, 0, &[7; 1460]));
    host.receive(Micros(2000), &from_peer(2920, 0, &[7; 1080]));
    assert_eq!(host.drain(Micros(2000)).last().unwrap().out.window, 0);
    for offset in (100..1460).step_by(100) {
        host.conn.app_consumed(offset).unwrap();
        assert!(host.drain(Micros(2100)).is_empty());
    }
    host.conn.app_consumed(2000).unwrap();
    assert_eq!(host.drain(Micros(2200))[0].out.window, 2000);
}

#[test]
fn the_right_edge_of_the_window_moves_back_by_rounding_only() {
    let options = Options { window_scale: Some(0), ..Options::default() };
    let config = Config { rx_capacity: 200_000, ..Config::default() };
    let mut host = established(Config { timestamps: false, sack: false, ..config }, options, 1000);
    let (mut from, mut edge) = (0_u32, 0);
    for len in [1, 7, 1460, 3, 1459, 2, 1000, 5] {
        host.receive(Micros(2000), &from_peer(from, 0, &vec![0; len]));
        from += len as u32;
        host.tick(Micros(100_000));
        for packet in host.drain(Micros(100_000)) {
            let shift = host.conn.r.options.rcv_shift;
            let told = packet.out.ack.unwrap().since(PEER) as u32 + (u32::from(packet.out.window) << shift);
            assert!(told + (1 << shift) > edge, "{told} < {edge}");
            edge = edge.max(told);
        }
    }
    assert_eq!(u64::from(edge), host.conn.r.rcv.adv);
    assert!(edge <= 200_001);
}

#[test]
fn every_second_full_segment_is_acknowledged_at_once() {
    let mut host = established(plain(), Options::default(), 1000);
    host.receive(Micros(2000), &from_peer(0, 0, &[0; 1448]));
    assert!(host.drain(Micros(2000)).is_empty());
    host.receive(Micros(2001), &from_peer(1448, 0, &[0; 1448]));
    assert_eq!(host.drain(Micros(2001))[0].out.ack, Some(PEER.add(2897)));
}

#[test]
fn a_single_segment_is_acknowledged_within_40_ms() {
    let mut host = established(plain(), Options::default(), 1000);
    host.receive(Micros(2000), &from_peer(0, 0, b"x"));
    assert!(host.drain(Micros(2000)).is_empty());
    assert_eq!(host.conn.deadline(), Some(Micros(42_000)));
    host.tick(Micros(41_999));
    assert!(host.drain(Micros(41_999)).is_empty());
    host.tick(Micros(42_000));
    assert_eq!(host.drain(Micros(42_000))[0].out.ack, Some(PEER.add(2)));
    assert_eq!(host.conn.deadline(), None);
}

#[test]
fn data_carries_the_acknowledgement_that_was_waiting() {
    let mut host = established(plain(), Options::default(), 1000);
    host.receive(Micros(2000), &from_peer(0, 0, b"ping"));
    host.write(b"pong");
    let sent = host.drain(Micros(2000));
    assert_eq!((sent.len(), sent[0].out.ack), (1, Some(PEER.add(5))));
    host.receive(Micros(2100), &from_peer(4, 4, &[]));
    assert_eq!(host.conn.deadline(), None);
}

#[test]
fn an_old_copy_is_acknowledged_at_once() {
    let mut host = established(plain(), Options::default(), 1000);
    for now in [2000, 3000] {
        host.receive(Micros(now), &from_peer(0, 0, b"x"));
        host.tick(Micros(now + 500_000));
        assert_eq!(host.drain(Micros(now + 500_000)).len(), 1);
    }
}

#[test]
fn a_segment_with_an_older_timestamp_is_dropped_and_acknowledged() {
    let options = Options { timestamp: Some(Timestamp { value: 100, echo: 0 }), ..Options::default() };
    let mut host = established(Config { sack: false, ..Config::default() }, options, 1000);
    assert_eq!(host.receive(Micros(2000), &stamped(from_peer(0, 0, b"old"), 99)), Events::DROPPED);
    assert_eq!(host.drain(Micros(2000)).len(), 1);
    assert!(host.receive(Micros(2000), &stamped(from_peer(0, 0, b"new"), 100)).contains(Events::READABLE));
    host.tick(Micros::from_secs(1));
    host.drain(Micros::from_secs(1));
    // After 24 days the clock cannot be compared any more.
    let later = Micros::from_secs(25 * 86_400);
    assert!(host.receive(later, &stamped(from_peer(3, 0, b"er"), 5)).contains(Events::READABLE));
    assert_eq!(host.conn.r.options.ts_recent, 5);
}

#[test]
fn a_segment_without_the_negotiated_timestamp_is_dropped() {
    let options = Options { timestamp: Some(Timestamp { value: 100, echo: 0 }), ..Options::default() };
    let mut host = established(Config::default(), options, 1000);
    assert_eq!(host.receive(Micros(2000), &from_peer(0, 0, b"x")), Events::DROPPED);
    assert!(host.drain(Micros(2000)).is_empty());
}

#[test]
fn an_out_of_order_segment_does_not_set_the_timestamp_to_echo() {
    let options = Options { timestamp: Some(Timestamp { value: 100, echo: 0 }), ..Options::default() };
    let mut host = established(Config::default(), options, 1000);
    host.receive(Micros(2000), &stamped(from_peer(10, 0, b"x"), 150));
    assert_eq!(host.drain(Micros(2000))[0].out.options.timestamp.unwrap().echo, 100);
}

#[test]
fn garbage_from_the_application_is_refused() {
    let mut host = established(Config { tx_capacity: 100, ..plain() }, Options::default(), 1000);
    host.receive(Micros(2000), &from_peer(0, 0, b"abc"));
    assert_eq!(host.conn.app_consumed(4), Err(AppError::Consumed { offset: 4, from: 0, to: 3 }));
    host.conn.app_consumed(2).unwrap();
    assert_eq!(host.conn.app_consumed(1), Err(AppError::Consumed { offset: 1, from: 2, to: 3 }));
    assert_eq!(host.conn.app_wrote(101), Err(AppError::Wrote { end: 101, from: 0, to: 100 }));
    assert!(host.conn.app_wrote(u64::MAX).is_err());
    host.conn.app_wrote(50).unwrap();
    assert_eq!(host.conn.app_wrote(49), Err(AppError::Wrote { end: 49, from: 50, to: 100 }));
    host.conn.app_closed();
    assert_eq!(host.conn.app_wrote(60), Err(AppError::NotWritable(State::FinWait1)));
    assert_eq!(host.conn.app_wrote(50), Ok(()));
}
