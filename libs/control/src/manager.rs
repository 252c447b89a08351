//! Requests to the module manager.

use hic_abi::Plain;

/// Word 0 = index; answers a [`ServiceInfo`] inline. [`crate::Refusal::NotFound`] beyond the last.
pub const LIST: u32 = 1;
/// Inline = name: stop the service if it runs and start it again over its state.
pub const RESTART: u32 = 2;
/// Inline = name: freeze the service, as a crash would; the monitor brings it back.
pub const KILL: u32 = 3;
/// Word 0 = index of a service whose sandbox froze: start it again if its policy says so. For the monitor.
pub const REVIVE: u32 = 4;
/// Word 0 = index; answers a port to the service's first endpoint as capability 0. For the monitor's liveness question.
pub const HEALTH_PORT: u32 = 5;

/// What a service is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum ServiceState {
    /// Its sandbox runs.
    Running = 1,
    /// Its sandbox is frozen and waits to be started again.
    Frozen = 2,
    /// It ended and its policy does not start it again.
    Stopped = 3,
}

impl ServiceState {
    /// The name printed on the console.
    #[must_use]
    pub const fn name(number: u64) -> &'static str {
        match number {
            1 => "running",
            2 => "frozen",
            3 => "stopped",
            _ => "unknown",
        }
    }
}

/// One service, as [`LIST`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ServiceInfo {
    /// Its name.
    pub name: [u8; 32],
    /// Its version.
    pub version: [u8; 16],
    /// A [`ServiceState`] number.
    pub state: u64,
    /// Serial number of its sandbox.
    pub serial: u64,
    /// How often it was started again.
    pub restarts: u64,
    /// Endpoints that it provides.
    pub endpoints: u64,
    /// Cause of its last fault ([`hic_abi::message::Fault`] number), 0 = none.
    pub last_cause: u64,
    /// Detail of its last fault.
    pub last_detail: u64,
}

// SAFETY: `repr(C)`, 96 bytes of integers, 8-aligned, no padding (48 bytes of names are a multiple of 8).
unsafe impl Plain for ServiceInfo {}
