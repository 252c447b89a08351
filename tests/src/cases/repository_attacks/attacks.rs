//! What is tried.

use anyhow::{Context, Result, anyhow, ensure};
use hic_hicmod::manifest::{Manifest, Need};
use hic_hicmod::signature::SignatureBlock;
use hic_hicmod::verify::stated_signer;
use hic_hicmod::{Container, Module};
use hic_tuf::write::{self, Draft, RoleSpec, modulus, reference};
use hic_tuf::{FileName, Head, Role, Target};
use hicmod_tool::repo::Lives;
use rsa::RsaPrivateKey;
use rsa::rand_core::OsRng;

use super::mirror::{Files, Mirror, OTHER, VERSION, file_of};
use super::{Scene, WRITTEN, last_note, until};

/// A time that is long enough.
const WEEK_S: u64 = 7 * 86_400;
/// Somebody whom an operator would believe.
const TRUSTED_NAME: &str = "your own release team";

/// An attack: the files that the victim finds, and how it refuses what they are to make it take.
pub(super) struct Attack {
    /// As the specification calls it.
    pub(super) name: &'static str,
    pub(super) files: Files,
    /// The version that the attacker wants to be taken.
    pub(super) version: &'static str,
    /// The check that refuses it where the victim reads a disk.
    pub(super) check: &'static str,
    /// And where it asks a server, which says how long a file is before it sends it.
    pub(super) check_http: &'static str,
}

/// Those that leave no state behind, each against the state that is published now.
pub(super) fn all(mirror: &Mirror) -> Result<Vec<Attack>> {
    // A state that was good once, and the one after it.
    let old = mirror.files()?;
    mirror.publish()?;
    let attacks = vec![
        arbitrary_installation(mirror)?,
        endless_metadata(mirror)?,
        endless_module(mirror)?,
        extraneous_dependencies(mirror)?,
        indefinite_freeze(mirror)?,
        malicious_mirror(mirror)?,
        mix_and_match(mirror)?,
        Attack {
            name: "rollback",
            files: old,
            version: VERSION,
            check: "metadata-rollback",
            check_http: "metadata-rollback",
        },
        key_compromise(mirror)?,
        wrong_software(mirror)?,
    ];
    Ok(attacks)
}

/// A module that is signed well, and that the owner of the repository never published.
fn arbitrary_installation(mirror: &Mirror) -> Result<Attack> {
    let mut files = mirror.files()?;
    let module = files.get(&file_of(OTHER)).context("a module")?.clone();
    files.insert(file_of("1.9.0"), module);
    // Its content is 1.3.1's, whose own file is taken away: the name alone does not make it a release.
    files.remove(&file_of(OTHER));
    Ok(Attack {
        name: "arbitrary installation",
        files,
        version: "1.9.0",
        check: "unlisted",
        check_http: "unlisted",
    })
}

/// Metadata that does not end where the longest one would.
fn endless_metadata(mirror: &Mirror) -> Result<Attack> {
    let mut files = mirror.files()?;
    files.get_mut("timestamp.tuf").context("a timestamp")?.resize(4 << 20, 0);
    Ok(Attack {
        name: "endless data (metadata)",
        files,
        version: VERSION,
        check: "metadata-size",
        check_http: "metadata-size",
    })
}

/// A module that does not end where the list says.
fn endless_module(mirror: &Mirror) -> Result<Attack> {
    let mut files = mirror.files()?;
    files.get_mut(&file_of(VERSION)).context("a module")?.extend(vec![0; 4 << 20]);
    Ok(Attack {
        name: "endless data (module)",
        files,
        version: VERSION,
        check: "target-length",
        check_http: "http-wrong-length",
    })
}

