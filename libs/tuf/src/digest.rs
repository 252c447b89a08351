//! SHA-384 digests as they lie in metadata.

use core::fmt;

use serde::{Deserialize, Serialize};
#[cfg(feature = "verify")]
use sha2::{Digest as _, Sha384};

/// Bytes of a digest.
pub const DIGEST_BYTES: usize = 48;

/// A SHA-384 digest. Three pieces because the serialization framework knows arrays of up to 32 only; as bytes it is 48 of them, no more.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest([[u8; 16]; 3]);

impl Digest {
    /// The digest of `bytes`.
    #[cfg(feature = "verify")]
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::of_parts(&[bytes])
    }

    /// The digest of `parts`, one after the other.
    #[cfg(feature = "verify")]
    pub(crate) fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hash = Sha384::new();
        parts.iter().for_each(|part| hash.update(part));
        Self::from_bytes(hash.finalize().into())
    }

    /// The digest with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; DIGEST_BYTES]) -> Self {
        let mut pieces = [[0; 16]; 3];
        pieces.as_flattened_mut().copy_from_slice(&bytes);
        Self(pieces)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        self.0.as_flattened()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
