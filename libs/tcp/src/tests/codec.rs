//! The record's written form: complete, checked, readable forwards and backwards.

use super::harness::*;
use super::link::Rng;
use super::std::{vec, vec::Vec};
use crate::schema::{Dialect, REASSEMBLY_ROOM, SCOREBOARD_ROOM};
use crate::spans::Span;
use crate::*;
use proptest::prelude::*;

pub fn encoded(record: &Record) -> Vec<u8> {
    let mut bytes = [0; RECORD_LEN];
    let len = record.encode(&mut bytes);
    bytes[..len].to_vec()
}

/// Puts the right checksum on altered bytes.
pub fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..12]);
    hasher.update(&bytes[16..]);
    let crc = hasher.finalize();
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    bytes
}

#[test]
fn the_largest_record_fits_with_room_for_an_extension() {
    let mut record = established(Config::default(), Options::default(), 1000).conn.r;
    record.dialect = Dialect::new(Schema::V2, Format::Own);
    for at in 0..SCOREBOARD_ROOM as u64 {
        record.cc.sacked.push(Span { start: 10 * at, end: 10 * at + 1 }).unwrap();
    }
    for at in 0..REASSEMBLY_ROOM as u64 {
        record.rcv.held.push(Span { start: 10 * at, end: 10 * at + 1 }).unwrap();
    }
    record.config.keep_alive = Some(KeepAlive::default());
    record.cc.recovery = record::Recovery::Fast { point: 1 };
    record.rto.timed = Some((1, Micros(1)));
    for slot in [&mut record.rto.retransmit_at, &mut record.rto.persist_at, &mut record.rcv.ack_at] {
        *slot = Some(Micros(1));
    }
    record.expire_at = Some(Micros(1));
    record.rcv.fin = Some(1);
    let len = encoded(&record).len();
    assert!(len + 64 <= RECORD_LEN, "{len}");
}

#[test]
fn a_changed_or_cut_record_is_refused() {
    let bytes = encoded(&established(Config::default(), Options::default(), 1000).conn.r);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        assert!(Record::decode(&changed).is_err(), "byte {at}");
        assert!(Record::decode(&bytes[..at]).is_err(), "length {at}");
    }
}

#[test]
fn contradictions_are_refused_by_name() {
    let good = established(Config::default(), Options::default(), 1000).conn.r;
    let refuse = |change: &dyn Fn(&mut Record), group| {
        let mut record = good;
        change(&mut record);
        assert_eq!(Record::decode(&encoded(&record)), Err(RecordError::Contradiction(group)));
    };
    refuse(&|r| r.config.mss = 1, "configuration");
    refuse(&|r| r.options.snd_shift = 15, "negotiated options");
    refuse(&|r| r.state = State::TimeWait, "state");
    refuse(&|r| r.snd.nxt = 500, "send positions");
    refuse(&|r| r.cc.cwnd = 0, "recovery positions");
    refuse(&|r| r.cc.sacked.push(Span { start: 5, end: 9 }).unwrap(), "recovery positions");
    refuse(&|r| r.rcv.consumed = 10, "receive positions");
    refuse(&|r| r.rcv.held.push(Span { start: 1, end: 1 << 40 }).unwrap(), "receive positions");
}

/// Whatever the record says: run it and see that nothing panics and the rules hold.
fn exercise(record: Record, rng: &mut Rng) {
    let mut host = Host::new(Connection::from_record(record));
    host.tx = Stream(vec![]);
    host.max_payload = 1460;
    let mut rx = Sink;
    for _ in 0..20 {
        let now = Micros(rng.next() >> rng.below(40));
        host.conn.on_timer(now);
        for _ in 0..50 {
            if host.conn.next_segment(now, 3000).is_none() {
                break;
            }
        }
        let segment = super::hostile::segment(rng, &host.conn);
        host.conn.on_segment(now, &segment.segment(), &mut rx);
        let _ = host.conn.app_wrote(host.conn.r.snd.end.saturating_add(rng.below(2000)));
        let _ = host.conn.app_consumed(host.conn.rx_ready());
        assert_eq!(host.conn.r.check(), Ok(()));
    }
}

struct Sink;

impl RxSpace for Sink {
    fn write(&mut self, _: u64, _: &[u8]) {}
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..600), seal: bool, schema in 1..4_u8, own: bool, extension: u16
    ) {
        if seal && bytes.len() >= 16 {
            let readable_by = if own { schema } else { 1 };
            bytes[..8].copy_from_slice(&[b'H', b'T', b'C', b'P', schema, 0, readable_by, 0]);
            let extension = extension % (bytes.len() - 15) as u16;
            let body = (bytes.len() - 16) as u16 - extension;
            bytes[8..10].copy_from_slice(&body.to_le_bytes());
            bytes[10..12].copy_from_slice(&extension.to_le_bytes());
            bytes = sealed(bytes);
        }
        let _ = Record::decode_as(Schema::V1, &bytes);
        let _ = Record::decode_as(Schema::V2, &bytes);
    }

    #[test]
    fn a_record_with_random_fields_is_refused_or_harmless(seed: u64, dialect in 0..3_usize) {
        let mut rng = Rng::new(seed);
        let mut host = established(Config { mss: 536, ..Config::default() }, Options::default(), 60000);
        host.conn.r.dialect = DIALECTS[dialect];
        host.write(&vec![0; rng.below(20_000) as usize]);
        host.drain(Micros(2000));
        host.receive(Micros(3000), &from_peer(100, 536, b"abc"));
        let mut bytes = encoded(&host.conn.r);
        for _ in 0..=rng.below(3) {
            let at = 16 + rng.below(bytes.len() as u64 - 16) as usize;
            bytes[at] = rng.next() as u8;
        }
        let bytes = sealed(bytes);
        for reader in [Schema::V1, Schema::V2] {
            if let Ok(record) = Record::decode_as(reader, &bytes) {
                exercise(record, &mut rng);
            }
        }
    }
}
