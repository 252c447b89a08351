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

/// The images that were built.
#[derive(Debug, Default)]
pub struct Images {
    /// The kernel.
    pub kernel: PathBuf,
    /// The boot archive of each profile, or why it could not be built.
    pub archives: BTreeMap<String, Result<PathBuf, String>>,
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
    /// `machine.disks[0]`, as it was built. A clone of the machine boots over what the first one left there.
    pub fn machine(&self) -> Result<Machine> {
        let archive = self.images.archives.get(self.profile);
        let archive = archive.with_context(|| format!("profile {} was not built", self.profile))?;
        let archive = archive.as_ref().map_err(|why| anyhow!("profile {}: {why}", self.profile))?;
        let mut machine = Machine::new(&self.images.kernel);
        machine.archive = Some(archive.clone());
        let images = archive.parent().unwrap_or(Path::new("."));
        let repository = disk::repository_path(images, self.profile);
        if repository.is_file() {
            let number = self.disks.fetch_add(1, Ordering::Relaxed) + 1;
            let own = self.file(&format!("{number}-{}", disk::IMAGE))?;
            disk::copy(&repository, &own)?;
            machine.disks.push(own);
        }
        Ok(machine)
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
