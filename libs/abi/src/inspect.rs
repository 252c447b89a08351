//! What the holder of the audit capability (INSPECT) may look at. Reading changes nothing.

use crate::plain;

/// What to look at. Lists are walked by index: [`crate::Error::InvalidHandle`] beyond the end; a free index gives a record
/// whose first field is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum What {
    /// [`MemoryInfo`]; the index is ignored.
    Memory = 0,
    /// [`AccountInfo`].
    Account = 1,
    /// [`SandboxInfo`].
    Sandbox = 2,
    /// [`PortInfo`].
    Port = 3,
    /// [`CapInfo`]; the index is sandbox index << 32 | slot.
    Capability = 4,
    /// [`SystemInfo`]; the index is ignored.
    System = 5,
}

impl What {
    /// Reads the number.
    #[must_use]
    pub const fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Memory),
            1 => Some(Self::Account),
            2 => Some(Self::Sandbox),
            3 => Some(Self::Port),
            4 => Some(Self::Capability),
            5 => Some(Self::System),
            _ => None,
        }
    }
}

/// Every frame of memory, by use. `total = kernel + free + charged`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct MemoryInfo {
    /// Frames of usable memory that the boot loader reported.
    pub total: u64,
    /// Frames of the kernel: image, tables and pools.
    pub kernel: u64,
    /// Frames that nobody has.
    pub free: u64,
    /// Of these, frames that were given back and wait to be zeroed; nobody gets them before.
    pub dirty: u64,
    /// Frames charged to accounts.
    pub charged: u64,
    /// The largest free block, frames.
    pub largest_free: u64,
}

/// One account.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct AccountInfo {
    /// Its generation; 0 = free index.
    pub generation: u64,
    /// Frames charged to it directly, page tables included.
    pub frames_used: u64,
    /// Of these, frames of page tables: how many it takes depends on where regions lie, not only on how many there are.
    pub page_tables: u64,
    /// Its frame limit, with what it gave to children taken off.
    pub frames_limit: u64,
    /// Kernel objects charged.
    pub objects_used: u64,
    /// Its object limit.
    pub objects_limit: u64,
    /// Its name.
    pub name: [u8; 32],
}

/// One sandbox.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct SandboxInfo {
    /// Its serial number, never used again; 0 = free index.
    pub serial: u64,
    /// 0 = runs, 1 = frozen.
    pub frozen: u64,
    /// Threads.
    pub threads: u64,
    /// Filled slots of its capability space.
    pub capabilities: u64,
    /// Slots of its capability space.
    pub slots: u64,
    /// Processor time used so far, nanoseconds.
    pub cpu_nanos: u64,
    /// Its priority.
    pub priority: u64,
    /// Processor time guaranteed in each period, nanoseconds; 0 = no budget is kept.
    pub budget: u64,
    /// The period, nanoseconds.
    pub period: u64,
    /// 1 = it gets nothing beyond the budget.
    pub hard_limit: u64,
    /// Index of its account.
    pub account: u64,
    /// Its name.
    pub name: [u8; 32],
}

/// One port.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct PortInfo {
    /// Its generation; 0 = free index.
    pub generation: u64,
    /// Its badge.
    pub badge: u64,
    /// Index of the endpoint it leads to.
    pub endpoint: u64,
    /// Callers queued on it.
    pub queued: u64,
    /// Capabilities with SEND on it.
    pub senders: u64,
    /// How often it was switched.
    pub switches: u64,
    /// Index of its account.
    pub account: u64,
}

/// One capability of a sandbox.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CapInfo {
    /// An [`crate::ObjectType`] number; 0 = empty slot.
    pub object_type: u64,
    /// Its rights.
    pub rights: u64,
    /// Index of the object.
    pub object: u64,
    /// Capabilities derived from it directly.
    pub children: u64,
}

/// The system as a whole.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct SystemInfo {
    /// Sandboxes, live and frozen.
    pub sandboxes: u64,
    /// Threads.
    pub threads: u64,
    /// Ports.
    pub ports: u64,
    /// Endpoints.
    pub endpoints: u64,
    /// Regions.
    pub regions: u64,
    /// Filled capability slots.
    pub capabilities: u64,
    /// System calls served since boot.
    pub system_calls: u64,
    /// Interrupts taken since boot.
    pub interrupts: u64,
    /// Thread switches since boot.
    pub switches: u64,
    /// Nanoseconds spent idle since boot.
    pub idle_nanos: u64,
    /// Audit records appended since boot.
    pub audit_records: u64,
    /// Audit records that the rate cap dropped (each gap is itself a record).
    pub audit_dropped: u64,
    /// 1 = an IOMMU confines each device to what its driver maps into it; 0 = devices reach all memory.
    pub dma_confined: u64,
    /// Accesses and interrupts of devices that the IOMMU refused since boot.
    pub dma_refused: u64,
    /// 1 = interrupts are remapped: a device raises its own; 0 = a device can raise any.
    pub interrupts_remapped: u64,
}

plain!(MemoryInfo, AccountInfo, SandboxInfo, PortInfo, CapInfo, SystemInfo);
