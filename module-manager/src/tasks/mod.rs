//! What an operator asks for that takes longer than one answer: install, remove, replace, refresh. One at a time, and nobody is waited for.
//!
//! ```text
//!   install  ─▶ Reading (if the module is not known yet) ─▶ checks, made, not started ─▶ Recording ─▶ started
//!   remove   ─▶ checks ────────────────────────────────────────────────────────────────▶ Recording ─▶ ended
//!   replace  ─▶ Reading ─▶ checks, made beside the one that runs ──────────────────────▶ Recording ─▶ that one ended, started
//!   refresh  ─▶ Reading ─▶ what changed
//! ```
//! Whatever can be refused is refused before anything is recorded, and what is recorded is carried out also by a manager that was started again in
//! between ([`crate::boot`]). So a crash or a power cut leaves what was there before, or what was asked for.

mod change;
mod refresh;

use crate::manager::Manager;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use hic_abi::{Plain, name_bytes};
use hic_control::Refusal;
use hic_control::manager::{self as request, TaskInfo};
use hic_hicmod::manifest::{Manifest, Name, Version};
use hic_rt::{clock, log};
use hic_store::{ServiceDefault, StoreError};
use module_manager::install::Refused;
use module_manager::journal::Phase;

/// Codes of notes in the audit log.
const NOTE_TASK: u64 = 4;
/// Most lines of a report: a repository holds 256 files, and each may have changed.
const MAX_LINES: usize = 300;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Order {
    Install(Name, Version),
    Remove(Name),
    Replace(Name, Version),
    Refresh,
}

/// How far it is.
#[derive(Debug)]
enum Stage {
    /// Waits for the repository to be read.
    Reading,
    /// Waits for the record to be on the disk: with the instance that was made, and what the record said before.
    Recording {
        index: usize,
        before: Option<ServiceDefault>,
    },
    Over,
}

/// A task, under way or done.
#[derive(Debug)]
pub struct Task {
    number: u64,
    order: Order,
    stage: Stage,
    lines: Vec<String>,
    outcome: Option<Result<String, String>>,
}

/// `code: sentence`.
type Answer<T> = Result<T, String>;

fn refused(refusal: &Refused) -> String {
    format!("{}: {refusal}", refusal.code())
}

impl Order {
    fn parse(label: u32, text: &str) -> Answer<Self> {
        let name = |text: &str| {
            let name = text.parse().ok().filter(|_| hic_hicmod::is_valid_name(text));
            name.ok_or_else(|| {
                "malformed: this is not the name of a module: a-z, 0-9, _ - . and at most 24 of them"
                    .to_string()
            })
        };
        let both = || {
            let (service, version) = text.split_once(' ').unwrap_or((text, ""));
            let version = version.parse::<Version>().map_err(|error| format!("malformed: {error}"));
            Ok::<_, String>((name(service)?, version?))
        };
        Ok(match label {
            request::INSTALL => both().map(|(name, version)| Self::Install(name, version))?,
            request::REPLACE => both().map(|(name, version)| Self::Replace(name, version))?,
            request::REMOVE => Self::Remove(name(text)?),
            _ => Self::Refresh,
        })
    }

    fn title(&self) -> String {
        match self {
            Self::Install(name, version) => format!("install {name} {version}"),
            Self::Remove(name) => format!("remove {name}"),
            Self::Replace(name, version) => format!("update {name} {version} restart"),
            Self::Refresh => "modules refresh".into(),
        }
    }

    /// The module that it is about.
    fn module(&self) -> Option<(&Name, Version)> {
        match self {
            Self::Install(name, version) | Self::Replace(name, version) => Some((name, *version)),
            Self::Remove(_) | Self::Refresh => None,
        }
    }
}

impl Manager {
    /// Begins a task and returns its number, or says why not.
    pub fn begin_task(&mut self, label: u32, text: &str) -> Answer<u64> {
        if let Some(task) = self.task.as_ref().filter(|task| task.outcome.is_none()) {
            return Err(format!("busy: `{}` is under way; ask again when it is done", task.order.title()));
        }
        let order = Order::parse(label, text)?;
        let number = clock::now();
        let title = order.title();
        let begun = self.begin_order(&order, number);
        match &begun {
            Ok(()) => log!("{title}: begun"),
            Err(refusal) => self.note_task(&title, refusal),
        }
        begun.map(|()| number)
    }

    fn begin_order(&mut self, order: &Order, number: u64) -> Answer<()> {
        match order {
            Order::Install(name, _) => self.must_be_absent(name)?,
            Order::Replace(name, version) => drop(self.replaceable(name, *version)?),
            Order::Remove(name) => drop(self.removable(name)?),
            Order::Refresh => {}
        }
        let (order, lines) = (order.clone(), Vec::new());
        self.task = Some(Task { number, order: order.clone(), stage: Stage::Reading, lines, outcome: None });
        let known = order.module().is_some_and(|(name, version)| self.is_loaded(name, version));
        if known || matches!(order, Order::Remove(_)) {
            // What can be refused at once is.
            return self.proceed().inspect_err(|_| self.task = None);
        }
        self.refresh_repository();
        Ok(())
    }

