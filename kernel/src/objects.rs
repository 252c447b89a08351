//! The kernel objects as data. What may be done with them is in the modules named after the operations.

use crate::context::Context;
use crate::fastpath::{CallRoute, ReceiveRoute};
use crate::list::{Links, List, linked};
use crate::paging::Way;
use crate::pool::{Id, Link};
use hic_abi::object::SealSpec;
use hic_abi::syscall::Syscall;
use hic_abi::{Handle, ObjectType, Rights};

/// List tag: threads of one sandbox that are ready to run.
pub const READY: usize = 0;
/// List tag: all threads of one sandbox.
pub const MEMBERS: usize = 1;
/// List tag: callers queued on one port.
pub const CALLERS: usize = 2;
/// List tag: ports of one endpoint that have callers.
pub const PENDING: usize = 3;
/// List tag: sandboxes in one scheduler queue.
pub const RUNNABLE: usize = 4;
/// List tag: mappings of one region.
pub const OF_REGION: usize = 5;
/// List tag: mappings in one sandbox or device.
pub const IN_SPACE: usize = 6;

/// What every object has: who pays, and how many capabilities name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Index of the account that it is charged to.
    pub account: u32,
    /// Capabilities that name it; at 0 it is destroyed.
    pub capabilities: u32,
}

/// An object as a capability names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    /// Its type.
    pub kind: ObjectType,
    /// Its identity in the pool of its type; fixed objects (log, power, …) have index 0, generation 1.
    pub id: Id,
}

/// Pays for memory and objects.
#[derive(Debug)]
pub struct Account {
    /// Who pays for the account itself: its parent.
    pub header: Header,
    /// Its name for the console.
    pub name: [u8; 32],
    /// How many accounts are above it.
    pub depth: u32,
    /// Frames charged here.
    pub frames_used: u64,
    /// Of these, frames of page tables.
    pub page_tables: u64,
    /// Frames that may be charged here.
    pub frames_limit: u64,
    /// Objects charged here.
    pub objects_used: u64,
    /// Objects that may be charged here.
    pub objects_limit: u64,
}

impl Account {
    /// Whether this many more objects and frames can be charged here.
    #[inline]
    pub const fn affords(&self, objects: u64, frames: u64) -> bool {
        self.objects_limit.saturating_sub(self.objects_used) >= objects
            && self.frames_limit.saturating_sub(self.frames_used) >= frames
    }
}

/// What a thread does at this moment. Each variant holds what is needed to undo it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Runs, or would if it were its turn.
    Ready,
    /// Called this port; nobody has taken the call yet.
    Queued {
        /// The port.
        port: u32,
    },
    /// Its call was received by this thread.
    Awaiting {
        /// The receiver.
        server: u32,
    },
    /// Waits on this endpoint.
    Receiving {
        /// The endpoint.
        endpoint: u32,
    },
    /// Waits on this notification.
    Waiting {
        /// The notification.
        notification: u32,
    },
    /// Its sandbox froze; the fault message waits on this port.
    Faulted {
        /// The fault port.
        port: u32,
    },
    /// Its sandbox is frozen.
    Stopped,
}

/// A flow of control.
#[derive(Debug)]
pub struct Thread {
    /// Its registers while it does not run.
    pub context: Context,
    /// Who pays.
    pub header: Header,
    /// Its sandbox.
    pub sandbox: u32,
    /// Where that lies; a sandbox outlives its threads.
    pub home: Link<Sandbox>,
    /// What it does.
    pub state: State,
    /// Whether it waits until a deadline.
    pub timed: bool,
    /// The caller that it owes an answer; whoever stops waiting for one is taken out.
    pub serving: Option<Link<Thread>>,
    /// Where its last call led.
    pub call_route: Option<CallRoute>,
    /// Where its last answer was given.
    pub receive_route: Option<ReceiveRoute>,
    /// What it is ending or freezing, by a call that it makes again.
    pub begun: Option<(Syscall, ObjectRef)>,
    /// The notification that also ends its receive.
    pub bound: Option<Id>,
    /// Links on the ready list.
    pub ready: Links,
    /// Links on its sandbox's list.
    pub member: Links,
    /// Links on a port's caller list.
    pub caller: Links,
}

/// Processor time that a sandbox is guaranteed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Nanoseconds in each period; 0 = no budget kept.
    pub amount: u64,
    /// The period.
    pub period: u64,
    /// What is left in this period.
    pub left: u64,
    /// When this period began.
    pub since: u64,
}

