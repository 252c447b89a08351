//! Makes the vectors: good modules, and bad ones, each wrong in one way. Certificates that our own tool does not make are made by openssl.
//! The private keys are thrown away.

use std::path::{Path, PathBuf};

use hic_hicmod::Container;
use hic_hicmod::container::{NewSection, SECTION_ALIGN, SectionKind, encode};
use hic_hicmod::image::{ImageParts, PAGE_SIZE};
use hic_hicmod::manifest::{self, Kind, MAX_MANIFEST_BYTES, Manifest, Version};
use hic_hicmod::sign::{
    CertificateSpec, Certificates, Constraints, IssuerKey, ListDates, RsaPrivateKey, SignerKey, Validity,
    generate_key, issue, revoke, sign_module,
};
use rsa::rand_core::OsRng;
use serde_json::json;

mod chains;
mod damaged;

use super::{Table, Vector};

/// Every check that a module can fail.
pub const CHECKS: &[&str] = &[
    "good",
    "truncated",
    "checksum",
    "format",
    "unsigned",
    "digest",
    "signature",
    "root",
    "chain",
    "validity",
    "timestamp",
    "key-usage",
    "key-size",
    "algorithm",
    "certificate",
    "revoked",
    "revocation-list",
    "manifest",
    "relocation",
    "segment",
    "image",
    "exports",
];

/// 2030, in the middle of what is valid.
const NOW: u64 = 1_893_456_000;
const DAY: u64 = 86_400;
const VALID: Validity = Validity { from: NOW - 1000 * DAY, until: NOW + 10_000 * DAY };

struct Maker {
    folder: PathBuf,
    scratch: tempfile::TempDir,
    vectors: Vec<Vector>,
    root: Holder,
    intermediate: Holder,
    signer: Holder,
}

/// A key with its certificate.
#[derive(Clone)]
struct Holder {
    key: RsaPrivateKey,
    certificate: Vec<u8>,
}

impl Holder {
    fn as_issuer(&self) -> IssuerKey<'_> {
        IssuerKey { certificate: Some(&self.certificate), key: &self.key }
    }
}

fn key() -> RsaPrivateKey {
    generate_key(&mut OsRng).expect("a key")
}

/// A certificate for `key` as `spec` says, changed by `change`.
fn certified(
    key: &RsaPrivateKey,
    issuer: Option<&Holder>,
    mut spec: CertificateSpec,
    change: impl FnOnce(&mut CertificateSpec),
) -> Holder {
    change(&mut spec);
    let own = IssuerKey { certificate: None, key };
    let issuer = issuer.map_or(own, Holder::as_issuer);
    let certificate = issue(&spec, &key.to_public_key(), issuer, &mut OsRng).expect("issued");
    Holder { key: key.clone(), certificate }
}

fn root(key: &RsaPrivateKey, serial: u8, change: impl FnOnce(&mut CertificateSpec)) -> Holder {
    let spec = CertificateSpec::root(&key.to_public_key(), false, VALID, vec![serial]).expect("a spec");
    certified(key, None, spec, change)
}

fn intermediate(
    key: &RsaPrivateKey,
    by: &Holder,
    serial: u8,
    change: impl FnOnce(&mut CertificateSpec),
) -> Holder {
    let spec =
        CertificateSpec::intermediate(&key.to_public_key(), false, VALID, vec![serial]).expect("a spec");
    certified(key, Some(by), spec, change)
}

fn signer(key: &RsaPrivateKey, by: &Holder, serial: u8, change: impl FnOnce(&mut CertificateSpec)) -> Holder {
    let spec = CertificateSpec::signer(&key.to_public_key(), false, VALID, vec![serial]).expect("a spec");
    certified(key, Some(by), spec, change)
}

/// A manifest that says as little as it may, and one that uses every field.
fn least() -> Manifest {
    Manifest::least("plain".parse().expect("a name"), Version::new(1, 2, 300), Kind::Service)
}

