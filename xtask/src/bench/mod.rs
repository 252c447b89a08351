//! `cargo xtask bench`: boots the profile that measures and reads its figures from the serial line.
//!
//! Then what an update costs is read from the default profile, what its clients notice is measured, and bulk TCP echo is compared with a Linux guest on the same QEMU.
//!
//! The kernel's figures and their limits are in [`hic_tests::figures`].

mod bulk;
mod gap;
mod linux;
mod modules;
mod resolver;
mod update;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use hic_tests::figures::{self, Figure};
use hic_tests::qemu::Machine;
use hic_tests::vm::{Vm, VmOptions};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::cli::{BenchOptions, BenchPart};
use crate::deps;
use crate::image::Builder;

/// What is written to `target/bench/report.json`.
#[derive(Debug, Serialize)]
struct Report {
    kernel_sha256: String,
    figures: Vec<Figure>,
}

/// Measures, prints the table, writes the report.
pub fn run(options: &BenchOptions) -> Result<()> {
    deps::ensure(deps::BENCH)?;
    deps::ensure(deps::RUN)?;
    let mut builder = Builder::new()?;
    let kernel = builder.kernel()?;
    let folder = builder.workspace.target_directory.join("bench");
    let mut figures = Vec::new();
    if options.wants(BenchPart::Kernel) {
        let mut machine = builder.boot_files(&options.profile)?.machine();
        machine.icount = true;
        figures.extend(measure(machine, &folder)?);
    }
    if options.wants(BenchPart::Resolver) {
        figures.extend(resolver::measure()?);
    }
    if options.wants(BenchPart::Modules) {
        figures.extend(modules::measure(&mut builder, &folder)?);
    }
    if options.wants(BenchPart::Update) {
        figures.extend(update::measure(machine_with_repository(&mut builder, &folder)?, &folder)?);
    }
    if options.wants(BenchPart::Clients) {
        figures.extend(gap::measure(machine_with_repository(&mut builder, &folder)?, &folder)?);
    }
    if options.wants(BenchPart::Linux) {
        figures.extend(compare(&mut builder, &folder)?);
    }
    let report = Report { kernel_sha256: sha256(&kernel)?, figures };
    print!("{}", table(&report));
    let file = folder.join("report.json");
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(&file, serde_json::to_vec(&report)?))
        .with_context(|| format!("cannot write {}", file.display()))?;
    println!("report {}", file.display());
    let missing = missing(options, &report.figures);
    ensure!(missing.is_empty(), "not measured: {}", missing.join(", "));
    let complaints =
        if options.wants(BenchPart::Kernel) { figures::complaints(&report.figures) } else { Vec::new() };
    ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
    Ok(())
}

/// Bulk echo as a ratio to a Linux guest, with both rates beside it for whoever wants to know the host.
fn compare(builder: &mut Builder, folder: &Path) -> Result<Vec<Figure>> {
    let linux = linux::prepare(builder.workspace.target_directory.as_ref())?;
    let rates = bulk::measure(default_machine(builder)?, &linux, folder)?;
    Ok(vec![
        Figure::rounded("bulk_echo_to_linux", "% of a Linux guest, same QEMU", rates.per_cent())?,
        Figure::rounded("bulk_echo_hic", "Mbit/s, this host, this run", rates.hic)?,
        Figure::rounded("bulk_echo_linux", "Mbit/s, this host, this run", rates.linux)?,
    ])
}

/// The machine that `run` boots: the repository that has the new version, and an empty system disk.
fn machine_with_repository(builder: &mut Builder, folder: &Path) -> Result<Machine> {
    let repository = crate::disk::of_profile(builder, crate::profiles::DEFAULT)?;
    let repository = repository.context("the profile has no repository")?;
    let mut machine = default_machine(builder)?;
    let disk = folder.join(hic_tests::disk::IMAGE);
    let system = folder.join(hic_tests::disk::SYSTEM_IMAGE);
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    hic_tests::disk::copy(&repository, &disk)?;
    hic_tests::disk::create(&system, &[])?;
    machine.disks.push(disk);
    machine.system = Some(system);
    Ok(machine)
}

/// The default profile, without a disk.
fn default_machine(builder: &mut Builder) -> Result<Machine> {
    Ok(builder.boot_files(crate::profiles::DEFAULT)?.machine())
}

fn measure(machine: Machine, folder: &Path) -> Result<Vec<Figure>> {
    let options = VmOptions { machine, ports: Vec::new(), log_dir: folder.to_owned(), tag: String::new() };
    let vm = Vm::boot(options, None)?;
    figures::measured(&vm, |line| println!("{line}"))
}

/// Names beside the kernel's that a run with these options must have, and has not.
fn missing(options: &BenchOptions, figures: &[Figure]) -> Vec<&'static str> {
    let there = |name: &&str| figures.iter().any(|figure| figure.name == *name);
    let parts: [(BenchPart, &[&str]); 3] = [
        (BenchPart::Modules, &modules::NAMES),
        (BenchPart::Update, &update::NAMES),
        (BenchPart::Clients, &gap::NAMES),
    ];
    let due = parts.into_iter().filter(|(part, _)| options.wants(*part)).flat_map(|(_, names)| names);
    due.copied().filter(|name| !there(name)).collect()
}

/// The middle one, or what is midway between the middle two; none of nothing.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let low = values.get(values.len().checked_sub(1)? / 2)?;
    let high = values.get(values.len() / 2)?;
    Some(f64::midpoint(*low, *high))
}

fn table(report: &Report) -> String {
    let mut table = format!("kernel sha256 {}\n", report.kernel_sha256);
    for Figure { name, unit, value } in &report.figures {
        let limit = figures::limit(name).map_or_else(String::new, |limit| format!(" (at most {limit})"));
        table += &format!("{name:<30} {:>12} {unit}{limit}\n", value.to_string());
    }
    table
}

fn sha256(file: &Path) -> Result<String> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        assert_eq!(median(vec![9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(vec![30.0, 10.0]), Some(20.0));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn a_run_of_one_part_must_have_the_figures_of_that_part() {
        let options =
            BenchOptions { profile: "bench".to_owned(), no_linux: false, only: vec![BenchPart::Clients] };
        assert_eq!(missing(&options, &[]), gap::NAMES);
    }

    #[test]
    fn the_report_has_the_shape_that_is_promised() {
        let figure = Figure { name: "a".into(), unit: "u".into(), value: 1.into() };
        let report = Report { kernel_sha256: "00".into(), figures: vec![figure] };
        let json = serde_json::to_string(&report).expect("serializable");
        assert_eq!(json, r#"{"kernel_sha256":"00","figures":[{"name":"a","unit":"u","value":1}]}"#);
    }
}
