//! Many changes as one: all of them, or none and the index of the first that cannot be.

use super::invariants::check;
use super::world::{Actor, CALL, IRQ, SERVE, World, pair, word};
use hic_abi::switch::{Entry, EntryKind, MAX_ENTRIES};
use hic_abi::syscall::Syscall;
use hic_abi::{Error, Handle, Plain, Rights, SELF, USER_BASE};
use std::vec::Vec;

fn entry(kind: EntryKind, args: [u64; 4]) -> Entry {
    Entry { kind: kind as u64, args }
}

pub fn move_entry(from: (Handle, Handle), to: (Handle, Handle)) -> Entry {
    entry(EntryKind::MoveCapability, [from.0, from.1, to.0, to.1].map(u64::from))
}

fn switch_entry(port: Handle, endpoint: Handle) -> Entry {
    entry(EntryKind::SwitchPort, [SELF.into(), port.into(), endpoint.into(), 0])
}

/// Does a transaction: `Err((index, why))` when it is refused.
pub fn transact(w: &mut World, who: Actor, entries: &[Entry]) -> Result<(), (u64, Error)> {
    let bytes: Vec<u8> = entries.iter().flat_map(|e| e.as_bytes().to_vec()).collect();
    // 256 entries are longer than the argument area: they get a region of their own, mapped where they lie.
    let (region, address) = w.region(3);
    w.k.machine.bytes_mut(address - USER_BASE, bytes.len() as u64).copy_from_slice(&bytes);
    let space = if who.cap == SELF { SELF } else { who.cap };
    w.ok(w.manager, Syscall::RegionMap, [space.into(), region.into(), 1, 0, 0]);
    let result = w.sys(who, Syscall::Transaction, [address, entries.len() as u64, 0, 0, 0]);
    let index = w.k.threads[who.thread].context.frame.rdi;
    result.expect("does not block").map(|_| ()).map_err(|error| (index, error))
}

#[test]
fn a_whole_service_moves_in_one_step() {
    let mut w = World::new();
    let p = pair(&mut w);
    let new = w.child();
    let (endpoint, n, (region, _)) = (w.endpoint(), w.notification(), w.region(1));
    w.give(endpoint, new, SERVE, Rights::RECEIVE);
    w.give(region, p.server, 20, Rights::all());
    w.receive(new, SERVE);
    w.call(p.client, CALL, word(5));
    let entries = [
        switch_entry(p.port, endpoint),
        move_entry((p.server.cap, 20), (new.cap, 20)),
        entry(EntryKind::RebindIrq, [IRQ.into(), n.into(), 8, 0]),
        entry(EntryKind::Signal, [n.into(), 1, 0, 0]),
    ];
    let manager = w.manager;
    assert_eq!(transact(&mut w, manager, &entries), Ok(()));
    assert_eq!(w.got(new).expect("received").expect("a message").words[0], 5);
    assert_eq!(w.rights(new, 20), Ok(Rights::all()));
    let vector = w.k.machine.routed[0].1.expect("not masked");
    w.k.interrupt(vector);
    assert_eq!(w.ok(manager, Syscall::Wait, [n.into(), 0, 0, 0, 0]), 9);
    check(&w.k);
}

#[test]
fn a_bad_entry_refuses_the_whole_names_its_index_and_changes_nothing() {
    let mut w = World::new();
    let p = pair(&mut w);
    let (endpoint, n) = (w.endpoint(), w.notification());
    w.call(p.client, CALL, word(5));
    let good = [
        switch_entry(p.port, endpoint),
        move_entry((p.client.cap, CALL), (p.server.cap, 40)),
        entry(EntryKind::Signal, [n.into(), 1, 0, 0]),
    ];
    let bad = [
        (switch_entry(n, endpoint), Error::WrongType),
        (switch_entry(p.port, 999), Error::InvalidHandle),
        (move_entry((SELF, 999), (SELF, 998)), Error::InvalidHandle),
        (move_entry((SELF, n), (SELF, p.port)), Error::SlotUnusable),
        (move_entry((p.client.cap, CALL), (SELF, 998)), Error::WrongState),
        (move_entry((SELF, n), (p.server.cap, 40)), Error::WrongState),
        (move_entry((SELF, n), (n, 1)), Error::WrongType),
        (entry(EntryKind::Signal, [999, 0, 0, 0]), Error::InvalidHandle),
        (entry(EntryKind::RebindIrq, [n.into(), n.into(), 0, 0]), Error::WrongType),
        (Entry { kind: 77, args: [0; 4] }, Error::InvalidArgument),
    ];
    let manager = w.manager;
    for (last, why) in bad {
        let entries = [good[0], good[1], good[2], last];
        assert_eq!(transact(&mut w, manager, &entries), Err((3, why)), "{last:?}");
        assert_eq!(w.receive_until(p.server, SERVE, 5), w.got(p.server));
        w.k.threads[p.server.thread].context.frame.rax = 0;
        assert!(w.rights(p.server, 40).is_err(), "nothing was moved");
        let poll = w.refused(manager, Syscall::Wait, [n.into(), 0, 0, 0, 0]);
        assert_eq!(poll, Error::WouldBlock, "nothing was signalled");
        check(&w.k);
    }
}

