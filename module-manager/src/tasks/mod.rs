//! What an operator asks for that takes longer than one answer: install, remove, replace, refresh. One at a time, and nobody is waited for.
//!
//! ```text
//!   install  ─▶ Reading, Fetching (if the module is not known yet) ─▶ checks, made, not started ─▶ Recording ─▶ started
//!   remove   ─▶ checks ────────────────────────────────────────────────────────────────▶ Recording ─▶ ended
//!   replace  ─▶ Reading, Fetching ─▶ checks, made beside the one that runs ────────────▶ Recording ─▶ that one ended, started
//!   update   ─▶ Reading, Fetching ─▶ the plan (and Fetching what it lacks) ─▶ its steps, each as above, or Moving (rolling update), or Watching (exchange in place)
//!   plan     ─▶ Reading ─▶ what an update would do; changes nothing
//!   refresh  ─▶ Reading ─▶ what changed
//!   repository add, remove ────────────────────────────────────────────────────────────▶ Recording
//! ```
//! Whatever can be refused is refused before anything is recorded, and what is recorded is carried out also by a manager that was started again in
//! between ([`crate::boot`]); a plan is recorded as a whole, and goes on where it stood ([`resume`]). So a crash or a power cut leaves what was there before, or what was asked for.

mod change;
mod missing;
mod plan;
mod refresh;
mod resume;
mod rollout;
mod sources;

pub use change::start_failed;
pub use missing::Missing;

use crate::cache::ModuleName;
use crate::manager::Manager;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use hic_abi::{Plain, name_bytes};
use hic_control::Refusal;
use hic_control::manager::{self as request, TaskInfo};
use hic_fetch::Source;
use hic_hicmod::manifest::{Manifest, Name, Version};
use hic_rt::{clock, log};
use hic_store::StoreError;
use hic_store::defaults::{Said, Sources};
use hic_update::Policy as UpdatePolicy;
use module_manager::install::Refused;
use module_manager::journal::Phase;
use module_manager::report::Report;
use module_manager::rollout::Rollout;
use module_manager::turns::Busy;

/// Codes of notes in the audit log.
const NOTE_TASK: u64 = 4;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Order {
    Install(Name, Version),
    Remove(Name),
    Replace(Name, Version),
    /// By a plan of one step or several.
    Update(Name, Version, UpdatePolicy),
    /// A dry run.
    Plan(Name, Version),
    Refresh,
    AddSource(Source),
    RemoveSource(Source),
}

/// How far it is.
#[derive(Debug)]
enum Stage {
    /// Waits for the repository to be read.
    Reading,
    /// Waits for what the repositories on the network offer.
    Looking,
    /// Waits for a module from the network.
    Fetching,
    /// Waits for the record to be on the disk: with the instance that was made, and what the record said before.
    Recording {
        index: usize,
        before: Before,
    },
    /// Waits for the rolling update that is under way.
    Moving,
    /// Waits for the exchange in place that is under way.
    Watching,
    /// The manager was started again; waits for the repository to be read, before the plan goes on.
    Resuming,
    Over,
}

/// What the record said before.
#[derive(Debug)]
enum Before {
    Service(Said),
    Sources(Box<Sources>),
}

/// A task, under way or done.
#[derive(Debug)]
pub struct Task {
    number: u64,
    order: Order,
    /// What is being done just now: the order, or a step of its plan.
    doing: Order,
    /// Other modules that its plan needs, fetched from the network for it.
    parts: Vec<ModuleName>,
    /// The plan of an update.
    rollout: Option<Rollout>,
    stage: Stage,
    report: Report,
    outcome: Option<Result<String, String>>,
}

/// `code: sentence`.
type Answer<T> = Result<T, String>;

pub fn refused(refusal: &Refused) -> String {
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
            request::PLAN => both().map(|(name, version)| Self::Plan(name, version))?,
            request::REMOVE => Self::Remove(name(text)?),
            request::SOURCE_ADD => Self::AddSource(sources::parse(text)?),
            request::SOURCE_REMOVE => Self::RemoveSource(sources::parse(text)?),
            _ => Self::Refresh,
        })
    }

    fn title(&self) -> String {
        match self {
            Self::Install(name, version) => format!("install {name} {version}"),
            Self::Remove(name) => format!("remove {name}"),
            Self::Replace(name, version) => format!("update {name} {version} restart"),
            Self::Update(name, version, _) => format!("update {name} {version}"),
            Self::Plan(name, version) => format!("update {name} {version} --plan"),
            Self::Refresh => "modules refresh".into(),
            Self::AddSource(source) => format!("repository add {source}"),
            Self::RemoveSource(source) => format!("repository remove {source}"),
        }
    }

    /// The module that it is about.
    fn module(&self) -> Option<(&Name, Version)> {
        match self {
            Self::Install(name, version)
            | Self::Replace(name, version)
            | Self::Update(name, version, _)
            | Self::Plan(name, version) => Some((name, *version)),
            Self::Remove(_) | Self::Refresh | Self::AddSource(_) | Self::RemoveSource(_) => None,
        }
    }
}

