//! The first sandbox: from what the boot loader left to a keeper that holds everything.
//!
//! The keeper gets one capability on each device, on the root account and on each fixed object; all authority in the system derives from
//! these. After this, Core-0 makes nothing of its own accord.

use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::objects::{Account, Backing, Header, IoRange, IrqSource, ObjectRef, Region, Space};
use crate::pool::{Id, NONE};
use core::fmt;
use core::ops::Range;
use hic_abi::audit::Event;
use hic_abi::object::{SandboxSpec, SealSpec, ThreadSpec};
use hic_abi::start::{ClockPage, Grant, InstanceLayout, START_MAGIC, StartPage};
use hic_abi::{ObjectType, PAGE_SIZE, Plain, Rights, USER_BASE, name_bytes};
use hic_hicmod::container::Container;
use hic_hicmod::{Archive, Image};

/// Name of the first sandbox's module in the boot archive.
pub const KEEPER: &str = "keeper";
const KEEPER_STACK_PAGES: u64 = 8;
const KEEPER_HEAP_PAGES: u64 = 16;
const KEEPER_SLOTS: u64 = 1024;
/// Above every service: the keeper works only when one of the keepers died.
const KEEPER_PRIORITY: u64 = 30;
/// ISA lines that a driver may be given: the serial ports; the rest of the devices use MSI-X.
const ISA_LINES: [u8; 2] = [3, 4];

/// What the boot code found.
pub struct BootInfo<'a> {
    /// Usable memory, page aligned, ascending, zero, without anything that is in use.
    pub memory: &'a [Range<u64>],
    /// Frames of usable memory before the kernel took its share.
    pub total_frames: u64,
    /// Frames that the kernel, its arena and the boot archive take.
    pub kernel_frames: u64,
    /// Where the boot archive lies, page aligned.
    pub archive: Range<u64>,
    /// The same, as bytes.
    pub archive_bytes: &'static [u8],
    /// Clock parameters.
    pub clock: ClockPage,
    /// Physical addresses of the registers of each IOMMU.
    pub iommus: &'a [u64],
    /// The source of the I/O APIC's interrupts, where the platform lets interrupts be remapped.
    pub io_apic: Option<u16>,
}

/// Why the system cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootError {
    /// The boot archive is missing or damaged.
    Archive,
    /// It holds no keeper, or a damaged one.
    Keeper,
    /// There is not enough memory for the first sandbox.
    Memory,
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Archive => "the boot archive's table is missing or damaged",
            Self::Keeper => "the boot archive holds no keeper, or a damaged one",
            Self::Memory => "there is not enough memory for the first sandbox",
        })
    }
}

/// Makes the kernel and its first sandbox.
///
/// # Errors
/// A [`BootError`]: nothing can run, and the caller says so on the serial port.
pub fn start<M: Machine>(
    machine: M,
    info: &BootInfo<'_>,
    arena: &'static mut [u8],
) -> Result<Kernel<M>, BootError> {
    let mut kernel = Kernel::new(machine, arena, info.memory);
    kernel.total_frames = info.total_frames;
    kernel.kernel_frames = info.kernel_frames;
    let archive = Archive::parse(info.archive_bytes).map_err(|_| BootError::Archive)?;
    let file = archive.find(KEEPER).ok_or(BootError::Keeper)?.bytes().map_err(|_| BootError::Keeper)?;
    let container = Container::parse(file).map_err(|_| BootError::Keeper)?;
    let image = container.image().ok_or(BootError::Keeper)?.map_err(|_| BootError::Keeper)?;
    let root = kernel.root_account()?;
    kernel.scan_pci();
    kernel.confine_devices(root, info.iommus, info.io_apic);
    kernel.record(Event::Boot, 0, info.total_frames, 0, [0; 32]);
    kernel.start_keeper(root, &image, info)?;
    Ok(kernel)
}

/// Hands out the keeper's first capabilities and remembers them for its start page.
struct Grants {
    sandbox: u32,
    page: StartPage,
}

impl<M: Machine> Kernel<M> {
    fn root_account(&mut self) -> Result<u32, BootError> {
        let account = Account {
            header: Header { account: NONE, capabilities: 1 },
            name: name_bytes("root"),
            depth: 0,
            frames_used: 0,
            page_tables: 0,
            frames_limit: self.frames.free_count(),
            objects_used: 0,
            objects_limit: u64::from(u32::MAX),
        };
        self.accounts.insert(account).map(|id| id.index).map_err(|_| BootError::Memory)
    }

    /// A region over memory that is not the allocator's; the kernel holds one reference, so it never dies.
    fn fixed_region(&mut self, root: u32, range: &Range<u64>) -> Result<Id, BootError> {
        let pages = (range.end - range.start).div_ceil(PAGE_SIZE);
        let header = Header { account: root, capabilities: 1 };
        let region = Region::new(header, range.start, pages, Backing::Boot);
        self.regions.insert(region).map_err(|_| BootError::Memory)
    }

    /// A zeroed frame for the kernel itself, at boot.
    pub(crate) fn kernel_frame(&mut self, root: u32) -> Option<u64> {
        let frame = self.frames.allocate(1)?;
        self.accounts[root].frames_limit -= 1;
        self.kernel_frames += 1;
        Some(frame)
    }

