//! Interrupts, I/O ports, PCI functions.

use super::invariants::{check, pages};
use super::sim::{BAR_BASE, BAR_BYTES, DEVICE_FUNCTION, MSIX_PAGE, VECTORS};
use super::world::{ACCOUNT, DEVICE, IO, IRQ, World};
use crate::machine::Machine;
use hic_abi::object::DeviceInfo;
use hic_abi::syscall::Syscall;
use hic_abi::{Error, Handle, ObjectType, Rights, SELF, USER_BASE};

fn bind(w: &mut World, irq: Handle, n: Handle, bits: u64) {
    w.ok(w.manager, Syscall::IrqBind, [irq.into(), n.into(), bits, 0, 0]);
}

fn interrupt(w: &mut World) {
    let vector = w.k.machine.routed[0].1;
    w.k.interrupt(vector.expect("not masked"));
}

#[test]
fn an_interrupt_signals_its_notification_and_is_counted() {
    let mut w = World::new();
    let n = w.notification();
    bind(&mut w, IRQ, n, 2);
    interrupt(&mut w);
    interrupt(&mut w);
    assert_eq!(w.ok(w.manager, Syscall::Wait, [n.into(), 0, 0, 0, 0]), 2);
    assert_eq!(w.ok(w.manager, Syscall::IrqAck, [IRQ.into(), 0, 0, 0, 0]), 2);
}

#[test]
fn an_interrupt_that_came_while_nobody_was_bound_is_delivered_to_the_next_one() {
    let mut w = World::new();
    let (old, new) = (w.notification(), w.notification());
    bind(&mut w, IRQ, old, 1);
    w.ok(w.manager, Syscall::Destroy, [0, old.into(), 0, 0, 0]);
    interrupt(&mut w);
    bind(&mut w, IRQ, new, 4);
    assert_eq!(w.ok(w.manager, Syscall::Wait, [new.into(), 0, 0, 0, 0]), 4);
    assert_eq!(w.ok(w.manager, Syscall::IrqAck, [IRQ.into(), 0, 0, 0, 0]), 1, "the count survives");
}

#[test]
fn a_vector_that_leads_nowhere_is_ignored() {
    let mut w = World::new();
    for vector in 0..=255 {
        w.k.interrupt(vector);
    }
    check(&w.k);
}

#[test]
fn an_io_range_allows_its_ports_and_no_others() {
    let mut w = World::new();
    let slot = w.slot();
    let args = [ACCOUNT.into(), ObjectType::IoPorts as u64, slot.into(), IO.into(), 0x3f8 | 8 << 16];
    w.ok(w.manager, Syscall::Create, args);
    assert_eq!(w.ok(w.manager, Syscall::IoRead, [slot.into(), 0x3ff, 1, 0, 0]), 0x5a);
    w.ok(w.manager, Syscall::IoWrite, [slot.into(), 0x3f8, 1, 0x41, 0]);
    assert_eq!(w.k.machine.io, [(0x3ff, 1, None), (0x3f8, 1, Some(0x41))]);
    let outside = [
        (0x3f7, 1),
        (0x400, 1),
        (0x3ff, 2),
        (0x3f8, 3),
        (0x3f8, 0),
        (0x3f8, 8),
        (u64::MAX, 1),
        (0x1_03f8, 1),
    ];
    for (port, width) in outside {
        let refused = w.refused(w.manager, Syscall::IoRead, [slot.into(), port, width, 0, 0]);
        assert_eq!(refused, Error::InvalidArgument, "{port:#x}, {width}");
    }
    check(&w.k);
}

#[test]
fn nobody_is_granted_the_ports_of_pci_configuration_or_of_the_interrupt_controllers() {
    let mut w = World::new();
    let slot = w.slot();
    for (base, count) in [(0xcf8u64, 4u64), (0xcfc, 4), (0xcf0, 16), (0x20, 1), (0xa1, 1), (0, 0x1_0000)] {
        let args = [ACCOUNT.into(), ObjectType::IoPorts as u64, slot.into(), IO.into(), base | count << 16];
        assert_eq!(w.refused(w.manager, Syscall::Create, args), Error::InvalidArgument, "{base:#x}, {count}");
    }
    check(&w.k);
}

