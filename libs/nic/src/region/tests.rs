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
        unsafe { DriverSide::attach(self.base, REGION_BYTES, record) }.unwrap().0
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
    let (driver, sane) = unsafe { DriverSide::attach(memory.base, REGION_BYTES, &mut record) }.unwrap();
    assert!(!sane);
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
            let _ = (rx.sleep(), tx.sleep_for_room(place as u32), tx.room());
            let delivered = driver.backlog() as usize;
            prop_assert!(driver.free_buffers() + delivered <= RX_SLOTS);
        }
    }
}
