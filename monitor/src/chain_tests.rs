use super::testing::chained;
use super::*;
use crate::store::{Front, STAGED};
use proptest::prelude::*;
use std::boxed::Box;
use std::vec;

/// Verifies `count` records in a ring of `capacity`, after `damage`.
fn verify(count: u64, capacity: usize, damage: impl FnOnce(&mut Store<'_>)) -> Result<u64, Broken> {
    let (mut front, mut ring) = (Box::new(Front::zeroed()), vec![Record::zeroed(); capacity]);
    let (mut store, _) = Store::open(&mut front, &mut ring);
    for part in chained(count).chunks(STAGED) {
        store.staging()[..part.len()].copy_from_slice(part);
        store.absorb();
    }
    damage(&mut store);
    let mut verification = Verification::begin(&store, count);
    loop {
        if let Progress::Good(checked) = verification.step(&store)? {
            return Ok(checked);
        }
    }
}

#[test]
fn records_as_drained_are_good_also_after_the_ring_wrapped() {
    assert_eq!(verify(0, 8, |_| {}), Ok(0));
    assert_eq!(verify(8, 8, |_| {}), Ok(8));
    assert_eq!(verify(21, 8, |_| {}), Ok(8));
    assert_eq!(verify(STEP * 2 + 3, 2048, |_| {}), Ok(STEP * 2 + 3));
}

#[test]
fn two_records_that_changed_places_are_found() {
    assert_eq!(verify(8, 8, |s| s.parts().1.swap(2, 5)), Err(Broken::Missing(2)));
}

#[test]
fn a_removed_record_is_found() {
    let remove = |s: &mut Store<'_>| {
        let (header, ring) = s.parts();
        ring.copy_within(4..8, 3);
        header.count -= 1;
        header.next -= 1;
    };
    assert_eq!(verify(8, 8, remove), Err(Broken::Missing(3)));
}

#[test]
fn removing_the_newest_records_and_their_count_is_found_by_the_kernels_count() {
    let cut = |s: &mut Store<'_>| {
        let head = s.get(5).unwrap().digest;
        let (header, _) = s.parts();
        (header.count, header.next, header.head) = (6, 6, head);
    };
    assert_eq!(verify(8, 8, cut), Err(Broken::CutOff(6)));
}

#[test]
fn removing_the_oldest_records_is_found_by_the_anchor() {
    let cut = |s: &mut Store<'_>| {
        let (header, _) = s.parts();
        header.start += 2;
        header.count -= 2;
    };
    assert_eq!(verify(8, 16, cut), Err(Broken::Changed(2)));
}

#[test]
fn a_ring_that_moves_on_during_the_verification_is_not_broken() {
    let (mut front, mut ring) = (Box::new(Front::zeroed()), vec![Record::zeroed(); 600]);
    let (mut store, _) = Store::open(&mut front, &mut ring);
    let records = chained(2000);
    let feed = |store: &mut Store<'_>, range: std::ops::Range<usize>| {
        for part in records[range].chunks(STAGED) {
            store.staging()[..part.len()].copy_from_slice(part);
            store.absorb();
        }
    };
    feed(&mut store, 0..600);
    let mut verification = Verification::begin(&store, 600);
    assert_eq!(verification.step(&store), Ok(Progress::More(STEP)));
    feed(&mut store, 600..2000);
    let mut progress = verification.step(&store);
    while let Ok(Progress::More(_)) = progress {
        progress = verification.step(&store);
    }
    assert_eq!(progress, Ok(Progress::Good(STEP + 600)));
}

proptest! {
    #[test]
    fn a_changed_bit_is_found_wherever_it_is(
        count in 1u64..40, capacity in 1usize..24, at in any::<prop::sample::Index>(), byte in 0usize..size_of::<Record>(), bit in 0u8..8,
    ) {
        let result = verify(count, capacity, |store| {
            let kept = (count as usize).min(capacity);
            store.parts().1[at.index(kept)].as_bytes_mut()[byte] ^= 1 << bit;
        });
        prop_assert!(result.is_err());
    }

    #[test]
    fn any_number_of_records_in_any_ring_verifies(count in 0u64..200, capacity in 1usize..64) {
        prop_assert_eq!(verify(count, capacity, |_| {}), Ok(count.min(capacity as u64)));
    }
}
