//! The repository's metadata: a walk ends well with the files that were signed, and with no others.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use hic_tuf::envelope::Envelope;
use hic_tuf::write::{Draft, peek, root_of};
use hic_tuf::{Client, Next, Refused, Role, Targets, Trusted};

use super::assert_sentence;
use crate::corpus::here;

/// The time at which the repository among the fixtures is current.
pub const NOW: u64 = 1_800_000_000;

/// The repository whose keys are gone: its files by name.
fn repository() -> &'static BTreeMap<String, Vec<u8>> {
    static FILES: OnceLock<BTreeMap<String, Vec<u8>>> = OnceLock::new();
    FILES.get_or_init(|| {
        let entries = std::fs::read_dir(here().join("fixtures/repository")).expect("the fixtures").flatten();
        let files: BTreeMap<_, _> = entries
            .map(|entry| {
                (
                    entry.file_name().to_string_lossy().into_owned(),
                    std::fs::read(entry.path()).expect("a file"),
                )
            })
            .collect();
        walk(&files, None).expect("the repository as it was signed");
        files
    })
}

/// Tries the bytes as each kind of file, and in the place of each file of a repository.
pub fn run(bytes: &[u8]) {
    for role in Role::ALL {
        match Envelope::parse(role, bytes) {
            Ok(envelope) => payload(role, bytes, &envelope),
            Err(check) => {
                assert_sentence(&Refused { role, check }, 300);
                assert!(peek(role, bytes).is_none());
            }
        }
    }
    // What is no file of its role ends a walk before anything is verified; for the others the walk costs some ten RSA operations.
    let files = repository();
    for (name, _) in PLACES.into_iter().filter(|(_, role)| Envelope::parse(*role, bytes).is_ok()) {
        match walk(files, Some((name, bytes))) {
            Ok(()) => assert!(
                files.get(name).is_some_and(|signed| says_the_same(bytes, signed)),
                "in the place of {name}"
            ),
            Err(refused) => assert_sentence(&refused, 300),
        }
    }
}

/// Where a file is tried: not as the first root, which is trusted because it is installed, whoever signed it; but as a third, which there is not.
const PLACES: [(&str, Role); 5] = [
    ("2.root.tuf", Role::Root),
    ("3.root.tuf", Role::Root),
    ("timestamp.tuf", Role::Timestamp),
    ("4.snapshot.tuf", Role::Snapshot),
    ("3.targets.tuf", Role::Targets),
];

/// Signatures of keys that nobody asks for are skipped, so a file may have others; what it says may not differ.
fn says_the_same(bytes: &[u8], signed: &[u8]) -> bool {
    let statement = |bytes| {
        let roles = Role::ALL.into_iter().filter_map(|role| Envelope::parse(role, bytes).ok());
        roles.map(|envelope| envelope.statement()).next()
    };
    statement(bytes).is_some() && statement(bytes) == statement(signed)
}

fn payload(role: Role, bytes: &[u8], envelope: &Envelope<'_>) {
    assert!(envelope.signatures().count() <= hic_tuf::envelope::MAX_SIGNATURES);
    match role {
        Role::Root => {
            if let Some(root) = root_of(bytes) {
                assert_eq!(root.problem(), None);
                assert_eq!(Draft::root(&root).statement(), envelope.statement(), "two forms of one root");
            }
        }
        Role::Targets => {
            if let Some(targets) = Targets::of_verified(bytes) {
                let list: Vec<_> = targets.iter().collect();
                assert_eq!(list.len(), targets.len());
                let draft = Draft::targets(*targets.head(), &list).expect("what was read can be written");
                assert_eq!(draft.statement(), envelope.statement(), "two forms of one list");
                for target in &list {
                    assert_eq!(targets.find(target.file).as_ref(), Some(target));
                    assert!(hic_tuf::targets::is_file_name(target.file));
                }
            }
        }
        Role::Timestamp | Role::Snapshot => {}
    }
}

/// The walk of a client that knows the first root, with one file in the place of another.
fn walk(files: &BTreeMap<String, Vec<u8>>, other: Option<(&str, &[u8])>) -> Result<(), Refused> {
    let file = |name: &str| match other {
        Some((place, bytes)) if place == name => Some(bytes),
        _ => files.get(name).map(Vec::as_slice),
    };
    let mut client = Client::new(file("1.root.tuf").unwrap_or_default(), Trusted::default(), NOW)?;
    for _ in 0..=hic_tuf::ask::MAX_FILES {
        let wanted = client.wanted().to_string();
        match client.give(file(&wanted))? {
            Next::More(next) => client = next,
            Next::Done(current) => {
                assert!(current.expires >= NOW && current.trusted.root == 2);
                return Ok(());
            }
        }
    }
    panic!("a walk without an end");
}
