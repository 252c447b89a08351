//! Builds what is booted: the kernel, the modules, the boot archives; and the modules of the repository.
//!
//! Each freestanding binary is built by a `cargo build` of its own. One build for all would unify features: a host tool
//! that turns on `std` of a shared crate would break every binary of the guest.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use hic_policy::{POLICY, Rules};
use hic_tests::runner::{BootFiles, Images, Needs, SystemTest};
use hicmod_tool::{BUILT, REPOSITORY_ROOT, REVOKED, TRUST_ROOT};

use crate::cargo::{self, FREESTANDING, Package, Workspace};
use crate::cli::ImageOptions;
use crate::profiles::{self, Entry, Profiles};
use crate::signing::Signing;
use crate::{deps, iso, publish};

/// The kernel's package.
const KERNEL: &str = "core0";

/// The module that checks signatures. An archive that holds it also holds what it trusts.
const VERIFIER: &str = "verifier";

/// `cargo xtask image`.
pub fn run(options: &ImageOptions) -> Result<()> {
    let mut builder = Builder::new()?;
    let all: Vec<String> = builder.profiles.names().map(str::to_owned).collect();
    let wanted = if options.all { &all } else { &options.profiles };
    ensure!(options.out.is_none() || wanted.len() == 1, "--out is for one profile");
    for profile in wanted {
        let files = builder.boot_files(profile)?;
        println!("kernel {}", files.kernel.display());
        println!("archive {}", files.archive.display());
        for file in builder.repository(profile)? {
            println!("repository {}", file.display());
        }
    }
    for file in builder.modules.values() {
        println!("module {}", file.path.display());
    }
    if options.iso {
        deps::ensure(deps::ISO)?;
        for profile in wanted {
            let out = options.out.clone().unwrap_or_else(|| builder.iso_of(profile));
            println!("iso {}", iso::make(&builder.boot_files(profile)?, &out)?.display());
        }
    }
    Ok(())
}

/// A packed module.
#[derive(Clone, Debug)]
struct Module {
    name: String,
    version: String,
    path: PathBuf,
}

/// The module that grants authority. An archive that holds it also holds the policy of what it may grant.
const MANAGER: &str = "module-manager";

/// The policy of the systems that are built here, reviewed like code.
const POLICY_FILE: &str = "qemu/policy.toml";

/// The policy in the form that lies in a boot archive.
fn policy() -> Result<Vec<u8>> {
    let path = hic_tests::workspace::root().join(POLICY_FILE);
    let text = String::from_utf8(read(&path)?).context("a policy is UTF-8 text")?;
    let rules: Rules = toml::from_str(&text).with_context(|| path.display().to_string())?;
    rules.encode().map_err(|error| anyhow!("{}: {error}", path.display()))
}

/// Builds each thing once.
#[derive(Debug)]
pub struct Builder {
    /// What the workspace holds.
    pub workspace: Workspace,
    profiles: Profiles,
    modules: BTreeMap<Entry, Module>,
    signing: Option<Rc<Signing>>,
    kernel: Option<PathBuf>,
    locked: bool,
    /// Nobody else builds in this folder, or changes its images, while this lives.
    _turn: File,
}

/// Waits for the right to build in `target`.
fn turn(target: &Path) -> Result<File> {
    let folder = target.join("hic");
    let file = folder.join("lock");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let turn = File::create(&file).with_context(|| format!("cannot open {}", file.display()))?;
    match turn.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            println!("another xtask is at work in {}: waiting for it", target.display());
            turn.lock().with_context(|| format!("cannot lock {}", file.display()))?;
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", file.display()));
        }
    }
    Ok(turn)
}

impl Builder {
    /// Reads the workspace and the profiles.
    ///
    /// Waits while another xtask builds here, or tests what it has built: a service is built again and again under one name, with other features.
    pub fn new() -> Result<Self> {
        let workspace = Workspace::load()?;
        let turn = turn(&workspace.target_directory)?;
        let (profiles, modules) = (Profiles::load()?, BTreeMap::new());
        Ok(Self { workspace, profiles, modules, signing: None, kernel: None, locked: false, _turn: turn })
    }

    /// Refuses to change `Cargo.lock` from now on.
    pub fn lock(&mut self) {
        self.locked = true;
    }

    /// The kernel as it was linked: bound to no archive yet.
    pub fn kernel(&mut self) -> Result<PathBuf> {
        let kernel = build(&self.workspace, self.workspace.package(KERNEL)?, &[], self.locked)?;
        self.kernel = Some(kernel.clone());
        Ok(kernel)
    }

    /// The boot archive of `profile` and the kernel that starts it and no other (docs/adr/0024).
    pub fn boot_files(&mut self, profile: &str) -> Result<BootFiles> {
        let archive = self.archive(profile)?;
        let linked = match &self.kernel {
            Some(kernel) => kernel.clone(),
            None => self.kernel()?,
        };
        BootFiles::bind(&linked, &archive, &self.folder().join(format!("core0-{profile}")))
    }

