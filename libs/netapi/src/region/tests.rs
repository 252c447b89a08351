//! Both sides over one piece of memory: what an application and the stack can rely on, and what hostile indices do.

use super::*;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

/// A region in ordinary memory, used through its address only.
pub(crate) struct Memory {
    base: *mut u8,
    len: usize,
    layout: std::alloc::Layout,
}

impl Memory {
    pub(crate) fn new(len: usize) -> Self {
        let layout = std::alloc::Layout::from_size_align(len, 4096).unwrap();
        // SAFETY: the layout has a non-zero size.
        let base = unsafe { std::alloc::alloc_zeroed(layout) };
        Self { base, len, layout }
    }

    pub(crate) fn pair(kind: RegionKind) -> (Self, StackSide, AppSide) {
        let layout = Layout::new(kind, MIN_RING, MIN_RING).unwrap();
        let memory = Self::new(layout.region_len());
        // SAFETY: `memory` lives as long as the test uses the sides, and is reached by address only.
        let (stack, app) = unsafe {
            let stack = StackSide::create(memory.base, memory.len, layout).unwrap();
            (stack, AppSide::attach(memory.base, memory.len).unwrap())
        };
        (memory, stack, app)
    }

    fn poke(&self, offset: usize, value: u64) {
        assert!(offset + 8 <= self.len);
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

/// The stack as an echo server on its side of the rings; returns whether the application must be notified.
fn echo(stack: &mut StackSide) -> bool {
    stack.refresh().unwrap();
    let (from, to) = (stack.indices().tx_acked, stack.tx_written());
    let space = stack.rx_limit() - stack.indices().rx_written;
    let mut data = vec![0; ((to - from).min(space)) as usize];
    assert!(stack.copy_tx(from, &mut data));
    let at = stack.indices().rx_written;
    assert!(stack.write_rx(at, &data));
    stack.publish_acked(from + data.len() as u64);
    stack.publish_rx(at + data.len() as u64);
    stack.take_app_wake()
}

#[test]
fn bytes_written_come_back_through_both_rings_in_order() {
    let (_memory, mut stack, mut app) = Memory::pair(RegionKind::Tcp);
    let sent: Vec<u8> = (0..50_000u32).map(|n| (n * 7 % 251) as u8).collect();
    let (mut at, mut received) = (0, Vec::new());
    while received.len() < sent.len() {
        at += app.write(&sent[at..sent.len().min(at + 1500)]);
        echo(&mut stack);
        let mut chunk = [0; 700];
        let n = app.read(&mut chunk);
        received.extend_from_slice(&chunk[..n]);
    }
    assert_eq!(received, sent);
    assert!(app.drained());
}

#[test]
fn spare_and_filled_slices_cover_the_wrap() {
    let (_memory, mut stack, mut app) = Memory::pair(RegionKind::Tcp);
    for round in 0..20u8 {
        let (first, second) = app.tx_spare();
        assert_eq!(first.len() + second.len(), 4096);
        for byte in first.iter_mut().chain(second).take(3000) {
            *byte = round;
        }
        app.commit_tx(3000);
        echo(&mut stack);
        let (first, second) = app.rx_filled();
        assert_eq!(first.len() + second.len(), 3000);
        assert!(first.iter().chain(second).all(|byte| *byte == round));
        app.consume_rx(3000);
    }
}

#[test]
fn a_full_ring_accepts_nothing_more_until_acknowledged() {
    let (_memory, mut stack, mut app) = Memory::pair(RegionKind::Tcp);
    assert_eq!(app.write(&[1; 5000]), 4096);
    assert_eq!((app.write(&[1]), app.writable()), (0, 0));
    stack.refresh().unwrap();
    stack.publish_acked(100);
    assert_eq!(app.writable(), 100);
}

#[test]
fn closing_makes_the_written_index_final() {
    let (memory, mut stack, mut app) = Memory::pair(RegionKind::Tcp);
    app.write(b"bye");
    app.close_tx();
    assert_eq!(app.write(b"more"), 0);
    stack.refresh().unwrap();
    assert_eq!((stack.tx_closed(), stack.tx_written()), (true, 3));
    memory.poke(64, 99);
    stack.refresh().unwrap();
    assert_eq!(stack.tx_written(), 3);
}

#[test]
fn the_stack_is_kicked_only_when_it_armed() {
    let (_memory, mut stack, mut app) = Memory::pair(RegionKind::Tcp);
    app.write(b"x");
    assert!(!app.must_kick(), "the stack never slept");
    assert!(!stack.arm(u64::MAX), "there is news");
    stack.refresh().unwrap();
    assert!(stack.arm(u64::MAX));
    assert!(!app.must_kick(), "nothing new was written");
    app.write(b"y");
    assert!(app.must_kick() && !app.must_kick(), "one kick for one sleep");
    assert!(stack.was_kicked());
}

#[test]
fn reading_kicks_only_from_the_index_the_stack_named() {
    let (_memory, mut stack, mut app) = Memory::pair(RegionKind::Tcp);
    assert!(stack.write_rx(0, &[0; 1000]));
    stack.publish_rx(1000);
    assert!(stack.arm(600));
    app.must_kick();
    assert!(stack.arm(600));
    app.read(&mut [0; 500]);
    assert!(!app.must_kick());
    app.read(&mut [0; 100]);
    assert!(app.must_kick());
}

#[test]
fn the_application_is_woken_once_and_only_at_its_threshold() {
    let (_memory, mut stack, app) = Memory::pair(RegionKind::Tcp);
    assert!(app.sleep_until(Want::READABLE, 10, 0));
    assert!(stack.write_rx(0, &[0; 10]));
    stack.publish_rx(9);
    assert!(!stack.take_app_wake());
    stack.publish_rx(10);
    assert!(stack.take_app_wake() && !stack.take_app_wake());
    assert!(!app.sleep_until(Want::READABLE, 10, 0), "ready already");
}

#[test]
fn an_error_wakes_whatever_the_application_waits_for() {
    for want in [Want::READABLE, Want::WRITABLE, Want::ESTABLISHED, Want::OVER] {
        let (_memory, mut stack, mut app) = Memory::pair(RegionKind::Tcp);
        app.write(&[0; 4096]);
        assert!(app.sleep_until(want, u32::MAX, u32::MAX));
        stack.publish_status(Status { error: Some(NetError::Reset), over: true, ..Status::default() });
        assert!(stack.take_app_wake());
        assert_eq!(app.status().error, Some(NetError::Reset));
    }
}

#[test]
fn a_successor_restores_what_the_application_overwrote() {
    let (memory, mut stack, mut app) = Memory::pair(RegionKind::Tcp);
    app.write(b"hello");
    echo(&mut stack);
    let (layout, indices, status) = (*stack.layout(), stack.indices(), stack.status());
    for offset in [0, 8, 16, 256, 320, 384] {
        memory.poke(offset, u64::MAX);
    }
    // SAFETY: as in `pair`; the old side is not used any more.
    let next = unsafe { StackSide::attach(memory.base, memory.len, layout, indices, status) }.unwrap();
    next.republish();
    let mut out = [0; 5];
    assert_eq!((app.read(&mut out), &out), (5, b"hello"));
    // SAFETY: as in `pair`; the old application side is not used any more.
    let again = unsafe { AppSide::attach(memory.base, memory.len) }.unwrap();
    assert_eq!((again.readable(), again.writable()), (0, 4096));
}

#[test]
fn impossible_indices_are_refused_and_change_nothing() {
    let (memory, mut stack, mut app) = Memory::pair(RegionKind::Tcp);
    app.write(&[0; 100]);
    echo(&mut stack);
    let before = stack.indices();
    for (offset, value) in [(64, 99), (64, 100 + 4097), (64, u64::MAX), (128, 101), (128, u64::MAX)] {
        memory.poke(64, 100);
        memory.poke(128, 0);
        memory.poke(offset, value);
        assert!(stack.refresh().is_err(), "{offset} {value}");
        assert_eq!(stack.indices(), before);
    }
}

#[test]
fn a_wrong_header_is_refused() {
    let (memory, _stack, _app) = Memory::pair(RegionKind::Tcp);
    for offset in [0, 8, 16, 24] {
        // SAFETY: as in `pair`.
        unsafe { StackSide::create(memory.base, memory.len, *_stack.layout()) }.unwrap();
        memory.poke(offset, 0x1234_5678_9abc_def0);
        // SAFETY: as in `pair`.
        assert!(unsafe { AppSide::attach(memory.base, memory.len) }.is_err(), "{offset}");
    }
    // SAFETY: as in `pair`, with a length shorter than the layout.
    assert!(unsafe { AppSide::attach(memory.base, 4096) }.is_err());
}

proptest! {
    #[test]
    fn neither_side_panics_or_leaves_the_region_whatever_the_other_writes(
        pokes in prop::collection::vec((0usize..72, prop_oneof![any::<u64>(), 0u64..10_000]), 1..60)
    ) {
        let (memory, mut stack, mut app) = Memory::pair(RegionKind::Tcp);
        for (word, value) in pokes {
            memory.poke(word * 8, value);
            let _ = stack.refresh();
            let Indices { tx_acked, tx_seen, rx_written, rx_consumed } = stack.indices();
            prop_assert!(tx_acked <= tx_seen && tx_seen <= tx_acked + 4096);
            prop_assert!(rx_consumed <= rx_written && rx_written <= rx_consumed + 4096);
            let mut buffer = [0; 64];
            let _ = stack.copy_tx(value, &mut buffer);
            let _ = stack.write_rx(value, &buffer);
            stack.publish_acked(value);
            stack.publish_rx(value);
            let _ = (stack.take_app_wake(), stack.arm(value));
            let _ = (app.write(&buffer), app.read(&mut buffer), app.must_kick(), app.status());
            let _ = (app.sleep_until(Want::READABLE, value as u32, 1), app.rx_filled().0.len());
            prop_assert!(app.readable() <= 4096 && app.writable() <= 4096);
        }
    }

    #[test]
    fn any_mix_of_writes_and_reads_keeps_the_stream(ops in prop::collection::vec((0usize..5000, 0usize..5000), 1..80)) {
        let (_memory, mut stack, mut app) = Memory::pair(RegionKind::Tcp);
        let (mut sent, mut seen) = (0u64, 0u64);
        for (write, read) in ops {
            let data: Vec<u8> = (sent..sent + write as u64).map(|n| (n % 251) as u8).collect();
            sent += app.write(&data) as u64;
            echo(&mut stack);
            let mut out = vec![0; read];
            let n = app.read(&mut out);
            for byte in &out[..n] {
                prop_assert_eq!(*byte, (seen % 251) as u8);
                seen += 1;
            }
        }
        prop_assert!(seen <= sent);
    }
}

#[test]
fn an_echo_from_ring_to_ring_keeps_every_byte_over_the_rings_end() {
    let (_memory, mut stack, mut app) = Memory::pair(RegionKind::Tcp);
    let mut at = 0u64;
    for round in 0..50u64 {
        let data: Vec<u8> = (0..1000 + round).map(|n| (at + n) as u8).collect();
        assert!(stack.write_rx(at, &data));
        stack.publish_rx(at + data.len() as u64);
        assert_eq!(app.echo(300), 300);
        assert_eq!(app.echo(usize::MAX), data.len() - 300);
        stack.refresh().unwrap();
        let mut back = vec![0; data.len()];
        assert!(stack.copy_tx(at, &mut back));
        assert_eq!(back, data);
        at += data.len() as u64;
        stack.publish_acked(at);
    }
}
