//! Carries a plan out, step by step; what comes after a step says `module_manager::rollout`.

use super::{Answer, Order, Stage};
use crate::manager::Manager;
use alloc::format;
use alloc::string::String;
use hic_hicmod::manifest::{Exchange, Manifest, Name, Version};
use hic_update::{Outcome, Phase, Policy};
use module_manager::plan::How;
use module_manager::rollout::record::{Goal, MAX_LEGS};
use module_manager::rollout::{Leg, Next, Rollout};

impl Manager {
    /// Begins `update NAME VERSION` where that is not one rolling update alone; the number of the task.
    pub fn begin_planned(&mut self, name: &str, version: Version, policy: Policy) -> Answer<u64> {
        let name = name.parse().map_err(|_| format!("malformed: {name} is not the name of a module"))?;
        self.begin_ordered(Order::Update(name, version, policy))
    }

    /// Whether an update of this service is one rolling update, which the engine makes and the operator follows there. One whose module must be read or
    /// fetched first is a task, which takes as long as that takes: the engine's steps have their deadlines.
    pub fn moves_alone(&self, name: &str, version: &str) -> bool {
        let moves = |manifest: &&Manifest| manifest.name == name && manifest.exchange() == Exchange::Rolling;
        if !self.running().iter().any(moves) {
            return false;
        }
        let Some(module) = self.module(name, version) else { return !self.may_be_had(name, version) };
        let to = self.modules[module].module.manifest.version;
        // Where there is no way at all, the engine's own check says so.
        let alone = !self.can_go_alone(name, to).is_err_and(|refusal| refusal.starts_with("needs-first"));
        alone && self.lacking(name, to).is_none()
    }

    pub(super) fn updatable(&self, name: &Name, version: Version) -> Answer<()> {
        let index = self.managed(name)?;
        if self.journal.exchange.is_open() && self.journal.exchange.index == index as u64 {
            return Err(format!("busy: {name} is being exchanged; ask again when that is over"));
        }
        if crate::modules::is_version(version, hic_abi::name_str(&self.journal.records[index].info.version)) {
            return Err(format!("same-version: {name} {version} is what runs"));
        }
        self.not_updating(name, index)
    }

    /// The plan that the task under way, or the last one, carries out.
    fn rollout(&self) -> Option<&Rollout> {
        self.task.as_ref()?.rollout.as_ref()
    }

    pub(super) fn begin_rollout(&mut self, name: &Name, version: Version) -> Answer<()> {
        self.updatable(name, version)?;
        self.wanted_module(name, version)?;
        let legs = self.with_known(|known| {
            // Names live as long as the modules: take the one of the manifest.
            let own = known.available.iter().find(|manifest| manifest.name == *name);
            own.map_or(Ok(Default::default()), |own| known.legs(&own.name, version))
        })?;
        if let Some(leg) = legs.iter().find(|leg| leg.how == How::Live && self.is_updating()) {
            return Err(format!(
                "update-running: {} is to be moved while it serves, and another update is under way; `commit` or `rollback` ends it",
                leg.name
            ));
        }
        let rollout = Rollout::new(legs);
        let first = rollout.leg().ok_or_else(|| format!("same-version: {name} {version} is what runs"))?;
        self.record_plan(rollout)?;
        let Err(refusal) = self.begin_leg(&first) else { return Ok(()) };
        let Some(refusal) = self.go_on(Err(refusal)) else { return Ok(()) };
        // The plan is over. What is left for whoever began it is the end of the task, not that of a step.
        if let Some(task) = &mut self.task {
            task.rollout = None;
        }
        Err(refusal)
    }

    /// Stores a plan before anything of it is done, so that a manager that is started again goes on with it.
    fn record_plan(&mut self, rollout: Rollout) -> Answer<()> {
        let Some(task) = &mut self.task else { return Ok(()) };
        let Order::Update(name, version, policy) = task.order.clone() else { return Ok(()) };
        if !self.journal.plan.begin(task.number, &Goal { name, version, policy }, &rollout) {
            return Err(format!("too-long: a plan of more than {MAX_LEGS} steps cannot be recorded"));
        }
        self.journal.plan.set_told(task.report.told());
        task.rollout = Some(rollout);
        Ok(())
    }

