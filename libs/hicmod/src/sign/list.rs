//! Revocation lists: X.509, version 2 (RFC 5280, 5), one behind the other in one file.

use alloc::vec::Vec;

use x509_cert::certificate::{CertificateInner, Rfc5280, Version};
use x509_cert::crl::{CertificateList, RevokedCert, TbsCertList};
use x509_cert::der::asn1::BitString;
use x509_cert::der::{Decode, Encode, Reader, SliceReader};
use x509_cert::name::Name;

use super::certificate::{algorithm, own_certificate, time};
use super::{CryptoRngCore, IssuerKey, SignError, sign_bytes};

/// `lists` (may be empty) with `certificate` added to the list of `issuer`, which is signed anew and dated `now`. The
/// other lists are kept as they are.
pub fn revoke(
    lists: &[u8],
    certificate: &[u8],
    issuer: IssuerKey<'_>,
    now: u64,
    rng: &mut impl CryptoRngCore,
) -> Result<Vec<u8>, SignError> {
    let what = "the certificate to revoke";
    let revoked = CertificateInner::<Rfc5280>::from_der(certificate).map_err(|_| SignError::Der { what })?;
    let issuer_certificate = issuer.certificate.ok_or(SignError::Der { what: "the issuer's certificate" })?;
    let name = own_certificate(issuer_certificate, issuer.key)?.tbs_certificate.subject;
    if revoked.tbs_certificate.issuer != name {
        return Err(SignError::WrongKey);
    }
    let (mut out, mut entries) = split(lists, &name)?;
    let serial_number = revoked.tbs_certificate.serial_number;
    if !entries.iter().any(|entry| entry.serial_number == serial_number) {
        let revocation_date = time(now)?;
        entries.push(RevokedCert { serial_number, revocation_date, crl_entry_extensions: None });
    }
    let list = TbsCertList {
        version: Version::V2,
        signature: algorithm(),
        issuer: name,
        this_update: time(now)?,
        next_update: None,
        revoked_certificates: Some(entries),
        crl_extensions: None,
    };
    let signature = sign_bytes(issuer.key, &list.to_der().map_err(unwritable)?, rng)?;
    let signature = BitString::from_bytes(&signature).map_err(unwritable)?;
    let list = CertificateList { tbs_cert_list: list, signature_algorithm: algorithm(), signature };
    out.extend_from_slice(&list.to_der().map_err(unwritable)?);
    Ok(out)
}

/// The lists of others as they are, and what the list of `issuer` names.
fn split(lists: &[u8], issuer: &Name) -> Result<(Vec<u8>, Vec<RevokedCert>), SignError> {
    let (mut others, mut entries) = (Vec::new(), Vec::new());
    if lists.is_empty() {
        return Ok((others, entries));
    }
    let mut reader = SliceReader::new(lists).map_err(unwritable)?;
    while !reader.is_finished() {
        let bytes = reader.tlv_bytes().map_err(unwritable)?;
        let list = CertificateList::from_der(bytes).map_err(unwritable)?;
        if list.tbs_cert_list.issuer == *issuer {
            entries.extend(list.tbs_cert_list.revoked_certificates.into_iter().flatten());
        } else {
            others.extend_from_slice(bytes);
        }
    }
    Ok((others, entries))
}

fn unwritable(_: x509_cert::der::Error) -> SignError {
    SignError::Der { what: "the revocation list" }
}
