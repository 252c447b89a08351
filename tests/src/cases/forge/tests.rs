//! The host's own verifier says the same of each forgery as the guest's must.

use hic_hicmod::image::ImageParts;
use hic_hicmod::manifest::check_pair;
use hic_hicmod::{PAGE_SIZE, RevocationList, TrustRoot, verify};
use hicmod_tool::{ChainOptions, make_chain};

use super::*;

const NOW: u64 = 1_800_000_000;

const MANIFEST: &str = r#"
name = "netstack"
version = "1.3.0"
summary = "a stand-in"
kind = "service"
order = 2
priority = 16
stack_pages = 16
heap_pages = 16
account_pages = 64
cspace_slots = 64
provides = ["netstack"]

[update]
schema = 2
readable_by = 1
reads = 1
tested_with = ["1.2.0"]
"#;

fn chain(folder: &Path) -> Chain {
    make_chain(folder, ChainOptions { development: true, days: 30, now: NOW }).expect("made");
    Chain { now: NOW, ..Chain::load(folder).expect("read") }
}

fn module() -> Vec<u8> {
    let manifest = hicmod_tool::parse_manifest(MANIFEST).expect("a manifest");
    let mut buffer = [0; MAX_MANIFEST_BYTES];
    let manifest = manifest::encode(&manifest, &mut buffer).expect("room");
    let body = vec![0; 3 * PAGE_SIZE];
    let (relocations, exports) = (vec![2 * PAGE_SIZE as u32], vec!["netstack".to_owned()]);
    let image = ImageParts { rx_pages: 2, relocations, exports, body, ..ImageParts::default() };
    let image = image.encode().expect("an image");
    encode(&[
        NewSection { kind: SectionKind::Manifest, critical: true, bytes: manifest },
        NewSection { kind: SectionKind::Image, critical: true, bytes: &image },
    ])
    .expect("a module")
}

#[test]
fn each_forgery_is_refused_by_the_check_that_it_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let (own, other) = (chain(&folder.path().join("own")), chain(&folder.path().join("other")));
    let root = std::fs::read(folder.path().join("own").join(keys::ROOT_DER)).expect("a root");
    let root = TrustRoot::parse(&root).expect("a root");
    let good = own.sign(&module()).expect("signed");
    let (bad, lists) = all(&good, &own, &other).expect("forged");
    let lists = RevocationList::parse(&lists).expect("lists");
    assert!(verify(&good, &root, NOW, &lists).is_ok());
    for module in &bad {
        let error = verify(&module.bytes, &root, NOW, &lists).expect_err(module.what);
        assert!(module.checks.contains(&error.check_name()), "{}: {}", module.what, error.check_name());
    }
    assert_eq!(bad.len(), 23);

    let version = Version::new(1, 4, 90);
    let untested = other_version(&good, &own, version, |manifest| {
        manifest.update.iter_mut().for_each(|update| update.tested_with.clear());
    });
    let untested = untested.expect("signed");
    let renamed = |manifest: &mut Manifest| manifest.provides.clear();
    let both = other_version(&good, &own, version, renamed).expect("signed");
    assert!(verify(&both, &root, NOW, &lists).is_ok(), "the program says what its manifest says");
    let one = other_manifest(&good, &own, version, renamed).expect("signed");
    assert_eq!(verify(&one, &root, NOW, &lists).expect_err("only the manifest").check_name(), "exports");
    let verified = verify(&untested, &root, NOW, &lists).expect("signed well");
    let mut running = verified.module().manifest.clone();
    running.version = Version::new(1, 2, 0);
    let error = check_pair(&running, &verified.module().manifest).expect_err("untested");
    assert_eq!(error.check_name(), "untested-pair");
}
