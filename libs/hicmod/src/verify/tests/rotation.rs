//! A new root that the old one accepts: a system that trusts the old one believes its modules, and nothing else changes.

use super::*;
use crate::sign::{Constraints, ListDates, revoke};
use crate::signature::{BlockError, CROSSED_VERSION, SignatureBlock};

/// The new root's certificate by the old root, as `change` wants it, and a module signed under the new root.
fn rotated(change: impl FnOnce(&mut CertificateSpec)) -> Vec<u8> {
    let (cross, new) = cross(change);
    signed(&new, Some(&cross))
}

/// The old root is that of [`good_chain`]; the new one is the stranger's, over the same intermediate and signer.
fn cross(change: impl FnOnce(&mut CertificateSpec)) -> (Vec<u8>, Chain) {
    let new = new_chain();
    let mut spec = CertificateSpec::cross(&new.root, VALIDITY, vec![9]).unwrap();
    change(&mut spec);
    let old = IssuerKey { certificate: Some(&good_chain().root), key: &keys().root };
    (issue(&spec, &public(&keys().stranger), old, &mut OsRng).unwrap(), new)
}

fn new_chain() -> Chain {
    let keys = keys();
    let root_key = public(&keys.stranger);
    let spec = CertificateSpec::root(&root_key, false, VALIDITY, vec![5]).unwrap();
    let own = IssuerKey { certificate: None, key: &keys.stranger };
    let root = issue(&spec, &root_key, own, &mut OsRng).unwrap();
    let by_root = IssuerKey { certificate: Some(&root), key: &keys.stranger };
    let key = public(&keys.intermediate);
    let spec = CertificateSpec::intermediate(&key, false, VALIDITY, vec![6]).unwrap();
    let intermediate = issue(&spec, &key, by_root, &mut OsRng).unwrap();
    let by_intermediate = IssuerKey { certificate: Some(&intermediate), key: &keys.intermediate };
    let key = public(&keys.signer);
    let spec = CertificateSpec::signer(&key, false, VALIDITY, vec![7]).unwrap();
    let signer = issue(&spec, &key, by_intermediate, &mut OsRng).unwrap();
    Chain { root, intermediate, signer }
}

fn signed(chain: &Chain, cross: Option<&[u8]>) -> Vec<u8> {
    let chain = Certificates { signer: &chain.signer, intermediate: &chain.intermediate, cross };
    sign_module(&unsigned(&image()), SignerKey { key: &keys().signer, chain }, SIGNED_AT, &mut OsRng).unwrap()
}

fn refused(module: &[u8]) -> VerifyError {
    verify_now(module, good_root()).unwrap_err()
}

#[test]
fn a_root_accepted_by_the_old_one_is_believed_by_systems_of_both() {
    let (cross, new) = cross(|_| ());
    let module = signed(&new, Some(&cross));
    assert_eq!(verify_now(&module, good_root()), Ok(()));
    assert_eq!(verify_now(&module, &TrustRoot::parse(&new.root).unwrap()), Ok(()));
    let verified = verify(&module, good_root(), NOW, &RevocationList::none()).unwrap();
    assert!(verified.is_development(), "the old root is one for development");
}

#[test]
fn without_the_certificate_of_the_old_root_the_new_one_is_unknown() {
    assert_eq!(refused(&signed(&new_chain(), None)), VerifyError::UnknownRoot);
    // Accepted by somebody else.
    let (_, new) = cross(|_| ());
    assert_eq!(refused(&signed(&new, Some(&new.root))), VerifyError::UnknownRoot);
    // The names are right, the signature is not.
    let spec = CertificateSpec::cross(&new.root, VALIDITY, vec![9]).unwrap();
    let mut forged = spec.clone();
    forged.subject = good_name();
    let own = IssuerKey { certificate: None, key: &keys().stranger };
    let pretender = issue(&forged, &public(&keys().stranger), own, &mut OsRng).unwrap();
    let by_pretender = IssuerKey { certificate: Some(&pretender), key: &keys().stranger };
    let cross = issue(&spec, &public(&keys().stranger), by_pretender, &mut OsRng).unwrap();
    assert_eq!(refused(&signed(&new, Some(&cross))), VerifyError::Chain { of: Role::NewRoot });
}