impl Budget {
    /// Whether nothing is left of a budget that is kept.
    pub const fn is_spent(&self) -> bool {
        self.amount != 0 && self.left == 0
    }

    /// When the next period begins.
    pub const fn renewal(&self) -> u64 {
        self.since + self.period
    }
}

/// A share of the processor: priority, budget, and whether the budget is all that there is.
pub type Share = (u8, Budget, bool);

/// The scheduler queue that a sandbox with ready threads is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// None: no ready thread, or frozen.
    Idle,
    /// The queue of its priority.
    Priority,
    /// Its budget is spent.
    Spent,
    /// None: it froze, and some of its threads have not been stopped yet.
    Frozen,
}

/// An address space, a capability space and threads.
#[derive(Debug)]
pub struct Sandbox {
    /// Who pays.
    pub header: Header,
    /// Never used again.
    pub serial: u64,
    /// Its name.
    pub name: [u8; 32],
    /// Physical address of its top-level page table.
    pub root: u64,
    /// First slot of its capability space in the kernel's slot table.
    pub space: u32,
    /// Slots of its space.
    pub slots: u32,
    /// Filled slots.
    pub filled: u32,
    /// Scheduling priority.
    pub priority: u8,
    /// Its guarantee.
    pub budget: Budget,
    /// Whether it stops when its budget is spent.
    pub hard_limit: bool,
    /// Processor time used.
    pub cpu: u64,
    /// Frozen: nothing runs, all is kept.
    pub frozen: bool,
    /// Destroyed: no handle reaches it, and it is being taken apart.
    pub condemned: bool,
    /// Serial number of who destroyed it, or took the last capability on it.
    pub ended_by: u64,
    /// Of a frozen one, the first thread that has not been stopped yet.
    pub unstopped: Option<u32>,
    /// Slots of a condemned one that were emptied so far.
    pub swept: u32,
    /// What a preempted thread still has of its turn, nanoseconds; 0 = a whole turn.
    pub turn_left: u64,
    /// Where its faults go.
    pub fault_port: Option<Id>,
    /// The fault message, kept from the moment it froze.
    pub fault: [u64; 4],
    /// It freezes at this system call from now, for this reason; 0 = never.
    pub fuse: (u64, u64),
    /// Its ready threads.
    pub ready: List<READY>,
    /// All its threads.
    pub threads: List<MEMBERS>,
    /// Its mappings.
    pub mappings: List<IN_SPACE>,
    /// Mappings in other spaces that were made by its capabilities.
    pub lent: u32,
    /// The scheduler queue it is on.
    pub queue: Queue,
    /// Links on that queue.
    pub runnable: Links,
}

impl Sandbox {
    /// Place in the kernel's slot table of a slot of its space; slot 0 is none.
    #[inline]
    pub fn place(&self, slot: Handle) -> Option<u32> {
        (slot != 0 && slot < self.slots).then(|| self.space + slot)
    }
}

/// What stands behind a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backing {
    /// Frames from the allocator.
    Frames,
    /// The same, for two sandboxes and nobody else.
    Channel {
        /// Their serial numbers.
        ends: [u64; 2],
    },
    /// Memory that the boot loader filled (the boot archive).
    Boot,
    /// Device registers; capabilities name it as [`ObjectType::Mmio`]. The pages in `hidden` (MSI-X tables) are mapped nowhere.
    Device {
        /// Pages that only the kernel touches.
        hidden: core::ops::Range<u64>,
    },
}

/// Contiguous physical memory, or a window of device registers.
#[derive(Debug)]
pub struct Region {
    /// Who pays.
    pub header: Header,
    /// Physical address.
    pub base: u64,
    /// Pages.
    pub pages: u64,
    /// How it is divided, once sealed.
    pub seal: Option<SealSpec>,
    /// What stands behind it.
    pub backing: Backing,
    /// Somebody is destroying it: it is mapped nowhere any more.
    pub leaving: bool,
    /// Where it is mapped.
    pub mappings: List<OF_REGION>,
}

/// Who reaches a region through a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// The threads of a sandbox.
    Sandbox(u32),
    /// A device, by DMA.
    Device(u32),
}

