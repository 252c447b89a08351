//! One certificate: parsed strictly, and only what this system issues is understood (RFC 5280, 4.1 and 4.2).

use alloc::vec::Vec;

use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPublicKey};
use x509_cert::TbsCertificate;
use x509_cert::certificate::Version;
use x509_cert::der::asn1::{AnyRef, BitStringRef, ObjectIdentifier};
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::referenced::OwnedToRef;
use x509_cert::der::{self, Decode, Reader, SliceReader};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectKeyIdentifier,
};
use x509_cert::name::Name;
use x509_cert::spki::{AlgorithmIdentifierOwned, AlgorithmIdentifierRef};

use super::{Role, Signer, VerifyError, is_signed_by};
use crate::signature::{MAX_CERTIFICATE_BYTES, RSA_BYTES};

/// `sha384WithRSAEncryption` (RFC 4055, 5).
pub(crate) const SHA384_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
/// `rsaEncryption` (RFC 8017, A.1).
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// `id-kp-codeSigning` (RFC 5280, 4.2.1.12).
pub(crate) const CODE_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");
/// `anyExtendedKeyUsage` (RFC 5280, 4.2.1.12).
const ANY_USE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");
/// `id-at-commonName` and `id-at-organizationName` (RFC 5280, A.1).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ORGANISATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
/// Most extensions of a certificate; ours have five.
const MAX_EXTENSIONS: usize = 16;
/// The public exponent that everyone uses.
const EXPONENT: u32 = 65_537;

/// The signed structure that certificates and revocation lists share: `SEQUENCE { to-be-signed, algorithm, signature }`.
pub(super) struct SignedDer<'a> {
    /// The exact bytes that were signed, never a re-encoding of them.
    pub(super) tbs: &'a [u8],
    algorithm: AlgorithmIdentifierRef<'a>,
    signature: &'a [u8],
}

impl<'a> SignedDer<'a> {
    /// Reads one from `reader`.
    pub(super) fn read<R: Reader<'a>>(reader: &mut R) -> der::Result<Self> {
        reader.sequence(|inner| {
            let tbs = inner.tlv_bytes()?;
            let algorithm = AlgorithmIdentifierRef::decode(inner)?;
            let signature = BitStringRef::decode(inner)?;
            let signature = signature.as_bytes().ok_or_else(|| der::Tag::BitString.value_error())?;
            Ok(Self { tbs, algorithm, signature })
        })
    }

    /// Whether outer and inner algorithm (which is signed) are both RSA with SHA-384 and the signature has its length.
    pub(super) fn has_our_algorithm(&self, inner: &AlgorithmIdentifierOwned) -> bool {
        let ours =
            |oid, parameters: Option<AnyRef<'_>>| oid == SHA384_WITH_RSA && parameters == Some(AnyRef::NULL);
        let inner = inner.owned_to_ref();
        ours(self.algorithm.oid, self.algorithm.parameters)
            && ours(inner.oid, inner.parameters)
            && self.signature.len() == RSA_BYTES
    }

    /// Whether `key` made the signature.
    pub(super) fn is_signed_by(&self, key: &RsaPublicKey) -> bool {
        use sha2::Digest;
        is_signed_by(key, &sha2::Sha384::digest(self.tbs), self.signature)
    }
}

/// A certificate of which the form was checked, and nothing else.
pub(super) struct Certificate<'a> {
    pub(super) of: Role,
    signed: SignedDer<'a>,
    pub(super) fields: TbsCertificate,
    pub(super) key: RsaPublicKey,
    constraints: Option<BasicConstraints>,
    usage: Option<KeyUsage>,
    extended: Option<ExtendedKeyUsage>,
}

