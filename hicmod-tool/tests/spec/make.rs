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
use hicmod_tool::keys::private;
use rsa::rand_core::OsRng;
use serde_json::json;

use super::{Table, Vector};
use crate::common::tool::openssl;

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
    let mut body = vec![0; PAGE_SIZE];
    body.extend_from_slice(&(PAGE_SIZE as u64 * 2).to_le_bytes());
    let relocations = vec![PAGE_SIZE as u32];
    ImageParts { rx_pages: 1, body, relocations, ..ImageParts::default() }.encode().expect("an image")
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
    damaged(&mut maker);
    contents(&mut maker);
    chains(&mut maker);
    rotated(&mut maker);
    revoked(&mut maker);
    by_openssl(&mut maker);
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
        "abi": {"lowest": 1, "highest": 1}, "build": {"time": 0, "ipc_lib": null}
    });
    maker.file("plain", &plain, "good").manifest = Some(manifest);
    let mut every = full();
    every.build.time = NOW - DAY;
    every.build.ipc_lib = Some(Version::new(0, 1, 0));
    let module = sign(&unsigned(&encoded(&every), &image()), &maker.signer, &maker.intermediate, None, NOW);
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
        "build": {"time": NOW - DAY, "ipc_lib": [0, 1, 0]}
    }));
    let extra = (SectionKind::Unknown(99), false, &b"for later"[..]);
    let parts =
        [(SectionKind::Manifest, true, &encoded(&least())[..]), (SectionKind::Image, true, &image()), extra];
    maker.content("an optional section of an unknown kind", &sections(&parts), "good");
}

fn damaged(maker: &mut Maker) {
    let plain = std::fs::read(maker.folder.join("plain.hicmod")).expect("made before");
    let container = Container::parse(&plain).expect("good");
    let at = |kind| container.sections().find(|section| section.kind == kind).expect("there").offset;
    let (manifest_at, image_at) = (at(SectionKind::Manifest), at(SectionKind::Image));
    let flipped = |at: usize| [plain[at] ^ 0x10];
    maker.edited("another magic", 0, b"h", "format");
    maker.edited("a transfer as text", 6, b"\n\n", "format");
    maker.edited("format 2", 8, &[2], "format");
    maker.edited("too many sections", 10, &[17], "format");
    maker.edited("one section more than there is", 10, &[4], "checksum");
    maker.edited("a total that is longer", 12, &(plain.len() as u32 + 1).to_le_bytes(), "truncated");
    maker.edited("a total that is shorter", 12, &(plain.len() as u32 - 1).to_le_bytes(), "format");
    maker.edited("the checksum of the table", 16, &flipped(16), "checksum");
    maker.edited("the reserved field", 20, &[1], "format");
    maker.edited("a row of the table", 24 + 4, &flipped(28), "checksum");
    maker.edited("one bit of the manifest", manifest_at + 5, &flipped(manifest_at + 5), "checksum");
    maker.edited("one bit of the image", image_at + 100, &flipped(image_at + 100), "checksum");
    maker.edited("one bit of the signature", plain.len() - 1, &flipped(plain.len() - 1), "checksum");
    let gap = container.find(SectionKind::Manifest).expect("there").len() % SECTION_ALIGN;
    assert_ne!(gap, 0, "there is padding");
    maker.edited("padding that is not zero", image_at - 1, &[1], "format");
    for length in [0, 7, 9, 11, 15, 23, 50, 200, plain.len() - 1] {
        maker.of(&format!("cut to {length} bytes"), "plain.hicmod", "truncated").cut = Some(length);
    }
    maker.of("a byte more", "plain.hicmod", "format").append = "00".to_owned();
}

