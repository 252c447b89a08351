//! A channel between two sides that die and come back at any point.

use super::*;
use std::vec;
use std::vec::Vec;

struct Memory(Vec<u64>);

impl Memory {
    fn new() -> Self {
        Self(vec![0; BYTES / 8 + 8])
    }

    fn sides(&mut self) -> (Asker, Answerer) {
        let base = self.0.as_mut_ptr().cast::<u8>();
        let base = base.wrapping_add(base.align_offset(64));
        // SAFETY: the vector outlives both sides in each test and is not touched otherwise.
        unsafe { (Asker::attach(base, BYTES).unwrap(), Answerer::attach(base, BYTES).unwrap()) }
    }
}

#[test]
fn a_question_is_open_until_it_is_answered() {
    let mut memory = Memory::new();
    let (mut asker, mut answerer) = memory.sides();
    assert_eq!((asker.answer(), answerer.question(), asker.asked()), (None, None, 0));
    let question = Message::new(7, [1, 2, 3, 4, 5, 6, 7, 8]).with_payload(b"what");
    let number = asker.ask(&question);
    assert_eq!((asker.answer(), answerer.question()), (None, Some((number, question))));
    let answer = Message::new(0, [9; WORDS]).with_payload(&[5; PAYLOAD + 1]);
    answerer.reply(number, &answer);
    assert_eq!(answerer.question(), None);
    assert_eq!(asker.answer().unwrap().payload(), &[5; PAYLOAD]);
}

#[test]
fn both_sides_find_their_place_again() {
    let mut memory = Memory::new();
    for round in 1..5 {
        let (mut asker, _) = memory.sides();
        let number = asker.ask(&Message::new(round, [0; WORDS]));
        let (asker, mut answerer) = memory.sides();
        assert!(asker.answer().is_none(), "still open");
        assert_eq!(answerer.question().unwrap().1.label, round);
        answerer.reply(number, &Message::new(round + 100, [0; WORDS]));
        let (asker, answerer) = memory.sides();
        assert_eq!(asker.answer().unwrap().label, round + 100);
        assert!(answerer.question().is_none());
    }
}

#[test]
fn an_answer_to_a_question_that_was_replaced_does_not_count() {
    let mut memory = Memory::new();
    let (mut asker, mut answerer) = memory.sides();
    let first = asker.ask(&Message::new(1, [0; WORDS]));
    asker.ask(&Message::new(2, [0; WORDS]));
    answerer.reply(first, &Message::new(0, [0; WORDS]));
    assert_eq!(asker.answer(), None);
    assert_eq!(answerer.question().unwrap().1.label, 2);
}

#[test]
fn an_impossible_length_is_cut_and_a_short_region_refused() {
    let mut memory = Memory::new();
    let (mut asker, answerer) = memory.sides();
    asker.ask(&Message::new(1, [0; WORDS]));
    let base = memory.0.as_mut_ptr();
    let skip = base.cast::<u8>().align_offset(64) / 8;
    memory.0[skip + 2] = u64::MAX;
    assert_eq!(answerer.question().unwrap().1.payload().len(), PAYLOAD);
    // SAFETY: refused before anything is accessed.
    assert!(unsafe { Asker::attach(64 as *mut u8, BYTES - 1) }.is_err());
}