fn full() -> Manifest {
    hicmod_tool::parse_manifest(
        r#"
        name = "every-field"
        version = "10.20.70000"
        summary = "Größe: every field is used"
        kind = "driver"
        order = 3
        priority = 31
        budget_us = 1500
        period_us = 100000
        cpu = "hard"
        stack_pages = 200
        heap_pages = 40000
        account_pages = 7
        cspace_slots = 65536
        state_regions = [{ name = "one", pages = 1 }, { name = "two", pages = 300 }]
        provides = ["every-field", "extra"]
        needs = [{ service = "netstack" }, { service = "log", optional = true }]
        devices = [{ ids = ["1af4:1041", "8086:100e"], dma_pages = 64 }]
        ioports = [{ base = 0x3f8, len = 8 }, { base = 0xffff, len = 1 }]
        irqs = [4, 15]
        authority = ["channel", "clock", "power"]
        optional_authority = ["clock", "channel"]
        restart = { always = { max = 300, window_s = 86400 } }
        publisher = "Nobody in particular"
        dependencies = [{ module = "netstack", version = ">=1.2.0, <2.0.0" }, { module = "ipc_lib", version = ">=0.1.0" }]
        interfaces = { provides = ["one@1", "one@2"], needs = ["tcp@1"] }
        parts = [{ name = "core", version = "0.0.1" }]
        health = { every_ms = 250, checks = 100 }
        epoch = 4000000000
        abi = { lowest = 1, highest = 300 }
        [update]
        schema = 9999
        readable_by = 2
        reads = 1
        protocols = { lowest = 1, highest = 2 }
        tested_with = ["10.20.69999", "0.0.0"]
        "#,
    )
    .expect("a good manifest")
}

fn encoded(manifest: &Manifest) -> Vec<u8> {
    let mut buffer = [0; MAX_MANIFEST_BYTES];
    manifest::encode(manifest, &mut buffer).expect("encoded").to_vec()
}

/// A page of code, and data with a relocation that points to its own end.
fn image() -> Vec<u8> {
    image_that_exports(&[])
}

fn image_that_exports(services: &[&str]) -> Vec<u8> {
    let mut body = vec![0; PAGE_SIZE];
    body.extend_from_slice(&(PAGE_SIZE as u64 * 2).to_le_bytes());
    let relocations = vec![PAGE_SIZE as u32];
    let exports = services.iter().map(ToString::to_string).collect();
    ImageParts { rx_pages: 1, body, relocations, exports, ..ImageParts::default() }
        .encode()
        .expect("an image")
}

fn unsigned(manifest: &[u8], image: &[u8]) -> Vec<u8> {
    sections(&[(SectionKind::Manifest, true, manifest), (SectionKind::Image, true, image)])
}

fn sections(parts: &[(SectionKind, bool, &[u8])]) -> Vec<u8> {
    let part = |&(kind, critical, bytes): &(_, bool, _)| NewSection { kind, critical, bytes };
    encode(&parts.iter().map(part).collect::<Vec<_>>()).expect("a container")
}

fn sign(module: &[u8], signer: &Holder, intermediate: &Holder, cross: Option<&Holder>, at: u64) -> Vec<u8> {
    let cross = cross.map(|holder| holder.certificate.as_slice());
    let chain = Certificates { signer: &signer.certificate, intermediate: &intermediate.certificate, cross };
    sign_module(module, SignerKey { key: &signer.key, chain }, at, &mut OsRng).expect("signed")
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

impl Maker {
    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.folder.join(name), bytes).expect("written");
    }

    /// A vector of its own file, which is named after it.
    fn file(&mut self, name: &str, bytes: &[u8], expect: &str) -> &mut Vector {
        let file = format!("{}.hicmod", name.replace(' ', "-"));
        self.write(&file, bytes);
        self.of(name, &file, expect)
    }

    fn of(&mut self, name: &str, file: &str, expect: &str) -> &mut Vector {
        self.vectors.push(Vector {
            name: name.to_owned(),
            file: file.to_owned(),
            edits: Vec::new(),
            cut: None,
            append: String::new(),
            root: None,
            revoked: None,
            now: None,
            expect: expect.to_owned(),
            manifest: None,
        });
        self.vectors.last_mut().expect("just pushed")
    }

    /// The good module `plain.hicmod`, with bytes put at an offset.
    fn edited(&mut self, name: &str, at: usize, bytes: &[u8], expect: &str) {
        self.of(name, "plain.hicmod", expect).edits.push((at, hicmod_tool::hex(bytes)));
    }

    /// The plain module signed by other people.
    fn by(&mut self, name: &str, signer: &Holder, intermediate: &Holder, expect: &str) {
        let module = sign(&unsigned(&encoded(&least()), &image()), signer, intermediate, None, NOW);
        self.file(name, &module, expect);
    }

    /// Other content, signed well.
    fn content(&mut self, name: &str, module: &[u8], expect: &str) {
        let module = sign(module, &self.signer, &self.intermediate, None, NOW);
        self.file(name, &module, expect);
    }
}

