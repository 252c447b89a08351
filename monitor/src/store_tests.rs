use super::*;
use crate::chain::testing::chained;
use std::boxed::Box;
use std::vec;
use std::vec::Vec;

/// Drains `records` into the store, as the kernel would.
fn feed(store: &mut Store<'_>, records: &[Record]) {
    for part in records.chunks(STAGED) {
        store.staging()[..part.len()].copy_from_slice(part);
        store.absorb();
    }
}

fn sequences(store: &Store<'_>) -> Vec<u64> {
    (0..).map_while(|i| store.get(i)).map(|r| r.sequence).collect()
}

#[test]
fn a_full_ring_drops_the_oldest_and_keeps_its_digest_as_anchor() {
    let (mut front, mut ring) = (Box::new(Front::zeroed()), vec![Record::zeroed(); 4]);
    let records = chained(7);
    let (mut store, opened) = Store::open(&mut front, &mut ring);
    assert_eq!(opened, Opened::New);
    feed(&mut store, &records);
    assert_eq!(sequences(&store), [3, 4, 5, 6]);
    assert_eq!(store.header().anchor, records[2].digest);
    assert_eq!(store.header().head, records[6].digest);
}

#[test]
fn a_successor_finds_the_records_and_keeps_what_was_only_drained() {
    let (mut front, mut ring) = (Box::new(Front::zeroed()), vec![Record::zeroed(); 16]);
    let records = chained(5);
    {
        let (mut store, _) = Store::open(&mut front, &mut ring);
        feed(&mut store, &records[..2]);
        // Died between the drain and the keeping.
        store.staging()[..3].copy_from_slice(&records[2..]);
    }
    let (mut store, opened) = Store::open(&mut front, &mut ring);
    assert_eq!(opened, Opened::Kept(2));
    assert_eq!(sequences(&store), [0, 1, 2, 3, 4]);
    assert_eq!(store.absorb(), 0, "what is kept is not kept again");
}

#[test]
fn a_header_half_written_is_passed_over() {
    let (mut front, mut ring) = (Box::new(Front::zeroed()), vec![Record::zeroed(); 16]);
    let records = chained(3);
    {
        let (mut store, _) = Store::open(&mut front, &mut ring);
        feed(&mut store, &records[..2]);
        let _ = store.staging();
    }
    // The third generation goes to the odd header: it was begun and has no generation yet.
    front.headers[1] = Header { generation: 0, count: 99, ..front.headers[0] };
    let (store, opened) = Store::open(&mut front, &mut ring);
    assert_eq!(opened, Opened::Kept(2));
    assert_eq!(store.header().next, 2);
}

#[test]
fn a_region_of_something_else_is_cleared() {
    let (mut front, mut ring) = (Box::new(Front::zeroed()), vec![Record::zeroed(); 4]);
    front.as_bytes_mut().fill(0xa5);
    let (store, opened) = Store::open(&mut front, &mut ring);
    assert_eq!((opened, store.header().count, store.history().faults), (Opened::Foreign, 0, 0));
}

#[test]
fn faults_come_back_newest_first() {
    let mut history = History::zeroed();
    assert!(history.fault(0).is_none());
    for service in 0..FAULTS as u64 + 3 {
        history.note_fault(FaultInfo { nanos: service, service, serial: 0, words: [0; 4] });
    }
    assert_eq!(history.fault(0).map(|f| f.service), Some(FAULTS as u64 + 2));
    assert_eq!(history.fault(FAULTS as u64 - 1).map(|f| f.service), Some(3));
    assert!(history.fault(FAULTS as u64).is_none());
}
