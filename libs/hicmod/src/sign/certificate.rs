//! Issuing a certificate: X.509 version 3 (RFC 5280, 4.1), signed with RSA and SHA-384.
//!
//! [`CertificateSpec::root`], [`CertificateSpec::intermediate`] and [`CertificateSpec::signer`] give what
//! [`crate::verify`] asks for. The fields are open, so that tests can ask for certificates that it must refuse.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::str::FromStr;
use core::time::Duration;

use rsa::{RsaPrivateKey, RsaPublicKey};
use sha2::{Digest, Sha256};
use x509_cert::TbsCertificate;
use x509_cert::certificate::{CertificateInner, Rfc5280, Version};
use x509_cert::der::asn1::{Any, BitString, GeneralizedTime, OctetString, UtcTime};
use x509_cert::der::flagset::FlagSet;
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectKeyIdentifier,
};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::Time;

use super::{CryptoRngCore, SignError, sign_bytes};
use crate::verify::{CODE_SIGNING, DEVELOPMENT_ORGANISATION, SHA384_WITH_RSA};

/// Length of a key identifier, bytes (RFC 7093, 2, method 1).
pub const SUBJECT_KEY_BYTES: usize = 20;
/// From this second on, times are written with four digits of the year (RFC 5280, 4.1.2.5): 2050-01-01.
const GENERALIZED_FROM: u64 = 2_524_608_000;
/// Authorities below a root: its successor by a cross-certificate, and the successor's intermediate.
const ROOT_PATH: u8 = 2;
/// Organisation in the subject of a certificate that is not for development.
const ORGANISATION: &str = "HIC";

/// First and last second at which a certificate is valid, since 1970, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First.
    pub from: u64,
    /// Last.
    pub until: u64,
}

/// What a certificate says of issuing others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Constraints {
    /// It may, with at most so many authorities below it.
    Authority {
        /// Authorities below it.
        path: u8,
    },
    /// It may not.
    None,
}

/// What a certificate shall say.
#[derive(Debug, Clone)]
pub struct CertificateSpec {
    /// Subject, as RFC 4514 writes names.
    pub subject: String,
    /// Serial number, big-endian, at most 20 bytes, positive.
    pub serial: Vec<u8>,
    /// When it is valid.
    pub validity: Validity,
    /// Whether it may issue others.
    pub constraints: Constraints,
    /// What its key may do.
    pub usage: FlagSet<KeyUsages>,
    /// Whether its key may sign code.
    pub code_signing: bool,
}

impl CertificateSpec {
    /// A root: issues intermediates and revokes them. Its path has room for a successor, which it may accept by a cross-certificate.
    pub fn root(
        key: &RsaPublicKey,
        development: bool,
        validity: Validity,
        serial: Vec<u8>,
    ) -> Result<Self, SignError> {
        let constraints = Constraints::Authority { path: ROOT_PATH };
        Self::authority("root", key, development, validity, serial, constraints)
    }

    /// The root `certificate` (DER, self-signed) as its predecessor accepts it: name and use of the new root, vouched for by the old one.
    ///
    /// # Errors
    /// [`SignError::Der`] if it is no certificate.
    pub fn cross(certificate: &[u8], validity: Validity, serial: Vec<u8>) -> Result<Self, SignError> {
        let what = "the new root's certificate";
        let root = CertificateInner::<Rfc5280>::from_der(certificate).map_err(|_| SignError::Der { what })?;
        Ok(Self {
            subject: alloc::string::ToString::to_string(&root.tbs_certificate.subject),
            serial,
            validity,
            constraints: Constraints::Authority { path: ROOT_PATH - 1 },
            usage: KeyUsages::KeyCertSign | KeyUsages::CRLSign,
            code_signing: false,
        })
    }

