//! Both sides over one piece of memory, and what each makes of the other's impossible numbers.

use super::layout::{RX_DESCRIPTORS, TX_DESCRIPTORS};
use super::*;
use hic_abi::Plain;
use proptest::prelude::*;
use std::boxed::Box;
use std::vec::Vec;

/// A packet region in ordinary memory, used through its address only.
struct Memory {
    base: *mut u8,
    layout: std::alloc::Layout,
}

impl Memory {
    fn new() -> Self {
        let layout = std::alloc::Layout::from_size_align(REGION_BYTES, 4096).unwrap();
        // SAFETY: the size is not zero.
        Self { base: unsafe { std::alloc::alloc_zeroed(layout) }, layout }
    }

    fn driver<'a>(&self, record: &'a mut DriverRecord) -> DriverSide<'a> {
        // SAFETY: the memory outlives what the tests make of it, and is reached by address only.
        let mut side = unsafe { DriverSide::attach(self.base, REGION_BYTES, record) }.unwrap().0;
        side.card_was_reset();
        side
    }

    /// A driver whose card runs on with what it has.
    fn resumed<'a>(&self, record: &'a mut DriverRecord, with: &WithCard) -> DriverSide<'a> {
        // SAFETY: as above.
        let mut side = unsafe { DriverSide::attach(self.base, REGION_BYTES, record) }.unwrap().0;
        assert!(side.card_goes_on(with));
        side
    }

    fn stack(&self) -> (RxHalf, TxHalf) {
        // SAFETY: as above.
        unsafe { attach(self.base, REGION_BYTES) }.unwrap()
    }

    fn poke(&self, offset: usize, value: u64) {
        assert!(offset + 8 <= REGION_BYTES);
        // SAFETY: inside the allocation, aligned by the tests' choice of offsets.
        unsafe { core::sync::atomic::AtomicU64::from_ptr(self.base.add(offset).cast()) }
            .store(value, core::sync::atomic::Ordering::SeqCst);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { std::alloc::dealloc(self.base, self.layout) }
    }
}

fn record() -> Box<DriverRecord> {
    Box::new(DriverRecord::zeroed())
}

fn deliver(driver: &mut DriverSide<'_>, frame: &[u8]) -> bool {
    driver.deliver_copy(true, |to| {
        to[..frame.len()].copy_from_slice(frame);
        frame.len()
    })
}

fn bytes_of(submission: &Submission) -> Vec<u8> {
    // SAFETY: `take_tx` checked that the octets are inside the region.
    unsafe { core::slice::from_raw_parts(submission.at.as_ptr(), submission.len) }.to_vec()
}

#[test]
fn frames_reach_the_stack_in_order_and_their_buffers_come_back() {
    let (memory, mut record) = (Memory::new(), record());
    let mut driver = memory.driver(&mut record);
    let (mut rx, _) = memory.stack();
    for n in 0..2000u32 {
        assert!(deliver(&mut driver, &n.to_le_bytes()));
        let frame = rx.peek().unwrap();
        assert_eq!((frame.bytes, frame.checksum_valid), (&n.to_le_bytes()[..], true));
        rx.consume();
        assert_eq!(driver.reclaim(), Ok(1));
    }
    assert!(rx.peek().is_none());
    assert_eq!(driver.free_buffers(), RX_SLOTS);
}

#[test]
fn a_stack_that_does_not_consume_runs_out_of_buffers_and_nothing_else() {
    let (memory, mut record) = (Memory::new(), record());
    let mut driver = memory.driver(&mut record);
    let (mut rx, _) = memory.stack();
    assert_eq!((0..300u32).filter(|n| deliver(&mut driver, &n.to_le_bytes())).count(), RX_SLOTS);
    for n in 0..RX_SLOTS as u32 {
        assert_eq!(rx.peek().unwrap().bytes, n.to_le_bytes());
        rx.consume();
    }
}

#[test]
fn a_stack_that_died_finds_unprocessed_frames_again() {
    let (memory, mut record) = (Memory::new(), record());
    let mut driver = memory.driver(&mut record);
    let (mut rx, _) = memory.stack();
    (0..3u8).for_each(|n| assert!(deliver(&mut driver, &[n])));
    rx.consume();
    let (rx, _) = memory.stack();
    assert_eq!((rx.waiting(), rx.peek().unwrap().bytes), (2, &[1][..]));
}

