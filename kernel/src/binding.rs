//! The boot archive is the one that this kernel was made for, or nothing starts.
//!
//! Keeper, module manager and monitor run before anybody can verify a signature. So the kernel's image carries the digest of the archive
//! that holds them: whoever vouches for the kernel vouches for the archive (docs/adr/0024).

use core::fmt;
use hic_hicmod::Binding;
use sha2::{Digest, Sha384};

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

/// The archive at the start of `module`: loaders may pad what they load.
///
/// # Errors
/// [`BindingError`]: nothing in `module` may be looked at.
pub fn check<'a>(bound: &Binding, module: &'a [u8]) -> Result<&'a [u8], BindingError> {
    if bound.bytes == 0 {
        return Err(BindingError::Unbound);
    }
    let length = usize::try_from(bound.bytes).unwrap_or(usize::MAX).min(module.len());
    let (archive, _padding) = module.split_at(length);
    let found = Binding { bytes: archive.len() as u64, sha384: Sha384::digest(archive).into() };
    if found == *bound { Ok(archive) } else { Err(BindingError::Digest { expected: *bound, found }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    const ARCHIVE: &[u8] = b"keeper, manager, monitor";

    fn bound() -> Binding {
        Binding { bytes: ARCHIVE.len() as u64, sha384: Sha384::digest(ARCHIVE).into() }
    }

    #[test]
    fn the_right_archive_is_taken_without_the_loaders_padding() {
        assert_eq!(check(&bound(), ARCHIVE), Ok(ARCHIVE));
        assert_eq!(check(&bound(), &[ARCHIVE, &[0; 8]].concat()), Ok(ARCHIVE));
    }

    #[test]
    fn no_bit_of_the_archive_can_change() {
        for bit in 0..ARCHIVE.len() * 8 {
            let mut archive = ARCHIVE.to_vec();
            archive[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(check(&bound(), &archive), Err(BindingError::Digest { .. })), "bit {bit}");
        }
    }

    #[test]
    fn a_part_of_the_archive_and_a_kernel_without_one_are_refused() {
        let cut = check(&bound(), &ARCHIVE[..5]).expect_err("too short");
        assert!(matches!(cut, BindingError::Digest { found, .. } if found.bytes == 5));
        assert_eq!(check(&Binding::NONE, ARCHIVE), Err(BindingError::Unbound));
        assert_eq!(check(&Binding::NONE, &[]), Err(BindingError::Unbound));
    }

    #[test]
    fn the_refusal_names_the_check_both_digests_and_what_to_do() {
        let text = check(&bound(), b"other").expect_err("another archive").to_string();
        let other = Binding { bytes: 5, sha384: Sha384::digest(b"other").into() };
        for part in ["archive-digest", &bound().to_string(), &other.to_string(), "cargo xtask image"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