    /// An intermediate: issues signers and revokes them.
    pub fn intermediate(
        key: &RsaPublicKey,
        development: bool,
        validity: Validity,
        serial: Vec<u8>,
    ) -> Result<Self, SignError> {
        let constraints = Constraints::Authority { path: 0 };
        Self::authority("intermediate", key, development, validity, serial, constraints)
    }

    /// A signer of modules.
    pub fn signer(
        key: &RsaPublicKey,
        development: bool,
        validity: Validity,
        serial: Vec<u8>,
    ) -> Result<Self, SignError> {
        Ok(Self {
            subject: subject("signer", key, development)?,
            serial,
            validity,
            constraints: Constraints::None,
            usage: KeyUsages::DigitalSignature.into(),
            code_signing: true,
        })
    }

    fn authority(
        title: &str,
        key: &RsaPublicKey,
        development: bool,
        validity: Validity,
        serial: Vec<u8>,
        constraints: Constraints,
    ) -> Result<Self, SignError> {
        let usage = KeyUsages::KeyCertSign | KeyUsages::CRLSign;
        let subject = subject(title, key, development)?;
        Ok(Self { subject, serial, validity, constraints, usage, code_signing: false })
    }
}

/// A subject that names the key too: two development roots must not have one name, or a chain of one would look like a
/// broken chain of the other.
fn subject(title: &str, key: &RsaPublicKey, development: bool) -> Result<String, SignError> {
    let id = key_identifier(&public_key_info(key)?);
    let short: String = id.iter().take(4).map(|byte| alloc::format!("{byte:02x}")).collect();
    let organisation = if development { DEVELOPMENT_ORGANISATION } else { ORGANISATION };
    Ok(alloc::format!("CN={organisation} {title} {short},O={organisation}"))
}

/// Who issues: name and private key. A root issues itself.
#[derive(Clone, Copy)]
pub struct IssuerKey<'a> {
    /// The issuer's certificate, DER; `None` for one that signs itself.
    pub certificate: Option<&'a [u8]>,
    /// Its private key.
    pub key: &'a RsaPrivateKey,
}

/// The certificate, DER, of `key`, as `spec` asks for it.
pub fn issue(
    spec: &CertificateSpec,
    key: &RsaPublicKey,
    issuer: IssuerKey<'_>,
    rng: &mut impl CryptoRngCore,
) -> Result<Vec<u8>, SignError> {
    let subject = Name::from_str(&spec.subject).map_err(|_| SignError::Der { what: "the subject's name" })?;
    let issuer_name = match issuer.certificate {
        Some(bytes) => own_certificate(bytes, issuer.key)?.tbs_certificate.subject,
        None => subject.clone(),
    };
    let tbs = TbsCertificate {
        version: Version::V3,
        serial_number: SerialNumber::new(&spec.serial)
            .map_err(|_| SignError::Der { what: "the serial number" })?,
        signature: algorithm(),
        issuer: issuer_name,
        validity: x509_cert::time::Validity {
            not_before: time(spec.validity.from)?,
            not_after: time(spec.validity.until)?,
        },
        subject,
        subject_public_key_info: public_key_info(key)?,
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: Some(extensions(spec, key, issuer.key)?),
    };
    let unreadable = |_| SignError::Der { what: "the certificate" };
    let signature = sign_bytes(issuer.key, &tbs.to_der().map_err(unreadable)?, rng)?;
    let signature = BitString::from_bytes(&signature).map_err(unreadable)?;
    let certificate =
        CertificateInner::<Rfc5280> { tbs_certificate: tbs, signature_algorithm: algorithm(), signature };
    certificate.to_der().map_err(unreadable)
}

/// A serial number that nobody can guess and that no other certificate has (RFC 5280, 4.1.2.2).
pub fn random_serial(rng: &mut impl CryptoRngCore) -> Vec<u8> {
    let mut serial = vec![0; 16];
    rng.fill_bytes(&mut serial);
    if let Some(first) = serial.first_mut() {
        // Positive, and never shortened by a leading zero.
        *first = (*first & 0x7F) | 0x40;
    }
    serial
}

