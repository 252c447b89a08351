//! The host tests: `cargo test`, read line by line, so that every test is known by package and name.

use std::io::{BufRead, BufReader, Write};

use anyhow::{Context, Result};

use super::summary::Summary;
use crate::cargo::{self, Workspace};

/// What one line of cargo's or a test program's output says.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    /// A test program of this crate begins; `file` is set for programs in `tests/`.
    Program { krate: &'a str, integration: bool },
    /// A test ended.
    Test { name: &'a str, verdict: Verdict },
    /// Details of failures begin.
    Failures,
    /// A test program ended.
    Result(&'a str),
    /// Anything else.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    Ignored,
}

/// Runs all host tests, or those whose name contains `filter`.
pub fn run(workspace: &Workspace, filter: Option<&str>, locked: bool, summary: &mut Summary) -> Result<()> {
    println!("building the host tests");
    let (reader, writer) = std::io::pipe()?;
    let mut command = cargo::command();
    command.args(["test", "--workspace", "--no-fail-fast"]).env("CARGO_TERM_COLOR", "never");
    if locked {
        command.arg("--locked");
    }
    command.args(filter);
    // One pipe for both: cargo names each program on one stream, the program reports on the other.
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().context("cannot run cargo")?;
    // The command holds our copies of the pipe's end.
    drop(command);

    let log_path = workspace.target_directory.join("hic").join("host-tests.log");
    std::fs::create_dir_all(workspace.target_directory.join("hic"))?;
    let mut log = std::fs::File::create(&log_path)?;
    let mut report = HostReport::new(workspace, summary);
    let mut input = BufReader::new(reader);
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        log.write_all(&line)?;
        report.take(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    let failures = report.failures;
    if !child.wait()?.success() && failures == 0 {
        // It did not compile, or a program crashed: then there is no line of a failed test.
        let log = std::fs::read_to_string(&log_path).unwrap_or_default();
        println!("{}", hic_tests::text::tail(&log, 100));
        summary.failed("host tests");
    }
    Ok(())
}

/// Follows the output and counts.
struct HostReport<'a> {
    workspace: &'a Workspace,
    summary: &'a mut Summary,
    /// Package of the program that runs.
    package: String,
    /// What precedes the test's own path in its name.
    prefix: String,
    /// Whether the lines are details of a failure.
    details: bool,
    failures: usize,
}

impl<'a> HostReport<'a> {
    fn new(workspace: &'a Workspace, summary: &'a mut Summary) -> Self {
        let (package, prefix) = (String::new(), String::new());
        Self { workspace, summary, package, prefix, details: false, failures: 0 }
    }

    fn take(&mut self, line: &str) {
        match parse(line) {
            Line::Program { krate, integration } => self.begin(krate, integration),
            Line::Test { name, verdict } => self.count(name, verdict),
            Line::Failures => self.details = true,
            Line::Result(what) => {
                self.details = false;
                if !what.starts_with("ok. 0 passed; 0 failed; 0 ignored") {
                    let counts = what.split("; 0 measured").next().unwrap_or(what);
                    println!("host {} ... {counts}", self.package);
                }
            }
            Line::Other if self.details => println!("{line}"),
            Line::Other => {}
        }
    }

    fn begin(&mut self, krate: &str, integration: bool) {
        let package = self.workspace.package_of_crate(krate).map_or(krate, |package| &package.name);
        self.package = package.to_owned();
        self.prefix = if integration { format!("{package}::{krate}") } else { package.to_owned() };
        self.details = false;
    }

    fn count(&mut self, name: &str, verdict: Verdict) {
        let name = format!("{}::{name}", self.prefix);
        match verdict {
            Verdict::Passed => self.summary.passed(&name),
            Verdict::Ignored => self.summary.skipped(),
            Verdict::Failed => {
                println!("test {name} ... FAILED");
                self.failures += 1;
                self.summary.failed(&name);
            }
        }
    }
}

fn parse(line: &str) -> Line<'_> {
    if let Some(rest) = line.trim_start().strip_prefix("Running ") {
        return program(rest).unwrap_or(Line::Other);
    }
    if let Some(krate) = line.trim_start().strip_prefix("Doc-tests ") {
        return Line::Program { krate, integration: false };
    }
    if let Some(result) = line.strip_prefix("test result: ") {
        return Line::Result(result);
    }
    if line == "failures:" {
        return Line::Failures;
    }
    line.strip_prefix("test ").and_then(test).unwrap_or(Line::Other)
}

/// `unittests src/lib.rs (target/debug/deps/hic_tcp-0123abcd)` or `tests/long.rs (...)`.
fn program(rest: &str) -> Option<Line<'_>> {
    let (source, file) = rest.split_once(" (")?;
    let file = file.strip_suffix(')')?.rsplit('/').next()?;
    let (krate, _hash) = file.rsplit_once('-')?;
    Some(Line::Program { krate, integration: !source.starts_with("unittests ") })
}

