//! The queue against a model card, an honest one and one that writes what it likes.

use super::memory::Memory;
use super::*;
use core::ptr::NonNull;
use core::sync::atomic::Ordering::SeqCst;
use hic_abi::Plain;
use proptest::prelude::*;
use std::vec::Vec;

const SIZE: u16 = 16;

/// A card on the other side of the memory.
struct Card {
    base: NonNull<u8>,
    layout: std::alloc::Layout,
    memory: Memory,
    taken: u16,
    used: u16,
    told: usize,
    event_index: bool,
}

impl Card {
    fn new(event_index: bool) -> Self {
        let layout = std::alloc::Layout::from_size_align(queue_bytes(SIZE), 4096).unwrap();
        // SAFETY: the size is not zero.
        let base = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }).unwrap();
        // SAFETY: just allocated, freed in `drop`.
        let memory = unsafe { Memory::new(base, SIZE) };
        Self { base, layout, memory, taken: 0, used: 0, told: 0, event_index }
    }

    fn setup(&self, chain: u16) -> Setup {
        Setup { memory: self.base, physical: 0x10_0000, size: SIZE, chain, event_index: self.event_index }
    }

    /// The next request's head descriptor.
    fn take(&mut self) -> Option<u16> {
        if self.taken == self.memory.available_index().load(SeqCst) {
            return None;
        }
        let head = self.memory.available_entry(self.taken).load(SeqCst);
        self.taken = self.taken.wrapping_add(1);
        self.memory.available_event().store(self.taken, SeqCst);
        Some(head)
    }

    /// Whether the driver gets an interrupt for it.
    fn give(&mut self, id: u32, len: u32) -> bool {
        let entry = self.memory.used_entry(self.used);
        entry[0].store(id, SeqCst);
        entry[1].store(len, SeqCst);
        self.used = self.used.wrapping_add(1);
        self.memory.used_index().store(self.used, SeqCst);
        if self.event_index {
            self.memory.used_event().load(SeqCst) == self.used.wrapping_sub(1)
        } else {
            self.memory.available_flags().load(SeqCst) == 0
        }
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { std::alloc::dealloc(self.base.as_ptr(), self.layout) }
    }
}

impl Notify for Card {
    fn notify(&mut self) {
        self.told += 1;
    }
}

const PART: Part = Part { address: 0x1234_5000, len: 1526, writable: true };

#[test]
fn requests_come_back_with_their_tokens_in_the_order_of_the_card() {
    for event_index in [false, true] {
        let mut card = Card::new(event_index);
        let mut record = QueueRecord::zeroed();
        // SAFETY: the card's memory outlives the queue.
        let mut queue = unsafe { Queue::create(card.setup(2), &mut record) }.unwrap();
        for round in 0..30_000u32 {
            let tokens = [round * 3, round * 3 + 1, round * 3 + 2];
            for token in tokens {
                queue.push(token, &[Part { writable: false, ..PART }, PART]).unwrap();
            }
            queue.kick(&mut card);
            let heads: Vec<u16> = core::iter::from_fn(|| card.take()).collect();
            heads.iter().rev().for_each(|head| {
                card.give(u32::from(*head), 7);
            });
            for token in tokens.into_iter().rev() {
                assert_eq!(queue.pop(), Ok(Some(Used { token, len: 7 })));
            }
            assert_eq!(queue.pop(), Ok(None));
        }
        assert_eq!(card.told, 30_000);
    }
}

#[test]
fn a_full_queue_refuses_and_goes_on_when_a_request_is_done() {
    let mut card = Card::new(false);
    let mut record = QueueRecord::zeroed();
    // SAFETY: the card's memory outlives the queue.
    let mut queue = unsafe { Queue::create(card.setup(1), &mut record) }.unwrap();
    (0..u32::from(SIZE)).for_each(|token| queue.push(token, &[PART]).unwrap());
    assert_eq!(queue.push(99, &[PART]), Err(Full));
    let head = card.take().unwrap();
    card.give(head.into(), 0);
    assert_eq!(queue.pop(), Ok(Some(Used { token: 0, len: 0 })));
    assert_eq!(queue.push(99, &[PART]), Ok(()));
}

