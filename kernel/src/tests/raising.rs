//! Which interrupts a device raises: its own, for as long as somebody has them, and no other.

use super::invariants::check;
use super::remapper::Remapper;
use super::sim::{BAR_BASE, DEVICE_FUNCTION, IO_APIC_FUNCTION, MSIX_PAGE};
use super::world::{ACCOUNT, AUDIT, DEVICE, IRQ, World};
use crate::remap::message;
use hic_abi::audit::{Event, Record};
use hic_abi::inspect::{SystemInfo, What};
use hic_abi::syscall::Syscall;
use hic_abi::{Handle, SELF};

/// Some function beside the device.
const OTHER: u16 = DEVICE_FUNCTION + 8;
/// Local APIC's address.
const LOCAL: u32 = 0xfee0_0000;

/// Gets an interrupt of the device; its slot, and what the kernel told the device to write.
fn vector(w: &mut World, entry: u64) -> (Handle, u32, u32) {
    let slot = w.slot();
    w.ok(w.manager, Syscall::DeviceVector, [DEVICE.into(), entry, slot.into(), ACCOUNT.into(), 0]);
    let at = BAR_BASE + MSIX_PAGE * 0x1000 + 16 * entry;
    let read = |at| w.k.machine.mmio[&at];
    assert_eq!((read(at + 4), read(at + 12)), (0, 0), "below 4 GiB, not masked");
    (slot, read(at), read(at + 8))
}

fn system(w: &mut World) -> SystemInfo {
    let address = w.arguments(w.manager);
    let args = [AUDIT.into(), What::System as u64, 0, address, size_of::<SystemInfo>() as u64];
    w.ok(w.manager, Syscall::Inspect, args);
    w.get(w.manager)
}

fn said(w: &World) -> std::string::String {
    std::string::String::from_utf8_lossy(&w.k.machine.printed).into_owned()
}

/// Refusals in the audit log.
fn recorded(w: &mut World) -> std::vec::Vec<Record> {
    let address = w.arguments(w.manager);
    let mut found = std::vec::Vec::new();
    while w.ok(w.manager, Syscall::AuditDrain, [AUDIT.into(), address, 1, 0, 0]) == 1 {
        let record: Record = w.get(w.manager);
        let refused = [Event::DmaRefused, Event::InterruptRefused].map(|event| event as u32);
        found.extend(refused.contains(&record.event).then_some(record));
    }
    found
}

/// The remapping unit reports what it refused, if it has something.
fn report(w: &mut World) {
    if let Some(vector) = w.k.machine.remapper.as_ref().and_then(Remapper::interrupt) {
        w.k.interrupt(vector);
    }
}

#[test]
fn a_device_raises_its_own_interrupts_and_no_other() {
    let mut w = World::confined();
    let (slot, address, data) = vector(&mut w, 1);
    let n = w.notification();
    w.ok(w.manager, Syscall::IrqBind, [slot.into(), n.into(), 1, 0, 0]);
    let own = w.k.machine.signal(DEVICE_FUNCTION, address, data).expect("its own arrives");
    w.k.interrupt(own);
    assert_eq!(w.ok(w.manager, Syscall::Wait, [n.into(), 0, 0, 0, 0]), 1);
    for vector in 0..=u8::MAX {
        let (at, with) = message(vector, true);
        let arrived = w.k.machine.signal(DEVICE_FUNCTION, at, with);
        assert_eq!(arrived, (vector == own).then_some(own), "entry {vector:#x}");
    }
    check(&w.k);
}

#[test]
fn what_is_written_in_the_old_format_raises_nothing() {
    let mut w = World::confined();
    let (_, _, _) = vector(&mut w, 1);
    // Vectors, with each way of delivery: fixed, lowest priority, SMI, NMI, INIT, from outside.
    for (vector, mode) in (0..=255u32).flat_map(|v| [0, 1, 2, 4, 5, 7].map(|mode| (v, mode))) {
        for target in [0, 1 << 12, 0xff << 12, 1 << 2, 1 << 3] {
            let arrived = w.k.machine.signal(DEVICE_FUNCTION, LOCAL | target, vector | mode << 8);
            assert_eq!(arrived, None, "{vector:#x}, mode {mode}");
        }
    }
}

