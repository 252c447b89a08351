//! Where things are in the workspace, so that no path is spelled twice.

use std::path::{Path, PathBuf};

/// The root of the workspace: the folder that holds `Cargo.toml`, `kernel/`, `tests/`.
#[must_use]
pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Where the logs of the system test `name` go. `target` is cargo's target directory.
#[must_use]
pub fn test_log_dir(target: &Path, name: &str) -> PathBuf {
    target.join("hic").join("test-logs").join(name)
}
