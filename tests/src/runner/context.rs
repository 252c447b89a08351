//! What a system test is given: images, a place for its logs, and machines that end with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow};

use crate::disk;
use crate::net::Network;
use crate::process::Killer;
use crate::qemu::{Machine, Proto};
use crate::vm::{Vm, VmOptions};

/// A boot archive and the kernel that starts it.
#[derive(Clone, Debug)]
pub struct BootFiles {
    /// The kernel, bound to this archive.
    pub kernel: PathBuf,
    /// The archive.
    pub archive: PathBuf,
}

impl BootFiles {
    /// Writes a copy of the kernel that is bound to this archive to `bound`.
    pub fn bind(kernel: &Path, archive: &Path, bound: &Path) -> Result<Self> {
        let read =
            |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        let bytes = hicmod_tool::bind(&read(kernel)?, &read(archive)?)
            .map_err(|error| anyhow!("{} with {}: {error}", kernel.display(), archive.display()))?;
        std::fs::write(bound, bytes).with_context(|| format!("cannot write {}", bound.display()))?;
        Ok(Self { kernel: bound.to_owned(), archive: archive.to_owned() })
    }

    /// A machine that boots them.
    #[must_use]
    pub fn machine(&self) -> Machine {
        Machine { archive: Some(self.archive.clone()), ..Machine::new(&self.kernel) }
    }
}

/// The images that were built.
#[derive(Debug, Default)]
pub struct Images {
    /// What each profile boots, or why it could not be built.
    pub profiles: BTreeMap<String, Result<BootFiles, String>>,
    /// The ISO image of a profile whose test [needs](super::Needs::Medium) one, or why it could not be built.
    pub media: BTreeMap<String, Result<PathBuf, String>>,
}

/// One test's view of the world.
#[derive(Debug)]
pub struct TestContext {
    name: &'static str,
    profile: &'static str,
    log_dir: PathBuf,
    images: Arc<Images>,
    killers: Arc<Mutex<Vec<Killer>>>,
    notes: Vec<String>,
    boots: usize,
    disks: AtomicUsize,
}

impl TestContext {
    pub(super) fn new(
        name: &'static str,
        profile: &'static str,
        log_dir: PathBuf,
        images: Arc<Images>,
    ) -> Self {
        let (killers, notes, disks) = (Arc::default(), Vec::new(), AtomicUsize::new(0));
        Self { name, profile, log_dir, images, killers, notes, boots: 0, disks }
    }

    pub(super) fn killers(&self) -> Arc<Mutex<Vec<Killer>>> {
        Arc::clone(&self.killers)
    }

    pub(super) fn into_notes(self) -> Vec<String> {
        self.notes
    }

    /// The test's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The test's own folder, which is kept: for captures and the like.
    pub fn file(&self, name: &str) -> Result<PathBuf> {
        std::fs::create_dir_all(&self.log_dir)?;
        Ok(self.log_dir.join(name))
    }

    /// The test's own folder.
    #[must_use]
    pub fn log_dir(&self) -> &Path {
        &self.log_dir
    }

    /// Adds a line to the report.
    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// A machine with the kernel and the boot archive of the test's profile, and, if the profile has one, a repository disk of its own:
    /// `machine.disks[0]`, as it was built, and an empty system disk. A clone of the machine boots over what the first one left there.
    pub fn machine(&self) -> Result<Machine> {
        let files = self.built(&self.images.profiles)?;
        let mut machine = files.machine();
        let images = files.archive.parent().unwrap_or(Path::new("."));
        let repository = disk::repository_path(images, self.profile);
        if repository.is_file() {
            let number = self.disks.fetch_add(1, Ordering::Relaxed) + 1;
            let own = self.file(&format!("{number}-{}", disk::IMAGE))?;
            disk::copy(&repository, &own)?;
            machine.disks.push(own);
            let system = self.file(&format!("{number}-{}", disk::SYSTEM_IMAGE))?;
            disk::create(&system, &[])?;
            machine.system = Some(system);
        }
        Ok(machine)
    }

    /// The ISO image of the test's profile.
    pub fn medium(&self) -> Result<&Path> {
        self.built(&self.images.media).map(PathBuf::as_path)
    }

    fn built<'a, T>(&self, images: &'a BTreeMap<String, Result<T, String>>) -> Result<&'a T> {
        let image = images.get(self.profile);
        let image = image.with_context(|| format!("profile {} was not built", self.profile))?;
        image.as_ref().map_err(|why| anyhow!("profile {}: {why}", self.profile))
    }

    /// Lets `machine` boot another archive, with a kernel that is bound to it.
    pub fn boot_archive(&self, machine: &mut Machine, archive: &[u8]) -> Result<()> {
        let file = self.file("boot.archive")?;
        std::fs::write(&file, archive)?;
        let files = BootFiles::bind(&machine.kernel, &file, &self.file("core0")?)?;
        (machine.kernel, machine.archive) = (files.kernel, Some(files.archive));
        Ok(())
    }

    /// Boots `machine` on `network` with `ports` of the guest within reach. Ends with the value that is returned, or
    /// with the test's time.
    pub fn boot(
        &mut self,
        machine: Machine,
        network: Option<&Network>,
        ports: &[(Proto, u16)],
    ) -> Result<Vm> {
        self.boots += 1;
        let tag = if self.boots == 1 { String::new() } else { format!("{}-", self.boots) };
        let options = VmOptions { machine, ports: ports.to_vec(), log_dir: self.log_dir.clone(), tag };
        let vm = Vm::boot(options, network)?;
        self.killers.lock().unwrap_or_else(PoisonError::into_inner).push(vm.killer());
        Ok(vm)
    }
}
