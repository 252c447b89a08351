use super::*;
use std::boxed::Box;

fn journal() -> Box<Journal> {
    // SAFETY: a journal is made of integers and arrays of them; all-zero is an empty one.
    unsafe { Box::<Journal>::new_zeroed().assume_init() }
}

#[test]
fn a_service_is_found_by_the_name_it_provides() {
    let mut journal = journal();
    journal.records[0].info.name = hic_abi::name_bytes("netstack");
    journal.records[0].phase = Phase::LIVE;
    assert!(journal.records[0].provide(hic_abi::name_bytes("tcp"), 7));
    assert_eq!((journal.find("netstack"), journal.endpoint("tcp")), (None, None));
    journal.count = 1;
    assert_eq!((journal.find("netstack"), journal.endpoint("tcp")), (Some(0), Some(7)));
}

#[test]
fn a_full_list_refuses_and_keeps_what_it_has() {
    let mut journal = journal();
    let record = &mut journal.records[0];
    for slot in 0..MAX_HELD as u32 {
        assert!(record.hold(slot));
    }
    assert!(!record.hold(99));
    assert_eq!(record.held_slots().len(), MAX_HELD);
    assert!(!record.held_slots().contains(&99));
}

#[test]
fn what_an_instance_is_started_from_can_be_exchanged_and_put_back() {
    let mut journal = journal();
    let record = &mut journal.records[0];
    (record.instance.account, record.instance.region, record.instance.stack_pages) = (3, 4, 16);
    record.info.version = hic_abi::name_bytes("0.1.0");
    for slot in [3, 5, 4] {
        assert!(record.hold(slot));
    }
    let old = record.image();
    assert_eq!((old.account, old.region), (3, 4));
    let new =
        ImagePlace { account: 7, region: 8, stack_pages: 20, version: hic_abi::name_bytes("1.2.0"), ..old };
    record.set_image(&new);
    assert_eq!((record.image().account, record.instance.region, record.instance.stack_pages), (7, 8, 20));
    assert_eq!(hic_abi::name_str(&record.info.version), "1.2.0");
    assert_eq!(record.instance.account, 3, "its sandbox is paid for as before");
    record.set_image(&old);
    assert_eq!((record.image().account, record.instance.region), (3, 4));
    record.let_go(5);
    record.let_go(9);
    assert_eq!(record.held_slots(), [3, 4]);
}

#[test]
fn who_has_not_answered_since_its_start_has_proved_nothing() {
    let mut journal = journal();
    let record = &mut journal.records[0];
    (record.endpoint_count, record.instance.serial) = (1, 7);
    record.start(100);
    assert_eq!(record.proved_at(), None);
    record.answer(6, 0);
    record.answer(7, 1);
    assert_eq!(record.proved_at(), None, "that was another instance, or another start");
    record.answer(7, 0);
    assert_eq!(record.proved_at(), Some(100 + PROBATION));
    record.start(200);
    assert_eq!(record.proved_at(), None, "it was started again");
    record.endpoint_count = 0;
    assert_eq!(record.proved_at(), Some(200 + PROBATION), "nobody asks it");
}

#[test]
fn the_journal_fits_in_the_region_that_the_keeper_makes() {
    assert!(size_of::<Journal>() <= 80 * 4096);
}
