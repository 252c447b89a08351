//! Object types and the specifications from which they are made.

use crate::plain;

/// What a capability can name. As wide as the other fields of a capability, so that those are copied without seams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ObjectType {
    /// Pays for memory and kernel objects.
    Account = 1,
    /// An address space, a capability space and the threads in it.
    Sandbox = 2,
    /// A flow of control in a sandbox.
    Thread = 3,
    /// Contiguous physical memory.
    Region = 4,
    /// Where a server receives.
    Endpoint = 5,
    /// What a client calls; leads to an endpoint, and can be switched to another.
    Port = 6,
    /// A word of signal bits.
    Notification = 7,
    /// An interrupt source.
    Irq = 8,
    /// A window of device registers.
    Mmio = 9,
    /// A range of x86 I/O ports.
    IoPorts = 10,
    /// A PCI function: its configuration space and MSI-X vectors, under the kernel's rules.
    Device = 11,
    /// The audit log, and with it the right to inspect.
    Audit = 12,
    /// The kernel's log ring.
    Log = 13,
    /// The hardware's random number generator.
    Entropy = 14,
    /// Power-off and reset.
    Power = 15,
    /// The clock page: monotonic and wall time without a system call.
    Clock = 16,
}

impl ObjectType {
    /// All types, in the order of their numbers.
    pub const ALL: [Self; 16] = [
        Self::Account,
        Self::Sandbox,
        Self::Thread,
        Self::Region,
        Self::Endpoint,
        Self::Port,
        Self::Notification,
        Self::Irq,
        Self::Mmio,
        Self::IoPorts,
        Self::Device,
        Self::Audit,
        Self::Log,
        Self::Entropy,
        Self::Power,
        Self::Clock,
    ];

    /// The type with this number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|t| *t as u64 == number)
    }

    /// The name used on the console.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Sandbox => "sandbox",
            Self::Thread => "thread",
            Self::Region => "region",
            Self::Endpoint => "endpoint",
            Self::Port => "port",
            Self::Notification => "notification",
            Self::Irq => "irq",
            Self::Mmio => "mmio",
            Self::IoPorts => "io-ports",
            Self::Device => "device",
            Self::Audit => "audit",
            Self::Log => "log",
            Self::Entropy => "entropy",
            Self::Power => "power",
            Self::Clock => "clock",
        }
    }
}

/// A new account's limits; they are taken from the parent's. Its name has no control characters.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct AccountSpec {
    /// Frames (4 KiB) that may be charged.
    pub frames: u64,
    /// Kernel objects that may be charged; a capability space of n slots costs n / 64 frames instead.
    pub objects: u64,
    /// A name for the console.
    pub name: [u8; 32],
}

/// Highest sandbox priority; the lowest is 0.
pub const MAX_PRIORITY: u64 = 31;

/// A share of the processor, as in [`SandboxSpec`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Scheduling priority, 0..=[`MAX_PRIORITY`].
    pub priority: u64,
    /// Processor time guaranteed in each period, nanoseconds; 0 = no budget is kept.
    pub budget: u64,
    /// The period, nanoseconds; 1 ms to 1 s.
    pub period: u64,
    /// Whether it gets nothing beyond the budget.
    pub hard_limit: bool,
}

/// A new sandbox. Its name has no control characters.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct SandboxSpec {
    /// Slots in its capability space: a power of two from 64 to 65,536.
    pub slots: u64,
    /// Scheduling priority, 0..=[`MAX_PRIORITY`], of all its threads.
    pub priority: u64,
    /// Processor time guaranteed in each period, nanoseconds; 0 = the whole period.
    pub budget: u64,
    /// The period, nanoseconds; 1 ms to 1 s.
    pub period: u64,
    /// 1 = throttled when the budget is spent; 0 = goes on at the lowest priority (work-conserving).
    pub hard_limit: u64,
    /// Its name, for example `netstack-v1.3.0-temp` (ledger P2.1).
    pub name: [u8; 32],
    /// Why it was made, for the audit log.
    pub purpose: [u8; 32],
}

/// A new thread. It starts at once, unless its sandbox is frozen.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ThreadSpec {
    /// Where it starts.
    pub entry: u64,
    /// Its first stack pointer; the System V ABI wants it 8 below a multiple of 16 at `entry` (as after a call).
    pub stack: u64,
    /// What `rdi` holds at entry.
    pub argument: u64,
}

/// How a region is divided once it is sealed (W^X). Pages: `[0, read_only)` readable, then `execute` executable ones, the rest
/// writable, but for one guard page that is mapped nowhere (0 = none).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SealSpec {
    /// Pages that can only be read.
    pub read_only: u64,
    /// Executable pages after them.
    pub execute: u64,
    /// The guard page's number within the region; it must be a writable page.
    pub guard: u64,
}

/// A channel: a region that these two sandboxes may map, and nobody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ChannelSpec {
    /// Handles of the two (MANAGE), or [`crate::SELF`].
    pub ends: [u64; 2],
}

/// What a sandbox asks of a device ([`crate::syscall::Syscall::DeviceInfo`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct DeviceInfo {
    /// Bus, device and function in the usual 16-bit form.
    pub address: u64,
    /// PCI vendor | device << 16.
    pub id: u64,
    /// PCI class code, 24 bits.
    pub class: u64,
    /// Physical base of each memory BAR; 0 = none.
    pub bar_base: [u64; 6],
    /// Its size in bytes.
    pub bar_size: [u64; 6],
    /// MSI-X vectors it has; 0 = it has no MSI-X.
    pub vectors: u64,
}

plain!(AccountSpec, SandboxSpec, ThreadSpec, SealSpec, ChannelSpec, DeviceInfo);
