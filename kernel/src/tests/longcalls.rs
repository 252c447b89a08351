//! No entry into the kernel is long: what there may be much of is done in parts, with the rest of the system between them (docs/adr/0012).
//!
//! Length is counted in looks at objects and slots, which does not depend on the host.

use super::invariants::{check, nothing_is_left};
use super::sim::SimMachine;
use super::transactions::{move_entry, transact};
use super::world::{ACCOUNT, Actor, SERVE, Send, World, pair, sandbox_spec, word};
use crate::config::ZERO_AT_ONCE;
use crate::kernel::Kernel;
use hic_abi::message::SendCap;
use hic_abi::object::SandboxSpec;
use hic_abi::syscall::Syscall;
use hic_abi::{Error, Handle, Rights, SELF};
use std::vec::Vec;

/// Looks that one entry may take. The longest of those below takes some 2,500; each of them would take tens of thousands if it were done at once.
const LONGEST: u64 = 4_000;

/// Makes one call of the manager, again as often as it asks for it, and then whatever the kernel has left to do. How many entries it took; none is long.
pub fn in_parts(w: &mut World, call: Syscall, args: [u64; 5]) -> usize {
    let thread = w.manager.thread;
    w.k.run_instead(thread);
    let frame = &mut w.k.threads[thread].context.frame;
    (frame.rax, frame.rdi, frame.rsi, frame.rdx, frame.r10, frame.r8) =
        (call as u64, args[0], args[1], args[2], args[3], args[4]);
    let (mut entries, mut more) = (0, true);
    while more {
        entries += 1;
        short(|| more = w.enter_once());
        // What others have to choose a thread for in between goes on with it, too.
        if more && w.k.has_remains() {
            entries += 1;
            dismantle_part(&mut w.k);
        }
    }
    assert_eq!(w.k.threads[thread].context.frame.rax, 0, "the call succeeded");
    more = w.k.has_remains();
    while more {
        entries += 1;
        more = dismantle_part(&mut w.k);
    }
    entries
}

/// Takes apart as much as one entry does; whether something is left.
pub fn dismantle_part(k: &mut Kernel<SimMachine>) -> bool {
    let mut more = false;
    short(|| more = k.dismantle_some());
    more
}

pub fn short(entry: impl FnOnce()) {
    let looks = crate::tests::accesses::during(entry);
    assert!(looks < LONGEST, "{looks} looks in one entry");
}

/// A sandbox with callers queued on some ports, the endpoint and the ports.
fn crowd(w: &mut World, callers: usize) -> (Vec<Actor>, Handle, Vec<Handle>) {
    let p = pair(w);
    let ports: Vec<Handle> = (0..4).map(|badge| w.port(p.endpoint, badge)).collect();
    let big = w.child_with(ACCOUNT, &sandbox_spec("big", 16, 64));
    for (n, port) in ports.iter().enumerate() {
        w.give(*port, big, n as Handle + 1, Rights::SEND);
    }
    let callers = w.threads(big, callers);
    for (n, caller) in callers.iter().enumerate() {
        assert_eq!(w.call(*caller, n as Handle % 4 + 1, word(5)), None, "queued");
    }
    (callers, p.endpoint, ports)
}

fn all_gone(w: &World, callers: &[Actor]) -> bool {
    callers.iter().all(|caller| w.got(*caller) == Some(Err(Error::Gone)))
}

#[test]
fn the_callers_of_an_endpoint_that_ends_are_sent_away_in_parts() {
    let mut w = World::new();
    let (callers, endpoint, ports) = crowd(&mut w, 1000);
    let entries = in_parts(&mut w, Syscall::Destroy, [0, endpoint.into(), 0, 0, 0]);
    assert!(entries > 5 && all_gone(&w, &callers), "{entries} entries");
    assert_eq!(w.refused(callers[0], Syscall::Call, [1, 0, 0, 0, 0]), Error::Gone);
    // The ports are as good as before: they can lead elsewhere.
    let other = w.endpoint();
    w.ok(w.manager, Syscall::PortSwitch, [ports[0].into(), other.into(), 0, 0, 0]);
    assert_eq!(w.call(callers[0], 1, word(6)), None, "queued");
    check(&w.k);
    nothing_is_left(w.k);
}

#[test]
fn the_callers_of_a_port_that_ends_are_sent_away_in_parts() {
    let mut w = World::new();
    let (callers, _, ports) = crowd(&mut w, 1000);
    let live = w.k.ports.live();
    let entries = in_parts(&mut w, Syscall::Destroy, [0, ports[0].into(), 0, 0, 0]);
    let (of_it, others): (Vec<_>, Vec<_>) = callers.iter().enumerate().partition(|(n, _)| n % 4 == 0);
    let of_it: Vec<Actor> = of_it.into_iter().map(|(_, caller)| *caller).collect();
    assert!(entries > 2 && all_gone(&w, &of_it), "{entries} entries");
    assert!(others.iter().all(|(_, caller)| w.got(**caller).is_none()), "nobody else is");
    assert_eq!(w.k.ports.live(), live - 1);
    check(&w.k);
    nothing_is_left(w.k);
}

