//! Does `docs/coverage.md` speak the truth?
//!
//! One table row for each ID of the ledger (`docs/ledger-ids.txt`): `| ID | status | code | test |`. A row that is not
//! `open` names code that exists and tests that ran and passed in this very run. Pure but for [`check_workspace`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// What the table says about one requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All of it is done and proven.
    Done,
    /// Some of it is.
    Partial,
    /// Nothing is claimed.
    Open,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The ledger's ID, such as `P2.1`.
    pub id: String,
    /// What is claimed.
    pub status: Status,
    /// Paths from the root of the workspace.
    pub code: Vec<String>,
    /// Names of tests.
    pub tests: Vec<String>,
}

/// Why the table cannot be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A line looks like a row and is none.
    BadRow { line: usize, why: String },
    /// Two rows for one ID.
    Twice { id: String },
    /// An ID of the ledger has no row.
    Missing { id: String },
    /// A row for an ID that the ledger does not have.
    Unknown { id: String },
    /// A claim without code.
    NoCode { id: String },
    /// A claim without a test.
    NoTest { id: String },
    /// Code that does not exist.
    NoSuchPath { id: String, path: String },
    /// A test that did not run, or did not pass.
    NotPassed { id: String, test: String },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRow { line, why } => write!(f, "line {line}: {why}"),
            Self::Twice { id } => write!(f, "{id}: two rows"),
            Self::Missing { id } => write!(f, "{id}: no row"),
            Self::Unknown { id } => write!(f, "{id}: not in docs/ledger-ids.txt"),
            Self::NoCode { id } => write!(f, "{id}: names no code; a claim does, or is `open`"),
            Self::NoTest { id } => write!(f, "{id}: names no test; a claim does, or is `open`"),
            Self::NoSuchPath { id, path } => write!(f, "{id}: {path} does not exist"),
            Self::NotPassed { id, test } => write!(f, "{id}: the test {test} did not run and pass"),
        }
    }
}

/// Counts of a table that is in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    done: usize,
    partial: usize,
    open: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} done, {} partial, {} open", self.done, self.partial, self.open)
    }
}

/// Checks the workspace at `root` against the tests that `passed`.
pub fn check_workspace(root: &Path, passed: &BTreeSet<String>) -> Result<Report> {
    let read =
        |name: &str| std::fs::read_to_string(root.join(name)).with_context(|| format!("cannot read {name}"));
    let ledger = read("docs/ledger-ids.txt")?;
    let table = read("docs/coverage.md")?;
    match check(&ledger, &table, &|path| root.join(path).exists(), passed) {
        Ok(report) => Ok(report),
        Err(faults) => {
            let lines: Vec<String> = faults.iter().map(Fault::to_string).collect();
            bail!("docs/coverage.md:\n  {}", lines.join("\n  "))
        }
    }
}

/// Checks `table` against the `ledger` (one ID a line), the paths that exist and the tests that passed.
pub fn check(
    ledger: &str,
    table: &str,
    exists: &dyn Fn(&str) -> bool,
    passed: &BTreeSet<String>,
) -> Result<Report, Vec<Fault>> {
    let (rows, mut faults) = parse(table);
    let ids: Vec<&str> = ledger.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut by_id: BTreeMap<&str, &Row> = BTreeMap::new();
    let mut report = Report::default();
    for row in &rows {
        if by_id.insert(&row.id, row).is_some() {
            faults.push(Fault::Twice { id: row.id.clone() });
        }
        if !ids.contains(&row.id.as_str()) {
            faults.push(Fault::Unknown { id: row.id.clone() });
        }
        faults.extend(check_row(row, exists, passed));
        match row.status {
            Status::Done => report.done += 1,
            Status::Partial => report.partial += 1,
            Status::Open => report.open += 1,
        }
    }
    let missing = ids.into_iter().filter(|id| !by_id.contains_key(id));
    faults.extend(missing.map(|id| Fault::Missing { id: id.to_owned() }));
    if faults.is_empty() { Ok(report) } else { Err(faults) }
}

fn check_row(row: &Row, exists: &dyn Fn(&str) -> bool, passed: &BTreeSet<String>) -> Vec<Fault> {
    let id = || row.id.clone();
    if row.status == Status::Open {
        return Vec::new();
    }
    let mut faults = Vec::new();
    if row.code.is_empty() {
        faults.push(Fault::NoCode { id: id() });
    }
    if row.tests.is_empty() {
        faults.push(Fault::NoTest { id: id() });
    }
    let paths = row.code.iter().filter(|path| !exists(path));
    faults.extend(paths.map(|path| Fault::NoSuchPath { id: id(), path: path.clone() }));
    let tests = row.tests.iter().filter(|test| !is_among(test, passed));
    faults.extend(tests.map(|test| Fault::NotPassed { id: id(), test: test.clone() }));
    faults
}

/// Whether `test` names one of `passed`: in full (`hic-tcp::timer::tests::doubles`), or by its last parts
/// (`timer::tests::doubles`, `doubles`).
fn is_among(test: &str, passed: &BTreeSet<String>) -> bool {
    passed.contains(test)
        || passed.iter().any(|full| full.strip_suffix(test).is_some_and(|before| before.ends_with("::")))
}

