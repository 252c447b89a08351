//! The attacks of the TUF specification, 1.5.2, as far as metadata alone sees them. `repository_attacks` shows them to the booted system.

use super::*;
use crate::Check;

/// What a client refuses that has seen the repository as it was made.
fn refused(files: &Files, seen: Trusted) -> (Role, &'static str) {
    let refused = files.walk(seen, NOW).expect_err("refused");
    (refused.role, refused.check.name())
}

fn seen(files: &Files) -> Trusted {
    files.walk(Trusted::default(), NOW).unwrap().trusted
}

#[test]
fn a_stranger_s_signature_vouches_for_nothing() {
    let files = repository();
    let seen = seen(&files);
    let manifest = manifest();
    let stranger = |change: fn(&mut Holders)| {
        let mut holders = Holders::default();
        change(&mut holders);
        let mut files = files.clone();
        files.publish(&holders, [2, 2, 2], &[target(&manifest)]);
        refused(&files, seen)
    };
    assert_eq!(stranger(|h| h.timestamp = STRANGER), (Role::Timestamp, "metadata-threshold"));
    assert_eq!(stranger(|h| h.snapshot = STRANGER), (Role::Snapshot, "metadata-threshold"));
    assert_eq!(stranger(|h| h.targets = STRANGER), (Role::Targets, "metadata-threshold"));
    // A key of another role is a stranger, too.
    assert_eq!(stranger(|h| h.targets = TIMESTAMP), (Role::Targets, "metadata-threshold"));
}

#[test]
fn keys_below_the_threshold_make_no_root() {
    let mut files = repository();
    let stolen = Holders { root: (1, std::vec![STRANGER]), ..Holders::default() };
    files.put("2.root.tuf", root(head(2), &stolen, &[ROOTS[0], STRANGER]));
    let found = files.walk(Trusted::default(), NOW).unwrap_err();
    assert_eq!(found, Refused { role: Role::Root, check: Check::Threshold { good: 1, needed: 2 } });
    // Enough of the old ones, and none of its own.
    files.put("2.root.tuf", root(head(2), &stolen, &ROOTS));
    let found = files.walk(Trusted::default(), NOW).unwrap_err();
    assert_eq!(found, Refused { role: Role::Root, check: Check::Threshold { good: 0, needed: 1 } });
}

#[test]
fn a_file_without_end_is_refused_at_its_limit() {
    for name in ["timestamp.tuf", "1.snapshot.tuf", "1.targets.tuf"] {
        let mut files = repository();
        files.change(name, |bytes| bytes.resize(crate::MAX_TARGETS_BYTES + 1, 0));
        assert_eq!(refused(&files, Trusted::default()).1, "metadata-size", "{name}");
    }
    let mut files = repository();
    files.put("2.root.tuf", std::vec![0; crate::MAX_ROOT_BYTES + 1]);
    assert_eq!(refused(&files, Trusted::default()), (Role::Root, "metadata-size"));
}

#[test]
fn what_was_replaced_does_not_come_back() {
    let old = repository();
    let mut new = old.clone();
    let manifest = manifest();
    new.publish(&Holders::default(), [2, 2, 2], &[target(&manifest)]);
    let seen = seen(&new);
    assert_eq!(refused(&old, seen), (Role::Timestamp, "metadata-rollback"));
    // An old timestamp over what is current, a new one over an old snapshot, and a new snapshot over old targets.
    let mut mixed = new.clone();
    mixed.publish(&Holders::default(), [1, 2, 2], &[target(&manifest)]);
    assert_eq!(refused(&mixed, seen), (Role::Timestamp, "metadata-rollback"));
    mixed.publish(&Holders::default(), [3, 1, 1], &[target(&manifest)]);
    assert_eq!(refused(&mixed, seen), (Role::Timestamp, "metadata-rollback"));
    mixed.publish(&Holders::default(), [3, 3, 1], &[target(&manifest)]);
    assert_eq!(refused(&mixed, seen), (Role::Snapshot, "metadata-rollback"));
}

#[test]
fn a_root_that_was_seen_is_neither_left_out_nor_exchanged() {
    let mut files = repository();
    files.put("2.root.tuf", root(head(2), &Holders::default(), &ROOTS));
    let seen = seen(&files);
    let mut cut = files.clone();
    cut.0.remove("2.root.tuf");
    assert_eq!(refused(&cut, seen), (Role::Root, "metadata-rollback"));
    let other = Head { expires: NOW + 2 * DAY, ..head(2) };
    files.put("2.root.tuf", root(other, &Holders::default(), &ROOTS));
    assert_eq!(refused(&files, seen), (Role::Root, "metadata-fork"));
    files.put("2.root.tuf", root(head(3), &Holders::default(), &ROOTS));
    assert_eq!(refused(&files, Trusted::default()), (Role::Root, "metadata-version"));
}

#[test]
fn files_of_different_times_are_not_mixed() {
    let old = repository();
    let mut new = old.clone();
    let mut manifest = manifest();
    manifest.version.patch = 1;
    new.publish(&Holders::default(), [2, 1, 1], &[target(&manifest)]);
    for (name, role) in [("1.snapshot.tuf", Role::Snapshot), ("1.targets.tuf", Role::Targets)] {
        let mut mixed = new.clone();
        mixed.put(name, old.0[name].clone());
        assert_eq!(refused(&mixed, Trusted::default()), (role, "metadata-mixed"));
    }
}