/// The subject of the trusted root.
fn good_name() -> std::string::String {
    use std::string::ToString;
    use x509_cert::der::Decode;
    x509_cert::Certificate::from_der(&good_chain().root).unwrap().tbs_certificate.subject.to_string()
}

#[test]
fn the_acceptance_must_allow_what_is_done_with_it() {
    let of = Role::NewRoot;
    let no_authority = rotated(|spec| spec.constraints = Constraints::None);
    assert_eq!(refused(&no_authority), VerifyError::BasicConstraints { of });
    let short = rotated(|spec| spec.constraints = Constraints::Authority { path: 0 });
    assert_eq!(refused(&short), VerifyError::PathLength { of });
    let unusable = rotated(|spec| spec.usage = x509_cert::ext::pkix::KeyUsages::CRLSign.into());
    assert_eq!(refused(&unusable), VerifyError::KeyUsage { of, needed: "keyCertSign" });
    let over = rotated(|spec| spec.validity.until = NOW - 1);
    assert_eq!(refused(&over), VerifyError::Expired { of, until: NOW - 1, now: NOW });
}

#[test]
fn a_root_that_leaves_no_room_for_a_successor_has_none() {
    let old = chain(|specs| specs.root.constraints = Constraints::Authority { path: 1 });
    let (_, new) = cross(|_| ());
    let spec = CertificateSpec::cross(&new.root, VALIDITY, vec![9]).unwrap();
    let by_old = IssuerKey { certificate: Some(&old.root), key: &keys().root };
    let cross = issue(&spec, &public(&keys().stranger), by_old, &mut OsRng).unwrap();
    let root = TrustRoot::parse(&old.root).unwrap();
    let refused = verify_now(&signed(&new, Some(&cross)), &root);
    assert_eq!(refused, Err(VerifyError::PathLength { of: Role::Root }));
}

#[test]
fn the_old_root_can_take_its_acceptance_back() {
    let (cross, new) = cross(|_| ());
    let module = signed(&new, Some(&cross));
    let old = IssuerKey { certificate: Some(&good_chain().root), key: &keys().root };
    let lists = revoke(&[], &cross, old, ListDates { now: NOW, next: NOW + 1 }, &mut OsRng).unwrap();
    let verify_with =
        |root: &TrustRoot| verify(&module, root, NOW, &RevocationList::parse(&lists).unwrap()).map(drop);
    assert_eq!(verify_with(good_root()), Err(VerifyError::Revoked { of: Role::NewRoot }));
    assert_eq!(verify_with(&TrustRoot::parse(&new.root).unwrap()), Ok(()));
}

#[test]
fn a_signature_section_with_three_certificates_is_read_strictly() {
    let module = rotated(|_| ());
    let container = Container::parse(&module).unwrap();
    let block = SignatureBlock::find(&container).unwrap();
    assert!(block.cross.is_some());
    let section = container.find(SectionKind::Signature).unwrap();
    assert_eq!(section[4..6], CROSSED_VERSION.to_le_bytes());
    let with = |bytes: &[u8]| {
        let parts = [
            NewSection {
                kind: SectionKind::Manifest,
                critical: true,
                bytes: container.find(SectionKind::Manifest).unwrap(),
            },
            NewSection {
                kind: SectionKind::Image,
                critical: true,
                bytes: container.find(SectionKind::Image).unwrap(),
            },
            NewSection { kind: SectionKind::Signature, critical: false, bytes },
        ];
        refused(&encode(&parts).unwrap())
    };
    let changed = |at: usize, byte: u8| {
        let mut bytes = section.to_vec();
        bytes[at] = byte;
        with(&bytes)
    };
    let longer = with(&[section, &[0]].concat());
    assert!(matches!(longer, VerifyError::Block(BlockError::Length { .. })), "{longer}");
    assert_eq!(changed(76, 1), VerifyError::Block(BlockError::Reserved));
    assert_eq!(changed(4, 1), VerifyError::Block(BlockError::Version { found: 1 }));
    assert_eq!(changed(4, 3), VerifyError::Block(BlockError::Version { found: 3 }));
    assert!(matches!(changed(72, section[72] ^ 1), VerifyError::Block(BlockError::Length { .. })));
    assert!(matches!(changed(75, 0xff), VerifyError::Block(BlockError::CertificateSize { .. })));
}