#[test]
fn a_successor_goes_on_with_what_was_under_way() {
    let mut card = Card::new(true);
    let mut record = QueueRecord::zeroed();
    // SAFETY: the card's memory outlives the queue.
    let mut queue = unsafe { Queue::create(card.setup(1), &mut record) }.unwrap();
    (10..15).for_each(|token| queue.push(token, &[PART]).unwrap());
    let first = card.take().unwrap();
    card.give(first.into(), 1);
    assert_eq!(queue.pop().unwrap().unwrap().token, 10);
    let addresses = queue.addresses();
    // SAFETY: as above; the first queue is gone.
    let mut queue = unsafe { Queue::resume(card.base, 0x10_0000, &mut record) }.unwrap();
    assert_eq!((queue.addresses(), queue.under_way()), (addresses, 4));
    queue.kick(&mut card);
    assert_eq!(card.told, 1, "the card is told of what the predecessor may not have told it");
    while let Some(head) = card.take() {
        card.give(head.into(), 1);
    }
    let rest: Vec<u32> = core::iter::from_fn(|| queue.pop().unwrap()).map(|used| used.token).collect();
    assert_eq!(rest, [11, 12, 13, 14]);
}

#[test]
fn a_record_left_in_the_middle_of_a_step_is_refused() {
    let card = Card::new(false);
    let mut record = QueueRecord::zeroed();
    // SAFETY: the card's memory outlives the queue.
    unsafe { Queue::create(card.setup(1), &mut record) }.unwrap();
    record.available = 1;
    // SAFETY: as above.
    let refused = unsafe { Queue::resume(card.base, 0, &mut record) }.err();
    assert_eq!(refused, Some(ResumeError::HalfDone { indices: 1, tokens: 0 }));
}

/// Every state that the stores of one step pass through, and the requests that a successor must find.
#[test]
fn a_successor_undoes_or_completes_the_step_that_was_begun() {
    use super::record::{FREE, PUSH, TAKE};
    let mut card = Card::new(false);
    let mut record = QueueRecord::zeroed();
    // SAFETY: the card's memory outlives the queue.
    let mut queue = unsafe { Queue::create(card.setup(1), &mut record) }.unwrap();
    queue.push(10, &[PART]).unwrap();
    queue.push(11, &[PART]).unwrap();
    let head = card.take().unwrap();
    card.give(head.into(), 1);
    let before = record;
    let push = |stored: usize| {
        let mut half = before;
        half.step = PUSH | 2;
        half.tokens[2] = if stored > 0 { 12 } else { FREE };
        half.available += u16::from(stored > 1);
        half
    };
    let take = |stored: usize| {
        let mut half = before;
        half.step = TAKE | u32::from(head);
        half.tokens[usize::from(head)] = if stored > 0 { FREE } else { 10 };
        half.used += u16::from(stored > 1);
        half
    };
    let cases: [(QueueRecord, &[u32]); 6] = [
        (push(0), &[10, 11]),
        (push(1), &[10, 11]),
        (push(2), &[10, 11, 12]),
        (take(0), &[10, 11]),
        (take(1), &[11]),
        (take(2), &[11]),
    ];
    for (mut half, expected) in cases {
        // SAFETY: as above; the queues before are gone.
        let mut queue = unsafe { Queue::resume(card.base, 0x10_0000, &mut half) }.unwrap();
        assert_eq!(queue.tokens().collect::<Vec<_>>(), expected);
        let next = queue.pop().unwrap().map(|used| used.token);
        assert_eq!(next, (expected[0] == 10).then_some(10));
        let available = card.memory.available_index().load(SeqCst);
        assert_eq!(available, if expected.contains(&12) { 3 } else { 2 });
    }
}

