//! What came of an install, a removal, a replacement, a look through the repository.

use super::{Report, clean};
use crate::error::CommandError;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use hic_abi::name_str;
use hic_control::manager::TaskInfo;
use serde::Serialize;

/// `install`, `remove`, `update … restart`, `modules refresh`, when it is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Task {
    /// install, remove, update, refresh.
    pub task: &'static str,
    /// Always true: one that failed is an error.
    pub done: bool,
    /// What came of it.
    pub text: String,
    /// What was found on the way: of a refresh, each file that is new, gone or refused.
    pub lines: Vec<String>,
}

impl Task {
    /// The end of the task with this number, as the module manager told it; `None` while it is under way.
    ///
    /// # Errors
    /// It failed, or the module manager knows nothing of it any more.
    pub fn end(
        task: &'static str,
        number: u64,
        info: Option<&TaskInfo>,
        lines: &[String],
    ) -> Option<Result<Self, CommandError>> {
        let Some(info) = info.filter(|info| info.number == number) else { return Some(Err(lost())) };
        let text = name_str(&info.text);
        match (info.running != 0, info.done != 0) {
            (true, _) => None,
            (false, false) => Some(Err(CommandError::told(text))),
            (false, true) => Some(Ok(Self { task, done: true, text: text.into(), lines: lines.into() })),
        }
    }
}

fn lost() -> CommandError {
    let message = "the module manager was started again meanwhile, which carries on with what it had recorded; look at `services`";
    CommandError::new("interrupted", message)
}

impl Report for Task {
    /// The lines were shown as they came.
    fn text(&self, out: &mut String) {
        let _ = writeln!(out, "{}", clean(&self.text));
    }
}

/// `repository`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repositories {
    /// In the order in which they are asked.
    pub repositories: Vec<Repository>,
}

/// Where modules are looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repository {
    /// disk or http.
    pub kind: &'static str,
    /// Its address; `None` for the disk.
    pub address: Option<String>,
}

impl Repositories {
    /// The disk, and those on the network.
    #[must_use]
    pub fn new(addresses: Vec<String>) -> Self {
        let network =
            addresses.into_iter().map(|address| Repository { kind: "http", address: Some(address) });
        Self {
            repositories: core::iter::once(Repository { kind: "disk", address: None })
                .chain(network)
                .collect(),
        }
    }
}

impl Report for Repositories {
    fn text(&self, out: &mut String) {
        for Repository { kind, address } in &self.repositories {
            let _ = writeln!(out, "{kind}  {}", clean(address.as_deref().unwrap_or("the repository disk")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::both;
    use super::*;
    use hic_abi::{Plain, name_bytes};

    fn info(running: u64, done: u64, text: &str) -> TaskInfo {
        TaskInfo { number: 7, running, done, text: name_bytes(text) }
    }

    fn end(info: &TaskInfo) -> Option<Result<Task, CommandError>> {
        Task::end("install", 7, Some(info), &["new: x".into()])
    }

    #[test]
    fn a_task_ends_well_or_with_the_reason_that_it_gives() {
        assert_eq!(end(&info(1, 0, "")), None);
        let good = end(&info(0, 1, "hello 0.1.0\x1b runs")).expect("over").expect("good");
        let (json, text) = both(&good);
        assert_eq!(text, "hello 0.1.0\u{fffd} runs\n");
        assert_eq!(
            (&json["task"], &json["done"], &json["lines"][0]),
            (&"install".into(), &true.into(), &"new: x".into())
        );
        let error = end(&info(0, 0, "memory: 5 KiB are short")).expect("over").expect_err("bad");
        assert_eq!(error.render(false), "error[memory]: 5 KiB are short\n");
    }

    #[test]
    fn the_disk_is_asked_first_and_then_the_network() {
        let (json, text) = both(&Repositories::new(alloc::vec!["http://10.0.2.2:8000/".into()]));
        assert_eq!(text, "disk  the repository disk\nhttp  http://10.0.2.2:8000/\n");
        assert_eq!(
            (&json["repositories"][0]["address"], &json["repositories"][1]["kind"]),
            (&serde_json::Value::Null, &"http".into())
        );
    }

    #[test]
    fn a_task_that_nobody_knows_any_more_is_an_error_of_its_own() {
        for other in [None, Some(&TaskInfo { number: 8, ..TaskInfo::zeroed() })] {
            let error = Task::end("install", 7, other, &[]).expect("over").expect_err("lost");
            assert_eq!(error.code, "interrupted");
        }
    }
}
