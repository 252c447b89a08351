//! Tasks of the module manager that the console waits for.

use super::services::MANAGER;
use super::{END, Sources};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use console::command::Task as Order;
use console::error::CommandError;
use console::report::task::{Repositories, Task};
use hic_control::manager::{
    INSTALL, PLAN, REFRESH, REMOVE, REPLACE, SOURCE, SOURCE_ADD, SOURCE_REMOVE, TASK, TASK_LINE, TaskInfo,
};

/// A task that was begun.
pub struct Followed {
    name: &'static str,
    number: u64,
    lines: Vec<String>,
}

impl Followed {
    /// The task with this number.
    pub const fn new(name: &'static str, number: u64) -> Self {
        Self { name, number, lines: Vec::new() }
    }
}

/// What a look at it brought.
pub struct Seen {
    /// New lines of its report.
    pub lines: Vec<String>,
    /// What came of it; `None` while it is under way.
    pub end: Option<Result<Task, CommandError>>,
}

impl Sources {
    /// Begins a task.
    pub fn begin_task(&mut self, order: &Order) -> Result<Followed, CommandError> {
        let (label, text) = match order {
            Order::Refresh => (REFRESH, String::new()),
            Order::Install(module, version) => (INSTALL, format!("{module} {version}")),
            Order::Remove(service) => (REMOVE, service.clone()),
            Order::Plan(service, version) => (PLAN, format!("{service} {version}")),
            Order::Replace(service, version) => (REPLACE, format!("{service} {version}")),
            Order::AddSource(address) => (SOURCE_ADD, address.clone()),
            Order::RemoveSource(address) => (SOURCE_REMOVE, address.clone()),
        };
        let number = self.request(MANAGER, (label, [0; 2]), &text, order.name())?;
        Ok(Followed::new(order.name(), number))
    }

    /// `repository`
    pub fn repository(&mut self) -> Result<Repositories, CommandError> {
        self.texts(MANAGER, (SOURCE, 0), (0, "")).map(Repositories::new)
    }

    /// New lines of a task's report, and its end if it has come. The state is asked for before the lines, so that at the end none is missed.
    pub fn look_at_task(&mut self, task: &mut Followed) -> Result<Seen, CommandError> {
        let info = self.record::<TaskInfo>(MANAGER, (TASK, 0), END)?.map(|(info, _)| info);
        let from = task.lines.len();
        if info.is_some_and(|info| info.number == task.number) {
            task.lines.extend(self.texts(MANAGER, (TASK_LINE, from as u64), (0, ""))?);
        }
        let told = |lines: &[String]| -> Vec<String> {
            lines.iter().filter(|line| !line.is_empty()).cloned().collect()
        };
        let end = Task::end(task.name, task.number, info.as_ref(), &told(&task.lines));
        Ok(Seen { lines: told(task.lines.get(from..).unwrap_or_default()), end })
    }
}
