//! The chain: every link broken in every way that has a check of its own.

use std::string::ToString;

use x509_cert::TbsCertificate;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::KeyUsages;
use x509_cert::name::Name;

use super::*;
use crate::sign::Constraints;

#[test]
fn a_stranger_s_root_and_a_stranger_s_signature_are_refused() {
    let keys = keys();
    let spec = CertificateSpec::root(&public(&keys.stranger), false, VALIDITY, vec![1]).unwrap();
    let own = IssuerKey { certificate: None, key: &keys.stranger };
    let other = issue(&spec, &public(&keys.stranger), own, &mut OsRng).unwrap();
    let other = TrustRoot::parse(&other).unwrap();
    assert!(!other.is_development());
    assert_eq!(verify_now(good_module(), &other), Err(VerifyError::UnknownRoot));

    let by_stranger = signed_by(&unsigned(&image()), good_chain(), &keys.stranger, SIGNED_AT);
    assert_eq!(verify_now(&by_stranger, good_root()), Err(VerifyError::Signature));
}

#[test]
fn a_root_of_the_same_name_with_another_key_did_not_issue_the_chain() {
    let keys = keys();
    let mut spec = CertificateSpec::root(&public(&keys.stranger), true, VALIDITY, vec![1]).unwrap();
    spec.subject = CertificateSpec::root(&public(&keys.root), true, VALIDITY, vec![1]).unwrap().subject;
    let own = IssuerKey { certificate: None, key: &keys.stranger };
    let twin = TrustRoot::parse(&issue(&spec, &public(&keys.stranger), own, &mut OsRng).unwrap()).unwrap();
    assert_eq!(verify_now(good_module(), &twin), Err(VerifyError::Chain { of: Role::Intermediate }));
}

#[test]
fn a_signer_that_another_intermediate_issued_is_refused() {
    let mut mixed = good_chain().clone();
    let other = chain(|specs| specs.intermediate.subject = "CN=another".into());
    mixed.signer = other.signer;
    assert_eq!(refusal(&mixed), VerifyError::Chain { of: Role::Signer });
    // The right name, but issued by the signer's own key.
    let keys = keys();
    let spec = CertificateSpec::signer(&public(&keys.signer), true, VALIDITY, vec![3]).unwrap();
    let mut name = CertificateSpec::root(&public(&keys.signer), true, VALIDITY, vec![4]).unwrap();
    name.subject =
        CertificateSpec::intermediate(&public(&keys.intermediate), true, VALIDITY, vec![2]).unwrap().subject;
    let own = IssuerKey { certificate: None, key: &keys.signer };
    let impostor = issue(&name, &public(&keys.signer), own, &mut OsRng).unwrap();
    let by_impostor = IssuerKey { certificate: Some(&impostor), key: &keys.signer };
    mixed.signer = issue(&spec, &public(&keys.signer), by_impostor, &mut OsRng).unwrap();
    assert_eq!(refusal(&mixed), VerifyError::Chain { of: Role::Signer });
}

#[test]
fn each_certificate_is_refused_before_and_after_its_time() {
    let early = Validity { from: FROM, until: NOW - 1 };
    let late = Validity { from: NOW + 1, until: UNTIL };
    let change = |of: Role, validity: Validity| {
        refusal(&chain(|specs| match of {
            Role::Root => specs.root.validity = validity,
            Role::Intermediate => specs.intermediate.validity = validity,
            Role::Signer => specs.signer.validity = validity,
            Role::NewRoot => unreachable!("`rotation` has those"),
        }))
    };
    for of in [Role::Root, Role::Intermediate, Role::Signer] {
        assert_eq!(change(of, early), VerifyError::Expired { of, until: NOW - 1, now: NOW });
        assert_eq!(change(of, late), VerifyError::NotYetValid { of, from: NOW + 1, now: NOW });
    }
    let text = change(Role::Signer, early).to_string();
    assert!(text.contains("expired at 2027-01-15T"), "{text}");
    let exact = chain(|specs| specs.signer.validity = Validity { from: SIGNED_AT, until: NOW });
    assert_eq!(verify_now(&signed_with(&exact), good_root_of(&exact)), Ok(()), "both ends are inside");
}

