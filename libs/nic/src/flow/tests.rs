//! The flow table against a map, and over records that nobody orderly wrote.

use super::*;
use core::net::{Ipv4Addr, SocketAddrV4};
use hic_abi::Plain;
use proptest::prelude::*;
use std::collections::HashMap;
use std::vec;
use std::vec::Vec;

const SECRET: [u8; 16] = [7; 16];

fn exact(remote_port: u16) -> FlowKey {
    let local = SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 15), 80);
    let remote = SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 2), remote_port);
    FlowKey::Exact { protocol: PROTO_TCP, local, remote }
}

const LISTENER: FlowKey = FlowKey::Port { protocol: PROTO_TCP, port: 80 };

#[test]
fn an_exact_entry_wins_over_the_port_and_both_over_none() {
    let mut records = vec![FlowRecord::zeroed(); 16];
    let (mut table, repair) = FlowTable::attach(&mut records, SECRET);
    assert_eq!(repair, Repair::default());
    assert_eq!(table.route(&exact(1)), None);
    table.insert_if_absent(&LISTENER, 1).unwrap();
    table.insert_if_absent(&exact(1), 2).unwrap();
    assert_eq!(table.route(&exact(1)).unwrap().1.owner, 2);
    assert_eq!(table.route(&exact(2)).unwrap().1.owner, 1);
    assert_eq!(table.get(&exact(2)), None);
}

#[test]
fn a_flow_belongs_to_whoever_came_first() {
    let mut records = vec![FlowRecord::zeroed(); 16];
    let (mut table, _) = FlowTable::attach(&mut records, SECRET);
    assert_eq!(table.insert_if_absent(&exact(1), 1), Ok(()));
    assert_eq!(table.insert_if_absent(&exact(1), 1), Ok(()), "a repeat is no error");
    assert_eq!(table.insert_if_absent(&exact(1), 2), Err(InsertError::Taken { owner: 1 }));
    assert!(!table.remove(&exact(1), 2));
    assert!(table.remove(&exact(1), 1));
    assert_eq!(table.insert_if_absent(&exact(1), 2), Ok(()));
}

#[test]
fn a_full_table_refuses_and_keeps_what_it_has() {
    let mut records = vec![FlowRecord::zeroed(); 16];
    let (mut table, _) = FlowTable::attach(&mut records, SECRET);
    (0..12).for_each(|n| table.insert_if_absent(&exact(n), 1).unwrap());
    assert_eq!(table.insert_if_absent(&exact(12), 1), Err(InsertError::Full { live: 12 }));
    assert!((0..12).all(|n| table.get(&exact(n)).is_some()));
}

#[test]
fn a_stack_that_is_gone_loses_all_its_flows_and_no_other() {
    let mut records = vec![FlowRecord::zeroed(); 64];
    let (mut table, _) = FlowTable::attach(&mut records, SECRET);
    (0..40).for_each(|n| table.insert_if_absent(&exact(n), u32::from(n) % 2).unwrap());
    assert_eq!(table.remove_owner(1), 20);
    assert!((0..40).all(|n| table.get(&exact(n)).is_some() == (n % 2 == 0)));
}

#[test]
fn the_states_of_a_flow_survive_in_the_record() {
    for state in [FlowState::Flowing, FlowState::Held { deadline: 77 }] {
        let mut record = FlowRecord::zeroed();
        record.write(exact(1).to_words(), Flow { owner: 2, state });
        assert_eq!(record.read(), record::Slot::Live(exact(1), Flow { owner: 2, state }));
    }
}

fn held(deadline: u64) -> FlowState {
    FlowState::Held { deadline }
}

