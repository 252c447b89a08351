//! Files and the clock, with errors that say which file and why.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::failure::Failure;

/// The bytes of the file `path`.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::new(format_args!("cannot read {}: {error}", path.display())))
}

/// Replaces the file `path` as a whole: whoever reads it finds the old bytes or the new ones.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    hicmod_tool::replace(path, bytes)
        .map_err(|error| Failure::new(format_args!("cannot write {}: {error}", path.display())))
}

/// Seconds since 1970, UTC.
pub fn now() -> Result<u64, Failure> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since
        .map(|since| since.as_secs())
        .map_err(|_| Failure::new("the clock of this machine is before 1970; set it"))
}

/// When a module is said to have been built: SOURCE_DATE_EPOCH where it is set (reproducible-builds.org), else now.
pub fn built() -> Result<u64, Failure> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text.parse().map_err(|_| {
            Failure::new(format_args!(
                "SOURCE_DATE_EPOCH is \"{text}\"; it must be a number of seconds since 1970"
            ))
        }),
        Err(_) => now(),
    }
}
