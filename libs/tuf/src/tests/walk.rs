//! What a client accepts, and what it learns.

use hic_hicmod::verdict::MAX_SIGNER_BYTES;

use super::*;
use crate::key::RSA_BYTES;
use crate::metadata::RoleKeys;
use crate::{Check, Digest, Key, Root, TargetError};

#[test]
fn a_new_client_learns_the_versions_and_the_modules() {
    let files = repository();
    let current = files.walk(Trusted::default(), NOW).unwrap();
    let Trusted { root, timestamp, snapshot, targets, .. } = current.trusted;
    assert_eq!((root, timestamp, snapshot, targets), (1, 1, 1, 1));
    assert_eq!((current.expires, current.unlisted, current.targets.len()), (NOW + DAY, false, 1));
    let manifest = manifest();
    assert_eq!(current.targets.find(FILE), Some(target(&manifest)));
    assert_eq!(current.targets.module("echo", Version::new(1, 0, 0)), Some(target(&manifest)));
    assert_eq!(current.targets.find("other.hicmod"), None);
    // The same again is no step back.
    assert_eq!(files.walk(current.trusted, NOW).unwrap().trusted, current.trusted);
}

#[test]
fn files_are_asked_for_by_name_and_within_a_limit() {
    let files = repository();
    let mut client = Client::new(&files.0["1.root.tuf"], Trusted::default(), NOW).unwrap();
    let mut asked = Vec::new();
    loop {
        let wanted = client.wanted();
        asked.push((wanted.to_string(), wanted.optional));
        assert_eq!(wanted.limit, write::limit_of(wanted.role));
        match client.give(files.0.get(&wanted.to_string()).map(Vec::as_slice)).unwrap() {
            Next::More(next) => client = next,
            Next::Done(_) => break,
        }
    }
    let names: Vec<(&str, bool)> = asked.iter().map(|(name, optional)| (name.as_str(), *optional)).collect();
    let expected =
        [("2.root.tuf", true), ("timestamp.tuf", false), ("1.snapshot.tuf", false), ("1.targets.tuf", false)];
    assert_eq!(names, expected);
}

#[test]
fn a_new_root_is_accepted_when_the_old_and_the_new_keys_sign_it() {
    let mut files = repository();
    let rotated = Holders { root: (1, std::vec![NEW_ONLINE]), ..Holders::default() };
    files.put("2.root.tuf", root(head(2), &rotated, &[ROOTS[0], ROOTS[2], NEW_ONLINE]));
    let seen = files.walk(Trusted::default(), NOW).unwrap().trusted;
    assert_eq!(seen.root, 2);
    // The third one needs the keys of the second and no longer those of the first.
    files.put("3.root.tuf", root(head(3), &rotated, &[NEW_ONLINE]));
    let seen = files.walk(seen, NOW).unwrap().trusted;
    assert_eq!(seen.root, 3);
    let old = root(head(4), &rotated, &ROOTS);
    files.put("4.root.tuf", old);
    let refused = files.walk(seen, NOW).unwrap_err();
    assert_eq!(refused, Refused { role: Role::Root, check: Check::Threshold { good: 0, needed: 1 } });
}

#[test]
fn a_root_that_ended_long_ago_still_leads_to_its_successor() {
    let mut files = repository();
    let old = Head { version: 1, issued: NOW - 900 * DAY, expires: NOW - 800 * DAY };
    files.put("1.root.tuf", root(old, &Holders::default(), &ROOTS));
    let refused = files.walk(Trusted::default(), NOW).unwrap_err();
    assert_eq!((refused.role, refused.check.name()), (Role::Root, "metadata-expired"));
    files.put("2.root.tuf", root(head(2), &Holders::default(), &ROOTS[1..]));
    assert_eq!(files.walk(Trusted::default(), NOW).unwrap().trusted.root, 2);
}