#[test]
fn holding_many_flows_is_done_for_all_or_for_none() {
    let mut records = vec![FlowRecord::zeroed(); 64];
    let (mut table, _) = FlowTable::attach(&mut records, SECRET);
    let keys = [exact(1), LISTENER, exact(2)];
    keys.iter().for_each(|key| table.insert_if_absent(key, 1).unwrap());
    assert_eq!(table.hold(&[exact(1), exact(9)], 1, 50), Err(MoveError::NotOwn { number: 1 }));
    assert_eq!(table.hold(&keys, 2, 50), Err(MoveError::NotOwn { number: 0 }));
    assert_eq!((table.held(), table.next_deadline()), (0, None));
    table.hold(&keys, 1, 50).unwrap();
    table.hold(&keys, 1, 50).unwrap();
    assert_eq!((table.held(), table.next_deadline()), (3, Some(50)));
    assert_eq!(table.get(&LISTENER).unwrap().state, held(50));
    table.release(&[exact(1)], 1).unwrap();
    table.release(&[exact(1)], 1).unwrap();
    assert_eq!((table.held(), table.get(&exact(1)).unwrap().state), (2, FlowState::Flowing));
}

#[test]
fn the_last_hold_takes_its_deadline_with_it() {
    let mut records = vec![FlowRecord::zeroed(); 64];
    let (mut table, _) = FlowTable::attach(&mut records, SECRET);
    (0..2).for_each(|n| table.insert_if_absent(&exact(n), 1).unwrap());
    table.hold(&[exact(0)], 1, 50).unwrap();
    table.take(&[exact(0)], 2).unwrap();
    table.hold(&[exact(0)], 2, 90).unwrap();
    assert_eq!(table.next_deadline(), Some(90));
    assert!(table.remove(&exact(0), 2));
    table.hold(&[exact(1)], 1, 95).unwrap();
    assert_eq!(table.next_deadline(), Some(95));
}

#[test]
fn a_hold_ends_at_its_deadline_with_the_flow_at_its_owner() {
    let mut records = vec![FlowRecord::zeroed(); 64];
    let (mut table, _) = FlowTable::attach(&mut records, SECRET);
    (0..4).for_each(|n| table.insert_if_absent(&exact(n), 1).unwrap());
    (0..4).for_each(|n| table.hold(&[exact(n)], 1, 10 * (1 + u64::from(n))).unwrap());
    assert_eq!(table.expire(9), 0);
    assert_eq!(table.expire(20), 2);
    assert_eq!((table.held(), table.next_deadline()), (2, Some(30)));
    assert_eq!(table.get(&exact(1)).unwrap(), Flow { owner: 1, state: FlowState::Flowing });
    let (mut table, _) = FlowTable::attach(&mut records, SECRET);
    assert_eq!((table.held(), table.next_deadline()), (2, Some(30)), "a restart knows the holds");
    assert!(table.remove(&exact(2), 1));
    assert_eq!((table.expire(30), table.held(), table.next_deadline()), (0, 1, Some(40)));
}

#[test]
fn whoever_takes_flows_has_them_whatever_they_were() {
    let mut records = vec![FlowRecord::zeroed(); 16];
    let (mut table, _) = FlowTable::attach(&mut records, SECRET);
    (0..10).for_each(|n| table.insert_if_absent(&exact(n), 1).unwrap());
    table.hold(&[exact(0)], 1, 50).unwrap();
    table.take(&[exact(0), exact(1), LISTENER], 2).unwrap();
    table.take(&[exact(0), exact(1), LISTENER], 2).unwrap();
    assert!([exact(0), exact(1), LISTENER].iter().all(|key| table.get(key).unwrap().owner == 2));
    assert_eq!((table.held(), table.live()), (0, 11));
    assert_eq!(table.take(&[exact(2), exact(20), exact(21)], 2), Err(MoveError::Full { missing: 2 }));
    assert_eq!(table.get(&exact(2)).unwrap().owner, 1, "nothing was taken");
    table.reassign(1, 3);
    assert_eq!((table.get(&exact(2)).unwrap().owner, table.get(&exact(0)).unwrap().owner), (3, 2));
}

