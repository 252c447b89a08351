//! The command and the library around flattening: manifests, archives, reports, messages.

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::{Elf, MANIFEST};
use hicmod_tool::{PackError, Report, archive, inspect, pack, parse_manifest};

#[test]
fn a_manifest_with_every_field_is_read() {
    let text = r#"
        name = "console"
        version = "1.0.0"
        summary = "Serial console"
        kind = "driver"
        order = 2
        priority = 12
        budget_us = 1000
        period_us = 10000
        cpu = "hard"
        stack_pages = 8
        heap_pages = 32
        cspace_slots = 256
        state_regions = [{ name = "history", pages = 1 }]
        provides = ["console"]
        needs = [{ service = "log", optional = true }]
        devices = [{ ids = ["1af4:1041", "1af4:1000"], dma_pages = 64 }]
        ioports = [{ base = 0x3f8, len = 8 }]
        irqs = [4]
        authority = ["clock", "entropy", "audit", "inspect", "log-read", "power", "manage"]
        restart = "never"
    "#;
    let manifest = parse_manifest(text).unwrap();
    assert_eq!(manifest.ioports[0].base, 0x3f8);
    assert_eq!(manifest.devices[0].ids[1].to_string(), "1af4:1000");
    assert!(manifest.needs[0].optional);
}

#[test]
fn mistakes_in_a_manifest_are_reported_with_place_and_remedy() {
    let message = |from: &str, to: &str| pack(&[], &MANIFEST.replace(from, to)).unwrap_err().to_string();
    let typo = message("priority", "priorty");
    assert!(typo.contains("line 6") && typo.contains("unknown field `priorty`"), "{typo}");
    assert!(message("priority = 10", "priority = 40").contains("priority: 40 is outside 0 to 31"));
    assert!(message("\"0.1.0\"", "\"0.1\"").contains("of the form \"1.2.3\""));
    assert!(message("order = 3", "").contains("missing field `order`"));
    assert!(message("\"echo\"", "\"Echo\"").contains("\"Echo\" is not a name"));
    assert!(
        message("kind = \"service\"", "kind = \"service\"\nirqs = [4]")
            .contains("only for kind = \"driver\"")
    );
}

#[test]
fn a_good_manifest_with_a_bad_file_blames_the_file() {
    assert!(matches!(pack(b"not an ELF", MANIFEST), Err(PackError::Elf(_))));
}

#[test]
fn an_archive_is_reported_with_its_modules_and_its_problems() {
    let module = pack(&Elf::good().bytes(), MANIFEST).unwrap();
    let mut damaged = module.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let bytes = archive(&[("echo", &module), ("bad", &damaged), ("motd", b"hello")]).unwrap();
    let Report::Archive(report) = inspect(&bytes).unwrap() else { panic!("not an archive") };
    assert_eq!(report.entries[0].module.as_deref(), Some("echo 0.1.0"));
    assert!(report.entries[1].problem.as_ref().unwrap().contains("damaged"));
    assert_eq!((&report.entries[2].module, &report.entries[2].problem), (&None, &None));
}

#[test]
fn damaged_files_are_refused_by_inspect() {
    let module = pack(&Elf::good().bytes(), MANIFEST).unwrap();
    let files = archive(&[("echo", &module)]).unwrap();
    for good in [&module, &files] {
        for length in [0, 1, 7, 8, 23, 24, 60, good.len() - 1] {
            assert!(inspect(&good[..length]).is_err(), "cut to {length}");
        }
    }
    assert!(inspect(b"\x7fELF\x02\x01\x01\0").unwrap_err().to_string().contains("not a module"));
}

fn tool(arguments: &[&str], directory: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hicmod-tool")).args(arguments).current_dir(directory).output().unwrap()
}

#[test]
fn the_command_packs_archives_and_inspects() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    std::fs::write(at.join("echo.elf"), Elf::good().bytes()).unwrap();
    std::fs::write(at.join("hicmod.toml"), MANIFEST).unwrap();

    let packed =
        tool(&["pack", "--elf", "echo.elf", "--manifest", "hicmod.toml", "--out", "echo.hicmod"], at);
    assert!(packed.status.success(), "{packed:?}");
    let archived = tool(&["archive", "--out", "boot", "echo=echo.hicmod", "notes=hicmod.toml"], at);
    assert!(archived.status.success(), "{archived:?}");

    let json = tool(&["inspect", "echo.hicmod", "--json"], at).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!((&json["type"], &json["manifest"]["version"]), (&"module".into(), &"0.1.0".into()));
    assert_eq!(json["image"]["entry"], 0x1010);
    let text = String::from_utf8(tool(&["inspect", "boot"], at).stdout).unwrap();
    assert!(text.contains("2 files") && text.contains("echo 0.1.0"), "{text}");
}

#[test]
fn the_command_fails_with_one_message_that_names_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let missing = tool(&["inspect", "nowhere.hicmod"], directory.path());
    assert!(!missing.status.success());
    let message = String::from_utf8(missing.stderr).unwrap();
    assert!(message.starts_with("error: cannot read nowhere.hicmod"), "{message}");
    assert!(!tool(&["archive", "--out", "boot", "no-equals-sign"], directory.path()).status.success());
}

/// The command where no file may be longer than half a KiB, as on a disk that is full.
fn on_a_full_disk(arguments: &[&str], directory: &Path) -> Output {
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_hicmod-tool")]);
    shell.args(arguments).current_dir(directory).output().unwrap()
}

#[test]
fn a_full_disk_costs_no_file_and_leaves_no_part_of_one() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    std::fs::write(at.join("long"), [7; 4096]).unwrap();
    std::fs::write(at.join("boot"), "the archive before").unwrap();
    let failed = on_a_full_disk(&["archive", "--out", "boot", "long=long"], at);
    let said = String::from_utf8(failed.stderr).unwrap();
    assert!(said.contains("cannot write boot: File too large"), "{said}");
    assert_eq!(std::fs::read_to_string(at.join("boot")).unwrap(), "the archive before");
    let failed = on_a_full_disk(&["key", "--out", "key", "--no-passphrase"], at);
    let said = String::from_utf8(failed.stderr).unwrap();
    assert!(said.contains("key: File too large"), "{said}");
    assert_eq!(std::fs::read_dir(at).unwrap().count(), 2, "something was left behind");
    let tried_again = tool(&["key", "--out", "key", "--no-passphrase"], at);
    assert!(tried_again.status.success(), "{tried_again:?}");
}