#[test]
fn another_function_cannot_raise_a_devices_interrupt() {
    let mut w = World::confined();
    let (_, address, data) = vector(&mut w, 1);
    assert_eq!(w.k.machine.signal(OTHER, address, data), None);
    assert_eq!(w.k.machine.signal(IO_APIC_FUNCTION, address, data), None);
    assert!(w.k.machine.signal(DEVICE_FUNCTION, address, data).is_some());
}

#[test]
fn the_lines_of_the_io_apic_are_its_own() {
    let mut w = World::confined();
    let (_, vector, remapped) = w.k.machine.routed[0];
    let vector = vector.filter(|_| remapped).expect("neither masked nor as it was before");
    let (address, data) = message(vector, true);
    assert_eq!(w.k.machine.signal(IO_APIC_FUNCTION, address, data), Some(vector));
    assert_eq!(w.k.machine.signal(DEVICE_FUNCTION, address, data), None);
    w.ok(w.manager, Syscall::CapDelete, [SELF.into(), IRQ.into(), 0, 0, 0]);
    assert_eq!(w.k.machine.signal(IO_APIC_FUNCTION, address, data), None, "given up");
}

#[test]
fn an_interrupt_that_is_given_up_is_raised_no_more_also_by_what_the_unit_remembers() {
    let mut w = World::confined();
    let (slot, address, data) = vector(&mut w, 1);
    let first = w.k.machine.signal(DEVICE_FUNCTION, address, data);
    assert!(first.is_some(), "and the unit remembers it");
    w.ok(w.manager, Syscall::CapDelete, [SELF.into(), slot.into(), 0, 0, 0]);
    assert_eq!(w.k.machine.signal(DEVICE_FUNCTION, address, data), None);
    // The unit remembers that there is none, too.
    let (_, again, data) = vector(&mut w, 2);
    assert_eq!(again, address, "the vector is free again");
    assert_eq!(w.k.machine.signal(DEVICE_FUNCTION, again, data), first);
    check(&w.k);
}

#[test]
fn a_refused_interrupt_is_recorded_with_the_device_and_takes_it_off_the_bus() {
    let mut w = World::confined();
    let (_, _, _) = vector(&mut w, 1);
    let (driver, (region, _)) = (w.child(), w.region(1));
    w.give(DEVICE, driver, 20, hic_abi::Rights::READ | hic_abi::Rights::MANAGE);
    w.give(region, driver, 21, hic_abi::Rights::READ);
    w.ok(driver, Syscall::RegionMap, [20, 21, hic_abi::Rights::READ.bits().into(), 0, 0]);
    w.ok(w.manager, Syscall::DeviceMaster, [DEVICE.into(), 1, 0, 0, 0]);
    recorded(&mut w);
    let attempts = [(message(0x55, true), 0x22, 0x55), ((LOCAL, 0x55), 0x25, 0)];
    for ((address, data), reason, entry) in attempts {
        assert_eq!(w.k.machine.signal(DEVICE_FUNCTION, address, data), None);
        report(&mut w);
        let found = recorded(&mut w);
        let last = found.last().expect("a record");
        assert_eq!((found.len(), last.event), (1, Event::InterruptRefused as u32));
        assert_eq!((last.a, last.b), (u64::from(DEVICE_FUNCTION) | reason << 16, entry));
        assert_eq!(last.subject, w.k.sandboxes[driver.sandbox].serial);
    }
    assert_eq!(w.ok(w.manager, Syscall::DeviceRead, [DEVICE.into(), 4, 2, 0, 0]) & 4, 0, "off the bus");
    let info = system(&mut w);
    assert_eq!((info.interrupts_remapped, info.dma_refused), (1, 2));
    let line = "IOMMU: 00:03.0 (1af4:1041, child) is off the bus: refused its interrupt at 0x55";
    assert!(said(&w).contains(line), "{}", said(&w));
}

