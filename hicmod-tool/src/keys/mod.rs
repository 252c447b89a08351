//! Keys and certificates as files: making them, reading them again, signing with them.
//!
//! - [`private`]: private keys, PKCS#8 in PEM, encrypted by a passphrase or not.
//! - [`authority`]: a folder with a root and an intermediate; issues signers, revokes them, accepts a new root.
//! - [`signing`]: what signs modules: a private key, or a command that has one.
//!
//! Private keys are readable by their owner only. Certificates are there in PEM for people and their tools, and in DER for the guest.
//! Nothing that exists is ever overwritten but revocation lists: a key that is lost is lost.

pub mod authority;
mod error;
mod external;
mod files;
pub mod private;
pub mod signing;

pub use authority::{Authority, AuthorityOptions, Subject};
pub use error::KeyError;
pub use private::Passphrase;
pub use signing::SigningSet;

use std::path::Path;

use hic_hicmod::sign::{CertificateSpec, IssuerKey, ListDates, RsaPrivateKey};
use rsa::rand_core::OsRng;
use rsa::traits::PublicKeyParts;
use x509_cert::der::{Decode, EncodePem};

pub use files::{read_certificate, read_certificates};

/// The certificate of the root, DER: what a system that shall trust the chain is given.
pub const ROOT_DER: &str = "root.der";
/// The certificate of the root, PEM.
pub const ROOT_PEM: &str = "root.pem";
/// The certificates of signer and intermediate, PEM, in this order: what travels with a module.
pub const CHAIN_PEM: &str = "chain.pem";
/// The private key that signs modules.
pub const SIGNER_KEY: &str = "signer.key.pem";
/// The private key of the root; belongs on a machine without a network.
pub const ROOT_KEY: &str = "root.key.pem";
/// The private key of the intermediate.
pub const INTERMEDIATE_KEY: &str = "intermediate.key.pem";
/// The certificate of the signer, DER.
pub const SIGNER_DER: &str = "signer.der";

/// What a new chain shall be.
#[derive(Debug, Clone, Copy)]
pub struct ChainOptions {
    /// For development: systems that trust it say so.
    pub development: bool,
    /// Days for which the signer is valid; the intermediate three times, the root ten times as long.
    pub days: u32,
    /// The time, seconds since 1970, UTC. Certificates are valid from the day before on, since clocks differ.
    pub now: u64,
}

/// Makes root, intermediate and signer, without passphrases, in `folder`, which is made if it is not there: for development and tests.
///
/// # Errors
/// [`KeyError`].
pub fn make_chain(folder: &Path, options: ChainOptions) -> Result<(), KeyError> {
    let ChainOptions { development, days, now } = options;
    let made = AuthorityOptions { development, days, now };
    let authority = Authority::create(folder, made, &mut |_| Ok(None))?;
    let key = hic_hicmod::sign::generate_key(&mut OsRng)?;
    private::write(&folder.join(SIGNER_KEY), &key, None)?;
    let signer = authority.issue(&Subject::of_key(&key), days, now)?;
    files::write_certificate(folder, "signer", &signer)?;
    files::write_new(&folder.join(CHAIN_PEM), authority.chain(&signer)?.as_bytes(), files::PUBLIC)
}

/// Writes certificates, PEM, to the new file `path`.
///
/// # Errors
/// [`KeyError::Exists`], [`KeyError::File`].
pub fn write_chain(path: &Path, chain: &str) -> Result<(), KeyError> {
    files::write_new(path, chain.as_bytes(), files::PUBLIC)
}

/// `lists` (may be empty) with `certificate` added to the list of its issuer.
///
/// # Errors
/// [`KeyError::Sign`].
pub fn revoke(
    lists: &[u8],
    certificate: &[u8],
    issuer: &[u8],
    issuer_key: &RsaPrivateKey,
    dates: ListDates,
) -> Result<Vec<u8>, KeyError> {
    let issuer = IssuerKey { certificate: Some(issuer), key: issuer_key };
    Ok(hic_hicmod::sign::revoke(lists, certificate, issuer, dates, &mut OsRng)?)
}

/// When `certificate`, DER, expires: seconds since 1970, UTC. `None` if it is no certificate.
#[must_use]
pub fn valid_until(certificate: &[u8]) -> Option<u64> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate.validity.not_after.to_unix_duration().as_secs())
}

/// The private key, not encrypted, in the file `path`.
///
/// # Errors
/// [`KeyError::Encrypted`] for one that is, [`KeyError::NoKey`] for another file.
pub fn read_key(path: &Path) -> Result<RsaPrivateKey, KeyError> {
    private::read(path, &mut |path| Err(KeyError::Encrypted(path.to_owned())))
}

/// A certificate, DER, as PEM.
fn pem(certificate: &[u8]) -> Result<String, KeyError> {
    let certificate = x509_cert::Certificate::from_der(certificate).map_err(|_| KeyError::Pem)?;
    certificate.to_pem(rsa::pkcs8::LineEnding::LF).map_err(|_| KeyError::Pem)
}

/// Whether two public keys are one.
fn same_key(a: &rsa::RsaPublicKey, b: &rsa::RsaPublicKey) -> bool {
    a.n() == b.n() && a.e() == b.e()
}

/// For how long what a spec is made for is valid: from the day before, since clocks differ.
fn validity(now: u64, days: u64) -> hic_hicmod::sign::Validity {
    const DAY_S: u64 = 86_400;
    hic_hicmod::sign::Validity { from: now.saturating_sub(DAY_S), until: now + days * DAY_S }
}

/// A serial number for a certificate.
fn serial() -> Vec<u8> {
    hic_hicmod::sign::random_serial(&mut OsRng)
}

/// A spec, issued.
fn issue(
    spec: &CertificateSpec,
    key: &rsa::RsaPublicKey,
    issuer: IssuerKey<'_>,
) -> Result<Vec<u8>, KeyError> {
    Ok(hic_hicmod::sign::issue(spec, key, issuer, &mut OsRng)?)
}
