//! Which modules make a boot archive: `qemu/modules.toml`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The profile that `run` boots when nobody says otherwise.
pub const DEFAULT: &str = "default";

/// Where the profiles are written down, from the root of the workspace.
const FILE: &str = "qemu/modules.toml";

/// All profiles: for each its packages, in the order in which they lie in the archive.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profiles {
    profiles: BTreeMap<String, Vec<String>>,
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
        let profiles: Self = toml::from_str(text)?;
        for (name, packages) in &profiles.profiles {
            let ok =
                !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
            ensure!(
                ok,
                "profile {name:?}: letters, digits, - and _ only, since the name is part of a file's name"
            );
            for (place, package) in packages.iter().enumerate() {
                ensure!(
                    !packages.iter().take(place).any(|other| other == package),
                    "profile {name}: {package} twice"
                );
            }
        }
        Ok(profiles)
    }

    /// The names of all profiles.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.profiles.keys().map(String::as_str)
    }

    /// The packages of the profile `name`.
    pub fn packages(&self, name: &str) -> Result<&[String]> {
        let known = || self.names().collect::<Vec<_>>().join(", ");
        let packages = self.profiles.get(name);
        Ok(packages.with_context(|| format!("no profile {name} in {FILE}; there are: {}", known()))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_and_an_unknown_profile_is_answered_with_the_known_ones() {
        let profiles =
            Profiles::parse("[profiles]\ndefault = [\"keeper\", \"console\"]\nbench = []").expect("good");
        assert_eq!(profiles.packages("default").expect("known"), ["keeper", "console"]);
        let error = profiles.packages("x").expect_err("unknown").to_string();
        assert!(error.contains("bench, default"), "{error}");
    }

    #[test]
    fn a_module_cannot_be_in_an_archive_twice() {
        assert!(Profiles::parse("[profiles]\na = [\"x\", \"x\"]").is_err());
        assert!(Profiles::parse("[profiles]\n\"../a\" = []").is_err());
    }

    #[test]
    fn the_projects_own_file_is_good_and_serves_every_system_test() {
        let profiles = Profiles::load().expect("good");
        profiles.packages(DEFAULT).expect("there");
        for test in hic_tests::cases::ALL {
            profiles.packages(test.profile).expect(test.name);
        }
    }
}
