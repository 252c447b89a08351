//! What a successor finds, wherever its predecessor died.

use super::*;
use hic_migrate::{Place, Prepare, Side};
use hic_net::Id;
use std::vec::Vec;

/// The manifest's region, as memory.
struct Region(Vec<u64>);

const PAGES: usize = 1792;

impl Region {
    fn new(fill: u64) -> Self {
        Self(std::vec![fill; PAGES * 512 + 8])
    }

    fn attach(&mut self) -> Records {
        let base = self.0.as_mut_ptr().cast::<u8>();
        let base = base.wrapping_add(base.align_offset(64));
        // SAFETY: the vector outlives the records in each test and is not touched otherwise.
        unsafe { Records::attach(base, PAGES * 4096) }.unwrap()
    }
}

fn write(bytes: &[u8]) -> impl FnOnce(&mut [u8; MAX_RECORD]) -> usize + '_ {
    |space| {
        space[..bytes.len()].copy_from_slice(bytes);
        bytes.len()
    }
}

#[test]
fn the_manifest_gives_enough_pages_and_not_many_more() {
    let needed = BYTES.div_ceil(4096);
    assert!(needed <= PAGES && PAGES < needed + 128, "{needed} pages are needed");
    let manifest = include_str!("../../hicmod.toml");
    assert!(manifest.contains(&std::format!("pages = {PAGES} ")));
}

#[test]
fn a_socket_is_on_record_until_it_is_closed_and_none_that_had_its_place_before() {
    let mut memory = Region::new(0);
    let mut records = memory.attach();
    let (before, socket) = (Socket::Listener(Id(1 << 20 | 3)), Socket::Listener(Id(2 << 20 | 3)));
    let place = place::of(socket).unwrap();
    assert!(!records.names(socket));
    records.open(place, socket);
    assert!(records.names(socket) && !records.names(before));
    records.close(place);
    assert!(!records.names(socket));
    assert!(!records.names(Socket::Listener(Id(u32::MAX))), "beyond all places");
}

#[test]
fn a_closed_socket_names_no_slots() {
    let mut memory = Region::new(0);
    let mut records = memory.attach();
    records.open(4, Socket::Connection(Id(4)));
    records.set_handles(4, Handles { port: 70, region: 71, notification: 72, bits: 1 });
    assert_eq!(records.handles(4).each().count(), 3);
    records.close(4);
    assert_eq!(records.handles(4).each().count(), 0, "a start would keep these slots for nobody");
}

#[test]
fn no_new_socket_takes_a_place_of_the_batch_under_way_or_of_what_is_still_the_peer_s() {
    let set = |places: &[usize]| {
        let mut set = Places::default();
        places.iter().for_each(|place| set.insert(*place));
        set
    };
    // Of the peer's four, 2 came here and 4 is in the batch; of the batch, 4 and 6 are on record.
    let batch = Batch { number: 1, phase: Phase::Leaving, places: set(&[4, 6]), ..Batch::default() };
    let journal = Journal { batch, reserved: set(&[1, 2, 3, 4]), ..Journal::default() };
    let on_record = |place: usize| [2, 4, 6, 8].contains(&place);
    assert!(journal.taken(on_record).eq([1, 3, 4, 6]));
}

#[test]
fn a_successor_finds_what_was_published_last() {
    let mut memory = Region::new(0);
    let mut records = memory.attach();
    let socket = Socket::Connection(Id(5 << 20 | 9));
    let handles = Handles { port: 70, region: 71, notification: 72, bits: 1 << 40 };
    records.set_secret([7; 16]);
    records.open(9, socket);
    records.set_handles(9, handles);
    [7, 12, 5].into_iter().for_each(|freeze| records.note_freeze(9, freeze));
    records.publish_interface(write(b"interface"));
    for text in [&b"first"[..], b"second", b"third one"] {
        records.publish(9, write(text));
    }
    let records = memory.attach();
    assert_eq!(records.secret(), Some([7; 16]));
    assert_eq!(&*records.interface(), b"interface");
    let found = records.get(9).unwrap();
    assert_eq!((found.socket, found.handles, &*found.record), (socket, handles, &b"third one"[..]));
    assert_eq!((found.freeze, records.freeze(9)), (12, 12), "the longest");
    assert!(records.get(8).is_none());
    let mut records = memory.attach();
    records.open(9, socket);
    assert_eq!(records.freeze(9), 0, "another socket's");
}

#[test]
fn a_death_while_writing_leaves_the_record_before() {
    let mut memory = Region::new(0);
    let mut records = memory.attach();
    records.set_secret([1; 16]);
    records.open(0, Socket::Connection(Id(0)));
    records.publish(0, write(b"whole"));
    let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        records.publish(0, |space| {
            space[..4].copy_from_slice(b"torn");
            panic!("dies here")
        });
    }));
    assert!(died.is_err());
    assert_eq!(&*memory.attach().get(0).unwrap().record, b"whole");
}

#[test]
fn a_place_used_again_shows_nothing_of_the_socket_before() {
    let mut memory = Region::new(0);
    let mut records = memory.attach();
    records.open(3, Socket::Connection(Id(3)));
    records.set_handles(3, Handles { port: 1, region: 2, notification: 3, bits: 4 });
    records.publish(3, write(b"old"));
    records.close(3);
    assert!(records.get(3).is_none());
    records.open(3, Socket::Connection(Id(1 << 20 | 3)));
    let found = records.get(3).unwrap();
    assert_eq!((found.handles, &*found.record), (Handles::default(), &b""[..]));
}

#[test]
fn memory_without_the_header_counts_as_empty() {
    let mut memory = Region::new(0x0101_0101_0101_0101);
    let records = memory.attach();
    assert_eq!((records.secret(), &*records.interface()), (None, &b""[..]));
    assert!((0..place::PLACES).all(|place| records.get(place).is_none()));
}