    /// The boot archive of `profile`.
    pub fn archive(&mut self, profile: &str) -> Result<PathBuf> {
        let entries = self.profiles.profile(profile)?.boot.clone();
        ensure!(!entries.is_empty(), "profile {profile} names no module");
        let mut contents = Vec::new();
        for module in self.all(profile, &entries)? {
            contents.push((module.name, read(&module.path)?));
        }
        let mut names = BTreeSet::new();
        for (name, _) in &contents {
            ensure!(names.insert(name.clone()), "two modules of profile {profile} are called {name}");
        }
        if names.contains(VERIFIER) {
            let signing = self.signing()?;
            contents.push((TRUST_ROOT.to_owned(), signing.root()?));
            contents.extend(signing.revoked()?.map(|lists| (REVOKED.to_owned(), lists)));
            contents.push((REPOSITORY_ROOT.to_owned(), publish::root(&self.folder())?));
        }
        if names.contains(MANAGER) {
            contents.push((POLICY.to_owned(), policy()?));
        }
        let mut files: Vec<(&str, &[u8])> =
            contents.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
        let built = hicmod_tool::built(&files);
        files.extend(built.as_ref().map(|time| (BUILT, &time[..])));
        let archive =
            hicmod_tool::archive(&files).map_err(|error| anyhow!("boot archive of {profile}: {error}"))?;
        let path = self.folder().join(format!("boot-{profile}.archive"));
        write(&path, &archive)?;
        Ok(path)
    }

    /// The signed modules of the repository of `profile`, in `target/hic/repository/PROFILE/`, which holds nothing else.
    pub fn repository(&mut self, profile: &str) -> Result<Vec<PathBuf>> {
        let entries = self.profiles.profile(profile)?.repository.clone();
        let folder = self.folder().join("repository").join(profile);
        let modules = self.all(profile, &entries)?;
        let mut files = Vec::new();
        for (entry, module) in entries.iter().zip(modules) {
            let file = entry.file.clone().unwrap_or_else(|| format!("{}-{}", module.name, module.version));
            let path = folder.join(file + ".hicmod");
            ensure!(
                !files.contains(&path),
                "two modules of the repository of {profile} become {}",
                path.display()
            );
            write_changed(&path, &read(&module.path)?)?;
            files.push(path);
        }
        remove_others(&folder, &files)?;
        Ok(files)
    }

    fn all(&mut self, profile: &str, entries: &[Entry]) -> Result<Vec<Module>> {
        let mut modules = Vec::new();
        for entry in entries {
            let module = self.module(entry);
            modules.push(module.with_context(|| format!("module {} of profile {profile}", entry.package))?);
        }
        Ok(modules)
    }

    /// What `tests` boot; a profile that cannot be built is reported to those who need it.
    pub fn images(&mut self, tests: &[SystemTest]) -> Result<Images> {
        self.kernel()?;
        let mut images = Images::default();
        for SystemTest { profile, needs, .. } in tests.iter().copied() {
            if !images.profiles.contains_key(profile) {
                let files = self.boot_files(profile).map_err(|error| format!("{error:#}"));
                images.profiles.insert(profile.to_owned(), files);
            }
            if needs == Needs::Medium && !images.media.contains_key(profile) {
                let iso = self.iso(profile).map_err(|error| format!("{error:#}"));
                images.media.insert(profile.to_owned(), iso);
            }
        }
        Ok(images)
    }

    /// The ISO image of `profile`. The tools for it must be there.
    pub fn iso(&mut self, profile: &str) -> Result<PathBuf> {
        iso::make(&self.boot_files(profile)?, &self.iso_of(profile))
    }

    /// Where the ISO image of `profile` is put.
    fn iso_of(&self, profile: &str) -> PathBuf {
        self.folder().join(format!("hic-{profile}.iso"))
    }

    /// Where all that is made here lies.
    fn folder(&self) -> PathBuf {
        self.workspace.target_directory.join("hic")
    }

    /// The development chain, read or made when the first module is signed.
    pub fn signing(&mut self) -> Result<Rc<Signing>> {
        if let Some(signing) = &self.signing {
            return Ok(Rc::clone(signing));
        }
        let signing = Rc::new(Signing::open(&self.folder().join("keys"))?);
        self.signing = Some(Rc::clone(&signing));
        Ok(signing)
    }