impl Manager {
    /// Begins a task and returns its number, or says why not.
    pub fn begin_task(&mut self, label: u32, text: &str) -> Answer<u64> {
        let order = Order::parse(label, text)?;
        self.begin_ordered(order)
    }

    fn begin_ordered(&mut self, order: Order) -> Answer<u64> {
        if let Some(task) = self.task.as_ref().filter(|task| task.outcome.is_none()) {
            return Err(format!("busy: `{}` is under way; ask again when it is done", task.order.title()));
        }
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
            Order::Remove(name) => self.removable(name)?,
            Order::Update(name, version, _) => self.updatable(name, *version)?,
            Order::Plan(..) | Order::Refresh | Order::AddSource(_) | Order::RemoveSource(_) => {}
        }
        self.task = Some(Task {
            number,
            order: order.clone(),
            doing: order.clone(),
            parts: Vec::new(),
            rollout: None,
            stage: Stage::Reading,
            report: Report::default(),
            outcome: None,
        });
        let known = order.module().is_some_and(|(name, version)| self.is_loaded(name, version));
        if known || matches!(order, Order::Remove(_) | Order::AddSource(_) | Order::RemoveSource(_)) {
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
            Stage::Reading if !self.repository.is_reading() => self.look_further().err().map(Err),
            Stage::Looking if !self.network.is_looking() && self.repository.is_idle() => self.looked(),
            Stage::Fetching => self.network.outcome.take().and_then(|outcome| self.fetched(outcome)),
            Stage::Recording { .. } => self.repository.written.and_then(|written| self.recorded(written)),
            Stage::Moving => self.moved(),
            Stage::Watching => self.exchanging.outcome.take(),
            Stage::Resuming if !self.repository.is_reading() => self.resume_plan(),
            Stage::Reading | Stage::Looking | Stage::Resuming | Stage::Over => None,
        };
        if let Some(outcome) = outcome {
            self.end_step(outcome);
        }
    }

    /// The disk was read. A module that it does not have is looked for on the network.
    fn look_further(&mut self) -> Answer<()> {
        let order = self.task.as_ref().map(|task| task.order.clone());
        if let Some((name, version)) = order.as_ref().and_then(Order::module)
            && !self.is_loaded(name, version)
            && !self.sources().is_empty()
            && self.refused_file(name, &version.to_string()).is_none()
        {
            let line = format!("the disk has no {name} {version}; looking on the network");
            return self.begin_fetching(name, version, line);
        }
        if matches!(order, Some(Order::Refresh)) && !self.sources().is_empty() {
            self.ask_look();
            self.enter(Stage::Looking);
            return Ok(());
        }
        self.proceed()
    }

    /// Has a module fetched, with this line in the report.
    fn begin_fetching(&mut self, name: &Name, version: Version, line: String) -> Answer<()> {
        let busy = |Busy| "busy: another module is being fetched; ask again when it is there";
        self.ask_search(name, version).map_err(busy)?;
        self.add_line(line);
        self.enter(Stage::Fetching);
        Ok(())
    }

    fn enter(&mut self, stage: Stage) {
        if let Some(task) = &mut self.task {
            task.stage = stage;
        }
    }

    /// The repositories on the network were asked what they offer, and the disk was judged by it.
    fn looked(&mut self) -> Option<Answer<String>> {
        match self.task.as_ref().map(|task| task.order.clone())? {
            Order::AddSource(source) => Some(Ok(self.tell_source(&source))),
            // Of a plan that an earlier start of the manager began.
            Order::Update(..) => self.resume_step(),
            _ => self.proceed().err().map(Err),
        }
    }

    fn fetched(
        &mut self,
        outcome: Result<ModuleName, Box<hic_hicmod::verdict::Refusal>>,
    ) -> Option<Answer<String>> {
        match outcome {
            // A module that is what it says, but not what was asked for: it is not kept.
            Ok((name, version)) if !self.task_wants(&name, version) => {
                self.forget_module(&name, version);
                Some(Err(format!("wrong-module: the file that was fetched holds {name} {version}")))
            }
            Ok((name, version)) => {
                if let Some(line) = self.told_of(&name, version) {
                    self.add_line(line);
                }
                self.proceed().err().map(Err)
            }
            // Nobody has it: then the answer names the versions that there are.
            Err(refusal) if refusal.check == "http-not-found" => self.proceed().err().map(Err),
            Err(refusal) => Some(Err(refusal.to_string())),
        }
    }

    fn proceed(&mut self) -> Answer<()> {
        let Some(order) = self.task.as_ref().map(|task| task.order.clone()) else { return Ok(()) };
        if let Order::Update(name, version, _) | Order::Plan(name, version) = &order
            && self.fetch_lacking(name, *version)?
        {
            return Ok(());
        }
        match order {
            Order::Install(name, version) => self.make_installed(&name, version),
            Order::Replace(name, version) => self.make_replacement(&name, version),
            Order::Remove(name) => self.record_removal(&name),
            Order::Update(name, version, _) => self.begin_rollout(&name, version),
            Order::Plan(name, version) => {
                let outcome = self.tell_plan(&name, version);
                self.end_task(outcome);
                Ok(())
            }
            Order::AddSource(source) => self.record_source(&source, true),
            Order::RemoveSource(source) => self.record_source(&source, false),
            Order::Refresh => {
                let outcome = self.tell_changes();
                self.end_task(outcome);
                Ok(())
            }
        }
    }

    fn recorded(&mut self, written: Result<(), StoreError>) -> Option<Answer<String>> {
        let task = self.task.as_mut()?;
        let Stage::Recording { index, before } = core::mem::replace(&mut task.stage, Stage::Over) else {
            return None;
        };
        let order = task.doing.clone();
        let durable = match written {
            Ok(()) => "",
            // Without a disk nothing outlives the system, which is better than nothing.
            Err(StoreError::NoDisk) => "; until the next boot only, since there is no disk to keep it on",
            Err(error) => return Some(Err(self.undo(&order, index, before, &error))),
        };
        let done = match &order {
            Order::Install(..) => self.start_installed(index, before),
            Order::AddSource(_) => {
                self.ask_look();
                if !durable.is_empty() {
                    self.add_line(durable.trim_start_matches("; ").to_string());
                }
                self.enter(Stage::Looking);
                return None;
            }
            Order::RemoveSource(source) => {
                self.repository.prune = true;
                Ok(format!("{source} is not asked any more"))
            }
            Order::Replace(..) => self.start_replacement(index),
            Order::Remove(name) => self.end_removed(name),
            Order::Update(..) | Order::Plan(..) | Order::Refresh => Ok(String::new()),
        };
        Some(done.map(|text| text + durable))
    }

    fn end_task(&mut self, outcome: Answer<String>) {
        let Some(task) = &mut self.task else { return };
        (task.stage, task.outcome) = (Stage::Over, Some(outcome.clone()));
        let title = task.order.title();
        match outcome {
            Ok(text) => {
                let note = self
                    .task
                    .as_ref()
                    .is_some_and(|task| !matches!(task.order, Order::Refresh | Order::Plan(..)));
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

    /// A line of the report of the task under way, if there is one, and of the log.
    pub fn tell_task(&mut self, line: String) {
        log!("{line}");
        if self.has_task() {
            self.add_line(line);
        }
    }

    /// A line of the task's report.
    fn add_line(&mut self, line: String) {
        if let Some(task) = &mut self.task {
            task.report.add(line);
            if task.rollout.is_some() {
                self.journal.plan.set_told(task.report.told());
            }
        }
    }

    /// Whether a task is under way.
    pub fn has_task(&self) -> bool {
        self.task.as_ref().is_some_and(|task| task.outcome.is_none())
    }

    /// Whether the task under way is about this module.
    pub fn task_wants(&self, name: &str, version: Version) -> bool {
        let Some(task) = self.task.as_ref().filter(|task| task.outcome.is_none()) else { return false };
        task.order.module().is_some_and(|(n, v)| *n == name && v == version)
            || task.parts.iter().any(|(n, v)| *n == name && *v == version)
            || task.rollout.as_ref().is_some_and(|rollout| rollout.names(name, version))
    }

    /// The manifests of all services that there are.
    pub(super) fn running(&self) -> Vec<&Manifest> {
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
        task.report.line(index).ok_or(Refusal::NotFound)
    }
}
