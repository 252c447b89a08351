//! What a device reaches: what its driver mapped into it, for as long as the driver has both.

use super::invariants::check;
use super::remapper::{REGISTERS, Remapper};
use super::sim::DEVICE_FUNCTION;
use super::world::{ACCOUNT, AUDIT, Actor, CLOCK, DEVICE, World, sandbox_spec};
use crate::iommu::Iommu;
use hic_abi::audit::{Event, Record};
use hic_abi::inspect::{SystemInfo, What};
use hic_abi::object::SealSpec;
use hic_abi::syscall::Syscall;
use hic_abi::{Error, Handle, PAGE_SIZE, Plain, Rights, SELF, USER_BASE};

const READ: Rights = Rights::READ;
const BOTH: Rights = Rights::READ.union(Rights::WRITE);
/// Slots of a driver.
const CARD: Handle = 20;
const REGION: Handle = 21;

fn map(w: &mut World, who: Actor, device: Handle, region: Handle, rights: Rights) -> u64 {
    w.ok(who, Syscall::RegionMap, [device.into(), region.into(), rights.bits().into(), 0, 0])
}

fn reaches(w: &mut World, address: u64, write: bool) -> bool {
    w.k.machine.dma(DEVICE_FUNCTION, address, write)
}

/// A driver with the device and two pages mapped into it; the manager's slot of the region and its physical address.
fn driver(w: &mut World) -> (Actor, Handle, u64) {
    let (driver, (region, address)) = (w.child(), w.region(2));
    w.give(DEVICE, driver, CARD, READ | Rights::MANAGE);
    w.give(region, driver, REGION, BOTH);
    let at = map(w, driver, CARD, REGION, BOTH);
    assert_eq!(at, address - USER_BASE, "the device's address is the physical one");
    assert!(reaches(w, at, true) && reaches(w, at + PAGE_SIZE, false));
    check(&w.k);
    (driver, region, at)
}

#[test]
fn a_device_does_not_write_by_a_capability_that_may_only_read() {
    let mut w = World::confined();
    let (driver, region, at) = driver(&mut w);
    w.give(region, driver, REGION + 1, READ);
    w.ok(driver, Syscall::CapDelete, [SELF.into(), REGION.into(), 0, 0, 0]);
    assert!(!reaches(&mut w, at, true) && !reaches(&mut w, at, false));
    map(&mut w, driver, CARD, REGION + 1, READ);
    assert!(!reaches(&mut w, at, true) && reaches(&mut w, at, false));
    check(&w.k);
}

/// All that it does is to take the capability away, and that in parts.
#[test]
fn who_destroys_a_device_has_it_no_more() {
    let mut w = World::confined();
    let driver = w.child();
    w.give(DEVICE, driver, CARD, READ | Rights::MANAGE);
    let mut reached = std::vec::Vec::new();
    for slot in 30..40 {
        let (region, _) = w.region(40);
        w.give(region, driver, slot, BOTH);
        reached.push(map(&mut w, driver, CARD, slot, BOTH));
    }
    w.ok(driver, Syscall::Destroy, [SELF.into(), CARD.into(), 0, 0, 0]);
    assert_eq!(
        w.refused(driver, Syscall::CapInfo, [SELF.into(), CARD.into(), 0, 0, 0]),
        Error::InvalidHandle
    );
    assert!(reached.into_iter().all(|at| !reaches(&mut w, at, false)));
    w.ok(w.manager, Syscall::DeviceMaster, [DEVICE.into(), 1, 0, 0, 0]);
    check(&w.k);
}

#[test]
fn what_is_mapped_in_a_device_stays_while_one_capability_manages_it() {
    let mut w = World::confined();
    let (driver, _, at) = driver(&mut w);
    w.give(DEVICE, driver, CARD + 2, READ | Rights::MANAGE);
    w.give(DEVICE, driver, CARD + 3, READ);
    for (slot, reached) in [(CARD + 3, true), (CARD, true), (CARD + 2, false)] {
        w.ok(driver, Syscall::CapDelete, [SELF.into(), slot.into(), 0, 0, 0]);
        assert_eq!(reaches(&mut w, at, true), reached, "without {slot}");
        check(&w.k);
    }
}

