//! A repository of the test's own under the root that the system trusts, and the disk that a guest runs on.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, ensure};
use hic_tuf::Role;
use hicmod_tool::repo::{KeyFolder, Lives, METADATA, Repository, TARGETS};
use rsa::RsaPrivateKey;

use crate::disk;
use crate::runner::TestContext;

/// The module of the repository: the good version, and another one whose bytes are those of a signed module, too.
pub(super) const VERSION: &str = "1.3.0";
pub(super) const OTHER: &str = "1.3.1";

/// Where the root of development repositories and its keys lie, in the folder of images (`xtask/src/publish.rs`).
const ROOT: &str = "repository-root";

/// Files of the repository's folder on the disk, by their names.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// A published state.
pub(super) struct State {
    pub(super) files: Files,
    pub(super) version: &'static str,
    pub(super) targets: u32,
    pub(super) timestamp: u32,
}

/// The repository and the disk.
pub(super) struct Mirror {
    pub(super) repository: Repository,
    pub(super) keys: KeyFolder,
    pub(super) now: u64,
}

impl Mirror {
    /// A repository with two versions, taken from `disk`, whose second root allows no module that is not listed.
    pub(super) fn new(context: &TestContext, images: &Path, disk: &Path) -> Result<Self> {
        let (folder, keys) = (context.file("mirror")?, context.file("mirror.keys")?);
        for part in [METADATA, TARGETS] {
            std::fs::create_dir_all(folder.join(part))?;
        }
        // The keys are copied: this test exchanges some.
        let shared = images.join(format!("{ROOT}.keys"));
        let copied = Command::new("cp").arg("-a").arg(&shared).arg(&keys).status()?;
        ensure!(copied.success(), "cannot copy {}", shared.display());
        let root =
            std::fs::read(images.join(ROOT).join(METADATA).join("1.root.tuf")).context("the trusted root")?;
        std::fs::write(folder.join(METADATA).join("1.root.tuf"), root)?;
        for version in [VERSION, OTHER] {
            let file = file_of(version);
            std::fs::write(folder.join(TARGETS).join(&file), disk::get(disk, &file)?)?;
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let repository =
            Repository::open(&folder, KeyFolder::plain(&keys)).map_err(|error| anyhow!("{error}"))?;
        repository.rotate(&[], Some(false), now, Lives::default()).map_err(|error| anyhow!("{error}"))?;
        Ok(Self { repository, keys: KeyFolder::plain(&keys), now })
    }

    /// What is published now.
    pub(super) fn good(&self) -> Result<State> {
        let checked = self.repository.check(self.now, None).map_err(|error| anyhow!("{error}"))?;
        Ok(State {
            files: self.files()?,
            version: VERSION,
            targets: checked.targets,
            timestamp: checked.timestamp,
        })
    }

    /// Metadata and modules, as they lie in the folder.
    pub(super) fn files(&self) -> Result<Files> {
        let mut files = Files::new();
        for folder in [self.repository.metadata(), self.repository.targets()] {
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                files.insert(name, std::fs::read(path)?);
            }
        }
        Ok(files)
    }

    /// Publishes anew: another timestamp and snapshot. Also after a thief's list, which named other contents.
    pub(super) fn publish(&self) -> Result<()> {
        let published = self.repository.publish_rebuilt(self.now, Lives::default());
        published.map(|_| ()).map_err(|error| anyhow!("{error}"))
    }

    /// A key of the repository.
    pub(super) fn key(&self, role: Role) -> Result<RsaPrivateKey> {
        self.keys.of(role).map_err(|error| anyhow!("{error}"))
    }
}

/// The name of a module's file.
pub(super) fn file_of(version: &str) -> String {
    format!("{}-{version}.hicmod", super::SERVICE)
}
