//! Which of the two disks an instance has, and what it answers.
//!
//! One source, two modules: `storage` reads the repository disk, whose files anybody may have written, and `vault` keeps the record on the system
//! disk, which nobody else writes. Two sandboxes, so that whoever takes over the reader of foreign file systems has no hand on the record. What a
//! disk is says its serial number, which the machine gives it: contents can be forged, so they decide nothing.

use hic_store::Request;

/// The serial number of the system disk.
pub const SYSTEM_SERIAL: &[u8] = b"hic-system";

/// What an instance is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads modules and metadata from the repository disk.
    Repository,
    /// Keeps the record on the system disk, and the modules that came over the network.
    Vault,
}

impl Role {
    /// The service that is exported: the two never go by one name, and no instance can be taken for the other.
    #[must_use]
    pub const fn service(self) -> &'static str {
        match self {
            Self::Repository => "storage",
            Self::Vault => "vault",
        }
    }

    /// Whether the disk with this serial number is for it.
    #[must_use]
    pub fn takes(self, serial: &[u8]) -> bool {
        (serial == SYSTEM_SERIAL) == (self == Self::Vault)
    }

    /// Whether it answers a request: nothing is ever written to the repository disk.
    #[must_use]
    pub const fn answers(self, request: &Request<'_>) -> bool {
        let of_vault =
            matches!(request, Request::ReadState | Request::WriteState { .. } | Request::Keep { .. });
        matches!(self, Self::Vault) || !of_vault
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_is_kept_on_the_disk_that_the_machine_calls_the_system_s_and_on_no_other() {
        let (reader, vault) = (Role::Repository, Role::Vault);
        for (serial, is_system) in [(&b"hic-system"[..], true), (b"hic-repository", false), (b"", false)] {
            assert_eq!((reader.takes(serial), vault.takes(serial)), (!is_system, is_system));
        }
        let keep = Request::Keep { place: 0, offset: 0, length: 1, source: 0, last: true };
        for request in [Request::ReadState, Request::WriteState { record: &[1] }, keep] {
            assert!(!reader.answers(&request) && vault.answers(&request));
        }
        assert!(reader.answers(&Request::List { index: 0 }));
    }
}
