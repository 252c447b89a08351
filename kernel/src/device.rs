//! Devices: interrupts, register windows and PCI functions, under the kernel's rules.
//!
//! The kernel alone writes configuration space and MSI-X tables, so a driver can neither move a BAR onto memory nor lead an interrupt
//! elsewhere. What a device reaches by DMA is the business of [`crate::dma`], which interrupts it raises that of [`crate::remap`].

use crate::iommu::FAULT_VECTOR;
use crate::kernel::Kernel;
use crate::list::List;
use crate::machine::Machine;
use crate::objects::{Backing, Device, Header, Irq, IrqSource, ObjectRef, Region};
use crate::remap::message;
use core::ops::Range;
use hic_abi::object::DeviceInfo;
use hic_abi::{Error, Handle, ObjectType, PAGE_SIZE, Plain, Rights, USER_BASE};

/// First processor vector for devices; below are exceptions and ISA remnants.
const FIRST_VECTOR: u8 = 0x30;
/// Last one; above are that of the IOMMU, the timer and the spurious vector.
const LAST_VECTOR: u8 = FAULT_VECTOR - 1;
/// PCI command register: memory space on, bus master on (PCI 3.0, 6.2.2).
const COMMAND_MEMORY: u32 = 1 << 1;
const COMMAND_MASTER: u32 = 1 << 2;
const COMMAND_NO_INTX: u32 = 1 << 10;
/// MSI-X capability (PCI 3.0, 6.8.2).
const CAP_MSIX: u32 = 0x11;
const MSIX_ENABLE: u32 = 1 << 31;

/// Takes aligned space for a BAR out of the window, whole pages, so that it can be mapped alone; 0 when there is none left.
fn place(window: &mut Range<u64>, size: u64) -> u64 {
    let size = size.max(PAGE_SIZE);
    let base = window.start.checked_next_multiple_of(size).unwrap_or(u64::MAX);
    match base.checked_add(size) {
        Some(end) if end <= window.end => {
            window.start = end;
            base
        }
        _ => 0,
    }
}

impl<M: Machine> Kernel<M> {
    /// A device interrupt.
    pub fn interrupt(&mut self, vector: u8) {
        self.counters.interrupts += 1;
        let Some(irq) = self.vectors[usize::from(vector)] else {
            if vector == FAULT_VECTOR {
                self.refusals();
            }
            return;
        };
        let irq = &mut self.irqs[irq];
        irq.count += 1;
        match irq.target {
            Some((target, bits)) if self.notifications.is_live(target) => {
                self.signal_here(target.index, bits)
            }
            _ => irq.latched = true,
        }
    }

    /// `IrqBind`.
    pub(crate) fn sys_irq_bind(
        &mut self,
        irq: Handle,
        notification: Handle,
        bits: u64,
    ) -> Result<u64, Error> {
        let irq = self.object(irq, ObjectType::Irq, Rights::MANAGE)?;
        let notification = self.object(notification, ObjectType::Notification, Rights::SEND)?;
        self.bind_irq(irq, notification, bits);
        Ok(0)
    }

    /// Leads an interrupt to a notification; one that came before anybody was bound is delivered now.
    pub(crate) fn bind_irq(&mut self, irq: u32, notification: u32, bits: u64) {
        let Some(id) = self.notifications.id(notification) else { return };
        let irq = &mut self.irqs[irq];
        irq.target = Some((id, bits));
        if core::mem::take(&mut irq.latched) {
            self.signal(notification, bits);
        }
    }

    /// `IrqAck`: the count so far. All sources are edge triggered, so there is nothing to unmask.
    pub(crate) fn sys_irq_ack(&mut self, irq: Handle) -> Result<u64, Error> {
        let irq = self.object(irq, ObjectType::Irq, Rights::empty())?;
        self.answer(self.irqs[irq].count)
    }

