//! Two layouts of one record: who reads what, and what is lost on the way down.

use super::codec::{encoded, sealed};
use super::harness::*;
use super::std::{collections::BTreeSet, vec, vec::Vec};
use crate::schema::{BASE_REASSEMBLY_SPANS, BASE_SCOREBOARD_SPANS, REASSEMBLY_ROOM, SCOREBOARD_ROOM};
use crate::spans::Span;
use crate::*;

const NOW: Micros = Micros(2000);

fn with_sack(dialect: usize) -> Host {
    let options = Options { sack_permitted: true, ..Options::default() };
    let mut host = established(Config { sack: true, ..plain() }, options, 65535);
    host.conn.r.dialect = DIALECTS[dialect];
    host
}

/// A connection of the committed new version that holds every second octet of `2 * gaps`.
fn holding(gaps: u32) -> Host {
    let mut host = with_sack(2);
    for gap in 0..gaps {
        host.receive(NOW, &from_peer(gap * 2 + 1, 0, b"x"));
    }
    host.drain(NOW);
    host
}

fn headed(bytes: &[u8]) -> [u16; 2] {
    [u16::from_le_bytes([bytes[4], bytes[5]]), u16::from_le_bytes([bytes[6], bytes[7]])]
}

#[test]
fn each_version_says_who_can_read_what_it_publishes() {
    let headers = [0, 1, 2].map(|dialect| headed(&encoded(&with_sack(dialect).conn.r)));
    assert_eq!(headers, [[1, 1], [2, 1], [2, 2]]);
}

#[test]
fn this_build_starts_compatible_and_reads_as_its_own_schema() {
    let mut host = connect(plain());
    assert_eq!(host.conn.format(), Format::Compatible);
    let own = Record::decode(&encoded(&host.conn.r)).unwrap();
    assert_eq!(own.dialect.schema(), Schema::OWN);
    host.conn.set_format(Format::Own);
    assert_eq!(headed(&encoded(&host.conn.r)), [Schema::OWN.number(); 2]);
}

#[test]
fn the_old_version_refuses_what_only_the_new_one_can_read() {
    let bytes = encoded(&with_sack(2).conn.r);
    let refused = RecordError::Schema { schema: 2, readable_by: 2, reader: 1 };
    assert_eq!(Record::decode_as(Schema::V1, &bytes), Err(refused));
    assert_eq!(Record::decode_as(Schema::V2, &bytes).unwrap().format(), Format::Own);
}

#[test]
fn a_layout_that_must_not_be_skipped_is_refused_by_both() {
    let mut bytes = encoded(&with_sack(0).conn.r);
    bytes[4..8].copy_from_slice(&[9, 0, 8, 0]);
    for reader in [Schema::V1, Schema::V2] {
        let refused = RecordError::Schema { schema: 9, readable_by: 8, reader: reader.number() };
        assert_eq!(Record::decode_as(reader, &sealed(bytes.clone())), Err(refused));
    }
}

#[test]
fn an_extension_from_a_newer_writer_is_skipped() {
    let old = with_sack(0).conn.r;
    let mut bytes = encoded(&old);
    bytes[4] = 9;
    bytes[10] = 5;
    bytes.extend_from_slice(b"hello");
    assert_eq!(Record::decode_as(Schema::V1, &sealed(bytes)), Ok(old));
    // What a third schema adds follows what the second one has.
    let new = holding(20).conn.r;
    let mut bytes = encoded(&new);
    bytes[4] = 9;
    let len = u16::from_le_bytes([bytes[10], bytes[11]]) + 5;
    bytes[10..12].copy_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(b"hello");
    assert_eq!(Record::decode_as(Schema::V2, &sealed(bytes)), Ok(new));
}

