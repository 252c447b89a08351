//! Regions: sealing, and what is mapped how.

use super::invariants::{check, pages};
use super::world::{Actor, World};
use crate::machine::Machine;
use hic_abi::object::SealSpec;
use hic_abi::syscall::Syscall;
use hic_abi::{Error, Handle, ObjectType, PAGE_SIZE, Plain, Rights, SELF, USER_BASE};

const RWX: Rights = Rights::READ.union(Rights::WRITE).union(Rights::EXECUTE);

fn seal(w: &mut World, region: Handle, spec: SealSpec) -> Result<(), Error> {
    let address = w.put(w.manager, spec.as_bytes());
    let args = [region.into(), address, 0, 0, 0];
    w.sys(w.manager, Syscall::RegionSeal, args).expect("does not block").map(|_| ())
}

fn map(w: &mut World, child: Actor, region: Handle, rights: Rights) -> Result<u64, Error> {
    let args = [child.cap.into(), region.into(), rights.bits().into(), 0, 0];
    w.sys(w.manager, Syscall::RegionMap, args).expect("does not block").map(|(address, _)| address)
}

/// What a sandbox may do with page `n` of a region: (writable, executable).
fn access(w: &World, child: Actor, address: u64, page: u64) -> Option<(bool, bool)> {
    let at = address - USER_BASE + page * PAGE_SIZE;
    pages(&w.k, child.sandbox).into_iter().find(|p| p.0 == at).map(|(_, write, execute)| (write, execute))
}

const SEAL: SealSpec = SealSpec { read_only: 1, execute: 2, guard: 4 };

#[test]
fn memory_that_was_given_back_is_zero_before_anybody_gets_it_again() {
    let mut w = World::new();
    let pages = w.k.frames.largest_free() / 2 + 1;
    let (region, address) = w.region(pages);
    w.k.machine.write(address - USER_BASE + (pages - 1) * PAGE_SIZE, &[0xa5; 64]);
    w.ok(w.manager, Syscall::Destroy, [SELF.into(), region.into(), 0, 0, 0]);
    assert_eq!(w.k.frames.dirty_count(), pages, "the call did not zero it all");
    check(&w.k);
    // No other block is as large.
    let (_, again) = w.region(pages);
    assert_eq!(again, address);
    assert!(w.k.machine.bytes(again - USER_BASE, pages * PAGE_SIZE).iter().all(|byte| *byte == 0));
    check(&w.k);
}

#[test]
fn an_unsealed_region_is_never_executable() {
    let mut w = World::new();
    let child = w.child();
    let (region, address) = w.region(2);
    assert_eq!(map(&mut w, child, region, RWX), Ok(address));
    assert_eq!(access(&w, child, address, 0), Some((true, false)));
    check(&w.k);
}

#[test]
fn a_sealed_region_is_readable_then_executable_then_writable_with_a_hole_at_the_guard() {
    let mut w = World::new();
    let child = w.child();
    let (region, address) = w.region(6);
    seal(&mut w, region, SEAL).expect("sealed");
    map(&mut w, child, region, RWX).expect("mapped");
    let found: [_; 6] = core::array::from_fn(|n| access(&w, child, address, n as u64));
    let (read, execute, write) = (Some((false, false)), Some((false, true)), Some((true, false)));
    assert_eq!(found, [read, execute, execute, write, None, write]);
    check(&w.k);
}

#[test]
fn without_the_execute_right_sealed_code_is_only_readable() {
    let mut w = World::new();
    let child = w.child();
    let (region, address) = w.region(6);
    seal(&mut w, region, SEAL).expect("sealed");
    map(&mut w, child, region, Rights::READ | Rights::WRITE).expect("mapped");
    assert_eq!(access(&w, child, address, 1), Some((false, false)));
}

#[test]
fn sealing_is_refused_while_the_region_is_mapped_and_a_second_time() {
    let mut w = World::new();
    let child = w.child();
    let (region, _) = w.region(6);
    map(&mut w, child, region, Rights::READ).expect("mapped");
    assert_eq!(seal(&mut w, region, SEAL), Err(Error::Mapped));
    w.ok(w.manager, Syscall::RegionUnmap, [child.cap.into(), region.into(), 0, 0, 0]);
    assert_eq!(seal(&mut w, region, SEAL), Ok(()));
    assert_eq!(seal(&mut w, region, SEAL), Err(Error::WrongState));
}

