//! Making what [`crate::verify`] accepts: certificates, signed modules, revocation lists. On the host only.
//!
//! Private keys are used with blinding (`sign_with_rng`), and only where the person who holds them runs the tool: the open
//! advisory on the timing of RSA private keys (RUSTSEC-2023-0071) needs an attacker who can measure many operations.
//! What it must never do: keep or print a private key, or run in the guest.

mod certificate;
mod list;

pub use certificate::{
    CertificateSpec, Constraints, IssuerKey, SUBJECT_KEY_BYTES, Validity, issue, random_serial,
};
pub use list::revoke;
pub use rsa::rand_core::CryptoRngCore;
pub use rsa::{RsaPrivateKey, RsaPublicKey};

use alloc::vec::Vec;
use core::fmt;

use rsa::Pkcs1v15Sign;
use sha2::{Digest, Sha384};

use crate::container::{Container, ContainerError, NewSection, SectionKind, encode};
use crate::signature::{
    BLOCK_HEADER_BYTES, BlockError, DIGEST_BYTES, MAGIC, MAX_CERTIFICATE_BYTES, ModuleDigest, RSA_BYTES,
    SIGNATURE_VERSION, content_digest, statement,
};
use crate::verify::exact_key;

/// Bits of every key.
pub const KEY_BITS: usize = RSA_BYTES * 8;

/// Why nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is what the variant's line and its Display name")]
pub enum SignError {
    /// A key that is not RSA-3072 with exponent 65537.
    Key,
    /// The private key operation failed.
    Rsa,
    /// A name, time or other field cannot be written in DER, or bytes that should be DER are not.
    Der { what: &'static str },
    /// A certificate that is too long to travel with a module.
    CertificateSize { bytes: usize },
    /// The private key is not that of the certificate.
    WrongKey,
    /// The module.
    Container(ContainerError),
    /// The signature section.
    Block(BlockError),
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => {
                write!(f, "the key is not RSA-3072 with exponent 65537; make one with `hicmod-tool chain`")
            }
            Self::Rsa => write!(f, "the private key could not be used; it is damaged"),
            Self::Der { what } => write!(f, "{what} cannot be read or written as DER"),
            Self::CertificateSize { bytes } => {
                write!(f, "a certificate of {bytes} bytes is too long, the limit is {MAX_CERTIFICATE_BYTES}")
            }
            Self::WrongKey => {
                write!(f, "the private key does not belong to the certificate; give the matching one")
            }
            Self::Container(error) => write!(f, "{error}"),
            Self::Block(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for SignError {}

/// A signer: its key and the chain that vouches for it.
#[derive(Clone, Copy)]
pub struct SignerKey<'a> {
    /// Its private key.
    pub key: &'a RsaPrivateKey,
    /// Its certificate, DER.
    pub certificate: &'a [u8],
    /// The certificate of its issuer, DER.
    pub intermediate: &'a [u8],
}

/// A fresh key.
pub fn generate_key(rng: &mut impl CryptoRngCore) -> Result<RsaPrivateKey, SignError> {
    RsaPrivateKey::new(rng, KEY_BITS).map_err(|_| SignError::Rsa)
}

/// `module` with a signature by `signer`, dated `signed_at` (seconds since 1970, UTC). An earlier signature is replaced.
pub fn sign_module(
    module: &[u8],
    signer: SignerKey<'_>,
    signed_at: u64,
    rng: &mut impl CryptoRngCore,
) -> Result<Vec<u8>, SignError> {
    check_sizes(&signer)?;
    let container = Container::parse(module).map_err(SignError::Container)?;
    // The digest covers the length of the signature section, so it is laid out before there is a signature.
    let draft = with_block(&container, &block(&signer, signed_at, &[0; DIGEST_BYTES], &[0; RSA_BYTES]))?;
    let laid_out = Container::parse(&draft).map_err(SignError::Container)?;
    let digest = content_digest(&laid_out).map_err(SignError::Block)?;
    let unsigned = block(&signer, signed_at, &digest, &[]);
    let signature = sign_hash(signer.key, &statement(&unsigned), rng)?;
    with_block(&container, &block(&signer, signed_at, &digest, &signature))
}

fn check_sizes(signer: &SignerKey<'_>) -> Result<(), SignError> {
    for certificate in [signer.certificate, signer.intermediate] {
        if !(1..=MAX_CERTIFICATE_BYTES).contains(&certificate.len()) {
            return Err(SignError::CertificateSize { bytes: certificate.len() });
        }
    }
    Ok(())
}

fn block(signer: &SignerKey<'_>, signed_at: u64, digest: &ModuleDigest, signature: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&SIGNATURE_VERSION.to_le_bytes());
    out.extend_from_slice(&(BLOCK_HEADER_BYTES as u16).to_le_bytes());
    out.extend_from_slice(&signed_at.to_le_bytes());
    out.extend_from_slice(digest);
    for certificate in [signer.certificate, signer.intermediate] {
        // `check_sizes` bounds both.
        out.extend_from_slice(&(certificate.len() as u32).to_le_bytes());
    }
    out.extend_from_slice(signer.certificate);
    out.extend_from_slice(signer.intermediate);
    out.extend_from_slice(signature);
    out
}

fn with_block(container: &Container<'_>, block: &[u8]) -> Result<Vec<u8>, SignError> {
    let mut sections: Vec<NewSection<'_>> = container
        .sections()
        .filter(|section| section.kind != SectionKind::Signature)
        .map(|section| NewSection { kind: section.kind, critical: section.critical, bytes: section.bytes })
        .collect();
    sections.push(NewSection { kind: SectionKind::Signature, critical: false, bytes: block });
    encode(&sections).map_err(SignError::Container)
}

/// RSASSA-PKCS1-v1_5 over `bytes`, hashed with SHA-384.
fn sign_bytes(key: &RsaPrivateKey, bytes: &[u8], rng: &mut impl CryptoRngCore) -> Result<Vec<u8>, SignError> {
    sign_hash(key, &Sha384::digest(bytes), rng)
}

/// As [`sign_bytes`], over a digest. `rng` blinds the private key.
fn sign_hash(key: &RsaPrivateKey, hash: &[u8], rng: &mut impl CryptoRngCore) -> Result<Vec<u8>, SignError> {
    if !exact_key(&key.to_public_key()) {
        return Err(SignError::Key);
    }
    key.sign_with_rng(rng, Pkcs1v15Sign::new::<Sha384>(), hash).map_err(|_| SignError::Rsa)
}
