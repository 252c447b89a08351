//! The services that a program exports: read from the linked file, compared with its manifest, shown.

mod common;

use common::tool::{good, refused};
use common::{Elf, MANIFEST, exports_note, note};
use hic_hicmod::{ImageError, Module};
use hicmod_tool::{ElfError, PackError, flatten, pack};
use serde_json::Value;

/// [`MANIFEST`] with other services in the place of `echo`.
fn provides(services: &str) -> String {
    MANIFEST.replace("provides = [\"echo\"]", &format!("provides = {services}"))
}

#[test]
fn what_a_program_exports_is_in_its_image_in_the_order_of_the_program() {
    for services in [&[][..], &["echo"], &["b", "a-name-of-24-bytes-is-it", "a"]] {
        let parts = flatten(&Elf::that_exports(services).bytes()).unwrap();
        assert_eq!(parts.exports, services);
    }
    let file = pack(&Elf::that_exports(&["b", "a"]).bytes(), &provides("[\"a\", \"b\"]")).unwrap();
    let module = Module::parse(&file).unwrap();
    assert_eq!(
        module.image.exports().iter().collect::<Vec<_>>(),
        ["b", "a"],
        "another order is no difference"
    );
    assert_eq!(module.manifest.provides, ["a", "b"]);
}

#[test]
fn a_program_that_serves_something_else_than_its_manifest_says_is_not_packed() {
    let refused = |exports: &[&str], provided: &str| {
        let error = pack(&Elf::that_exports(exports).bytes(), &provides(provided)).unwrap_err();
        let text = error.to_string();
        let PackError::Exports { program, manifest } = error else { panic!("{error}") };
        (program, manifest, text)
    };
    let none: [&str; 0] = [];
    let (program, manifest, text) = refused(&[], "[\"echo\"]");
    assert_eq!((&program[..], &manifest[..]), (&none.map(str::to_owned)[..], &["echo".to_owned()][..]));
    assert_eq!(
        text,
        "the manifest provides echo, which the program does not export: add to the exports of hic_rt::entry!, or take out of \
         `provides`"
    );
    let (program, manifest, text) = refused(&["echo"], "[]");
    assert_eq!((&program[..], &manifest[..]), (&["echo".to_owned()][..], &none.map(str::to_owned)[..]));
    assert_eq!(
        text,
        "the program exports echo, which the manifest does not provide: add to `provides`, or take out of hic_rt::entry!"
    );
    let (program, manifest, text) = refused(&["one", "both", "two"], "[\"three\", \"both\", \"four\"]");
    assert_eq!((program.join(" "), manifest.join(" ")), ("one two".to_owned(), "three four".to_owned()));
    assert!(
        text.contains("exports one, two, which") && text.contains("; the manifest provides three, four,"),
        "{text}"
    );
    assert!(pack(&Elf::that_exports(&[]).bytes(), &provides("[]")).is_ok(), "nothing on both sides");
}

#[test]
fn a_table_that_no_entry_macro_made_is_refused() {
    let with = |notes: &[Vec<u8>]| {
        let mut elf = Elf::that_exports(&[]);
        notes.iter().for_each(|bytes| elf.add_note(bytes.clone()));
        pack(&elf.bytes(), MANIFEST)
    };
    let ours = |description: &[u8]| note(b"HIC\0", 2, description);
    assert!(with(&[exports_note(&["echo"])]).is_ok());
    assert!(with(&[exports_note(&["echo"]), note(b"GNU\0", 2, b"of others")]).is_ok());
    let odd = with(&[ours(&[b'e'; 20])]).unwrap_err();
    assert!(matches!(odd, PackError::Elf(ElfError::Exports)), "{odd}");
    let no_text = with(&[ours(&[0xFF; 24])]).unwrap_err();
    assert!(matches!(no_text, PackError::Elf(ElfError::Exports)), "{no_text}");
    let two = with(&[exports_note(&["echo"]), exports_note(&["echo"])]).unwrap_err();
    assert!(matches!(two, PackError::Elf(ElfError::SecondExports)), "{two}");
    for (bytes, expected) in [
        (exports_note(&["Echo"]), ImageError::ExportName { index: 0 }),
        (ours(b"echo\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0x"), ImageError::ExportName { index: 0 }),
        (exports_note(&["echo", ""]), ImageError::ExportName { index: 1 }),
        (exports_note(&["echo", "echo"]), ImageError::ExportTwice { index: 1, first: 0 }),
        (
            exports_note(&["a", "b", "c", "d", "e", "f", "g", "h", "i"]),
            ImageError::TooManyExports { count: 9 },
        ),
    ] {
        let error = with(&[bytes]).unwrap_err();
        assert!(matches!(error, PackError::Image(found) if found == expected), "{error}");
    }
}

#[test]
fn the_command_shows_what_is_exported_and_what_changed_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (name, exports, provided) in [
        ("old", &["echo", "time"][..], "[\"time\", \"echo\"]"),
        ("new", &["echo", "date"], "[\"echo\", \"date\"]"),
        ("none", &[], "[]"),
    ] {
        std::fs::write(at.join("echo.elf"), Elf::that_exports(exports).bytes()).unwrap();
        std::fs::write(at.join("hicmod.toml"), provides(provided)).unwrap();
        good(&format!("pack --elf echo.elf --manifest hicmod.toml --out {name}.hicmod"), at);
    }
    let json: Value = serde_json::from_str(&good("inspect old.hicmod --json", at)).unwrap();
    assert_eq!(json["image"]["exports"], serde_json::json!(["echo", "time"]));
    let text = good("inspect old.hicmod", at);
    assert!(text.contains("\nexports    echo, time\n"), "{text}");
    assert!(good("inspect none.hicmod", at).contains("\nexports    nothing\n"));

    let json: Value = serde_json::from_str(&good("diff old.hicmod new.hicmod --json", at)).unwrap();
    let changes = json["changes"].as_array().unwrap();
    let of_exports: Vec<_> = changes
        .iter()
        .filter(|change| change["field"] == "exports")
        .map(|change| (change["weight"].as_str().unwrap(), change["text"].as_str().unwrap()))
        .collect();
    assert_eq!(of_exports, [("may-break", "gone: time"), ("harmless", "new: date")]);

    std::fs::write(at.join("hicmod.toml"), provides("[\"echo\"]")).unwrap();
    let message = refused("pack --elf echo.elf --manifest hicmod.toml --out bad.hicmod", at);
    assert!(message.contains("echo.elf with hicmod.toml: the manifest provides echo, which"), "{message}");
    assert!(!at.join("bad.hicmod").exists());
}
