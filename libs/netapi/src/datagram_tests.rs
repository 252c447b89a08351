//! Datagrams over both rings, and rings that an application filled with nonsense.

use super::*;
use crate::region::RegionKind;
use crate::region::tests::Memory;
use proptest::prelude::*;
use std::vec;

fn peer(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 15), port)
}

/// Sends every queued datagram back to where it was addressed.
fn reflect(stack: &mut StackSide) -> usize {
    let mut count = 0;
    stack.refresh().unwrap();
    while let Some(out) = stack.peek_datagram().unwrap() {
        let mut payload = vec![0; out.len];
        assert!(stack.copy_tx(out.payload_at, &mut payload));
        stack.publish_acked(out.next);
        if let Some(index) = stack.push_datagram(out.remote, &payload) {
            stack.publish_rx(index);
            count += 1;
        }
    }
    count
}

#[test]
fn datagrams_keep_their_boundaries_and_addresses() {
    let (_memory, mut stack, mut app) = Memory::pair(RegionKind::Udp);
    for round in 0..100u16 {
        let sizes = [0, 1, 15, 16, 17, 600, 1472];
        for size in sizes {
            app.send_to(peer(size as u16 + round + 1), &vec![round as u8; size]).unwrap();
        }
        assert_eq!(reflect(&mut stack), sizes.len());
        for size in sizes {
            let mut out = [0xff; 2000];
            assert_eq!(app.recv_from(&mut out), Some((peer(size as u16 + round + 1), size)));
            assert!(out[..size].iter().all(|byte| *byte == round as u8));
        }
        assert_eq!(app.recv_from(&mut [0; 10]), None);
    }
}

#[test]
fn a_short_buffer_gets_the_start_and_the_true_length() {
    let (_memory, mut stack, mut app) = Memory::pair(RegionKind::Udp);
    app.send_to(peer(1), b"hello world").unwrap();
    reflect(&mut stack);
    let mut out = [0; 5];
    assert_eq!(app.recv_from(&mut out), Some((peer(1), 11)));
    assert_eq!(&out, b"hello");
    assert_eq!(app.readable(), 0);
}

#[test]
fn what_does_not_fit_is_refused_whole() {
    let (_memory, mut stack, mut app) = Memory::pair(RegionKind::Udp);
    assert_eq!(app.send_to(peer(1), &[0; 4096]), Err(SendError::TooLong));
    app.send_to(peer(1), &[0; 4000]).unwrap();
    assert_eq!(app.send_to(peer(1), &[0; 100]), Err(SendError::Full));
    assert_eq!(reflect(&mut stack), 1);
    app.send_to(peer(1), &[0; 100]).unwrap();
    assert_eq!(reflect(&mut stack), 0, "the unread one fills the ring");
}

proptest! {
    #[test]
    fn a_ring_of_nonsense_is_a_violation_or_a_datagram_within_it(bytes in prop::collection::vec(any::<u8>(), 1..4096)) {
        let (_memory, mut stack, mut app) = Memory::pair(RegionKind::Udp);
        app.write(&bytes);
        stack.refresh().unwrap();
        while let Ok(Some(out)) = stack.peek_datagram() {
            prop_assert!(out.next <= bytes.len() as u64);
            let mut payload = vec![0; out.len];
            prop_assert!(stack.copy_tx(out.payload_at, &mut payload));
            stack.publish_acked(out.next);
        }
    }
}