    /// Makes an interrupt object on a free processor vector.
    pub(crate) fn new_irq(&mut self, header: Header, source: IrqSource) -> Result<ObjectRef, Error> {
        let vector = (FIRST_VECTOR..=LAST_VECTOR)
            .find(|&v| self.vectors[usize::from(v)].is_none())
            .ok_or(Error::PoolFull)?;
        let irq = Irq { header, source, vector, count: 0, latched: false, target: None };
        let id = self.irqs.insert(irq).map_err(|_| Error::PoolFull)?;
        self.vectors[usize::from(vector)] = Some(id.index);
        self.admit(vector, Some(source));
        self.lead(source, Some(vector));
        Ok(ObjectRef { kind: ObjectType::Irq, id })
    }

    /// Leads an interrupt to this vector, or masks it.
    fn lead(&mut self, source: IrqSource, vector: Option<u8>) {
        let remapped = self.remaps();
        match source {
            IrqSource::Isa(line) => self.machine.route_isa(line, vector, remapped),
            IrqSource::Msix { device, entry } => self.write_msix(device, entry, vector),
        }
    }

    /// An interrupt object ends: its source is masked, its vector free.
    pub(crate) fn destroy_irq(&mut self, index: u32) {
        let Some(irq) = self.irqs.remove(index) else { return };
        self.vectors[usize::from(irq.vector)] = None;
        self.lead(irq.source, None);
        self.admit(irq.vector, None);
        self.uncharge_object(irq.header);
    }

    /// Writes one MSI-X table entry: what raises the vector, or the mask bit.
    fn write_msix(&mut self, device: u32, entry: u16, vector: Option<u8>) {
        let at = self.devices[device].table + u64::from(entry) * 16;
        self.machine.mmio_write(at + 12, 1);
        if let Some(vector) = vector {
            let (address, data) = message(vector, self.remaps());
            self.machine.mmio_write(at, address);
            self.machine.mmio_write(at + 4, 0);
            self.machine.mmio_write(at + 8, data);
            self.machine.mmio_write(at + 12, 0);
        }
    }

    /// `IoRead` and `IoWrite`.
    pub(crate) fn sys_io(
        &mut self,
        handle: Handle,
        port: u64,
        width: u64,
        value: Option<u64>,
    ) -> Result<u64, Error> {
        let rights = if value.is_some() { Rights::WRITE } else { Rights::READ };
        let range = self.object(handle, ObjectType::IoPorts, rights)?;
        let range = &self.io_ranges[range];
        let (first, end) = (u64::from(range.base), u64::from(range.base) + u64::from(range.count));
        let inside = port >= first && port.checked_add(width).is_some_and(|last| last <= end);
        if !inside || !matches!(width, 1 | 2 | 4) {
            return Err(Error::InvalidArgument);
        }
        if let Some(value) = value {
            self.machine.io_write(port as u16, width as u8, value as u32);
            return Ok(0);
        }
        let value = self.machine.io_read(port as u16, width as u8);
        self.answer(value.into())
    }

    /// `DeviceInfo`.
    pub(crate) fn sys_device_info(&mut self, handle: Handle, address: u64) -> Result<u64, Error> {
        let device = self.object(handle, ObjectType::Device, Rights::READ)?;
        let info = self.devices[device].info;
        self.write_user(address, &info).map(|()| 0)
    }

    /// `DeviceRead`.
    pub(crate) fn sys_device_read(&mut self, handle: Handle, offset: u64, width: u64) -> Result<u64, Error> {
        let device = self.object(handle, ObjectType::Device, Rights::READ)?;
        if !matches!(width, 1 | 2 | 4) || !offset.is_multiple_of(width) || offset >= 256 {
            return Err(Error::InvalidArgument);
        }
        let word = self.machine.pci_read(self.devices[device].function, (offset & !3) as u16);
        let value = u64::from(word) >> (8 * (offset & 3)) & ((1 << (8 * width)) - 1);
        self.answer(value)
    }

    /// `DeviceMaster`.
    pub(crate) fn sys_device_master(&mut self, handle: Handle, on: u64) -> Result<u64, Error> {
        let device = self.object(handle, ObjectType::Device, Rights::MANAGE)?;
        self.set_master(device, on != 0);
        Ok(0)
    }