fn is_master(w: &mut World) -> bool {
    w.ok(w.manager, Syscall::DeviceRead, [DEVICE.into(), 4, 2, 0, 0]) & 4 != 0
}

fn make_master(w: &mut World) {
    w.ok(w.manager, Syscall::DeviceMaster, [DEVICE.into(), 1, 0, 0, 0]);
}

#[test]
fn a_device_reaches_nothing_until_something_is_mapped_into_it() {
    let mut w = World::confined();
    let (_, address) = w.region(1);
    assert!(!reaches(&mut w, address - USER_BASE, false));
    assert!(!reaches(&mut w, 0xfec0_0000, true));
    check(&w.k);
}

#[test]
fn a_device_reaches_what_is_mapped_with_the_rights_it_is_mapped_with_and_nothing_beside_it() {
    for (levels, large_pages) in [(3, true), (4, true), (3, false)] {
        let mut w = World::with_remapper(Remapper::new(levels, large_pages));
        let (first, second, third) = (w.region(3), w.region(1), w.region(2));
        let manager = w.manager;
        let at = map(&mut w, manager, DEVICE, first.0, BOTH);
        let read_only = map(&mut w, manager, DEVICE, third.0, READ);
        for page in 0..3 {
            assert!(reaches(&mut w, at + page * PAGE_SIZE, true));
        }
        assert!(reaches(&mut w, read_only, false) && !reaches(&mut w, read_only, true));
        assert!(!reaches(&mut w, second.1 - USER_BASE, false));
        assert!(!w.k.machine.dma(DEVICE_FUNCTION + 8, at, false), "another function");
        check(&w.k);
    }
}

/// A new table is where an IOMMU finds it before anything leads there: memory has something else in it until it is written back.
#[test]
fn an_iommu_that_does_not_look_into_caches_never_sees_half_a_table() {
    for levels in [3, 4] {
        let mut w = World::with_remapper(Remapper::new(levels, true));
        let (manager, (region, address)) = (w.manager, w.region(3));
        // What is free was something else once, and no zeros of it were ever written back.
        let frames: [u64; 8] = core::array::from_fn(|_| w.k.frames.allocate(1).expect("free"));
        for frame in frames {
            w.k.frames.free_run(frame, 1);
            w.k.machine.hide(frame);
        }
        w.k.machine.never_reached = Some(address - USER_BASE + 3 * PAGE_SIZE);
        let at = map(&mut w, manager, DEVICE, region, BOTH);
        assert!(reaches(&mut w, at + 2 * PAGE_SIZE, true));
        w.ok(manager, Syscall::RegionUnmap, [DEVICE.into(), region.into(), 0, 0, 0]);
        assert!(!reaches(&mut w, at, false));
        check(&w.k);
    }
}

#[test]
fn a_device_gets_large_pages_where_the_iommu_knows_them_and_the_memory_is_alike() {
    for (large_pages, tables_due) in [(true, 3), (false, 4)] {
        let mut w = World::with_remapper(Remapper::new(4, large_pages));
        let (manager, (region, _)) = (w.manager, w.region(1024 + 7));
        let seal = SealSpec { read_only: 3, execute: 0, guard: 0 };
        let place = w.put(manager, seal.as_bytes());
        w.ok(manager, Syscall::RegionSeal, [region.into(), place, 0, 0, 0]);
        let tables = w.k.accounts[0].page_tables;
        let at = map(&mut w, manager, DEVICE, region, BOTH);
        // A directory, and tables for where the seal ends and for the seven pages beyond; the 2 MiB between need one more without large pages.
        assert_eq!(w.k.accounts[0].page_tables - tables, tables_due);
        for (page, writable) in [(0, false), (2, false), (3, true), (512, true), (1023, true), (1030, true)] {
            assert!(reaches(&mut w, at + page * PAGE_SIZE, false), "page {page}");
            assert_eq!(reaches(&mut w, at + page * PAGE_SIZE, true), writable, "page {page}");
        }
        assert!(!reaches(&mut w, at + 1031 * PAGE_SIZE, false));
        check(&w.k);
        w.ok(manager, Syscall::RegionUnmap, [DEVICE.into(), region.into(), 0, 0, 0]);
        assert!([0, 3, 512, 1023, 1030].iter().all(|page| !reaches(&mut w, at + page * PAGE_SIZE, false)));
        assert_eq!(w.k.accounts[0].page_tables, tables, "no table is left");
        check(&w.k);
    }
}

