//! Faults that the test repository's releases have, one each, and no other build: what an exchange in place does about them is tested with these.
//!
//! | release | feature | fault |
//! | --- | --- | --- |
//! | 1.2.1 | `fault_start_crash` | dies as soon as it is started |
//! | 1.2.2 | `fault_hang` | spins when it is asked something |

/// At the start.
pub fn at_start() {
    let dies = cfg!(feature = "fault_start_crash");
    assert!(!dies, "this release dies at its start (fault_start_crash)");
}

/// When it is asked something.
pub fn when_asked() {
    while cfg!(feature = "fault_hang") {
        core::hint::spin_loop();
    }
}
