//! The identity of a release as one number, for logs and for instances that introduce themselves to each other.

use core::fmt;

use sha2::{Digest, Sha384};

use crate::manifest::{Manifest, Version};

/// A universally unique identifier (RFC 9562).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Uuid(pub [u8; 16]);

/// Octet with the version (RFC 9562, 4.2) and octet with the variant (4.1).
const VERSION_AT: usize = 6;
const VARIANT_AT: usize = 8;

/// The identifier of the release: UUID version 8 (RFC 9562, 5.8) made of SHA-384 of name and version, so that the same
/// release has the same one everywhere without a registry.
#[must_use]
pub fn uuid(manifest: &Manifest) -> Uuid {
    release_uuid(&manifest.name, manifest.version)
}

/// The same for a release of which only name and version are known.
#[must_use]
pub fn release_uuid(name: &str, version: Version) -> Uuid {
    let mut hash = Sha384::new();
    hash.update(b"HIC module\n");
    // Names hold no line end, so no two pairs of name and version give the same bytes.
    hash.update(name.as_bytes());
    for part in [version.major, version.minor, version.patch] {
        hash.update(b"\n");
        hash.update(part.to_le_bytes());
    }
    let mut bytes = [0; 16];
    for (index, (to, from)) in bytes.iter_mut().zip(hash.finalize()).enumerate() {
        *to = match index {
            VERSION_AT => (from & 0x0F) | 0x80,
            VARIANT_AT => (from & 0x3F) | 0x80,
            _ => from,
        };
    }
    Uuid(bytes)
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::manifest::tests::netstack;

    #[test]
    fn a_release_has_one_identifier_and_the_next_release_another() {
        let (first, mut next) = (netstack(), netstack());
        next.version.patch += 1;
        assert_eq!(uuid(&first), uuid(&first.clone()));
        assert_ne!(uuid(&first), uuid(&next));
        let text = uuid(&first).to_string();
        assert_eq!((text.len(), text.as_bytes()[14], text.as_bytes()[8]), (36, b'8', b'-'));
    }
}