#[test]
fn a_driver_that_died_goes_on_with_the_same_buffers_and_sends_again_what_was_not_done() {
    let (memory, mut record) = (Memory::new(), record());
    let mut driver = memory.driver(&mut record);
    let (mut rx, mut tx) = memory.stack();
    (0..5u8).for_each(|n| assert!(deliver(&mut driver, &[n])));
    for n in 0..4u8 {
        tx.reserve(60).unwrap().fill(n);
        tx.commit(Offload::None);
    }
    let first = driver.take_tx().unwrap().unwrap();
    let second = driver.take_tx().unwrap().unwrap();
    driver.complete(second.index);
    driver.complete(first.index);
    assert!(driver.take_tx().unwrap().is_some());
    rx.consume();
    let mut driver = memory.driver(&mut record);
    assert_eq!(driver.free_buffers(), RX_SLOTS - 5);
    assert_eq!(driver.reclaim(), Ok(1));
    assert_eq!(bytes_of(&driver.take_tx().unwrap().unwrap()), [2; 60]);
    assert_eq!(bytes_of(&driver.take_tx().unwrap().unwrap()), [3; 60]);
    assert!(deliver(&mut driver, &[9]));
    let seen: Vec<u8> = core::iter::from_fn(|| {
        let byte = rx.peek().map(|frame| frame.bytes[0]);
        rx.consume();
        byte
    })
    .collect();
    assert_eq!(seen, [1, 2, 3, 4, 9]);
}

#[test]
fn a_driver_over_a_running_card_keeps_what_the_card_has() {
    let (memory, mut record) = (Memory::new(), record());
    let mut driver = memory.driver(&mut record);
    let (mut rx, mut tx) = memory.stack();
    let mut with = WithCard::NOTHING;
    (0..100).for_each(|_| assert!(with.add_buffer(driver.take_buffer().unwrap())));
    assert!(deliver(&mut driver, &[1]));
    let delivered = driver.slot(0);
    for n in 0..4u8 {
        tx.reserve(60).unwrap().fill(n);
        tx.commit(Offload::None);
    }
    // 0 is with the card, 1 was sent and its completion was not published, 2 was given to the card and not noted as taken.
    (0..2).for_each(|n| assert_eq!(driver.take_tx().unwrap().unwrap().index, n));
    assert_eq!(driver.next_tx().unwrap().unwrap().index, 2);
    assert!(with.add_slot(0) && with.add_slot(2) && !with.add_slot(2));
    let mut driver = memory.resumed(&mut record, &with);
    assert_eq!((driver.free_buffers(), driver.tx_taken(), driver.tx_under_way()), (155, 3, 3));
    assert_eq!(driver.lent_buffers(), 100);
    assert_eq!(driver.next_tx().unwrap().unwrap().index, 3);
    driver.complete_slot(0);
    assert_eq!(driver.tx_under_way(), 1, "0 and 1 are done");
    assert_eq!(rx.peek().unwrap().bytes, [1]);
    rx.consume();
    assert!(driver.is_delivered(delivered));
    assert_eq!(driver.reclaim(), Ok(1));
    assert!(!driver.is_delivered(delivered));
    assert_eq!((driver.free_buffers(), driver.lent_buffers()), (156, 100));
    driver.card_was_reset();
    assert_eq!((driver.free_buffers(), driver.lent_buffers()), (RX_SLOTS, 0));
}

#[test]
fn what_a_running_card_cannot_have_is_refused() {
    let (memory, mut record) = (Memory::new(), record());
    let mut driver = memory.driver(&mut record);
    assert!(deliver(&mut driver, &[1]));
    let mut both = WithCard::NOTHING;
    both.add_buffer(driver.slot(0));
    assert!(!driver.card_goes_on(&both), "a buffer that the stack has");
    let mut never_posted = WithCard::NOTHING;
    never_posted.add_slot(7);
    assert!(!driver.card_goes_on(&never_posted));
    assert!(!never_posted.add_buffer(RX_SLOTS as u16));
    driver.card_was_reset();
    assert_eq!(driver.free_buffers(), RX_SLOTS - 1);
}

