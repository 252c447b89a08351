//! The kernel's fixed bounds, each with its reason.
//!
//! All tables are carved from one arena at boot, so that no path allocates kernel memory and `memory` can account for
//! every frame from the first instruction on.

/// Sandboxes alive or frozen: a thousand services and applications, twice over during an update.
pub const MAX_SANDBOXES: usize = 2048;
/// Threads: 10,000 callers queued on one port (benchmark `port_switch_10000`) and the services beside them.
pub const MAX_THREADS: usize = 12_288;
/// Accounts: one a sandbox.
pub const MAX_ACCOUNTS: usize = 2048;
/// Accounts above an account: with the last thing that it pays for it may end, and so may each of them.
pub const MAX_ACCOUNT_DEPTH: u32 = 32;
/// Regions: each live connection has one.
pub const MAX_REGIONS: usize = 16_384;
/// Region and window mappings: each connection's region is mapped by the stack and by its application.
pub const MAX_MAPPINGS: usize = 40_960;
/// Endpoints: a few for each service.
pub const MAX_ENDPOINTS: usize = 4096;
/// Ports: one a connection and one for each client of a service; growth is measured to 100,000.
pub const MAX_PORTS: usize = 102_400;
/// Notifications.
pub const MAX_NOTIFICATIONS: usize = 16_384;
/// Interrupt sources: ISA lines and MSI-X vectors.
pub const MAX_IRQS: usize = 256;
/// I/O port ranges.
pub const MAX_IO_RANGES: usize = 128;
/// PCI functions on bus 0.
pub const MAX_DEVICES: usize = 64;
/// Capability slots of all spaces together.
pub const MAX_CAP_SLOTS: usize = 262_144;
/// Frames that the frame table covers: 8 GiB.
pub const MAX_FRAMES: usize = 2 * 1024 * 1024;
/// Raw audit records kept until they are drained.
pub const AUDIT_RECORDS: usize = 4096;
/// Audit records in one window of [`AUDIT_WINDOW`]; what is beyond is counted and becomes a gap record.
pub const AUDIT_RATE: u64 = 8192;
/// How long a window of the audit rate cap lasts at least, nanoseconds; the next one begins with the first record that finds no room in it.
pub const AUDIT_WINDOW: u64 = 1_000_000_000;
/// Bytes of the kernel's log ring.
pub const LOG_BYTES: usize = 256 * 1024;
/// How long a thread runs before another of the same priority has its turn, nanoseconds.
pub const TIME_SLICE: u64 = 4_000_000;
/// Frames that are zeroed in one piece, with interrupts off. Longer runs that are given back are zeroed when the processor has nothing
/// else to do, or when somebody needs the memory.
pub const ZERO_AT_ONCE: u64 = 8;
/// Work that one entry into the kernel does of what may be done in parts, with interrupts off: a capability, a thread or a caller counts one, the
/// end of a mapping one and one more for each [`ENTRIES_AN_EFFORT`] entries of page tables. About 12,000 instructions.
pub const EFFORT: u32 = 64;
/// Entries of page tables whose filling or emptying counts as much as a capability's end.
pub const ENTRIES_AN_EFFORT: u64 = 16;
/// What the end of a mapping in a device counts beyond that of one in a sandbox: its IOMMU is told, and waited for, some microseconds.
pub const DEVICE_EFFORT: u32 = 16;
/// Such work that the moves of one transaction or one message may make at most: they are done whole or not at all. Who has more to move does it by
/// `CapMove`, which goes in parts. About 200,000 instructions.
pub const MOVE_EFFORT: u32 = 1024;
/// Shortest time for which the timer is armed, so that a deadline in the past cannot storm.
pub const MIN_TIMER: u64 = 20_000;
