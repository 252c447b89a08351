//! The signature section: what exactly is signed, and how the signature travels with the module.
//!
//! The section is the last one of the container. All fields are little-endian:
//!
//! | byte | field | |
//! | --- | --- | --- |
//! | 0  | magic `HICS` | |
//! | 4  | version `u16` | 1; 2 with a cross-certificate |
//! | 6  | header length `u16` | 72; 80 in version 2 |
//! | 8  | `signed_at: u64` | seconds since 1970-01-01, UTC |
//! | 16 | `digest: [u8; 48]` | SHA-384 of the content, below |
//! | 64 | `signer_bytes: u32` | |
//! | 68 | `intermediate_bytes: u32` | |
//! | 72 | `cross_bytes: u32` | version 2 only |
//! | 76 | reserved `u32` | version 2 only; 0 |
//! | 72 or 80 | certificate of the signer, DER | RFC 5280 |
//! | .. | certificate of the intermediate, DER | |
//! | .. | certificate of a new root by the old one, DER | version 2 only |
//! | .. | `signature: [u8; 384]` | RSASSA-PKCS1-v1_5 with SHA-384 (RFC 8017, 8.2), 3072 bits |
//!
//! The cross-certificate lets a system that trusts the old root believe a module of the new one. Version 1 is written where there is
//! none, so that older systems go on reading what they can believe.
//!
//! *Content*: the header of the container and its section table, with two fields read as zero (the table's checksum and
//! the checksum in the row of the signature section, both of which depend on the signature), then every byte from the
//! end of the table to the start of the signature section. *Signed* are [`DOMAIN`] and every byte of the signature
//! section before the signature itself: so the digest, the time and all certificates. The two checksums left out are
//! verified by [`Container::parse`]. Hence each bit of the file is either signed, or follows from what is, or is the
//! signature.
//!
//! This module says where things are. It never decides whether a signature is good: that is [`crate::verify`].

mod uuid;

pub use uuid::{Uuid, release_uuid, uuid};

use core::fmt;

use sha2::{Digest, Sha384};

use crate::bytes::{array_at, slice_at, u16_at, u32_at, u64_at};
use crate::container::{CRC_AT, Container, HEADER_BYTES, ROW_BYTES, Section, SectionKind};

/// Version of a section with two certificates.
pub const SIGNATURE_VERSION: u16 = 1;
/// Version of a section with a cross-certificate.
pub const CROSSED_VERSION: u16 = 2;
/// Length of the digest of a module, bytes.
pub const DIGEST_BYTES: usize = 48;
/// Length of an RSA-3072 signature, bytes.
pub const RSA_BYTES: usize = 384;
/// Longest certificate, bytes: four times one of ours, and a bound to the work that a stranger's can cause.
pub const MAX_CERTIFICATE_BYTES: usize = 4096;
/// What the signed bytes start with, so that a signature made for another purpose never fits a module.
pub const DOMAIN: &[u8] = b"HIC module signature 1\n";

pub(crate) const MAGIC: [u8; 4] = *b"HICS";
pub(crate) const BLOCK_HEADER_BYTES: usize = 72;
pub(crate) const CROSSED_HEADER_BYTES: usize = 80;
/// Where the checksum lies in a row of the section table.
const ROW_CRC_AT: usize = 12;
const CRC_BYTES: usize = size_of::<u32>();

/// A SHA-384 digest.
pub type ModuleDigest = [u8; DIGEST_BYTES];

/// The parts of a signature section: lengths checked, nothing verified.
#[derive(Debug, Clone, Copy)]
pub struct SignatureBlock<'a> {
    /// When it was signed, by the signer's clock: seconds since 1970, UTC.
    pub signed_at: u64,
    /// The digest that the signer states.
    pub digest: ModuleDigest,
    /// The signer's certificate, DER.
    pub signer: &'a [u8],
    /// The certificate of the signer's issuer, DER.
    pub intermediate: &'a [u8],
    /// The certificate of a new root, issued by the old one, DER.
    pub cross: Option<&'a [u8]>,
    /// The signature over [`Self::statement`].
    pub signature: &'a [u8],
    /// Everything before the signature.
    signed: &'a [u8],
}

/// What is wrong with the form of a signature section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is what the variant's line and its Display name")]
pub enum BlockError {
    /// There is no signature section.
    Missing,
    /// Another section follows it.
    NotLast,
    /// It does not start with its magic.
    Magic,
    /// A version that this build cannot read.
    Version { found: u16 },
    /// A certificate which is empty or longer than [`MAX_CERTIFICATE_BYTES`].
    CertificateSize { bytes: u32 },
    /// A reserved field is not zero.
    Reserved,
    /// The section is not exactly as long as its parts.
    Length { expected: usize, found: usize },
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Missing => write!(f, "module is not signed; sign it with `hicmod-tool sign`"),
            Self::NotLast => write!(f, "a section follows the signature, which must be the last one"),
            Self::Magic => write!(f, "the signature section must start with \"HICS\""),
            Self::Version { found } => {
                write!(
                    f,
                    "signature format {found} cannot be read, only {SIGNATURE_VERSION} and {CROSSED_VERSION}"
                )
            }
            Self::Reserved => write!(f, "a reserved field of the signature section is not zero"),
            Self::CertificateSize { bytes } => write!(
                f,
                "a certificate of {bytes} bytes in the signature section; 1 to {MAX_CERTIFICATE_BYTES} are allowed"
            ),
            Self::Length { expected, found } => {
                write!(f, "signature section is {found} bytes long, its parts are {expected}")
            }
        }
    }
}