#[test]
fn frames_that_a_stack_left_behind_come_out_in_order_and_its_lies_are_empty_frames() {
    let (memory, mut record) = (Memory::new(), record());
    let mut driver = memory.driver(&mut record);
    let (mut rx, _) = memory.stack();
    (0..4u8).for_each(|n| assert!(deliver(&mut driver, &[n, n])));
    rx.consume();
    assert_eq!(driver.reclaim(), Ok(1));
    memory.poke(RX_DESCRIPTORS + 2 * 16, u64::MAX);
    let mut seen = Vec::new();
    while let Some(frame) = driver.unconsumed() {
        // SAFETY: the frame lies in the region, and nobody writes it.
        seen.push(unsafe { core::slice::from_raw_parts(frame.at.as_ptr(), frame.len) }.to_vec());
        driver.drop_unconsumed();
    }
    assert_eq!(seen, [std::vec![1, 1], std::vec![], std::vec![3, 3]]);
    assert_eq!(driver.free_buffers(), RX_SLOTS);
}

#[test]
fn frames_of_any_size_pass_the_tx_area_many_times() {
    let (memory, mut record) = (Memory::new(), record());
    let mut driver = memory.driver(&mut record);
    let (_, mut tx) = memory.stack();
    let mut waiting = std::collections::VecDeque::new();
    for n in 0..5000usize {
        let len = if n % 3 == 0 { 54 + n * 131 % 64_000 } else { 60 + n % 1400 };
        let mss = if len > MAX_RX_FRAME { 1460 } else { 100 };
        while tx.reserve(len).is_none() {
            let (submission, byte): (Submission, u8) = waiting.pop_front().expect("something is under way");
            assert!(bytes_of(&submission).iter().all(|b| *b == byte), "a frame under way was overwritten");
            driver.complete(submission.index);
        }
        tx.reserve(len).unwrap().fill(n as u8);
        tx.commit(Offload::Segment { start: 34, offset: 16, header_len: 54, mss });
        let Ok(Some(submission)) = driver.take_tx() else {
            assert_eq!(len, 54, "only a frame without payload is refused");
            continue;
        };
        waiting.push_back((submission, n as u8));
    }
}

#[test]
fn a_restarted_stack_does_not_overwrite_frames_under_way() {
    let (memory, mut record) = (Memory::new(), record());
    let mut driver = memory.driver(&mut record);
    let (_, mut tx) = memory.stack();
    for n in 0..300 {
        if let Some(to) = tx.reserve(5000) {
            to.fill(n as u8);
            tx.commit(Offload::Segment { start: 34, offset: 16, header_len: 54, mss: 1460 });
        }
        if n < 150 {
            let first = driver.take_tx().unwrap().unwrap();
            driver.complete(first.index);
        }
    }
    let mut kept = Vec::new();
    while let Ok(Some(submission)) = driver.take_tx() {
        kept.push((submission, bytes_of(&submission)));
    }
    let (_, mut tx) = memory.stack();
    while let Some(to) = tx.reserve(1500) {
        to.fill(0xee);
        tx.commit(Offload::None);
    }
    assert!(kept.len() > 100 && kept.iter().all(|(submission, bytes)| bytes_of(submission) == *bytes));
}

#[test]
fn there_is_room_for_as_many_frames_as_are_said_and_not_one_more() {
    let (memory, mut record) = (Memory::new(), record());
    let mut driver = memory.driver(&mut record);
    let (_, mut tx) = memory.stack();
    // Lengths of one unit, of two, and of many; the area's end falls anywhere among them.
    for (round, len) in [60, 2048, 2049, 9000, 30_000, MAX_FRAME].into_iter().cycle().take(300).enumerate() {
        let room = tx.room(len);
        for n in 0..room {
            assert!(tx.reserve(len).is_some(), "frame {n} of {room} of {len} octets in round {round}");
            tx.commit(Offload::Segment { start: 34, offset: 16, header_len: 54, mss: 1448 });
        }
        assert_eq!(tx.room(len), 0);
        assert!(tx.reserve(len).is_none(), "round {round}");
        for _ in 0..tx.under_way().min(1 + round as u64 % 7) {
            let frame = driver.take_tx().unwrap().unwrap();
            driver.complete(frame.index);
        }
    }
}

