//! `cargo xtask test`: everything that can be checked, in the order in which it is cheapest to fail.
//!
//! Whatever happens, the last line on standard output is `N passed, N failed`, so that a script need not guess.

mod checks;
mod decoders;
mod host;
mod size;
mod summary;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use hic_tests::cases;
use hic_tests::runner::{self, Needs, SystemTest, Verdict};

use crate::cli::{SoakOptions, TestOptions};
use crate::image::Builder;
use crate::{cargo, coverage, deps, disk};
use summary::Summary;

/// The options of `cargo xtask ci`.
#[must_use]
pub fn ci_options() -> TestOptions {
    TestOptions { filter: None, list: false, locked: true }
}

/// What `soak` takes for a comparison of the kernel with its model.
const MODEL: &str = "model";
/// Steps of that comparison for each point.
const STEPS_A_POINT: u64 = 10_000;

/// Runs the slow form of system tests: this program again, told how many points to try. `model` is the host test that has one.
pub fn soak(options: &SoakOptions) -> Result<()> {
    if options.filter == MODEL {
        return soak_model(u64::from(options.points) * STEPS_A_POINT);
    }
    if let Some(target) = decoders::wanted(&options.filter) {
        return decoders::soak(target, options.points);
    }
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let points = options.points.to_string();
    let status = std::process::Command::new(own)
        .args(["test", &options.filter])
        .env(cases::POINTS, points)
        .status()
        .context("cannot run the tests")?;
    anyhow::ensure!(status.success(), "the soak failed");
    Ok(())
}

/// Compares the kernel with its model for millions of steps: optimised, with the checks of a debug build, and at other seeds than the short form.
fn soak_model(steps: u64) -> Result<()> {
    let status = cargo::command()
        .args(["test", "--release", "--package", "core0", "--lib", "the_kernel_does_what_the_model_does"])
        .args(["--", "--nocapture"])
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true")
        .env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true")
        .env("HIC_MODEL_STEPS", steps.to_string())
        .env("HIC_MODEL_SEED", "1000000")
        .status()
        .context("cannot run cargo")?;
    anyhow::ensure!(status.success(), "the kernel and its model differ");
    Ok(())
}

/// Runs the tests and prints the last line.
#[must_use]
pub fn run(options: &TestOptions) -> ExitCode {
    if options.list {
        cases::ALL.iter().for_each(|test| println!("{}", test.name));
        return ExitCode::SUCCESS;
    }
    let started = Instant::now();
    let mut summary = Summary::default();
    if let Err(error) = run_all(options, &mut summary) {
        println!("error: {error:#}");
        summary.failed("xtask");
    }
    for (name, why) in summary.failures() {
        println!("failed: {name}");
        why.iter().for_each(|why| println!("  {why}"));
    }
    println!("took {:.0} s", started.elapsed().as_secs_f64());
    println!("{}", summary.last_line());
    if summary.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_all(options: &TestOptions, summary: &mut Summary) -> Result<()> {
    let filter = options.filter.as_deref();
    let wanted = system_tests(filter);
    if !wanted.is_empty() {
        deps::ensure(deps::TEST)?;
    }
    if wanted.iter().any(|test| test.needs == Needs::Medium) {
        deps::ensure(deps::UEFI)?;
    }
    let mut builder = Builder::new()?;
    if options.locked {
        builder.lock();
    }
    let target = builder.workspace.target_directory.clone();
    match filter {
        None => {
            checks::formatting(summary)?;
            check_size(summary);
            checks::lints(&builder.workspace, options.locked, summary)?;
            host::run(&builder.workspace, None, options.locked, summary)?;
        }
        Some(filter) if wanted.is_empty() => {
            host::run(&builder.workspace, Some(filter), options.locked, summary)?;
            anyhow::ensure!(
                !summary.is_empty(),
                "no test has {filter:?} in its name: `cargo xtask test --list` names the system tests"
            );
        }
        Some(_) => {}
    }
    if !wanted.is_empty() {
        run_system_tests(&wanted, &mut builder, &target, summary)?;
    }
    write_names(&target, summary.passed_tests())?;
    if filter.is_none() {
        check_coverage(summary);
    }
    Ok(())
}

/// The system tests that `filter` asks for.
fn system_tests(filter: Option<&str>) -> Vec<SystemTest> {
    let wanted = |test: &&SystemTest| match filter {
        Some(filter) => test.name.contains(filter),
        None => !cases::SLOW.contains(&test.name),
    };
    cases::ALL.iter().filter(wanted).copied().collect()
}

fn run_system_tests(
    wanted: &[SystemTest],
    builder: &mut Builder,
    target: &Path,
    summary: &mut Summary,
) -> Result<()> {
    let images = match builder.images(wanted) {
        Ok(images) => images,
        Err(error) => {
            // Not one of them can run, and each of them counts.
            println!("error: {error:#}");
            wanted.iter().for_each(|test| summary.failed(test.name));
            return Ok(());
        }
    };
    for profile in wanted.iter().map(|test| test.profile).collect::<BTreeSet<_>>() {
        if let Err(error) = disk::of_profile(builder, profile) {
            // Tests of this profile boot without a disk, and those that need one say so.
            println!("error: repository of {profile}: {error:#}");
        }
    }
    for result in runner::run(wanted, images, target) {
        match result.verdict {
            Verdict::Passed => summary.passed(result.name),
            Verdict::Failed(why) => summary.failed_because(result.name, why),
            Verdict::Skipped(_) => summary.skipped(),
        }
    }
    Ok(())
}

fn check_size(summary: &mut Summary) {
    match size::check_kernel(hic_tests::workspace::root()) {
        Ok(size) => {
            println!("check kernel-size ... ok: {size}");
            summary.passed("kernel-size");
        }
        Err(error) => {
            println!("check kernel-size ... FAILED: {error:#}");
            summary.failed("kernel-size");
        }
    }
}

/// Leaves the names of all tests that passed in `target/hic/tests-ran.json`.
fn write_names(target: &Path, names: &BTreeSet<String>) -> Result<()> {
    let folder = target.join("hic");
    let file = folder.join("tests-ran.json");
    let json = serde_json::to_vec_pretty(&serde_json::json!({ "passed": names }))?;
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(&file, json))
        .with_context(|| format!("cannot write {}", file.display()))
}

fn check_coverage(summary: &mut Summary) {
    match coverage::check_workspace(hic_tests::workspace::root(), summary.passed_tests()) {
        Ok(report) => {
            println!("coverage: {report}");
            summary.passed("coverage");
        }
        Err(error) => {
            println!("coverage: {error:#}");
            summary.failed("coverage");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_the_system_tests_whose_name_contains_it() {
        let names = |filter| system_tests(filter).iter().map(|test| test.name).collect::<Vec<_>>();
        assert_eq!(names(Some("soak")), ["tcp_soak", "update_soak"]);
        assert_eq!(names(Some("no such test")), [""; 0]);
        assert_eq!(names(None).len(), cases::ALL.len() - cases::SLOW.len());
        assert_eq!(names(Some(cases::SLOW[0])), [cases::SLOW[0]]);
    }
}