#[test]
fn a_seal_that_does_not_fit_is_refused() {
    let mut w = World::new();
    let (region, _) = w.region(6);
    let bad = [(7, 0, 0), (3, 4, 0), (u64::MAX, 1, 0), (1, 2, 2), (1, 2, 6), (1, 2, u64::MAX)];
    for (read_only, execute, guard) in bad {
        let spec = SealSpec { read_only, execute, guard };
        assert_eq!(seal(&mut w, region, spec), Err(Error::InvalidArgument), "{spec:?}");
    }
}

#[test]
fn a_mapping_has_no_more_rights_than_the_capability() {
    let mut w = World::new();
    let (child, (region, _)) = (w.child(), w.region(1));
    w.give(region, child, 3, Rights::READ);
    w.give(region, child, 4, Rights::WRITE);
    let refused = |w: &mut World, slot, rights: Rights| {
        w.refused(child, Syscall::RegionMap, [SELF.into(), slot, rights.bits().into(), 0, 0])
    };
    assert_eq!(refused(&mut w, 3, Rights::READ | Rights::WRITE), Error::MissingRights);
    assert_eq!(refused(&mut w, 4, Rights::WRITE), Error::MissingRights, "who cannot read maps nothing");
    check(&w.k);
}

#[test]
fn a_region_is_not_mapped_twice_in_one_sandbox() {
    let mut w = World::new();
    let (child, (region, _)) = (w.child(), w.region(1));
    map(&mut w, child, region, Rights::READ).expect("mapped");
    assert_eq!(map(&mut w, child, region, Rights::READ | Rights::WRITE), Err(Error::Mapped));
    check(&w.k);
}

#[test]
fn every_sandbox_sees_a_region_at_the_same_address() {
    let mut w = World::new();
    let (a, b, (region, address)) = (w.child(), w.child(), w.region(1));
    assert_eq!(map(&mut w, a, region, Rights::READ), Ok(address));
    assert_eq!(map(&mut w, b, region, Rights::READ), Ok(address));
    let info = w.sys(w.manager, Syscall::RegionInfo, [region.into(), 0, 0, 0, 0]);
    assert_eq!(info, Some(Ok((address, PAGE_SIZE))));
}

#[test]
fn new_memory_is_zero_whoever_had_it_before() {
    let mut w = World::new();
    let (region, address) = w.region(4);
    w.k.machine.bytes_mut(address - USER_BASE, 4 * PAGE_SIZE).fill(0xee);
    w.ok(w.manager, Syscall::Destroy, [0, region.into(), 0, 0, 0]);
    let (_, again) = w.region(4);
    assert_eq!(again, address);
    assert!(w.k.machine.bytes(again - USER_BASE, 4 * PAGE_SIZE).iter().all(|&b| b == 0));
}

#[test]
fn regions_of_impossible_sizes_are_refused() {
    let mut w = World::new();
    for (bytes, why) in [
        (0, Error::InvalidArgument),
        (u64::MAX, Error::InvalidArgument),
        ((1 << 30) + 1, Error::InvalidArgument),
        (1 << 30, Error::NoMemory),
    ] {
        let args = [1, ObjectType::Region as u64, 500, bytes, 0];
        assert_eq!(w.refused(w.manager, Syscall::Create, args), why, "{bytes}");
    }
    check(&w.k);
}

#[test]
fn the_kernel_reads_and_writes_for_a_caller_only_what_the_caller_could() {
    let mut w = World::new();
    let child = w.child();
    let (region, address) = w.region(1);
    let log = |w: &mut World, at, bytes| w.sys(child, Syscall::LogWrite, [0, at, bytes, 0, 0]);
    assert_eq!(log(&mut w, address, 4), Some(Err(Error::BadAddress)), "mapped nowhere");
    map(&mut w, child, region, Rights::READ).expect("mapped");
    assert!(matches!(log(&mut w, address, 4), Some(Ok(_))));
    let wild =
        [0, 8, USER_BASE - 1, address + PAGE_SIZE - 2, 2 * USER_BASE, u64::MAX - 1, 0xffff_8000_0000_0000];
    for at in wild {
        assert_eq!(log(&mut w, at, 4), Some(Err(Error::BadAddress)), "{at:#x}");
    }
    w.give(super::world::ENTROPY, child, 3, Rights::READ);
    let random = w.sys(child, Syscall::Entropy, [3, address, 8, 0, 0]);
    assert_eq!(random, Some(Err(Error::BadAddress)), "the page is read-only there");
}