#[test]
fn a_file_has_the_version_that_it_was_named_with() {
    let files = repository();
    let (list, snapshot) = (&files.0["1.targets.tuf"], &files.0["1.snapshot.tuf"]);
    let signed = |role, named, signer| sign(&Draft::pointer(role, head(1), named), &[signer]);
    let mut renamed = files.clone();
    renamed.put("2.snapshot.tuf", snapshot.clone());
    renamed.put("timestamp.tuf", signed(Role::Timestamp, reference(2, snapshot), TIMESTAMP));
    assert_eq!(refused(&renamed, Trusted::default()), (Role::Snapshot, "metadata-version"));
    let mut renamed = files.clone();
    let over_it = signed(Role::Snapshot, reference(2, list), SNAPSHOT);
    renamed.put("timestamp.tuf", signed(Role::Timestamp, reference(1, &over_it), TIMESTAMP));
    renamed.put("1.snapshot.tuf", over_it);
    renamed.put("2.targets.tuf", list.clone());
    assert_eq!(refused(&renamed, Trusted::default()), (Role::Targets, "metadata-version"));
}

#[test]
fn each_field_of_the_header_is_read() {
    let files = repository();
    let with = |change: fn(&mut Vec<u8>)| {
        let mut files = files.clone();
        files.change("timestamp.tuf", change);
        refused(&files, Trusted::default())
    };
    let form = (Role::Timestamp, "metadata-form");
    assert_eq!(with(|file| file[0] = b'h'), form, "magic");
    assert_eq!(with(|file| file[4] = 2), form, "format");
    assert_eq!(with(|file| file[6] = Role::Snapshot as u8), form, "role");
    assert_eq!(with(|file| file.push(0)), form, "a byte behind the signatures");
    let twice = with(|file| {
        file[7] = 2;
        file.extend_from_within(file.len() - crate::envelope::SIGNATURE_BYTES..);
    });
    assert_eq!(twice, form, "a key signed twice");
}

#[test]
fn a_repository_that_stands_still_is_noticed() {
    let files = repository();
    let seen = seen(&files);
    for (now, check) in [(NOW + DAY, None), (NOW + DAY + 1, Some("metadata-expired"))] {
        let found = files.walk(seen, now).err().map(|refused| refused.check.name());
        assert_eq!(found, check, "at {now}");
    }
    let clock = files.walk(seen, NOW - 2 * DAY).unwrap_err();
    assert_eq!(clock.check.name(), "metadata-clock");
}

#[test]
fn each_file_has_an_end_of_its_own() {
    let (mut files, manifest) = (repository(), manifest());
    for ended in [Role::Timestamp, Role::Snapshot, Role::Targets] {
        let heads = [Role::Timestamp, Role::Snapshot, Role::Targets]
            .map(|role| if role == ended { Head { expires: NOW - 1, ..head(2) } } else { head(2) });
        files.publish_with(&Holders::default(), heads, &[target(&manifest)]);
        assert_eq!(refused(&files, Trusted::default()), (ended, "metadata-expired"));
    }
}

#[test]
fn versions_pushed_to_the_end_are_recovered_from_by_new_keys() {
    let mut files = repository();
    let manifest = manifest();
    // Whoever stole the online keys signs the highest version that there is.
    files.publish(&Holders::default(), [u32::MAX; 3], &[target(&manifest)]);
    let pushed = seen(&files);
    files.publish(&Holders::default(), [2, 2, 2], &[target(&manifest)]);
    assert_eq!(refused(&files, pushed), (Role::Timestamp, "metadata-rollback"));
    // The owner takes the stolen keys away; the versions begin anew.
    let recovered = Holders { timestamp: NEW_ONLINE, snapshot: NEW_ONLINE, ..Holders::default() };
    files.put("2.root.tuf", root(head(2), &recovered, &ROOTS));
    files.publish(&recovered, [2, 2, 2], &[target(&manifest)]);
    let after = files.walk(pushed, NOW).unwrap().trusted;
    assert_eq!((after.root, after.timestamp, after.snapshot, after.targets), (2, 2, 2, 2));
    // The stolen keys are of no use any more.
    files.publish(&Holders::default(), [u32::MAX; 3], &[target(&manifest)]);
    assert_eq!(refused(&files, after), (Role::Timestamp, "metadata-threshold"));
}

#[test]
fn a_missing_file_is_named() {
    for (name, role) in [
        ("timestamp.tuf", Role::Timestamp),
        ("1.snapshot.tuf", Role::Snapshot),
        ("1.targets.tuf", Role::Targets),
    ] {
        let mut files = repository();
        files.0.remove(name);
        assert_eq!(refused(&files, Trusted::default()), (role, "metadata-missing"));
    }
}

#[test]
fn a_signed_payload_in_another_spelling_is_refused() {
    let mut files = repository();
    // Version 2 as a number of two bytes: postcard reads it, and never writes it.
    let mut payload = std::vec![0x82, 0x00];
    let plain = Draft::pointer(Role::Timestamp, head(2), reference(1, b""));
    let file = sign(&plain, &[TIMESTAMP]);
    let length = u32::from_le_bytes(*file[8..].first_chunk().unwrap()) as usize;
    payload.extend(&file[crate::envelope::HEADER_BYTES + 1..][..length - 1]);
    files.put("timestamp.tuf", sign(&Draft::raw(Role::Timestamp, payload), &[TIMESTAMP]));
    assert_eq!(refused(&files, Trusted::default()), (Role::Timestamp, "metadata-form"));
}