#[test]
fn an_extension_that_is_cut_or_too_long_is_refused() {
    let bytes = encoded(&holding(REASSEMBLY_ROOM as u32).conn.r);
    let extension = usize::from(bytes[10]);
    assert_eq!(extension, 2 + 8 * (REASSEMBLY_ROOM - BASE_REASSEMBLY_SPANS));
    for len in 0..extension {
        let mut cut = bytes[..bytes.len() - extension + len].to_vec();
        cut[10] = len as u8;
        assert_eq!(Record::decode_as(Schema::V2, &sealed(cut)), Err(RecordError::Length), "{len}");
    }
    let mut more = bytes.clone();
    let at = bytes.len() - extension;
    more[at] += 1;
    more.splice(at + 1..at + 1, [1, 0, 0, 0, 1, 0, 0, 0]);
    more[10] += 8;
    let refused = Err(RecordError::Field("number of spans"));
    assert_eq!(Record::decode_as(Schema::V2, &sealed(more)), refused);
}

#[test]
fn stretches_in_the_extension_need_a_full_body_before_them() {
    let mut bytes = encoded(&holding(3).conn.r);
    let at = bytes.len() - 2;
    bytes[at] = 1;
    bytes[10] += 8;
    bytes.splice(at + 1..at + 1, [1, 0, 0, 0, 1, 0, 0, 0]);
    let refused = Err(RecordError::Field("spans in the extension"));
    assert_eq!(Record::decode_as(Schema::V2, &sealed(bytes)), refused);
}

#[test]
fn a_compatible_record_with_a_promise_that_the_old_version_cannot_keep_is_refused() {
    let mut bytes = encoded(&holding(9).conn.r);
    bytes[6] = 1;
    let refused = Err(RecordError::Contradiction("receive positions"));
    assert_eq!(Record::decode_as(Schema::V2, &sealed(bytes)), refused);
}

#[test]
fn converting_down_keeps_the_lowest_stretches_and_the_stream_completes() {
    let mut host = holding(REASSEMBLY_ROOM as u32);
    let dropped = (REASSEMBLY_ROOM - BASE_REASSEMBLY_SPANS) as u64;
    assert_eq!(host.conn.set_format(Format::Compatible), dropped);
    assert_eq!(host.conn.r.rcv.held.as_slice()[7], Span { start: 16, end: 17 });
    assert_eq!(host.conn.set_format(Format::Compatible), 0);
    let old = Record::decode_as(Schema::V1, &encoded(&host.conn.r)).unwrap();
    host.conn = Connection::from_record(old);
    // What is reported from now on is what is held.
    host.receive(NOW, &from_peer(1, 0, b"x"));
    for (left, right) in host.drain(NOW)[0].out.options.sack.into_iter().flatten() {
        let (start, end) = (left.since(PEER) as u64, right.since(PEER) as u64);
        assert!(host.conn.r.rcv.held.as_slice().contains(&Span { start, end }), "{start}..{end}");
    }
    for octet in 0..2 * REASSEMBLY_ROOM as u32 {
        host.receive(NOW, &from_peer(octet, 0, b"y"));
    }
    assert_eq!(host.conn.rx_ready(), 2 * REASSEMBLY_ROOM as u64);
}

#[test]
fn a_fin_that_was_seen_is_kept_when_the_data_before_it_is_forgotten() {
    let mut host = holding(20);
    let mut last = from_peer(40, 0, b"z");
    last.flags |= Flags::FIN;
    host.receive(NOW, &last);
    assert!(host.conn.set_format(Format::Compatible) > 0);
    for octet in 0..41 {
        host.receive(NOW, &from_peer(octet, 0, b"z"));
    }
    // All data is there again; the FIN did not have to be.
    assert!(host.conn.rx_finished());
    assert_eq!(host.conn.state(), State::CloseWait);
}

const MSS: u32 = 1460;

/// A peer that reports all that it has, and believes nothing but what arrives.
#[derive(Default)]
struct Peer {
    has: BTreeSet<u32>,
}

impl Peer {
    fn cumulative(&self) -> u32 {
        (0..).find(|number| !self.has.contains(number)).unwrap_or(0)
    }

    /// An acknowledgement with blocks around these segments.
    fn report(&self, around: &[u32]) -> Segment<'static> {
        let mut segment = from_peer(0, self.cumulative() * MSS, &[]);
        for (slot, at) in segment.options.sack.iter_mut().zip(around) {
            *slot = Some((OURS.add(1 + at * MSS), OURS.add(1 + (at + 1) * MSS)));
        }
        segment
    }
}