#[test]
fn whatever_ends_a_mapping_ends_the_devices_reach_at_once() {
    type End = fn(&mut World, Actor, Handle);
    let ends: [(&str, End); 8] = [
        ("unmapped", |w, d, _| {
            w.ok(d, Syscall::RegionUnmap, [CARD.into(), REGION.into(), 0, 0, 0]);
        }),
        ("region destroyed", |w, _, region| {
            w.ok(w.manager, Syscall::Destroy, [SELF.into(), region.into(), 0, 0, 0]);
        }),
        ("region revoked", |w, _, region| {
            w.ok(w.manager, Syscall::CapRevoke, [SELF.into(), region.into(), 0, 0, 0]);
        }),
        ("region deleted", |w, d, _| {
            w.ok(d, Syscall::CapDelete, [SELF.into(), REGION.into(), 0, 0, 0]);
        }),
        ("region moved", |w, d, _| {
            let to = w.slot();
            w.ok(w.manager, Syscall::CapMove, [SELF.into(), to.into(), d.cap.into(), REGION.into(), 0]);
        }),
        ("device revoked", |w, _, _| {
            w.ok(w.manager, Syscall::CapRevoke, [SELF.into(), DEVICE.into(), 0, 0, 0]);
        }),
        ("device moved", |w, d, _| {
            let to = w.slot();
            w.ok(w.manager, Syscall::CapMove, [SELF.into(), to.into(), d.cap.into(), CARD.into(), 0]);
        }),
        ("driver destroyed", |w, d, _| {
            w.ok(w.manager, Syscall::Destroy, [SELF.into(), d.cap.into(), 0, 0, 0]);
        }),
    ];
    for (name, end) in ends {
        let mut w = World::confined();
        let (driver, region, at) = driver(&mut w);
        end(&mut w, driver, region);
        for page in [at, at + PAGE_SIZE] {
            assert!(!reaches(&mut w, page, true) && !reaches(&mut w, page, false), "{name}");
        }
        check(&w.k);
    }
}

#[test]
fn a_device_that_loses_one_region_of_two_keeps_the_other() {
    let mut w = World::confined();
    let (driver, _, at) = driver(&mut w);
    let (other, _) = w.region(1);
    w.give(other, driver, REGION + 1, BOTH);
    let other = map(&mut w, driver, CARD, REGION + 1, BOTH);
    assert!(reaches(&mut w, other, true));
    w.ok(driver, Syscall::RegionUnmap, [CARD.into(), REGION.into(), 0, 0, 0]);
    assert!(!reaches(&mut w, at, false) && !reaches(&mut w, at + PAGE_SIZE, true));
    assert!(reaches(&mut w, other, true));
    check(&w.k);
}

#[test]
fn a_driver_that_died_leaves_its_device_at_work_until_it_is_destroyed() {
    let mut w = World::confined();
    let (driver, _, at) = driver(&mut w);
    w.ok(w.manager, Syscall::SandboxFreeze, [driver.cap.into(), 0, 0, 0, 0]);
    assert!(reaches(&mut w, at, true), "frozen");
    w.ok(w.manager, Syscall::SandboxReset, [driver.cap.into(), 0, 0, 0, 0]);
    assert!(reaches(&mut w, at, true), "reset");
    let again = [CARD.into(), REGION.into(), BOTH.bits().into(), 0, 0];
    let thread = w.thread(ACCOUNT, driver);
    let driver = Actor { thread, ..driver };
    assert_eq!(w.refused(driver, Syscall::RegionMap, again), Error::Mapped, "and its next start finds that");
    w.ok(w.manager, Syscall::Destroy, [SELF.into(), driver.cap.into(), 0, 0, 0]);
    assert!(!reaches(&mut w, at, true), "destroyed");
    check(&w.k);
}

