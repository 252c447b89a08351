//! Revocation lists: honoured, and not to be forged or emptied.

use super::*;
use crate::sign::{SignError, revoke};

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
    let lists = revoke(&[], &colleague(), by_intermediate(), NOW, &mut OsRng).unwrap();
    assert_eq!(verify_with(&lists), Ok(()));
    let lists = revoke(&lists, &good_chain().signer, by_intermediate(), NOW, &mut OsRng).unwrap();
    assert_eq!(verify_with(&lists), Err(VerifyError::Revoked { of: Role::Signer }));
    let lists = revoke(&lists, &good_chain().intermediate, by_root(), NOW, &mut OsRng).unwrap();
    assert_eq!(RevocationList::parse(&lists).unwrap().len(), 2);
    assert_eq!(verify_with(&lists), Err(VerifyError::Revoked { of: Role::Intermediate }));
}

#[test]
fn revoking_twice_names_a_certificate_once() {
    let once = revoke(&[], &good_chain().signer, by_intermediate(), NOW, &mut OsRng).unwrap();
    let twice = revoke(&once, &good_chain().signer, by_intermediate(), NOW, &mut OsRng).unwrap();
    assert_eq!(once.len(), twice.len());
}

#[test]
fn a_changed_list_is_refused() {
    let lists = revoke(&[], &colleague(), by_intermediate(), NOW, &mut OsRng).unwrap();
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
    let wrong = revoke(&[], &good_chain().signer, by_root(), NOW, &mut OsRng);
    assert_eq!(wrong, Err(SignError::WrongKey));
    let forged = IssuerKey { key: &keys().stranger, ..by_intermediate() };
    assert_eq!(revoke(&[], &good_chain().signer, forged, NOW, &mut OsRng), Err(SignError::WrongKey));
}
