//! Which boot archive a kernel starts: written into its image by a tool on the host, read by the kernel before it looks at the archive.

use core::fmt;

use crate::bytes::{array_at, u64_at};

/// Section of the kernel's ELF file that holds a [`Binding`]. All zero: the kernel was not bound yet.
pub const BINDING_SECTION: &str = ".boot_archive";

/// Length and digest of a boot archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// Length of the archive; 0 in a kernel that is bound to none.
    pub bytes: u64,
    /// SHA-384 of all of it, as `sha384sum` prints it.
    pub sha384: [u8; 48],
}

impl Binding {
    /// What a kernel holds that is bound to no archive.
    pub const NONE: Self = Self { bytes: 0, sha384: [0; 48] };
    /// Bytes of a binding in the kernel's image.
    pub const BYTES: usize = 56;

    /// As it lies in the kernel's image.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let (length, digest) = bytes.split_at_mut(8);
        length.copy_from_slice(&self.bytes.to_le_bytes());
        digest.copy_from_slice(&self.sha384);
        bytes
    }

    /// The reverse of [`Binding::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        Self { bytes: u64_at(bytes, 0).unwrap_or(0), sha384: array_at(bytes, 8).unwrap_or([0; 48]) }
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.sha384 {
            write!(f, "{byte:02x}")?;
        }
        write!(f, " ({} bytes)", self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_binding_survives_the_way_through_the_image() {
        let mut sha384 = [7; 48];
        sha384[47] = 0xab;
        let binding = Binding { bytes: 5 << 32 | 3, sha384 };
        assert_eq!(Binding::from_bytes(&binding.to_bytes()), binding);
        assert_eq!(Binding::from_bytes(&[0; Binding::BYTES]), Binding::NONE);
    }

    #[test]
    fn its_digest_reads_as_other_tools_print_it() {
        let text = Binding { bytes: 9, sha384: [0x0f; 48] }.to_string();
        assert_eq!(text, "0f".repeat(48) + " (9 bytes)");
    }
}
