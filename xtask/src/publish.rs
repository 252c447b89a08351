//! The development repository: signed metadata for the modules of each profile, with keys that are made on first use.
//!
//! ```text
//!   target/hic/repository-root/          metadata/1.root.tuf: what every boot archive with a verifier trusts
//!             /repository-root.keys/     its keys, never committed
//!             /PROFILE/published/        metadata/ and targets/ of one profile's repository
//! ```
//! Systems that trust this root may also use modules that nobody published: `mcopy` is enough, and the console says so. What it must never do: sign
//! a release. Whoever ships modules makes a repository with `hicmod-tool repo init`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use hicmod_tool::repo::{InitOptions, KeyFolder, Lives, METADATA, Repository, TARGETS, default_keys};

use crate::signing::now;

/// The root that all profiles share.
const ROOT: &str = "1.root.tuf";
/// Metadata that expires sooner is made again: a machine that is booted now may run for a while.
const SPARE_S: u64 = 7 * 86_400;
/// For development; releases are signed for shorter times.
const LIVES: Lives = Lives { root: 3650, targets: 365, snapshot: 365, timestamp: 365 };
/// Keys of the root, and how many must agree on the next one: as a release has them, so that tests of it are tests of this.
const ROOT_KEYS: (u8, u8) = (3, 2);

/// The folder of the shared root; `images` is `target/hic`.
pub fn root_folder(images: &Path) -> PathBuf {
    images.join("repository-root")
}

/// The root file of the development repositories, made on first use.
pub fn root(images: &Path) -> Result<Vec<u8>> {
    let folder = root_folder(images);
    let path = folder.join(METADATA).join(ROOT);
    if !path.exists() {
        println!("making a development repository's keys in {}", default_keys(&folder).display());
        let (root_keys, threshold) = ROOT_KEYS;
        let options = InitOptions { root_keys, threshold, unlisted: true, lives: LIVES, now: now()? };
        // Not encrypted: nobody is there to type a passphrase, and no system but this machine's trusts them.
        let keys = KeyFolder::plain(&default_keys(&folder));
        Repository::init(&folder, keys, options).map_err(|error| anyhow!("{error}"))?;
    }
    std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The metadata files for these modules (name in the repository, path on the host). Those of last time, if they still fit and last.
pub fn publish(
    images: &Path,
    profile: &str,
    modules: &[(String, PathBuf)],
) -> Result<Vec<(String, PathBuf)>> {
    let folder = images.join(profile).join("published");
    let root = root(images)?;
    let repository = open(&folder, images, &root)?;
    let changed = fill(&repository.targets(), modules)?;
    let lasts =
        repository.check(now()? + SPARE_S, None).is_ok_and(|checked| checked.not_published.is_empty());
    if changed || !lasts {
        // A version is built again and again here, and no system but this machine's has the list before.
        repository
            .publish_rebuilt(now()?, LIVES)
            .map_err(|error| anyhow!("development repository: {error}"))?;
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(repository.metadata())? {
        let path = entry?.path();
        // A file under way to its place, which a publication that was killed may leave, has another ending.
        if path.extension().is_none_or(|ending| ending != "tuf") {
            continue;
        }
        files.push((path.file_name().unwrap_or_default().to_string_lossy().into_owned(), path));
    }
    files.sort();
    Ok(files)
}

/// The repository in `folder`, made anew if it is of another root.
fn open(folder: &Path, images: &Path, root: &[u8]) -> Result<Repository> {
    let own = folder.join(METADATA).join(ROOT);
    if !std::fs::read(&own).is_ok_and(|found| found == root) {
        let _ = std::fs::remove_dir_all(folder);
        for part in [METADATA, TARGETS] {
            std::fs::create_dir_all(folder.join(part))?;
        }
        std::fs::write(&own, root).with_context(|| format!("cannot write {}", own.display()))?;
    }
    let keys = KeyFolder::plain(&default_keys(&root_folder(images)));
    Repository::open(folder, keys).map_err(|error| anyhow!("development repository: {error}"))
}

/// Makes `folder` hold exactly these files; whether it held others.
fn fill(folder: &Path, modules: &[(String, PathBuf)]) -> Result<bool> {
    let mut changed = false;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !modules.iter().any(|(module, _)| *module == name) {
            std::fs::remove_file(&path)?;
            changed = true;
        }
    }
    for (name, from) in modules {
        let bytes = std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        let path = folder.join(name);
        if !std::fs::read(&path).is_ok_and(|found| found == bytes) {
            std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
            changed = true;
        }
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_published_again_only_when_its_modules_change() {
        let images = tempfile::tempdir().expect("a folder");
        let names =
            |files: &[(String, PathBuf)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let read =
            |files: &[(String, PathBuf)]| std::fs::read(&files.last().expect("a timestamp").1).expect("read");
        let first = publish(images.path(), "p", &[]).expect("published");
        assert_eq!(names(&first), ["1.root.tuf", "1.snapshot.tuf", "1.targets.tuf", "timestamp.tuf"]);
        let again = publish(images.path(), "p", &[]).expect("kept");
        assert_eq!(read(&again), read(&first));
        // Another profile has a repository of its own under the same root.
        let other = publish(images.path(), "q", &[]).expect("published");
        assert_eq!(std::fs::read(&other[0].1).expect("read"), root(images.path()).expect("read"));
        // Something that is no module is not published.
        let text = images.path().join("x");
        std::fs::write(&text, "no module").expect("written");
        assert!(publish(images.path(), "p", &[("x-1.0.0.hicmod".to_owned(), text)]).is_err());
    }
}