#[test]
fn mapping_into_a_device_needs_authority_over_device_and_memory() {
    let mut w = World::confined();
    let (child, (region, _)) = (w.child(), w.region(1));
    w.give(DEVICE, child, 3, READ);
    w.give(DEVICE, child, 4, READ | Rights::MANAGE);
    w.give(region, child, 5, READ);
    w.give(region, child, 6, BOTH);
    let mut refused = |device: u64, region: Handle| {
        w.refused(child, Syscall::RegionMap, [device, region.into(), BOTH.bits().into(), 0, 0])
    };
    assert_eq!(refused(3, 6), Error::MissingRights, "may only look at the device");
    assert_eq!(refused(4, 5), Error::MissingRights, "may only read the region");
    assert_eq!(refused(5, 6), Error::WrongType);
    let window = w.slot();
    w.ok(w.manager, Syscall::DeviceBar, [DEVICE.into(), 0, window.into(), ACCOUNT.into(), 0]);
    for other in [window, CLOCK] {
        let args = [DEVICE.into(), other.into(), READ.bits().into(), 0, 0];
        assert_eq!(w.refused(w.manager, Syscall::RegionMap, args), Error::WrongType, "no memory of its own");
    }
    check(&w.k);
}

#[test]
fn one_account_at_a_time_pays_for_what_a_device_reaches_and_gets_it_back() {
    let mut w = World::confined();
    let account = w.account(ACCOUNT, 64, 64);
    let driver = w.child_with(account, &sandbox_spec("driver", 16, 64));
    let ((one, _), (two, _)) = (w.region(1), w.region(1));
    w.give(DEVICE, driver, CARD, READ | Rights::MANAGE);
    w.give(one, driver, REGION, BOTH);
    let before = w.usage(account);
    map(&mut w, driver, CARD, REGION, BOTH);
    assert_eq!(w.usage(account).0 - before.0, 2, "a table for each level below the first");
    let other = [DEVICE.into(), two.into(), BOTH.bits().into(), 0, 0];
    assert_eq!(w.refused(w.manager, Syscall::RegionMap, other), Error::Busy);
    w.ok(driver, Syscall::RegionUnmap, [CARD.into(), REGION.into(), 0, 0, 0]);
    assert_eq!(w.usage(account), before);
    w.ok(w.manager, Syscall::RegionMap, other);
    check(&w.k);
}

#[test]
fn a_mapping_that_cannot_be_paid_leaves_nothing_behind() {
    for room in 0..2 {
        let mut w = World::confined();
        let account = w.account(ACCOUNT, 64, 64);
        let driver = w.child_with(account, &sandbox_spec("driver", 16, 64));
        let (region, address) = w.region(1);
        w.give(DEVICE, driver, CARD, READ | Rights::MANAGE);
        w.give(region, driver, REGION, BOTH);
        let filler = 64 - w.usage(account).0 - room;
        w.create_on(account, hic_abi::ObjectType::Region, filler * PAGE_SIZE, 0);
        let args = [CARD.into(), REGION.into(), BOTH.bits().into(), 0, 0];
        assert_eq!(w.refused(driver, Syscall::RegionMap, args), Error::NoMemory, "room for {room} tables");
        assert_eq!(w.usage(account).0, 64 - room);
        assert!(!reaches(&mut w, address - USER_BASE, false));
        check(&w.k);
    }
}

#[test]
fn a_device_writes_neither_code_nor_what_is_sealed_read_only() {
    let mut w = World::confined();
    let (region, address) = w.region(4);
    let spec = w.put(w.manager, SealSpec { read_only: 1, execute: 1, guard: 2 }.as_bytes());
    w.ok(w.manager, Syscall::RegionSeal, [region.into(), spec, 0, 0, 0]);
    let manager = w.manager;
    let rights = BOTH | Rights::EXECUTE;
    let at = map(&mut w, manager, DEVICE, region, rights);
    assert_eq!(at, address - USER_BASE);
    let writable: std::vec::Vec<bool> = (0..4).map(|n| reaches(&mut w, at + n * PAGE_SIZE, true)).collect();
    assert_eq!(writable, [false, false, false, true]);
    assert!(reaches(&mut w, at + PAGE_SIZE, false) && !reaches(&mut w, at + 2 * PAGE_SIZE, false));
    check(&w.k);
}

