//! The specification is what the code does: a reader that knows nothing of the code (docs/spec/hicmod.py, Python's standard library) and
//! our verifier say the same of every vector in docs/spec/vectors, and of bytes that chance made.
//!
//! `cargo test -p hicmod-tool --test spec -- --ignored` makes the vectors anew, with new keys.

#[path = "../common/mod.rs"]
mod common;
mod make;

use std::path::{Path, PathBuf};
use std::process::Command;

use hic_hicmod::{RevocationList, TrustRoot, VerifyError, verify};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One vector, as it is written in `vectors.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// What it is.
    pub name: String,
    /// The file that it is made of.
    pub file: String,
    /// Bytes (hex digits) that are put at an offset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<(usize, String)>,
    /// Length to which it is then cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<usize>,
    /// Bytes (hex digits) that are then put behind it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub append: String,
    /// The trusted root, if it is not that of the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// The revocation lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
    /// The time, if it is not that of the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<u64>,
    /// `good`, or the name of the check that must refuse it.
    pub expect: String,
    /// The manifest of a good one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Value>,
}

/// All of them.
#[derive(Debug, Serialize, Deserialize)]
pub struct Table {
    /// The time, seconds since 1970, UTC.
    pub now: u64,
    /// The trusted root.
    pub root: String,
    /// The vectors.
    pub vectors: Vec<Vector>,
}

fn specification() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/spec")
}

fn table(folder: &Path) -> Table {
    let text = std::fs::read_to_string(folder.join("vectors.json")).expect("the table of vectors");
    serde_json::from_str(&text).expect("a table")
}

impl Vector {
    /// The bytes of the module.
    fn bytes(&self, folder: &Path) -> Vec<u8> {
        let mut bytes = std::fs::read(folder.join(&self.file)).expect("the file of a vector");
        for (at, text) in &self.edits {
            let change = unhex(text);
            bytes[*at..at + change.len()].copy_from_slice(&change);
        }
        bytes.truncate(self.cut.unwrap_or(bytes.len()));
        bytes.extend(unhex(&self.append));
        bytes
    }

    /// What our verifier says of it: `good` or the name of a check.
    fn judged(&self, table: &Table, folder: &Path) -> &'static str {
        let read = |name: &str| std::fs::read(folder.join(name)).expect("a file of a vector");
        let root = read(self.root.as_ref().unwrap_or(&table.root));
        let lists = self.revoked.as_ref().map_or_else(Vec::new, |name| read(name));
        let judged = TrustRoot::parse(&root).and_then(|root| {
            let lists = RevocationList::parse(&lists)?;
            verify(&self.bytes(folder), &root, self.now.unwrap_or(table.now), &lists).map(drop)
        });
        judged.as_ref().map_or_else(VerifyError::check_name, |()| "good")
    }
}

/// What the independent reader says: name, check, manifest.
fn independent(vectors: &Path) -> Vec<(String, String, Value)> {
    let script = specification().join("hicmod.py");
    let output = Command::new("python3").arg(&script).arg("--vectors").arg(vectors).output();
    let output = output.expect("python3 is there; type: sudo apt-get install python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let line = |line: &str| {
        let mut said: Value = serde_json::from_str(line).expect("a line of JSON");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        (text(&said["name"]), text(&said["check"]), said["manifest"].take())
    };
    text.lines().map(line).collect()
}

#[test]
fn both_readers_say_of_every_vector_what_the_table_says() {
    let folder = specification().join("vectors");
    let table = table(&folder);
    let said = independent(&folder.join("vectors.json"));
    assert_eq!(said.len(), table.vectors.len());
    let mut wrong = Vec::new();
    for (vector, (name, check, manifest)) in table.vectors.iter().zip(said) {
        let ours = vector.judged(&table, &folder);
        if ours != vector.expect || check != vector.expect || name != vector.name {
            wrong.push(format!("{}: due {}, ours {ours}, theirs {check}", vector.name, vector.expect));
        }
        if let Some(due) = &vector.manifest {
            assert_eq!(&manifest, due, "{name}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_check_has_a_vector() {
    let table = table(&specification().join("vectors"));
    for check in make::CHECKS {
        assert!(table.vectors.iter().any(|vector| vector.expect == *check), "no vector for {check}");
    }
    assert!(table.vectors.iter().filter(|vector| vector.manifest.is_some()).count() >= 2);
}

#[test]
fn both_readers_agree_on_what_chance_does_to_a_module() {
    let folder = specification().join("vectors");
    let mut table = table(&folder);
    let base: Vec<Vector> = table.vectors.iter().filter(|vector| vector.expect == "good").cloned().collect();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    table.vectors.clear();
    for number in 0..400 {
        let mut vector = base[number % base.len()].clone();
        let length = vector.bytes(&folder).len();
        // Half of the changes hit the header and the tables, where the most is decided.
        let at = random(if number % 2 == 0 { 160 } else { length });
        vector.edits.push((at, format!("{:02x}", random(256))));
        vector.cut = (number % 7 == 0).then(|| random(length));
        vector.name = number.to_string();
        table.vectors.push(vector);
    }
    let place = tempfile::tempdir().expect("a folder");
    for entry in std::fs::read_dir(&folder).expect("the vectors").flatten() {
        std::fs::copy(entry.path(), place.path().join(entry.file_name())).expect("copied");
    }
    let path = place.path().join("vectors.json");
    std::fs::write(&path, serde_json::to_string(&table).expect("written")).expect("written");
    for (vector, (name, theirs, _)) in table.vectors.iter().zip(independent(&path)) {
        let ours = vector.judged(&table, &folder);
        assert_eq!(ours, theirs, "{name}: {vector:?}");
    }
}

#[test]
#[ignore = "makes the vectors anew, with new keys"]
fn make_the_vectors() {
    make::all(&specification().join("vectors"));
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().map(|digit| digit.to_digit(16).expect("hex") as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
