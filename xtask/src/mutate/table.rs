//! The tables of mutations: `kernel/mutations.toml`, `libs/mutations.toml`, and those of single libraries beside them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// Where they are, from the root of the workspace.
const FILES: [&str; 4] =
    ["kernel/mutations.toml", "libs/mutations.toml", "libs/hicmod/mutations.toml", "libs/tuf/mutations.toml"];
/// The package whose host tests are meant where a mutation names none.
const KERNEL: &str = "core0";

/// All of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    #[serde(rename = "mutation")]
    pub mutations: Vec<Mutation>,
}

/// One check, and how it is taken out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutation {
    /// What the check is for.
    pub check: String,
    /// The file, from the root of the workspace.
    pub file: PathBuf,
    /// Its text, which is there exactly once.
    text: String,
    /// What is put in its place.
    put: String,
    /// The package that the host test belongs to; the kernel's if it is left out.
    package: Option<String>,
    /// The host test that must fail.
    host: Option<String>,
    /// What the system test `hostile` must say when it fails: the name of an attempt, or part of the kernel's last words.
    hostile: Option<String>,
}

impl Table {
    /// Reads them, one behind the other.
    pub fn load(root: &Path) -> Result<Self> {
        let mut mutations = Vec::new();
        for file in FILES {
            mutations.extend(Self::read(&root.join(file))?.mutations);
        }
        Ok(Self { mutations })
    }

    fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let table: Self = toml::from_str(&text).with_context(|| path.display().to_string())?;
        for mutation in &table.mutations {
            ensure!(
                mutation.host.is_some() != mutation.hostile.is_some(),
                "{}: either `host` or `hostile` names the test",
                mutation.check
            );
        }
        Ok(table)
    }
}

impl Mutation {
    /// Whether a host test is to notice it.
    pub fn is_host(&self) -> bool {
        self.host.is_some()
    }

    /// The package of its host test.
    pub fn package(&self) -> &str {
        self.package.as_deref().unwrap_or(KERNEL)
    }

    /// The host test, or what the system test must say.
    pub fn test(&self) -> &str {
        self.host.as_ref().or(self.hostile.as_ref()).map_or("", String::as_str)
    }

    /// The file's content with the check taken out.
    pub fn apply(&self, content: &str) -> Result<String> {
        let count = content.matches(&self.text).count();
        ensure!(count == 1, "{}: its text is {count} times in {}", self.check, self.file.display());
        Ok(content.replace(&self.text, &self.put))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutation_still_finds_its_text_and_changes_it() {
        let root = hic_tests::workspace::root();
        let table = Table::load(root).expect("a table");
        for mutation in &table.mutations {
            let content = std::fs::read_to_string(root.join(&mutation.file)).expect("a source file");
            let changed = mutation.apply(&content).expect("the text, once");
            assert_ne!(changed, content, "{}", mutation.check);
        }
    }

    #[test]
    fn a_text_that_is_not_there_or_there_twice_is_refused() {
        let text = "[[mutation]]\ncheck = \"c\"\nfile = \"f\"\ntext = \"a\"\nput = \"b\"\nhost = \"t\"\n";
        let table: Table = toml::from_str(text).expect("a table");
        assert_eq!(table.mutations[0].apply("xay").expect("once"), "xby");
        assert!(table.mutations[0].apply("xy").is_err() && table.mutations[0].apply("aa").is_err());
    }
}