/// A list that makes the module need another one than its maker says. The attacker's own key signs it.
fn extraneous_dependencies(mirror: &Mirror) -> Result<Attack> {
    let mut files = mirror.files()?;
    let bytes = files.get(&file_of(VERSION)).context("a module")?.clone();
    let mut manifest = Module::parse(&bytes).map_err(|error| anyhow!("{error}"))?.manifest;
    let service = "storage".try_into().map_err(|_| anyhow!("a name"))?;
    manifest.needs.push(Need { service, optional: false }).map_err(|_| anyhow!("no room for a need"))?;
    let file = file_of(VERSION);
    let target = Target::describe(&file, &bytes, &manifest, "").map_err(|error| anyhow!(error))?;
    let (version, _) = newest(&files, Role::Targets)?;
    let head = Head { version, issued: mirror.now, expires: mirror.now + WEEK_S };
    let own = RsaPrivateKey::new(&mut OsRng, 3072)?;
    let list = Draft::targets(head, &[target])?.sign(&[&own], &mut OsRng)?;
    files.insert(FileName(Role::Targets, version).to_string(), list);
    Ok(Attack {
        name: "extraneous dependencies (a stranger's list)",
        files,
        version: VERSION,
        check: "metadata-mixed",
        check_http: "metadata-mixed",
    })
}

/// The last state for ever: its timestamp has run out.
fn indefinite_freeze(mirror: &Mirror) -> Result<Attack> {
    let mut files = mirror.files()?;
    let snapshot = newest(&files, Role::Snapshot)?;
    let head = Head { version: 1000, issued: mirror.now - 2 * WEEK_S, expires: mirror.now - WEEK_S };
    let named = reference(snapshot.0, &snapshot.1);
    put(mirror, &mut files, Role::Timestamp, &Draft::pointer(Role::Timestamp, head, named), 0)?;
    Ok(Attack {
        name: "indefinite freeze",
        files,
        version: VERSION,
        check: "metadata-expired",
        check_http: "metadata-expired",
    })
}

/// A mirror that hands out some files and keeps others.
fn malicious_mirror(mirror: &Mirror) -> Result<Attack> {
    let mut files = mirror.files()?;
    let (version, _) = newest(&files, Role::Snapshot)?;
    files.remove(&FileName(Role::Snapshot, version).to_string());
    Ok(Attack {
        name: "malicious mirror",
        files,
        version: VERSION,
        check: "metadata-missing",
        check_http: "metadata-missing",
    })
}

/// The new timestamp, and under the name that it asks for the snapshot before.
fn mix_and_match(mirror: &Mirror) -> Result<Attack> {
    let mut files = mirror.files()?;
    let (version, _) = newest(&files, Role::Snapshot)?;
    let old =
        files.get(&FileName(Role::Snapshot, version - 1).to_string()).context("an older snapshot")?.clone();
    files.insert(FileName(Role::Snapshot, version).to_string(), old);
    Ok(Attack {
        name: "mix and match",
        files,
        version: VERSION,
        check: "metadata-mixed",
        check_http: "metadata-mixed",
    })
}

/// One of three root keys was stolen; two must agree. The thief makes a root that gives every role to a key of his.
fn key_compromise(mirror: &Mirror) -> Result<Attack> {
    let mut files = mirror.files()?;
    let thief = RsaPrivateKey::new(&mut OsRng, 3072)?;
    let own = modulus(&thief.to_public_key())?;
    let keys = [&own[..]];
    let head = Head { version: 3, issued: mirror.now, expires: mirror.now + WEEK_S };
    let root = write::root(head, true, [RoleSpec { threshold: 1, keys: &keys }; 4])?;
    let roots = mirror.keys.roots().map_err(|error| anyhow!("{error}"))?;
    let stolen = roots.first().context("a root key")?;
    files.insert("3.root.tuf".to_owned(), Draft::root(&root).sign(&[stolen, &thief], &mut OsRng)?);
    Ok(Attack {
        name: "key compromise below the threshold",
        files,
        version: VERSION,
        check: "metadata-threshold",
        check_http: "metadata-threshold",
    })
}

