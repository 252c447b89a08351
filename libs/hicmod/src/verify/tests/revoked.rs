//! Revocation lists: honoured, and not to be forged or emptied.

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
