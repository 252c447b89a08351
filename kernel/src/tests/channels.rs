//! Private memory between two instances: who maps it, who learns who is there, and how it ends.

use super::invariants::{check, pages};
use super::world::{ACCOUNT, Actor, DEVICE, World};
use crate::channel::identity;
use hic_abi::object::{ChannelSpec, SealSpec};
use hic_abi::syscall::Syscall;
use hic_abi::{Error, Handle, ObjectType, PAGE_SIZE, Plain, Rights, SELF, USER_BASE};

const BOTH: Rights = Rights::READ.union(Rights::WRITE);
/// Slot of the channel at each end, and in the hands of others.
const CHANNEL: Handle = 20;

fn create(w: &mut World, who: Actor, slot: Handle, ends: [u64; 2]) -> [u64; 5] {
    let spec = w.put(who, ChannelSpec { ends }.as_bytes());
    [ACCOUNT.into(), ObjectType::Region as u64, slot.into(), 2 * PAGE_SIZE, spec]
}

fn map(who: Handle) -> [u64; 5] {
    [who.into(), CHANNEL.into(), BOTH.bits().into(), 0, 0]
}

/// Two instances with a channel, which the manager made; its slot there.
fn channel(w: &mut World) -> (Actor, Actor, Handle) {
    let (old, new, slot) = (w.child(), w.child(), w.slot());
    let manager = w.manager;
    let args = create(w, manager, slot, [old.cap.into(), new.cap.into()]);
    w.ok(manager, Syscall::Create, args);
    for end in [old, new] {
        w.give(slot, end, CHANNEL, BOTH | Rights::COPY);
    }
    (old, new, slot)
}

fn peer(w: &mut World, who: Actor, whose: u64) -> (u64, u64) {
    let answer = w.sys(who, Syscall::RegionInfo, [CHANNEL.into(), whose, 0, 0, 0]);
    answer.expect("an answer").expect("an end asks")
}

#[test]
fn both_ends_map_a_channel_and_learn_who_the_other_is() {
    let mut w = World::new();
    let (old, new, _) = channel(&mut w);
    let at = w.ok(old, Syscall::RegionMap, map(SELF));
    assert_eq!(w.ok(new, Syscall::RegionMap, map(SELF)), at);
    let serial = |w: &World, who: Actor| w.k.sandboxes[who.sandbox].serial;
    let (of_old, of_new) = (identity(w.k.boot, serial(&w, old)), identity(w.k.boot, serial(&w, new)));
    assert_ne!(of_old, of_new);
    assert_eq!((peer(&mut w, old, 1), peer(&mut w, old, 2)), (of_new, of_old));
    assert_eq!((peer(&mut w, new, 1), peer(&mut w, new, 2)), (of_old, of_new));
    check(&w.k);
}

#[test]
fn nobody_but_the_two_ends_maps_a_channel_whatever_capability_it_has() {
    let mut w = World::confined();
    let (old, _, slot) = channel(&mut w);
    let third = w.child();
    w.give(slot, third, CHANNEL, Rights::all());
    assert_eq!(w.refused(third, Syscall::RegionMap, map(SELF)), Error::MissingRights, "a third instance");
    let mine = [SELF.into(), slot.into(), BOTH.bits().into(), 0, 0];
    assert_eq!(w.refused(w.manager, Syscall::RegionMap, mine), Error::MissingRights, "who made it");
    let theirs = [third.cap.into(), slot.into(), BOTH.bits().into(), 0, 0];
    assert_eq!(w.refused(w.manager, Syscall::RegionMap, theirs), Error::MissingRights, "by its maker");
    let card = [DEVICE.into(), slot.into(), BOTH.bits().into(), 0, 0];
    assert_eq!(w.refused(w.manager, Syscall::RegionMap, card), Error::MissingRights, "a device");
    w.ok(old, Syscall::RegionMap, map(SELF));
    check(&w.k);
}

#[test]
fn an_instance_that_takes_the_place_of_an_end_is_not_that_end() {
    let mut w = World::new();
    let (old, new, slot) = channel(&mut w);
    w.ok(w.manager, Syscall::Destroy, [SELF.into(), old.cap.into(), 0, 0, 0]);
    let other = w.child();
    assert_eq!(other.sandbox, old.sandbox, "the same place in the kernel's table");
    w.give(slot, other, CHANNEL, BOTH);
    assert_eq!(w.refused(other, Syscall::RegionMap, map(SELF)), Error::MissingRights);
    w.ok(new, Syscall::RegionMap, map(SELF));
    check(&w.k);
}

#[test]
fn an_end_that_is_started_again_is_the_same_end() {
    let mut w = World::new();
    let (old, new, _) = channel(&mut w);
    let before = peer(&mut w, new, 1);
    w.ok(w.manager, Syscall::SandboxFreeze, [old.cap.into(), 0, 0, 0, 0]);
    w.ok(w.manager, Syscall::SandboxReset, [old.cap.into(), 0, 0, 0, 0]);
    let old = Actor { thread: w.thread(ACCOUNT, old), ..old };
    w.ok(old, Syscall::RegionMap, map(SELF));
    assert_eq!((peer(&mut w, new, 1), peer(&mut w, old, 2)), (before, before));
}