#[test]
fn whoever_a_dead_driver_had_to_wake_is_woken_by_the_next_one() {
    let (memory, mut record) = (Memory::new(), record());
    let mut driver = memory.driver(&mut record);
    let (rx, _) = memory.stack();
    assert!(rx.sleep());
    assert!(deliver(&mut driver, &[1]));
    assert!(driver.must_wake(), "and it dies before it does");
    let driver = memory.driver(&mut record);
    assert!(driver.must_wake());
    assert!(!driver.must_wake());
}

#[test]
fn who_sleeps_is_woken_once_and_who_is_awake_is_not() {
    let (memory, mut record) = (Memory::new(), record());
    let mut driver = memory.driver(&mut record);
    let (mut rx, mut tx) = memory.stack();
    assert!(deliver(&mut driver, &[1]));
    assert!(!driver.must_wake(), "the stack does not sleep");
    assert!(!rx.sleep(), "a frame waits");
    rx.consume();
    assert!(rx.sleep());
    assert!(deliver(&mut driver, &[2]));
    assert!(driver.must_wake());
    assert!(!driver.must_wake());

    assert!(driver.arm_tx());
    tx.reserve(60).unwrap().fill(0);
    tx.commit(Offload::None);
    assert!(tx.must_kick());
    assert!(!tx.must_kick());
    assert!(!driver.arm_tx(), "a frame was posted");

    assert!(tx.sleep_for_room(1));
    let frame = driver.take_tx().unwrap().unwrap();
    driver.complete(frame.index);
    assert!(driver.must_wake());
    assert!(!tx.sleep_for_room(1), "nothing is under way");

    assert_eq!(driver.reclaim(), Ok(1));
    assert!(driver.arm_rx(1));
    rx.consume();
    assert!(rx.must_kick());
}

#[test]
fn impossible_indices_of_the_stack_are_refused_and_change_nothing() {
    let (memory, mut record) = (Memory::new(), record());
    let mut driver = memory.driver(&mut record);
    assert!(deliver(&mut driver, &[1]));
    memory.poke(128, 2);
    assert_eq!(driver.reclaim(), Err(Violation::RxConsumed { value: 2 }));
    memory.poke(192, 257);
    assert_eq!(driver.take_tx(), Err(Violation::TxPosted { value: 257 }));
    assert_eq!(driver.free_buffers(), RX_SLOTS - 1);
}

#[test]
fn an_impossible_descriptor_costs_its_frame_only() {
    let (memory, mut record) = (Memory::new(), record());
    let mut driver = memory.driver(&mut record);
    let (_, mut tx) = memory.stack();
    for _ in 0..2 {
        tx.reserve(60).unwrap().fill(0);
        tx.commit(Offload::Checksum { start: 34, offset: 16 });
    }
    memory.poke(TX_DESCRIPTORS, 511 << 32 | 5000);
    assert_eq!(driver.take_tx(), Err(Violation::TxDescriptor { index: 0 }));
    assert_eq!(driver.take_tx().unwrap().unwrap().index, 1);
}

