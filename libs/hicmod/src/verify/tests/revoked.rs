//! Revocation lists: honoured, and not to be forged or emptied.

use x509_cert::crl::{CertificateList, TbsCertList};
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::KeyUsages;

use super::*;
use crate::sign::{ListDates, SignError, refresh, revoke};

/// When the lists here are made, and when they are due.
const DATES: ListDates = ListDates { now: NOW, next: NOW + 100 };

fn by_root() -> IssuerKey<'static> {
    IssuerKey { certificate: Some(&good_chain().root), key: &keys().root }
}

fn by_intermediate() -> IssuerKey<'static> {
    IssuerKey { certificate: Some(&good_chain().intermediate), key: &keys().intermediate }
}

fn verify_with(lists: &[u8]) -> Result<(), VerifyError> {
    verify(good_module(), good_root(), NOW, &RevocationList::parse(lists)?).map(drop)
}

/// Another signer's certificate, issued by the same intermediate.
fn colleague() -> Vec<u8> {
    let key = public(&keys().stranger);
    let spec = CertificateSpec::signer(&key, true, VALIDITY, vec![77]).unwrap();
    issue(&spec, &key, by_intermediate(), &mut OsRng).unwrap()
}

#[test]
fn a_revoked_signer_or_intermediate_is_refused_and_its_colleague_is_not() {
    assert_eq!(verify_with(&[]), Ok(()));
    let lists = revoke(&[], &colleague(), by_intermediate(), DATES, &mut OsRng).unwrap();
    assert_eq!(verify_with(&lists), Ok(()));
    let lists = revoke(&lists, &good_chain().signer, by_intermediate(), DATES, &mut OsRng).unwrap();
    assert_eq!(verify_with(&lists), Err(VerifyError::Revoked { of: Role::Signer }));
    let lists = revoke(&lists, &good_chain().intermediate, by_root(), DATES, &mut OsRng).unwrap();
    assert_eq!(RevocationList::parse(&lists).unwrap().len(), 2);
    assert_eq!(verify_with(&lists), Err(VerifyError::Revoked { of: Role::Intermediate }));
}

#[test]
fn revoking_twice_names_a_certificate_once() {
    let once = revoke(&[], &good_chain().signer, by_intermediate(), DATES, &mut OsRng).unwrap();
    let twice = revoke(&once, &good_chain().signer, by_intermediate(), DATES, &mut OsRng).unwrap();
    assert_eq!(once.len(), twice.len());
}

#[test]
fn a_changed_list_is_refused() {
    let lists = revoke(&[], &colleague(), by_intermediate(), DATES, &mut OsRng).unwrap();
    for at in 0..lists.len() {
        let mut changed = lists.clone();
        changed[at] ^= 1 << (at % 8);
        match verify_with(&changed) {
            Err(VerifyError::RevocationList { .. }) => {}
            // The issuer's name was changed: the list is then somebody else's, and counts for nobody here.
            Ok(()) => assert!(!RevocationList::parse(&changed).unwrap().is_empty()),
            Err(other) => panic!("byte {at}: {other}"),
        }
        assert!(RevocationList::parse(&lists[..at]).is_err() || at == 0, "cut to {at}");
    }
}

#[test]
fn nobody_revokes_what_somebody_else_issued() {
    let wrong = revoke(&[], &good_chain().signer, by_root(), DATES, &mut OsRng);
    assert_eq!(wrong, Err(SignError::WrongKey));
    let forged = IssuerKey { key: &keys().stranger, ..by_intermediate() };
    assert_eq!(revoke(&[], &good_chain().signer, forged, DATES, &mut OsRng), Err(SignError::WrongKey));
}

#[test]
fn an_overdue_list_counts_and_says_that_it_is_overdue() {
    let lists = revoke(&[], &good_chain().signer, by_intermediate(), DATES, &mut OsRng).unwrap();
    let lists = RevocationList::parse(&lists).unwrap();
    assert_eq!(
        (lists.overdue_since(DATES.next), lists.overdue_since(DATES.next + 1)),
        (None, Some(DATES.next))
    );
    let late = verify(good_module(), good_root(), DATES.next + 1, &lists).map(drop);
    assert_eq!(late, Err(VerifyError::Revoked { of: Role::Signer }));
}

