//! What keeps an update from its beginning.

use crate::check::refusal;
use crate::processor::Short;
use crate::{Facts, PairProblem, Phase, Policy, PolicyFigure, Refused};
use std::string::ToString;

const GOOD: Facts = Facts {
    running: None,
    service_known: true,
    version_known: true,
    same_version: false,
    updatable: true,
    pair: None,
    serving: true,
    free_memory: 20 << 20,
    needed_memory: 10 << 20,
    free_piece: 8 << 20,
    needed_piece: 8 << 20,
    free_processor: 300,
    needed_processor: 300,
    load: 700,
    max_load: 700,
    storage: true,
    instances: 47,
    max_instances: 48,
};

#[test]
fn nothing_wrong_is_no_refusal() {
    assert_eq!(refusal(&GOOD), None);
}

#[test]
fn each_fact_has_its_refusal() {
    let cases = [
        (Facts { running: Some(Phase::Watch), ..GOOD }, Refused::Busy { phase: Phase::Watch }),
        (Facts { service_known: false, ..GOOD }, Refused::UnknownService),
        (Facts { version_known: false, ..GOOD }, Refused::UnknownVersion),
        (Facts { same_version: true, ..GOOD }, Refused::SameVersion),
        (Facts { updatable: false, ..GOOD }, Refused::NotUpdatable),
        (Facts { pair: Some(PairProblem::Untested), ..GOOD }, Refused::Pair(PairProblem::Untested)),
        (Facts { serving: false, ..GOOD }, Refused::NotServing),
        (Facts { load: 701, ..GOOD }, Refused::Load { load: 701, max: 700 }),
        (Facts { storage: false, ..GOOD }, Refused::NoStorage),
        (Facts { instances: 48, ..GOOD }, Refused::TooManyInstances { max: 48 }),
    ];
    for (facts, expected) in cases {
        assert_eq!(refusal(&facts), Some(expected));
        assert!(!expected.to_string().is_empty() && !expected.code().is_empty());
    }
}

#[test]
fn short_memory_is_named_with_what_is_missing() {
    let short = refusal(&Facts { free_memory: (20 << 20) - 1, ..GOOD }).unwrap();
    assert_eq!(short, Refused::Memory { free: (20 << 20) - 1, wanted: 20 << 20 });
    assert_eq!(short.to_string(), "1 MiB of memory are short: 19 MiB are free, 20 MiB are wanted");
    let huge = Facts { needed_memory: u64::MAX, ..GOOD };
    assert!(matches!(refusal(&huge), Some(Refused::Memory { .. })), "no overflow lets it through");
}

#[test]
fn memory_in_pieces_too_small_is_told_from_short_memory() {
    let short = refusal(&Facts { free_piece: (8 << 20) - 4096, ..GOOD }).unwrap();
    assert_eq!(short, Refused::Fragmented { free: (8 << 20) - 4096, wanted: 8 << 20 });
    let text = short.to_string();
    assert!(text.starts_with("8 MiB of memory in one piece") && text.contains("8188 KiB"), "{text}");
    let both = Facts { free_piece: 0, free_memory: 0, ..GOOD };
    assert!(matches!(refusal(&both), Some(Refused::Memory { .. })), "what is short as a whole is told first");
}

#[test]
fn a_short_processor_is_named_with_what_is_missing() {
    let short = refusal(&Facts { needed_processor: 350, ..GOOD }).unwrap();
    assert_eq!(short, Refused::Processor(Short { free: 300, wanted: 350 }));
    assert_eq!(short.code(), "processor");
    assert!(short.to_string().starts_with("5.0 % of the processor are short: 30.0 % of"), "{short}");
}

#[test]
fn of_many_reasons_the_one_that_matters_most_is_told() {
    let all = Facts { running: Some(Phase::Check), service_known: false, storage: false, ..GOOD };
    assert_eq!(refusal(&all), Some(Refused::Busy { phase: Phase::Check }));
}

#[test]
fn a_policy_out_of_its_range_is_refused_with_the_range() {
    assert_eq!(Policy::default().check(), Ok(()));
    for share in [1, 1000] {
        assert_eq!(Policy { share, ..Policy::default() }.check(), Ok(()));
    }
    for share in [0, 1001, u64::MAX] {
        let refused = Policy { share, ..Policy::default() }.check().unwrap_err();
        assert_eq!(refused, Refused::Policy { figure: PolicyFigure::Share, value: share });
        assert_eq!(refused.to_string(), std::format!("`share={share}`: a number from 1 to 1000 is wanted"));
    }
    let year = 365 * 24 * 3600 * 1_000_000_000;
    assert_eq!(Policy { watch: year, ..Policy::default() }.check(), Ok(()));
    let refused = Policy { watch: year + 1, ..Policy::default() }.check().unwrap_err();
    assert_eq!(refused.to_string(), "`watch=31536001`: a number from 0 to 31536000 is wanted");
    assert_eq!(refused.code(), "policy");
}

#[test]
fn a_version_that_asks_for_health_checks_of_its_own_gets_them_and_the_next_one_does_not() {
    let asked = Policy::default().with_health(Some((7, 300)));
    assert_eq!((asked.validations, asked.check_period), (7, 300_000_000));
    assert_eq!(asked.with_health(None), Policy::default());
}
