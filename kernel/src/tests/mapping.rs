//! How long a mapping lasts: while the sandbox that it is in, or the one that made it, has a capability on the region.

use super::invariants::check;
use super::world::{ACCOUNT, Actor, CLOCK, World, sandbox_spec};
use hic_abi::object::SealSpec;
use hic_abi::syscall::Syscall;
use hic_abi::{Error, Handle, PAGE_SIZE, Plain, Rights, SELF, USER_BASE};
use std::vec::Vec;

fn map(w: &mut World, who: Actor, space: Handle, region: Handle) {
    w.ok(who, Syscall::RegionMap, [space.into(), region.into(), Rights::READ.bits().into(), 0, 0]);
}

fn map_by_manager(w: &mut World, space: Handle, region: Handle) {
    let manager = w.manager;
    map(w, manager, space, region);
}

fn sees(w: &mut World, who: Actor, address: u64) -> bool {
    matches!(w.sys(who, Syscall::LogWrite, [0, address, 4, 0, 0]), Some(Ok(_)))
}

#[test]
fn revoking_a_region_unmaps_it_in_every_holder() {
    let mut w = World::new();
    let (a, b, (region, address)) = (w.child(), w.child(), w.region(3));
    for child in [a, b] {
        w.give(region, child, 3, Rights::READ | Rights::COPY);
        map(&mut w, child, SELF, 3);
        assert!(sees(&mut w, child, address));
    }
    w.ok(w.manager, Syscall::CapRevoke, [0, region.into(), 0, 0, 0]);
    assert!(!sees(&mut w, a, address) && !sees(&mut w, b, address));
    check(&w.k);
}

#[test]
fn a_sandbox_keeps_a_mapping_while_it_has_any_capability_on_the_region() {
    let mut w = World::new();
    let (a, (region, address)) = (w.child(), w.region(1));
    w.give(region, a, 3, Rights::READ);
    w.give(region, a, 4, Rights::READ);
    map(&mut w, a, SELF, 3);
    w.ok(a, Syscall::CapDelete, [0, 3, 0, 0, 0]);
    assert!(sees(&mut w, a, address));
    w.ok(a, Syscall::CapDelete, [0, 4, 0, 0, 0]);
    assert!(!sees(&mut w, a, address));
    check(&w.k);
}

const BOTH: Rights = Rights::READ.union(Rights::WRITE);

/// A child that may read a region for good, and the manager's slot of a copy from which the child's right to write derives.
fn writer(w: &mut World) -> (Actor, Handle, Handle, u64) {
    let (child, (region, address), between) = (w.child(), w.region(1), w.slot());
    w.give(region, child, 3, Rights::READ);
    w.keep(region, between, BOTH | Rights::COPY);
    w.give(between, child, 4, BOTH);
    (child, region, between, address)
}

fn may_write(w: &World, child: Actor, address: u64) -> bool {
    w.k.user_range(child.sandbox, address, 1, true).is_ok()
}

#[test]
fn the_right_to_write_ends_with_the_last_capability_that_has_it() {
    let mut w = World::new();
    let (child, _, between, address) = writer(&mut w);
    w.give(between, child, 5, BOTH | Rights::EXECUTE);
    w.ok(child, Syscall::RegionMap, [SELF.into(), 4, BOTH.bits().into(), 0, 0]);
    w.ok(child, Syscall::CapDelete, [0, 4, 0, 0, 0]);
    assert!(may_write(&w, child, address), "another one allows as much");
    w.ok(w.manager, Syscall::CapRevoke, [0, between.into(), 0, 0, 0]);
    assert!(!may_write(&w, child, address));
    map(&mut w, child, SELF, 3);
    assert!(sees(&mut w, child, address), "what it still may it can have again");
    check(&w.k);
}

#[test]
fn a_weaker_capability_is_no_reason_to_end_a_mapping() {
    let mut w = World::new();
    let (child, _, _, address) = writer(&mut w);
    w.ok(child, Syscall::RegionMap, [SELF.into(), 4, BOTH.bits().into(), 0, 0]);
    w.ok(child, Syscall::CapDelete, [0, 3, 0, 0, 0]);
    assert!(may_write(&w, child, address));
    check(&w.k);
}

#[test]
fn a_child_that_may_only_read_does_not_inherit_its_managers_right_to_write() {
    for moved in [false, true] {
        let mut w = World::new();
        let (child, other, (region, address)) = (w.child(), w.child(), w.region(1));
        w.give(region, child, 3, Rights::READ);
        w.ok(w.manager, Syscall::RegionMap, [child.cap.into(), region.into(), BOTH.bits().into(), 0, 0]);
        assert!(may_write(&w, child, address));
        let call = if moved {
            (Syscall::CapMove, [other.cap.into(), 3, 0, region.into(), 0])
        } else {
            (Syscall::CapDelete, [0, region.into(), 0, 0, 0])
        };
        w.ok(w.manager, call.0, call.1);
        assert!(!may_write(&w, child, address));
        map(&mut w, child, SELF, 3);
        check(&w.k);
    }
}