#[test]
fn a_part_of_an_io_range_lies_within_it() {
    let mut w = World::new();
    let part = w.slot();
    let create = |whole: Handle, slot: Handle, base: u64, count: u64| {
        [ACCOUNT.into(), ObjectType::IoPorts as u64, slot.into(), whole.into(), base | count << 16]
    };
    w.ok(w.manager, Syscall::Create, create(IO, part, 0x100, 0x10));
    for (base, count) in [(0xff, 2), (0x10f, 2), (0x100, 0), (0x100, 0x11), (0x100, 0xffff_ffff)] {
        let refused = w.refused(w.manager, Syscall::Create, create(part, 500, base, count));
        assert_eq!(refused, Error::InvalidArgument, "{base:#x}, {count:#x}");
    }
    check(&w.k);
}

#[test]
fn a_device_says_what_it_is() {
    let mut w = World::new();
    let address = w.arguments(w.manager);
    w.ok(w.manager, Syscall::DeviceInfo, [DEVICE.into(), address, 0, 0, 0]);
    let info: DeviceInfo = w.get(w.manager);
    assert_eq!((info.id, info.class, info.vectors), (0x1041_1af4, 0x02_0000, VECTORS));
    assert_eq!((info.bar_base[0], info.bar_size[0]), (BAR_BASE, BAR_BYTES));
    assert_eq!(w.ok(w.manager, Syscall::DeviceRead, [DEVICE.into(), 2, 2, 0, 0]), 0x1041);
}

#[test]
fn a_bar_that_the_firmware_left_unset_gets_a_place_of_its_size_in_the_window_or_none() {
    let mut w = World::new();
    // The window, and where the BAR goes: the next multiple of its size.
    for (window, base) in [
        (0xc000_1000..0xc001_0000, 0xc000_4000),
        (0xc000_0000..0xc000_4000, 0xc000_0000),
        (0xc000_0001..0xc000_7fff, 0),
        (0..0, 0),
        (u64::MAX - 10..u64::MAX, 0),
    ] {
        w.k.machine.unset_bar();
        w.k.machine.pci_write(DEVICE_FUNCTION, 4, 0);
        w.k.machine.window = window;
        w.k.scan_pci();
        let index = w.k.devices.touched() - 1;
        let info = w.k.devices[index].info;
        let size = if base == 0 { 0 } else { BAR_BYTES };
        assert_eq!((info.bar_base[0], info.bar_size[0]), (base, size));
        assert_eq!(u64::from(w.k.machine.pci_read(DEVICE_FUNCTION, 0x10)), base, "what the device decodes");
        let decodes = w.k.machine.pci_read(DEVICE_FUNCTION, 4) & 2 != 0;
        assert_eq!(decodes, base != 0, "no interrupt table is written behind an address that nobody answers");
        let table = if base == 0 { 0 } else { base + MSIX_PAGE * 0x1000 };
        assert_eq!(w.k.devices[index].table, table);
    }
    // One that is set stays where it is.
    assert_eq!(w.k.devices[0].info.bar_base[0], BAR_BASE);
}

#[test]
fn configuration_space_is_read_within_its_bounds() {
    let mut w = World::new();
    for (offset, width) in [(256, 1), (1, 2), (2, 4), (0, 3), (u64::MAX - 3, 4), (u64::MAX, 1), (0, 8)] {
        let refused = w.refused(w.manager, Syscall::DeviceRead, [DEVICE.into(), offset, width, 0, 0]);
        assert_eq!(refused, Error::InvalidArgument, "{offset:#x}, {width}");
    }
}