#[test]
fn a_record_that_no_driver_left_starts_from_zero() {
    let memory = Memory::new();
    let mut record = record();
    record.as_bytes_mut()[..16].copy_from_slice(&[5, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
    // SAFETY: as in `Memory::driver`.
    let (mut driver, sane) = unsafe { DriverSide::attach(memory.base, REGION_BYTES, &mut record) }.unwrap();
    assert!(!sane);
    driver.card_was_reset();
    assert_eq!(driver.free_buffers(), RX_SLOTS);
}

#[test]
fn memory_that_is_no_packet_region_is_refused() {
    let memory = Memory::new();
    // SAFETY: as in `Memory::driver`.
    let refused = unsafe { [attach(memory.base, REGION_BYTES).err(), attach(memory.base, 4096).err()] };
    assert_eq!(refused, [Some(LayoutError::Header), Some(LayoutError::TooShort { have: 4096 })]);
}

proptest! {
    /// The stack dies before and after each of its steps, the driver now and then; frames both ways arrive once and in order.
    #[test]
    fn restarts_of_either_side_at_any_index_lose_and_repeat_nothing(
        steps in proptest::collection::vec((0u8..8, 1usize..5000), 1..400),
    ) {
        let (memory, mut record) = (Memory::new(), record());
        let mut driver = memory.driver(&mut record);
        let (mut rx, mut tx) = memory.stack();
        let (mut delivered, mut received, mut posted, mut sent) = (0u32, 0u32, 0u32, 0u32);
        for (kind, len) in steps {
            match kind {
                0 | 1 => delivered += u32::from(deliver(&mut driver, &delivered.to_le_bytes())),
                2 => if let Some(frame) = rx.peek() {
                    prop_assert_eq!(frame.bytes, received.to_le_bytes());
                    prop_assert_eq!(rx.position(), u64::from(received));
                    rx.consume();
                    received += 1;
                },
                3 => if let Some(to) = tx.reserve(len.clamp(60, MAX_RX_FRAME)) {
                    to[..4].copy_from_slice(&posted.to_le_bytes());
                    // Every third one dies between filling and handing over, and does it again.
                    if len % 3 == 0 {
                        (rx, tx) = memory.stack();
                    } else {
                        tx.commit(Offload::None);
                        posted += 1;
                    }
                },
                4 => if let Some(frame) = driver.take_tx().unwrap() {
                    prop_assert_eq!(&bytes_of(&frame)[..4], sent.to_le_bytes());
                    driver.complete(frame.index);
                    sent += 1;
                },
                5 => { driver.reclaim().unwrap(); }
                6 => (rx, tx) = memory.stack(),
                _ => {
                    let _ = driver;
                    driver = memory.resumed(&mut record, &WithCard::NOTHING);
                }
            }
            prop_assert!(sent <= posted && received <= delivered);
        }
        (rx, _) = memory.stack();
        while let Some(frame) = rx.peek() {
            prop_assert_eq!(frame.bytes, received.to_le_bytes());
            received += 1;
            rx.consume();
        }
        while let Some(frame) = driver.take_tx().unwrap() {
            prop_assert_eq!(&bytes_of(&frame)[..4], sent.to_le_bytes());
            sent += 1;
        }
        prop_assert_eq!((received, sent), (delivered, posted));
    }

    #[test]
    fn no_word_in_the_region_makes_either_side_panic_or_leave_it(
        pokes in proptest::collection::vec((0usize..4, 0usize..40, prop_oneof![0u64..600, any::<u64>()]), 1..80),
    ) {
        let (memory, mut record) = (Memory::new(), record());
        let mut driver = memory.driver(&mut record);
        let (mut rx, mut tx) = memory.stack();
        for (kind, place, value) in pokes {
            match kind {
                0 => memory.poke(64 + place % 8 * 64, value),
                1 => memory.poke(TX_DESCRIPTORS + place * 8, value),
                2 => memory.poke(RX_DESCRIPTORS + place * 8, value),
                _ => {
                    let (fresh_rx, fresh_tx) = memory.stack();
                    (rx, tx) = (fresh_rx, fresh_tx);
                }
            }
            deliver(&mut driver, &[place as u8; 60]);
            if let Some(frame) = rx.peek() { prop_assert!(frame.bytes.len() <= MAX_RX_FRAME); }
            rx.consume();
            if let Some(to) = tx.reserve((value as usize % MAX_FRAME).max(1)) { to[0] = 1; }
            tx.commit(Offload::None);
            for _ in 0..3 {
                if let Ok(Some(submission)) = driver.take_tx() {
                    let at = submission.at.as_ptr().addr() - memory.base.addr();
                    prop_assert!(at + submission.len <= REGION_BYTES);
                    driver.complete(submission.index);
                }
            }
            let _ = driver.reclaim();
            let _ = (driver.must_wake(), driver.arm_tx(), driver.arm_rx(4), rx.must_kick(), tx.must_kick());
            let _ = (rx.sleep(), tx.sleep_for_room(place as u32), tx.room(place));
            let delivered = driver.backlog() as usize;
            prop_assert!(driver.free_buffers() + delivered <= RX_SLOTS);
        }
    }
}
