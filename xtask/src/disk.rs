//! The disks of a profile: the repository disk, with modules that can be installed while the system runs, and the system disk, with what the guest keeps.
//!
//! ```text
//!   target/hic/PROFILE/repository.img   as it was built, with no record: each test boots a copy of its own
//!                     /run.img          what `cargo xtask run` boots
//!                     /run-system.img   its system disk: the record outlives the machine
//! ```
//! All are made again when a module changes. A second `run` at the same time gets a copy that ends with it.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hic_tests::disk;
use sha2::{Digest, Sha256};

use crate::image::Builder;
use crate::profiles::Profiles;
use crate::publish;

/// The package that drives the disk.
const STORAGE: &str = "storage";

/// Builds the modules of a profile's repository, and the disk with them; `None` if nobody in the profile would look at it.
pub fn of_profile(builder: &mut Builder, profile: &str) -> Result<Option<PathBuf>> {
    let images = builder.workspace.target_directory.join("hic");
    let image = disk::repository_path(&images, profile);
    if !Profiles::load()?.profile(profile)?.boot.iter().any(|entry| entry.package == STORAGE) {
        let _ = std::fs::remove_file(&image);
        return Ok(None);
    }
    let made = builder.repository(profile).and_then(|paths| {
        let mut files = named(paths);
        files.extend(publish::publish(&images, profile, &files)?);
        repository(&image, &files)
    });
    // A test must not boot with the modules of yesterday.
    made.map(Some).inspect_err(|_| drop(std::fs::remove_file(&image)))
}

/// Each file with the name that it has in the repository.
fn named(paths: Vec<PathBuf>) -> Vec<(String, PathBuf)> {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    paths.into_iter().map(|path| (name(&path), path)).collect()
}

/// The image with these files (name in the repository, path on the host). Made only if the files are others than last time.
fn repository(image: &Path, files: &[(String, PathBuf)]) -> Result<PathBuf> {
    let digest = digest(files)?;
    if is_of(image, &digest) {
        return Ok(image.to_owned());
    }
    // Under another name first: whoever copies the image finds the old one or the new one.
    let unfinished = image.with_extension(format!("{}.tmp", std::process::id()));
    disk::create(&unfinished, files)?;
    std::fs::rename(&unfinished, image).with_context(|| format!("cannot make {}", image.display()))?;
    sign_off(image, &digest)?;
    println!("repository {} ({} files)", image.display(), files.len());
    Ok(image.to_owned())
}

/// The disk of one `cargo xtask run`; nobody else uses it as long as this lives.
#[derive(Debug)]
pub struct RunDisk {
    /// The image.
    pub image: PathBuf,
    /// The image of the system disk that goes with it.
    pub system: PathBuf,
    _lock: Option<File>,
}

/// The disk for a run: the one that the last run left, or one of its own in `private` if another run has that.
pub fn for_run(repository: &Path, private: &Path) -> Result<RunDisk> {
    let image = repository.with_file_name("run.img");
    let system = repository.with_file_name("run-system.img");
    let lock = File::create(image.with_extension("lock")).context("cannot lock the disk")?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let image = private.join(disk::IMAGE);
            let system = private.join(disk::SYSTEM_IMAGE);
            disk::copy(repository, &image)?;
            disk::create(&system, &[])?;
            println!(
                "another machine runs on the disk of this profile: this one has a new disk, which ends with it"
            );
            return Ok(RunDisk { image, system, _lock: None });
        }
        Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the disk"),
    }
    let digest = std::fs::read_to_string(stamp(repository)).unwrap_or_default();
    if digest.is_empty() || !is_of(&image, &digest) || !system.is_file() {
        let _ = std::fs::remove_file(stamp(&image));
        disk::create(&system, &[])?;
        disk::copy(repository, &image)?;
        sign_off(&image, &digest)?;
    }
    Ok(RunDisk { image, system, _lock: Some(lock) })
}

/// Says by names and contents whether an image is the one for these files.
fn digest(files: &[(String, PathBuf)]) -> Result<String> {
    let mut all = Sha256::new();
    for (name, path) in files {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        all.update(Sha256::digest(name));
        all.update(Sha256::digest(bytes));
    }
    Ok(all.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Where it is written which files an image was made of.
fn stamp(image: &Path) -> PathBuf {
    image.with_extension("sha256")
}

fn is_of(image: &Path, digest: &str) -> bool {
    image.is_file() && std::fs::read_to_string(stamp(image)).is_ok_and(|found| found == digest)
}

fn sign_off(image: &Path, digest: &str) -> Result<()> {
    std::fs::write(stamp(image), digest).with_context(|| format!("cannot write beside {}", image.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(folder: &Path, text: &str) -> Vec<(String, PathBuf)> {
        let path = folder.join("module");
        std::fs::write(&path, text).expect("written");
        vec![("a-1.0.0.hicmod".to_owned(), path)]
    }

    #[test]
    fn an_image_is_made_again_only_when_a_module_in_it_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let image = repository(&folder.path().join("p").join(disk::IMAGE), &module(folder.path(), "one"))
            .expect("made");
        disk::put(&image, "mark", b"").expect("marked");
        repository(&folder.path().join("p").join(disk::IMAGE), &module(folder.path(), "one")).expect("kept");
        assert!(disk::get(&image, "mark").is_ok());
        repository(&folder.path().join("p").join(disk::IMAGE), &module(folder.path(), "two"))
            .expect("made again");
        assert!(disk::get(&image, "mark").is_err());
        assert_eq!(disk::get(&image, "a-1.0.0.hicmod").expect("there"), b"two");
    }

    #[test]
    fn what_a_guest_wrote_is_there_in_the_next_run_and_gone_with_other_modules() {
        let folder = tempfile::tempdir().expect("a folder");
        let pristine = repository(&folder.path().join("p").join(disk::IMAGE), &module(folder.path(), "one"))
            .expect("made");
        let run = for_run(&pristine, folder.path()).expect("a disk");
        disk::put(&run.system, "record", b"").expect("written");
        drop(run);
        let run = for_run(&pristine, folder.path()).expect("the same disk");
        assert!(disk::get(&run.system, "record").is_ok());
        drop(run);
        repository(&folder.path().join("p").join(disk::IMAGE), &module(folder.path(), "two"))
            .expect("made again");
        let run = for_run(&pristine, folder.path()).expect("a new disk");
        assert!(disk::get(&run.system, "record").is_err());
    }

    #[test]
    fn two_runs_at_once_do_not_share_a_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let pristine = repository(&folder.path().join("p").join(disk::IMAGE), &module(folder.path(), "one"))
            .expect("made");
        let first = for_run(&pristine, folder.path()).expect("a disk");
        let private = tempfile::tempdir().expect("a folder");
        let second = for_run(&pristine, private.path()).expect("another disk");
        assert_ne!(first.image, second.image);
        assert_ne!(first.system, second.system);
        assert!(second.image.starts_with(private.path()));
    }
}