#[test]
fn the_entry_that_cannot_be_read_is_named() {
    let mut w = World::new();
    let n = w.notification();
    let (region, address) = w.region(1);
    w.ok(w.manager, Syscall::RegionMap, [SELF.into(), region.into(), 1, 0, 0]);
    let signal = entry(EntryKind::Signal, [n.into(), 1, 0, 0]);
    for at in 0..102u64 {
        let to = address - USER_BASE + at * 40;
        w.k.machine.bytes_mut(to, 40).copy_from_slice(signal.as_bytes());
    }
    let result = w.sys(w.manager, Syscall::Transaction, [address, 110, 0, 0, 0]);
    assert_eq!(result.map(|r| r.map(|_| ())), Some(Err(Error::BadAddress)));
    assert_eq!(
        w.k.threads[w.manager.thread].context.frame.rdi, 102,
        "4096 bytes hold 102 entries and a part"
    );
    assert_eq!(w.refused(w.manager, Syscall::Wait, [n.into(), 0, 0, 0, 0]), Error::WouldBlock);
}

#[test]
fn a_transaction_is_bounded() {
    let mut w = World::new();
    for count in [0, MAX_ENTRIES as u64 + 1, u64::MAX] {
        let address = w.manager.memory;
        let refused = w.refused(w.manager, Syscall::Transaction, [address, count, 0, 0, 0]);
        assert_eq!(refused, Error::InvalidArgument);
        let frame = &w.k.threads[w.manager.thread].context.frame;
        assert_eq!(frame.rdi, address, "refused for its length, before the first entry was looked at");
    }
}

#[test]
fn two_hundred_and_fifty_six_ports_switch_with_their_callers() {
    let mut w = World::new();
    let p = pair(&mut w);
    let endpoint = w.endpoint();
    let ports: Vec<Handle> = (0..MAX_ENTRIES as u64).map(|badge| w.port(p.endpoint, badge)).collect();
    let big = w.child_with(super::world::ACCOUNT, &super::world::sandbox_spec("big", 16, 512));
    for (n, caller) in w.threads(big, ports.len()).into_iter().enumerate() {
        w.give(ports[n], big, n as Handle + 1, Rights::SEND);
        w.call(caller, n as Handle + 1, word(n as u64));
    }
    let entries: Vec<Entry> = ports.iter().map(|port| switch_entry(*port, endpoint)).collect();
    let manager = w.manager;
    assert_eq!(transact(&mut w, manager, &entries), Ok(()));
    check(&w.k);
    let mut got = w.receive(manager, endpoint);
    for n in 0..MAX_ENTRIES as u64 {
        assert_eq!(got.expect("queued").expect("a message").badge, n);
        got = w.reply_receive(manager, endpoint, super::world::Send { deadline: 5, ..word(n) });
    }
    assert_eq!(got, Some(Err(Error::Timeout)), "that was all");
    check(&w.k);
}

#[test]
fn each_move_of_a_transaction_costs_the_same_however_many_there_are() {
    let cost = |moves: Handle| {
        let mut w = World::new();
        let a = w.child_with(super::world::ACCOUNT, &super::world::sandbox_spec("from", 16, 1024));
        let n = w.notification();
        (1..=moves).for_each(|slot| w.give(n, a, slot, Rights::all()));
        let entries: Vec<Entry> =
            (1..=moves).map(|slot| move_entry((a.cap, slot), (a.cap, 512 + slot))).collect();
        let manager = w.manager;
        let cost = crate::tests::accesses::during(|| assert_eq!(transact(&mut w, manager, &entries), Ok(())));
        check(&w.k);
        cost
    };
    let (few, many) = (cost(16), cost(256));
    assert!(many < few * 16, "16 moves: {few}, 256 moves: {many}");
}

#[test]
fn a_transaction_needs_authority_over_all_that_it_touches() {
    let mut w = World::new();
    let p = pair(&mut w);
    let n = w.notification();
    w.give(p.port, p.client, 20, Rights::all() - Rights::MANAGE);
    w.give(p.endpoint, p.client, 21, Rights::all());
    w.give(p.server.cap, p.client, 22, Rights::all() - Rights::MANAGE);
    w.give(n, p.client, 23, Rights::RECEIVE);
    let refused = [
        switch_entry(20, 21),
        move_entry((22, SERVE), (SELF, 40)),
        move_entry((SELF, 20), (22, 40)),
        entry(EntryKind::Signal, [23, 1, 0, 0]),
    ];
    for entry in refused {
        assert_eq!(transact(&mut w, p.client, &[entry]), Err((0, Error::MissingRights)), "{entry:?}");
    }
    check(&w.k);
}