#[test]
fn a_region_that_a_device_reaches_cannot_be_sealed() {
    let mut w = World::confined();
    let (_, region, _) = driver(&mut w);
    let spec = w.put(w.manager, SealSpec { read_only: 0, execute: 1, guard: 0 }.as_bytes());
    assert_eq!(w.refused(w.manager, Syscall::RegionSeal, [region.into(), spec, 0, 0, 0]), Error::Mapped);
}

#[test]
fn a_refused_access_is_recorded_and_takes_the_device_off_the_bus() {
    let mut w = World::confined();
    let (_, _, at) = driver(&mut w);
    make_master(&mut w);
    assert!(!reaches(&mut w, at + 2 * PAGE_SIZE + 8, true));
    let vector = w.k.machine.remapper.as_ref().and_then(Remapper::interrupt).expect("an interrupt");
    w.k.interrupt(vector);
    assert!(!is_master(&mut w));
    assert_eq!(w.k.machine.remapper.as_ref().and_then(Remapper::interrupt), None, "taken");
    let address = w.arguments(w.manager);
    let mut last = Record::zeroed();
    while w.ok(w.manager, Syscall::AuditDrain, [AUDIT.into(), address, 1, 0, 0]) == 1 {
        last = w.get(w.manager);
    }
    assert_eq!((last.event, last.actor), (Event::DmaRefused as u32, 0));
    assert_eq!((last.a, last.b), (u64::from(DEVICE_FUNCTION) | 5 << 16, at + 2 * PAGE_SIZE));
    assert_eq!(&last.text[..6], b"write\0");
    let args = [AUDIT.into(), What::System as u64, 0, address, size_of::<SystemInfo>() as u64];
    w.ok(w.manager, Syscall::Inspect, args);
    let system: SystemInfo = w.get(w.manager);
    assert_eq!((system.dma_confined, system.dma_refused), (1, 1));
    let said = std::string::String::from_utf8_lossy(&w.k.machine.printed).into_owned();
    assert!(said.contains("IOMMU: 00:03.0 (1af4:1041, child) is off the bus: refused its write"), "{said}");
}

#[test]
fn without_an_iommu_a_device_that_loses_memory_unasked_is_off_the_bus_before_the_memory_is_free() {
    let mut w = World::new();
    let (_, region, at) = driver(&mut w);
    assert!(reaches(&mut w, at + 64 * PAGE_SIZE, true), "nothing is confined");
    make_master(&mut w);
    w.ok(w.manager, Syscall::Destroy, [SELF.into(), region.into(), 0, 0, 0]);
    assert!(!is_master(&mut w));
    check(&w.k);
}

#[test]
fn without_an_iommu_a_driver_that_gives_memory_up_itself_goes_on() {
    let mut w = World::new();
    let (driver, region, _) = driver(&mut w);
    make_master(&mut w);
    let args = [CARD.into(), REGION.into(), 0, 0, 0];
    w.ok(driver, Syscall::RegionUnmap, args);
    assert_eq!(w.refused(driver, Syscall::RegionUnmap, args), Error::WrongState);
    w.ok(w.manager, Syscall::Destroy, [SELF.into(), region.into(), 0, 0, 0]);
    assert!(is_master(&mut w));
    check(&w.k);
}

#[test]
fn an_iommu_of_an_unknown_kind_is_left_alone() {
    let no_queue = (0x10, 0xf << 8);
    let no_known_tables = (8, 0x22 << 24 | 2);
    let too_few_domains = (8, 0x22 << 24 | 1 << 9);
    for (register, value) in [no_queue, no_known_tables, too_few_domains] {
        let mut remapper = Remapper::new(3, true);
        remapper.set(register, value);
        let mut w = World::with_remapper(remapper);
        assert!(w.k.iommu.is_none(), "{register:#x} {value:#x}");
        assert!(reaches(&mut w, 0x10_0000, true), "it does not translate");
        let said = std::string::String::from_utf8_lossy(&w.k.machine.printed).into_owned();
        assert!(said.contains("unknown IOMMU"), "{said}");
    }
    let mut w = World::with_remapper(Remapper::new(3, true));
    assert!(Iommu::find(&mut w.k.machine, &[REGISTERS; 8]).is_some());
    assert!(Iommu::find(&mut w.k.machine, &[REGISTERS; 9]).is_none(), "too many");
}