/// `plain.hicmod` with the section `kind` changed, checksums right, signature as it was.
fn repaired(maker: &mut Maker, name: &str, kind: SectionKind, change: impl Fn(&mut Vec<u8>), expect: &str) {
    let plain = std::fs::read(maker.folder.join("plain.hicmod")).expect("made before");
    let container = Container::parse(&plain).expect("good");
    let parts: Vec<(SectionKind, bool, Vec<u8>)> = container
        .sections()
        .map(|section| {
            let mut bytes = section.bytes.to_vec();
            if section.kind == kind {
                change(&mut bytes);
            }
            (section.kind, section.critical, bytes)
        })
        .collect();
    let parts: Vec<_> = parts.iter().map(|(kind, critical, bytes)| (*kind, *critical, &bytes[..])).collect();
    maker.file(name, &sections(&parts), expect);
}

fn contents(maker: &mut Maker) {
    repaired(maker, "changed after it was signed", SectionKind::Image, |bytes| bytes[100] ^= 1, "digest");
    repaired(
        maker,
        "dated anew after it was signed",
        SectionKind::Signature,
        |bytes| bytes[8] ^= 1,
        "signature",
    );
    repaired(
        maker,
        "another signature",
        SectionKind::Signature,
        |bytes| {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
        },
        "signature",
    );
    repaired(maker, "signature section of version 3", SectionKind::Signature, |bytes| bytes[4] = 3, "format");
    repaired(
        maker,
        "signature section with another magic",
        SectionKind::Signature,
        |bytes| bytes[0] = b'h',
        "format",
    );
    repaired(
        maker,
        "a certificate without bytes",
        SectionKind::Signature,
        |bytes| put(bytes, 64, &[0; 4]),
        "format",
    );
    repaired(
        maker,
        "signature section with a byte more",
        SectionKind::Signature,
        |bytes| bytes.push(0),
        "format",
    );
    let plain = unsigned(&encoded(&least()), &image());
    maker.file("not signed", &plain, "unsigned");
    let signature = sign(&plain, &maker.signer, &maker.intermediate, None, NOW);
    let signature =
        Container::parse(&signature).expect("good").find(SectionKind::Signature).expect("there").to_vec();
    let (manifest, image_bytes) = (encoded(&least()), image());
    let order = [
        (SectionKind::Manifest, true, &manifest[..]),
        (SectionKind::Signature, false, &signature),
        (SectionKind::Image, true, &image_bytes),
    ];
    maker.file("a section behind the signature", &sections(&order), "format");

    let bytes = |change: fn(&mut Vec<u8>)| {
        let mut bytes = encoded(&least());
        change(&mut bytes);
        unsigned(&bytes, &image())
    };
    maker.content("manifest of schema 2", &bytes(|bytes| bytes[0] = 2), "manifest");
    maker.content("manifest with a byte more", &bytes(|bytes| bytes.push(0)), "manifest");
    maker.content("manifest that is cut off", &bytes(|bytes| bytes.truncate(bytes.len() - 1)), "manifest");
    maker.content("a name with capitals", &bytes(|bytes| bytes[3] = b'P'), "manifest");
    // Name (6), version (4), summary (1) and kind (1) follow the schema (2).
    maker.content("a kind that there is not", &bytes(|bytes| bytes[13] = 3), "manifest");
    maker.content("an order that is too high", &bytes(|bytes| bytes[14] = 32), "manifest");
    maker.content("no manifest", &sections(&[(SectionKind::Image, true, &image())]), "format");
    maker.content("no image", &sections(&[(SectionKind::Manifest, true, &encoded(&least()))]), "format");

    let changed = |change: fn(&mut Vec<u8>)| {
        let mut bytes = image();
        change(&mut bytes);
        unsigned(&encoded(&least()), &bytes)
    };
    maker.content("image with another magic", &changed(|bytes| bytes[0] = b'h'), "image");
    maker.content("image that is cut off", &changed(|bytes| bytes.truncate(bytes.len() - 1)), "image");
    maker.content("nothing to execute", &changed(|bytes| put(bytes, 12, &[0; 4])), "segment");
    maker.content("an image beyond the limit", &changed(|bytes| put(bytes, 20, &[255; 4])), "segment");
    maker.content(
        "an entry outside the code",
        &changed(|bytes| put(bytes, 24, &4096u32.to_le_bytes())),
        "segment",
    );
    maker.content("a relocation of code", &changed(|bytes| put(bytes, 40, &[0; 4])), "relocation");
    maker.content(
        "a relocation that is not aligned",
        &changed(|bytes| put(bytes, 40, &4097u32.to_le_bytes())),
        "relocation",
    );
    maker.content(
        "a relocation beyond the data",
        &changed(|bytes| put(bytes, 40, &4104u32.to_le_bytes())),
        "relocation",
    );
    maker.content(
        "an addend outside the module",
        &changed(|bytes| {
            let last = bytes.len() - 8;
            put(bytes, last, &8193u64.to_le_bytes());
        }),
        "relocation",
    );
    maker.content("more relocations than fit", &changed(|bytes| put(bytes, 28, &[255; 4])), "relocation");
}