fn good_root_of(chain: &Chain) -> &'static TrustRoot {
    std::boxed::Box::leak(std::boxed::Box::new(TrustRoot::parse(&chain.root).unwrap()))
}

#[test]
fn a_time_of_signing_outside_the_signer_s_validity_or_in_the_future_is_refused() {
    let signed =
        |at| verify_now(&signed_by(&unsigned(&image()), good_chain(), &keys().signer, at), good_root());
    for at in [0, FROM - 1, UNTIL + 1, u64::MAX, NOW + CLOCK_TOLERANCE_S + 1] {
        assert_eq!(signed(at), Err(VerifyError::Timestamp { signed_at: at, now: NOW }));
    }
    assert_eq!(signed(NOW + CLOCK_TOLERANCE_S), Ok(()));
}

#[test]
fn a_key_is_used_only_for_what_its_certificate_allows() {
    let usage = |change: fn(&mut Specs)| match refusal(&chain(change)) {
        VerifyError::KeyUsage { of, needed } => (of, needed),
        other => panic!("{other}"),
    };
    let agreement = |specs: &mut Specs| specs.signer.usage = KeyUsages::KeyAgreement.into();
    assert_eq!(usage(agreement), (Role::Signer, "digitalSignature"));
    assert_eq!(usage(|specs| specs.signer.code_signing = false), (Role::Signer, "codeSigning"));
    let no_issuer = |specs: &mut Specs| specs.intermediate.usage = KeyUsages::DigitalSignature.into();
    assert_eq!(usage(no_issuer), (Role::Intermediate, "keyCertSign"));
    let root = chain(|specs| specs.root.usage = KeyUsages::CRLSign.into()).root;
    let error = TrustRoot::parse(&root).unwrap_err();
    assert_eq!(error, VerifyError::KeyUsage { of: Role::Root, needed: "keyCertSign" });
}

/// The certificate of a root, whose own signature nobody verifies, with the one place of `from` in it replaced.
fn patched(certificate: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = certificate.to_vec();
    let places: Vec<usize> =
        (0..=bytes.len() - from.len()).filter(|&at| bytes[at..].starts_with(from)).collect();
    assert_eq!(places.len(), 1, "it is there once");
    bytes[places[0]..places[0] + to.len()].copy_from_slice(to);
    bytes
}

#[test]
fn an_authority_for_other_purposes_does_not_vouch_for_code() {
    let for_code = chain(|specs| specs.root.code_signing = true).root;
    assert!(TrustRoot::parse(&for_code).is_ok());
    // id-kp-codeSigning becomes id-kp-serverAuth.
    let purpose = |last| [0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, last];
    let for_servers = patched(&for_code, &purpose(3), &purpose(1));
    let error = TrustRoot::parse(&for_servers).unwrap_err();
    assert_eq!(error, VerifyError::KeyUsage { of: Role::Root, needed: "codeSigning" });
}

#[test]
fn what_is_critical_and_unknown_or_there_twice_is_refused() {
    let extension = |number| [0x06, 0x03, 0x55, 0x1D, number];
    let (key_usage, subject_key, authority_key, none) = (0x0F, 0x0E, 0x23, 0x7E);
    let with = |from, to| {
        TrustRoot::parse(&patched(&good_chain().root, &extension(from), &extension(to))).unwrap_err()
    };
    assert_eq!(with(key_usage, none), VerifyError::CriticalExtension { of: Role::Root });
    assert_eq!(with(authority_key, subject_key), VerifyError::Certificate { of: Role::Root });
}

#[test]
fn only_authorities_issue_and_no_authority_signs() {
    let error = refusal(&chain(|specs| specs.intermediate.constraints = Constraints::None));
    assert_eq!(error, VerifyError::BasicConstraints { of: Role::Intermediate });
    let error = refusal(&chain(|specs| specs.signer.constraints = Constraints::Authority { path: 0 }));
    assert_eq!(error, VerifyError::BasicConstraints { of: Role::Signer });
    let root = |change: fn(&mut Specs)| TrustRoot::parse(&chain(change).root).unwrap_err();
    let error = root(|specs| specs.root.constraints = Constraints::None);
    assert_eq!(error, VerifyError::BasicConstraints { of: Role::Root });
    let error = root(|specs| specs.root.constraints = Constraints::Authority { path: 0 });
    assert_eq!(error, VerifyError::PathLength { of: Role::Root });
}