impl<'a> Certificate<'a> {
    /// Reads the certificate which takes up all of `bytes`.
    pub(super) fn parse(of: Role, bytes: &'a [u8]) -> Result<Self, VerifyError> {
        let malformed = |_| VerifyError::Certificate { of };
        if bytes.len() > MAX_CERTIFICATE_BYTES {
            return Err(VerifyError::Certificate { of });
        }
        let mut reader = SliceReader::new(bytes).map_err(malformed)?;
        let signed = SignedDer::read(&mut reader).and_then(|s| reader.finish(s)).map_err(malformed)?;
        let fields = TbsCertificate::from_der(signed.tbs).map_err(malformed)?;
        if fields.version != Version::V3 {
            return Err(VerifyError::Certificate { of });
        }
        // RFC 5280, 4.1.2.4 and 4.1.2.6: names link a chain; an empty one links anything.
        if fields.issuer.0.is_empty() || fields.subject.0.is_empty() {
            return Err(VerifyError::Certificate { of });
        }
        if !signed.has_our_algorithm(&fields.signature) {
            return Err(VerifyError::Algorithm { of });
        }
        let key = public_key(of, &fields)?;
        let mut certificate =
            Self { of, signed, fields, key, constraints: None, usage: None, extended: None };
        certificate.read_extensions()?;
        Ok(certificate)
    }

