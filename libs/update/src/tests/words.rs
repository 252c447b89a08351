//! What is stored comes back, and what is told reads as a sentence.

use crate::processor::Short;
use crate::state::Position;
use crate::{
    Engine, Failed, Journal, Observed, Outcome, PairProblem, Phase, PolicyFigure, Reason, Refused, Report,
    Request, Slots, TokenAt, Who,
};
use hic_migrate::Refusal;
use proptest::prelude::*;
use std::string::ToString;
use std::vec::Vec;

fn reasons() -> Vec<Reason> {
    let (who, phase, error) = (Who::New, Phase::Rest, Failed { code: 3, at: 9 });
    let refusals = [
        Refusal::UnknownQuestion,
        Refusal::Malformed,
        Refusal::NotPrepared,
        Refusal::WrongBatch { current: 5 },
        Refusal::Protocol,
        Refusal::Schema { schema: 2 },
        Refusal::NoResources,
        Refusal::Corrupt { item: 8 },
        Refusal::Downstream { code: 6 },
    ];
    let mut all: Vec<_> =
        refusals.into_iter().map(|refusal| Reason::Refused { who, phase, refusal }).collect();
    all.extend([
        Reason::Requested,
        Reason::Aborted,
        Reason::Died { who: Who::Old, phase, fault: [1, 2, 3, 4] },
        Reason::Hang { who, phase },
        Reason::NotRestarted { who, error },
        Reason::Unhealthy { phase, test: 4 },
        Reason::NotCreated(error),
        Reason::NotStarted(error),
        Reason::NotMoved(error),
        Reason::NotRecorded(error),
        Reason::TooSlow { phase },
        Reason::Downtime { measured: 5000, allowed: 1000 },
        Reason::TooManyBatches { batches: 12 },
    ]);
    all
}

fn refusals() -> [Refused; 17] {
    [
        Refused::Busy { phase: Phase::Watch },
        Refused::UnknownService,
        Refused::UnknownVersion,
        Refused::NoVersionBefore,
        Refused::Fragmented { free: 1, wanted: 2 },
        Refused::SameVersion,
        Refused::NotUpdatable,
        Refused::Pair(PairProblem::Backward),
        Refused::NotServing,
        Refused::Memory { free: 1, wanted: 2 },
        Refused::Load { load: 1, max: 2 },
        Refused::Processor(Short { free: 1, wanted: 2 }),
        Refused::NoStorage,
        Refused::TooManyInstances { max: 3 },
        Refused::Module { code: 9 },
        Refused::Policy { figure: PolicyFigure::Share, value: 1001 },
        Refused::Policy { figure: PolicyFigure::Watch, value: u64::MAX },
    ]
}

#[test]
fn reasons_refusals_and_outcomes_survive_the_journal() {
    for reason in reasons() {
        assert_eq!(Reason::decode(&reason.encode()), Some(reason));
        let outcomes = [
            Outcome::Completed { forced: Some(reason) },
            Outcome::RolledBack { reason },
            Outcome::Lost { reason },
        ];
        for outcome in outcomes {
            let (kind, code) = outcome.encode();
            assert_eq!(Outcome::decode(kind, &code), Some(outcome));
        }
        assert!(reason.to_string().len() > 10 && !reason.code().is_empty());
    }
    for refusal in refusals() {
        let outcome = Outcome::AbortedBeforeStart { refusal };
        let (kind, code) = outcome.encode();
        assert_eq!(Outcome::decode(kind, &code), Some(outcome));
    }
    let (kind, code) = Outcome::Completed { forced: None }.encode();
    assert_eq!(Outcome::decode(kind, &code), Some(Outcome::Completed { forced: None }));
    assert_eq!((Reason::decode(&[0; 8]), Outcome::decode(0, &[0; 8])), (None, None));
}

#[test]
fn a_reason_says_who_what_and_where() {
    let text = |reason: Reason| reason.to_string();
    let (who, phase) = (Who::New, Phase::Migrate);
    assert_eq!(text(Reason::Hang { who, phase }), "the new version did not answer in time at migrate");
    let refusal = Refusal::Schema { schema: 3 };
    assert_eq!(
        text(Reason::Refused { who, phase, refusal }),
        "the new version refused at migrate: the instance cannot use state of schema 3"
    );
    assert_eq!(
        text(Reason::Died { who, phase, fault: [1, 6, 0, 0x40] }),
        "the new version died at migrate: invalid opcode at rip 0x40 (vector 6, error code 0x0)"
    );
}

#[test]
fn of_the_two_journals_the_one_saved_last_counts() {
    let request = Request::new("netstack", "1.2.0", "1.3.0");
    let mut engine = Engine::new(request, 5);
    let mut slots = Slots::default();
    assert!(slots.load().is_none());
    slots.begin(&request, &engine.journal());
    for _ in 0..3 {
        assert_eq!(slots.load(), Some((request, engine.journal())));
        let _ = engine.on(6, crate::Event::Began);
        let _ = engine.on(7, crate::Event::Checked(Ok(())));
        slots.save(&engine.journal());
    }
    let (request, journal) = slots.load().unwrap();
    assert_eq!(Report::of(&request, &journal), Some(engine.report()));
    slots.clear();
    assert!(slots.load().is_none());
}

#[test]
fn memory_that_holds_no_journal_is_not_resumed() {
    let observed = Observed { dead: [None; 2], token: TokenAt::Nowhere };
    let request = Request::new("a", "1", "2");
    assert!(Engine::resume(request, &Journal::default(), observed, 1).is_err());
    assert!(Report::of(&request, &Journal::default()).is_none());
}

proptest! {
    #[test]
    fn positions_from_anywhere_do_not_panic(words: [u64; Position::WORDS], small in proptest::array::uniform13(0u64..16)) {
        for words in [words, small] {
            if let Some(position) = Position::decode(&words) {
                prop_assert_eq!(Position::decode(&position.encode()), Some(position));
            }
        }
    }
}
