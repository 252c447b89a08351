//! `cargo xtask soak decoders`: each target of `tests/fuzz` under libFuzzer for a stated time, beginning with its corpus.
//!
//! This is the one command that needs a nightly compiler, for the instrumentation. What it finds is replayed on the stable one ever after.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::cargo::Workspace;

/// What `soak` takes for all targets; `decoders/NAME` is one of them.
pub const DECODERS: &str = "decoders";
/// The programs, one for each target, from the root of the workspace.
const PROGRAMS: &str = "tests/fuzz/libfuzzer";
/// The corpus.
const CORPUS: &str = "tests/fuzz/corpus";
/// Seeds that other tests have, too.
const VECTORS: &str = "docs/spec/vectors";
/// Bounds of one input: seconds, MiB of memory, bytes.
const BOUNDS: [&str; 3] = ["-timeout=30", "-rss_limit_mb=2048", "-max_len=16384"];

/// The targets that `filter` asks for; `None` if it asks for something else.
pub fn wanted(filter: &str) -> Option<&str> {
    let rest = filter.strip_prefix(DECODERS)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/').filter(|name| !name.is_empty()) }
}

/// Runs the target `name`, or all of them if it is empty, for `seconds` each.
pub fn soak(name: &str, seconds: u32) -> Result<()> {
    let root = hic_tests::workspace::root();
    let mut names = targets(&root.join(PROGRAMS).join("fuzz_targets"))?;
    names.retain(|target| name.is_empty() || target == name);
    ensure!(!names.is_empty(), "there is no target {name:?}; tests/fuzz/libfuzzer/fuzz_targets has them");
    ensure_cargo_fuzz()?;
    let found = Workspace::load()?.target_directory.join("fuzz");
    let mut failed = Vec::new();
    for target in &names {
        println!("fuzzing {target} for {seconds} s");
        if !run(root, &found, target, seconds)? {
            failed.push(target.as_str());
        }
    }
    ensure!(
        failed.is_empty(),
        "something does not hold in: {}; the bytes are in {}: mend the cause and put them into {CORPUS}/TARGET",
        failed.join(", "),
        found.join("found").display()
    );
    println!("{} targets, {seconds} s each, everything held", names.len());
    Ok(())
}

/// The names of all targets, in order.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let files = entries.flatten().map(|entry| entry.path());
    let stem = |file: PathBuf| file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let mut names: Vec<String> = files.filter_map(stem).collect();
    names.sort();
    Ok(names)
}

/// Whether everything held. New inputs of interest stay in `found`, for the next run.
fn run(root: &Path, found: &Path, target: &str, seconds: u32) -> Result<bool> {
    let (own, bad) = (found.join("corpus").join(target), found.join("found"));
    for folder in [&own, &bad] {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut command = fuzz();
    command.args(["run", "--fuzz-dir", PROGRAMS, "--sanitizer", "none", "--target-dir"]).current_dir(root);
    command.arg(found.join("build")).arg(target);
    command.arg(&own);
    command.args(
        [Path::new(CORPUS).join(target), PathBuf::from(VECTORS)]
            .iter()
            .filter(|seeds| root.join(seeds).is_dir()),
    );
    command.arg("--").args(BOUNDS).arg(format!("-max_total_time={seconds}"));
    command.args(["-print_final_stats=1", "-verbosity=0"]);
    command.arg(format!("-artifact_prefix={}/{target}-", bad.display()));
    Ok(command.status().context("cannot run cargo fuzz")?.success())
}

/// `cargo +nightly fuzz`, whatever toolchain this program was started with.
fn fuzz() -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "fuzz"]).env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
    command
}

/// Installs cargo-fuzz from the registry where it is missing. The toolchain is for whoever owns the machine to install.
fn ensure_cargo_fuzz() -> Result<()> {
    let works = |command: &mut Command| {
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if !works(Command::new("rustup").args(["run", "nightly", "rustc", "--version"])) {
        bail!("fuzzing needs a nightly compiler: rustup toolchain install nightly --profile minimal");
    }
    if works(fuzz().arg("--version")) {
        return Ok(());
    }
    println!("running: cargo install cargo-fuzz --locked");
    let status = Command::new("cargo").args(["install", "cargo-fuzz", "--locked"]).status();
    ensure!(
        status.context("cannot run cargo")?.success(),
        "cargo-fuzz cannot be installed; the registry's answer is above"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_decoders_or_one_are_asked_for() {
        assert_eq!((wanted("decoders"), wanted("decoders/image")), (Some(""), Some("image")));
        assert_eq!((wanted("decoders/"), wanted("fuzz"), wanted("decoders2")), (None, None, None));
        let folder = hic_tests::workspace::root().join(PROGRAMS).join("fuzz_targets");
        let names = targets(&folder).expect("a folder");
        assert!(names.contains(&"signed_module".to_owned()) && names.len() > 10);
    }
}
