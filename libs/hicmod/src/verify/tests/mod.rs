//! What a stranger, a careless issuer and a bad transfer can do to a module; keys are made once for each test program.

mod chains;
mod files;
mod revoked;
mod rotation;

use std::sync::OnceLock;
use std::vec;
use std::vec::Vec;

use rsa::rand_core::OsRng;
use rsa::{RsaPrivateKey, RsaPublicKey};

use super::*;
use crate::container::{NewSection, SectionKind, encode};
use crate::image::{ImageParts, PAGE_SIZE};
use crate::manifest::{self, MAX_MANIFEST_BYTES};
use crate::sign::{
    CertificateSpec, Certificates, IssuerKey, SignerKey, Validity, generate_key, issue, sign_module,
};

/// When everything here is valid, and when modules are signed: 2027.
pub(super) const FROM: u64 = 1_800_000_000;
pub(super) const UNTIL: u64 = FROM + 1_000_000;
pub(super) const SIGNED_AT: u64 = FROM + 1000;
pub(super) const NOW: u64 = FROM + 2000;
pub(super) const VALIDITY: Validity = Validity { from: FROM, until: UNTIL };

/// Three keys of a chain, and one of a stranger.
pub(super) struct Keys {
    pub(super) root: RsaPrivateKey,
    pub(super) intermediate: RsaPrivateKey,
    pub(super) signer: RsaPrivateKey,
    pub(super) stranger: RsaPrivateKey,
}

pub(super) fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let key = || generate_key(&mut OsRng).unwrap();
        Keys { root: key(), intermediate: key(), signer: key(), stranger: key() }
    })
}

/// A chain of certificates, DER.
#[derive(Clone)]
pub(super) struct Chain {
    pub(super) root: Vec<u8>,
    pub(super) intermediate: Vec<u8>,
    pub(super) signer: Vec<u8>,
}

/// What the three certificates shall say, before somebody changes it.
pub(super) struct Specs {
    pub(super) root: CertificateSpec,
    pub(super) intermediate: CertificateSpec,
    pub(super) signer: CertificateSpec,
}

pub(super) fn public(key: &RsaPrivateKey) -> RsaPublicKey {
    key.to_public_key()
}

/// A chain of our keys whose certificates were changed by `change`.
pub(super) fn chain(change: impl FnOnce(&mut Specs)) -> Chain {
    let keys = keys();
    let mut specs = Specs {
        root: CertificateSpec::root(&public(&keys.root), true, VALIDITY, vec![1]).unwrap(),
        intermediate: CertificateSpec::intermediate(&public(&keys.intermediate), true, VALIDITY, vec![2])
            .unwrap(),
        signer: CertificateSpec::signer(&public(&keys.signer), true, VALIDITY, vec![3]).unwrap(),
    };
    change(&mut specs);
    let own = IssuerKey { certificate: None, key: &keys.root };
    let root = issue(&specs.root, &public(&keys.root), own, &mut OsRng).unwrap();
    let by_root = IssuerKey { certificate: Some(&root), key: &keys.root };
    let intermediate = issue(&specs.intermediate, &public(&keys.intermediate), by_root, &mut OsRng).unwrap();
    let by_intermediate = IssuerKey { certificate: Some(&intermediate), key: &keys.intermediate };
    let signer = issue(&specs.signer, &public(&keys.signer), by_intermediate, &mut OsRng).unwrap();
    Chain { root, intermediate, signer }
}

/// The chain in which nothing is wrong.
pub(super) fn good_chain() -> &'static Chain {
    static CHAIN: OnceLock<Chain> = OnceLock::new();
    CHAIN.get_or_init(|| chain(|_| ()))
}

pub(super) fn good_root() -> &'static TrustRoot {
    static ROOT: OnceLock<TrustRoot> = OnceLock::new();
    ROOT.get_or_init(|| TrustRoot::parse(&good_chain().root).unwrap())
}

/// A module without a signature.
pub(super) fn unsigned(image: &[u8]) -> Vec<u8> {
    let mut buffer = [0; MAX_MANIFEST_BYTES];
    let manifest = manifest::encode(&manifest::tests::netstack(), &mut buffer).unwrap();
    encode(&[
        NewSection { kind: SectionKind::Manifest, critical: true, bytes: manifest },
        NewSection { kind: SectionKind::Image, critical: true, bytes: image },
    ])
    .unwrap()
}

/// An image with one relocation.
pub(super) fn image() -> Vec<u8> {
    let mut body = vec![0x90; PAGE_SIZE];
    body.extend_from_slice(&0x10u64.to_le_bytes());
    let (relocations, exports) = (vec![PAGE_SIZE as u32], vec!["netstack".into()]);
    ImageParts { rx_pages: 1, body, relocations, exports, ..ImageParts::default() }.encode().unwrap()
}

/// `module` signed by the key `key`, with the certificates of `chain`.
pub(super) fn signed_by(module: &[u8], chain: &Chain, key: &RsaPrivateKey, signed_at: u64) -> Vec<u8> {
    let chain = Certificates { signer: &chain.signer, intermediate: &chain.intermediate, cross: None };
    sign_module(module, SignerKey { key, chain }, signed_at, &mut OsRng).unwrap()
}

pub(super) fn signed_with(chain: &Chain) -> Vec<u8> {
    signed_by(&unsigned(&image()), chain, &keys().signer, SIGNED_AT)
}

/// The module in which nothing is wrong.
pub(super) fn good_module() -> &'static [u8] {
    static MODULE: OnceLock<Vec<u8>> = OnceLock::new();
    MODULE.get_or_init(|| signed_with(good_chain()))
}

pub(super) fn verify_now(file: &[u8], root: &TrustRoot) -> Result<(), VerifyError> {
    verify(file, root, NOW, &RevocationList::none()).map(drop)
}

/// What is wrong with the good module signed with `chain` and verified with its root.
pub(super) fn refusal(chain: &Chain) -> VerifyError {
    let root = TrustRoot::parse(&chain.root).unwrap();
    verify_now(&signed_with(chain), &root).unwrap_err()
}
