//! Making what [`crate::verify`] accepts: certificates, signed modules, revocation lists. On the host only.
//!
//! Private keys are used with blinding (`sign_with_rng`), and only where the person who holds them runs the tool: the open
//! advisory on the timing of RSA private keys (RUSTSEC-2023-0071) needs an attacker who can measure many operations.
//! What it must never do: keep or print a private key, or run in the guest.

mod certificate;
mod draft;
mod list;

pub use certificate::{
    CertificateSpec, Constraints, IssuerKey, SUBJECT_KEY_BYTES, Validity, issue, random_serial,
};
pub use draft::{Certificates, Draft};
pub use list::{ListDates, refresh, revoke};
pub use rsa::rand_core::CryptoRngCore;
pub use rsa::{RsaPrivateKey, RsaPublicKey};

use alloc::vec::Vec;
use core::fmt;

use rsa::Pkcs1v15Sign;
use sha2::{Digest, Sha384};

use crate::container::ContainerError;
use crate::signature::BlockError;
use crate::signature::{MAX_CERTIFICATE_BYTES, RSA_BYTES};
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
    /// What somebody else returned as a signature is none by the key of the signer's certificate.
    Foreign,
    /// The module.
    Container(ContainerError),
    /// The signature section.
    Block(BlockError),
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => {
                write!(f, "the key is not RSA-3072 with exponent 65537; make one with `hicmod-tool key`")
            }
            Self::Rsa => write!(f, "the private key could not be used; it is damaged"),
            Self::Der { what } => write!(f, "{what} cannot be read or written as DER"),
            Self::CertificateSize { bytes } => {
                write!(f, "a certificate of {bytes} bytes is too long, the limit is {MAX_CERTIFICATE_BYTES}")
            }
            Self::WrongKey => {
                write!(f, "the private key does not belong to the certificate; give the matching one")
            }
            Self::Foreign => write!(
                f,
                "that is no RSA PKCS#1 v1.5 signature over SHA-384 by the key of the signer's certificate; sign with its key"
            ),
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
    /// What travels with the module.
    pub chain: Certificates<'a>,
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
    let draft = Draft::new(module, signer.chain, signed_at)?;
    let signature = sign_hash(signer.key, &draft.statement(), rng)?;
    draft.assemble(&signature)
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
