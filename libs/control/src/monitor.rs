//! Requests to the monitor.

use hic_abi::Plain;

/// Answers a [`Health`] inline.
pub const STATUS: u32 = 1;
/// Word 0 = index of an audit record, 0 = the oldest kept; answers a [`hic_abi::audit::Record`] inline, word 0 = records kept.
pub const AUDIT_READ: u32 = 2;
/// Recomputes the chain over all records kept, in steps. Word 0 = 0 begins, word 0 = the records checked so far goes on; answers word 0 =
/// records checked so far, word 1 = sequence number of the first bad one (with [`crate::Refusal::BrokenChain`]), word 2 = 1 while there
/// is more. [`crate::Refusal::WrongState`]: the monitor knows of no such verification (it was restarted): begin again.
pub const AUDIT_VERIFY: u32 = 3;
/// Word 0 = index; answers a [`FaultInfo`] inline, newest first.
pub const FAULTS: u32 = 4;

/// The monitor's view of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Health {
    /// Services watched.
    pub services: u64,
    /// Of these, running and answering.
    pub healthy: u64,
    /// Faults seen since boot.
    pub faults: u64,
    /// Restarts asked for since boot.
    pub restarts: u64,
    /// Liveness questions not answered in time since boot.
    pub missed: u64,
}

/// One fault, as the monitor remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct FaultInfo {
    /// When, monotonic nanoseconds.
    pub nanos: u64,
    /// Index of the service at the module manager.
    pub service: u64,
    /// Serial number of its sandbox: another instance may be at this index by now. 0 = not known.
    pub serial: u64,
    /// Cause, detail, address, instruction pointer.
    pub words: [u64; 4],
}

// SAFETY: `repr(C)`, integers of 8 bytes only, no padding.
unsafe impl Plain for Health {}
// SAFETY: `repr(C)`, integers of 8 bytes only, no padding.
unsafe impl Plain for FaultInfo {}
