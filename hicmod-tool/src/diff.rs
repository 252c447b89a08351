//! What changed from one module to another, the most dangerous first: what a reviewer has to say yes to.
//!
//! Fields of the manifest are compared as data, so a field that this file knows nothing of is reported as changed, never left out.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::inspect::{InspectError, ModuleReport, Report, inspect};

/// What a change means to a reviewer, the most dangerous first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// It asks for more: authority, hardware, memory, processor time; or somebody else vouches for it.
    AsksForMore,
    /// What others rely on is gone, or the way back is.
    MayBreak,
    /// It is different.
    Changed,
    /// It asks for less, or offers more.
    Harmless,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it means.
    pub weight: Weight,
    /// Where, for example `authority` or `update.reads`.
    pub field: String,
    /// What, in words.
    pub text: String,
}

/// All changes.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// The old module as `name version`.
    pub from: String,
    /// The new one.
    pub to: String,
    /// The changes, the most dangerous first.
    pub changes: Vec<Change>,
}

/// Why two files cannot be compared.
#[derive(Debug)]
pub enum DiffError {
    /// The old or the new one, as the field says, cannot be read.
    Unreadable(&'static str, InspectError),
    /// The old or the new one is a boot archive.
    Archive(&'static str),
    /// A report cannot be written as data.
    Json(serde_json::Error),
}

impl fmt::Display for DiffError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(which, error) => write!(f, "the {which} module: {error}"),
            Self::Archive(which) => {
                write!(f, "the {which} file is a boot archive; compare the modules in it one by one")
            }
            Self::Json(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for DiffError {}

/// In which direction a field changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// An item is new, a number is higher.
    Up,
    /// An item is gone, a number is lower.
    Down,
    /// Neither.
    Other,
}

/// What changed from the module `old` to the module `new`, both as files.
///
/// # Errors
/// [`DiffError`].
pub fn diff(old: &[u8], new: &[u8]) -> Result<Difference, DiffError> {
    let (old, new) = (module("old", old)?, module("new", new)?);
    let mut changes = Vec::new();
    let (before, after) = (fields(&old)?, fields(&new)?);
    for field in before.keys().chain(after.keys().filter(|field| !before.contains_key(*field))) {
        let (a, b) = (before.get(field).unwrap_or(&Value::Null), after.get(field).unwrap_or(&Value::Null));
        compare(field, a, b, &mut changes);
    }
    compare_image(&old, &new, &mut changes);
    compare_signer(&old, &new, &mut changes);
    changes.sort_by_key(|change| change.weight);
    let title = |report: &ModuleReport| format!("{} {}", report.manifest.name, report.manifest.version);
    Ok(Difference { from: title(&old), to: title(&new), changes })
}

fn module(which: &'static str, bytes: &[u8]) -> Result<ModuleReport, DiffError> {
    match inspect(bytes).map_err(|error| DiffError::Unreadable(which, error))? {
        Report::Module(report) => Ok(*report),
        Report::Archive(_) => Err(DiffError::Archive(which)),
    }
}

/// The manifest as one map: what lies inside an object has its path as its name. What the program exports is beside it, though in a good module
/// it is what the manifest provides: a reviewer sees that the program itself changed.
fn fields(report: &ModuleReport) -> Result<BTreeMap<String, Value>, DiffError> {
    let mut all = BTreeMap::new();
    flatten("", serde_json::to_value(&report.manifest).map_err(DiffError::Json)?, &mut all);
    // Said by the first line, and by the bytes of the image.
    all.insert("exports".to_owned(), serde_json::to_value(&report.image.exports).map_err(DiffError::Json)?);
    all.retain(|field, _| field != "version" && !field.starts_with("build."));
    Ok(all)
}

fn flatten(path: &str, value: Value, all: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(inner) => {
            for (name, value) in inner {
                let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                flatten(&path, value, all);
            }
        }
        Value::Null => {}
        value => {
            all.insert(path.to_owned(), value);
        }
    }
}

fn compare(field: &str, before: &Value, after: &Value, changes: &mut Vec<Change>) {
    if before == after {
        return;
    }
    let said = changes.len();
    let mut say = |direction, text: String| {
        changes.push(Change { weight: weight(field, direction), field: field.to_owned(), text });
    };
    match (before, after) {
        (Value::Array(_) | Value::Null, Value::Array(_)) | (Value::Array(_), Value::Null) => {
            let (old, new) = (items(before), items(after));
            for (key, detail) in &new {
                match old.get(key) {
                    None => say(Direction::Up, format!("new: {}", shown(key, detail))),
                    Some(earlier) if earlier != detail => {
                        say(of_details(earlier, detail), format!("{key}: {earlier} -> {detail}"));
                    }
                    Some(_) => {}
                }
            }
            for (key, detail) in old.iter().filter(|(key, _)| !new.contains_key(*key)) {
                say(Direction::Down, format!("gone: {}", shown(key, detail)));
            }
        }
        (Value::Null, new) => say(Direction::Up, format!("new: {}", text(new))),
        (old, Value::Null) => say(Direction::Down, format!("gone: {}", text(old))),
        (old, new) => {
            let direction = match (old.as_f64(), new.as_f64()) {
                (Some(a), Some(b)) if b > a => Direction::Up,
                (Some(_), Some(_)) => Direction::Down,
                _ => Direction::Other,
            };
            say(direction, format!("{} -> {}", text(old), text(new)));
        }
    }
    // As another order, or what no item is named by: said as a whole rather than not at all.
    if changes.len() == said {
        let (direction, text) = (Direction::Other, format!("{} -> {}", text(before), text(after)));
        changes.push(Change { weight: weight(field, direction), field: field.to_owned(), text });
    }
}

/// A list by what names its items, each with the rest of what it says. The second of a name is `NAME #2`.
fn items(list: &Value) -> BTreeMap<String, String> {
    const NAMES: [&str; 5] = ["name", "service", "module", "ids", "base"];
    let item = |value: &Value| {
        let Value::Object(object) = value else { return (text(value), String::new()) };
        let name = NAMES.iter().find_map(|name| object.get(*name));
        let rest = object.iter().filter(|(key, value)| {
            !NAMES.contains(&key.as_str()) && !matches!(value, Value::Null | Value::Bool(false))
        });
        let rest: Vec<String> = rest.map(|(key, value)| format!("{key} {}", text(value))).collect();
        (name.map(text).unwrap_or_default(), rest.join(", "))
    };
    let mut all = BTreeMap::new();
    for (name, rest) in list.as_array().into_iter().flatten().map(item) {
        // Two claims of one kind of device are two, though nothing else tells them apart.
        let free = (2..).map(|number| format!("{name} #{number}")).find(|key| !all.contains_key(key));
        let key = if all.contains_key(&name) { free.unwrap_or_default() } else { name };
        all.insert(key, rest);
    }
    all
}

fn shown(key: &str, detail: &str) -> String {
    if detail.is_empty() { key.to_owned() } else { format!("{key} ({detail})") }
}

/// Whether the number that two details end in grew.
fn of_details(before: &str, after: &str) -> Direction {
    let number = |text: &str| text.rsplit(' ').next().and_then(|last| last.parse::<u64>().ok());
    match (number(before), number(after)) {
        (Some(a), Some(b)) if b > a => Direction::Up,
        (Some(a), Some(b)) if b < a => Direction::Down,
        _ => Direction::Other,
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// What a change of this field means.
fn weight(field: &str, direction: Direction) -> Weight {
    match (field, direction) {
        (
            "authority" | "devices" | "ioports" | "irqs" | "needs" | "interfaces.needs" | "priority"
            | "budget_us" | "stack_pages" | "heap_pages" | "account_pages" | "cspace_slots",
            Direction::Up,
        )
        | ("kind" | "cpu", _)
        // The same time in a shorter period is more of the processor.
        | ("period_us", Direction::Down)
        | ("state_regions" | "devices" | "ioports", Direction::Other) => Weight::AsksForMore,
        ("provides" | "exports" | "interfaces.provides" | "parts" | "state_regions", Direction::Down)
        | ("update.readable_by" | "update.reads" | "update.protocols.lowest" | "abi.lowest" | "epoch", Direction::Up)
        | ("update.schema" | "update.protocols.highest" | "abi.highest" | "epoch" | "update.tested_with", Direction::Down)
        | ("dependencies", Direction::Up | Direction::Other)
        | ("name" | "order", _) => Weight::MayBreak,
        ("state_regions", Direction::Up) => Weight::AsksForMore,
        (
            "authority" | "devices" | "ioports" | "irqs" | "needs" | "interfaces.needs" | "budget_us"
            | "stack_pages" | "heap_pages" | "account_pages" | "cspace_slots" | "priority" | "dependencies",
            Direction::Down,
        )
        | ("provides" | "exports" | "interfaces.provides" | "parts" | "update.tested_with", Direction::Up) => Weight::Harmless,
        (field, Direction::Down) if field.starts_with("update.") => Weight::MayBreak,
        _ => Weight::Changed,
    }
}

fn compare_image(old: &ModuleReport, new: &ModuleReport, changes: &mut Vec<Change>) {
    let pages = |report: &ModuleReport| {
        let image = &report.image;
        [("code", image.rx_pages), ("read-only", image.ro_pages), ("writable", image.rw_pages)]
    };
    for ((what, before), (_, after)) in pages(old).into_iter().zip(pages(new)).filter(|(a, b)| a.1 != b.1) {
        let text = format!("{what}: {before} -> {after} pages of 4 KiB");
        changes.push(Change { weight: Weight::Changed, field: "image".to_owned(), text });
    }
    if old.bytes != new.bytes {
        let text = format!("{} -> {} bytes", old.bytes, new.bytes);
        changes.push(Change { weight: Weight::Changed, field: "file".to_owned(), text });
    }
}

/// Who vouches for it, as the files say; `verify` knows whether that is true.
fn compare_signer(old: &ModuleReport, new: &ModuleReport, changes: &mut Vec<Change>) {
    let signer = |report: &ModuleReport| report.signature.as_ref().map(|s| s.signer.subject.clone());
    let (weight, text) = match (signer(old), signer(new)) {
        (Some(before), Some(after)) if before != after => {
            (Weight::AsksForMore, format!("somebody else signed it: {before} -> {after}"))
        }
        (Some(before), None) => (Weight::MayBreak, format!("not signed any more; before by {before}")),
        (None, Some(after)) => (Weight::Harmless, format!("signed now, by {after}")),
        _ => return,
    };
    changes.push(Change { weight, field: "signer".to_owned(), text });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_that_differs_in_nothing_that_is_named_is_said_as_a_whole() {
        let mut changes = Vec::new();
        let (before, after) =
            (json!([{"ids": ["1"]}, {"ids": ["2"]}]), json!([{"ids": ["2"]}, {"ids": ["1"]}]));
        compare("devices", &before, &after, &mut changes);
        let [change] = &changes[..] else { panic!("{changes:?}") };
        assert_eq!((change.weight, change.field.as_str()), (Weight::AsksForMore, "devices"));
        assert!(change.text.contains(" -> "), "{}", change.text);
        compare("devices", &before, &before, &mut changes);
        assert_eq!(changes.len(), 1);
    }
}
