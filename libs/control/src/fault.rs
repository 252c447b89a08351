//! A fault in words: what the monitor logs and the console shows.

use core::fmt;
use hic_abi::message::Fault;

/// Reason by which the module manager freezes a service that it starts again itself ([`crate::manager::RESTART`]).
pub const REASON_RESTART: u64 = 0;

/// Vector of a page fault (SDM vol. 3A, 6.3.1).
const PAGE_FAULT: u64 = 14;
/// The code with which a program ends when it panics (`hic_rt`).
const PANIC: u64 = 101;

/// The words of a fault message: cause, detail, address, instruction pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words(pub [u64; 4]);

impl Words {
    /// Whether the module manager froze the service to start it again itself: then nobody else must.
    #[must_use]
    pub fn is_restart(&self) -> bool {
        let [cause, detail, ..] = self.0;
        Fault::from_word(cause) == Some(Fault::Frozen) && detail == REASON_RESTART
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [cause, detail, address, rip] = self.0;
        match Fault::from_word(cause) {
            Some(Fault::Exception) => exception(f, detail & 0xff, detail >> 8, address, rip),
            Some(Fault::Exit) if detail == PANIC => f.write_str("panicked (its last line says why)"),
            Some(Fault::Exit) => write!(f, "ended itself with code {detail}"),
            Some(Fault::Frozen) if detail == REASON_RESTART => f.write_str("frozen for a restart"),
            Some(Fault::Frozen) => f.write_str("killed on request"),
            None => write!(f, "died of the unknown cause {cause}, detail {detail:#x}"),
        }
    }
}

fn exception(f: &mut fmt::Formatter<'_>, vector: u64, code: u64, address: u64, rip: u64) -> fmt::Result {
    write!(f, "{} at rip {rip:#x}", name(vector))?;
    if vector == PAGE_FAULT {
        write!(f, ": {} of address {address:#x}", access(code))?;
    }
    write!(f, " (vector {vector}, error code {code:#x})")
}

/// What was tried, from the error code of a page fault (SDM vol. 3A, 4.7).
const fn access(code: u64) -> &'static str {
    if code & 1 << 4 != 0 {
        "execution"
    } else if code & 1 << 1 != 0 {
        "write"
    } else {
        "read"
    }
}

/// The processor's exceptions (SDM vol. 3A, table 6-1).
const fn name(vector: u64) -> &'static str {
    match vector {
        0 => "divide error",
        1 => "debug exception",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bound range exceeded",
        6 => "invalid opcode",
        7 => "device not available",
        10 => "invalid TSS",
        11 => "segment not present",
        12 => "stack-segment fault",
        13 => "general protection fault",
        PAGE_FAULT => "page fault",
        16 => "x87 floating-point error",
        17 => "alignment check",
        19 => "SIMD floating-point exception",
        21 => "control protection exception",
        _ => "unknown exception",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_page_fault_names_access_address_and_instruction() {
        let words = Words([1, 14 | 0x6 << 8, 0xdead_b000, 0x4000_1234]);
        assert_eq!(
            words.to_string(),
            "page fault at rip 0x40001234: write of address 0xdeadb000 (vector 14, error code 0x6)"
        );
    }

    #[test]
    fn every_cause_has_words() {
        assert_eq!(
            Words([1, 6, 0, 0x40]).to_string(),
            "invalid opcode at rip 0x40 (vector 6, error code 0x0)"
        );
        assert_eq!(Words([2, 3, 0, 0]).to_string(), "ended itself with code 3");
        assert_eq!(Words([2, 101, 0, 0]).to_string(), "panicked (its last line says why)");
        assert_eq!(Words([3, 1, 0, 0]).to_string(), "killed on request");
        assert_eq!(Words([9, 1, 0, 0]).to_string(), "died of the unknown cause 9, detail 0x1");
    }

    #[test]
    fn only_a_freeze_for_a_restart_is_left_to_the_module_manager() {
        assert!(Words([3, 0, 0, 0]).is_restart());
        assert!(!Words([3, 1, 0, 0]).is_restart());
        assert!(!Words([2, 0, 0, 0]).is_restart());
    }
}
