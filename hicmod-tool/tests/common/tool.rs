//! Runs the command, and the real `openssl` beside it.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::Path;
use std::process::{Command, Output};

/// The command with these words; `'…'` keeps words together.
pub fn tool(arguments: &str, folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hicmod-tool"));
    command.args(words(arguments)).current_dir(folder).env("SECRET", "correct horse");
    command.stdin(std::process::Stdio::null()).output().expect("the command runs")
}

/// What the command prints when it does what it is asked for.
pub fn good(arguments: &str, folder: &Path) -> String {
    let output = tool(arguments, folder);
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What it says when it does not, and its exit code.
pub fn bad(arguments: &str, folder: &Path) -> (i32, String) {
    let output = tool(arguments, folder);
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(!output.status.success(), "{arguments} succeeded: {said}");
    assert!(!said.contains("panicked"), "{arguments}: {said}");
    (output.status.code().unwrap_or(-1), said)
}

/// As [`bad`], without the code.
pub fn refused(arguments: &str, folder: &Path) -> String {
    bad(arguments, folder).1
}

/// What the real openssl prints.
pub fn openssl(arguments: &str, folder: &Path) -> String {
    let (status, said, out) = openssl_says(arguments, folder);
    assert!(status, "openssl {arguments}: {said}");
    out
}

/// Whether it succeeds, what it says and prints.
pub fn openssl_says(arguments: &str, folder: &Path) -> (bool, String, String) {
    let output = Command::new("openssl").args(words(arguments)).current_dir(folder).output();
    let output = output
        .expect("openssl is there; `cargo xtask test` installs it, or type: sudo apt-get install openssl");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stderr), text(&output.stdout))
}

fn words(line: &str) -> Vec<String> {
    let mut all = Vec::new();
    for (number, part) in line.split('\'').enumerate() {
        match number % 2 {
            0 => all.extend(part.split_whitespace().map(str::to_owned)),
            _ => all.push(part.to_owned()),
        }
    }
    all
}