#[test]
fn a_driver_that_is_refused_in_a_loop_fills_neither_the_log_nor_the_audit_ring() {
    let mut w = World::confined();
    recorded(&mut w);
    for _ in 0..500 {
        w.ok(w.manager, Syscall::DeviceMaster, [DEVICE.into(), 1, 0, 0, 0]);
        assert!(!w.k.machine.dma(DEVICE_FUNCTION, 0xfec0_0000, true));
        report(&mut w);
    }
    assert_eq!((recorded(&mut w).len(), said(&w).matches("off the bus").count()), (16, 16));
    assert_eq!(system(&mut w).dma_refused, 500, "all are counted");
    w.k.machine.clock += 1_000_000_000;
    assert!(!w.k.machine.dma(DEVICE_FUNCTION, 0xfec0_0000, true));
    report(&mut w);
    assert_eq!(recorded(&mut w).last().map(|record| record.a >> 32), Some(500 - 16));
    assert!(said(&w).contains("and 484 refusals before"));
}

/// The unit raises no second interrupt while it has something left to tell.
#[test]
fn a_flood_of_refusals_is_taken_in_parts_and_the_next_refusal_is_heard_of() {
    const MORE: u32 = 300;
    let mut w = World::confined();
    let raised = |w: &World| w.k.machine.remapper.as_ref().map_or(0, |r| r.raised);
    w.pass(1);
    let before = raised(&w);
    for access in 0..3 {
        w.k.machine.remapper.as_mut().expect("there is one").flood = MORE;
        assert!(!w.k.machine.dma(DEVICE_FUNCTION, 0xfec0_0000, true));
        assert!(!w.k.machine.dma(DEVICE_FUNCTION, 0xfec0_0000, true));
        assert_eq!(raised(&w), before + access + 1);
        w.k.interrupt(crate::iommu::FAULT_VECTOR);
        w.k.choose_next();
        assert!(system(&mut w).dma_refused < (access + 1) * u64::from(MORE), "it was done at once");
        w.pass(20_000_000);
        assert_eq!(system(&mut w).dma_refused, (access + 1) * u64::from(MORE + 2));
        assert_eq!((raised(&w), w.k.has_remains()), (before + access + 1, false));
    }
    check(&w.k);
}

/// Firmware left something, and more comes before the interrupt is switched on.
#[test]
fn what_is_refused_while_the_unit_is_started_is_heard_of() {
    let mut remapper = Remapper::new(3, true);
    remapper.flood = 100;
    remapper.record(DEVICE_FUNCTION, 0, 0, 5);
    remapper.record(DEVICE_FUNCTION, 0, 0, 5);
    let mut w = World::with_remapper(remapper);
    w.pass(20_000_000);
    assert_eq!(w.k.machine.remapper.as_ref().and_then(Remapper::interrupt), None, "nothing is left");
    assert!(!w.k.has_remains());
}

#[test]
fn where_a_unit_or_the_platform_cannot_remap_interrupts_they_go_the_old_way_and_that_is_said() {
    let mut plain = Remapper::new(3, false);
    plain.set(0x10, 0xf << 8 | 1 << 1);
    for mut w in [World::with_remapper(plain), World::new()] {
        let (_, address, data) = vector(&mut w, 1);
        assert_eq!(address, LOCAL);
        let arrived = w.k.machine.signal(DEVICE_FUNCTION, address, data);
        assert_eq!(arrived, Some(data as u8));
        assert!(!w.k.machine.routed[0].2);
        assert_eq!(system(&mut w).interrupts_remapped, 0);
        if w.k.iommu.is_some() {
            assert!(said(&w).contains("devices reach what is theirs, raise any interrupt"), "{}", said(&w));
        }
    }
}