#[test]
fn a_request_that_was_looked_at_is_under_way_until_it_is_taken() {
    let mut card = Card::new(false);
    let mut record = QueueRecord::zeroed();
    // SAFETY: the card's memory outlives the queue.
    let mut queue = unsafe { Queue::create(card.setup(1), &mut record) }.unwrap();
    queue.push(5, &[PART]).unwrap();
    let head = card.take().unwrap();
    card.give(head.into(), 60);
    queue.advance();
    assert_eq!(queue.peek(), Ok(Some(Used { token: 5, len: 60 })));
    // SAFETY: as above; the first queue is gone.
    let mut queue = unsafe { Queue::resume(card.base, 0x10_0000, &mut record) }.unwrap();
    assert_eq!(queue.peek(), Ok(Some(Used { token: 5, len: 60 })));
    queue.advance();
    queue.advance();
    assert_eq!((queue.peek(), queue.under_way()), (Ok(None), 0));
}

#[test]
fn an_interrupt_comes_only_when_asked_for() {
    for event_index in [false, true] {
        let mut card = Card::new(event_index);
        let mut record = QueueRecord::zeroed();
        // SAFETY: the card's memory outlives the queue.
        let mut queue = unsafe { Queue::create(card.setup(1), &mut record) }.unwrap();
        (0..8).for_each(|token| queue.push(token, &[PART]).unwrap());
        let heads: Vec<u16> = core::iter::from_fn(|| card.take()).collect();
        queue.disarm();
        assert!(!card.give(heads[0].into(), 0));
        assert!(!queue.arm(1), "one is done already");
        assert!(queue.pop().unwrap().is_some());
        assert!(queue.arm(3));
        let interrupts: Vec<bool> = (1..4).map(|n| card.give(heads[n].into(), 0)).collect();
        assert_eq!(interrupts, [!event_index, !event_index, true]);
    }
}

proptest! {
    #[test]
    fn a_hostile_card_gets_errors_and_never_a_request_twice(
        writes in proptest::collection::vec((0u16..40, 0u32..40, any::<u32>()), 1..60), chain in 1u16..3,
    ) {
        let mut card = Card::new(false);
        let mut record = QueueRecord::zeroed();
        // SAFETY: the card's memory outlives the queue.
        let mut queue = unsafe { Queue::create(card.setup(chain), &mut record) }.unwrap();
        let mut under_way = Vec::new();
        for (n, (index, id, len)) in writes.into_iter().enumerate() {
            if queue.push(n as u32, &[PART]).is_ok() { under_way.push(n as u32); }
            if n % 3 == 0 {
                card.memory.used_index().store(index, SeqCst);
                card.memory.used_entry(index)[0].store(id, SeqCst);
            } else if let Some(head) = card.take() {
                card.give(head.into(), len);
            }
            while let Ok(Some(used)) = queue.pop() {
                let at = under_way.iter().position(|token| *token == used.token);
                prop_assert!(at.is_some(), "token {} was not under way", used.token);
                under_way.remove(at.unwrap());
            }
            prop_assert_eq!(queue.under_way(), under_way.len());
        }
    }

    #[test]
    fn any_record_is_checked_before_use(bytes in proptest::collection::vec(any::<u8>(), size_of::<QueueRecord>()), small: bool) {
        let card = Card::new(false);
        let mut record = QueueRecord::zeroed();
        record.as_bytes_mut().copy_from_slice(&bytes);
        if small { record.size = SIZE; record.chain = 1; record.available = record.used.wrapping_add(16); }
        // The memory has room for `SIZE` descriptors only; a larger size in the record is the caller's to refuse.
        if record.size <= SIZE {
            // SAFETY: the card's memory outlives the queue.
            if let Ok(mut queue) = unsafe { Queue::resume(card.base, 0, &mut record) } { let _ = queue.pop(); }
        }
    }
}