#[test]
fn only_an_end_learns_who_is_there() {
    let mut w = World::new();
    let (old, _, slot) = channel(&mut w);
    let third = w.child();
    w.give(slot, third, CHANNEL, Rights::all());
    let ask = |slot: Handle, whose: u64| [slot.into(), whose, 0, 0, 0];
    for whose in [1, 2] {
        assert_eq!(w.refused(third, Syscall::RegionInfo, ask(CHANNEL, whose)), Error::MissingRights);
        assert_eq!(w.refused(w.manager, Syscall::RegionInfo, ask(slot, whose)), Error::MissingRights);
    }
    assert_eq!(w.refused(old, Syscall::RegionInfo, ask(CHANNEL, 3)), Error::InvalidArgument);
    let (plain, _) = w.region(1);
    assert_eq!(w.refused(w.manager, Syscall::RegionInfo, ask(plain, 1)), Error::WrongState, "no channel");
}

#[test]
fn a_channel_is_made_by_who_has_authority_over_both_ends() {
    let mut w = World::new();
    let (one, other) = (w.child(), w.child());
    let account = 30;
    w.give(ACCOUNT, one, account, Rights::all());
    w.give(other.cap, one, 31, Rights::READ);
    let mut try_it = |who: Actor, ends: [u64; 2]| {
        let mut args = create(&mut w, who, 40, ends);
        args[0] = if who.sandbox == one.sandbox { account.into() } else { args[0] };
        w.refused(who, Syscall::Create, args)
    };
    assert_eq!(try_it(one, [SELF.into(), 31]), Error::MissingRights, "no authority over the other");
    assert_eq!(try_it(one, [SELF.into(), 33]), Error::InvalidHandle);
    assert_eq!(try_it(one, [SELF.into(), account.into()]), Error::WrongType);
    assert_eq!(try_it(one, [SELF.into(), SELF.into()]), Error::InvalidArgument, "with itself");
    assert_eq!(try_it(one, [SELF.into(), 1 << 32 | 31]), Error::InvalidHandle, "beyond a handle");
    let nowhere = [ACCOUNT.into(), ObjectType::Region as u64, 500, PAGE_SIZE, 8];
    assert_eq!(w.refused(w.manager, Syscall::Create, nowhere), Error::BadAddress);
    check(&w.k);
}

#[test]
fn a_channel_that_is_taken_back_is_gone_from_both_ends_and_its_memory_is_empty() {
    for revoke in [true, false] {
        let mut w = World::new();
        let before = w.usage(ACCOUNT);
        let (old, new, slot) = channel(&mut w);
        let at = [old, new].map(|end| w.ok(end, Syscall::RegionMap, map(SELF)) - USER_BASE)[0];
        let reached = |w: &World, end: Actor| pages(&w.k, end.sandbox).iter().any(|page| page.0 == at);
        assert!(reached(&w, old) && reached(&w, new));
        let call = if revoke { Syscall::CapRevoke } else { Syscall::Destroy };
        w.ok(w.manager, call, [SELF.into(), slot.into(), 0, 0, 0]);
        for end in [old, new] {
            assert_eq!(w.refused(end, Syscall::RegionMap, map(SELF)), Error::InvalidHandle);
            assert!(!reached(&w, end), "its pages are mapped");
            let ask = [CHANNEL.into(), 1, 0, 0, 0];
            assert_eq!(w.refused(end, Syscall::RegionInfo, ask), Error::InvalidHandle);
        }
        for victim in [old.cap, new.cap, slot] {
            let _ = w.sys(w.manager, Syscall::Destroy, [SELF.into(), victim.into(), 0, 0, 0]);
        }
        for region in [old.region, new.region] {
            w.ok(w.manager, Syscall::Destroy, [SELF.into(), region.into(), 0, 0, 0]);
        }
        assert_eq!(w.usage(ACCOUNT), before, "everything it cost came back");
        check(&w.k);
    }
}

#[test]
fn a_channel_never_holds_code() {
    let mut w = World::new();
    let (_, _, slot) = channel(&mut w);
    let spec = w.put(w.manager, SealSpec { read_only: 0, execute: 1, guard: 0 }.as_bytes());
    assert_eq!(w.refused(w.manager, Syscall::RegionSeal, [slot.into(), spec, 0, 0, 0]), Error::WrongState);
}

#[test]
fn an_identity_is_a_uuid_that_tells_boots_and_instances_apart() {
    let (high, low) = identity(0x0123_4567_89ab_cdef, 42);
    assert_eq!((high, low), (0x0123_4567_89ab_8def, 0x8000_0000_0000_002a));
    assert_ne!(identity(1, 42), identity(2, 42));
    assert_ne!(identity(1, 42), identity(1, 43));
}