/// Halfway, no handle reaches the port any more, and callers may leave it by themselves.
#[test]
fn a_port_that_is_ending_is_out_of_reach_and_can_be_left() {
    let mut w = World::new();
    let (callers, _, ports) = crowd(&mut w, 1000);
    let kept = w.slot();
    w.ok(w.manager, Syscall::CapCopy, [0, kept.into(), 0, ports[0].into(), u64::MAX]);
    w.ok(w.manager, Syscall::Destroy, [0, ports[0].into(), 0, 0, 0]);
    assert!(w.k.has_remains(), "it was done at once: nothing to look at");
    for call in [Syscall::PortSwitch, Syscall::Destroy, Syscall::Call] {
        assert_eq!(w.refused(w.manager, call, [kept.into(), kept.into(), 0, 0, 0]), Error::InvalidHandle);
    }
    assert_eq!(w.refused(callers[0], Syscall::Call, [1, 0, 0, 0, 0]), Error::InvalidHandle);
    let big = w.k.threads[callers[0].thread].sandbox;
    let last = callers.iter().rev().find(|caller| w.got(**caller).is_none()).expect("still queued");
    w.k.timed_out(last.thread);
    assert_eq!(w.got(*last), Some(Err(Error::Timeout)));
    w.k.freeze(big, [1, 2, 3, 4]);
    while w.k.dismantle_some() {}
    check(&w.k);
    nothing_is_left(w.k);
}

/// Callers whose endpoint ended can be saved by a switch as long as they are not sent away.
#[test]
fn a_port_whose_endpoint_is_ending_takes_its_callers_elsewhere() {
    let mut w = World::new();
    let (callers, endpoint, ports) = crowd(&mut w, 1000);
    let (last, other) = (ports[3], w.endpoint());
    w.ok(w.manager, Syscall::Destroy, [0, endpoint.into(), 0, 0, 0]);
    assert_eq!(w.got(callers[3]), None, "still queued");
    w.ok(w.manager, Syscall::PortSwitch, [last.into(), other.into(), 0, 0, 0]);
    while w.k.dismantle_some() {}
    let saved = callers.iter().filter(|caller| w.got(**caller).is_none()).count();
    assert_eq!(saved, 250, "the callers of the port that was switched");
    assert_eq!(w.receive(w.manager, other).expect("queued").expect("a message").badge, 3);
    check(&w.k);
    nothing_is_left(w.k);
}

#[test]
fn a_sandbox_with_many_threads_is_reset_in_parts() {
    let mut w = World::new();
    let big = w.child();
    w.threads(big, 1000);
    w.ok(w.manager, Syscall::SandboxFreeze, [big.cap.into(), 9, 0, 0, 0]);
    let entries = in_parts(&mut w, Syscall::SandboxReset, [big.cap.into(), 0, 0, 0, 0]);
    assert!(entries > 10, "{entries} entries");
    let sandbox = &w.k.sandboxes[big.sandbox];
    assert!(sandbox.threads.is_empty() && sandbox.mappings.is_empty() && !sandbox.frozen);
    check(&w.k);
    nothing_is_left(w.k);
}

/// Children in each of which the manager mapped one region of its own; they hold no capability on it.
fn mapped_in_many(w: &mut World, pages: u64, children: usize) -> Handle {
    let (region, _) = w.region(pages);
    let small: SandboxSpec = sandbox_spec("small", 16, 64);
    for _ in 0..children {
        let child = w.sandbox(ACCOUNT, &small);
        w.ok(w.manager, Syscall::RegionMap, [child.into(), region.into(), 3, 0, 0]);
    }
    region
}

#[test]
fn a_region_that_is_mapped_in_many_sandboxes_ends_in_parts() {
    for call in [Syscall::Destroy, Syscall::CapDelete] {
        let mut w = World::new();
        let (before, mappings) = (w.k.regions.live(), w.k.mappings.live());
        let region = mapped_in_many(&mut w, 4, 300);
        let entries = in_parts(&mut w, call, [SELF.into(), region.into(), 0, 0, 0]);
        assert!(entries > 2, "{entries} entries");
        assert_eq!((w.k.regions.live(), w.k.mappings.live()), (before, mappings), "{call:?}");
        check(&w.k);
        nothing_is_left(w.k);
    }
}

