//! Which boot archive a kernel starts: written into its image by a tool on the host, read by the kernel before it looks at the archive.
//!
//! Keeper, module manager and monitor run before anybody can verify a signature. So the kernel's image carries the digest of the archive that holds
//! them: whoever vouches for the kernel vouches for the archive (docs/adr/0024).

use core::fmt;

#[cfg(feature = "digest")]
use sha2::{Digest, Sha384};

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

    /// That of this archive.
    #[cfg(feature = "digest")]
    #[must_use]
    pub fn of(archive: &[u8]) -> Self {
        Self { bytes: archive.len() as u64, sha384: Sha384::digest(archive).into() }
    }

    /// The archive at the start of `module`, if it is the one meant here: loaders may pad what they load.
    ///
    /// # Errors
    /// [`BindingError`]: nothing in `module` may be looked at.
    #[cfg(feature = "digest")]
    pub fn check<'a>(&self, module: &'a [u8]) -> Result<&'a [u8], BindingError> {
        if self.bytes == 0 {
            return Err(BindingError::Unbound);
        }
        let length = usize::try_from(self.bytes).unwrap_or(usize::MAX).min(module.len());
        let (archive, _padding) = module.split_at(length);
        let found = Self::of(archive);
        if found == *self { Ok(archive) } else { Err(BindingError::Digest { expected: *self, found }) }
    }

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

/// Why the archive is not the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindingError {
    /// Nobody wrote into this kernel's image which archive belongs to it.
    Unbound,
    /// It belongs to another archive.
    Digest {
        /// What the kernel was made for.
        expected: Binding,
        /// What the loader brought.
        found: Binding,
    },
}

impl fmt::Display for BindingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("check archive-digest: ")?;
        match self {
            Self::Unbound => f.write_str(
                "this kernel is bound to no boot archive.\nMake a bound one with `cargo xtask image` or `hicmod-tool bind`.",
            ),
            Self::Digest { expected, found } => write!(
                f,
                "the boot archive is not the one that this kernel was made for.\n\
                 expected SHA-384 {expected}\n\
                 found    SHA-384 {found}\n\
                 It was changed or damaged, or belongs to another kernel. Boot the kernel and the archive that one \
                 `cargo xtask image` made."
            ),
        }
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

    const ARCHIVE: &[u8] = b"keeper, manager, monitor";

    fn bound() -> Binding {
        Binding::of(ARCHIVE)
    }

    #[test]
    fn the_right_archive_is_taken_without_the_loaders_padding() {
        assert_eq!(bound().check(ARCHIVE), Ok(ARCHIVE));
        assert_eq!(bound().check(&[ARCHIVE, &[0; 8]].concat()), Ok(ARCHIVE));
    }

    #[test]
    fn no_bit_of_the_archive_can_change() {
        for bit in 0..ARCHIVE.len() * 8 {
            let mut archive = ARCHIVE.to_vec();
            archive[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(bound().check(&archive), Err(BindingError::Digest { .. })), "bit {bit}");
        }
    }

    #[test]
    fn a_part_of_the_archive_and_a_kernel_without_one_are_refused() {
        let cut = bound().check(&ARCHIVE[..5]).expect_err("too short");
        assert!(matches!(cut, BindingError::Digest { found, .. } if found.bytes == 5));
        assert_eq!(Binding::NONE.check(ARCHIVE), Err(BindingError::Unbound));
        assert_eq!(Binding::NONE.check(&[]), Err(BindingError::Unbound));
    }

    #[test]
    fn the_refusal_names_the_check_both_digests_and_what_to_do() {
        let text = bound().check(b"other").expect_err("another archive").to_string();
        let other = Binding::of(b"other");
        for part in ["archive-digest", &bound().to_string(), &other.to_string(), "cargo xtask image"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
