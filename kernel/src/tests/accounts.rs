//! Who pays, what it costs, and that it comes back.

use super::invariants::{check, nothing_is_left};
use super::world::{ACCOUNT, World, sandbox_spec};
use hic_abi::object::AccountSpec;
use hic_abi::syscall::Syscall;
use hic_abi::{Error, ObjectType, PAGE_SIZE, Plain, SELF, name_bytes};

#[test]
fn an_account_never_goes_over_its_frames() {
    let mut w = World::new();
    let account = w.account(ACCOUNT, 10, 10);
    let (region, _) = w.create_on(account, ObjectType::Region, 8 * PAGE_SIZE, 0);
    let more = [account.into(), ObjectType::Region as u64, 500, 3 * PAGE_SIZE, 0];
    assert_eq!(w.refused(w.manager, Syscall::Create, more), Error::NoMemory);
    assert_eq!(w.usage(account), (8, 1));
    w.ok(w.manager, Syscall::Destroy, [0, region.into(), 0, 0, 0]);
    assert_eq!(w.usage(account), (0, 0));
    check(&w.k);
}

/// Lines of the log begin with a name.
#[test]
fn a_name_that_would_forge_lines_of_the_log_is_refused() {
    let mut w = World::new();
    let slot = w.slot();
    for bad in ["a\n[    1.0] core-0: all is well", "\u{1b}[2J", "a\rb", "a\u{9b}2J", "a\u{7f}"] {
        let account = AccountSpec { frames: 1, objects: 1, name: name_bytes(bad) };
        let sandbox = sandbox_spec(bad, 16, 64);
        for (kind, spec) in
            [(ObjectType::Account, account.as_bytes()), (ObjectType::Sandbox, sandbox.as_bytes())]
        {
            let at = w.put(w.manager, spec);
            let args = [ACCOUNT.into(), kind as u64, slot.into(), at, 0];
            assert_eq!(w.refused(w.manager, Syscall::Create, args), Error::InvalidArgument, "{bad:?}");
        }
    }
    w.child_with(ACCOUNT, &sandbox_spec("größer als 32 Zeichen: ja, sogar", 16, 64));
    check(&w.k);
}

#[test]
fn an_account_never_goes_over_its_objects() {
    let mut w = World::new();
    let account = w.account(ACCOUNT, 10, 2);
    w.create_on(account, ObjectType::Endpoint, 0, 0);
    w.create_on(account, ObjectType::Notification, 0, 0);
    let more = [account.into(), ObjectType::Notification as u64, 500, 0, 0];
    assert_eq!(w.refused(w.manager, Syscall::Create, more), Error::NoMemory);
    check(&w.k);
}

#[test]
fn a_child_account_takes_its_limits_from_its_parent_and_gives_them_back() {
    let mut w = World::new();
    let parent = w.account(ACCOUNT, 100, 100);
    let child = w.account(parent, 60, 10);
    let spec = AccountSpec { frames: 41, objects: 1, name: name_bytes("greedy") };
    let address = w.put(w.manager, spec.as_bytes());
    let args = [parent.into(), ObjectType::Account as u64, 500, address, 0];
    assert_eq!(w.refused(w.manager, Syscall::Create, args), Error::NoMemory);
    w.ok(w.manager, Syscall::Destroy, [0, child.into(), 0, 0, 0]);
    w.put(w.manager, spec.as_bytes());
    w.ok(w.manager, Syscall::Create, args);
    check(&w.k);
}

#[test]
fn an_account_that_still_pays_for_something_is_not_destroyed() {
    let mut w = World::new();
    let account = w.account(ACCOUNT, 10, 10);
    let (region, _) = w.create_on(account, ObjectType::Region, PAGE_SIZE, 0);
    assert_eq!(w.refused(w.manager, Syscall::Destroy, [0, account.into(), 0, 0, 0]), Error::WrongState);
    w.ok(w.manager, Syscall::CapDelete, [0, region.into(), 0, 0, 0]);
    w.ok(w.manager, Syscall::Destroy, [0, account.into(), 0, 0, 0]);
    check(&w.k);
}

#[test]
fn an_account_without_a_name_ends_with_its_last_charge_and_its_parent_after_it() {
    let mut w = World::new();
    let accounts = w.k.accounts.live();
    let parent = w.account(ACCOUNT, 100, 100);
    let child = w.account(parent, 50, 50);
    let (region, _) = w.create_on(child, ObjectType::Region, PAGE_SIZE, 0);
    w.ok(w.manager, Syscall::CapDelete, [0, parent.into(), 0, 0, 0]);
    w.ok(w.manager, Syscall::CapDelete, [0, child.into(), 0, 0, 0]);
    assert_eq!(w.k.accounts.live(), accounts + 2, "they still pay for the region");
    w.ok(w.manager, Syscall::CapDelete, [0, region.into(), 0, 0, 0]);
    assert_eq!(w.k.accounts.live(), accounts);
    check(&w.k);
}

