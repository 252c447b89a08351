//! `cargo xtask bench`: boots the profile that measures and reads its figures from the serial line.
//!
//! Then what an update costs is read from the default profile, what its clients notice is measured, and bulk TCP echo is compared with a Linux guest on the same QEMU.
//!
//! Under `-icount shift=0` and without network or disk, so that a figure is a number of guest instructions and the same
//! on every machine. The guest prints `bench NAME VALUE UNIT` for each, then `bench done`.

mod bulk;
mod gap;
mod linux;
mod modules;
mod resolver;
mod update;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hic_tests::qemu::Machine;
use hic_tests::text;
use hic_tests::vm::{Vm, VmOptions};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::cli::{BenchOptions, BenchPart};
use crate::deps;
use crate::image::Builder;

/// How long all of it may take: a guard against a hang.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// What every report holds. No name is ever renamed, since reports of different years are compared.
const NAMES: [&str; 37] = [
    "null_syscall",
    "ipc_call_reply_0w",
    "ipc_call_reply_4w",
    "ipc_call_reply_looked_up",
    "notify_wait_rtt",
    "yield_rtt",
    "cap_copy",
    "cap_move",
    "cap_delete",
    "cap_copy_recorded",
    "cap_move_recorded",
    "cap_delete_recorded",
    "revoke_per_child",
    "revoke_per_mapped_child_1",
    "revoke_per_mapped_child_100",
    "revoke_per_mapped_child_1000",
    "port_switch_1",
    "port_switch_10000",
    "switch_ports_256",
    "page_map",
    "page_unmap",
    "region_create",
    "region_create_64",
    "region_destroy",
    "sandbox_create_destroy_4m",
    "audit_note",
    "audit_drain_per_record",
    "io_write",
    "interrupt_to_driver",
    "cap_copy_small",
    "cap_copy_grown",
    "port_switch_small",
    "port_switch_grown",
    "region_create_destroy_small",
    "region_create_destroy_grown",
    "sandbox_create_destroy_small",
    "sandbox_create_destroy_grown",
];

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Figure {
    name: String,
    unit: String,
    value: serde_json::Number,
}

impl Figure {
    /// A measured value to one decimal place.
    fn rounded(name: &str, unit: &str, value: f64) -> Result<Self> {
        let value = serde_json::Number::from_f64((value * 10.0).round() / 10.0)
            .context("a figure is not a number")?;
        Ok(Self { name: name.to_owned(), unit: unit.to_owned(), value })
    }
}

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
    let mut told = 0;
    let finished = vm.serial().wait(0, LIMIT, |seen| {
        let mut lines: Vec<&str> = text::lines(seen).into_iter().map(text::logged).collect();
        // The last line may still be under way.
        lines.pop();
        for line in lines.iter().skip(told).filter(|line| line.starts_with("bench ")) {
            println!("{line}");
        }
        told = lines.len();
        lines.contains(&"bench done").then(|| parse(&lines))
    });
    match finished {
        Ok(figures) => figures,
        Err(error) => {
            let tail = text::tail(&vm.serial_text(), 40);
            Err(error.context(format!("the benchmarks did not finish; the serial line ends:\n{tail}")))
        }
    }
}

/// The figures in `lines`. Lines that are not `bench ...` are the guest's log.
fn parse(lines: &[&str]) -> Result<Vec<Figure>> {
    let mut figures: Vec<Figure> = Vec::new();
    for line in lines {
        let Some(rest) = line.strip_prefix("bench ").filter(|rest| *rest != "done") else { continue };
        let mut words = rest.splitn(3, ' ');
        let (Some(name), Some(value), Some(unit)) = (words.next(), words.next(), words.next()) else {
            bail!("`bench NAME VALUE UNIT` was due, the guest printed `{line}`");
        };
        let value = value.parse().with_context(|| format!("the value in `{line}`"))?;
        ensure!(!figures.iter().any(|figure| figure.name == name), "{name} was measured twice");
        figures.push(Figure { name: name.to_owned(), unit: unit.trim().to_owned(), value });
    }
    ensure!(!figures.is_empty(), "the guest printed no figure");
    Ok(figures)
}

/// Names that a run with these options must have, and has not.
fn missing(options: &BenchOptions, figures: &[Figure]) -> Vec<&'static str> {
    let there = |name: &&str| figures.iter().any(|figure| figure.name == *name);
    let parts: [(BenchPart, &[&str]); 4] = [
        (BenchPart::Kernel, &NAMES),
        (BenchPart::Modules, &modules::NAMES),
        (BenchPart::Update, &update::NAMES),
        (BenchPart::Clients, &gap::NAMES),
    ];
    let due = parts.into_iter().filter(|(part, _)| options.wants(*part)).flat_map(|(_, names)| names);
    due.copied().filter(|name| !there(name)).collect()
}

fn table(report: &Report) -> String {
    let mut table = format!("kernel sha256 {}\n", report.kernel_sha256);
    for Figure { name, unit, value } in &report.figures {
        table += &format!("{name:<24} {:>12} {unit}\n", value.to_string());
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
    fn figures_are_read_from_among_the_log() {
        let lines = [
            "boot",
            "bench null_syscall 87 guest instructions",
            "[log] bench",
            "bench x 0.5 ratio",
            "bench done",
        ];
        let figures = parse(&lines).expect("two figures");
        assert_eq!(figures.len(), 2);
        assert_eq!(figures[0].unit, "guest instructions");
        assert_eq!(figures[0].value.as_u64(), Some(87));
        assert_eq!(figures[1].value.as_f64(), Some(0.5));
        let options = |only: &[BenchPart]| BenchOptions {
            profile: "bench".to_owned(),
            no_linux: false,
            only: only.to_vec(),
        };
        let all = missing(&options(&[]), &figures);
        assert!(all.contains(&"page_map") && !all.contains(&"null_syscall"));
        assert_eq!(missing(&options(&[BenchPart::Clients]), &figures), gap::NAMES);
    }

    #[test]
    fn a_line_that_is_not_a_figure_is_an_error_and_so_is_a_name_twice() {
        assert!(parse(&["bench null_syscall fast really"]).is_err());
        assert!(parse(&["bench null_syscall 87"]).is_err());
        assert!(parse(&["bench a 1 u", "bench a 1 u"]).is_err());
        assert!(parse(&["bench done"]).is_err());
    }

    #[test]
    fn the_report_has_the_shape_that_is_promised() {
        let figures = parse(&["bench a 1 u"]).expect("one");
        let report = Report { kernel_sha256: "00".into(), figures };
        let json = serde_json::to_string(&report).expect("serializable");
        assert_eq!(json, r#"{"kernel_sha256":"00","figures":[{"name":"a","unit":"u","value":1}]}"#);
    }
}
