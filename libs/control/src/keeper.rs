//! Requests to the keeper, for the module manager alone.

/// Word 0 = one of the numbers below, word 1 = calls: freeze that sandbox, as a crash would, at its `calls`th system call from now; 0 = at once.
pub const FREEZE: u32 = 1;
/// Word 0 = one of the numbers below; answers word 0 = serial number of its sandbox, word 1 = restarts.
pub const STATUS: u32 = 2;

/// The module manager.
pub const MANAGER: u64 = 1;
/// The monitor.
pub const MONITOR: u64 = 2;
