//! `cargo xtask mutate`: takes each check of the kernel and of the libraries that judge modules out, one at a time, and sees whether the test that is there for it notices.
//!
//! The tables are `kernel/mutations.toml` and those below `libs`. A copy of the tree under `target/mutate` is what is changed, never the tree itself. A mutation that
//! nobody notices, whose text is not there exactly once, or that does not compile, fails the command.

mod guest;
mod table;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::cli::MutateOptions;
use crate::image::Builder;
use guest::Guest;
use table::{Mutation, Table};

/// What came of one mutation.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The test failed.
    Killed,
    /// It did not.
    Survived(String),
}

/// Does them all, or those whose name or test contains the filter.
pub fn run(options: &MutateOptions) -> Result<()> {
    let root = hic_tests::workspace::root();
    let table = Table::load(root)?;
    let filter = options.filter.as_deref().unwrap_or_default();
    let wanted: Vec<&Mutation> = table
        .mutations
        .iter()
        .filter(|mutation| mutation.check.contains(filter) || mutation.test().contains(filter))
        .filter(|mutation| !options.host || mutation.is_host())
        .collect();
    ensure!(!wanted.is_empty(), "no mutation has {filter:?} in its name or its test");
    let lab = Lab::new(root, wanted.iter().any(|mutation| !mutation.is_host()))?;
    lab.check_that_unchanged_passes(&wanted)?;
    let mut survivors = Vec::new();
    for mutation in &wanted {
        let started = Instant::now();
        let verdict = lab.try_out(mutation).unwrap_or_else(|error| Verdict::Survived(format!("{error:#}")));
        let seconds = started.elapsed().as_secs_f64();
        match verdict {
            Verdict::Killed => {
                println!("mutation {} ... killed by {} ({seconds:.1} s)", mutation.check, mutation.test())
            }
            Verdict::Survived(why) => {
                println!("mutation {} ... SURVIVED {}: {why}", mutation.check, mutation.test());
                survivors.push(mutation.check.as_str());
            }
        }
    }
    println!(
        "{} mutations, {} killed, {} survived",
        wanted.len(),
        wanted.len() - survivors.len(),
        survivors.len()
    );
    ensure!(survivors.is_empty(), "not noticed: {}", survivors.join(", "));
    Ok(())
}

/// The copy of the tree and what runs in it.
struct Lab {
    tree: PathBuf,
    target: PathBuf,
    guest: Option<Guest>,
}

impl Lab {
    /// Copies what git knows of the tree, as it is on the disk.
    fn new(root: &Path, with_guest: bool) -> Result<Self> {
        let guest = if with_guest { Some(Guest::new(&mut Builder::new()?)?) } else { None };
        let folder = crate::cargo::Workspace::load()?.target_directory.join("mutate");
        let (tree, target) = (folder.join("tree"), folder.join("target"));
        let list = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output()?;
        ensure!(list.status.success(), "git ls-files: {}", String::from_utf8_lossy(&list.stderr).trim());
        for name in list.stdout.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
            let name = std::str::from_utf8(name).context("a file's name is UTF-8")?;
            if root.join(name).is_file() {
                copy_changed(&root.join(name), &tree.join(name))?;
            }
        }
        Ok(Self { tree, target, guest })
    }

    fn cargo(&self) -> Command {
        let mut command = crate::cargo::command();
        command
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_TERM_COLOR", "never");
        command
    }

    /// A test that fails anyway proves nothing.
    fn check_that_unchanged_passes(&self, wanted: &[&Mutation]) -> Result<()> {
        let mut done = HashSet::new();
        for mutation in wanted.iter().filter(|mutation| mutation.is_host()) {
            if done.insert((mutation.package(), mutation.test())) {
                ensure!(self.host_test(mutation)?, "{} fails without any mutation", mutation.test());
            }
        }
        if let Some(guest) = &self.guest {
            let kernel = build_kernel(&self.tree, &self.target)?.context("the kernel does not compile")?;
            guest.check_that_it_passes(&kernel)?;
        }
        Ok(())
    }

    fn try_out(&self, mutation: &Mutation) -> Result<Verdict> {
        let file = self.tree.join(&mutation.file);
        let before = std::fs::read_to_string(&file)?;
        std::fs::write(&file, mutation.apply(&before)?)?;
        let verdict = if mutation.is_host() { self.try_host(mutation) } else { self.try_guest(mutation) };
        std::fs::write(&file, before)?;
        verdict
    }

    fn try_host(&self, mutation: &Mutation) -> Result<Verdict> {
        Ok(if self.host_test(mutation)? {
            Verdict::Survived("it passes".to_owned())
        } else {
            Verdict::Killed
        })
    }

    fn try_guest(&self, mutation: &Mutation) -> Result<Verdict> {
        let kernel = build_kernel(&self.tree, &self.target)?.context("it does not compile")?;
        let guest = self.guest.as_ref().context("no guest was built")?;
        Ok(guest.notices(&kernel, mutation))
    }

    /// Whether the host test that is to notice this mutation passes. An error if there is no such test or it does not compile.
    fn host_test(&self, mutation: &Mutation) -> Result<bool> {
        let (package, name) = (mutation.package(), mutation.test());
        let mut command = self.cargo();
        command.args(["test", "--quiet", "--package", package, "--lib", "--", "--exact", name]);
        let output = command.output().context("cannot run cargo")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let ran = text.contains("running 1 test");
        ensure!(ran, "there is no test {name}, or it does not compile: {}", last_error(&output.stderr));
        Ok(output.status.success())
    }
}

/// Builds the kernel of this tree; `None` if it does not compile.
fn build_kernel(tree: &Path, target: &Path) -> Result<Option<PathBuf>> {
    let mut command = crate::cargo::command();
    command.current_dir(tree).env("CARGO_TARGET_DIR", target);
    command.args(["build", "--quiet", "--release", "--package", "core0", "--bin", "core0"]);
    command.args(["--features", "core0/freestanding"]);
    let output = command.output().context("cannot run cargo")?;
    if !output.status.success() {
        println!("{}", last_error(&output.stderr));
    }
    Ok(output.status.success().then(|| target.join("release").join("core0")))
}

fn last_error(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    text.lines().find(|line| line.starts_with("error")).unwrap_or("no message").to_owned()
}

/// Copies a file unless it is there with these bytes, so that cargo sees only what changed.
fn copy_changed(from: &Path, to: &Path) -> Result<()> {
    let bytes = std::fs::read(from)?;
    if std::fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(to, bytes).with_context(|| format!("cannot write {}", to.display()))
}
