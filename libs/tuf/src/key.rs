//! Public keys: RSA-3072 with the exponent 65537, as the signatures of modules have, but never the same keys.

use rsa::traits::PublicKeyParts;
use rsa::{BigUint, Pkcs1v15Sign, RsaPublicKey};
use serde::{Deserialize, Serialize};
use sha2::Sha384;

use crate::Digest;

/// Bytes of a modulus and of a signature: 3072 bits.
pub const RSA_BYTES: usize = 384;
/// The public exponent of every key.
pub const EXPONENT: u32 = 65_537;
/// What a key's identifier is the digest of, before its modulus.
const ID_DOMAIN: &[u8] = b"HIC repository key 1\n";

/// A public key, by its modulus: [`RSA_BYTES`] bytes, most significant first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key<'a>(#[serde(borrow)] pub &'a [u8]);

/// SHA-384 of a domain and the modulus.
pub type KeyId = Digest;

impl Key<'_> {
    /// Whether it has the length of a key, with the top bit set and odd: what no such number lacks.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        self.0.len() == RSA_BYTES
            && self.0.first().is_some_and(|top| top & 0x80 != 0)
            && self.0.last().is_some_and(|low| low & 1 != 0)
    }

    /// Its identifier.
    #[must_use]
    pub fn id(&self) -> KeyId {
        Digest::of_parts(&[ID_DOMAIN, self.0])
    }

    /// Whether `signature` is this key's over `statement`, a SHA-384 digest (RSASSA-PKCS1-v1_5, RFC 8017, 8.2).
    pub(crate) fn has_signed(&self, statement: &Digest, signature: &[u8]) -> bool {
        let key = RsaPublicKey::new(BigUint::from_bytes_be(self.0), BigUint::from(EXPONENT));
        key.is_ok_and(|key| {
            key.size() == RSA_BYTES
                && key.verify(Pkcs1v15Sign::new::<Sha384>(), statement.as_bytes(), signature).is_ok()
        })
    }
}