    /// Lets a device master the bus, or takes it off.
    pub(crate) fn set_master(&mut self, device: u32, on: bool) {
        let function = self.devices[device].function;
        let status_keeps = 0xffff;
        let command = self.machine.pci_read(function, 4) & status_keeps;
        let command = if on {
            command | COMMAND_MASTER | COMMAND_MEMORY | COMMAND_NO_INTX
        } else {
            command & !COMMAND_MASTER
        };
        self.machine.pci_write(function, 4, command);
    }

    /// `DeviceVector`.
    pub(crate) fn sys_device_vector(
        &mut self,
        handle: Handle,
        entry: u64,
        slot: Handle,
        account: Handle,
    ) -> Result<u64, Error> {
        let device = self.object(handle, ObjectType::Device, Rights::MANAGE)?;
        let account = self.object(account, ObjectType::Account, Rights::CHARGE)?;
        let owner = self.caller();
        let place = self.empty_slot(owner, slot)?;
        if entry >= self.devices[device].info.vectors {
            return Err(Error::InvalidArgument);
        }
        let source = IrqSource::Msix { device, entry: entry as u16 };
        let taken = (0..self.irqs.touched()).any(|i| self.irqs.at(i).is_some_and(|irq| irq.source == source));
        if taken {
            return Err(Error::Busy);
        }
        let header = self.charge_object(account)?;
        let object = self.new_irq(header, source).inspect_err(|_| self.uncharge_object(header))?;
        let Device { function, msix, .. } = self.devices[device];
        let control = self.machine.pci_read(function, msix);
        self.machine.pci_write(function, msix, control | MSIX_ENABLE);
        self.grant(owner, place, object, Rights::all());
        Ok(0)
    }

    /// `DeviceBar`.
    pub(crate) fn sys_device_bar(
        &mut self,
        handle: Handle,
        bar: u64,
        slot: Handle,
        account: Handle,
    ) -> Result<u64, Error> {
        let device = self.object(handle, ObjectType::Device, Rights::MANAGE)?;
        let account = self.object(account, ObjectType::Account, Rights::CHARGE)?;
        let owner = self.caller();
        let place = self.empty_slot(owner, slot)?;
        let info = &self.devices[device].info;
        let (Some(&base), Some(&size)) = (info.bar_base.get(bar as usize), info.bar_size.get(bar as usize))
        else {
            return Err(Error::InvalidArgument);
        };
        let reachable = base.checked_add(size).is_some_and(|end| end <= USER_BASE);
        if base == 0 || !base.is_multiple_of(PAGE_SIZE) || size == 0 || !reachable {
            return Err(Error::NotSupported);
        }
        let (hidden_bar, start, end) = self.devices[device].hidden;
        let hidden =
            if u64::from(hidden_bar) == bar { start / PAGE_SIZE..end.div_ceil(PAGE_SIZE) } else { 0..0 };
        let pages = size.div_ceil(PAGE_SIZE);
        let window = |header| Region::new(header, base, pages, Backing::Device { hidden });
        let id = self.make(account, |k| &mut k.regions, window)?;
        self.grant(owner, place, ObjectRef { kind: ObjectType::Mmio, id }, Rights::all());
        Ok(0)
    }

    /// Finds the PCI functions of bus 0 at boot.
    pub(crate) fn scan_pci(&mut self) {
        let mut window = self.machine.pci_window();
        for slot in 0..32u16 {
            for function in 0..8u16 {
                let function = slot << 3 | function;
                let id = self.machine.pci_read(function, 0);
                if id & 0xffff == 0xffff {
                    if function & 7 == 0 {
                        break;
                    }
                    continue;
                }
                self.add_device(function, id, &mut window);
                let header_type = self.machine.pci_read(function, 0xc) >> 16;
                if function & 7 == 0 && header_type & 0x80 == 0 {
                    break;
                }
            }
        }
    }