/// Found by the model: a right that says nothing of mappings was part of what a mapping hung on, so a weaker copy kept it and its end did not end it.
#[test]
fn what_is_mapped_with_other_rights_ends_with_the_last_capability_as_well() {
    let mut w = World::new();
    let (lender, child, (region, address)) = (w.child(), w.child(), w.region(1));
    w.give(region, lender, 3, Rights::all());
    w.give(child.cap, lender, 10, Rights::all());
    w.ok(lender, Syscall::RegionMap, [10, 3, Rights::SEND.bits().into(), 0, 0]);
    w.ok(lender, Syscall::CapCopy, [0, 1, 0, 3, (Rights::all() - Rights::SEND).bits().into()]);
    assert!(sees(&mut w, child, address));
    w.ok(w.manager, Syscall::CapRevoke, [0, region.into(), 0, 0, 0]);
    assert!(!sees(&mut w, child, address));
    check(&w.k);
}

/// Who maps for others may have less afterwards: what it lent with more goes, the rest stays.
#[test]
fn what_was_lent_with_more_than_is_left_ends_and_nothing_else() {
    let mut w = World::new();
    let (lender, a, b, (region, address)) = (w.child(), w.child(), w.child(), w.region(1));
    w.give(region, lender, 3, Rights::READ);
    w.give(region, lender, 4, BOTH);
    for (n, child, rights) in [(10, a, Rights::READ), (11, b, BOTH)] {
        w.give(child.cap, lender, n, Rights::all());
        w.ok(lender, Syscall::RegionMap, [n.into(), 4, rights.bits().into(), 0, 0]);
    }
    w.ok(lender, Syscall::CapDelete, [0, 4, 0, 0, 0]);
    assert!(sees(&mut w, a, address) && !sees(&mut w, b, address));
    check(&w.k);
}

#[test]
fn moving_the_last_capability_away_takes_the_mapping_along() {
    let mut w = World::new();
    let (a, b, (region, address)) = (w.child(), w.child(), w.region(1));
    w.give(region, a, 3, Rights::READ);
    map(&mut w, a, SELF, 3);
    w.ok(w.manager, Syscall::CapMove, [b.cap.into(), 3, a.cap.into(), 3, 0]);
    assert!(!sees(&mut w, a, address));
    check(&w.k);
}

#[test]
fn a_managers_mapping_in_a_child_does_not_hang_on_what_the_child_holds() {
    let mut w = World::new();
    let (a, (region, address)) = (w.child(), w.region(1));
    map_by_manager(&mut w, a.cap, region);
    w.give(region, a, 3, Rights::READ);
    w.ok(a, Syscall::CapDelete, [0, 3, 0, 0, 0]);
    assert!(sees(&mut w, a, address));
    w.ok(w.manager, Syscall::RegionUnmap, [a.cap.into(), region.into(), 0, 0, 0]);
    assert!(!sees(&mut w, a, address));
    check(&w.k);
}

#[test]
fn a_mapping_made_in_a_child_ends_with_the_capability_by_which_it_was_made() {
    let mut w = World::new();
    let (a, b, (region, address)) = (w.child(), w.child(), w.region(1));
    w.give(b.cap, a, 10, Rights::all());
    w.give(region, a, 3, Rights::READ);
    map(&mut w, a, 10, 3);
    assert!(sees(&mut w, b, address));
    w.ok(w.manager, Syscall::CapRevoke, [0, region.into(), 0, 0, 0]);
    assert!(!sees(&mut w, b, address), "a revoked holder keeps no back door");
    check(&w.k);
}

#[test]
fn a_capability_moved_into_the_child_takes_over_the_mapping() {
    let mut w = World::new();
    let (a, (region, address)) = (w.child(), w.region(1));
    map_by_manager(&mut w, a.cap, region);
    w.ok(w.manager, Syscall::CapMove, [a.cap.into(), 3, 0, region.into(), 0]);
    assert!(sees(&mut w, a, address));
    w.ok(a, Syscall::CapDelete, [0, 3, 0, 0, 0]);
    assert!(!sees(&mut w, a, address));
    check(&w.k);
}

#[test]
fn destroying_a_region_unmaps_it_everywhere_and_frees_it() {
    let mut w = World::new();
    let account = w.account(ACCOUNT, 8, 8);
    let (a, b) = (w.child(), w.child());
    let (region, address) = w.create_on(account, hic_abi::ObjectType::Region, 8 * 4096, 0);
    map_by_manager(&mut w, a.cap, region);
    map_by_manager(&mut w, b.cap, region);
    w.ok(w.manager, Syscall::Destroy, [0, region.into(), 0, 0, 0]);
    assert!(!sees(&mut w, a, address) && !sees(&mut w, b, address));
    assert_eq!(w.usage(account), (0, 0));
    check(&w.k);
}

