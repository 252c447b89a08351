//! Revocation lists: X.509, version 2 (RFC 5280, 5), one behind the other in one file.

use alloc::vec;
use alloc::vec::Vec;

use x509_cert::certificate::{CertificateInner, Rfc5280, Version};
use x509_cert::crl::{CertificateList, RevokedCert, TbsCertList};
use x509_cert::der::asn1::{BitString, Uint};
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{Decode, Encode, Reader, SliceReader};
use x509_cert::ext::pkix::CrlNumber;
use x509_cert::name::Name;

use super::certificate::{algorithm, authority_key, extension, own_certificate, time};
use super::{CryptoRngCore, IssuerKey, SignError, sign_bytes};

/// When a list is made, and when whoever distributes it promises a newer one; seconds since 1970, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListDates {
    /// `thisUpdate`.
    pub now: u64,
    /// `nextUpdate`.
    pub next: u64,
}

/// `lists` (may be empty) with `certificate` added to the list of `issuer`, which is signed anew. The other lists are kept as they are.
///
/// # Errors
/// [`SignError::WrongKey`] if `issuer` did not issue `certificate` or has another key; [`SignError::Der`].
pub fn revoke(
    lists: &[u8],
    certificate: &[u8],
    issuer: IssuerKey<'_>,
    dates: ListDates,
    rng: &mut impl CryptoRngCore,
) -> Result<Vec<u8>, SignError> {
    let what = "the certificate to revoke";
    let revoked = CertificateInner::<Rfc5280>::from_der(certificate).map_err(|_| SignError::Der { what })?;
    let revoked = revoked.tbs_certificate;
    rewrite(lists, issuer, dates, rng, |name, entries| {
        if revoked.issuer != *name {
            return Err(SignError::WrongKey);
        }
        let serial_number = revoked.serial_number;
        if !entries.iter().any(|entry| entry.serial_number == serial_number) {
            let revocation_date = time(dates.now)?;
            entries.push(RevokedCert { serial_number, revocation_date, crl_entry_extensions: None });
        }
        Ok(())
    })
}

/// `lists` (may be empty) with the list of `issuer` signed anew, with what it names and new dates.
///
/// # Errors
/// As [`revoke`].
pub fn refresh(
    lists: &[u8],
    issuer: IssuerKey<'_>,
    dates: ListDates,
    rng: &mut impl CryptoRngCore,
) -> Result<Vec<u8>, SignError> {
    rewrite(lists, issuer, dates, rng, |_, _| Ok(()))
}

/// The list of `issuer` changed by `change` and signed anew, behind all others.
fn rewrite(
    lists: &[u8],
    issuer: IssuerKey<'_>,
    dates: ListDates,
    rng: &mut impl CryptoRngCore,
    change: impl FnOnce(&Name, &mut Vec<RevokedCert>) -> Result<(), SignError>,
) -> Result<Vec<u8>, SignError> {
    let certificate = issuer.certificate.ok_or(SignError::Der { what: "the issuer's certificate" })?;
    let name = own_certificate(certificate, issuer.key)?.tbs_certificate.subject;
    let Parts { mut others, mut entries, number } = split(lists, &name)?;
    change(&name, &mut entries)?;
    let list = TbsCertList {
        version: Version::V2,
        signature: algorithm(),
        issuer: name,
        this_update: time(dates.now)?,
        next_update: Some(time(dates.next)?),
        // RFC 5280, 5.1.2.6: absent where there is none.
        revoked_certificates: Some(entries).filter(|entries| !entries.is_empty()),
        crl_extensions: Some(vec![
            extension(&authority_key(issuer.key)?, false)?,
            extension(&CrlNumber(Uint::new(&(number + 1).to_be_bytes()).map_err(unwritable)?), false)?,
        ]),
    };
    let signature = sign_bytes(issuer.key, &list.to_der().map_err(unwritable)?, rng)?;
    let signature = BitString::from_bytes(&signature).map_err(unwritable)?;
    let list = CertificateList { tbs_cert_list: list, signature_algorithm: algorithm(), signature };
    others.extend_from_slice(&list.to_der().map_err(unwritable)?);
    Ok(others)
}

/// A file of lists, taken apart.
#[derive(Default)]
struct Parts {
    /// The lists of others as they are.
    others: Vec<u8>,
    /// What the list of the issuer names.
    entries: Vec<RevokedCert>,
    /// Its number, 0 if it has none (RFC 5280, 5.2.3).
    number: u64,
}

fn split(lists: &[u8], issuer: &Name) -> Result<Parts, SignError> {
    let mut parts = Parts::default();
    if lists.is_empty() {
        return Ok(parts);
    }
    let mut reader = SliceReader::new(lists).map_err(unwritable)?;
    while !reader.is_finished() {
        let bytes = reader.tlv_bytes().map_err(unwritable)?;
        let list = CertificateList::from_der(bytes).map_err(unwritable)?.tbs_cert_list;
        if list.issuer == *issuer {
            parts.number = parts.number.max(number(&list));
            parts.entries.extend(list.revoked_certificates.into_iter().flatten());
        } else {
            parts.others.extend_from_slice(bytes);
        }
    }
    Ok(parts)
}

/// The number of a list; 0 without one, or with one that no list of ours reaches.
fn number(list: &TbsCertList) -> u64 {
    let mut extensions = list.crl_extensions.iter().flatten();
    let value = extensions.find(|extension| extension.extn_id == CrlNumber::OID);
    let number = value.and_then(|value| CrlNumber::from_der(value.extn_value.as_bytes()).ok());
    let digits = number.as_ref().map_or(&[][..], |number| number.0.as_bytes());
    if digits.len() > 7 { 0 } else { digits.iter().fold(0, |sum, digit| sum << 8 | u64::from(*digit)) }
}

fn unwritable(_: x509_cert::der::Error) -> SignError {
    SignError::Der { what: "the revocation list" }
}
