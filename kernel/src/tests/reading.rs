//! The reader's guide names functions; a guide to what is no longer there is worse than none.

use std::fs;
use std::path::{Path, PathBuf};
use std::string::String;
use std::vec::Vec;

/// Lower-case words that the guide marks and that are no names here: instructions, and an error as the console shows it.
const WORDS: [&str; 3] = ["syscall", "sysret", "timeout"];

/// All Rust files below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of this workspace") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Whether a text defines this name, as one of the things that the guide names.
fn defines(text: &str, name: &str) -> bool {
    let kinds = ["fn ", "struct ", "enum ", "static ", "type "];
    kinds.iter().any(|kind| {
        let mut places = text.match_indices(kind).map(|(at, _)| &text[at + kind.len()..]);
        places.any(|rest| {
            rest.strip_prefix(name)
                .is_some_and(|rest| !rest.starts_with(|c: char| c == '_' || c.is_alphanumeric()))
        })
    })
}

#[test]
fn whatever_the_readers_guide_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let guide = fs::read_to_string(root.join("docs/book/reading.md")).expect("the guide");
    let mut files = Vec::new();
    for folder in ["kernel/src", "libs/rt/src", "libs/abi/src"] {
        sources(&root.join(folder), &mut files);
    }
    let texts: Vec<String> = files.iter().map(|path| fs::read_to_string(path).expect("a text")).collect();
    let named: Vec<&str> =
        guide.split("```").step_by(2).flat_map(|part| part.split('`').skip(1).step_by(2)).collect();
    assert!(named.len() > 60, "the guide names {} things", named.len());
    for name in named {
        if name.ends_with(".rs") {
            assert!(files.iter().any(|path| path.ends_with(name)), "{name} is no file");
            continue;
        }
        // A type with its function, a function alone; words of the machine and values are none of ours.
        let parts: Vec<&str> = name.split("::").collect();
        let is_name =
            |part: &&str| part.chars().all(|c| c.is_ascii_lowercase() || c == '_') && !WORDS.contains(part);
        for part in parts.iter().filter(|part| parts.len() > 1 || is_name(part)) {
            assert!(texts.iter().any(|text| defines(text, part)), "nothing is called {part}, of {name}");
        }
    }
}
