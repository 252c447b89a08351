//! What an author does every day: a new service, a look at what changed, help.

mod common;

use std::path::Path;
use std::process::Command;

use common::tool::{bad, good, refused};
use common::{Elf, MANIFEST};
use serde_json::Value;

/// A folder with the modules `old.hicmod` and `new.hicmod`, whose manifests are [`MANIFEST`] and what `change` makes of it.
fn two_modules(change: impl FnOnce(String) -> String) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (name, text) in [("old", MANIFEST.to_owned()), ("new", change(MANIFEST.to_owned()))] {
        let provides = hicmod_tool::parse_manifest(&text).unwrap().provides;
        let exports: Vec<&str> = provides.iter().map(|service| service.as_str()).collect();
        std::fs::write(at.join("echo.elf"), Elf::that_exports(&exports).bytes()).unwrap();
        std::fs::write(at.join(format!("{name}.toml")), text).unwrap();
        good(&format!("pack --elf echo.elf --manifest {name}.toml --out {name}.hicmod"), at);
    }
    folder
}

fn changes(folder: &Path) -> Vec<(String, String, String)> {
    let json: Value = serde_json::from_str(&good("diff old.hicmod new.hicmod --json", folder)).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let changes = json["changes"].as_array().unwrap();
    changes.iter().map(|c| (text(&c["weight"]), text(&c["field"]), text(&c["text"]))).collect()
}