#[test]
fn destroying_a_sandbox_returns_exactly_what_it_was_charged() {
    let mut w = World::new();
    let account = w.account(ACCOUNT, 200, 50);
    for _ in 0..3 {
        let child = w.child_with(account, &sandbox_spec("child", 16, 256));
        let (frames, objects) = w.usage(account);
        // Root table, three lower tables, 256 slots, two pages of memory; sandbox, region, thread.
        assert_eq!((frames, objects), (1 + 3 + 4 + 2, 3));
        w.ok(w.manager, Syscall::Destroy, [0, child.cap.into(), 0, 0, 0]);
        assert_eq!(w.usage(account), (2, 1), "its memory belongs to whoever holds the region");
        w.ok(w.manager, Syscall::Destroy, [0, child.region.into(), 0, 0, 0]);
        assert_eq!(w.usage(account), (0, 0));
        check(&w.k);
    }
    nothing_is_left(w.k);
}

#[test]
fn unmapping_returns_the_page_tables() {
    let mut w = World::new();
    let account = w.account(ACCOUNT, 64, 10);
    let cap = w.sandbox(account, &sandbox_spec("empty", 1, 64));
    let (region, _) = w.region(700);
    let before = w.usage(account).0;
    w.ok(w.manager, Syscall::RegionMap, [cap.into(), region.into(), 3, 0, 0]);
    assert_eq!(w.usage(account).0, before + 3, "a large page and a table below two others");
    w.ok(w.manager, Syscall::RegionUnmap, [cap.into(), region.into(), 0, 0, 0]);
    assert_eq!(w.usage(account).0, before);
    check(&w.k);
}

#[test]
fn a_mapping_that_the_account_cannot_pay_leaves_no_trace() {
    let mut w = World::new();
    let (region, _) = w.region(700);
    for spare in 0..3 {
        let account = w.account(ACCOUNT, 2 + spare, 10);
        let cap = w.sandbox(account, &sandbox_spec("poor", 1, 64));
        let args = [cap.into(), region.into(), 3, 0, 0];
        assert_eq!(w.refused(w.manager, Syscall::RegionMap, args), Error::NoMemory, "{spare} to spare");
        assert_eq!(w.usage(account).0, 2);
        check(&w.k);
    }
}

#[test]
fn ports_endpoints_and_notifications_cost_one_object_each_and_give_it_back() {
    let mut w = World::new();
    let account = w.account(ACCOUNT, 0, 10);
    let (endpoint, _) = w.create_on(account, ObjectType::Endpoint, 0, 0);
    let (port, _) = w.create_on(account, ObjectType::Port, endpoint.into(), 1);
    let (notification, _) = w.create_on(account, ObjectType::Notification, 0, 0);
    assert_eq!(w.usage(account), (0, 3));
    for slot in [endpoint, port, notification] {
        w.ok(w.manager, Syscall::Destroy, [SELF.into(), slot.into(), 0, 0, 0]);
    }
    assert_eq!(w.usage(account), (0, 0));
    check(&w.k);
}

#[test]
fn a_refused_sandbox_costs_nothing() {
    let mut w = World::new();
    let account = w.account(ACCOUNT, 4, 10);
    let bad = [sandbox_spec("odd", 1, 65), sandbox_spec("high", 32, 64), sandbox_spec("big", 1, 4096)];
    for (spec, why) in bad.iter().zip([Error::InvalidArgument, Error::InvalidArgument, Error::NoMemory]) {
        let address = w.put(w.manager, spec.as_bytes());
        let args = [account.into(), ObjectType::Sandbox as u64, 500, address, 0];
        assert_eq!(w.refused(w.manager, Syscall::Create, args), why);
        assert_eq!(w.usage(account), (0, 0));
    }
    check(&w.k);
}

/// With the last thing that the last of them pays for, all of them end: there are no more than one entry may end.
#[test]
fn accounts_lie_within_each_other_to_a_depth_and_no_further() {
    let mut w = World::new();
    let mut chain = std::vec![ACCOUNT];
    for _ in 0..crate::config::MAX_ACCOUNT_DEPTH {
        let parent = *chain.last().expect("one");
        let objects = 200 - 2 * chain.len() as u64;
        chain.push(w.account(parent, 0, objects));
    }
    let (deepest, slot) = (*chain.last().expect("one"), w.slot());
    let spec = w.put(w.manager, AccountSpec { frames: 0, objects: 0, name: [0; 32] }.as_bytes());
    let args = [deepest.into(), ObjectType::Account as u64, slot.into(), spec, 0];
    assert_eq!(w.refused(w.manager, Syscall::Create, args), Error::InvalidArgument);
    let (last, _) = w.create_on(deepest, ObjectType::Notification, 0, 0);
    let live = w.k.accounts.live();
    for account in &chain[1..] {
        w.ok(w.manager, Syscall::CapDelete, [0, (*account).into(), 0, 0, 0]);
    }
    assert_eq!(w.k.accounts.live(), live, "each pays for something");
    super::longcalls::short(|| {
        w.ok(w.manager, Syscall::CapDelete, [0, last.into(), 0, 0, 0]);
    });
    assert_eq!(w.k.accounts.live(), live - crate::config::MAX_ACCOUNT_DEPTH);
    check(&w.k);
}
