//! Which modules make a boot archive, and which lie in the repository beside it: `qemu/modules.toml`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The profile that `run` boots when nobody says otherwise.
pub const DEFAULT: &str = "default";

/// Where the profiles are written down, from the root of the workspace.
const FILE: &str = "qemu/modules.toml";

/// A module's manifest where a profile names no other: beside its `Cargo.toml`.
pub const MANIFEST: &str = "hicmod.toml";

/// All profiles.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    profiles: BTreeMap<String, Written>,
}

/// A profile as it is written: the boot archive alone, or boot archive and repository.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a profile is a list of modules, or a table with `boot` and `repository`")]
enum Written {
    Boot(Vec<Entry>),
    Both(Profile),
}

/// The modules of a profile.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// In the boot archive, in this order.
    pub boot: Vec<Entry>,
    /// In the repository, for updates.
    #[serde(default)]
    pub repository: Vec<Entry>,
}

/// One module: a package of the workspace, built in one way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(from = "WrittenEntry")]
pub struct Entry {
    /// The package.
    pub package: String,
    /// Features of the package that this module is built with.
    pub features: Vec<String>,
    /// The manifest, from the package's folder.
    pub manifest: String,
    /// File name in the repository without its ending; `NAME-VERSION` of the manifest where there is none.
    pub file: Option<String>,
}

/// An entry as it is written: `"netstack"`, or a table.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a module is the name of a package, or a table with package, features, manifest and file"
)]
enum WrittenEntry {
    Package(String),
    Variant(Variant),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Variant {
    package: String,
    #[serde(default)]
    features: Vec<String>,
    manifest: Option<String>,
    file: Option<String>,
}

impl From<WrittenEntry> for Entry {
    fn from(written: WrittenEntry) -> Self {
        let variant = match written {
            WrittenEntry::Package(package) => {
                Variant { package, features: Vec::new(), manifest: None, file: None }
            }
            WrittenEntry::Variant(variant) => variant,
        };
        let Variant { package, features, manifest, file } = variant;
        Self { package, features, manifest: manifest.unwrap_or_else(|| MANIFEST.to_owned()), file }
    }
}

/// All profiles, checked.
#[derive(Debug)]
pub struct Profiles {
    profiles: BTreeMap<String, Profile>,
}

impl Profiles {
    /// Reads the file.
    pub fn load() -> Result<Self> {
        let path = hic_tests::workspace::root().join(FILE);
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let document: Document = toml::from_str(text)?;
        let mut profiles = BTreeMap::new();
        for (name, written) in document.profiles {
            ensure!(
                is_file_name(&name),
                "profile {name:?}: letters, digits, - and _ only, since the name is part of a file's name"
            );
            let profile = match written {
                Written::Boot(boot) => Profile { boot, repository: Vec::new() },
                Written::Both(profile) => profile,
            };
            check(&name, &profile)?;
            profiles.insert(name, profile);
        }
        Ok(Self { profiles })
    }

    /// The names of all profiles.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.profiles.keys().map(String::as_str)
    }

    /// The profile `name`.
    pub fn profile(&self, name: &str) -> Result<&Profile> {
        let known = || self.names().collect::<Vec<_>>().join(", ");
        let profile = self.profiles.get(name);
        profile.with_context(|| format!("no profile {name} in {FILE}; there are: {}", known()))
    }
}

/// No module twice; file names that stay in their folder.
fn check(name: &str, profile: &Profile) -> Result<()> {
    for list in [&profile.boot, &profile.repository] {
        for (place, entry) in list.iter().enumerate() {
            let twice = list.iter().take(place).any(|other| other == entry);
            ensure!(!twice, "profile {name}: {} twice", entry.package);
            let inside = |file: &str| is_file_name(&file.replace('.', "-"));
            ensure!(
                inside(&entry.manifest) && entry.file.as_deref().is_none_or(inside),
                "profile {name}: {}: `manifest` and `file` are names of files without a folder",
                entry.package
            );
        }
    }
    Ok(())
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|entry| entry.package.as_str()).collect()
    }

    #[test]
    fn order_is_kept_and_an_unknown_profile_is_answered_with_the_known_ones() {
        let profiles =
            Profiles::parse("[profiles]\ndefault = [\"keeper\", \"console\"]\nbench = []").expect("good");
        let default = profiles.profile("default").expect("known");
        assert_eq!(packages(&default.boot), ["keeper", "console"]);
        assert!(default.repository.is_empty());
        let error = profiles.profile("x").expect_err("unknown").to_string();
        assert!(error.contains("bench, default"), "{error}");
    }

    #[test]
    fn a_module_is_built_in_several_ways_for_the_repository() {
        let text = r#"
            [profiles.live]
            boot = ["keeper", { package = "netstack" }]
            repository = [
              { package = "netstack", features = ["v1_3"], manifest = "hicmod-1.3.0.toml" },
              { package = "netstack", features = ["v1_3", "hangs"], manifest = "hicmod-1.3.2.toml", file = "bad" },
            ]"#;
        let profiles = Profiles::parse(text).expect("good");
        let live = profiles.profile("live").expect("known");
        assert_eq!(live.boot[1].manifest, MANIFEST);
        assert_eq!(packages(&live.repository), ["netstack", "netstack"]);
        assert_eq!((live.repository[1].features.len(), live.repository[1].file.as_deref()), (2, Some("bad")));
    }

    #[test]
    fn a_module_cannot_be_in_an_archive_twice() {
        assert!(Profiles::parse("[profiles]\na = [\"x\", \"x\"]").is_err());
        assert!(Profiles::parse("[profiles]\n\"../a\" = []").is_err());
        assert!(Profiles::parse("[profiles]\na = [{ package = \"x\", manifest = \"../y\" }]").is_err());
        assert!(Profiles::parse("[profiles]\na = [{ package = \"x\", file = \"\" }]").is_err());
    }

    #[test]
    fn a_mistake_is_answered_with_the_form() {
        let error =
            format!("{:#}", Profiles::parse("[profiles]\na = [{ pakage = \"x\" }]").expect_err("typo"));
        assert!(error.contains("a profile is a list"), "{error}");
    }

    #[test]
    fn the_projects_own_file_is_good_and_serves_every_system_test() {
        let profiles = Profiles::load().expect("good");
        profiles.profile(DEFAULT).expect("there");
        for test in hic_tests::cases::ALL {
            profiles.profile(test.profile).expect(test.name);
        }
    }
}