    /// Begins a step; its end comes to [`Manager::end_step`].
    pub(super) fn begin_leg(&mut self, leg: &Leg) -> Answer<()> {
        if let Some(rollout) = self.rollout() {
            let line = rollout.announcement();
            self.tell_task(line);
        }
        let Leg { name, to, how, .. } = leg;
        let Some(to) = *to else {
            self.set_doing(Order::Remove(name.clone()));
            return self.record_removal(name);
        };
        match how {
            How::Install => {
                self.set_doing(Order::Install(name.clone(), to));
                self.make_installed(name, to)
            }
            How::Restart => {
                self.set_doing(Order::Replace(name.clone(), to));
                self.make_replacement(name, to)
            }
            How::InPlace => {
                let module = self.step_module(name, to)?;
                self.begin_exchange(name, to, module)?;
                self.enter(Stage::Watching);
                Ok(())
            }
            How::Live => {
                let version = format!("{to}");
                self.enter(Stage::Moving);
                self.begin_update(name, &version, self.leg_policy()).map_err(|refusal| {
                    let mut text = String::new();
                    self.explain(&refusal, name, &version, &mut text);
                    text
                })
            }
            How::Offline(reason) => Err(format!("not-possible: {reason}")),
        }
    }

    /// On the way back, what ran before is good enough, whatever was said of it meanwhile.
    pub(super) fn step_module(&self, name: &Name, version: Version) -> Answer<usize> {
        let forward = self.rollout().is_none_or(Rollout::is_forward);
        match self.position(name, version) {
            Some(module) if !forward => Ok(module),
            _ => self.wanted_module(name, version),
        }
    }

    /// What an operator sets is about the module that was asked for; the windows of the others end with their steps.
    fn leg_policy(&self) -> Policy {
        let task = self.task.as_ref();
        let policy = match task.map(|task| &task.order) {
            Some(Order::Update(_, _, policy)) => *policy,
            _ => Policy::default(),
        };
        match self.rollout().is_some_and(Rollout::is_last) {
            true => policy,
            false => Policy { watch: 0, ..policy },
        }
    }

    /// What a rolling update says is said to those who follow the plan, too, of which it is a step.
    pub fn tell_moving(&mut self, line: &str) {
        if self.task.as_ref().is_some_and(|task| matches!(task.stage, Stage::Moving)) {
            self.add_line(format!("  {line}"));
        }
    }

    fn set_doing(&mut self, order: Order) {
        if let Some(task) = &mut self.task {
            task.doing = order;
        }
    }

    /// The end of the rolling update that is a step, if it has come: of the last one, that the new version serves.
    pub(super) fn moved(&self) -> Option<Answer<String>> {
        let running = self.update.as_ref()?;
        let (report, phase) = (running.engine.report(), running.engine.status().phase);
        let [name, from, to] =
            [&report.request.service[..], &report.request.from[..], &report.request.to[..]]
                .map(hic_abi::name_str);
        let last = self.rollout().is_some_and(Rollout::is_last);
        match report.outcome {
            None if last && phase == Phase::Watch => Some(Ok(format!(
                "{name} {to} serves. Until its rollback window ends, `rollback {name}` brings {from} back; `commit` ends the window now."
            ))),
            None => None,
            Some(Outcome::Completed { .. }) => Some(Ok(format!("{name} {to} serves in place of {from}"))),
            Some(outcome) => {
                let code = report.reason.as_ref().map_or(outcome.code(), |reason| reason.code());
                let why = report.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
                Some(Err(format!("{code}: {name} {from} -> {to}: {}{why}", outcome.code())))
            }
        }
    }

    /// What was being done came to this end: the task's, or that of a step of its plan.
    pub(super) fn end_step(&mut self, outcome: Answer<String>) {
        if self.rollout().is_some() {
            if let Some(refusal) = self.go_on(outcome) {
                self.end_task(Err(refusal));
            }
        } else {
            self.end_task(outcome);
        }
    }

    /// Goes on after a step that came to this end; the refusal when the plan has failed.
    fn go_on(&mut self, mut outcome: Answer<String>) -> Option<String> {
        loop {
            if let Ok(text) = &outcome {
                let last = self.rollout().is_some_and(Rollout::is_last);
                if !last {
                    self.tell_task(text.clone());
                }
            } else if let Err(refusal) = &outcome {
                self.tell_task(format!("failed: {refusal}"));
            }
            let rollout = self.task.as_mut().and_then(|task| task.rollout.as_mut())?;
            match self.journal.plan.ended(rollout, outcome) {
                Next::Done(text) => {
                    self.end_task(Ok(text));
                    return None;
                }
                Next::Failed(refusal) => return Some(refusal),
                Next::Leg(leg) => match self.begin_leg(&leg) {
                    Ok(()) => return None,
                    Err(refusal) => outcome = Err(refusal),
                },
            }
        }
    }
}