#[test]
fn a_list_signed_anew_names_what_it_named() {
    let lists = revoke(&[], &good_chain().signer, by_intermediate(), DATES, &mut OsRng).unwrap();
    let later = ListDates { now: NOW + 50, next: NOW + 500 };
    let lists = refresh(&lists, by_intermediate(), later, &mut OsRng).unwrap();
    assert_eq!(verify_with(&lists), Err(VerifyError::Revoked { of: Role::Signer }));
    assert_eq!(RevocationList::parse(&lists).unwrap().overdue_since(NOW + 400), None);
    let empty = refresh(&[], by_root(), later, &mut OsRng).unwrap();
    assert_eq!(verify_with(&empty), Ok(()));
}

#[test]
fn who_may_not_revoke_has_no_list() {
    let chain = chain(|specs| specs.intermediate.usage = KeyUsages::KeyCertSign.into());
    let issuer = IssuerKey { certificate: Some(&chain.intermediate), key: &keys().intermediate };
    let lists = revoke(&[], &chain.signer, issuer, DATES, &mut OsRng).unwrap();
    let root = TrustRoot::parse(&chain.root).unwrap();
    let verified =
        verify(&signed_with(&chain), &root, NOW, &RevocationList::parse(&lists).unwrap()).map(drop);
    assert!(matches!(verified, Err(VerifyError::RevocationList { .. })), "{verified:?}");
}

#[test]
fn more_and_longer_lists_than_the_limit_are_refused() {
    let problem = |bytes: &[u8]| RevocationList::parse(bytes).err();
    let list = revoke(&[], &good_chain().signer, by_intermediate(), DATES, &mut OsRng).unwrap();
    assert_eq!(problem(&list.repeat(MAX_LISTS)), None);
    let refused = |problem| Some(VerifyError::RevocationList { problem });
    assert_eq!(problem(&list.repeat(MAX_LISTS + 1)), refused("it holds too many lists"));
    assert_eq!(problem(&vec![0; MAX_REVOCATION_BYTES + 1]), refused("it is too long"));
}

#[test]
fn lists_of_another_algorithm_or_meaning_are_refused_before_they_count() {
    let good = revoke(&[], &good_chain().signer, by_intermediate(), DATES, &mut OsRng).unwrap();
    let with = |change: fn(&mut TbsCertList)| {
        let mut list = CertificateList::from_der(&good).unwrap();
        change(&mut list.tbs_cert_list);
        match RevocationList::parse(&list.to_der().unwrap()) {
            Err(VerifyError::RevocationList { problem }) => problem,
            _ => panic!("it was read"),
        }
    };
    // sha256WithRSAEncryption.
    let algorithm = with(|list| list.signature.oid = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11"));
    assert_eq!(algorithm, "it is signed with another algorithm than RSA with SHA-384");
    let unknown = "it has a critical extension that is unknown here";
    let of_list = |list: &mut TbsCertList| list.crl_extensions.as_mut().unwrap()[1].critical = true;
    assert_eq!(with(of_list), unknown);
    let of_entry = |list: &mut TbsCertList| {
        let mut extensions = list.crl_extensions.clone();
        extensions.as_mut().unwrap()[1].critical = true;
        list.revoked_certificates.as_mut().unwrap()[0].crl_entry_extensions = extensions;
    };
    assert_eq!(with(of_entry), unknown);
}

#[test]
fn a_list_whose_entries_were_taken_out_is_refused() {
    let good = revoke(&[], &good_chain().signer, by_intermediate(), DATES, &mut OsRng).unwrap();
    let mut list = CertificateList::from_der(&good).unwrap();
    list.tbs_cert_list.revoked_certificates = None;
    let problem = "its signature is not that of the issuer it names";
    assert_eq!(verify_with(&list.to_der().unwrap()), Err(VerifyError::RevocationList { problem }));
}
