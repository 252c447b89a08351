//! A repository made anew in each test, with keys that are made once.

mod attacks;
mod properties;
mod walk;

use std::collections::BTreeMap;
use std::string::{String, ToString};
use std::sync::OnceLock;
use std::vec::Vec;

use hic_hicmod::manifest::{Dependency, Kind, Manifest, Need, Requirement, Version};
use rsa::RsaPrivateKey;
use rsa::rand_core::OsRng;

use crate::write::{self, Draft, RoleSpec, modulus, reference};
use crate::{Client, Current, Head, Next, Refused, Role, Target, Trusted};

pub(super) const NOW: u64 = 1_800_000_000;
pub(super) const DAY: u64 = 86_400;

/// Three for the root, one for each other role, and those of a rotation and of a stranger.
const KEYS: usize = 8;
pub(super) const ROOTS: [usize; 3] = [0, 1, 2];
pub(super) const TIMESTAMP: usize = 3;
pub(super) const SNAPSHOT: usize = 4;
pub(super) const TARGETS: usize = 5;
pub(super) const NEW_ONLINE: usize = 6;
pub(super) const STRANGER: usize = 7;

pub(super) fn key(number: usize) -> &'static RsaPrivateKey {
    static MADE: OnceLock<Vec<RsaPrivateKey>> = OnceLock::new();
    let made =
        MADE.get_or_init(|| (0..KEYS).map(|_| RsaPrivateKey::new(&mut OsRng, 3072).unwrap()).collect());
    &made[number]
}

/// Which keys a root gives to whom.
#[derive(Clone)]
pub(super) struct Holders {
    pub(super) root: (u8, Vec<usize>),
    pub(super) timestamp: usize,
    pub(super) snapshot: usize,
    pub(super) targets: usize,
}

impl Default for Holders {
    fn default() -> Self {
        Self { root: (2, ROOTS.to_vec()), timestamp: TIMESTAMP, snapshot: SNAPSHOT, targets: TARGETS }
    }
}

pub(super) fn head(version: u32) -> Head {
    Head { version, issued: NOW - DAY, expires: NOW + DAY }
}

/// A root signed by `signers`.
pub(super) fn root(head: Head, holders: &Holders, signers: &[usize]) -> Vec<u8> {
    let moduli: Vec<Vec<u8>> = (0..KEYS).map(|n| modulus(&key(n).to_public_key()).unwrap()).collect();
    let roots: Vec<&[u8]> = holders.root.1.iter().map(|&n| &moduli[n][..]).collect();
    let [timestamp, snapshot, targets] =
        [holders.timestamp, holders.snapshot, holders.targets].map(|n| [&moduli[n][..]]);
    let spec = |threshold, keys| RoleSpec { threshold, keys };
    let roles = [spec(holders.root.0, &roots), spec(1, &timestamp), spec(1, &snapshot), spec(1, &targets)];
    sign(&Draft::root(&write::root(head, false, roles).unwrap()), signers)
}

pub(super) fn sign(draft: &Draft, signers: &[usize]) -> Vec<u8> {
    let keys: Vec<&RsaPrivateKey> = signers.iter().map(|&n| key(n)).collect();
    draft.sign(&keys, &mut OsRng).unwrap()
}

/// The files of a repository by their names.
#[derive(Clone, Default)]
pub(super) struct Files(pub(super) BTreeMap<String, Vec<u8>>);

impl Files {
    pub(super) fn put(&mut self, name: &str, bytes: Vec<u8>) {
        self.0.insert(name.to_string(), bytes);
    }

    pub(super) fn change(&mut self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        change(self.0.get_mut(name).unwrap());
    }

    /// Publishes `targets` with these versions, all with the times of `head`.
    pub(super) fn publish(&mut self, holders: &Holders, versions: [u32; 3], targets: &[Target<'_>]) {
        self.publish_with(holders, versions.map(head), targets);
    }

    /// Publishes `targets` with these heads of timestamp, snapshot and targets.
    pub(super) fn publish_with(&mut self, holders: &Holders, heads: [Head; 3], targets: &[Target<'_>]) {
        let [timestamp, snapshot, list] = heads;
        let list_file = sign(&Draft::targets(list, targets).unwrap(), &[holders.targets]);
        let named = reference(list.version, &list_file);
        let snapshot_file = sign(&Draft::pointer(Role::Snapshot, snapshot, named), &[holders.snapshot]);
        let named = reference(snapshot.version, &snapshot_file);
        let timestamp_file = sign(&Draft::pointer(Role::Timestamp, timestamp, named), &[holders.timestamp]);
        self.put(&std::format!("{}.targets.tuf", list.version), list_file);
        self.put(&std::format!("{}.snapshot.tuf", snapshot.version), snapshot_file);
        self.put("timestamp.tuf", timestamp_file);
    }

    /// The walk of a client whose root is `1.root.tuf`.
    pub(super) fn walk(&self, seen: Trusted, now: u64) -> Result<Current<'_>, Refused> {
        let mut client = Client::new(&self.0["1.root.tuf"], seen, now)?;
        loop {
            let wanted = client.wanted().to_string();
            match client.give(self.0.get(&wanted).map(Vec::as_slice))? {
                Next::More(next) => client = next,
                Next::Done(current) => return Ok(current),
            }
        }
    }
}

/// A repository with root 1 and one publication, all versions 1.
pub(super) fn repository() -> Files {
    let mut files = Files::default();
    files.put("1.root.tuf", root(head(1), &Holders::default(), &ROOTS[..2]));
    let manifest = manifest();
    files.publish(&Holders::default(), [1, 1, 1], &[target(&manifest)]);
    files
}

pub(super) const FILE: &str = "echo-1.0.0.hicmod";
pub(super) const BYTES: &[u8] = b"the file of a module";
pub(super) const SIGNER: &str = "somebody's modules";

pub(super) fn target(manifest: &Manifest) -> Target<'_> {
    Target::describe(FILE, BYTES, manifest, SIGNER).unwrap()
}

pub(super) fn manifest() -> Manifest {
    let need = |service: &str, optional| Need { service: service.try_into().unwrap(), optional };
    let dependency = Dependency { module: "netstack".try_into().unwrap(), version: Requirement::ANY };
    let least = Manifest::least("echo".try_into().unwrap(), Version::new(1, 0, 0), Kind::Service);
    Manifest {
        needs: [need("netstack", false), need("log", true)].into_iter().collect(),
        dependencies: [dependency].into_iter().collect(),
        epoch: 3,
        publisher: "somebody".try_into().unwrap(),
        ..least
    }
}
