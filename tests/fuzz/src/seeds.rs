//! Makes the seeds of the corpus from real things: manifests and the policy of this workspace, a repository with its metadata, messages, records, frames,
//! answers of a server. What fuzzing finds beside them is added to the same folders, made small.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use hic_hicmod::Container;
use hic_hicmod::container::SectionKind;
use hic_hicmod::manifest::{Kind, MAX_MANIFEST_BYTES, Manifest, Version, encode};
use hic_tuf::write::{self, Draft, RoleSpec, WriteError, modulus, reference};
use hic_tuf::{FileName, Head, Role, Target};
use hicmod_tool::parse_manifest;
use rsa::RsaPrivateKey;
use rsa::rand_core::OsRng;

use crate::corpus::{here, vectors};
use crate::targets::NOW;

mod network;
mod small;

/// Seeds by target and name.
pub type Seeds = BTreeMap<(&'static str, String), Vec<u8>>;

/// Writes all seeds into the corpus, and the repository among the fixtures if there is none yet.
///
/// # Errors
/// A file that cannot be read or written.
pub fn write() -> io::Result<usize> {
    let repository = here().join("fixtures/repository");
    if !repository.is_dir() {
        fs::create_dir_all(&repository)?;
        for (name, bytes) in make_repository().map_err(io::Error::other)? {
            fs::write(repository.join(name), bytes)?;
        }
    }
    let seeds = all()?;
    for ((target, name), bytes) in &seeds {
        let folder = here().join("corpus").join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)?;
    }
    Ok(seeds.len())
}

fn all() -> io::Result<Seeds> {
    let mut seeds = Seeds::new();
    for entry in fs::read_dir(here().join("fixtures/repository"))? {
        let entry = entry?;
        seeds.insert(("metadata", entry.file_name().to_string_lossy().into_owned()), fs::read(entry.path())?);
    }
    from_vectors(&mut seeds)?;
    from_workspace(&mut seeds)?;
    small::add(&mut seeds);
    network::add(&mut seeds);
    Ok(seeds)
}

/// Images and manifests of the test vectors; a boot archive of two small files.
fn from_vectors(seeds: &mut Seeds) -> io::Result<()> {
    for name in [
        "plain",
        "every-field",
        "no-image",
        "an-addend-outside-the-module",
        "a-relocation-of-code",
        "eight-services",
        "a-service-twice",
        "something-behind-a-name",
    ] {
        let file = fs::read(vectors().join(format!("{name}.hicmod")))?;
        let Ok(container) = Container::parse(&file) else { continue };
        for (kind, target) in [(SectionKind::Image, "image"), (SectionKind::Manifest, "manifest")] {
            if let Some(bytes) = container.find(kind) {
                seeds.insert((target, name.to_owned()), bytes.to_vec());
            }
        }
    }
    let files: [(&str, &[u8]); 3] =
        [("keeper", b"HICMOD\r\n"), ("built", &[0; 8]), ("policy", b"some bytes")];
    let archive = hicmod_tool::archive(&files).map_err(io::Error::other)?;
    seeds.insert(("boot_archive", "three-files".to_owned()), archive);
    let none = hicmod_tool::archive(&[]).map_err(io::Error::other)?;
    seeds.insert(("boot_archive", "no-file".to_owned()), none);
    Ok(())
}

