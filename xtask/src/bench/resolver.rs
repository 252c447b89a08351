//! What a question to the dependency resolver costs, in instructions of the host, as callgrind counts them: repeatable, and about what the guest
//! executes, since it is the same library.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Figure;
use crate::cargo;

/// Repositories that are asked, by the number of their modules.
const SIZES: [(u32, &str); 2] = [(1_000, "resolve_1000"), (10_000, "resolve_10000")];
/// The example of `libs/resolve` that asks, and the function in it that is counted.
const EXAMPLE: &str = "repository";
const COUNTED: &str = "resolver_question";

/// Builds the example and counts.
pub fn measure() -> Result<Vec<Figure>> {
    let mut build = cargo::command();
    build.args(["build", "--quiet", "--release", "--package", "hic-resolve", "--example", EXAMPLE]);
    ensure!(build.status().context("cannot run cargo")?.success(), "building the resolver's example failed");
    let workspace = cargo::Workspace::load()?;
    let program = workspace.target_directory.join("release/examples").join(EXAMPLE);
    let mut figures = Vec::new();
    for (size, name) in SIZES {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        valgrind.arg(format!("--toggle-collect={COUNTED}")).arg(&program).arg(size.to_string());
        let output = valgrind.output().context("cannot run valgrind")?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{name}: {told}");
        let count = collected(&told).with_context(|| format!("{name}: no count in {told}"))?;
        ensure!(count > 0, "{name}: the function {COUNTED} was not found in the program");
        figures.push(Figure {
            name: name.to_owned(),
            unit: format!("host instructions, {size} modules"),
            value: count.into(),
        });
    }
    Ok(figures)
}

/// The number in callgrind's line `==123== Collected : 456`.
pub fn collected(told: &str) -> Option<u64> {
    let line = told.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(':').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_count_is_read_from_what_callgrind_prints() {
        let told = "==7== Events    : Ir\n==7== Collected : 123456\n==7==\n";
        assert_eq!(super::collected(told), Some(123_456));
        assert_eq!(super::collected("==7== nothing"), None);
    }
}
