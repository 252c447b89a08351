//! Tasks of the module manager that the console waits for.

use super::services::MANAGER;
use super::{Repeat, Sources};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use console::command::Task as Order;
use console::error::CommandError;
use console::report::MAX_ROWS;
use console::report::task::{Repositories, Task};
use hic_control::Refusal;
use hic_control::manager::{
    INSTALL, PLAN, REFRESH, REMOVE, REPLACE, SOURCE, SOURCE_ADD, SOURCE_REMOVE, TASK, TASK_LINE, TaskInfo,
};
use hic_rt::ipc::Message;

/// Beyond the last record.
const END: u32 = Refusal::NotFound as u32;

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
        let mut message = Message::new(label, [0; 4]);
        message.info = message.info.with_inline(self.buffer.put(text.as_bytes()));
        let answer = self.ask(MANAGER, message, Repeat::Never)?;
        self.check(MANAGER, order.name(), &answer)?;
        Ok(Followed::new(order.name(), answer.words[0]))
    }

    /// `repository`
    pub fn repository(&mut self) -> Result<Repositories, CommandError> {
        let mut addresses = Vec::new();
        while addresses.len() < MAX_ROWS {
            let message = Message::new(SOURCE, [addresses.len() as u64, 0, 0, 0]);
            let answer = self.ask(MANAGER, message, Repeat::Always)?;
            if answer.label() == END {
                break;
            }
            self.check(MANAGER, "the question", &answer)?;
            addresses.push(self.text(&answer));
        }
        Ok(Repositories::new(addresses))
    }

    /// New lines of a task's report, and its end if it has come. The state is asked for before the lines, so that at the end none is missed.
    pub fn look_at_task(&mut self, task: &mut Followed) -> Result<Seen, CommandError> {
        let info = self.record::<TaskInfo>(MANAGER, (TASK, 0), END)?.map(|(info, _)| info);
        let from = task.lines.len();
        while task.lines.len() < MAX_ROWS && info.is_some_and(|info| info.number == task.number) {
            let at = [task.lines.len() as u64, 0, 0, 0];
            let answer = self.ask(MANAGER, Message::new(TASK_LINE, at), Repeat::Always)?;
            if answer.label() == END {
                break;
            }
            self.check(MANAGER, "the question", &answer)?;
            task.lines.push(self.text(&answer));
        }
        let told = |lines: &[String]| -> Vec<String> {
            lines.iter().filter(|line| !line.is_empty()).cloned().collect()
        };
        let end = Task::end(task.name, task.number, info.as_ref(), &told(&task.lines));
        Ok(Seen { lines: told(task.lines.get(from..).unwrap_or_default()), end })
    }
}
