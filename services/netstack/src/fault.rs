//! Faults that the test repository's releases have, one each, and no other build: what an update does about them is tested with
//! these.
//!
//! | release | feature | fault |
//! | --- | --- | --- |
//! | 1.3.1 | `fault_start_crash` | dies as soon as it is started |
//! | 1.3.2 | `fault_hang` | never answers when it is told its side |
//! | 1.3.3 | `fault_migration_crash` | dies when the third batch arrives, and at every start after that |
//! | 1.3.4 | `fault_health` | is not well as soon as it answers for the interface |

/// At the start.
pub fn at_start() {
    let dies = cfg!(feature = "fault_start_crash");
    assert!(!dies, "this release dies at its start (fault_start_crash)");
}

/// When it is told its side.
pub fn while_warming_up() {
    while cfg!(feature = "fault_hang") {
        core::hint::spin_loop();
    }
}

/// When a batch arrives.
pub fn while_migrating(batch: u64) {
    let dies = cfg!(feature = "fault_migration_crash") && batch >= 3;
    assert!(!dies, "this release dies when batch {batch} arrives (fault_migration_crash)");
}

/// What a health check comes to: the number of the test that failed, given that of the real ones.
pub fn health(failed: u64, has_role: bool) -> u64 {
    if cfg!(feature = "fault_health") && has_role { 99 } else { failed }
}