#[test]
fn versions_start_at_one_in_every_role() {
    let (holders, manifest) = (Holders::default(), manifest());
    for (versions, role) in [([0, 1, 1], Role::Timestamp), ([1, 0, 1], Role::Snapshot)] {
        let mut files = repository();
        files.publish(&holders, versions, &[target(&manifest)]);
        let refused = files.walk(Trusted::default(), NOW).unwrap_err();
        assert_eq!((refused.role, refused.check.name()), (role, "metadata-form"));
    }
    let mut files = repository();
    let list = files.0["1.targets.tuf"].clone();
    let payload = crate::envelope::Envelope::parse(Role::Targets, &list).unwrap().payload();
    let zero = [&[0], &payload[1..]].concat();
    assert!(Draft::targets(head(0), &[target(&manifest)]).is_err());
    let list = sign(&Draft::raw(Role::Targets, zero), &[TARGETS]);
    let snapshot = sign(&Draft::pointer(Role::Snapshot, head(1), reference(0, &list)), &[SNAPSHOT]);
    let timestamp = Draft::pointer(Role::Timestamp, head(1), reference(1, &snapshot));
    files.put("timestamp.tuf", sign(&timestamp, &[TIMESTAMP]));
    files.put("1.snapshot.tuf", snapshot);
    files.put("0.targets.tuf", list);
    let refused = files.walk(Trusted::default(), NOW).unwrap_err();
    assert_eq!((refused.role, refused.check.name()), (Role::Targets, "metadata-form"));
}

#[test]
fn a_walk_follows_so_many_roots_and_no_more() {
    let mut files = repository();
    let holders = Holders { root: (1, std::vec![0]), ..Holders::default() };
    files.put("1.root.tuf", root(head(1), &holders, &[0]));
    for version in 2..=crate::MAX_ROOT_UPDATES + 1 {
        files.put(&std::format!("{version}.root.tuf"), root(head(version), &holders, &[0]));
    }
    assert_eq!(files.walk(Trusted::default(), NOW).unwrap().trusted.root, crate::MAX_ROOT_UPDATES + 1);
    let beyond = crate::MAX_ROOT_UPDATES + 2;
    files.put(&std::format!("{beyond}.root.tuf"), root(head(beyond), &holders, &[0]));
    assert_eq!(files.walk(Trusted::default(), NOW).unwrap_err().check, Check::TooManyRoots);
}

#[test]
fn a_target_is_told_from_every_other_file_and_manifest() {
    let manifest = manifest();
    let target = target(&manifest);
    assert_eq!(target.check_bytes(BYTES), Ok(()));
    assert_eq!(
        target.check_bytes(&BYTES[1..]),
        Err(TargetError::Length { listed: target.length, found: BYTES.len() - 1 })
    );
    let mut other = BYTES.to_vec();
    other[3] ^= 1;
    assert_eq!(target.check_bytes(&other), Err(TargetError::Digest));
    assert_eq!(target.check_module(&manifest, SIGNER), Ok(()));
    let changed = |change: fn(&mut Manifest)| {
        let mut changed = manifest.clone();
        change(&mut changed);
        target.check_module(&changed, SIGNER)
    };
    assert_eq!(changed(|m| m.version.patch = 1), Err(TargetError::Identity));
    assert_eq!(changed(|m| m.name = "mirror".try_into().unwrap()), Err(TargetError::Identity));
    assert_eq!(changed(|m| drop(m.needs.pop())), Err(TargetError::Dependencies));
    assert_eq!(changed(|m| m.needs[1].optional = false), Err(TargetError::Dependencies));
    assert_eq!(changed(|m| m.dependencies.clear()), Err(TargetError::Dependencies));
    assert_eq!(changed(|m| m.epoch = 2), Err(TargetError::Epoch));
    assert_eq!(changed(|m| m.publisher.clear()), Err(TargetError::Publisher));
    assert_eq!(target.check_module(&manifest, "somebody else"), Err(TargetError::Signer));
}

