//! The files that are tried in every test run: `corpus/TARGET/*`, and the test vectors of the module format for targets that read such files.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::Target;

/// Longest file of the corpus: larger ones are slow to try and say nothing more.
pub const MAX_FILE_BYTES: u64 = 16 * 1024;

/// The folder of a target.
#[must_use]
pub fn folder(target: &Target) -> PathBuf {
    here().join("corpus").join(target.name)
}

/// The test vectors of the module format, which are files of the corpus, too.
#[must_use]
pub fn vectors() -> PathBuf {
    here().join("../../docs/spec/vectors")
}

/// What belongs to this package.
#[must_use]
pub fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files that a target is tried with, in the order of their names; none if it has no folder and wants no vectors.
///
/// # Errors
/// A folder or file that cannot be read.
pub fn files(target: &Target) -> io::Result<Vec<PathBuf>> {
    let mut files = list(&folder(target))?;
    if !target.vectors.is_empty() {
        let ends =
            |file: &PathBuf| file.extension().is_some_and(|end| target.vectors.iter().any(|of| end == *of));
        files.extend(list(&vectors())?.into_iter().filter(ends));
    }
    Ok(files)
}

fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut files =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    files.retain(|file| file.is_file());
    files.sort();
    Ok(files)
}