/// The certificate in `bytes`, which belongs to `key`.
pub(super) fn own_certificate(
    bytes: &[u8],
    key: &RsaPrivateKey,
) -> Result<CertificateInner<Rfc5280>, SignError> {
    let what = "the issuer's certificate";
    let certificate = CertificateInner::<Rfc5280>::from_der(bytes).map_err(|_| SignError::Der { what })?;
    if certificate.tbs_certificate.subject_public_key_info != public_key_info(&key.to_public_key())? {
        return Err(SignError::WrongKey);
    }
    Ok(certificate)
}

/// RSA with SHA-384.
pub(super) fn algorithm() -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned { oid: SHA384_WITH_RSA, parameters: Some(Any::null()) }
}

/// Seconds since 1970 in the form that RFC 5280, 4.1.2.5 prescribes.
pub(super) fn time(seconds: u64) -> Result<Time, SignError> {
    let since = Duration::from_secs(seconds);
    let time = if seconds < GENERALIZED_FROM {
        UtcTime::from_unix_duration(since).map(Time::UtcTime)
    } else {
        GeneralizedTime::from_unix_duration(since).map(Time::GeneralTime)
    };
    time.map_err(|_| SignError::Der { what: "a time" })
}

fn public_key_info(key: &RsaPublicKey) -> Result<SubjectPublicKeyInfoOwned, SignError> {
    use rsa::pkcs8::EncodePublicKey;
    let unwritable = || SignError::Der { what: "the public key" };
    let der = key.to_public_key_der().map_err(|_| unwritable())?;
    SubjectPublicKeyInfoOwned::from_der(der.as_bytes()).map_err(|_| unwritable())
}

/// The leftmost 160 bits of SHA-256 of the public key (RFC 7093, 2, method 1).
fn key_identifier(info: &SubjectPublicKeyInfoOwned) -> Vec<u8> {
    let hash = Sha256::digest(info.subject_public_key.raw_bytes());
    hash.into_iter().take(SUBJECT_KEY_BYTES).collect()
}

fn extensions(
    spec: &CertificateSpec,
    key: &RsaPublicKey,
    issuer: &RsaPrivateKey,
) -> Result<Vec<Extension>, SignError> {
    let constraints = match spec.constraints {
        Constraints::Authority { path } => BasicConstraints { ca: true, path_len_constraint: Some(path) },
        Constraints::None => BasicConstraints { ca: false, path_len_constraint: None },
    };
    let mut extensions = vec![
        extension(&constraints, true)?,
        extension(&KeyUsage(spec.usage), true)?,
        extension(&SubjectKeyIdentifier(identifier(key)?), false)?,
        extension(&authority_key(issuer)?, false)?,
    ];
    if spec.code_signing {
        extensions.push(extension(&ExtendedKeyUsage(vec![CODE_SIGNING]), true)?);
    }
    Ok(extensions)
}

fn identifier(key: &RsaPublicKey) -> Result<OctetString, SignError> {
    OctetString::new(key_identifier(&public_key_info(key)?)).map_err(unwritable)
}

/// Which key issued something (RFC 5280, 4.2.1.1 and 5.2.1).
pub(super) fn authority_key(issuer: &RsaPrivateKey) -> Result<AuthorityKeyIdentifier, SignError> {
    let key_identifier = Some(identifier(&issuer.to_public_key())?);
    Ok(AuthorityKeyIdentifier { key_identifier, ..AuthorityKeyIdentifier::default() })
}

pub(super) fn extension<T: AssociatedOid + Encode>(
    value: &T,
    critical: bool,
) -> Result<Extension, SignError> {
    let extn_value = value.to_der().and_then(OctetString::new).map_err(unwritable)?;
    Ok(Extension { extn_id: T::OID, critical, extn_value })
}

fn unwritable(_: x509_cert::der::Error) -> SignError {
    SignError::Der { what: "an extension" }
}