    /// Keeps what is understood; refuses what is critical and not understood, and what is there twice (RFC 5280, 4.2).
    fn read_extensions(&mut self) -> Result<(), VerifyError> {
        let of = self.of;
        let extensions: Vec<Extension> = self.fields.extensions.take().unwrap_or_default();
        if extensions.len() > MAX_EXTENSIONS {
            return Err(VerifyError::Certificate { of });
        }
        for (index, extension) in extensions.iter().enumerate() {
            let id = extension.extn_id;
            if extensions.iter().take(index).any(|earlier| earlier.extn_id == id) {
                return Err(VerifyError::Certificate { of });
            }
            let value = extension.extn_value.as_bytes();
            match id {
                BasicConstraints::OID => self.constraints = Some(decode(of, value)?),
                KeyUsage::OID => self.usage = Some(decode(of, value)?),
                ExtendedKeyUsage::OID => self.extended = Some(decode(of, value)?),
                // Hints for building a chain; ours is given.
                SubjectKeyIdentifier::OID | AuthorityKeyIdentifier::OID => {}
                _ if extension.critical => return Err(VerifyError::CriticalExtension { of }),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the certificate that `name` and `key` belong to issued this one.
    pub(super) fn check_issuer(&self, name: &Name, key: &RsaPublicKey) -> Result<(), VerifyError> {
        if self.fields.issuer != *name || !self.signed.is_signed_by(key) {
            return Err(VerifyError::Chain { of: self.of });
        }
        Ok(())
    }

    /// That it is an authority with room for `below` authorities under it, whose key may sign certificates.
    pub(super) fn check_authority(&self, below: u8) -> Result<(), VerifyError> {
        let of = self.of;
        match &self.constraints {
            Some(BasicConstraints { ca: true, path_len_constraint }) => {
                if path_len_constraint.is_some_and(|most| most < below) {
                    return Err(VerifyError::PathLength { of });
                }
            }
            _ => return Err(VerifyError::BasicConstraints { of }),
        }
        if !self.usage.is_some_and(|usage| usage.key_cert_sign()) {
            return Err(VerifyError::KeyUsage { of, needed: "keyCertSign" });
        }
        // An authority that is limited to other purposes does not vouch for code, as other verifiers have it, too.
        let for_code = |extended: &ExtendedKeyUsage| {
            extended.0.iter().any(|use_| [CODE_SIGNING, ANY_USE].contains(use_))
        };
        if !self.extended.as_ref().is_none_or(for_code) {
            return Err(VerifyError::KeyUsage { of, needed: "codeSigning" });
        }
        Ok(())
    }

    /// Most authorities below it; `None`: it does not say.
    pub(super) fn path(&self) -> Option<u8> {
        self.constraints.as_ref().and_then(|constraints| constraints.path_len_constraint)
    }

    /// Whether its key may sign revocation lists.
    pub(super) fn may_revoke(&self) -> bool {
        self.usage.is_some_and(|usage| usage.crl_sign())
    }

    /// That it is no authority and that its key is for signing code.
    pub(super) fn check_code_signer(&self) -> Result<(), VerifyError> {
        let of = self.of;
        if self.constraints.as_ref().is_some_and(|constraints| constraints.ca) {
            return Err(VerifyError::BasicConstraints { of });
        }
        if !self.usage.is_some_and(|usage| usage.digital_signature()) {
            return Err(VerifyError::KeyUsage { of, needed: "digitalSignature" });
        }
        if !self.extended.as_ref().is_some_and(|extended| extended.0.contains(&CODE_SIGNING)) {
            return Err(VerifyError::KeyUsage { of, needed: "codeSigning" });
        }
        Ok(())
    }

    /// First and last second at which it is valid (RFC 5280, 4.1.2.5: both inclusive).
    pub(super) fn validity(&self) -> Validity {
        let seconds = |time: x509_cert::time::Time| time.to_unix_duration().as_secs();
        let validity = &self.fields.validity;
        Validity { of: self.of, from: seconds(validity.not_before), until: seconds(validity.not_after) }
    }

    /// Its common name in printable ASCII, so that it may go to a console.
    pub(super) fn name(&self) -> Signer {
        let mut name = Signer::new();
        for &byte in attribute(&self.fields.subject, COMMON_NAME).unwrap_or_default() {
            let shown = if byte == b' ' || byte.is_ascii_graphic() { char::from(byte) } else { '?' };
            if name.push(shown).is_err() {
                break;
            }
        }
        name
    }

    /// Whether its subject belongs to `organisation`.
    pub(super) fn is_of(&self, organisation: &str) -> bool {
        attribute(&self.fields.subject, ORGANISATION) == Some(organisation.as_bytes())
    }
}

/// From when to when a certificate is valid, seconds since 1970, UTC.
#[derive(Debug, Clone, Copy)]
pub(super) struct Validity {
    of: Role,
    pub(super) from: u64,
    pub(super) until: u64,
}

impl Validity {
    /// That it is valid at `now`.
    pub(super) fn check(self, now: u64) -> Result<(), VerifyError> {
        let Self { of, from, until } = self;
        if now < from {
            return Err(VerifyError::NotYetValid { of, from, now });
        }
        if now > until {
            return Err(VerifyError::Expired { of, until, now });
        }
        Ok(())
    }
}

fn decode<'a, T: Decode<'a>>(of: Role, bytes: &'a [u8]) -> Result<T, VerifyError> {
    T::from_der(bytes).map_err(|_| VerifyError::Certificate { of })
}

/// The value of the first attribute `id` of `name`.
fn attribute(name: &Name, id: ObjectIdentifier) -> Option<&[u8]> {
    let mut attributes = name.0.iter().flat_map(|set| set.0.iter());
    attributes.find(|attribute| attribute.oid == id).map(|attribute| attribute.value.value())
}

fn public_key(of: Role, fields: &TbsCertificate) -> Result<RsaPublicKey, VerifyError> {
    let info = fields.subject_public_key_info.owned_to_ref();
    if info.algorithm.oid != RSA_ENCRYPTION || info.algorithm.parameters != Some(AnyRef::NULL) {
        return Err(VerifyError::Algorithm { of });
    }
    let key = RsaPublicKey::try_from(info).map_err(|_| VerifyError::KeySize { of })?;
    if exact_key(&key) { Ok(key) } else { Err(VerifyError::KeySize { of }) }
}

/// Whether `key` is RSA-3072 with the exponent 65537.
pub(crate) fn exact_key(key: &RsaPublicKey) -> bool {
    key.n().bits() == RSA_BYTES * 8 && *key.e() == BigUint::from(EXPONENT)
}