#[test]
fn other_keys_and_algorithms_are_refused() {
    let keys = keys();
    let small = RsaPrivateKey::new(&mut OsRng, 2048).unwrap();
    let spec = CertificateSpec::signer(&public(&small), true, VALIDITY, vec![3]).unwrap();
    let mut weak = good_chain().clone();
    let issuer = IssuerKey { certificate: Some(&weak.intermediate), key: &keys.intermediate };
    weak.signer = issue(&spec, &public(&small), issuer, &mut OsRng).unwrap();
    assert_eq!(refusal(&weak), VerifyError::KeySize { of: Role::Signer });

    // sha256WithRSAEncryption in place of sha384WithRSAEncryption, inside and outside: the last byte of each OID.
    let mut other = good_chain().clone();
    let oid = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0C];
    for at in 0..other.signer.len() - oid.len() {
        if other.signer[at..].starts_with(&oid) {
            other.signer[at + 8] = 0x0B;
        }
    }
    assert_eq!(refusal(&other), VerifyError::Algorithm { of: Role::Signer });
}

#[test]
fn certificates_that_are_none_are_refused() {
    let mut broken = good_chain().clone();
    broken.signer = b"not DER".to_vec();
    assert_eq!(refusal(&broken), VerifyError::Certificate { of: Role::Signer });
    let mut longer = good_chain().clone();
    longer.intermediate.push(0);
    assert_eq!(refusal(&longer), VerifyError::Certificate { of: Role::Intermediate });
    assert!(TrustRoot::parse(&[]).is_err());
}

#[test]
fn certificates_of_another_version_or_without_a_name_are_refused() {
    // `[0] EXPLICIT INTEGER`: 2 stands for version 3, 1 for version 2.
    let version = |number| [0xA0, 0x03, 0x02, 0x01, number];
    let second = TrustRoot::parse(&patched(&good_chain().root, &version(2), &version(1)));
    assert_eq!(second.unwrap_err(), VerifyError::Certificate { of: Role::Root });
    let without = |name: fn(&mut TbsCertificate) -> &mut Name| {
        let mut certificate = x509_cert::Certificate::from_der(&good_chain().root).unwrap();
        *name(&mut certificate.tbs_certificate) = Name::default();
        TrustRoot::parse(&certificate.to_der().unwrap()).unwrap_err()
    };
    assert_eq!(without(|fields| &mut fields.issuer), VerifyError::Certificate { of: Role::Root });
    assert_eq!(without(|fields| &mut fields.subject), VerifyError::Certificate { of: Role::Root });
}

#[test]
fn every_refusal_says_what_to_do() {
    let of = Role::Signer;
    for error in [
        VerifyError::Digest,
        VerifyError::Signature,
        VerifyError::UnknownRoot,
        VerifyError::Chain { of },
        VerifyError::Expired { of, until: 1, now: u64::MAX },
        VerifyError::NotYetValid { of, from: 1, now: 0 },
        VerifyError::Timestamp { signed_at: 1, now: 0 },
        VerifyError::KeyUsage { of, needed: "codeSigning" },
        VerifyError::BasicConstraints { of },
        VerifyError::BasicConstraints { of: Role::Root },
        VerifyError::PathLength { of },
        VerifyError::CriticalExtension { of },
        VerifyError::Revoked { of },
        VerifyError::KeySize { of },
        VerifyError::Algorithm { of },
        VerifyError::Certificate { of },
        VerifyError::RevocationList { problem: "it is too long" },
        VerifyError::Incomplete { section: "image" },
    ] {
        let text = error.to_string();
        assert!(text.contains(';') && text.len() > 40, "{text}");
        assert!(text.len() <= crate::verdict::MAX_TEXT_BYTES, "{text}");
        assert!(error.check_name().len() <= crate::verdict::MAX_CHECK_BYTES);
    }
}
