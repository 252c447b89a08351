//! Relays between two pairs of rings.

use super::*;
use crate::testing::Pair;
use hic_netapi::NetError;
use std::vec::Vec;

const RING: u32 = 16 * 1024;

fn pairs() -> (Pair, Pair, Relay) {
    (Pair::tcp(RING), Pair::tcp(RING), Relay::new())
}

fn bytes(count: u32, factor: u32) -> Vec<u8> {
    (0..count).map(|n| (n.wrapping_mul(factor) >> 3) as u8).collect()
}

fn wants(progress: Progress) -> [Option<Want>; 2] {
    let Progress::Wait { near, far } = progress else { panic!("{progress:?}") };
    [near, far].map(|sleep| sleep.map(|sleep| sleep.want))
}

#[test]
fn both_directions_carry_every_byte_in_order() {
    let (mut near, mut far, mut relay) = pairs();
    let (out, back) = (bytes(100_000, 7), bytes(80_000, 13));
    let (mut at_far, mut at_near) = (Vec::new(), Vec::new());
    let (mut fed_out, mut fed_back) = (0, 0);
    while at_far.len() < out.len() || at_near.len() < back.len() {
        fed_out += near.receive_some(&out[fed_out..]);
        fed_back += far.receive_some(&back[fed_back..]);
        relay.step(&mut near.app, &mut far.app);
        // Odd amounts, so that all seams of the rings are met.
        at_far.extend(far.take_sent(1777));
        at_near.extend(near.take_sent(2311));
    }
    assert_eq!((at_far, at_near), (out, back));
}

#[test]
fn what_cannot_be_passed_on_is_not_read() {
    let (mut near, mut far, mut relay) = pairs();
    let data = bytes(3 * RING, 5);
    let mut fed = 0;
    loop {
        let more = near.receive_some(&data[fed..]);
        fed += more;
        let progress = relay.step(&mut near.app, &mut far.app);
        if more == 0 {
            let readable = Want::READABLE.and(Want::OVER);
            assert_eq!(wants(progress), [Some(Want::OVER), Some(readable.and(Want::WRITABLE))]);
            break;
        }
    }
    // One ring on either side, and nothing between.
    assert_eq!(fed, 2 * RING as usize);
    assert_eq!(far.take_sent(usize::MAX), data[..RING as usize]);
}

#[test]
fn the_end_of_a_stream_follows_its_last_byte_and_the_other_direction_goes_on() {
    let (mut near, mut far, mut relay) = pairs();
    let data = bytes(RING + 1000, 3);
    near.receive(&data[..RING as usize]);
    relay.step(&mut near.app, &mut far.app);
    near.receive(&data[RING as usize..]);
    near.close_rx();
    relay.step(&mut near.app, &mut far.app);
    assert!(!far.tx_closed(), "bytes are still to come");
    assert_eq!(far.take_sent(usize::MAX), data[..RING as usize]);
    relay.step(&mut near.app, &mut far.app);
    assert!(far.tx_closed());
    assert_eq!(far.take_sent(usize::MAX), data[RING as usize..]);
    far.receive(b"answer");
    relay.step(&mut near.app, &mut far.app);
    assert!(!near.tx_closed());
    assert_eq!(near.take_sent(usize::MAX), b"answer");
}

#[test]
fn it_is_finished_when_both_peers_have_acknowledged_all() {
    let (mut near, mut far, mut relay) = pairs();
    near.receive(b"there");
    near.close_rx();
    far.receive(b"back");
    far.close_rx();
    let progress = relay.step(&mut near.app, &mut far.app);
    assert_eq!(wants(progress), [Some(Want::OVER); 2]);
    near.end();
    let progress = relay.step(&mut near.app, &mut far.app);
    assert_eq!(wants(progress), [None, Some(Want::OVER)]);
    far.end();
    assert_eq!(relay.step(&mut near.app, &mut far.app), Progress::Finished);
}

#[test]
fn what_a_peer_that_is_gone_in_order_had_sent_is_still_passed_on() {
    let (mut near, mut far, mut relay) = pairs();
    far.close_rx();
    let data = bytes(2 * RING, 11);
    near.receive(&data[..RING as usize]);
    relay.step(&mut near.app, &mut far.app);
    near.receive(&data[RING as usize..]);
    near.end();
    let progress = relay.step(&mut near.app, &mut far.app);
    assert_eq!(wants(progress), [None, Some(Want::OVER.and(Want::WRITABLE))]);
    let mut out = far.take_sent(usize::MAX);
    relay.step(&mut near.app, &mut far.app);
    out.extend(far.take_sent(usize::MAX));
    assert_eq!((out, far.tx_closed()), (data, true));
}

#[test]
fn a_break_on_either_side_is_no_orderly_end() {
    for near_breaks in [true, false] {
        let (mut near, mut far, mut relay) = pairs();
        near.receive(b"half of i");
        if near_breaks {
            near.fail(NetError::Reset)
        } else {
            far.fail(NetError::TimedOut)
        }
        assert_eq!(relay.step(&mut near.app, &mut far.app), Progress::Broken);
        assert!(!near.tx_closed() && !far.tx_closed());
    }
}

#[test]
fn a_side_that_is_over_before_its_stream_was_ended_is_broken() {
    let (mut near, mut far, mut relay) = pairs();
    far.end();
    assert_eq!(relay.step(&mut near.app, &mut far.app), Progress::Broken);
}