/// `CapMove` takes its time; a transaction and a message would have to do all at once, and refuse.
#[test]
fn a_capability_on_which_many_mappings_hang_is_moved_in_parts_or_not_at_all() {
    let mut w = World::new();
    let (manager, mappings) = (w.manager, w.k.mappings.live());
    let region = mapped_in_many(&mut w, 64, 300);
    let to = w.child();
    let own_mappings = w.k.sandboxes[to.sandbox].mappings.len();
    w.ok(manager, Syscall::RegionMap, [to.cap.into(), region.into(), 1, 0, 0]);
    let entries = [move_entry((SELF, region), (to.cap, 30))];
    assert_eq!(transact(&mut w, manager, &entries), Err((0, Error::Mapped)));
    let p = pair(&mut w);
    let port = w.port(p.endpoint, 1);
    w.set_buffer(p.server, &[], &[30], &[]);
    w.receive_buffered(p.server, SERVE);
    let sent = SendCap { slot: region, mode: SendCap::MOVE, rights: 0, reserved: 0 };
    w.set_buffer(manager, &[sent], &[], &[]);
    let message = Send { caps: 1, buffer: true, ..word(1) };
    assert_eq!(w.call(manager, port, message), Some(Err(Error::Mapped)));
    check(&w.k);
    let parts = in_parts(&mut w, Syscall::CapMove, [to.cap.into(), 30, SELF.into(), region.into(), 0]);
    assert!(parts > 2, "{parts} parts");
    assert_eq!(w.k.sandboxes[to.sandbox].mappings.len(), own_mappings + 1, "it is its own now");
    assert!(w.k.mappings.live() < mappings + 20, "and no other is left");
    check(&w.k);
    nothing_is_left(w.k);
}

#[test]
fn a_region_that_is_ending_is_mapped_nowhere_any_more() {
    let mut w = World::new();
    let region = mapped_in_many(&mut w, 4, 300);
    let other = w.child();
    w.give(region, other, 30, Rights::all());
    w.k.run_instead(w.manager.thread);
    let frame = &mut w.k.threads[w.manager.thread].context.frame;
    (frame.rax, frame.rdi, frame.rsi) = (Syscall::Destroy as u64, SELF.into(), region.into());
    assert!(w.enter_once(), "it was done at once: nothing to look at");
    assert_eq!(w.refused(other, Syscall::RegionMap, [SELF.into(), 30, 1, 0, 0]), Error::Gone);
    w.ok(w.manager, Syscall::Destroy, [SELF.into(), region.into(), 0, 0, 0]);
    assert_eq!(w.refused(other, Syscall::RegionMap, [SELF.into(), 30, 1, 0, 0]), Error::InvalidHandle);
    check(&w.k);
}

/// A child that has begun to destroy a region, and the manager's capability on it.
fn half_destroyed(w: &mut World) -> (Actor, Handle) {
    let (region, child) = (mapped_in_many(w, 4, 300), w.child());
    w.give(region, child, 30, Rights::all());
    w.k.run_instead(child.thread);
    let frame = &mut w.k.threads[child.thread].context.frame;
    (frame.rax, frame.rdi, frame.rsi) = (Syscall::Destroy as u64, SELF.into(), 30);
    assert!(w.enter_once(), "it was done at once: nothing to look at");
    let map = [SELF.into(), region.into(), 1, 0, 0];
    assert_eq!(w.refused(w.manager, Syscall::RegionMap, map), Error::Gone);
    (child, region)
}

#[test]
fn a_region_whose_destroyer_died_half_way_is_as_good_as_before() {
    let mut w = World::new();
    let (child, region) = half_destroyed(&mut w);
    w.ok(w.manager, Syscall::SandboxFreeze, [child.cap.into(), 0, 0, 0, 0]);
    w.ok(w.manager, Syscall::RegionMap, [SELF.into(), region.into(), 1, 0, 0]);
    check(&w.k);
    nothing_is_left(w.k);
}

#[test]
fn a_region_whose_destroyer_lost_its_capability_half_way_is_as_good_as_before() {
    let mut w = World::new();
    let (child, region) = half_destroyed(&mut w);
    w.ok(w.manager, Syscall::CapRevoke, [SELF.into(), region.into(), 0, 0, 0]);
    w.k.run_instead(child.thread);
    assert!(!w.enter_once());
    assert_eq!(w.got(child), Some(Err(Error::InvalidHandle)));
    w.ok(w.manager, Syscall::RegionMap, [SELF.into(), region.into(), 1, 0, 0]);
    check(&w.k);
    nothing_is_left(w.k);
}

#[test]
fn a_revocation_that_ends_mappings_does_so_in_parts() {
    let mut w = World::new();
    let (region, _) = w.region(4);
    for _ in 0..300 {
        let child = w.child();
        w.give(region, child, 30, Rights::all());
        w.ok(child, Syscall::RegionMap, [SELF.into(), 30, 3, 0, 0]);
    }
    let mappings = w.k.mappings.live();
    let entries = in_parts(&mut w, Syscall::CapRevoke, [SELF.into(), region.into(), 0, 0, 0]);
    assert!(entries > 5, "{entries} entries");
    assert_eq!(w.k.mappings.live(), mappings - 300);
    check(&w.k);
}