#[test]
fn an_empty_slice_is_a_table_that_is_always_full() {
    let (mut table, _) = FlowTable::attach(&mut [], SECRET);
    assert_eq!(table.get(&exact(1)), None);
    assert_eq!(table.insert_if_absent(&exact(1), 1), Err(InsertError::Full { live: 0 }));
    assert!(!table.remove(&exact(1), 1));
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u16, u32),
    Remove(u16, u32),
    RemoveOwner(u32),
    Take(u16, u32),
    Reassign(u32, u32),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0u16..30, 0u32..3).prop_map(|(key, owner)| Step::Insert(key, owner)),
        8 => (0u16..30, 0u32..3).prop_map(|(key, owner)| Step::Remove(key, owner)),
        1 => (0u32..3).prop_map(Step::RemoveOwner),
        4 => (0u16..30, 0u32..3).prop_map(|(key, owner)| Step::Take(key, owner)),
        1 => (0u32..3, 0u32..3).prop_map(|(from, to)| Step::Reassign(from, to)),
        1 => Just(Step::Restart),
    ]
}

fn apply(table: &mut FlowTable<'_>, model: &mut HashMap<u16, u32>, step: Step) {
    match step {
        Step::Insert(key, owner) => {
            let expected = match model.get(&key) {
                Some(old) if *old != owner => Err(InsertError::Taken { owner: *old }),
                Some(_) => Ok(()),
                None if model.len() >= table.capacity() => Err(InsertError::Full { live: model.len() }),
                None => model.insert(key, owner).map_or(Ok(()), |_| Ok(())),
            };
            assert_eq!(table.insert_if_absent(&exact(key), owner), expected);
        }
        Step::Remove(key, owner) => {
            let owned = model.get(&key) == Some(&owner);
            assert_eq!(table.remove(&exact(key), owner), owned);
            if owned {
                model.remove(&key);
            }
        }
        Step::RemoveOwner(owner) => {
            table.remove_owner(owner);
            model.retain(|_, old| *old != owner);
        }
        Step::Take(key, owner) => {
            let fits = model.contains_key(&key) || model.len() < table.capacity();
            assert_eq!(table.take(&[exact(key)], owner).is_ok(), fits);
            if fits {
                model.insert(key, owner);
            }
        }
        Step::Reassign(from, to) => {
            table.reassign(from, to);
            model.values_mut().filter(|owner| **owner == from).for_each(|owner| *owner = to);
        }
        Step::Restart => {}
    }
}

proptest! {
    #[test]
    fn it_behaves_like_a_map_over_any_history_and_restart(steps in proptest::collection::vec(step(), 1..300)) {
        let mut records = vec![FlowRecord::zeroed(); 32];
        let mut model = HashMap::new();
        for step in steps {
            let (mut table, repair) = FlowTable::attach(&mut records, SECRET);
            prop_assert_eq!(repair, Repair::default());
            apply(&mut table, &mut model, step);
            prop_assert_eq!(table.live(), model.len());
            for key in 0..30 {
                prop_assert_eq!(table.get(&exact(key)).map(|flow| flow.owner), model.get(&key).copied());
            }
            for owner in 0..4 {
                prop_assert_eq!(table.owns_any(owner), model.values().any(|of| *of == owner));
            }
        }
    }

    #[test]
    fn any_memory_becomes_a_table_that_holds_together(
        slots in proptest::collection::vec((0u16..6, 0u32..7, 0u64..4), 1..40),
    ) {
        let mut records: Vec<FlowRecord> = slots
            .into_iter()
            .map(|(port, head, kind)| {
                let mut key = exact(port).to_words();
                key[0] = key[0] & !0xff | kind;
                FlowRecord::raw(key, head.into())
            })
            .collect();
        let (table, _) = FlowTable::attach(&mut records, SECRET);
        let live = table.live();
        let (table, repair) = FlowTable::attach(&mut records, SECRET);
        prop_assert_eq!((table.live(), repair), (live, Repair::default()));
    }

    #[test]
    fn a_key_survives_its_words(words: [u64; 3], kind in 0u64..4) {
        let words = [kind | words[0] & 0xff00, words[1] >> 16, words[2] >> 16];
        if let Some(key) = FlowKey::from_words(words) { prop_assert_eq!(key.to_words(), words); }
    }
}
