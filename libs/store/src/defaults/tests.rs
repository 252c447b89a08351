use super::*;
use crate::MAX_RECORD_BYTES;
use proptest::prelude::*;
use std::format;

const OLD: Version = Version::new(1, 2, 0);
const NEW: Version = Version::new(1, 3, 0);

fn name(text: &str) -> Name {
    Name::try_from(text).unwrap()
}

fn updated() -> Defaults {
    let mut defaults = Defaults::default();
    defaults.set_default(&name("netstack"), NEW, OLD).unwrap();
    defaults
}

#[test]
fn a_service_that_was_never_updated_has_no_default_of_its_own() {
    let mut defaults = updated();
    assert_eq!(defaults.begin_boot("inetd", |_| true), None);
    assert!(!defaults.healthy("inetd", OLD));
}

#[test]
fn a_default_that_comes_up_stays_the_default_for_ever() {
    let mut defaults = updated();
    for _ in 0..10 {
        assert_eq!(defaults.begin_boot("netstack", |_| true), Some(BootChoice::Default(NEW)));
        assert_eq!(defaults.service("netstack").unwrap().attempts, 1);
        assert!(defaults.healthy("netstack", NEW));
        assert!(!defaults.healthy("netstack", NEW), "nothing to write the second time");
    }
}

#[test]
fn a_default_that_fails_twice_at_boot_falls_back_to_the_one_before() {
    let mut defaults = updated();
    for _ in 0..MAX_BOOT_ATTEMPTS {
        assert_eq!(defaults.begin_boot("netstack", |_| true), Some(BootChoice::Default(NEW)));
    }
    let fallback = BootChoice::Fallback { version: OLD, failed: NEW };
    // As long as the version before is not known to be healthy, each boot tries it and says so.
    assert_eq!(defaults.begin_boot("netstack", |_| true), Some(fallback));
    assert_eq!(defaults.begin_boot("netstack", |_| true), Some(fallback));
    assert!(defaults.healthy("netstack", OLD));
    assert_eq!(defaults.begin_boot("netstack", |_| true), Some(BootChoice::Default(OLD)));
    assert_eq!(defaults.service("netstack").unwrap().previous, None);
}

#[test]
fn a_default_that_cannot_be_found_has_not_failed_and_stays_the_default() {
    let mut defaults = updated();
    for _ in 0..=MAX_BOOT_ATTEMPTS {
        assert_eq!(defaults.begin_boot("netstack", |version| version != NEW), Some(BootChoice::Default(NEW)));
        assert!(!defaults.healthy("netstack", OLD), "what runs instead is not chosen by that");
    }
    assert_eq!(defaults, updated());
    assert_eq!(defaults.begin_boot("netstack", |_| true), Some(BootChoice::Default(NEW)));
    assert_eq!(defaults.service("netstack").unwrap().attempts, 1);
}

#[test]
fn one_failure_between_good_boots_does_not_count_towards_the_next() {
    let mut defaults = updated();
    for _ in 0..5 {
        defaults.begin_boot("netstack", |_| true);
        defaults.begin_boot("netstack", |_| true);
        defaults.healthy("netstack", NEW);
    }
    assert_eq!(defaults.begin_boot("netstack", |_| true), Some(BootChoice::Default(NEW)));
}

#[test]
fn a_failing_default_with_none_before_it_is_tried_again_and_reported() {
    let mut defaults = Defaults::default();
    defaults.set_default(&name("netstack"), NEW, NEW).unwrap();
    defaults.begin_boot("netstack", |_| true);
    defaults.begin_boot("netstack", |_| true);
    assert_eq!(defaults.begin_boot("netstack", |_| true), Some(BootChoice::OnlyOne(NEW)));
    assert!(defaults.healthy("netstack", NEW));
}

#[test]
fn making_the_default_the_default_again_keeps_the_version_before_it() {
    let mut defaults = updated();
    defaults.begin_boot("netstack", |_| true);
    defaults.set_default(&name("netstack"), NEW, NEW).unwrap();
    assert_eq!(defaults.service("netstack").unwrap().previous, Some(OLD));
    // A rollback is an update with the roles swapped.
    defaults.set_default(&name("netstack"), OLD, NEW).unwrap();
    let service = defaults.service("netstack").unwrap();
    assert_eq!((service.version, service.previous, service.attempts), (OLD, Some(NEW), 0));
}