/// The manifests of our services, and the policy.
fn from_workspace(seeds: &mut Seeds) -> io::Result<()> {
    let root = here().join("../..");
    let mut set = Vec::new();
    for path in [
        "services/netstack/hicmod.toml",
        "services/netstack/hicmod-1.3.0.toml",
        "services/eth_driver/hicmod.toml",
        "services/console/hicmod.toml",
        "module-manager/hicmod.toml",
    ] {
        let text = fs::read_to_string(root.join(path))?;
        let name = path.replace('/', "-").replace(".toml", "");
        let manifest = parse_manifest(&text).map_err(io::Error::other)?;
        let mut buffer = [0; MAX_MANIFEST_BYTES];
        let bytes = encode(&manifest, &mut buffer).map_err(io::Error::other)?;
        set.extend((bytes.len() as u16).to_le_bytes());
        set.extend(bytes);
        seeds.insert(("manifest", name.clone()), bytes.to_vec());
        seeds.insert(("manifest_text", name), text.into_bytes());
    }
    seeds.insert(("release", "two-of-them".to_owned()), set.get(..2048).unwrap_or_default().to_vec());
    seeds.insert(("release", "our-services".to_owned()), set);
    policy(seeds, &root)
}

fn policy(seeds: &mut Seeds, root: &Path) -> io::Result<()> {
    let text = fs::read_to_string(root.join("qemu/policy.toml"))?;
    let rules: hic_policy::Rules = toml::from_str(&text).map_err(io::Error::other)?;
    seeds.insert(("policy", "ours".to_owned()), rules.encode().map_err(io::Error::other)?);
    seeds.insert(("policy_text", "ours".to_owned()), text.into_bytes());
    const SMALL: &str =
        "[default]\nmemory_pages = 64\npriority = 5\n[module.greedy]\nauthority = [\"clock\"]\nirqs = [4]\n";
    let small: hic_policy::Rules = toml::from_str(SMALL).map_err(io::Error::other)?;
    seeds.insert(("policy", "small".to_owned()), small.encode().map_err(io::Error::other)?);
    seeds.insert(("policy_text", "small".to_owned()), SMALL.as_bytes().to_vec());
    Ok(())
}

/// A repository with two roots, a list of two modules, and keys that are forgotten.
fn make_repository() -> Result<Vec<(String, Vec<u8>)>, WriteError> {
    let make = || RsaPrivateKey::new(&mut OsRng, 3072).map_err(|_| WriteError::Rsa);
    let (first, second) = (make()?, make()?);
    let moduli = [modulus(&first.to_public_key())?, modulus(&second.to_public_key())?];
    let (one, both) = ([&moduli[0][..]], [&moduli[0][..], &moduli[1][..]]);
    let head = |version| Head { version, issued: NOW, expires: NOW + 1000 };
    let online = RoleSpec { threshold: 1, keys: &one };
    let root = |version, keys, threshold| {
        let specs = [RoleSpec { threshold, keys }, online, online, online];
        let root = write::root(head(version), true, specs)?;
        Draft::root(&root).sign(&[&first, &second], &mut OsRng)
    };
    let (oldest, newest) = (root(1, &one, 1)?, root(2, &both, 2)?);
    let manifest =
        |name: &str, version| Manifest::least(name.try_into().unwrap_or_default(), version, Kind::Service);
    let (echo, clock) = (manifest("echo", Version::new(1, 0, 0)), manifest("clock", Version::new(0, 2, 1)));
    let describe = |file, manifest| {
        Target::describe(file, b"a module", manifest, "somebody").map_err(|_| WriteError::Rsa)
    };
    let targets = [describe("clock-0.2.1.hicmod", &clock)?, describe("echo-1.0.0.hicmod", &echo)?];
    let sign = |draft: Draft| draft.sign(&[&first], &mut OsRng);
    let list = sign(Draft::targets(head(3), &targets)?)?;
    let snapshot = sign(Draft::pointer(Role::Snapshot, head(4), reference(3, &list)))?;
    let timestamp = sign(Draft::pointer(Role::Timestamp, head(5), reference(4, &snapshot)))?;
    let files = [
        (Role::Root, 1, oldest),
        (Role::Root, 2, newest),
        (Role::Timestamp, 5, timestamp),
        (Role::Snapshot, 4, snapshot),
        (Role::Targets, 3, list),
    ];
    Ok(files.map(|(role, version, bytes)| (FileName(role, version).to_string(), bytes)).into())
}
