//! How fast to send: RFC 5681, RFC 6928, RFC 3465; silly windows and Nagle (RFC 9293 3.7.4, 3.8.6.2.1).

use super::harness::*;
use super::std::vec;
use crate::segment::Timestamp;
use crate::*;

const MSS: u32 = 1460;

#[test]
fn the_first_flight_is_ten_segments() {
    let mut host = established(plain(), Options::default(), 65535);
    host.write(&vec![1; 40_000]);
    let sent = host.drain(Micros(2000));
    assert_eq!(sent.len(), 10);
    assert!(sent.iter().all(|packet| packet.data.len() as u32 == MSS));
}

#[test]
fn slow_start_doubles_and_avoidance_adds_one_segment_a_round() {
    let mut host = established(plain(), Options::default(), 65535);
    host.write(&vec![1; 60_000]);
    host.drain(Micros(2000));
    // All acknowledgements in one batch, before anything is sent again: they count all the same.
    for segments in [2, 4, 6, 8, 10] {
        host.receive(Micros(3000), &from_peer(0, segments * MSS, &[]));
    }
    assert_eq!(host.conn.r.cc.cwnd, 20 * MSS);
    host.conn.r.cc.ssthresh = 20 * MSS;
    assert_eq!(host.drain(Micros(3000)).len(), 20);
    for segments in 11..=30 {
        host.receive(Micros(4000), &from_peer(0, segments * MSS, &[]));
    }
    assert_eq!(host.conn.r.cc.cwnd, 21 * MSS);
}

#[test]
fn a_window_that_was_not_used_does_not_grow() {
    let mut host = established(plain(), Options::default(), 65535);
    for round in 0..50_u32 {
        host.write(b"x");
        host.drain(Micros(u64::from(round) * 1000 + 2000));
        host.receive(Micros(u64::from(round) * 1000 + 2500), &from_peer(0, round + 1, &[]));
    }
    assert_eq!(host.conn.r.cc.cwnd, 10 * MSS);
}

#[test]
fn after_an_idle_time_the_initial_window_is_back() {
    let mut host = established(plain(), Options::default(), 65535);
    host.conn.r.cc.cwnd = 40 * MSS;
    host.write(&vec![1; 60_000]);
    assert_eq!(host.drain(Micros::from_secs(10)).len(), 10);
}

#[test]
fn one_call_yields_a_large_segment_where_offload_is_allowed() {
    let mut host = established(plain(), Options::default(), 65535);
    host.max_payload = 64 * 1024;
    host.write(&vec![1; 14_000]);
    let sent = host.drain(Micros(2000));
    assert_eq!((sent.len(), sent[0].data.len(), sent[0].out.mss), (1, 14_000, 1460));
    assert!(sent[0].out.flags.contains(Flags::PSH));
}

#[test]
fn large_segments_are_whole_multiples_while_more_follows() {
    let mut host = established(plain(), Options::default(), 65535);
    host.max_payload = 5000;
    host.write(&vec![1; 10_000]);
    let sizes =
        host.drain(Micros(2000)).iter().map(|packet| packet.data.len()).collect::<super::std::vec::Vec<_>>();
    assert_eq!(sizes, [4380, 4380, 1240]);
}

#[test]
fn the_rest_of_a_write_does_not_take_the_place_of_the_options() {
    let stamps = Options { timestamp: Some(Timestamp { value: 1, echo: 0 }), ..Options::default() };
    let mut host = established(Config { nagle: false, timestamps: true, ..plain() }, stamps, 65535);
    for end in [1455, 2915, 4363] {
        let more = end - host.tx.0.len();
        host.write(&vec![1; more]);
        let sent = host.drain(Micros(2000));
        assert!(sent.iter().all(|packet| packet.data.len() <= usize::from(packet.out.mss)), "{sent:?}");
        assert_eq!(sent.iter().map(|packet| packet.data.len()).sum::<usize>(), more);
    }
}

#[test]
fn a_max_payload_below_the_segment_size_is_respected() {
    let mut host = established(plain(), Options::default(), 65535);
    host.max_payload = 500;
    host.write(&vec![1; 1200]);
    assert!(host.drain(Micros(2000)).iter().all(|packet| packet.data.len() <= 500));
    assert_eq!(host.conn.r.snd.nxt, 1201);
}

#[test]
fn no_more_than_the_peers_window_is_in_flight() {
    let mut host = established(plain(), Options::default(), 3000);
    host.write(&vec![1; 10_000]);
    assert_eq!(host.drain(Micros(2000)).len(), 2);
    let mut update = from_peer(0, 1460, &[]);
    update.window = 1540;
    host.receive(Micros(3000), &update);
    // 80 octets of window are left: silly, so they wait.
    assert!(host.drain(Micros(3000)).is_empty());
    assert!(host.conn.r.snd.nxt <= 3001);
}

#[test]
fn nagle_holds_a_small_segment_while_data_is_in_flight() {
    for nagle in [false, true] {
        let mut host = established(Config { nagle, ..plain() }, Options::default(), 65535);
        host.write(b"a");
        assert_eq!(host.drain(Micros(2000)).len(), 1);
        host.write(b"b");
        assert_eq!(host.drain(Micros(2000)).is_empty(), nagle);
        host.receive(Micros(3000), &from_peer(0, 1, &[]));
        assert_eq!(host.drain(Micros(3000)).is_empty(), !nagle);
    }
}