/// Makes all of them in `folder`.
pub fn all(folder: &Path) {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).expect("a folder");
    let root = root(&key(), 1, |_| ());
    let middle = intermediate(&key(), &root, 2, |_| ());
    let end = signer(&key(), &middle, 3, |_| ());
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = folder.to_owned();
    let mut maker = Maker { folder, scratch, vectors: Vec::new(), root, intermediate: middle, signer: end };
    maker.write("root.der", &maker.root.certificate.clone());
    good(&mut maker);
    damaged::damaged(&mut maker);
    damaged::contents(&mut maker);
    chains::chains(&mut maker);
    chains::rotated(&mut maker);
    chains::revoked(&mut maker);
    chains::by_openssl(&mut maker);
    let table = Table { now: NOW, root: "root.der".to_owned(), vectors: maker.vectors };
    let text = serde_json::to_string_pretty(&table).expect("a table") + "\n";
    std::fs::write(maker.folder.join("vectors.json"), text).expect("written");
}

fn good(maker: &mut Maker) {
    let plain = sign(&unsigned(&encoded(&least()), &image()), &maker.signer, &maker.intermediate, None, NOW);
    let manifest = json!({
        "name": "plain", "version": [1, 2, 300], "summary": "", "kind": "service", "order": 1, "priority": 1,
        "budget_us": 0, "period_us": 0, "cpu": "conserving", "stack_pages": 1, "heap_pages": 0, "account_pages": 0,
        "cspace_slots": 16, "state_regions": [], "provides": [], "needs": [], "devices": [], "ioports": [], "irqs": [],
        "authority": [], "restart": {"always": {"max": 5, "window_s": 60}}, "update": null, "publisher": "",
        "dependencies": [], "interfaces": {"provides": [], "needs": []}, "parts": [], "health": null, "epoch": 0,
        "abi": {"lowest": 1, "highest": 1}, "build": {"time": 0, "ipc_lib": null},
        "optional_authority": []
    });
    maker.file("plain", &plain, "good").manifest = Some(manifest);
    let mut every = full();
    every.build.time = NOW - DAY;
    every.build.ipc_lib = Some(Version::new(0, 1, 0));
    // Not in the manifest's order: that is no difference.
    let image_of_every = image_that_exports(&["extra", "every-field"]);
    let module = unsigned(&encoded(&every), &image_of_every);
    let module = sign(&module, &maker.signer, &maker.intermediate, None, NOW);
    maker.file("every field", &module, "good").manifest = Some(json!({
        "name": "every-field", "version": [10, 20, 70000], "summary": "Größe: every field is used", "kind": "driver",
        "order": 3, "priority": 31, "budget_us": 1500, "period_us": 100_000, "cpu": "hard", "stack_pages": 200,
        "heap_pages": 40_000, "account_pages": 7, "cspace_slots": 65_536,
        "state_regions": [{"name": "one", "pages": 1}, {"name": "two", "pages": 300}],
        "provides": ["every-field", "extra"],
        "needs": [{"service": "netstack", "optional": false}, {"service": "log", "optional": true}],
        "devices": [{"ids": ["1af4:1041", "8086:100e"], "dma_pages": 64}],
        "ioports": [{"base": 1016, "len": 8}, {"base": 65_535, "len": 1}], "irqs": [4, 15],
        "authority": ["channel", "clock", "power"], "restart": {"always": {"max": 300, "window_s": 86_400}},
        "update": {"schema": 9999, "readable_by": 2, "reads": 1, "tested_with": [[10, 20, 69_999], [0, 0, 0]],
            "protocols": {"lowest": 1, "highest": 2}},
        "publisher": "Nobody in particular",
        "dependencies": [{"module": "netstack", "from": [1, 2, 0], "below": [2, 0, 0]},
            {"module": "ipc_lib", "from": [0, 1, 0], "below": null}],
        "interfaces": {"provides": [{"name": "one", "version": 1}, {"name": "one", "version": 2}],
            "needs": [{"name": "tcp", "version": 1}]},
        "parts": [{"name": "core", "version": [0, 0, 1]}], "health": {"every_ms": 250, "checks": 100},
        "epoch": 4_000_000_000u32, "abi": {"lowest": 1, "highest": 300},
        "build": {"time": NOW - DAY, "ipc_lib": [0, 1, 0]}, "optional_authority": ["clock", "channel"]
    }));
    let extra = (SectionKind::Unknown(99), false, &b"for later"[..]);
    let parts =
        [(SectionKind::Manifest, true, &encoded(&least())[..]), (SectionKind::Image, true, &image()), extra];
    maker.content("an optional section of an unknown kind", &sections(&parts), "good");
}
