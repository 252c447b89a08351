//! The manifest as the bytes of its section: a little-endian schema number, then postcard.
//!
//! Postcard does not describe itself, so a manifest of another schema must not be guessed at: it is refused by number.

use super::{Manifest, ManifestError};
use crate::bytes::u16_at;

/// The only schema that this crate reads and writes. An older one is refused: what it does not say (which runtime, which kernel
/// interface, which epoch) is what the loader must know, and packing a module again costs its author a second.
pub const SCHEMA_VERSION: u16 = 3;
/// Longest encoded manifest; the largest one that [`Manifest`] can express is shorter.
pub const MAX_MANIFEST_BYTES: usize = 4096;

const SCHEMA_BYTES: usize = size_of::<u16>();

/// Reads and checks the manifest which takes up all of `bytes`.
pub fn decode(bytes: &[u8]) -> Result<Manifest, ManifestError> {
    if bytes.len() > MAX_MANIFEST_BYTES {
        return Err(ManifestError::Encoding);
    }
    let found = u16_at(bytes, 0).ok_or(ManifestError::Encoding)?;
    if found != SCHEMA_VERSION {
        return Err(ManifestError::Schema { found });
    }
    let body = bytes.get(SCHEMA_BYTES..).ok_or(ManifestError::Encoding)?;
    let (manifest, rest) =
        postcard::take_from_bytes::<Manifest>(body).map_err(|_| ManifestError::Encoding)?;
    if !rest.is_empty() {
        return Err(ManifestError::Encoding);
    }
    manifest.check()?;
    Ok(manifest)
}

/// Checks `manifest` and writes it to `buffer`; returns the part that was used.
///
/// A buffer of [`MAX_MANIFEST_BYTES`] is always large enough.
pub fn encode<'a>(manifest: &Manifest, buffer: &'a mut [u8]) -> Result<&'a [u8], ManifestError> {
    manifest.check()?;
    let (schema, body) =
        buffer.split_first_chunk_mut::<SCHEMA_BYTES>().ok_or(ManifestError::BufferTooSmall)?;
    *schema = SCHEMA_VERSION.to_le_bytes();
    let used = postcard::to_slice(manifest, body).map_err(|_| ManifestError::BufferTooSmall)?.len();
    buffer.get(..SCHEMA_BYTES + used).ok_or(ManifestError::BufferTooSmall)
}
