//! Modules that must be refused, made from a good one: damaged, cut, signed by the wrong hand, or signed well and wrong inside.
//!
//! What the guest's checks are called is what `hic_hicmod::VerifyError::check_name` says.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow};
use hic_hicmod::Archive;
use hic_hicmod::container::{Container, NewSection, SectionKind, encode};
use hic_hicmod::image::ImageParts;
use hic_hicmod::manifest::{self, MAX_MANIFEST_BYTES, Manifest, Version};
use hic_hicmod::sign::{
    CertificateSpec, Certificates, IssuerKey, ListDates, RsaPrivateKey, SignerKey, Validity, issue,
    random_serial, revoke, sign_module,
};
use hicmod_tool::keys;
use rsa::rand_core::OsRng;

use crate::qemu::Machine;

const DAY_S: u64 = 86_400;
/// Bytes of the container's header; the table of sections follows.
const HEADER_BYTES: usize = 24;
/// Where an image's header has its entry point and the number of exported services, and where its relocations begin.
const IMAGE_ENTRY: usize = 24;
const IMAGE_EXPORTS: usize = 36;
const IMAGE_RELOCATIONS: usize = 48;

/// A module that must be refused.
#[derive(Clone, Debug)]
pub(super) struct BadModule {
    /// What was done to it.
    pub what: &'static str,
    /// Names of the checks of which one must refuse it.
    pub checks: &'static [&'static str],
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A chain of certificates with its private keys.
pub(super) struct Chain {
    signer_key: RsaPrivateKey,
    signer: Vec<u8>,
    intermediate_key: RsaPrivateKey,
    intermediate: Vec<u8>,
    /// When it signs, seconds since 1970: when it was read.
    now: u64,
}

impl Chain {
    /// The chain that signed the modules of this machine.
    pub fn development(machine: &Machine) -> Result<Self> {
        Self::load(&keys_of(machine)?).context("the development chain")
    }

    /// Reads the chain in a folder that `make_chain` made.
    pub fn load(folder: &Path) -> Result<Self> {
        let key = |name: &str| keys::read_key(&folder.join(name)).map_err(|error| anyhow!("{error}"));
        let certificate = |name: &str| {
            std::fs::read(folder.join(name)).with_context(|| format!("no {name} in {}", folder.display()))
        };
        Ok(Self {
            signer_key: key(keys::SIGNER_KEY)?,
            signer: certificate("signer.der")?,
            intermediate_key: key(keys::INTERMEDIATE_KEY)?,
            intermediate: certificate("intermediate.der")?,
            now: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs(),
        })
    }

    fn sign(&self, module: &[u8]) -> Result<Vec<u8>> {
        self.sign_as(module, &self.signer, self.now)
    }

    /// Signs with another certificate of the same key.
    fn sign_as(&self, module: &[u8], certificate: &[u8], at: u64) -> Result<Vec<u8>> {
        let chain = Certificates { signer: certificate, intermediate: &self.intermediate, cross: None };
        sign_module(module, SignerKey { key: &self.signer_key, chain }, at, &mut OsRng)
            .map_err(|error| anyhow!("{error}"))
    }

    /// One more certificate for the signer's key, issued by the intermediate.
    fn certificate(&self, validity: Validity) -> Result<Vec<u8>> {
        let public = self.signer_key.to_public_key();
        let issuer = IssuerKey { certificate: Some(&self.intermediate), key: &self.intermediate_key };
        let rng = &mut OsRng;
        CertificateSpec::signer(&public, true, validity, random_serial(rng))
            .and_then(|spec| issue(&spec, &public, issuer, rng))
            .map_err(|error| anyhow!("{error}"))
    }
}

/// Folder with the development chain, beside the machine's boot archive (`xtask/src/signing.rs`).
pub(super) fn keys_of(machine: &Machine) -> Result<PathBuf> {
    Ok(boot_archive(machine)?.with_file_name("keys"))
}

fn boot_archive(machine: &Machine) -> Result<&Path> {
    machine.archive.as_deref().context("a boot archive")
}

/// The module `name` of the machine's boot archive.
pub(super) fn archived(machine: &Machine, name: &str) -> Result<Vec<u8>> {
    let bytes = std::fs::read(boot_archive(machine)?)?;
    let archive = Archive::parse(&bytes).map_err(|error| anyhow!("{error}"))?;
    let entry = archive.find(name).with_context(|| format!("the archive has no {name}"))?;
    Ok(entry.bytes().map_err(|error| anyhow!("{error}"))?.to_vec())
}

