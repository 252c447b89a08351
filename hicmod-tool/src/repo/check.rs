//! A repository looked at as a client would: the walk through its metadata, then each module.

use std::io::ErrorKind;

use hic_hicmod::{Module, RevocationList, TrustRoot, verify};
use hic_tuf::{Client, FileName, Next, Refused, Role, Trusted};
use serde::Serialize;

use super::{RepoError, Repository, Work, signer_of};

/// What a client learns.
#[derive(Debug, Clone, Serialize)]
pub struct Checked {
    /// Versions of the four roles.
    pub root: u32,
    /// See [`Self::root`].
    pub timestamp: u32,
    /// See [`Self::root`].
    pub snapshot: u32,
    /// See [`Self::root`].
    pub targets: u32,
    /// The last second at which all of it is believed, since 1970, UTC.
    pub expires: u64,
    /// Whether systems may also use modules that are not listed.
    pub unlisted_allowed: bool,
    /// The modules.
    pub modules: Vec<CheckedModule>,
    /// Files in `targets/` that no metadata names: not published yet, or named so that they cannot be.
    pub not_published: Vec<String>,
}

/// A module of the list.
#[derive(Debug, Clone, Serialize)]
pub struct CheckedModule {
    /// Name of the file.
    pub file: String,
    /// Name of the module.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Bytes of the file.
    pub length: u32,
    /// SHA-384 of the file.
    pub digest: String,
    /// Anti-rollback epoch.
    pub epoch: u32,
    /// What it needs.
    pub dependencies: Vec<String>,
    /// Common name of the signer, if the signature was checked.
    pub signer: Option<String>,
}

impl Repository {
    /// Walks through the metadata as a new client at the time `now` would, and compares each module with its entry. With a root certificate, the
    /// modules' own signatures are checked, too.
    ///
    /// # Errors
    /// [`RepoError`]: the first thing that a client would refuse.
    pub fn check(&self, now: u64, root: Option<&TrustRoot>) -> Result<Checked, RepoError> {
        let mut read = Vec::new();
        // The files are read before the walk, which borrows them: names that the walk may ask for are known only on the way, so it is walked
        // once for each file.
        loop {
            match self.walk(&read, now, root)? {
                Walk::Wants(name) => {
                    read.push((name, std::fs::read(self.metadata().join(name.to_string())).ok()))
                }
                Walk::Done(checked) => return Ok(checked),
            }
        }
    }

    fn walk(
        &self,
        read: &[(FileName, Option<Vec<u8>>)],
        now: u64,
        root: Option<&TrustRoot>,
    ) -> Result<Walk, RepoError> {
        let path = self.metadata().join(FileName(Role::Root, 1).to_string());
        let installed = std::fs::read(&path).map_err(RepoError::file(&path))?;
        let mut client = Client::new(&installed, Trusted::default(), now).map_err(RepoError::Refused)?;
        let mut files = read.iter();
        loop {
            let wanted = client.wanted();
            let name = FileName(wanted.role, wanted.version);
            let Some((_, bytes)) = files.next() else { return Ok(Walk::Wants(name)) };
            match client.give(bytes.as_deref()).map_err(|error: Refused| RepoError::Refused(error))? {
                Next::More(next) => client = next,
                Next::Done(current) => return self.modules_of(&current, now, root).map(Walk::Done),
            }
        }
    }

    fn modules_of(
        &self,
        current: &hic_tuf::Current<'_>,
        now: u64,
        root: Option<&TrustRoot>,
    ) -> Result<Checked, RepoError> {
        let mut modules = Vec::new();
        let mut parts = self.keys.parts(Work::CheckModules, current.targets.iter().count());
        for target in current.targets.iter() {
            parts.next();
            let path = self.targets().join(target.file);
            let bytes = std::fs::read(&path).map_err(|error| match error.kind() {
                // A system that asks for it would be told the same.
                ErrorKind::NotFound => RepoError::Missing(path.clone()),
                _ => RepoError::File(path.clone(), error),
            })?;
            let wrong = |error| RepoError::Target(path.clone(), error);
            target.check_bytes(&bytes).map_err(wrong)?;
            let problem = |error: String| RepoError::Module(path.clone(), error);
            let module = Module::parse(&bytes).map_err(|error| problem(error.to_string()))?;
            target.check_module(&module.manifest, &signer_of(&bytes).map_err(problem)?).map_err(wrong)?;
            let signer = match root {
                None => None,
                Some(root) => {
                    let none = RevocationList::parse(&[]).map_err(|error| problem(error.to_string()))?;
                    let verified =
                        verify(&bytes, root, now, &none).map_err(|error| problem(error.to_string()))?;
                    Some(verified.signer().to_string())
                }
            };
            modules.push(CheckedModule {
                file: target.file.to_owned(),
                name: target.name.to_owned(),
                version: target.version.to_string(),
                length: target.length,
                digest: target.digest.to_string(),
                epoch: target.epoch,
                dependencies: target
                    .dependencies
                    .iter()
                    .map(|d| format!("{} {}", d.module, d.version))
                    .collect(),
                signer,
            });
        }
        let known = |name: &String| current.targets.find(name).is_some();
        let entries = std::fs::read_dir(self.targets()).map_err(RepoError::file(&self.targets()))?;
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut not_published: Vec<String> = names.filter(|name| !known(name)).collect();
        not_published.sort_unstable();
        let Trusted { root, timestamp, snapshot, targets, .. } = current.trusted;
        let (expires, unlisted_allowed) = (current.expires, current.unlisted);
        Ok(Checked { root, timestamp, snapshot, targets, expires, unlisted_allowed, modules, not_published })
    }
}

#[allow(clippy::large_enum_variant, reason = "made and taken apart once for each file")]
enum Walk {
    Wants(FileName),
    Done(Checked),
}
