//! Formatting and lints: of everything for the host, and of each binary for the guest by itself.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use super::summary::Summary;
use crate::cargo::{self, FREESTANDING, Workspace};

/// `cargo fmt`.
pub fn formatting(summary: &mut Summary) -> Result<()> {
    let mut command = cargo::command();
    command.args(["fmt", "--all", "--", "--check"]);
    check("fmt", command, summary)
}

/// `cargo clippy`, warnings denied.
pub fn lints(workspace: &Workspace, locked: bool, summary: &mut Summary) -> Result<()> {
    let lint = |words: &[&str]| {
        let mut command = cargo::command();
        command.args(["clippy", "--quiet"]).args(words);
        if locked {
            command.arg("--locked");
        }
        command.args(["--", "-D", "warnings"]);
        command
    };
    check("clippy", lint(&["--workspace", "--all-targets"]), summary)?;
    for package in workspace.freestanding() {
        let (name, binary) = (&package.name, package.freestanding_binary()?);
        let feature = format!("{name}/{FREESTANDING}");
        let command = lint(&["--package", name, "--bin", binary, "--features", &feature]);
        check(&format!("clippy-guest-{name}"), command, summary)?;
    }
    Ok(())
}

fn check(name: &str, mut command: Command, summary: &mut Summary) -> Result<()> {
    let started = Instant::now();
    let status = command.status().context("cannot run cargo")?;
    let seconds = started.elapsed().as_secs_f64();
    if status.success() {
        summary.passed(name);
        println!("check {name} ... ok ({seconds:.1} s)");
    } else {
        summary.failed(name);
        println!("check {name} ... FAILED ({seconds:.1} s)");
    }
    Ok(())
}