    /// Goes on with the task when what it waits for has come.
    pub fn task_turn(&mut self) {
        let Some(task) = &self.task else { return };
        let outcome = match task.stage {
            Stage::Reading if !self.repository.is_reading() => self.proceed().err().map(Err),
            Stage::Recording { .. } => self.repository.written.map(|written| self.recorded(written)),
            Stage::Reading | Stage::Over => None,
        };
        if let Some(outcome) = outcome {
            self.end_task(outcome);
        }
    }

    fn proceed(&mut self) -> Answer<()> {
        let Some(order) = self.task.as_ref().map(|task| task.order.clone()) else { return Ok(()) };
        match order {
            Order::Install(name, version) => self.make_installed(&name, version),
            Order::Replace(name, version) => self.make_replacement(&name, version),
            Order::Remove(name) => self.record_removal(&name),
            Order::Refresh => {
                let outcome = self.tell_changes();
                self.end_task(outcome);
                Ok(())
            }
        }
    }

    fn recorded(&mut self, written: Result<(), StoreError>) -> Answer<String> {
        let Some(task) = &mut self.task else { return Ok(String::new()) };
        let Stage::Recording { index, before } = core::mem::replace(&mut task.stage, Stage::Over) else {
            return Ok(String::new());
        };
        let order = task.order.clone();
        let durable = match written {
            Ok(()) => "",
            // Without a disk nothing outlives the system, which is better than nothing.
            Err(StoreError::NoDisk) => "; until the next boot only, since there is no disk to keep it on",
            Err(error) => return Err(self.undo(&order, index, before, &error)),
        };
        let done = match &order {
            Order::Install(..) => self.start_installed(index, before),
            Order::Replace(..) => self.start_replacement(index),
            Order::Remove(_) => self.end_removed(index),
            Order::Refresh => Ok(String::new()),
        };
        done.map(|text| text + durable)
    }

    fn end_task(&mut self, outcome: Answer<String>) {
        let Some(task) = &mut self.task else { return };
        (task.stage, task.outcome) = (Stage::Over, Some(outcome.clone()));
        let title = task.order.title();
        match outcome {
            Ok(text) => {
                let note = self.task.as_ref().is_some_and(|task| task.order != Order::Refresh);
                if note {
                    self.note(NOTE_TASK, 1, format_args!("{title}"));
                }
                log!("{title}: {text}");
            }
            Err(refusal) => self.note_task(&title, &refusal),
        }
    }

    fn note_task(&self, title: &str, refusal: &str) {
        self.note(NOTE_TASK, 0, format_args!("{}: {title}", refusal.split(':').next().unwrap_or_default()));
        log!("{title}: {refusal}");
    }

    /// A line of the task's report.
    fn add_line(&mut self, line: String) {
        if let Some(task) = self.task.as_mut().filter(|task| task.lines.len() < MAX_LINES) {
            task.lines.push(line);
        }
    }

    /// Whether the task under way is about this module.
    pub fn task_wants(&self, name: &str, version: Version) -> bool {
        let task = self.task.as_ref().filter(|task| task.outcome.is_none());
        task.and_then(|task| task.order.module()).is_some_and(|(n, v)| *n == name && v == version)
    }

    /// The manifests of all services that there are.
    fn running(&self) -> Vec<&Manifest> {
        let records = self.journal.services().iter().filter(|record| record.is_default());
        records
            .filter_map(|record| Some(&self.modules.get(self.module_of(record).ok()?)?.module.manifest))
            .collect()
    }

    /// The service of this name, which the keeper did not start.
    fn managed(&self, name: &str) -> Answer<usize> {
        let kept = |index: &usize| self.journal.records[*index].phase == Phase::KEPT;
        let found = self.journal.find(name).filter(|index| !kept(index));
        found.ok_or_else(|| format!("not-found: there is no service {name}; `services` lists them"))
    }

    /// The task under way, or the last one.
    pub fn task_info(&self) -> Result<TaskInfo, Refusal> {
        let task = self.task.as_ref().ok_or(Refusal::NotFound)?;
        let (done, text) = match &task.outcome {
            None => (false, ""),
            Some(Ok(text)) => (true, text.as_str()),
            Some(Err(refusal)) => (false, refusal.as_str()),
        };
        let text =
            text.get(..text.floor_char_boundary(TaskInfo::zeroed().text.len() - 1)).unwrap_or_default();
        Ok(TaskInfo {
            number: task.number,
            running: task.outcome.is_none().into(),
            done: done.into(),
            text: name_bytes(text),
        })
    }

    /// A line of its report.
    pub fn task_line(&self, index: usize) -> Result<&str, Refusal> {
        let task = self.task.as_ref().ok_or(Refusal::NotFound)?;
        task.lines.get(index).map(String::as_str).ok_or(Refusal::NotFound)
    }
}