/// `path::name ... ok`; a test that must panic has a remark between name and verdict.
fn test(rest: &str) -> Option<Line<'_>> {
    let (name, verdict) = rest.rsplit_once(" ... ")?;
    let verdict = match verdict {
        "ok" => Verdict::Passed,
        "FAILED" => Verdict::Failed,
        ignored if ignored.starts_with("ignored") => Verdict::Ignored,
        _ => return None,
    };
    Some(Line::Test { name: name.trim_end_matches(" - should panic"), verdict })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_tests_are_read_from_cargos_output() {
        let lib = "     Running unittests src/lib.rs (target/debug/deps/hic_tcp-0f3c)";
        assert_eq!(parse(lib), Line::Program { krate: "hic_tcp", integration: false });
        let file = "     Running tests/long.rs (/t/debug/deps/long-77aa)";
        assert_eq!(parse(file), Line::Program { krate: "long", integration: true });
        assert_eq!(parse("   Doc-tests hic_abi"), Line::Program { krate: "hic_abi", integration: false });
        let test = |line| match parse(line) {
            Line::Test { name, verdict } => (name, verdict),
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(test("test a::b ... ok"), ("a::b", Verdict::Passed));
        assert_eq!(test("test a::b - should panic ... ok"), ("a::b", Verdict::Passed));
        assert_eq!(test("test a::b ... ignored, slow"), ("a::b", Verdict::Ignored));
        assert_eq!(
            test("test src/lib.rs - f (line 3) ... FAILED"),
            ("src/lib.rs - f (line 3)", Verdict::Failed)
        );
        assert_eq!(parse("test result: ok. 1 passed"), Line::Result("ok. 1 passed"));
        assert_eq!(parse("   Compiling x v0.1.0"), Line::Other);
    }

    #[test]
    fn a_test_is_named_by_its_package_and_its_file() {
        let workspace: Workspace = serde_json::from_str(
            r#"{"target_directory": "/t", "packages": [{"name": "hic-tcp", "manifest_path": "/w/Cargo.toml",
                "features": {}, "targets": [{"name": "hic_tcp", "kind": ["lib"]}, {"name": "long", "kind": ["test"]}]}]}"#,
        )
        .expect("well-formed");
        let mut summary = Summary::default();
        let mut report = HostReport::new(&workspace, &mut summary);
        report.take("     Running unittests src/lib.rs (target/debug/deps/hic_tcp-0f3c)");
        report.take("test a::b ... ok");
        report.take("     Running tests/long.rs (target/debug/deps/long-0f3c)");
        report.take("test c ... ok");
        report.take("test d ... FAILED");
        assert_eq!(report.failures, 1);
        let names: Vec<&str> = summary.passed_tests().iter().map(String::as_str).collect();
        assert_eq!(names, ["hic-tcp::a::b", "hic-tcp::long::c"]);
        assert_eq!(summary.failures().collect::<Vec<_>>(), [("hic-tcp::long::d", None)]);
    }
}
