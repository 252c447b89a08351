//! Goes on with the plan that an earlier start of the manager had under way (docs/adr/0039).
//!
//! Which step is to be made says the record in the journal; how far that step came is seen in what it left. `module_manager::rollout` decides.

use super::{Answer, Order, Stage, Task};
use crate::manager::Manager;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use hic_abi::name_str;
use module_manager::report::Report;
use module_manager::rollout::record::Saved;
use module_manager::rollout::{Found, Leg, Resume};

impl Manager {
    /// Has the plan be the task again, before anything is done that asks for it; [`Manager::task_turn`] goes on with it.
    pub fn restore_plan(&mut self) {
        let Some(Saved { number, told, goal, rollout, outcome }) = self.journal.plan.load() else { return };
        let order = Order::Update(goal.name, goal.version, goal.policy);
        self.task = Some(Task {
            number,
            doing: order.clone(),
            order,
            parts: Vec::new(),
            rollout: Some(rollout),
            stage: if outcome.is_some() { Stage::Over } else { Stage::Resuming },
            report: Report::after(told as usize),
            outcome,
        });
    }

    /// What the repository on the disk holds is known; what is offered on the network counts for modules from there.
    pub(super) fn resume_plan(&mut self) -> Option<Answer<String>> {
        self.tell_task("the module manager was started again, and goes on with the plan".into());
        if self.sources().is_empty() {
            return self.resume_step();
        }
        self.ask_look();
        self.enter(Stage::Looking);
        None
    }

    /// Goes on with the step that was to be made; how it ended, if it has.
    pub(super) fn resume_step(&mut self) -> Option<Answer<String>> {
        let rollout = self.task.as_ref()?.rollout.as_ref()?;
        let leg = rollout.leg()?;
        match rollout.resume(self.found(&leg)) {
            Resume::Moving => self.enter(Stage::Moving),
            Resume::Watching => self.enter(Stage::Watching),
            Resume::Done => return Some(Ok(format!("{leg}: done"))),
            Resume::Begin => return self.begin_leg(&leg).err().map(Err),
        }
        None
    }

    fn found(&self, leg: &Leg) -> Found {
        let serves = self.journal.find(&leg.name).map(|index| &self.journal.records[index].info.version);
        let serves = serves.and_then(|version| name_str(version).parse().ok());
        let exchange = &self.journal.exchange;
        let is_open = exchange.is_open()
            && name_str(&self.journal.records[exchange.index as usize].info.name) == leg.name;
        Found { serves, moved: self.was_moved(leg), exchanged: is_open || self.exchanging.outcome.is_some() }
    }

    /// Whether the last rolling update, under way or over, is this step of the plan.
    fn was_moved(&self, leg: &Leg) -> bool {
        let Some((running, task)) = self.update.as_ref().zip(self.task.as_ref()) else { return false };
        let report = running.engine.report();
        let is = |text: &[u8; 16], version| Some(version) == name_str(text).parse().ok().map(Some);
        name_str(&report.request.service) == leg.name
            && is(&report.request.from, leg.from)
            && is(&report.request.to, leg.to)
            // The number of a task is the time at which it was begun.
            && report.started >= task.number
    }
}