#[test]
fn a_version_that_nobody_chose_does_not_become_the_default_by_being_healthy() {
    let mut defaults = updated();
    assert!(!defaults.healthy("netstack", OLD));
    assert!(!defaults.healthy("netstack", Version::new(9, 9, 9)));
    assert_eq!(defaults, updated());
}

#[test]
fn the_largest_record_fits_and_one_more_service_is_refused() {
    let huge = Version::new(u32::MAX, u32::MAX, u32::MAX);
    let mut defaults = Defaults::default();
    for n in 0..MAX_SERVICES {
        let long = name(&format!("a-service-with-long-{n:04}"));
        defaults.set_default(&long, huge, OLD).unwrap();
        let service = defaults.service_mut(&long).unwrap();
        (service.previous, service.attempts) = (Some(huge), u32::MAX);
    }
    let one_more = defaults.clone().set_default(&name("one-more"), huge, OLD);
    assert_eq!(one_more, Err(RecordError::TooManyServices));
    let update = RunningUpdate { name: name("netstack"), from: huge, to: huge, phase: UpdatePhase::Switched };
    defaults.update = Some(update);
    for _ in 0..MAX_SOURCES {
        defaults.sources.push("x".repeat(MAX_SOURCE_BYTES).as_str().try_into().unwrap()).unwrap();
    }
    for n in 0..MAX_EPOCHS {
        defaults.raise_epoch(&name(&format!("a-service-with-long-{n:04}")), u32::MAX).unwrap();
    }
    let one_more = defaults.raise_epoch(&name("one-more"), 1);
    assert_eq!(one_more, Err(RecordError::TooManyEpochs));
    let digest = hic_tuf::Digest::from_bytes([255; 48]);
    defaults.trusted = Trusted {
        root: u32::MAX,
        root_digest: digest,
        online_keys: digest,
        timestamp: u32::MAX,
        snapshot: u32::MAX,
        targets: u32::MAX,
    };
    let mut buffer = [0; MAX_RECORD_BYTES];
    let bytes = defaults.encode(&mut buffer).unwrap();
    assert_eq!(Defaults::decode(bytes), Ok(defaults));
}

#[test]
fn an_epoch_only_rises() {
    let mut defaults = Defaults::default();
    let (netstack, other) = (name("netstack"), name("inetd"));
    for (raise, then) in [(0, 0), (3, 3), (2, 3), (4, 4)] {
        defaults.raise_epoch(&netstack, raise).unwrap();
        assert_eq!((defaults.epoch("netstack"), defaults.epoch(&other)), (then, 0));
    }
    // Removing the service or installing another version does not bring old releases back.
    defaults.install(&netstack, NEW).unwrap();
    defaults.remove(&netstack, NEW, false).unwrap();
    assert_eq!(defaults.epoch("netstack"), 4);
}

#[test]
fn a_choice_that_came_to_nothing_leaves_no_trace() {
    let netstack = name("netstack");
    for epoch in [0, 2] {
        let mut defaults = updated();
        defaults.raise_epoch(&netstack, epoch).unwrap();
        let before = defaults.clone();
        let said = defaults.choose(&netstack, 5, |defaults| defaults.install(&netstack, OLD)).unwrap();
        assert_eq!((said.version(), defaults.epoch("netstack")), (Some(NEW), 5));
        assert_ne!(defaults, before);
        defaults.restore(said);
        assert_eq!(defaults, before, "a release of the lower epoch is as good as it was");
    }
    let mut defaults = Defaults::default();
    let said = defaults.choose(&netstack, 1, |defaults| defaults.install(&netstack, NEW)).unwrap();
    defaults.restore(said);
    assert_eq!(defaults, Defaults::default());
}

#[test]
fn a_choice_for_which_there_is_no_room_changes_nothing() {
    let mut defaults = updated();
    for n in 0..MAX_EPOCHS {
        defaults.raise_epoch(&name(&format!("module-{n}")), 1).unwrap();
    }
    let before = defaults.clone();
    let netstack = name("netstack");
    let refused = defaults.choose(&netstack, 1, |defaults| defaults.set_default(&netstack, OLD, NEW));
    assert_eq!((refused, defaults), (Err(RecordError::TooManyEpochs), before));
}

