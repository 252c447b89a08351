//! A metadata file: a payload, and signatures over exactly the bytes that travel.
//!
//! | byte | field | |
//! | --- | --- | --- |
//! | 0 | magic `HICR` | |
//! | 4 | format `u16` | 1 |
//! | 6 | role `u8` | 1 root, 2 timestamp, 3 snapshot, 4 targets |
//! | 7 | signatures `u8` | 1 to 16 |
//! | 8 | payload length `u32` | |
//! | 12 | payload | |
//! | .. | signatures | each: key identifier, 48 bytes; signature, 384 bytes; in ascending order of identifiers |
//!
//! Numbers are little-endian. Signed is [`DOMAIN`], the byte of the role, and the payload. Signatures of keys that nobody asks for are
//! skipped: a new root carries those of the keys before it.

use crate::error::Check;
use crate::key::RSA_BYTES;
use crate::metadata::Role;
use crate::{DIGEST_BYTES, Digest};

/// The first bytes of a file.
pub const MAGIC: [u8; 4] = *b"HICR";
/// What the signed bytes start with, so that a signature made for another purpose never fits metadata.
pub const DOMAIN: &[u8] = b"HIC repository metadata 1\n";
/// Most signatures of a file: the most keys of one role, twice, as a new root has them.
pub const MAX_SIGNATURES: usize = 16;
/// Bytes before the payload.
pub const HEADER_BYTES: usize = 12;
/// Bytes of a key identifier with its signature.
pub const SIGNATURE_BYTES: usize = DIGEST_BYTES + RSA_BYTES;

/// A file whose form was checked, and nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    role: u8,
    payload: &'a [u8],
    signatures: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Splits the file which takes up all of `bytes`, and must be one of `role`.
    ///
    /// # Errors
    /// [`Check::Form`], [`Check::Format`].
    pub fn parse(role: Role, bytes: &'a [u8]) -> Result<Self, Check> {
        let form = |problem| Check::Form { problem };
        let (header, rest) =
            bytes.split_first_chunk::<HEADER_BYTES>().ok_or(form("it is shorter than its header"))?;
        let [m0, m1, m2, m3, f0, f1, found, count, l0, l1, l2, l3] = *header;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(form("it does not start with \"HICR\""));
        }
        let format = u16::from_le_bytes([f0, f1]);
        if format != role.format() {
            return Err(Check::Format { found: format });
        }
        if found != role as u8 {
            return Err(form("it is a file of another role"));
        }
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let (payload, signatures) =
            rest.split_at_checked(length).ok_or(form("its payload is longer than the file"))?;
        let count = usize::from(count);
        if !(1..=MAX_SIGNATURES).contains(&count) || signatures.len() != count * SIGNATURE_BYTES {
            return Err(form("its signatures are not as many and as long as it says"));
        }
        let envelope = Self { role: found, payload, signatures };
        let ids = || envelope.signatures().map(|(id, _)| id);
        if ids().zip(ids().skip(1)).any(|(one, next)| one >= next) {
            return Err(form("its signatures are not in order, or a key signed twice"));
        }
        Ok(envelope)
    }

    /// What is signed, beside role and domain. Believe it after [`Self::signed_by`] said how many keys vouch for it.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The digest that signatures are made over.
    #[must_use]
    pub fn statement(&self) -> Digest {
        statement(self.role, self.payload)
    }

    /// Identifiers and signatures, in ascending order of identifiers.
    pub fn signatures(&self) -> impl Iterator<Item = (KeyIdBytes<'a>, &'a [u8])> {
        self.signatures.as_chunks::<SIGNATURE_BYTES>().0.iter().map(|piece| piece.split_at(DIGEST_BYTES))
    }
}

/// A key identifier as it lies in a file.
pub type KeyIdBytes<'a> = &'a [u8];

pub(crate) fn statement(role: u8, payload: &[u8]) -> Digest {
    Digest::of_parts(&[DOMAIN, &[role], payload])
}