    /// The module of `entry`, built, packed and signed.
    fn module(&mut self, entry: &Entry) -> Result<Module> {
        if let Some(module) = self.modules.get(entry) {
            return Ok(module.clone());
        }
        let found = self.workspace.package(&entry.package)?;
        let manifest_path = found.folder().join(&entry.manifest);
        let text = String::from_utf8(read(&manifest_path)?).context("a manifest is UTF-8 text")?;
        let at = |error| anyhow!("{}: {error}", manifest_path.display());
        let manifest = hicmod_tool::parse_manifest(&text).map_err(at)?;
        // Read at once: the next build of this package, with other features, puts its binary in the same place.
        let elf = read(&build(&self.workspace, found, &entry.features, self.locked)?)?;
        let bytes = hicmod_tool::pack_built(&elf, &text, built()?).map_err(at)?;
        // By package, not by module: the guests that boot in the keeper's place are all called keeper.
        let mut file = format!("{}-{}", entry.package, manifest.version);
        for feature in &entry.features {
            file = file + "+" + feature;
        }
        // Two modules may be made of one package by their manifests alone.
        if entry.manifest != profiles::MANIFEST {
            file = file + "+" + &manifest.name;
        }
        let path = self.folder().join("modules").join(file + ".hicmod");
        let signed = self.signing()?.sign(&bytes, std::fs::read(&path).ok())?;
        write_changed(&path, &signed)?;
        let module = Module { name: manifest.name.to_string(), version: manifest.version.to_string(), path };
        self.modules.insert(entry.clone(), module.clone());
        Ok(module)
    }
}

/// Builds the binary for the guest of `package` with `features` and returns where it is.
///
/// Cargo keeps what it compiled for each set of features apart, so that going from one to the other only links again what
/// changed; the finished binary has one place for all of them.
fn build(workspace: &Workspace, package: &Package, features: &[String], locked: bool) -> Result<PathBuf> {
    let (name, binary) = (&package.name, package.freestanding_binary()?);
    let started = Instant::now();
    let mut all = format!("{name}/{FREESTANDING}");
    for feature in features {
        all = format!("{all},{name}/{feature}");
    }
    let mut command = cargo::command();
    command.args(["build", "--quiet", "--release", "--package", name, "--bin", binary, "--features", &all]);
    if locked {
        command.arg("--locked");
    }
    let status = command.status().context("cannot run cargo")?;
    ensure!(status.success(), "building {name} for the guest failed");
    let with = if features.is_empty() { String::new() } else { format!(" with {}", features.join(", ")) };
    println!("built {name}{with} ({:.1} s)", started.elapsed().as_secs_f64());
    Ok(workspace.target_directory.join("release").join(binary))
}

/// When the modules are said to have been built: SOURCE_DATE_EPOCH where it is set (reproducible-builds.org), else the time of the last
/// commit, so that the same sources give the same bytes; 0 (not recorded) outside a repository.
fn built() -> Result<u64> {
    if let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") {
        return text
            .parse()
            .with_context(|| format!("SOURCE_DATE_EPOCH is {text:?}, not a number of seconds"));
    }
    let mut git = std::process::Command::new("git");
    git.args(["log", "-1", "--format=%ct"]).current_dir(hic_tests::workspace::root());
    let output = git.output().ok().filter(|output| output.status.success());
    let text = output.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    Ok(text.trim().parse().unwrap_or(0))
}

/// Removes all modules in `folder` that are not in `keep`: what an earlier profile left there.
fn remove_others(folder: &Path, keep: &[PathBuf]) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|ending| ending == "hicmod") && !keep.contains(&path) {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Leaves a file alone that has these bytes already, so that its time tells when it changed.
fn write_changed(path: &Path, bytes: &[u8]) -> Result<()> {
    if std::fs::read(path).is_ok_and(|before| before == bytes) { Ok(()) } else { write(path, bytes) }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hic_policy::Policy;

    /// A manifest that asks for more than the policy allows would otherwise be noticed when its module does not start.
    #[test]
    fn every_module_that_is_built_here_is_granted_all_that_it_asks_for() {
        let (workspace, profiles) =
            (Workspace::load().expect("workspace"), Profiles::load().expect("profiles"));
        let bytes = policy().expect("a policy");
        let policy = Policy::parse(&bytes).expect("readable");
        let mut looked_at = 0;
        for name in profiles.names() {
            let profile = profiles.profile(name).expect("there");
            if !profile.boot.iter().any(|entry| entry.package == MANAGER) {
                continue;
            }
            let kept = |entry: &&Entry| !["keeper", MANAGER, "monitor"].contains(&entry.package.as_str());
            for entry in profile.boot.iter().chain(&profile.repository).filter(kept) {
                let package = workspace.package(&entry.package).expect("a package");
                let text =
                    std::fs::read_to_string(package.folder().join(&entry.manifest)).expect("a manifest");
                let manifest = hicmod_tool::parse_manifest(&text).expect("a good manifest");
                let (_, named) = policy.allowed(&manifest.name);
                let denied = policy.decide(&manifest).denied;
                assert!(named && denied.is_empty(), "{} in {POLICY_FILE}: {denied:?}", manifest.name);
                looked_at += 1;
            }
        }
        assert!(looked_at > 10, "{looked_at} modules");
    }
}