#[test]
fn a_root_that_contradicts_itself_is_refused() {
    let moduli = [1, 3].map(|last| {
        let mut modulus = [0; RSA_BYTES];
        (modulus[0], modulus[RSA_BYTES - 1]) = (0x80, last);
        modulus
    });
    let role = RoleKeys { threshold: 2, keys: [0, 1].into_iter().collect() };
    let keys = moduli.iter().map(|modulus| Key(modulus)).collect();
    let good = Root { head: head(1), unlisted: false, keys, roles: [(); 4].map(|()| role.clone()) };
    assert_eq!(good.problem(), None);
    let problem = |change: fn(&mut Root<'_>)| {
        let mut root = good.clone();
        change(&mut root);
        root.problem()
    };
    assert_eq!(problem(|root| root.head.version = 0), Some("versions start at 1"));
    assert_eq!(problem(|root| root.keys[0] = Key(&[1, 1, 1])), Some("a key is not RSA-3072"));
    let keys = Some("its keys are not in order, or one is there twice");
    assert_eq!(problem(|root| root.keys.swap(0, 1)), keys);
    assert_eq!(problem(|root| root.keys[1] = root.keys[0]), keys);
    let role = Some("a role has keys that are not there, or too few for its threshold");
    assert_eq!(problem(|root| root.roles[0].keys[1] = 0), role, "a key twice");
    assert_eq!(problem(|root| root.roles[1].keys[1] = 2), role, "a key that is not there");
    assert_eq!(problem(|root| root.roles[2].threshold = 3), role, "more than there are");
    assert_eq!(problem(|root| root.roles[3].threshold = 0), role, "none");
}

#[test]
fn names_of_files_cannot_leave_the_folder() {
    let manifest = manifest();
    for name in ["", ".hicmod", "../x.hicmod", "a/b.hicmod", "A.hicmod", "a.txt", "-x.hicmod", "a b.hicmod"] {
        assert!(Target::describe(name, BYTES, &manifest, SIGNER).is_err(), "{name}");
    }
    assert!(Target::describe("netstack-1.3.0+x_y.hicmod", BYTES, &manifest, SIGNER).is_ok());
}

/// What a signer may not say, however well it is signed: names go to consoles, and are looked up.
#[test]
fn names_in_a_signed_list_are_checked() {
    let manifest = manifest();
    let refused = |change: &dyn Fn(&mut Target<'_>)| {
        let mut target = target(&manifest);
        change(&mut target);
        match Draft::targets(head(1), &[target]) {
            Err(write::WriteError::Content { problem }) => problem,
            other => panic!("{other:?}"),
        }
    };
    let long = std::format!("{}.hicmod", "x".repeat(60));
    let names = ["../echo.hicmod", "echo", "\x1b[2J.hicmod"];
    for file in names {
        assert!(refused(&|target| target.file = file).contains("a file's name"), "{file}");
    }
    let mut too_long = target(&manifest);
    too_long.file = &long;
    assert!(Draft::targets(head(1), &[too_long]).is_err(), "a name of {} bytes", long.len());
    assert!(refused(&|target| target.name = "Echo").contains("a module's name"));
    assert!(refused(&|target| target.needs[0].service = "\n".try_into().unwrap()).contains("a dependency"));
    assert!(
        refused(&|target| target.dependencies[0].module = "A".try_into().unwrap()).contains("a dependency")
    );
    let nobody = "publisher or signer";
    assert!(refused(&|target| target.publisher = "\x1b[2J").contains(nobody));
    assert!(refused(&|target| target.signer = "\r").contains(nobody));
    let long = "x".repeat(MAX_SIGNER_BYTES + 1);
    let mut too_long = target(&manifest);
    too_long.signer = &long;
    assert!(Draft::targets(head(1), &[too_long]).is_err(), "a signer of {} bytes", long.len());
}

#[test]
fn a_writer_refuses_what_a_client_would() {
    let manifest = manifest();
    let twice = [target(&manifest), target(&manifest)];
    assert!(Draft::targets(head(1), &twice).is_err());
    let draft = Draft::targets(head(1), &twice[..1]).unwrap();
    assert!(draft.sign(&[], &mut OsRng).is_err());
    assert!(draft.sign(&[key(0), key(0)], &mut OsRng).is_err());
    let short = RsaPrivateKey::new(&mut OsRng, 1024).unwrap();
    assert_eq!(draft.sign(&[&short], &mut OsRng), Err(write::WriteError::Key));
    let key_bytes = modulus(&key(0).to_public_key()).unwrap();
    let keys = [&key_bytes[..]];
    let too_much = RoleSpec { threshold: 2, keys: &keys };
    assert!(write::root(head(1), false, [too_much; 4]).is_err());
    assert_ne!(Digest::of(&key_bytes), crate::Key(&key_bytes).id());
}