/// Another signed module under the name of the one that is asked for.
fn wrong_software(mirror: &Mirror) -> Result<Attack> {
    let mut files = mirror.files()?;
    let other = files.get(&file_of(OTHER)).context("a module")?.clone();
    files.insert(file_of(VERSION), other);
    Ok(Attack {
        name: "wrong software (another file under the name)",
        files,
        version: VERSION,
        check: "target-length",
        check_http: "http-wrong-length",
    })
}

/// Whoever stole the online keys signs the highest versions that there are, so that nothing comes after them. That much is taken: the keys are
/// right. The owner then exchanges them, and the versions begin anew.
pub(super) fn fast_forward(mirror: &Mirror, scene: &Scene<'_>) -> Result<()> {
    let mut pushed = mirror.files()?;
    let list = newest(&pushed, Role::Targets)?;
    let head = Head { version: u32::MAX, issued: mirror.now, expires: mirror.now + WEEK_S };
    let draft = Draft::pointer(Role::Snapshot, head, reference(list.0, &list.1));
    let snapshot = put(mirror, &mut pushed, Role::Snapshot, &draft, u32::MAX)?;
    let draft = Draft::pointer(Role::Timestamp, head, reference(u32::MAX, &snapshot));
    put(mirror, &mut pushed, Role::Timestamp, &draft, 0)?;
    scene.show(&pushed)?;
    until(WRITTEN, || {
        let trusted = scene.trusted()?;
        ensure!(trusted.timestamp == u32::MAX, "trusted: {trusted:?}");
        Ok(())
    })?;
    let (before, noted) = (scene.trusted()?, last_note(scene.console)?);
    // What the owner publishes is now refused: the attack.
    mirror.publish()?;
    scene.show(&mirror.files()?)?;
    let refused = scene.refused(VERSION)?;
    ensure!(refused.code == "metadata-rollback", "{refused}");
    scene.untouched(before, noted, &refused.code)?;
    // Recovery.
    let roles = [Role::Timestamp, Role::Snapshot];
    mirror
        .repository
        .rotate(&roles, None, mirror.now, Lives::default())
        .map_err(|error| anyhow!("{error}"))?;
    scene.accepted(&mirror.good()?)?;
    let after = scene.trusted()?;
    ensure!(after.root == 3 && after.timestamp < 1000, "after the recovery: {after:?}");
    // The stolen keys are of no use any more.
    let noted = last_note(scene.console)?;
    let mut again = mirror.files()?;
    again.insert("timestamp.tuf".to_owned(), pushed.get("timestamp.tuf").context("a timestamp")?.clone());
    scene.show(&again)?;
    let refused = scene.refused(VERSION)?;
    ensure!(refused.code == "metadata-threshold", "{refused}");
    scene.untouched(after, noted, &refused.code)
}

/// Whoever stole the keys of timestamp, snapshot and list signs a list that says of the good module that it needs another one, so that the victim
/// installs that, too. The module says otherwise.
pub(super) fn signed_dependencies(mirror: &Mirror, scene: &Scene<'_>) -> Result<()> {
    let file = file_of(VERSION);
    let bytes = mirror.files()?.get(&file).context("a module")?.clone();
    let mut manifest = Module::parse(&bytes).map_err(|error| anyhow!("{error}"))?.manifest;
    let service = "storage".try_into().map_err(|_| anyhow!("a name"))?;
    manifest.needs.push(Need { service, optional: false }).map_err(|_| anyhow!("no room for a need"))?;
    lie(mirror, scene, (&bytes, &manifest, &signer_of(&bytes)?), "target-dependencies")
}

/// The same thief lists another signed module, with its right length and digest, as the one that is asked for.
pub(super) fn signed_wrong_software(mirror: &Mirror, scene: &Scene<'_>) -> Result<()> {
    let files = mirror.files()?;
    let good = files.get(&file_of(VERSION)).context("a module")?;
    let manifest = Module::parse(good).map_err(|error| anyhow!("{error}"))?.manifest;
    let other = files.get(&file_of(OTHER)).context("a module")?;
    lie(mirror, scene, (other, &manifest, &signer_of(other)?), "target-identity")
}

