//! `cargo xtask clean`.

use anyhow::{Context, Result, ensure};

/// Removes what was built, and namespaces whose owners are gone.
pub fn run() -> Result<()> {
    hic_tests::net::remove_stale_namespaces();
    let status = crate::cargo::command().arg("clean").status().context("cannot run cargo")?;
    ensure!(status.success(), "cargo clean failed");
    Ok(())
}
