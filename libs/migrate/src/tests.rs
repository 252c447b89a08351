//! Every question and every answer survives its encoding; nothing that comes through the channel panics.

use super::*;
use alloc::vec;
use proptest::prelude::*;

fn share() -> impl Strategy<Value = Share> {
    prop_oneof![
        (0usize..4, any::<u16>()).prop_map(|(wave, max)| Share::Items { wave: Wave::ALL[wave], max }),
        Just(Share::Role),
        any::<u16>().prop_map(|max| Share::Everything { max }),
    ]
}

fn question() -> impl Strategy<Value = Question> {
    let prepare = (any::<bool>(), 0u8..2, any::<[u64; 3]>(), any::<u32>(), any::<[u16; 3]>()).prop_map(
        |(out, lane, [address, bytes, peer_serial], token, [lowest, highest, schema])| {
            let side = if out { Side::Exporter } else { Side::Importer };
            let (peer_state, protocols) = (Place { address, bytes }, Protocols { lowest, highest });
            Question::Prepare(Prepare { side, lane, peer_state, peer_serial, token, protocols, schema })
        },
    );
    prop_oneof![
        prepare,
        (any::<u64>(), share()).prop_map(|(batch, share)| Question::Export { batch, share }),
        (any::<u64>(), share()).prop_map(|(batch, share)| Question::Import { batch, share }),
        any::<u64>().prop_map(|batch| Question::Migrate { batch }),
        any::<u64>().prop_map(|batch| Question::Complete { batch }),
        any::<u64>().prop_map(|batch| Question::Abort { batch }),
        Just(Question::Check),
        any::<bool>().prop_map(|own_format| Question::Commit { own_format }),
        Just(Question::Shutdown),
    ]
}

fn cap() -> impl Strategy<Value = CapSlot> {
    (any::<u32>(), any::<bool>()).prop_map(|(slot, is_port)| CapSlot { slot, is_port })
}

proptest! {
    #[test]
    fn questions_survive_their_encoding(question in question()) {
        prop_assert_eq!(Question::decode(&question.encode()), Ok(question));
    }

    #[test]
    fn answers_survive_their_encoding(
        items: u64, left: u64, caps in proptest::collection::vec(cap(), 0..MAX_CAPS),
        slots in proptest::collection::vec(any::<u32>(), 0..MAX_CAPS), other: [u64; 4], protocol: u16,
    ) {
        let exported = Exported { items, left, caps: caps.clone() };
        prop_assert_eq!(Exported::decode(&exported.clone().encode()), Ok(exported));
        let imported = Imported { items, left, slots, from: caps };
        prop_assert_eq!(Imported::decode(&imported.clone().encode()), Ok(imported));
        let [a, b, c, d] = other;
        let migrated = Migrated { items: a, lost: b, longest_freeze: c, total_freeze: d };
        prop_assert_eq!(Migrated::decode(&migrated.encode()), Ok(migrated));
        let health = Health { failed: a, items: b, events: c, errors: d };
        prop_assert_eq!(Health::decode(&health.encode()), Ok(health));
        let ready = Ready { protocol, items };
        prop_assert_eq!(Ready::decode(&ready.encode()), Ok(ready));
    }

    #[test]
    fn nothing_from_outside_panics(label in 0u64..12, words: [u64; 8], payload in proptest::collection::vec(any::<u8>(), 0..4096)) {
        let message = Message::new(label, words).with_payload(&payload);
        let _ = (Question::decode(&message), Exported::decode(&message), Imported::decode(&message));
        let _ = (Migrated::decode(&message), Ready::decode(&message), Refusal::decode(&message));
    }
}

#[test]
fn refusals_survive_their_encoding() {
    let all = [
        Refusal::UnknownQuestion,
        Refusal::NotPrepared,
        Refusal::WrongBatch { current: 9 },
        Refusal::Protocol,
        Refusal::Schema { schema: 3 },
        Refusal::NoResources,
        Refusal::Corrupt { item: 77 },
        Refusal::Downstream { code: 6 },
        Refusal::Malformed,
    ];
    for refusal in all {
        assert_eq!(refusal::of(&refusal.encode()), Some(refusal));
        assert_eq!(Migrated::decode(&refusal.encode()), Err(refusal));
    }
    assert_eq!(refusal::of(&answer::plain()), None);
}

#[test]
fn the_newest_common_protocol_is_chosen_or_none() {
    let p = |lowest, highest| Protocols { lowest, highest };
    assert_eq!(p(2, 3).common(p(3, 4)), Some(3));
    assert_eq!(p(1, 5).common(p(2, 3)), Some(3));
    assert_eq!(p(1, 2).common(p(3, 4)), None);
    assert_eq!(vec![p(1, 1)], [PROTOCOLS]);
}