#[test]
fn a_window_on_a_bar_hides_its_interrupt_table() {
    let mut w = World::new();
    let (child, slot) = (w.child(), w.slot());
    w.ok(w.manager, Syscall::DeviceBar, [DEVICE.into(), 0, slot.into(), ACCOUNT.into(), 0]);
    let rights = Rights::READ | Rights::WRITE;
    let args = [child.cap.into(), slot.into(), rights.bits().into(), 0, 0];
    assert_eq!(w.ok(w.manager, Syscall::MmioMap, args), USER_BASE + BAR_BASE);
    let mapped: std::vec::Vec<u64> =
        pages(&w.k, child.sandbox).iter().map(|p| p.0).filter(|&p| p >= BAR_BASE).collect();
    assert_eq!(mapped, [BAR_BASE, BAR_BASE + 0x1000, BAR_BASE + 0x3000]);
    assert_eq!(MSIX_PAGE, 2);
    let at = USER_BASE + BAR_BASE;
    assert_eq!(
        w.refused(child, Syscall::LogWrite, [0, at, 4, 0, 0]),
        Error::BadAddress,
        "not for the kernel"
    );
    check(&w.k);
}

#[test]
fn an_interrupt_vector_of_a_device_is_given_once_and_masked_when_it_goes() {
    let mut w = World::new();
    let (slot, n) = (w.slot(), w.notification());
    let args = [DEVICE.into(), 1, slot.into(), ACCOUNT.into(), 0];
    w.ok(w.manager, Syscall::DeviceVector, args);
    let again = [DEVICE.into(), 1, 500, ACCOUNT.into(), 0];
    assert_eq!(w.refused(w.manager, Syscall::DeviceVector, again), Error::Busy);
    let beyond = [DEVICE.into(), VECTORS, 500, ACCOUNT.into(), 0];
    assert_eq!(w.refused(w.manager, Syscall::DeviceVector, beyond), Error::InvalidArgument);
    bind(&mut w, slot, n, 1);
    let entry = BAR_BASE + MSIX_PAGE * 0x1000 + 16;
    let vector = w.k.machine.mmio[&(entry + 8)] as u8;
    assert_eq!((w.k.machine.mmio[&entry], w.k.machine.mmio[&(entry + 12)]), (0xfee0_0000, 0));
    w.k.interrupt(vector);
    assert_eq!(w.ok(w.manager, Syscall::Wait, [n.into(), 0, 0, 0, 0]), 1);
    w.ok(w.manager, Syscall::CapDelete, [SELF.into(), slot.into(), 0, 0, 0]);
    assert_eq!(w.k.machine.mmio[&(entry + 12)], 1, "masked");
    w.ok(w.manager, Syscall::DeviceVector, args);
    check(&w.k);
}

/// Or its keys would be another driver's interrupts: the vector is free.
#[test]
fn a_line_of_the_machine_is_masked_when_its_interrupt_goes() {
    for call in [Syscall::CapDelete, Syscall::Destroy] {
        let mut w = World::new();
        w.ok(w.manager, call, [SELF.into(), IRQ.into(), 0, 0, 0]);
        assert_eq!(w.k.machine.routed.last(), Some(&(4, None, false)), "{call:?}");
        check(&w.k);
    }
}

#[test]
fn bus_mastering_is_switched_by_the_devices_manager() {
    let mut w = World::new();
    let child = w.child();
    w.give(DEVICE, child, 3, Rights::READ);
    assert_eq!(w.refused(child, Syscall::DeviceMaster, [3, 1, 0, 0, 0]), Error::MissingRights);
    let command = |w: &mut World| w.ok(w.manager, Syscall::DeviceRead, [DEVICE.into(), 4, 2, 0, 0]);
    w.ok(w.manager, Syscall::DeviceMaster, [DEVICE.into(), 1, 0, 0, 0]);
    assert_eq!(command(&mut w) & 4, 4);
    w.ok(w.manager, Syscall::DeviceMaster, [DEVICE.into(), 0, 0, 0, 0]);
    assert_eq!(command(&mut w) & 4, 0);
}