impl<'a> SignatureBlock<'a> {
    /// The block of `container`, whose checksums have been verified.
    pub fn find(container: &Container<'a>) -> Result<Self, BlockError> {
        Self::parse(signature_section(container)?.bytes)
    }

    /// Reads a block which takes up all of `bytes`.
    fn parse(bytes: &'a [u8]) -> Result<Self, BlockError> {
        let found = bytes.len();
        let short = BlockError::Length { expected: BLOCK_HEADER_BYTES + RSA_BYTES, found };
        if array_at(bytes, 0).ok_or(short)? != MAGIC {
            return Err(BlockError::Magic);
        }
        let version = u16_at(bytes, 4).ok_or(short)?;
        let header = match (version, usize::from(u16_at(bytes, 6).ok_or(short)?)) {
            (SIGNATURE_VERSION, header @ BLOCK_HEADER_BYTES) => header,
            (CROSSED_VERSION, header @ CROSSED_HEADER_BYTES) => header,
            _ => return Err(BlockError::Version { found: version }),
        };
        let length = |at| match u32_at(bytes, at).ok_or(short)? {
            bytes if (1..=MAX_CERTIFICATE_BYTES as u32).contains(&bytes) => Ok(bytes as usize),
            bytes => Err(BlockError::CertificateSize { bytes }),
        };
        let crossed = version == CROSSED_VERSION;
        let (signer, intermediate) = (length(64)?, length(68)?);
        let cross = if crossed { length(72)? } else { 0 };
        if crossed && u32_at(bytes, 76).ok_or(short)? != 0 {
            return Err(BlockError::Reserved);
        }
        // All are at most MAX_CERTIFICATE_BYTES, so no sum overflows.
        let (second, third) = (header + signer, header + signer + intermediate);
        let end = third + cross;
        let wrong = BlockError::Length { expected: end + RSA_BYTES, found };
        if found != end + RSA_BYTES {
            return Err(wrong);
        }
        let part = |at, length| slice_at(bytes, at, length).ok_or(wrong);
        Ok(Self {
            signed_at: u64_at(bytes, 8).ok_or(short)?,
            digest: array_at(bytes, 16).ok_or(short)?,
            signer: part(header, signer)?,
            intermediate: part(second, intermediate)?,
            cross: if crossed { Some(part(third, cross)?) } else { None },
            signature: part(end, RSA_BYTES)?,
            signed: part(0, end)?,
        })
    }

    /// SHA-384 of the bytes that the signature is made over.
    #[must_use]
    pub fn statement(&self) -> ModuleDigest {
        statement(self.signed)
    }
}

/// SHA-384 of the domain and `signed`, the signature section without its signature.
pub(crate) fn statement(signed: &[u8]) -> ModuleDigest {
    Sha384::new().chain_update(DOMAIN).chain_update(signed).finalize().into()
}

/// The signature section, which is the last one.
fn signature_section<'a>(container: &Container<'a>) -> Result<Section<'a>, BlockError> {
    let is_signature = |section: &Section<'_>| section.kind == SectionKind::Signature;
    match container.sections().last() {
        Some(section) if is_signature(&section) => Ok(section),
        _ if container.sections().any(|section| is_signature(&section)) => Err(BlockError::NotLast),
        _ => Err(BlockError::Missing),
    }
}

/// SHA-384 of the content of a module which ends in a signature section: see the head of this module.
pub fn content_digest(container: &Container<'_>) -> Result<ModuleDigest, BlockError> {
    let signature = signature_section(container)?;
    let (file, rows) = (container.bytes(), container.sections().count());
    let short = BlockError::Length { expected: signature.offset, found: file.len() };
    let table_end = HEADER_BYTES + rows * ROW_BYTES;
    let last_crc = table_end - ROW_BYTES + ROW_CRC_AT;
    let mut hash = Sha384::new();
    let mut from = 0;
    for crc in [CRC_AT, last_crc] {
        hash.update(file.get(from..crc).ok_or(short)?);
        hash.update([0; CRC_BYTES]);
        from = crc + CRC_BYTES;
    }
    hash.update(file.get(from..signature.offset).ok_or(short)?);
    Ok(hash.finalize().into())
}
