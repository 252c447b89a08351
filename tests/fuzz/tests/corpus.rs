//! Every file of the corpus, and small changes of each, on the stable toolchain: what fuzzing once found stays found.

use std::fs;

use hic_fuzz::corpus::{MAX_FILE_BYTES, files, folder};
use hic_fuzz::edits::{Numbers, changed};
use hic_fuzz::{ALL, find};

/// Changes that are tried of each file. `HIC_FUZZ_CHANGES` sets another number.
const CHANGES: u32 = 24;
/// Most files in a target's folder: each says something that the others do not.
const MAX_FILES: usize = 60;

/// All files of a target, and changes of each.
fn replay(name: &str) {
    let target = find(name).expect("a target of this name");
    let changes =
        std::env::var("HIC_FUZZ_CHANGES").ok().map_or(CHANGES, |number| number.parse().expect("a number"));
    let files = files(target).expect("a folder that can be read");
    assert!(files.len() >= 2, "{name} has no corpus");
    for (number, file) in files.iter().enumerate() {
        let bytes = fs::read(file).expect("a file");
        println!("{}", file.display());
        (target.run)(&bytes);
        let mut numbers = Numbers::new(number as u64);
        for change in 0..changes {
            println!("  change {change}");
            (target.run)(&changed(&bytes, &mut numbers));
        }
    }
    (target.run)(&[]);
}

macro_rules! replays {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(#[test]
        fn $test() {
            replay($name);
        })*

        #[test]
        fn every_target_is_replayed() {
            let replayed = [$($name),*];
            assert!(ALL.iter().map(|target| target.name).eq(replayed), "the tests here are not those of the table");
        }
    };
}

replays! {
    messages_of_boot_loaders_hold: "boot_message",
    boot_archives_hold: "boot_archive",
    containers_hold: "container",
    images_hold: "image",
    linked_files_hold: "elf",
    certificates_hold: "certificate",
    nothing_is_believed_that_was_not_signed: "signed_module",
    metadata_holds: "metadata",
    manifests_hold: "manifest",
    texts_of_manifests_hold: "manifest_text",
    sets_of_manifests_hold: "release",
    policies_hold: "policy",
    texts_of_policies_hold: "policy_text",
    plans_can_be_carried_out: "resolver",
    answers_of_servers_hold: "http_answer",
    requests_to_the_web_server_hold: "http_request",
    keys_and_lines_hold: "console",
    messages_between_services_hold: "messages",
    frames_hold: "frames",
    records_hold: "records",
}

#[test]
fn the_corpus_is_small_and_belongs_to_targets() {
    let known: Vec<_> = ALL.iter().map(folder).collect();
    let parent = known[0].parent().expect("a folder");
    for entry in fs::read_dir(parent).expect("the corpus").flatten() {
        assert!(known.contains(&entry.path()), "{} is no target's", entry.path().display());
        let files: Vec<_> = fs::read_dir(entry.path()).expect("a folder").flatten().collect();
        assert!(files.len() <= MAX_FILES, "{} has {} files", entry.path().display(), files.len());
        for file in files {
            let length = file.metadata().expect("a file").len();
            assert!(length <= MAX_FILE_BYTES, "{}: {length} bytes", file.path().display());
        }
    }
}

#[test]
fn every_target_has_a_program_for_the_fuzzer() {
    let here = hic_fuzz::corpus::here().join("libfuzzer");
    let manifest = fs::read_to_string(here.join("Cargo.toml")).expect("a manifest");
    for target in ALL {
        let program = fs::read_to_string(here.join("fuzz_targets").join(format!("{}.rs", target.name)));
        let program = program.unwrap_or_else(|error| panic!("{}: {error}", target.name));
        assert!(program.contains(&format!("\"{}\"", target.name)));
        assert!(
            manifest.contains(&format!("name = \"{}\"", target.name)),
            "{} is not in Cargo.toml",
            target.name
        );
    }
}