#[test]
fn what_asks_for_more_is_said_first() {
    let folder = two_modules(|text| {
        text.replace("0.1.0", "0.2.0")
            .replace("[\"echo\"]", "[\"other\"]")
            .replace("stack_pages = 4", "stack_pages = 2")
            + "authority = [\"power\", \"clock\"]\nneeds = [{ service = \"netstack\" }]\nheap_pages = 8\n"
    });
    let at = folder.path();
    let all = changes(at);
    let of = |weight: &str| -> Vec<&str> {
        all.iter().filter(|change| change.0 == weight).map(|change| change.1.as_str()).collect()
    };
    assert_eq!(of("asks-for-more"), ["authority", "authority", "heap_pages", "needs"]);
    assert_eq!(of("may-break"), ["exports", "provides"]);
    let order: Vec<usize> = ["asks-for-more", "may-break", "changed", "harmless"]
        .iter()
        .filter_map(|weight| all.iter().position(|change| change.0 == *weight))
        .collect();
    assert!(order.is_sorted(), "{all:?}");
    let text = good("diff old.hicmod new.hicmod", at);
    assert!(
        text.starts_with("echo 0.1.0 -> echo 0.2.0\nASKS FOR MORE\n  authority      new: clock\n"),
        "{text}"
    );
    for part in ["new: power", "new: netstack", "gone: echo", "0 -> 8", "4 -> 2"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_second_device_of_a_kind_is_another_device() {
    let claim = "{ ids = [\"1af4:1041\"], dma_pages = 64 }";
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let other = claim.replace("64", "32");
    let lists = [("one", vec![claim]), ("two", vec![claim, claim]), ("mixed", vec![claim, &other])];
    for (name, claims) in lists.into_iter().chain([("turned", vec![other.as_str(), claim])]) {
        let text =
            MANIFEST.replace("\"service\"", "\"driver\"") + &format!("devices = [{}]\n", claims.join(", "));
        std::fs::write(at.join("echo.elf"), Elf::good().bytes()).unwrap();
        std::fs::write(at.join("hicmod.toml"), text).unwrap();
        good(&format!("pack --elf echo.elf --manifest hicmod.toml --out {name}.hicmod"), at);
    }
    let more = |old: &str, new: &str| {
        let (code, _) = bad(&format!("diff {old}.hicmod {new}.hicmod --fail-on asks-for-more"), at);
        assert_eq!(code, 4, "{old} {new}");
        good(&format!("diff {old}.hicmod {new}.hicmod"), at)
    };
    let text = more("one", "two");
    assert!(text.contains("devices        new: 1af4:1041 #2 (dma_pages 64)"), "{text}");
    more("mixed", "two");
    assert!(more("mixed", "turned").contains("1af4:1041 #2: dma_pages 32 -> dma_pages 64"));
    let text = good("diff two.hicmod one.hicmod --fail-on may-break", at);
    assert!(text.contains("gone: 1af4:1041 #2"), "{text}");
}

#[test]
fn a_change_that_somebody_must_agree_to_ends_with_a_code_of_its_own() {
    let folder = two_modules(|text| text + "authority = [\"power\"]\n");
    let at = folder.path();
    let (code, said) = bad("diff old.hicmod new.hicmod --fail-on asks-for-more", at);
    assert!(code == 4 && said.contains("agree"), "{code} {said}");
    good("diff new.hicmod old.hicmod --fail-on may-break", at);
    assert_eq!(bad("diff new.hicmod old.hicmod --fail-on changed", at).0, 4);
    assert!(good("diff old.hicmod old.hicmod --fail-on changed", at).contains("no difference"));
    let (code, said) = bad("diff old.hicmod echo.elf", at);
    assert!(code == 1 && said.contains("the new module"), "{code} {said}");
}

#[test]
fn every_part_of_an_update_section_is_weighed() {
    let update = "[update]\nschema = 2\nreadable_by = 1\nreads = 1\ntested_with = [\"0.0.9\"]\n";
    let folder = two_modules(|text| text + update);
    assert!(changes(folder.path()).iter().any(|c| c.1 == "update.schema" && c.2 == "new: 2"));
    let (old, new) = (folder.path().join("old.hicmod"), folder.path().join("new.hicmod"));
    let swap = folder.path().join("swap");
    std::fs::rename(&old, &swap).and_then(|()| std::fs::rename(&new, &old)).unwrap();
    std::fs::rename(&swap, &new).unwrap();
    let gone = changes(folder.path());
    assert!(gone.iter().any(|c| c.1 == "update.schema" && c.0 == "may-break"), "{gone:?}");
}

/// The skeleton builds, its tests run, and it becomes a module, outside of the workspace, as the README in it says.
#[test]
fn a_new_service_builds_and_becomes_a_module() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let hic = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let said = good(&format!("new my-hello --hic {} --port 7101", hic.display()), at);
    assert!(said.contains("my-hello/README.md says what comes next"), "{said}");
    let package = at.join("my-hello");
    let cargo = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO"));
        command.args(words).current_dir(&package).env("CARGO_TARGET_DIR", package.join("target"));
        command.env_remove("CARGO_FEATURE_FREESTANDING").env("RUSTFLAGS", "-Dwarnings");
        let output = command.output().expect("cargo runs");
        assert!(output.status.success(), "cargo {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    cargo(&["test", "--offline", "--quiet"]);
    cargo(&["build", "--offline", "--quiet", "--features", "freestanding"]);
    good("pack --elf target/debug/my-hello --manifest hicmod.toml --out my-hello.hicmod", &package);
    let text = good("inspect my-hello.hicmod", &package);
    assert!(text.contains("my-hello 0.1.0") && text.contains("Says hello over TCP port 7101"), "{text}");
    assert!(refused(&format!("new my-hello --hic {}", hic.display()), at).contains("is there already"));
    assert!(refused(&format!("new other --hic {}", at.display()), at).contains("no checkout of HIC"));
}

#[test]
fn a_reader_that_wants_no_more_changes_neither_work_nor_exit_code() {
    let folder = two_modules(|text| text + "authority = [\"power\"]\n");
    let at = folder.path();
    let unread = |arguments: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hicmod-tool"));
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        command.args(arguments.split(' ')).current_dir(at).stdout(writer.try_clone().unwrap()).stderr(writer);
        command.status().unwrap().code()
    };
    assert_eq!(unread("inspect old.hicmod"), Some(0));
    assert_eq!(unread("diff old.hicmod new.hicmod --fail-on asks-for-more"), Some(4));
    assert_eq!(unread("key --out key --public public --no-passphrase"), Some(0));
    assert!(at.join("key").exists() && at.join("public").exists());
    assert_eq!(unread("completions bash"), Some(0));
    assert_eq!(unread("inspect nothing"), Some(1));
    assert_eq!(unread("--help"), Some(0));
    // A full disk is another thing.
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" inspect old.hicmod > /dev/full", env!("CARGO_BIN_EXE_hicmod-tool")]);
    let output = shell.current_dir(at).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("cannot print: No space"), "{said}");
}

#[test]
fn shells_and_man_learn_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for shell in ["bash", "zsh", "fish"] {
        let text = good(&format!("completions {shell}"), at);
        for word in ["rotate-root", "fail-on", "passphrase-file"] {
            assert!(text.contains(word), "{word} for {shell}");
        }
    }
    good("man --out man1", at);
    for page in ["hicmod-tool.1", "hicmod-tool-ca-rotate-root.1", "hicmod-tool-sign.1"] {
        let text = std::fs::read_to_string(at.join("man1").join(page)).unwrap();
        assert!(text.starts_with(".ie") && text.contains(".TH"), "{page}");
    }
    assert!(good("--help", at).contains("Exit codes: 0 done"));
}
