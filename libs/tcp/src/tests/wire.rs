//! Bytes in a frame: what is written can be read, what is malformed is refused by name.

use super::harness::*;
use super::std::vec;
use crate::segment::Timestamp;
use crate::wire::{Checksum, ParseError, emit, len, parse};
use crate::*;
use proptest::prelude::*;

fn full() -> SegmentOut {
    let sack = [Some((Seq(1), Seq(2))), Some((Seq(3), Seq(4))), Some((Seq(5), Seq(u32::MAX)))];
    let timestamp = Some(Timestamp { value: 0xdead_beef, echo: 1 });
    SegmentOut {
        seq: Seq(0xffff_fff0),
        ack: Some(Seq(0x8000_0000)),
        flags: Flags::ACK | Flags::PSH,
        window: 0xabcd,
        options: Options { sack, timestamp, ..Options::default() },
        payload: 2..7,
        mss: 1460,
    }
}

fn frame(segment: &SegmentOut) -> super::std::vec::Vec<u8> {
    let mut frame = vec![0xff; len(segment) + 3];
    let used = emit(segment, &CLIENT, &Stream(b"0123456789".to_vec()), Checksum::Full, &mut frame).unwrap();
    frame.truncate(used);
    frame
}

#[test]
fn what_is_emitted_is_parsed_again() {
    let syn = SegmentOut {
        flags: Flags::SYN,
        ack: None,
        options: Options {
            mss: Some(1400),
            window_scale: Some(7),
            sack_permitted: true,
            timestamp: Some(Timestamp { value: 5, echo: 0 }),
            ..Options::default()
        },
        payload: 0..0,
        ..full()
    };
    for segment in [full(), syn] {
        let bytes = frame(&segment);
        let (tuple, parsed) = parse(&bytes, CLIENT.local_addr, CLIENT.remote_addr, true).unwrap();
        assert_eq!(tuple, SERVER);
        assert_eq!((parsed.seq, parsed.ack, parsed.flags), (segment.seq, segment.ack, segment.flags));
        assert_eq!((parsed.window, parsed.options), (segment.window, segment.options));
        let data = &b"0123456789"[segment.payload.start as usize..segment.payload.end as usize];
        assert_eq!(parsed.payload, data);
    }
}

#[test]
fn options_are_aligned_and_fit() {
    assert_eq!(full().options.len(), 40);
    let bytes = frame(&full());
    assert_eq!(&bytes[20..24], [1, 1, 8, 10]);
    assert_eq!(&bytes[32..36], [1, 1, 5, 26]);
}

#[test]
fn a_wrong_checksum_is_refused_unless_the_card_checked_it() {
    let mut bytes = frame(&full());
    bytes[62] ^= 1;
    let (from, to) = (CLIENT.local_addr, CLIENT.remote_addr);
    assert_eq!(parse(&bytes, from, to, true), Err(ParseError::Checksum));
    assert!(parse(&bytes, from, to, false).is_ok());
}

#[test]
fn the_pseudo_header_sum_completes_to_the_full_checksum() {
    let data = Stream(b"0123456789".to_vec());
    let mut offload = vec![0; len(&full())];
    emit(&full(), &CLIENT, &data, Checksum::PseudoHeader, &mut offload).unwrap();
    // What the card does: sum the segment, the field holding the pseudo-header's sum included, and invert.
    let mut padded = offload.clone();
    padded.resize(padded.len().next_multiple_of(2), 0);
    let mut sum: u32 = padded.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    offload[16..18].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    assert_eq!(offload, frame(&full()));
}

#[test]
fn malformed_segments_are_refused_by_name() {
    let parse = |bytes: &[u8]| parse(bytes, [1; 4], [2; 4], false).map(|_| ()).unwrap_err();
    let good = frame(&full());
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    assert_eq!(parse(&good[..19]), ParseError::Length);
    assert_eq!(parse(&with(12, 0x40)), ParseError::Length);
    assert_eq!(parse(&good[..50]), ParseError::Length);
    assert_eq!(parse(&[&[0, 0], &good[2..]].concat()), ParseError::Port);
    assert_eq!(parse(&with(13, 0x03)), ParseError::Flags);
    assert_eq!(parse(&with(13, 0x06)), ParseError::Flags);
    assert_eq!(parse(&with(23, 0)), ParseError::Option);
    assert_eq!(parse(&with(35, 39)), ParseError::Option);
}

#[test]
fn a_short_frame_is_refused() {
    let refused = emit(&full(), &CLIENT, &Stream::default(), Checksum::Full, &mut [0; 64]);
    assert_eq!(refused, Err(wire::FrameTooShort { needed: 65, got: 64 }));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_packets_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), words in 5..16_u8) {
        if bytes.len() > 12 {
            bytes[12] = words << 4;
        }
        let _ = parse(&bytes, [1; 4], [2; 4], false);
    }
}
