//! A module about to be signed: what there is to sign, and the module once somebody signed it. The private key may be elsewhere, in a
//! token or a service.

use alloc::vec::Vec;

use x509_cert::certificate::{CertificateInner, Rfc5280};
use x509_cert::der::Decode;
use x509_cert::der::referenced::OwnedToRef;

use super::{RsaPublicKey, SignError};
use crate::container::{Container, NewSection, SectionKind, encode};
use crate::signature::{
    BLOCK_HEADER_BYTES, CROSSED_HEADER_BYTES, CROSSED_VERSION, DIGEST_BYTES, DOMAIN, MAGIC,
    MAX_CERTIFICATE_BYTES, ModuleDigest, RSA_BYTES, SIGNATURE_VERSION, content_digest, statement,
};
use crate::verify::is_signed_by;

/// The certificates that travel with a module, DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certificates<'a> {
    /// The signer's.
    pub signer: &'a [u8],
    /// That of its issuer.
    pub intermediate: &'a [u8],
    /// That of a new root by the old one, for systems that trust the old one.
    pub cross: Option<&'a [u8]>,
}

impl<'a> Certificates<'a> {
    fn all(&self) -> impl Iterator<Item = &'a [u8]> {
        [self.signer, self.intermediate].into_iter().chain(self.cross)
    }

    fn check_sizes(&self) -> Result<(), SignError> {
        match self.all().find(|certificate| !(1..=MAX_CERTIFICATE_BYTES).contains(&certificate.len())) {
            Some(certificate) => Err(SignError::CertificateSize { bytes: certificate.len() }),
            None => Ok(()),
        }
    }
}

/// A module without its signature.
pub struct Draft<'a> {
    container: Container<'a>,
    chain: Certificates<'a>,
    /// The signature section without the signature.
    signed: Vec<u8>,
}

impl<'a> Draft<'a> {
    /// `module`, to be signed by whoever `chain` vouches for, dated `signed_at` (seconds since 1970, UTC). An earlier signature is left out.
    ///
    /// # Errors
    /// [`SignError::CertificateSize`], [`SignError::Container`], [`SignError::Block`].
    pub fn new(module: &'a [u8], chain: Certificates<'a>, signed_at: u64) -> Result<Self, SignError> {
        chain.check_sizes()?;
        let container = Container::parse(module).map_err(SignError::Container)?;
        // The digest covers the length of the signature section, so it is laid out before there is a signature.
        let empty = block(&chain, signed_at, &[0; DIGEST_BYTES]);
        let laid_out = with_block(&container, &empty, &[0; RSA_BYTES])?;
        let laid_out = Container::parse(&laid_out).map_err(SignError::Container)?;
        let digest = content_digest(&laid_out).map_err(SignError::Block)?;
        Ok(Self { signed: block(&chain, signed_at, &digest), container, chain })
    }

    /// The bytes to be signed with RSASSA-PKCS1-v1_5 and SHA-384.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        [DOMAIN, &self.signed].concat()
    }

    /// SHA-384 of [`Self::message`].
    #[must_use]
    pub fn statement(&self) -> ModuleDigest {
        statement(&self.signed)
    }

    /// The module with `signature`, which somebody else made.
    ///
    /// # Errors
    /// [`SignError::Foreign`] if it is not one by the key of the signer's certificate, [`SignError::Der`] if that is none.
    pub fn finish(self, signature: &[u8]) -> Result<Vec<u8>, SignError> {
        let what = "the signer's certificate";
        let certificate =
            CertificateInner::<Rfc5280>::from_der(self.chain.signer).map_err(|_| SignError::Der { what })?;
        let info = certificate.tbs_certificate.subject_public_key_info;
        let key = RsaPublicKey::try_from(info.owned_to_ref()).map_err(|_| SignError::Der { what })?;
        if signature.len() != RSA_BYTES || !is_signed_by(&key, &self.statement(), signature) {
            return Err(SignError::Foreign);
        }
        self.assemble(signature)
    }

    /// As [`Self::finish`], for a signature by a key that is known to be right, or wrong on purpose.
    pub(super) fn assemble(&self, signature: &[u8]) -> Result<Vec<u8>, SignError> {
        with_block(&self.container, &self.signed, signature)
    }
}

fn block(chain: &Certificates<'_>, signed_at: u64, digest: &ModuleDigest) -> Vec<u8> {
    let (version, header) = match chain.cross {
        None => (SIGNATURE_VERSION, BLOCK_HEADER_BYTES),
        Some(_) => (CROSSED_VERSION, CROSSED_HEADER_BYTES),
    };
    let mut out = Vec::new();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&version.to_le_bytes());
    out.extend_from_slice(&(header as u16).to_le_bytes());
    out.extend_from_slice(&signed_at.to_le_bytes());
    out.extend_from_slice(digest);
    for certificate in chain.all() {
        // `check_sizes` bounds them.
        out.extend_from_slice(&(certificate.len() as u32).to_le_bytes());
    }
    out.resize(header, 0);
    chain.all().for_each(|certificate| out.extend_from_slice(certificate));
    out
}

fn with_block(container: &Container<'_>, signed: &[u8], signature: &[u8]) -> Result<Vec<u8>, SignError> {
    let mut sections: Vec<NewSection<'_>> = container
        .sections()
        .filter(|section| section.kind != SectionKind::Signature)
        .map(|section| NewSection { kind: section.kind, critical: section.critical, bytes: section.bytes })
        .collect();
    let block = [signed, signature].concat();
    sections.push(NewSection { kind: SectionKind::Signature, critical: false, bytes: &block });
    encode(&sections).map_err(SignError::Container)
}