fn chains(maker: &mut Maker) {
    let (top, middle, end) = (maker.root.clone(), maker.intermediate.clone(), maker.signer.clone());
    let stranger = root(&key(), 50, |_| ());
    let of_stranger = intermediate(&middle.key, &stranger, 51, |_| ());
    maker.by("signed under another root", &signer(&end.key, &of_stranger, 52, |_| ()), &of_stranger, "root");
    let namesake = root(&stranger.key, 53, |spec| spec.subject = subject(&top.certificate));
    let forged = intermediate(&middle.key, &namesake, 54, |_| ());
    maker.by("an issuer of the same name", &signer(&end.key, &forged, 55, |_| ()), &forged, "chain");
    let elsewhere = intermediate(&stranger.key, &top, 65, |_| ());
    maker.by("a signer of another intermediate", &signer(&end.key, &elsewhere, 56, |_| ()), &middle, "chain");
    let other = Holder { key: stranger.key.clone(), certificate: end.certificate.clone() };
    maker.by("signed with another key", &other, &middle, "signature");
    let past = Validity { from: NOW - 90 * DAY, until: NOW - 1 };
    let coming = Validity { from: NOW + 1, until: NOW + DAY };
    maker.by(
        "a signer that expired",
        &signer(&end.key, &middle, 57, |spec| spec.validity = past),
        &middle,
        "validity",
    );
    maker.by(
        "a signer of tomorrow",
        &signer(&end.key, &middle, 58, |spec| spec.validity = coming),
        &middle,
        "validity",
    );
    let old = intermediate(&middle.key, &top, 59, |spec| spec.validity = past);
    maker.by("an intermediate that expired", &end, &old, "validity");
    maker.of("a time before everything", "plain.hicmod", "validity").now = Some(VALID.from - 1);
    maker.of("a time after everything", "plain.hicmod", "validity").now = Some(VALID.until + 1);
    maker.of("the last second", "plain.hicmod", "good").now = Some(VALID.until);
    let authority =
        signer(&end.key, &middle, 60, |spec| spec.constraints = Constraints::Authority { path: 0 });
    maker.by("a signer that is an authority", &authority, &middle, "chain");
    let none = intermediate(&middle.key, &top, 61, |spec| spec.constraints = Constraints::None);
    maker.by("an intermediate that is no authority", &end, &none, "chain");
    let plain = signer(&end.key, &middle, 62, |spec| spec.code_signing = false);
    maker.by("a signer that may not sign code", &plain, &middle, "key-usage");
    let usage = signer(&end.key, &middle, 63, |spec| {
        spec.usage = x509_cert::ext::pkix::KeyUsages::KeyEncipherment.into()
    });
    maker.by("a signer that may not sign", &usage, &middle, "key-usage");
    let usage = intermediate(&middle.key, &top, 64, |spec| {
        spec.usage = x509_cert::ext::pkix::KeyUsages::CRLSign.into()
    });
    maker.by("an intermediate that may not issue", &end, &usage, "key-usage");
    let module = unsigned(&encoded(&least()), &image());
    maker.file("signed in the future", &sign(&module, &end, &middle, None, NOW + 3601), "timestamp");
    maker.file("signed within the hour", &sign(&module, &end, &middle, None, NOW + 3600), "good");
    maker.file(
        "signed before its certificate",
        &sign(&module, &end, &middle, None, VALID.from - 1),
        "timestamp",
    );
}