/// The rows of `table`. A line is taken for one if its first cell looks like an ID, so that headings and other tables
/// may stand in the same file.
fn parse(table: &str) -> (Vec<Row>, Vec<Fault>) {
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    for (line, text) in (1..).zip(table.lines()) {
        let Some(cells) = cells(text) else { continue };
        let Some(id) = cells.first().filter(|id| looks_like_id(id)) else { continue };
        match row(id, &cells) {
            Ok(row) => rows.push(row),
            Err(why) => faults.push(Fault::BadRow { line, why }),
        }
    }
    (rows, faults)
}

fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

/// A capital letter, digits, perhaps a dot and digits.
fn looks_like_id(cell: &str) -> bool {
    let mut chars = cell.chars();
    let number = chars.as_str().get(1..).unwrap_or_default();
    chars.next().is_some_and(|c| c.is_ascii_uppercase())
        && number.starts_with(|c: char| c.is_ascii_digit())
        && number.chars().all(|c| c.is_ascii_digit() || c == '.')
}

fn row(id: &str, cells: &[&str]) -> Result<Row, String> {
    let &[_, status, code, tests] = cells else {
        return Err(format!(
            "{id}: `| ID | status | code | test |` has four cells, this row has {}",
            cells.len()
        ));
    };
    let status = match status {
        "done" => Status::Done,
        "partial" => Status::Partial,
        "open" => Status::Open,
        other => return Err(format!("{id}: the status is done, partial or open, not {other:?}")),
    };
    Ok(Row { id: id.to_owned(), status, code: names(code), tests: names(tests) })
}

/// The names in a cell: separated by commas, semicolons, blanks or line breaks, with or without backquotes.
fn names(cell: &str) -> Vec<String> {
    let cell = cell.replace("<br>", " ");
    let words = cell.split([',', ';', ' ', '`']).map(str::trim);
    words.filter(|word| !word.is_empty() && *word != "-" && *word != "–").map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEDGER: &str = "P1.0\nF1\n";

    fn run(rows: &str) -> Result<Report, Vec<Fault>> {
        let passed = ["hic-tcp::timer::tests::doubles", "boot"].map(str::to_owned).into();
        let table = format!("# Coverage\n\n| ID | status | code | test |\n| --- | --- | --- | --- |\n{rows}");
        check(LEDGER, &table, &|path| path == "libs/tcp/src/timer.rs", &passed)
    }

    const GOOD: &str = "| F1 | done | `libs/tcp/src/timer.rs` | `timer::tests::doubles`, boot |\n";

    #[test]
    fn a_table_in_order_is_counted() {
        let report = run(&format!("| P1.0 | open | – | – |\n{GOOD}")).expect("in order");
        assert_eq!(report, Report { done: 1, partial: 0, open: 1 });
        assert_eq!(report.to_string(), "1 done, 0 partial, 1 open");
    }

    #[test]
    fn every_id_of_the_ledger_needs_exactly_one_row() {
        assert_eq!(run(GOOD), Err(vec![Fault::Missing { id: "P1.0".into() }]));
        let twice = format!("| P1.0 | open | | |\n| P1.0 | open | | |\n{GOOD}");
        assert_eq!(run(&twice), Err(vec![Fault::Twice { id: "P1.0".into() }]));
        let unknown = format!("| P1.0 | open | | |\n| P9.9 | open | | |\n{GOOD}");
        assert_eq!(run(&unknown), Err(vec![Fault::Unknown { id: "P9.9".into() }]));
    }

    #[test]
    fn a_claim_needs_code_that_exists_and_tests_that_passed() {
        let id = || "P1.0".to_owned();
        let faults =
            run(&format!("| P1.0 | partial | gone.rs | ghost, oubles |\n{GOOD}")).expect_err("two lies");
        assert_eq!(
            faults,
            [
                Fault::NoSuchPath { id: id(), path: "gone.rs".into() },
                Fault::NotPassed { id: id(), test: "ghost".into() },
                Fault::NotPassed { id: id(), test: "oubles".into() },
            ]
        );
        let faults = run(&format!("| P1.0 | done | - | |\n{GOOD}")).expect_err("nothing named");
        assert_eq!(faults, [Fault::NoCode { id: id() }, Fault::NoTest { id: id() }]);
    }

    #[test]
    fn a_row_of_the_wrong_shape_is_named_by_its_line() {
        let faults = run(&format!("| P1.0 | finished | x | y |\n{GOOD}")).expect_err("no such status");
        assert!(
            matches!(&faults[0], Fault::BadRow { line: 5, why } if why.contains("finished")),
            "{faults:?}"
        );
        let faults = run(&format!("| P1.0 | open |\n{GOOD}")).expect_err("two cells");
        assert!(
            matches!(&faults[0], Fault::BadRow { line: 5, why } if why.contains("four cells")),
            "{faults:?}"
        );
    }

    #[test]
    fn the_projects_own_ledger_has_its_111_ids() {
        let ids =
            std::fs::read_to_string(hic_tests::workspace::root().join("docs/ledger-ids.txt")).expect("there");
        let ids: BTreeSet<&str> = ids.lines().collect();
        assert_eq!(ids.len(), 111);
        assert!(ids.iter().all(|id| looks_like_id(id)));
    }
}