/// All bad forms of the module `good`, which `own` signed; `other` is a chain of another root. The second part is the
/// revocation lists that one of them needs.
pub(super) fn all(good: &[u8], own: &Chain, other: &Chain) -> Result<(Vec<BadModule>, Vec<u8>)> {
    let now = own.now;
    let mut bad = damaged(good)?;
    bad.extend(signed_wrongly(good, own, other)?);
    bad.extend(signed_and_wrong(good, own)?);
    let certificate = own.certificate(Validity { from: now - DAY_S, until: now + DAY_S })?;
    let issuer = IssuerKey { certificate: Some(&own.intermediate), key: &own.intermediate_key };
    let dates = ListDates { now, next: now + DAY_S };
    let lists = revoke(&[], &certificate, issuer, dates, &mut OsRng).map_err(|error| anyhow!("{error}"))?;
    let bytes = own.sign_as(good, &certificate, now)?;
    bad.push(BadModule { what: "signed with a revoked certificate", checks: &["revoked"], bytes });
    Ok((bad, lists))
}

fn damaged(good: &[u8]) -> Result<Vec<BadModule>> {
    let start = |kind| {
        let container = Container::parse(good).map_err(|error| anyhow!("{error}"))?;
        let section = container.sections().find(|section| section.kind == kind).context("a section")?;
        Ok::<_, anyhow::Error>(section.offset)
    };
    let flip = |what, checks, at: usize| {
        let mut bytes = good.to_vec();
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << (at % 8);
        }
        BadModule { what, checks, bytes }
    };
    let (manifest, image) = (start(SectionKind::Manifest)?, start(SectionKind::Image)?);
    let cut = |what, length: usize| BadModule {
        what,
        checks: &["truncated", "format"],
        bytes: good.get(..length).unwrap_or_default().to_vec(),
    };
    let repaired = |what, checks, kind, change: fn(&mut Vec<u8>)| {
        Ok::<_, anyhow::Error>(BadModule { what, checks, bytes: with_section(good, kind, change)? })
    };
    Ok(vec![
        flip("one bit of the magic flipped", &["format"], 1),
        flip("one bit of the length flipped", &["truncated", "format"], 12),
        flip("one bit of the section table flipped", &["checksum"], HEADER_BYTES + 4),
        flip("one bit of the manifest flipped", &["checksum"], manifest + 20),
        flip("one bit of the image flipped", &["checksum"], image + 5000),
        flip("one bit of the signature flipped", &["checksum"], good.len() - 7),
        repaired(
            "one bit of the image flipped, checksums repaired",
            &["digest"],
            SectionKind::Image,
            |bytes| {
                bytes.iter_mut().skip(5000).take(1).for_each(|byte| *byte ^= 4);
            },
        )?,
        repaired(
            "one bit of the signature flipped, checksums repaired",
            &["signature"],
            SectionKind::Signature,
            |bytes| bytes.iter_mut().rev().take(1).for_each(|byte| *byte ^= 1),
        )?,
        cut("cut off in its header", 10),
        cut("cut off in the middle", good.len() / 2),
        cut("one byte short", good.len() - 1),
    ])
}

fn signed_wrongly(good: &[u8], own: &Chain, other: &Chain) -> Result<Vec<BadModule>> {
    let now = own.now;
    let expired = own.certificate(Validity { from: now - 20 * DAY_S, until: now - 10 * DAY_S })?;
    // The signer of one chain under the intermediate of the other.
    let chain = Certificates { signer: &other.signer, intermediate: &own.intermediate, cross: None };
    let mixed = sign_module(good, SignerKey { key: &other.signer_key, chain }, now, &mut OsRng)
        .map_err(|error| anyhow!("{error}"))?;
    Ok(vec![
        BadModule { what: "signed under another root", checks: &["root"], bytes: other.sign(good)? },
        BadModule { what: "signed with a broken chain", checks: &["chain"], bytes: mixed },
        BadModule {
            what: "signed with an expired certificate",
            checks: &["validity"],
            bytes: own.sign_as(good, &expired, now - 15 * DAY_S)?,
        },
        BadModule { what: "not signed", checks: &["unsigned"], bytes: unsigned(good)? },
    ])
}

fn signed_and_wrong(good: &[u8], own: &Chain) -> Result<Vec<BadModule>> {
    let image = |what, checks, change: fn(&mut Vec<u8>)| {
        let bytes = own.sign(&with_section(good, SectionKind::Image, change)?)?;
        Ok::<_, anyhow::Error>(BadModule { what, checks, bytes })
    };
    let exporting = |what, services: &[&str]| {
        let module = with_exports(good, services.iter().map(ToString::to_string).collect())?;
        Ok::<_, anyhow::Error>(BadModule { what, checks: &["exports"], bytes: own.sign(&module)? })
    };
    Ok(vec![
        exporting("a program that exports nothing that its manifest provides", &[])?,
        exporting("a program that exports more than its manifest provides", &["netstack", "console"])?,
        image("more exported services than fit", &["exports"], |bytes| put_u32(bytes, IMAGE_EXPORTS, 9))?,
        image("a relocation outside its region", &["relocation"], |bytes| {
            put_u32(bytes, IMAGE_RELOCATIONS, 0x7fff_fff8);
        })?,
        image("a relocation into its code", &["relocation"], |bytes| put_u32(bytes, IMAGE_RELOCATIONS, 0))?,
        image("an entry point outside its region", &["segment"], |bytes| {
            put_u32(bytes, IMAGE_ENTRY, 0x7fff_f000);
        })?,
        image("a segment beyond every bound", &["segment"], |bytes| put_u32(bytes, 8, 0x4000_0000))?,
    ])
}