fn subject(certificate: &[u8]) -> String {
    use x509_cert::der::Decode;
    x509_cert::Certificate::from_der(certificate).expect("a certificate").tbs_certificate.subject.to_string()
}

fn rotated(maker: &mut Maker) {
    let (top, end) = (maker.root.clone(), maker.signer.clone());
    let new = root(&key(), 70, |_| ());
    maker.write("new-root.der", &new.certificate);
    let middle = intermediate(&maker.intermediate.key.clone(), &new, 71, |_| ());
    let last = signer(&end.key, &middle, 72, |_| ());
    let cross = |by: &Holder, change: fn(&mut CertificateSpec)| {
        let spec = CertificateSpec::cross(&new.certificate, VALID, vec![73]).expect("a spec");
        certified(&new.key, Some(by), spec, change)
    };
    let module = unsigned(&encoded(&least()), &image());
    let accepted = cross(&top, |_| ());
    maker.file("a new root", &sign(&module, &last, &middle, Some(&accepted), NOW), "good");
    maker.of("a new root that is trusted itself", "a-new-root.hicmod", "good").root =
        Some("new-root.der".to_owned());
    maker.file("a new root without acceptance", &sign(&module, &last, &middle, None, NOW), "root");
    let by_stranger = cross(&root(&key(), 74, |_| ()), |_| ());
    maker.file(
        "a new root accepted by a stranger",
        &sign(&module, &last, &middle, Some(&by_stranger), NOW),
        "root",
    );
    let short = cross(&top, |spec| spec.constraints = Constraints::Authority { path: 0 });
    maker.file("an acceptance without room", &sign(&module, &last, &middle, Some(&short), NOW), "chain");
    let over = cross(&top, |spec| spec.validity.until = NOW - 1);
    maker.file("an acceptance that expired", &sign(&module, &last, &middle, Some(&over), NOW), "validity");
    let shallow = root(&top.key, 75, |spec| spec.constraints = Constraints::Authority { path: 1 });
    maker.write("shallow-root.der", &shallow.certificate);
    maker.of("a root without room for a successor", "a-new-root.hicmod", "chain").root =
        Some("shallow-root.der".to_owned());
    let dates = ListDates { now: NOW, next: NOW + DAY };
    let lists = revoke(&[], &accepted.certificate, top.as_issuer(), dates, &mut OsRng).expect("a list");
    maker.write("taken-back.crl", &lists);
    maker.of("an acceptance that was taken back", "a-new-root.hicmod", "revoked").revoked =
        Some("taken-back.crl".to_owned());
}