    fn start_keeper(&mut self, root: u32, image: &Image<'_>, info: &BootInfo<'_>) -> Result<(), BootError> {
        let spec = SandboxSpec {
            slots: KEEPER_SLOTS,
            priority: KEEPER_PRIORITY,
            budget: 0,
            period: 0,
            hard_limit: 0,
            name: name_bytes(KEEPER),
            purpose: name_bytes("boot"),
        };
        let sandbox = self.new_sandbox(root, &spec).map_err(|_| BootError::Memory)?;
        let layout = InstanceLayout {
            image_pages: image.memory_pages() as u64,
            stack_pages: KEEPER_STACK_PAGES,
            heap_pages: KEEPER_HEAP_PAGES,
        };
        let (region, base) = self.new_region(root, layout.bytes()).map_err(|_| BootError::Memory)?;
        let address = USER_BASE + base;
        let memory = self.machine.memory_mut(base, image.memory_bytes() as u64);
        let placed = image.place(memory, address).map_err(|_| BootError::Keeper)?;
        let map = image.layout();
        let seal = SealSpec {
            read_only: (map.ro.len() as u64) / PAGE_SIZE,
            execute: (map.rx.len() as u64) / PAGE_SIZE,
            guard: layout.guard_page(),
        };
        self.seal(region.index, seal).map_err(|_| BootError::Keeper)?;
        self.sandboxes[sandbox.index].header.capabilities = 1;
        let mut grants = Grants { sandbox: sandbox.index, page: StartPage::zeroed() };
        self.grant_everything(&mut grants, root, info)?;
        let own = ObjectRef { kind: ObjectType::Region, id: region };
        self.first_grant(&mut grants, "region:own", own, Rights::all(), address, layout.bytes())?;
        let rights = Rights::READ | Rights::WRITE | Rights::EXECUTE;
        let own = Space::Sandbox(sandbox.index);
        self.map_region(own, region.index, rights, sandbox.index).map_err(|_| BootError::Memory)?;
        let page = &mut grants.page;
        page.magic = START_MAGIC;
        page.name = name_bytes(KEEPER);
        (page.heap, page.heap_bytes) = (address + layout.heap(), layout.heap_pages * PAGE_SIZE);
        page.slots = KEEPER_SLOTS;
        page.first_free_slot = page.grant_count + 1;
        self.machine.write(base + layout.start_page(), page.as_bytes());
        let start = address + layout.start_page();
        let thread = ThreadSpec { entry: placed.entry, stack: start - 8, argument: start };
        self.new_thread(root, sandbox.index, &thread).map_err(|_| BootError::Memory)?;
        Ok(())
    }

    fn grant_everything(
        &mut self,
        grants: &mut Grants,
        root: u32,
        info: &BootInfo<'_>,
    ) -> Result<(), BootError> {
        let fixed = Id { index: 0, generation: 1 };
        let root_id = self.accounts.id(root).ok_or(BootError::Memory)?;
        let account = ObjectRef { kind: ObjectType::Account, id: root_id };
        self.first_grant(grants, "account:root", account, Rights::all(), 0, 0)?;
        for kind in [ObjectType::Audit, ObjectType::Log, ObjectType::Entropy, ObjectType::Power] {
            self.first_grant(grants, kind.name(), ObjectRef { kind, id: fixed }, Rights::all(), 0, 0)?;
        }
        let archive_id = self.fixed_region(root, &info.archive)?;
        let archive = ObjectRef { kind: ObjectType::Region, id: archive_id };
        let readable = Rights::READ | Rights::COPY;
        let bytes = info.archive_bytes.len() as u64;
        self.first_grant(grants, "archive", archive, readable, USER_BASE + info.archive.start, bytes)?;
        let frame = self.kernel_frame(root).ok_or(BootError::Memory)?;
        self.machine.write(frame, info.clock.as_bytes());
        let id = self.fixed_region(root, &(frame..frame + PAGE_SIZE))?;
        let clock = ObjectRef { kind: ObjectType::Clock, id };
        self.first_grant(grants, "clock", clock, readable, 0, 0)?;
        let whole = |header| IoRange { header, base: 0, count: 0x1_0000 };
        let id = self.make(root, |k| &mut k.io_ranges, whole).map_err(|_| BootError::Memory)?;
        let range = ObjectRef { kind: ObjectType::IoPorts, id };
        self.first_grant(grants, "io-ports", range, Rights::all(), 0, 0x1_0000)?;
        for line in ISA_LINES {
            let header = self.charge_object(root).map_err(|_| BootError::Memory)?;
            let irq = self.new_irq(header, IrqSource::Isa(line)).map_err(|_| BootError::Memory)?;
            self.first_grant(grants, "irq", irq, Rights::all(), u64::from(line), 0)?;
        }
        for index in 0..self.devices.touched() {
            let Some(id) = self.devices.id(index) else { continue };
            let (pci_id, function) = (self.devices[index].info.id, self.devices[index].info.address);
            let device = ObjectRef { kind: ObjectType::Device, id };
            self.first_grant(grants, "device", device, Rights::all(), pci_id, function)?;
        }
        Ok(())
    }

    fn first_grant(
        &mut self,
        grants: &mut Grants,
        name: &str,
        object: ObjectRef,
        rights: Rights,
        address: u64,
        length: u64,
    ) -> Result<(), BootError> {
        let slot = grants.page.grant_count as u32 + 1;
        let place = self.empty_slot(grants.sandbox, slot).map_err(|_| BootError::Memory)?;
        let entry = grants.page.grants.get_mut(slot as usize - 1).ok_or(BootError::Memory)?;
        *entry = Grant { name: name_bytes(name), slot, object_type: object.kind as u32, address, length };
        self.grant(grants.sandbox, place, object, rights);
        grants.page.grant_count += 1;
        Ok(())
    }
}