#[test]
fn a_record_of_another_schema_is_refused_by_number() {
    let mut buffer = [0; 256];
    updated().encode(&mut buffer).unwrap();
    buffer[0] = 3;
    assert_eq!(Defaults::decode(&buffer), Err(RecordError::Schema { found: 3 }));
    assert_eq!(Defaults::decode(&[1]), Err(RecordError::Malformed));
}

#[test]
fn a_service_that_is_named_twice_makes_a_record_malformed() {
    let mut defaults = updated();
    let twice = defaults.services[0].clone();
    defaults.services.push(twice).unwrap();
    let mut buffer = [0; 256];
    let bytes = defaults.encode(&mut buffer).unwrap();
    assert_eq!(Defaults::decode(bytes), Err(RecordError::Malformed));
}

#[test]
fn a_record_of_the_first_schema_is_read_with_nothing_installed_or_removed() {
    // netstack 1.3.0, before it 1.2.0, one attempt; no update.
    let body = [1, 8, b'n', b'e', b't', b's', b't', b'a', b'c', b'k', 1, 3, 0, 1, 1, 2, 0, 1, 0];
    let mut expected = updated();
    expected.begin_boot("netstack", |_| true);
    assert_eq!(Defaults::decode(&[&[1, 0][..], &body].concat()), Ok(expected));
    assert_eq!(Defaults::decode(&[&[1, 0][..], &body, &[0]].concat()), Err(RecordError::Malformed));
}

#[test]
fn what_is_installed_is_started_until_it_is_removed() {
    let mut defaults = Defaults::default();
    assert!(!defaults.is_present("guestbook", false) && defaults.is_present("inetd", true));
    defaults.install(&name("guestbook"), OLD).unwrap();
    assert!(defaults.is_present("guestbook", false));
    assert_eq!(defaults.begin_boot("guestbook", |_| true), Some(BootChoice::Default(OLD)));
    // An update of it does not make it less installed.
    defaults.set_default(&name("guestbook"), NEW, OLD).unwrap();
    assert_eq!(defaults.installed().map(|service| service.version).collect::<std::vec::Vec<_>>(), [NEW]);
    defaults.remove(&name("guestbook"), NEW, false).unwrap();
    assert_eq!(defaults, Defaults::default());
}

#[test]
fn what_the_archive_brings_stays_removed_until_it_is_installed_again() {
    let mut defaults = updated();
    defaults.remove(&name("netstack"), NEW, true).unwrap();
    assert!(!defaults.is_present("netstack", true));
    assert_eq!(defaults.begin_boot("netstack", |_| true), None);
    defaults.install(&name("netstack"), OLD).unwrap();
    assert!(defaults.is_present("netstack", true));
    assert_eq!(defaults.begin_boot("netstack", |_| true), Some(BootChoice::Default(OLD)));
    assert_eq!(defaults.services.len(), 1);
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Defaults::decode(&bytes);
        for schema in [FIRST_SCHEMA, SCHEMA] {
            let with_schema = [&schema.to_le_bytes()[..], &bytes].concat();
            let _ = Defaults::decode(&with_schema);
        }
    }

    /// Whatever happens between boots, a boot finds a version that was the default once, and after two failures in a row another one
    /// if there is one.
    #[test]
    fn no_default_is_tried_more_than_twice_in_a_row_while_another_is_known(steps in proptest::collection::vec(0..4u8, 1..60)) {
        let mut defaults = updated();
        let (mut streak, mut last) = (0, None);
        for step in steps {
            let choice = defaults.begin_boot("netstack", |_| true).unwrap();
            prop_assert!([OLD, NEW].contains(&choice.version()));
            streak = if last == Some(choice) { streak + 1 } else { 1 };
            last = Some(choice);
            if matches!(choice, BootChoice::Default(_)) && defaults.service("netstack").unwrap().previous.is_some() {
                prop_assert!(streak <= MAX_BOOT_ATTEMPTS);
            }
            if step == 0 {
                defaults.healthy("netstack", choice.version());
                last = None;
            }
            let mut buffer = [0; MAX_RECORD_BYTES];
            let bytes = defaults.encode(&mut buffer).unwrap();
            prop_assert_eq!(Defaults::decode(bytes).unwrap(), defaults.clone());
        }
    }
}