/// Neither are those passed over that allow less than what is mapped, nor all slots of whoever loses a device.
#[test]
fn how_many_other_capabilities_there_are_makes_no_end_of_a_mapping_longer() {
    let mut w = World::new();
    let (child, (region, _)) = (w.child_with(ACCOUNT, &sandbox_spec("rich", 16, 8192)), w.region(4));
    let both = Rights::READ | Rights::WRITE;
    for slot in 1..100 {
        w.give(region, child, slot, both);
    }
    w.give(super::world::DEVICE, child, 8000, Rights::MANAGE);
    w.give(super::world::DEVICE, child, 8001, Rights::READ);
    w.ok(child, Syscall::RegionMap, [SELF.into(), 1, both.bits().into(), 0, 0]);
    w.ok(child, Syscall::RegionMap, [8000, 1, both.bits().into(), 0, 0]);
    for slot in 100..6000 {
        w.give(region, child, slot, Rights::READ);
    }
    for slot in [8001, 1, 2, 3, 8000] {
        let looks = crate::tests::accesses::during(|| {
            w.ok(child, Syscall::CapDelete, [SELF.into(), slot, 0, 0, 0]);
        });
        assert!(looks < 500, "{looks} looks for slot {slot}");
    }
    check(&w.k);
}

/// The IOMMU is told of each, and waited for.
#[test]
fn mappings_in_a_device_end_a_few_at_a_time() {
    let mut w = World::confined();
    for _ in 0..30 {
        let (region, _) = w.region(1);
        w.ok(w.manager, Syscall::RegionMap, [super::world::DEVICE.into(), region.into(), 1, 0, 0]);
    }
    let entries = in_parts(&mut w, Syscall::CapDelete, [SELF.into(), super::world::DEVICE.into(), 0, 0, 0]);
    assert!(entries > 5, "{entries} entries");
    check(&w.k);
}

#[test]
fn memory_that_is_wanted_is_zeroed_in_parts() {
    let mut w = World::new();
    let pages = w.k.frames.largest_free() / 2 + 1;
    let (region, _) = w.region(pages);
    w.ok(w.manager, Syscall::Destroy, [SELF.into(), region.into(), 0, 0, 0]);
    let slot = w.slot();
    w.k.run_instead(w.manager.thread);
    let args = [ACCOUNT.into(), hic_abi::ObjectType::Region as u64, slot.into(), pages * hic_abi::PAGE_SIZE];
    let frame = &mut w.k.threads[w.manager.thread].context.frame;
    (frame.rax, frame.rdi, frame.rsi, frame.rdx, frame.r10) =
        (Syscall::Create as u64, args[0], args[1], args[2], args[3]);
    let (mut dirty, mut more) = (w.k.frames.dirty_count(), true);
    assert_eq!(dirty, pages);
    while more {
        more = w.enter_once();
        let left = w.k.frames.dirty_count();
        assert!(dirty - left <= ZERO_AT_ONCE, "{} frames in one entry", dirty - left);
        dirty = left;
    }
    assert_eq!(w.k.threads[w.manager.thread].context.frame.rax, 0);
    assert!(w.k.cap(w.manager.sandbox, slot).is_ok());
    check(&w.k);
}

/// What cannot be had at all is refused at once, whatever is dirty.
#[test]
fn nothing_is_zeroed_for_whoever_cannot_pay() {
    let mut w = World::new();
    let pages = w.k.frames.largest_free() / 2 + 1;
    let (region, _) = w.region(pages);
    w.ok(w.manager, Syscall::Destroy, [SELF.into(), region.into(), 0, 0, 0]);
    let poor = w.account(ACCOUNT, 4, 4);
    let slot = w.slot();
    let args = [poor.into(), hic_abi::ObjectType::Region as u64, slot.into(), pages * hic_abi::PAGE_SIZE, 0];
    assert_eq!(w.refused(w.manager, Syscall::Create, args), Error::NoMemory);
    assert_eq!(w.k.frames.dirty_count(), pages);
}

/// Who adds a system call says what it costs at most.
#[test]
fn the_book_has_a_bound_for_each_system_call() {
    let page = include_str!("../../../docs/book/bounds.md");
    let rows: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next()).collect();
    for call in Syscall::ALL {
        let name = std::format!("{call:?}");
        let named = |row: &&&str| row.split(['`', ',', ' ']).any(|word| word == name);
        assert_eq!(rows.iter().filter(named).count(), 1, "rows of {name}");
    }
}