#[test]
fn resetting_a_sandbox_unmaps_all_its_memory() {
    let mut w = World::new();
    let mut a = w.child();
    w.ok(w.manager, Syscall::SandboxFreeze, [a.cap.into(), 0, 0, 0, 0]);
    w.ok(w.manager, Syscall::SandboxReset, [a.cap.into(), 0, 0, 0, 0]);
    assert_eq!(super::invariants::pages(&w.k, a.sandbox), []);
    w.start(ACCOUNT, &mut a);
    check(&w.k);
}

#[test]
fn the_clock_page_is_mapped_read_only_by_a_clock_capability_alone() {
    let mut w = World::new();
    let a = w.child();
    let at = w.ok(w.manager, Syscall::ClockMap, [CLOCK.into(), a.cap.into(), 0, 0, 0]);
    assert_eq!(w.ok(w.manager, Syscall::ClockMap, [CLOCK.into(), a.cap.into(), 0, 0, 0]), at);
    let page = super::invariants::pages(&w.k, a.sandbox).into_iter().find(|p| p.0 == at - hic_abi::USER_BASE);
    assert_eq!(page.map(|(_, write, execute)| (write, execute)), Some((false, false)));
    let (region, _) = w.region(1);
    w.give(region, a, 3, Rights::WRITE);
    assert_eq!(w.refused(a, Syscall::ClockMap, [3, SELF.into(), 0, 0, 0]), Error::WrongType);
    check(&w.k);
}

#[test]
fn a_sandbox_without_threads_can_be_mapped_into_and_destroyed() {
    let mut w = World::new();
    let cap = w.sandbox(ACCOUNT, &sandbox_spec("empty", 1, 64));
    let (region, _) = w.region(5);
    map_by_manager(&mut w, cap, region);
    w.ok(w.manager, Syscall::Destroy, [0, cap.into(), 0, 0, 0]);
    check(&w.k);
}

/// What a child can do with each page of a region: (writable, executable), `None` where nothing is mapped.
fn rights_of_pages(w: &World, child: Actor, address: u64, count: u64) -> Vec<Option<(bool, bool)>> {
    let pages = super::invariants::pages(&w.k, child.sandbox);
    let of =
        |page: u64| pages.iter().find(|p| p.0 == address - USER_BASE + page * PAGE_SIZE).map(|p| (p.1, p.2));
    (0..count).map(of).collect()
}

#[test]
fn an_aligned_region_takes_large_pages_and_leaves_nothing_behind() {
    let mut w = World::new();
    let (child, free) = (w.child(), w.k.frames.free_count());
    let (region, address) = w.region(1024 + 7);
    assert!(address.is_multiple_of(2 << 20), "large regions are aligned");
    let tables = w.k.accounts[0].page_tables;
    let map = [child.cap.into(), region.into(), (Rights::READ | Rights::WRITE).bits().into(), 0, 0];
    w.ok(w.manager, Syscall::RegionMap, map);
    assert!(w.k.accounts[0].page_tables - tables <= 1, "one table for the seven pages beyond the large ones");
    assert!(rights_of_pages(&w, child, address, 1031).iter().all(|page| *page == Some((true, false))));
    assert!(w.k.user_range(child.sandbox, address, 1031 * PAGE_SIZE, true).is_ok());
    assert!(w.k.user_range(child.sandbox, address, 1031 * PAGE_SIZE + 1, true).is_err());
    check(&w.k);
    w.ok(w.manager, Syscall::RegionUnmap, [child.cap.into(), region.into(), 0, 0, 0]);
    assert!(w.k.user_range(child.sandbox, address, 1, false).is_err());
    assert_eq!(w.k.accounts[0].page_tables, tables);
    w.ok(w.manager, Syscall::Destroy, [SELF.into(), region.into(), 0, 0, 0]);
    while w.k.zero_some() {}
    assert_eq!(w.k.frames.free_count(), free);
    check(&w.k);
}

#[test]
fn a_seal_divides_large_pages_where_it_has_to() {
    let pages = 4 * 512;
    for (read_only, execute, guard) in
        [(512, 512, 0), (3, 600, 1500), (0, 0, 1), (1024, 0, 1535), (2047, 1, 0)]
    {
        let mut w = World::new();
        let child = w.child();
        let (region, address) = w.region(pages);
        let seal = SealSpec { read_only, execute, guard };
        let place = w.put(w.manager, seal.as_bytes());
        w.ok(w.manager, Syscall::RegionSeal, [region.into(), place, 0, 0, 0]);
        let rights = Rights::READ | Rights::WRITE | Rights::EXECUTE;
        w.ok(w.manager, Syscall::RegionMap, [child.cap.into(), region.into(), rights.bits().into(), 0, 0]);
        for (page, found) in (0..pages).zip(rights_of_pages(&w, child, address, pages)) {
            let expected = match page {
                _ if page < read_only => Some((false, false)),
                _ if page < read_only + execute => Some((false, true)),
                _ if guard != 0 && page == guard => None,
                _ => Some((true, false)),
            };
            assert_eq!(found, expected, "page {page} of {seal:?}");
        }
        check(&w.k);
    }
}