/// The same thief says that somebody whom the operator trusts signed and published a module: that is shown while it is only offered.
pub(super) fn signed_names(mirror: &Mirror, scene: &Scene<'_>) -> Result<()> {
    let bytes = mirror.files()?.get(&file_of(VERSION)).context("a module")?.clone();
    let mut manifest = Module::parse(&bytes).map_err(|error| anyhow!("{error}"))?.manifest;
    lie(mirror, scene, (&bytes, &manifest, TRUSTED_NAME), "target-signer")?;
    manifest.publisher = TRUSTED_NAME.parse().map_err(|_| anyhow!("a name"))?;
    lie(mirror, scene, (&bytes, &manifest, &signer_of(&bytes)?), "target-publisher")
}

fn signer_of(module: &[u8]) -> Result<String> {
    let container = Container::parse(module).map_err(|error| anyhow!("{error}"))?;
    let block = SignatureBlock::find(&container).map_err(|error| anyhow!("{error}"))?;
    Ok(stated_signer(&block).map_err(|error| anyhow!("{error}"))?.to_string())
}

/// Shows a state whose list, signed with the right keys, names `bytes` as the module of `manifest`, signed by `signer`; then the owner publishes again.
fn lie(
    mirror: &Mirror,
    scene: &Scene<'_>,
    (bytes, manifest, signer): (&[u8], &Manifest, &str),
    check: &str,
) -> Result<()> {
    let (mut files, file, noted) = (mirror.files()?, file_of(VERSION), last_note(scene.console)?);
    let timestamp = mirror.good()?.timestamp + 1;
    let target = Target::describe(&file, bytes, manifest, signer).map_err(|error| anyhow!(error))?;
    let next = |role| Ok::<_, anyhow::Error>(newest(&mirror.files()?, role)?.0 + 1);
    let (list, snapshot) = (next(Role::Targets)?, next(Role::Snapshot)?);
    let head = |version| Head { version, issued: mirror.now, expires: mirror.now + WEEK_S };
    let draft = Draft::targets(head(list), &[target])?;
    let signed = put(mirror, &mut files, Role::Targets, &draft, list)?;
    let draft = Draft::pointer(Role::Snapshot, head(snapshot), reference(list, &signed));
    let signed = put(mirror, &mut files, Role::Snapshot, &draft, snapshot)?;
    let draft = Draft::pointer(Role::Timestamp, head(timestamp), reference(snapshot, &signed));
    put(mirror, &mut files, Role::Timestamp, &draft, 0)?;
    files.insert(file, bytes.to_vec());
    // The owner finds these in the repository, and goes on from their versions.
    for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with(".tuf")) {
        std::fs::write(mirror.repository.metadata().join(name), bytes)?;
    }
    scene.show(&files)?;
    let refused = scene.refused(VERSION)?;
    ensure!(refused.code == check, "{refused}; the check {check} was due");
    let after = scene.trusted()?;
    ensure!((after.timestamp, after.targets) == (timestamp, list), "trusted: {after:?}");
    scene.untouched(after, noted, check)?;
    mirror.publish()?;
    scene.accepted(&mirror.good()?)
}

/// Signs a draft with the key of its role and puts it among the files.
fn put(mirror: &Mirror, files: &mut Files, role: Role, draft: &Draft, version: u32) -> Result<Vec<u8>> {
    let file = draft.sign(&[&mirror.key(role)?], &mut OsRng)?;
    files.insert(FileName(role, version).to_string(), file.clone());
    Ok(file)
}

/// Version and bytes of the newest file of a role.
fn newest(files: &Files, role: Role) -> Result<(u32, Vec<u8>)> {
    let ending = format!(".{role}.tuf");
    let versions =
        files.iter().filter_map(|(name, bytes)| Some((name.strip_suffix(&ending)?.parse().ok()?, bytes)));
    let (version, bytes) = versions.max_by_key(|(version, _): &(u32, _)| *version).context("no such file")?;
    Ok((version, bytes.clone()))
}