#[test]
fn a_region_that_is_too_small_is_refused() {
    // SAFETY: the length is refused before anything is accessed.
    let small = unsafe { Records::attach(64 as *mut u8, 4096) };
    assert_eq!(small.err(), Some(BadRegion { have: 4096 }));
}

/// Runs `act` over and over on a region that `prepare` made, dying one store later each time, and hands what a successor finds to `check`.
fn die_at_every_store(prepare: fn(&mut Records), act: fn(&mut Records), check: impl Fn(&Records)) -> u64 {
    for stores in 0.. {
        let mut memory = Region::new(0);
        let mut records = memory.attach();
        prepare(&mut records);
        fuse::set(stores);
        let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| act(&mut records))).is_err();
        fuse::set(u64::MAX);
        check(&memory.attach());
        if !died {
            return stores;
        }
    }
    unreachable!("an action has an end")
}

const PLAN: Prepare = Prepare {
    side: Side::Importer,
    lane: 1,
    peer_state: Place { address: 0x1234_5000, bytes: 77 },
    peer_serial: 9,
    token: 400,
    protocols: hic_migrate::PROTOCOLS,
    schema: 1,
};

fn batch(number: u64, phase: Phase, first: usize) -> Journal {
    let mut places = Places::default();
    (first..first + 70).for_each(|place| places.insert(place));
    let batch = Batch {
        number,
        phase,
        role: number == 2,
        left: 3,
        frozen_at: number * 5,
        places,
        salvage: number == 1,
    };
    let (own_format, retired) = (number == 2, number == 1);
    let (arrived, given, forget) = (number + 1, number + 2, number + 3);
    let (reserved, salvaged) = (places, Places::default());
    Journal { plan: Some(PLAN), batch, arrived, given, forget, own_format, retired, reserved, salvaged }
}

#[test]
fn the_journal_is_the_one_before_or_the_one_after_wherever_its_writer_dies() {
    let (before, after) = (batch(1, Phase::Leaving, 5), batch(2, Phase::Incoming, 1900));
    let prepare = |records: &mut Records| {
        records.set_secret([3; 16]);
        records.set_journal(&batch(1, Phase::Leaving, 5));
    };
    let stores = die_at_every_store(
        prepare,
        |records| records.set_journal(&batch(2, Phase::Incoming, 1900)),
        |records| {
            let found = records.journal();
            assert!(found == before || found == after);
        },
    );
    assert_eq!(stores as usize, journal::WORDS + 1);
}

#[test]
fn a_death_while_a_socket_is_opened_shows_it_without_capabilities_or_not_at_all() {
    let prepare = |records: &mut Records| {
        records.set_secret([3; 16]);
        records.open(4, Socket::Connection(Id(4)));
        records.set_handles(4, Handles { port: 7, region: 8, notification: 9, bits: 1 });
        records.publish(4, write(b"the one before"));
        records.close(4);
    };
    let new = Socket::Connection(Id(1 << 20 | 4));
    die_at_every_store(
        prepare,
        |records| records.open(4, Socket::Connection(Id(1 << 20 | 4))),
        |records| {
            let found = records.get(4).map(|found| (found.socket, found.handles, found.record.len()));
            assert!(found.is_none() || found == Some((new, Handles::default(), 0)));
        },
    );
}

#[test]
fn a_death_while_a_record_is_published_or_closed_shows_a_whole_one() {
    let socket = |records: &mut Records| {
        records.set_secret([3; 16]);
        records.open(4, Socket::Connection(Id(4)));
        records.publish(4, write(b"one"));
    };
    die_at_every_store(
        socket,
        |records| {
            records.publish(4, write(b"another"));
            records.close(4);
        },
        |records| {
            if let Some(found) = records.get(4) {
                assert!([&b"one"[..], b"another"].contains(&&*found.record));
            }
        },
    );
}

#[test]
fn a_socket_at_a_place_that_is_not_its_own_is_not_there() {
    let mut memory = Region::new(0);
    let mut records = memory.attach();
    records.set_secret([3; 16]);
    records.open(4, Socket::Udp(Id(4)));
    assert!(records.get(4).is_none());
}

#[test]
fn a_peer_sees_what_is_published_and_refuses_another_format() {
    let mut memory = Region::new(0);
    let base = memory.attach().memory;
    // SAFETY: the region outlives the view.
    let view = |base: *const u8| unsafe { View::attach(base, PAGES * 4096) };
    let start = memory.0.as_ptr().cast::<u8>();
    let start = start.wrapping_add(start.align_offset(64));
    assert!(view(start).is_err());
    let mut records = memory.attach();
    records.set_secret([9; 16]);
    records.open(0, Socket::Connection(Id(0)));
    records.publish(0, write(b"seen"));
    records.keep_neighbours([([10, 0, 2, 2], [1, 2, 3, 4, 5, 6])].into_iter());
    let view = view(start).unwrap();
    assert_eq!(&*view.get(0).unwrap().record, b"seen");
    assert_eq!(view.neighbours().collect::<Vec<_>>(), [([10, 0, 2, 2], [1, 2, 3, 4, 5, 6])]);
    assert_eq!((view.secret(), base.load(0)), (Some([9; 16]), MAGIC));
}

#[test]
fn the_order_of_capabilities_is_port_region_notification() {
    let handles = Handles { port: 30, region: 20, notification: 10, bits: 0 };
    assert_eq!(handles.each().collect::<Vec<_>>(), [(30, true), (20, false), (10, false)]);
    assert_eq!(Handles { region: 0, ..handles }.each().count(), 2);
}
