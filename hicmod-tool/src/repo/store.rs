//! The metadata files of a repository: which are there, and what comes after them.
//!
//! What it must never do: take a file that cannot be read for one that is not there. Versions would begin anew, and every system that saw a higher
//! one would refuse the repository.

use std::io::ErrorKind;
use std::path::PathBuf;

use hic_tuf::write::{peek, root_of};
use hic_tuf::{FileName, Role, Root};

use super::{RepoError, Repository};

/// Snapshots and targets that stay when newer ones are published.
const KEPT: usize = 2;
/// First version of each role.
const FIRST: u32 = 1;

impl Repository {
    /// Where a metadata file lies.
    pub(super) fn path(&self, name: FileName) -> PathBuf {
        self.metadata().join(name.to_string())
    }

    /// Replaces a metadata file, or writes it.
    pub(super) fn put(&self, name: FileName, bytes: &[u8]) -> Result<(), RepoError> {
        super::write_whole(&self.path(name), bytes)
    }

    /// Versions of the files of a role, ascending.
    fn versions(&self, role: Role) -> Result<Vec<u32>, RepoError> {
        let (folder, ending) = (self.metadata(), format!(".{role}.tuf"));
        let number = |name: std::ffi::OsString| name.to_str()?.strip_suffix(&ending)?.parse::<u32>().ok();
        let mut versions = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(RepoError::file(&folder))? {
            versions.extend(number(entry.map_err(RepoError::file(&folder))?.file_name()));
        }
        versions.sort_unstable();
        Ok(versions)
    }

    /// The newest file of a role and its version, if there is one.
    pub(super) fn newest(&self, role: Role) -> Result<Option<(u32, Vec<u8>)>, RepoError> {
        let Some(version) = self.versions(role)?.pop() else { return Ok(None) };
        let path = self.path(FileName(role, version));
        Ok(Some((version, std::fs::read(&path).map_err(RepoError::file(&path))?)))
    }

    /// The version after those of a role other than timestamp.
    pub(super) fn next_version(&self, role: Role) -> Result<u32, RepoError> {
        match self.versions(role)?.pop() {
            None => Ok(FIRST),
            Some(version) => {
                version.checked_add(1).ok_or(RepoError::Damaged(self.path(FileName(role, version))))
            }
        }
    }

    /// The version after that of the timestamp. It begins anew where there is none to be read and `anew` says that systems forget it: a new key
    /// of timestamp or snapshot.
    pub(super) fn next_timestamp(&self, anew: bool) -> Result<u32, RepoError> {
        let path = self.path(FileName(Role::Timestamp, 0));
        let version = match std::fs::read(&path) {
            Ok(file) => peek(Role::Timestamp, &file).and_then(|head| head.version.checked_add(1)),
            // Until the first one is written nobody has seen any.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                (self.versions(Role::Snapshot)?.last() <= Some(&FIRST)).then_some(1)
            }
            Err(error) => return Err(RepoError::File(path, error)),
        };
        version.or(anew.then_some(1)).ok_or(RepoError::Timestamp(path))
    }

    /// What the newest root says, by `then`.
    pub(super) fn with_root<T>(
        &self,
        then: impl FnOnce(&Root<'_>) -> Result<T, RepoError>,
    ) -> Result<T, RepoError> {
        let (version, file) = self.newest(Role::Root)?.ok_or_else(|| RepoError::None(self.metadata()))?;
        let root = root_of(&file).filter(|root| root.head.version == version);
        then(&root.ok_or_else(|| RepoError::Damaged(self.path(FileName(Role::Root, version))))?)
    }

    /// Removes the files of a role but the newest [`KEPT`].
    pub(super) fn remove_old(&self, role: Role) -> Result<(), RepoError> {
        let versions = self.versions(role)?;
        for version in versions.iter().take(versions.len().saturating_sub(KEPT)) {
            let path = self.path(FileName(role, *version));
            std::fs::remove_file(&path).map_err(RepoError::file(&path))?;
        }
        Ok(())
    }
}
