//! What the workspace holds, by `cargo metadata`, and how cargo is called.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// The feature behind which a package keeps its binary for the guest.
pub const FREESTANDING: &str = "freestanding";

/// The workspace.
#[derive(Debug, Deserialize)]
pub struct Workspace {
    packages: Vec<Package>,
    /// Cargo's target directory.
    pub target_directory: PathBuf,
}

/// A package of the workspace.
#[derive(Debug, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    manifest_path: PathBuf,
    features: BTreeMap<String, Vec<String>>,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
    #[serde(default, rename = "required-features")]
    required_features: Vec<String>,
}

/// `cargo`, the one that runs us if any.
#[must_use]
pub fn command() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(hic_tests::workspace::root());
    command
}

impl Workspace {
    /// Reads the workspace that this program was built from.
    pub fn load() -> Result<Self> {
        let output = command().args(["metadata", "--no-deps", "--format-version", "1"]).output();
        let output = output.context("cannot run cargo")?;
        ensure!(
            output.status.success(),
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        serde_json::from_slice(&output.stdout).context("cargo metadata is not what was expected")
    }

    /// The package `name`.
    pub fn package(&self, name: &str) -> Result<&Package> {
        let package = self.packages.iter().find(|package| package.name == name);
        package.with_context(|| format!("no package {name} in this workspace"))
    }

    /// The packages with a binary for the guest.
    pub fn freestanding(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.freestanding_binary().is_ok())
    }

    /// The package that has a target whose crate is called `krate` (as in file names, with underscores).
    #[must_use]
    pub fn package_of_crate(&self, krate: &str) -> Option<&Package> {
        let has =
            |package: &&Package| package.targets.iter().any(|target| target.name.replace('-', "_") == krate);
        self.packages.iter().find(has)
    }
}

impl Package {
    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(&self.manifest_path)
    }

    /// The name of its binary for the guest.
    pub fn freestanding_binary(&self) -> Result<&str> {
        let name = &self.name;
        if !self.features.contains_key(FREESTANDING) {
            bail!("package {name} has no feature `{FREESTANDING}`, so it holds no binary for the guest");
        }
        let needs = |target: &&Target| {
            target.kind.iter().any(|kind| kind == "bin")
                && target.required_features.iter().any(|feature| feature == FREESTANDING)
        };
        let mut binaries = self.targets.iter().filter(needs);
        match (binaries.next(), binaries.next()) {
            (Some(binary), None) => Ok(&binary.name),
            (None, _) => bail!("package {name} has no binary with required-features = [\"{FREESTANDING}\"]"),
            (Some(_), Some(_)) => bail!("package {name} has several binaries for the guest; one is expected"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> Workspace {
        let text = r#"{"target_directory": "/t", "packages": [
            {"name": "core0", "manifest_path": "/w/kernel/Cargo.toml", "features": {"freestanding": []}, "targets": [
                {"name": "core0", "kind": ["lib"]},
                {"name": "core0", "kind": ["bin"], "required-features": ["freestanding"]}]},
            {"name": "hic-tcp", "manifest_path": "/w/libs/tcp/Cargo.toml", "features": {}, "targets": [
                {"name": "hic_tcp", "kind": ["lib"]}, {"name": "long-run", "kind": ["test"]}]},
            {"name": "odd", "manifest_path": "/w/odd/Cargo.toml", "features": {"freestanding": []}, "targets": [
                {"name": "odd", "kind": ["bin"]}]}]}"#;
        serde_json::from_str(text).expect("well-formed")
    }

    #[test]
    fn only_packages_with_the_feature_and_the_binary_are_for_the_guest() {
        let workspace = workspace();
        let names: Vec<&str> = workspace.freestanding().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["core0"]);
        let why = |name| {
            workspace.package(name).expect("there").freestanding_binary().expect_err("none").to_string()
        };
        assert!(why("hic-tcp").contains("no feature"), "{}", why("hic-tcp"));
        assert!(why("odd").contains("no binary with required-features"), "{}", why("odd"));
        assert!(workspace.package("ghost").is_err());
    }

    #[test]
    fn a_test_program_leads_back_to_its_package() {
        let workspace = workspace();
        let package = |krate| workspace.package_of_crate(krate).map(|package| package.name.as_str());
        assert_eq!(package("hic_tcp"), Some("hic-tcp"));
        assert_eq!(package("long_run"), Some("hic-tcp"));
        assert_eq!(package("ghost"), None);
    }
}