impl Region {
    /// One that is mapped nowhere yet.
    #[inline]
    pub const fn new(header: Header, base: u64, pages: u64, backing: Backing) -> Self {
        Self { header, base, pages, seal: None, backing, leaving: false, mappings: List::new() }
    }
}

/// One region in one sandbox or device.
#[derive(Debug)]
pub struct Mapping {
    /// Where its pages are in the tables of a sandbox.
    pub way: Way,
    /// The region.
    pub region: u32,
    /// Who reaches it.
    pub space: Space,
    /// The sandbox by whose capability it was made: itself, or whoever manages the sandbox or device.
    pub holder: u32,
    /// How it is mapped: what a capability has to allow for the mapping to hang on it.
    pub rights: Rights,
    /// Links on the region's list.
    pub of_region: Links,
    /// Links on the list of the sandbox or device.
    pub in_space: Links,
}

/// Where a server receives. One thread at a time waits on it (docs/adr/0004).
#[derive(Debug)]
pub struct Endpoint {
    /// Who pays.
    pub header: Header,
    /// The waiting thread.
    pub receiver: Option<Link<Thread>>,
    /// Ports with callers, in the order in which they became non-empty.
    pub pending: List<PENDING>,
    /// Where signals on its ports go.
    pub bell: Option<Id>,
}

/// What a client calls.
#[derive(Debug)]
pub struct Port {
    /// Who pays.
    pub header: Header,
    /// Where it leads.
    pub endpoint: Id,
    /// What the server sees.
    pub badge: u64,
    /// Queued callers.
    pub callers: List<CALLERS>,
    /// Destroyed: no handle reaches it, and it ends with its last caller.
    pub dead: bool,
    /// Capabilities with SEND.
    pub senders: u32,
    /// Signalled when the last sender is gone.
    pub watch: Option<(Id, u64)>,
    /// How often it was switched.
    pub switches: u64,
    /// Links on the endpoint's pending list, or on that of ports whose callers wait in vain.
    pub pending: Links,
}

/// A word of signal bits.
#[derive(Debug)]
pub struct Notification {
    /// Who pays.
    pub header: Header,
    /// Bits not yet taken.
    pub bits: u64,
    /// The thread that waits for them.
    pub waiter: Option<Link<Thread>>,
    /// The thread whose receive they end.
    pub bound: Option<Id>,
}

/// Where an interrupt comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IrqSource {
    /// An ISA line.
    Isa(u8),
    /// An MSI-X vector of a device.
    Msix {
        /// Index of the device.
        device: u32,
        /// Number of the vector in the device's table.
        entry: u16,
    },
}

/// An interrupt source.
#[derive(Debug)]
pub struct Irq {
    /// Who pays.
    pub header: Header,
    /// Where it comes from.
    pub source: IrqSource,
    /// The processor vector it arrives on.
    pub vector: u8,
    /// Interrupts so far; survives a rebind.
    pub count: u64,
    /// Interrupts that came before anybody was bound.
    pub latched: bool,
    /// Who is told.
    pub target: Option<(Id, u64)>,
}

/// A range of I/O ports.
#[derive(Debug)]
pub struct IoRange {
    /// Who pays.
    pub header: Header,
    /// First port.
    pub base: u16,
    /// Number of ports.
    pub count: u32,
}

/// A PCI function.
#[derive(Debug)]
pub struct Device {
    /// Who pays.
    pub header: Header,
    /// Bus << 8 | device << 3 | function.
    pub function: u16,
    /// What a driver may know of it.
    pub info: hic_abi::object::DeviceInfo,
    /// Offset of the MSI-X capability in configuration space; 0 = none.
    pub msix: u16,
    /// Physical address of the MSI-X table.
    pub table: u64,
    /// BAR that holds the table, and the bytes `[start, end)` of it that drivers never see.
    pub hidden: (u8, u64, u64),
    /// What it reaches by DMA.
    pub mappings: List<IN_SPACE>,
    /// Who pays for its lower page tables, while it has mappings.
    pub payer: u32,
    /// Physical address of its page table of level 3; 0 = there is no IOMMU.
    pub dma_table: u64,
}

linked!(Thread, READY, ready);
linked!(Thread, MEMBERS, member);
linked!(Thread, CALLERS, caller);
linked!(Port, PENDING, pending);
linked!(Sandbox, RUNNABLE, runnable);
linked!(Mapping, OF_REGION, of_region);
linked!(Mapping, IN_SPACE, in_space);