/// The module of version `version`, signed well, whose manifest `change` was applied to. Its program exports what the manifest provides then.
pub(super) fn other_version(
    good: &[u8],
    own: &Chain,
    version: Version,
    change: impl Fn(&mut Manifest),
) -> Result<Vec<u8>> {
    let (module, manifest) = with_manifest(good, version, change)?;
    let provides = manifest.provides.iter().map(ToString::to_string).collect();
    own.sign(&with_exports(&module, provides)?)
}

/// The same with the program as it is, whatever the manifest says that it provides.
pub(super) fn other_manifest(
    good: &[u8],
    own: &Chain,
    version: Version,
    change: impl Fn(&mut Manifest),
) -> Result<Vec<u8>> {
    own.sign(&with_manifest(good, version, change)?.0)
}

/// `good` with its manifest changed, and that manifest.
fn with_manifest(
    good: &[u8],
    version: Version,
    change: impl Fn(&mut Manifest),
) -> Result<(Vec<u8>, Manifest)> {
    let container = Container::parse(good).map_err(|error| anyhow!("{error}"))?;
    let raw = container.find(SectionKind::Manifest).context("a manifest")?;
    let mut manifest = manifest::decode(raw).map_err(|error| anyhow!("{error}"))?;
    manifest.version = version;
    change(&mut manifest);
    let mut buffer = [0; MAX_MANIFEST_BYTES];
    let raw = manifest::encode(&manifest, &mut buffer).map_err(|error| anyhow!("{error}"))?;
    Ok((with_section(good, SectionKind::Manifest, |bytes| *bytes = raw.to_vec())?, manifest))
}

/// `module` with a program that exports these services.
fn with_exports(module: &[u8], exports: Vec<String>) -> Result<Vec<u8>> {
    let container = Container::parse(module).map_err(|error| anyhow!("{error}"))?;
    let image = container.image().context("an image")?.map_err(|error| anyhow!("{error}"))?;
    let parts = ImageParts { exports, ..ImageParts::from(&image) };
    let other = parts.encode().map_err(|error| anyhow!("{error}"))?;
    with_section(module, SectionKind::Image, |bytes| bytes.clone_from(&other))
}

/// The signed module `good` with an optional section of `bytes` bytes that no loader looks at.
pub(super) fn padded(good: &[u8], own: &Chain, bytes: usize) -> Result<Vec<u8>> {
    const PADDING: SectionKind = SectionKind::Unknown(0x7fff);
    let plain = unsigned(good)?;
    let container = Container::parse(&plain).map_err(|error| anyhow!("{error}"))?;
    let padding: Vec<u8> = (0..bytes as u64).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 9) as u8).collect();
    let more = NewSection { kind: PADDING, critical: false, bytes: &padding };
    let sections = container.sections().map(|section| NewSection {
        kind: section.kind,
        critical: section.critical,
        bytes: section.bytes,
    });
    let module = encode(&sections.chain([more]).collect::<Vec<_>>()).map_err(|error| anyhow!("{error}"))?;
    own.sign(&module)
}

/// `module` with the section of this kind changed and all checksums right.
fn with_section(module: &[u8], kind: SectionKind, change: impl Fn(&mut Vec<u8>)) -> Result<Vec<u8>> {
    let container = Container::parse(module).map_err(|error| anyhow!("{error}"))?;
    let mut changed = container.find(kind).context("no such section")?.to_vec();
    change(&mut changed);
    let sections: Vec<NewSection<'_>> = container
        .sections()
        .map(|section| {
            let bytes = if section.kind == kind { changed.as_slice() } else { section.bytes };
            NewSection { kind: section.kind, critical: section.critical, bytes }
        })
        .collect();
    encode(&sections).map_err(|error| anyhow!("{error}"))
}

/// `module` without its signature.
fn unsigned(module: &[u8]) -> Result<Vec<u8>> {
    let container = Container::parse(module).map_err(|error| anyhow!("{error}"))?;
    let kept = container
        .sections()
        .filter(|section| section.kind != SectionKind::Signature)
        .map(|section| NewSection { kind: section.kind, critical: section.critical, bytes: section.bytes });
    encode(&kept.collect::<Vec<_>>()).map_err(|error| anyhow!("{error}"))
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(field) = bytes.get_mut(at..at + 4) {
        field.copy_from_slice(&value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests;