    fn add_device(&mut self, function: u16, id: u32, window: &mut Range<u64>) {
        let class = self.machine.pci_read(function, 8) >> 8;
        let header_type = self.machine.pci_read(function, 0xc) >> 16 & 0x7f;
        let mut info = DeviceInfo {
            address: u64::from(function),
            id: u64::from(id),
            class: u64::from(class),
            ..DeviceInfo::zeroed()
        };
        if header_type == 0 {
            self.size_bars(function, &mut info, window);
        }
        let mut device = Device {
            header: Header { account: 0, capabilities: 0 },
            function,
            info,
            msix: 0,
            table: 0,
            hidden: (0xff, 0, 0),
            mappings: List::new(),
            payer: 0,
            dma_table: 0,
        };
        self.find_msix(&mut device);
        let _ = self.devices.insert(device);
    }

    /// Sizes the memory BARs (PCI 3.0, 6.2.5.1), with decoding off meanwhile. Those that the firmware left unset get a place in the window.
    /// Afterwards memory is decoded, whatever the firmware left: the kernel writes interrupt tables before a driver asks for anything.
    fn size_bars(&mut self, function: u16, info: &mut DeviceInfo, window: &mut Range<u64>) {
        let command = self.machine.pci_read(function, 4) & 0xffff;
        self.machine.pci_write(function, 4, command & !3);
        let mut bar = 0;
        while bar < 6 {
            let offset = 0x10 + 4 * bar as u16;
            let low = self.machine.pci_read(function, offset);
            let wide = low & 6 == 4 && bar < 5;
            if low & 1 == 0 {
                let high = if wide { self.machine.pci_read(function, offset + 4) } else { 0 };
                self.machine.pci_write(function, offset, u32::MAX);
                let mut mask = u64::from(self.machine.pci_read(function, offset) & !0xf) | 0xffff_ffff << 32;
                self.machine.pci_write(function, offset, low);
                if wide {
                    self.machine.pci_write(function, offset + 4, u32::MAX);
                    mask = mask & 0xffff_ffff | u64::from(self.machine.pci_read(function, offset + 4)) << 32;
                    self.machine.pci_write(function, offset + 4, high);
                }
                let mut base = u64::from(low & !0xf) | u64::from(high) << 32;
                let size = (!mask).wrapping_add(1);
                let there = mask & 0xffff_fff0 != 0;
                if there && base == 0 {
                    base = place(window, size);
                    // The window is below 4 GiB; the upper half is zero already.
                    self.machine.pci_write(function, offset, base as u32 | low & 0xf);
                }
                if there && base != 0 {
                    info.bar_base[bar] = base;
                    info.bar_size[bar] = size;
                }
            }
            bar += if wide { 2 } else { 1 };
        }
        let memory = if info.bar_base.iter().any(|&base| base != 0) { COMMAND_MEMORY } else { 0 };
        self.machine.pci_write(function, 4, command | memory);
    }

    /// Finds the MSI-X capability and remembers where its table lies; a loop in the list ends after 48 steps.
    fn find_msix(&mut self, device: &mut Device) {
        let function = device.function;
        if self.machine.pci_read(function, 4) >> 16 & 0x10 == 0 {
            return;
        }
        let mut at = self.machine.pci_read(function, 0x34) as u16 & 0xfc;
        for _ in 0..48 {
            if at == 0 {
                return;
            }
            let head = self.machine.pci_read(function, at);
            if head & 0xff == CAP_MSIX {
                self.read_msix(device, at, head);
                return;
            }
            at = (head >> 8) as u16 & 0xfc;
        }
    }

    fn read_msix(&mut self, device: &mut Device, at: u16, head: u32) {
        let vectors = u64::from(head >> 16 & 0x7ff) + 1;
        let table = self.machine.pci_read(device.function, at + 4);
        let pending = self.machine.pci_read(device.function, at + 8);
        let (bar, offset) = (table & 7, u64::from(table & !7));
        let Some(&base) = device.info.bar_base.get(bar as usize) else { return };
        if base == 0 {
            return;
        }
        let mut end = offset + vectors * 16;
        if pending & 7 == bar {
            end = end.max(u64::from(pending & !7) + vectors.div_ceil(8));
        }
        device.info.vectors = vectors;
        device.msix = at;
        device.table = base + offset;
        device.hidden = (bar as u8, offset, end);
    }
}
