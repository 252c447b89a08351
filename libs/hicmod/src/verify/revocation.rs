//! Which certificates are no longer believed: X.509 revocation lists (RFC 5280, 5), one behind the other.
//!
//! A list counts for the certificates of its issuer: the root's for intermediates, the intermediate's for signers. It
//! counts whatever its date: an old list may know too little, but what it names stays revoked. A list that is overdue
//! (`nextUpdate`) is no reason to refuse anything, since a service that cannot be restarted would be worse off than one that is
//! started under an old list; [`RevocationList::overdue_since`] is for telling the operator (docs/adr/0028).

use alloc::vec::Vec;

use rsa::RsaPublicKey;
use x509_cert::crl::TbsCertList;
use x509_cert::der::{Decode, Reader, SliceReader};
use x509_cert::ext::Extension;
use x509_cert::name::Name;

use super::VerifyError;
use super::certificate::{Certificate, SignedDer};

/// Most lists, one for each issuer.
pub const MAX_LISTS: usize = 16;
/// Longest file of lists, bytes. An entry takes 20 or more, so that they name at most 3276 certificates, and reading them
/// takes at most 600 KiB of heap.
pub const MAX_REVOCATION_BYTES: usize = 64 * 1024;

/// Who issued a certificate, for the lists.
pub(super) struct Issuer<'a> {
    pub(super) name: &'a Name,
    pub(super) key: &'a RsaPublicKey,
    pub(super) may_revoke: bool,
}

/// The revocation lists of a system. Their signatures are verified when they are used, since only then the issuer's key
/// is known.
#[derive(Default)]
pub struct RevocationList<'a> {
    lists: Vec<(SignedDer<'a>, TbsCertList)>,
}

impl<'a> RevocationList<'a> {
    /// No list: nothing is revoked.
    #[must_use]
    pub const fn none() -> Self {
        Self { lists: Vec::new() }
    }

    /// Reads lists, DER, one behind the other, which take up all of `bytes`. Empty bytes are no list.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, VerifyError> {
        if bytes.len() > MAX_REVOCATION_BYTES {
            return Err(refused("it is too long"));
        }
        let mut lists = Vec::new();
        if bytes.is_empty() {
            return Ok(Self { lists });
        }
        let malformed = |_| refused("it is not a sequence of X.509 revocation lists");
        let mut reader = SliceReader::new(bytes).map_err(malformed)?;
        while !reader.is_finished() {
            if lists.len() == MAX_LISTS {
                return Err(refused("it holds too many lists"));
            }
            let signed = SignedDer::read(&mut reader).map_err(malformed)?;
            let list = TbsCertList::from_der(signed.tbs).map_err(malformed)?;
            check_form(&signed, &list)?;
            lists.push((signed, list));
        }
        Ok(Self { lists })
    }

    /// Since when a newer list should be here, seconds since 1970, UTC: the earliest `nextUpdate` before `now`.
    #[must_use]
    pub fn overdue_since(&self, now: u64) -> Option<u64> {
        let due = self.lists.iter().filter_map(|(_, list)| list.next_update);
        due.map(|time| time.to_unix_duration().as_secs()).filter(|due| *due < now).min()
    }

    /// How many lists there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lists.len()
    }

    /// Whether there is no list.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// That no list of `issuer` names `certificate`, and that every list of `issuer` was signed by it.
    pub(super) fn check(
        &self,
        issuer: &Issuer<'_>,
        certificate: &Certificate<'_>,
    ) -> Result<(), VerifyError> {
        let serial = &certificate.fields.serial_number;
        for (signed, list) in self.lists.iter().filter(|(_, list)| list.issuer == *issuer.name) {
            if !issuer.may_revoke || !signed.is_signed_by(issuer.key) {
                return Err(refused("its signature is not that of the issuer it names"));
            }
            let mut names = list.revoked_certificates.iter().flatten();
            if names.any(|entry| entry.serial_number == *serial) {
                return Err(VerifyError::Revoked { of: certificate.of });
            }
        }
        Ok(())
    }
}

fn check_form(signed: &SignedDer<'_>, list: &TbsCertList) -> Result<(), VerifyError> {
    if !signed.has_our_algorithm(&list.signature) {
        return Err(refused("it is signed with another algorithm than RSA with SHA-384"));
    }
    // A critical extension changes what a list means: a part of the certificates, or the changes since another list.
    let critical = |extensions: &Option<Vec<Extension>>| extensions.iter().flatten().any(|e| e.critical);
    let of_entries =
        list.revoked_certificates.iter().flatten().any(|entry| critical(&entry.crl_entry_extensions));
    if critical(&list.crl_extensions) || of_entries {
        return Err(refused("it has a critical extension that is unknown here"));
    }
    Ok(())
}

const fn refused(problem: &'static str) -> VerifyError {
    VerifyError::RevocationList { problem }
}
