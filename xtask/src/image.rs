//! Builds what is booted: the kernel, the modules, the boot archives.
//!
//! Each freestanding binary is built by a `cargo build` of its own. One build for all would unify features: a host tool
//! that turns on `std` of a shared crate would break every binary of the guest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use hic_tests::runner::Images;

use crate::cargo::{self, FREESTANDING, Package, Workspace};
use crate::cli::ImageOptions;
use crate::profiles::Profiles;

/// The kernel's package.
const KERNEL: &str = "core0";

/// A module's manifest, beside its `Cargo.toml`.
const MANIFEST: &str = "hicmod.toml";

/// `cargo xtask image`.
pub fn run(options: &ImageOptions) -> Result<()> {
    let mut builder = Builder::new()?;
    let all: Vec<String> = builder.profiles.names().map(str::to_owned).collect();
    let wanted = if options.all { &all } else { &options.profiles };
    println!("kernel {}", builder.kernel()?.display());
    for profile in wanted {
        println!("archive {}", builder.archive(profile)?.display());
    }
    for file in builder.modules.values() {
        println!("module {}", file.path.display());
    }
    Ok(())
}

/// A packed module.
#[derive(Clone, Debug)]
struct Module {
    name: String,
    path: PathBuf,
}

/// Builds each thing once.
#[derive(Debug)]
pub struct Builder {
    /// What the workspace holds.
    pub workspace: Workspace,
    profiles: Profiles,
    modules: BTreeMap<String, Module>,
    locked: bool,
}

impl Builder {
    /// Reads the workspace and the profiles.
    pub fn new() -> Result<Self> {
        let workspace = Workspace::load()?;
        Ok(Self { workspace, profiles: Profiles::load()?, modules: BTreeMap::new(), locked: false })
    }

    /// Refuses to change `Cargo.lock` from now on.
    pub fn lock(&mut self) {
        self.locked = true;
    }

    /// The kernel.
    pub fn kernel(&self) -> Result<PathBuf> {
        build(&self.workspace, self.workspace.package(KERNEL)?, self.locked)
    }

    /// The boot archive of `profile`.
    pub fn archive(&mut self, profile: &str) -> Result<PathBuf> {
        let packages = self.profiles.packages(profile)?.to_vec();
        ensure!(!packages.is_empty(), "profile {profile} names no module");
        let mut contents = Vec::new();
        let mut names = BTreeSet::new();
        for package in packages {
            let module =
                self.module(&package).with_context(|| format!("module {package} of profile {profile}"))?;
            ensure!(
                names.insert(module.name.clone()),
                "two modules of profile {profile} are called {}",
                module.name
            );
            contents.push((module.name, read(&module.path)?));
        }
        let files: Vec<(&str, &[u8])> =
            contents.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
        let archive =
            hicmod_tool::archive(&files).map_err(|error| anyhow!("boot archive of {profile}: {error}"))?;
        let path = self.folder().join(format!("boot-{profile}.archive"));
        write(&path, &archive)?;
        Ok(path)
    }

    /// The kernel and the archives of `profiles`; an archive that cannot be built is reported to those who need it.
    pub fn images<'a>(&mut self, profiles: impl IntoIterator<Item = &'a str>) -> Result<Images> {
        let kernel = self.kernel()?;
        let mut archives = BTreeMap::new();
        for profile in profiles {
            if !archives.contains_key(profile) {
                let archive = self.archive(profile).map_err(|error| format!("{error:#}"));
                archives.insert(profile.to_owned(), archive);
            }
        }
        Ok(Images { kernel, archives })
    }

    /// Where all that is made here lies.
    fn folder(&self) -> PathBuf {
        self.workspace.target_directory.join("hic")
    }

    fn module(&mut self, package: &str) -> Result<Module> {
        if let Some(module) = self.modules.get(package) {
            return Ok(module.clone());
        }
        let found = self.workspace.package(package)?;
        let elf = read(&build(&self.workspace, found, self.locked)?)?;
        let manifest_path = found.folder().join(MANIFEST);
        let text = String::from_utf8(read(&manifest_path)?).context("a manifest is UTF-8 text")?;
        let at = |error| anyhow!("{}: {error}", manifest_path.display());
        let manifest = hicmod_tool::parse_manifest(&text).map_err(at)?;
        let bytes = hicmod_tool::pack(&elf, &text).map_err(at)?;
        // By package, not by module: the guests that boot in the keeper's place are all called keeper.
        let file = format!("{package}-{}.hicmod", manifest.version);
        let module =
            Module { name: manifest.name.to_string(), path: self.folder().join("modules").join(file) };
        write(&module.path, &bytes)?;
        self.modules.insert(package.to_owned(), module.clone());
        Ok(module)
    }
}

/// Builds the binary for the guest of `package` and returns where it is.
fn build(workspace: &Workspace, package: &Package, locked: bool) -> Result<PathBuf> {
    let (name, binary) = (&package.name, package.freestanding_binary()?);
    let started = Instant::now();
    let mut command = cargo::command();
    command.args(["build", "--quiet", "--release", "--package", name, "--bin", binary]);
    command.args(["--features", &format!("{name}/{FREESTANDING}")]);
    if locked {
        command.arg("--locked");
    }
    let status = command.status().context("cannot run cargo")?;
    ensure!(status.success(), "building {name} for the guest failed");
    println!("built {name} ({:.1} s)", started.elapsed().as_secs_f64());
    Ok(workspace.target_directory.join("release").join(binary))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