fn revoked(maker: &mut Maker) {
    let (top, middle, end) = (maker.root.clone(), maker.intermediate.clone(), maker.signer.clone());
    let dates = ListDates { now: NOW - 9 * DAY, next: NOW - 8 * DAY };
    let list = |certificate: &[u8], by: &Holder| {
        revoke(&[], certificate, by.as_issuer(), dates, &mut OsRng).expect("a list")
    };
    let colleague = signer(&end.key, &middle, 80, |_| ());
    let mut lists = vec![
        ("nobody.crl", Vec::new(), "good"),
        ("colleague.crl", list(&colleague.certificate, &middle), "good"),
        ("signer.crl", list(&end.certificate, &middle), "revoked"),
        ("intermediate.crl", list(&middle.certificate, &top), "revoked"),
    ];
    let both = [lists[1].1.clone(), lists[3].1.clone()].concat();
    lists.push(("both.crl", both, "revoked"));
    let mut forged = lists[1].1.clone();
    *forged.last_mut().expect("a byte") ^= 1;
    lists.push(("forged.crl", forged, "revocation-list"));
    lists.push(("cut.crl", lists[1].1[..100].to_vec(), "revocation-list"));
    lists.push(("text.crl", b"no list".to_vec(), "revocation-list"));
    for (file, bytes, expect) in lists {
        maker.write(file, &bytes);
        maker.of(&format!("with the list {file}"), "plain.hicmod", expect).revoked = Some(file.to_owned());
    }
}

/// Certificates that our tool does not make: other algorithms, extensions, names.
fn by_openssl(maker: &mut Maker) {
    let at = maker.scratch.path().to_owned();
    private::write(&at.join("root.key"), &maker.root.key, None).expect("written");
    private::write(&at.join("middle.key"), &maker.intermediate.key, None).expect("written");
    private::write(&at.join("end.key"), &maker.signer.key, None).expect("written");
    std::fs::write(at.join("root.der"), &maker.root.certificate).expect("written");
    std::fs::write(at.join("middle.der"), &maker.intermediate.certificate).expect("written");
    for name in ["root", "middle"] {
        openssl(&format!("x509 -inform DER -in {name}.der -out {name}.pem"), &at);
    }
    openssl("genrsa -out small.key 2048", &at);
    let end = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=critical,codeSigning\n";
    let ca = "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n";
    let issued = |key: &str, by: &str, subject: &str, hash: &str, extensions: &str| {
        std::fs::write(at.join("extensions"), extensions).expect("written");
        openssl(&format!("req -new -key {key}.key -subj '{subject}' -out request"), &at);
        openssl(
            &format!(
                "x509 -req -in request -CA {by}.pem -CAkey {by}.key -set_serial {} -days 36000 -{hash} -extfile extensions -outform DER -out out.der",
                900 + extensions.len()
            ),
            &at,
        );
        std::fs::read(at.join("out.der")).expect("made")
    };
    let middle = maker.intermediate.clone();
    let mut ends = vec![
        ("openssl signer", issued("end", "middle", "/CN=by openssl", "sha384", end), "good"),
        ("openssl signer with SHA-256", issued("end", "middle", "/CN=x", "sha256", end), "algorithm"),
        ("openssl signer with a small key", issued("small", "middle", "/CN=x", "sha384", end), "key-size"),
        ("openssl signer without a name", issued("end", "middle", "/", "sha384", end), "certificate"),
    ];
    let unknown = format!("{end}1.2.3.4=critical,ASN1:UTF8String:what");
    ends.push((
        "openssl signer with an unknown critical extension",
        issued("end", "middle", "/CN=x", "sha384", &unknown),
        "certificate",
    ));
    let unknown = format!("{end}1.2.3.4=ASN1:UTF8String:what");
    ends.push((
        "openssl signer with an unknown extension",
        issued("end", "middle", "/CN=x", "sha384", &unknown),
        "good",
    ));
    for (name, certificate, expect) in ends {
        maker.by(name, &Holder { key: maker.signer.key.clone(), certificate }, &middle, expect);
    }
    for (name, uses, expect) in [("web servers", "serverAuth", "key-usage"), ("code", "codeSigning", "good")]
    {
        let certificate = issued(
            "middle",
            "root",
            "/CN=openssl intermediate",
            "sha384",
            &format!("{ca}extendedKeyUsage={uses}\n"),
        );
        let holder = Holder { key: middle.key.clone(), certificate };
        let last = signer(&maker.signer.key.clone(), &holder, 90, |_| ());
        maker.by(&format!("openssl intermediate for {name}"), &last, &holder, expect);
    }
}