/// A sender with `2 * holes` segments in flight, of which the peer has every second one and has said so.
fn sender(holes: u32) -> (Host, Peer) {
    let config = Config { sack: true, tx_capacity: 1 << 20, window_scaling: true, ..plain() };
    let options = Options { sack_permitted: true, window_scale: Some(7), ..Options::default() };
    let mut host = established(config, options, 65535);
    host.conn.r.dialect = DIALECTS[1];
    host.receive(NOW, &from_peer(0, 0, &[]));
    host.conn.r.cc.cwnd = 1 << 20;
    host.write(&vec![7; (2 * holes * MSS) as usize]);
    assert_eq!(host.drain(NOW).len() as u32, 2 * holes);
    let mut peer = Peer::default();
    for hole in 0..holes {
        peer.has.insert(2 * hole + 1);
        host.receive(NOW, &peer.report(&[2 * hole + 1]));
    }
    (host, peer)
}

/// Plays the peer until all is acknowledged. Returns the numbers of the segments that were sent.
fn play(host: &mut Host, peer: &mut Peer) -> Vec<u32> {
    let mut now = NOW;
    let mut sent = vec![];
    for _ in 0..1000 {
        let packets = host.drain(now);
        for packet in &packets {
            let number = packet.out.seq.since(OURS.add(1)) as u32 / MSS;
            sent.push(number);
            peer.has.insert(number);
            let report = peer.report(&[]);
            host.receive(now, &report);
        }
        if packets.is_empty() {
            let Some(at) = host.conn.deadline() else { break };
            now = now.max(at);
            host.tick(now);
        }
    }
    sent
}

#[test]
fn the_scoreboard_beyond_the_body_goes_into_an_extension_that_the_old_version_skips() {
    let (host, _) = sender(60);
    assert_eq!(host.conn.r.cc.sacked.count(), 60);
    let bytes = encoded(&host.conn.r);
    assert_eq!(headed(&bytes), [2, 1]);
    assert_eq!(Record::decode_as(Schema::V2, &bytes), Ok(host.conn.r));
    let old = Record::decode_as(Schema::V1, &bytes).unwrap();
    assert_eq!(old.cc.sacked.as_slice(), &host.conn.r.cc.sacked.as_slice()[..BASE_SCOREBOARD_SPANS]);
}

#[test]
fn a_sender_whose_scoreboard_was_cut_sends_some_twice_and_completes() {
    let (mut host, mut peer) = sender(60);
    let old = Record::decode_as(Schema::V1, &encoded(&host.conn.r)).unwrap();
    let (mut twin, mut twin_peer) = sender(60);
    host.conn = Connection::from_record(old);
    let total = 120;
    let sent = play(&mut host, &mut peer);
    let unmoved = play(&mut twin, &mut twin_peer);
    for host in [&host, &twin] {
        assert_eq!(host.conn.tx_acked(), u64::from(total * MSS));
        assert_eq!(host.conn.deadline(), None);
    }
    // The new version sends nothing that the peer has.
    assert!(unmoved.iter().all(|number| number % 2 == 0), "{unmoved:?}");
    assert!(sent.len() >= unmoved.len());
}

#[test]
fn the_scoreboard_is_bounded_in_both_versions() {
    for (dialect, room) in DIALECTS.into_iter().zip([BASE_SCOREBOARD_SPANS, SCOREBOARD_ROOM, SCOREBOARD_ROOM])
    {
        let (mut host, mut peer) = sender(2);
        host.conn.r.dialect = dialect;
        host.write(&vec![7; 160 * MSS as usize]);
        host.conn.r.cc.cwnd = 1 << 20;
        host.drain(NOW);
        for number in 3..80 {
            peer.has.insert(2 * number + 1);
            host.receive(NOW, &peer.report(&[2 * number + 1]));
        }
        assert_eq!(host.conn.r.cc.sacked.count(), room);
        play(&mut host, &mut peer);
        assert_eq!(host.conn.tx_acked(), u64::from(164 * MSS));
    }
}
