//! Entering a step: what is wanted from whom, until when.

use super::{Engine, Waiting};
use crate::state::{Life, Step};
use crate::{Action, Nanos, Phase, Quota, Who};
use hic_migrate::{Question, Side};

/// A question that changes nothing: batches are numbered from 1. Nobody waits for its answer.
const NOTHING: Question = Question::Abort { batch: 0 };

/// How much longer than others an instance may take for an answer that has only its quota for warming up.
const PATIENCE: Nanos = 1_000_000_000;

impl Engine {
    /// Enters steps until something must be waited for.
    pub(super) fn advance(&mut self) {
        while self.waiting == Waiting::Nobody {
            self.deadline = None;
            self.enter();
        }
    }

    /// The instances that the present step rests on must be up first.
    fn enter(&mut self) {
        if let Some(who) = self.needed_in(Life::Down) {
            self.restart(who);
            self.wait(Waiting::Restart(who), self.request.policy.step_deadline);
        } else if let Some(who) = self.needed_in(Life::Raised) {
            self.raise(who);
        } else {
            self.enter_step();
        }
    }

    /// The open question is replaced first: it outlives the instance, and it may be what killed it.
    pub(super) fn restart(&mut self, who: Who) {
        if who == Who::New || self.at.prepared {
            self.out.push(Action::Ask { to: who, question: NOTHING });
        }
        self.out.push(Action::Restart(who));
    }

    fn enter_step(&mut self) {
        let policy = self.request.policy;
        match (self.at.phase, self.at.step) {
            (Phase::Check, _) => self.order(Action::CheckModule, policy.create_deadline),
            (Phase::Create, _) => self.order(Action::CreateInstance, policy.create_deadline),
            (_, Step::Start) => self.order(Action::StartInstance, policy.start_deadline),
            (_, Step::PrepareExporter) => self.prepare(self.at.exporter, Side::Exporter),
            (_, Step::PrepareImporter) => self.prepare(self.at.importer(), Side::Importer),
            (phase, Step::Probe) if phase.is_batches() && self.unwanted() => self.settled(false),
            (_, Step::Probe) => self.ask(Who::New, Question::Check),
            (_, Step::Pause) => self.pause(),
            (phase, _) if phase.is_batches() => self.enter_batch(),
            (Phase::Commit | Phase::CleanUp, step) => self.enter_commit(step),
            (_, step) => self.enter_undo(step),
        }
    }

    fn prepare(&mut self, who: Who, side: Side) {
        let policy = self.request.policy;
        let starts = self.at.phase == Phase::WarmUp && who == Who::New;
        let time = if starts { policy.start_deadline } else { policy.step_deadline };
        self.at.prepared |= who == Who::Old;
        self.out.push(Action::Prepare { who, side });
        self.wait_for_answer(who, time);
    }

    fn pause(&mut self) {
        let policy = self.request.policy;
        if self.watch_is_over() {
            return self.go(Phase::Commit, Step::Record);
        }
        let time = if self.at.phase == Phase::Watch {
            let next = self.now.saturating_add(policy.check_period);
            if policy.manual_commit == 0 { next.min(self.counts.watch_until) } else { next }
        } else {
            self.now.saturating_add(policy.validate_period)
        };
        self.wait_until(time);
    }

    fn enter_commit(&mut self, step: Step) {
        match step {
            Step::Record => {
                self.at.record_tried = true;
                self.order(Action::RecordDefault(Who::New), self.request.policy.record_deadline);
            }
            Step::Commit => self.ask(Who::New, Question::Commit { own_format: true }),
            Step::Shutdown if self.life(Who::Old) == Life::Up => self.ask(Who::Old, Question::Shutdown),
            Step::Shutdown => self.go(Phase::CleanUp, Step::Destroy),
            _ => self.order(Action::Destroy(Who::Old), Nanos::MAX),
        }
    }

    fn enter_undo(&mut self, step: Step) {
        match step {
            Step::Destroy => self.order(Action::Destroy(Who::New), Nanos::MAX),
            Step::Record => self.order(Action::RecordDefault(Who::Old), self.request.policy.record_deadline),
            // Nothing reads what the old one writes any more: its lane and its peer are gone.
            _ if self.at.prepared && self.life(Who::Old) == Life::Up => {
                self.ask(Who::Old, Question::Commit { own_format: true });
            }
            _ => self.rolled_back(),
        }
    }

    /// Tells a restarted instance its side, if it has one at this point.
    fn raise(&mut self, who: Who) {
        match self.side(who) {
            Some(side) => {
                self.out.push(Action::Prepare { who, side });
                self.wait(Waiting::Raise(who), self.request.policy.start_deadline);
            }
            None => self.set_life(who, Life::Up),
        }
    }

    fn side(&self, who: Who) -> Option<Side> {
        let told = match self.at.phase {
            Phase::Check | Phase::Create | Phase::Undo | Phase::Done | Phase::CleanUp => false,
            Phase::WarmUp => who == Who::Old && self.at.step > Step::PrepareExporter,
            _ => !self.at.committed,
        };
        let side = if who == self.at.exporter { Side::Exporter } else { Side::Importer };
        told.then_some(side)
    }

    fn needed_in(&self, life: Life) -> Option<Who> {
        Who::BOTH.into_iter().find(|who| self.needs(*who) && self.life(*who) == life)
    }

    /// Whether the update cannot go on without this instance.
    pub(super) fn needs(&self, who: Who) -> bool {
        match (who, self.at.phase) {
            (_, Phase::Done) => false,
            (Who::Old, _) => !self.at.committed,
            (Who::New, Phase::Check | Phase::Create | Phase::Undo) => false,
            (Who::New, _) => self.at.touched || !self.at.back,
        }
    }

    pub(super) fn ask(&mut self, to: Who, question: Question) {
        self.out.push(Action::Ask { to, question });
        self.wait_for_answer(to, self.request.policy.step_deadline);
    }

    fn wait_for_answer(&mut self, who: Who, time: Nanos) {
        let warms_up = self.at.phase == Phase::WarmUp && who == Who::New;
        let more = if warms_up { PATIENCE } else { 0 };
        self.wait(Waiting::Answer(who), time.saturating_add(more));
    }

    /// The share that an instance is to have now.
    fn quota(&self, who: Who) -> Quota {
        match self.at.phase {
            _ if who == self.at.role_at => Quota::Service,
            Phase::Check | Phase::Create | Phase::WarmUp => Quota::WarmUp,
            _ => Quota::Beside,
        }
    }

    /// Gives both their shares: first the one that gets less, so that the two never have more together than is reserved.
    pub(super) fn share_out(&mut self) {
        for who in [self.at.role_at.other(), self.at.role_at] {
            if !matches!(self.life(who), Life::Absent) {
                self.out.push(Action::Share { who, quota: self.quota(who) });
            }
        }
    }

    /// Orders work of the manager's own.
    pub(super) fn order(&mut self, action: Action, time: Nanos) {
        self.out.push(action);
        self.wait(Waiting::Manager, time);
    }

    /// Waits for so long at most; [`Nanos::MAX`] for what the kernel does while it is called.
    pub(super) fn wait(&mut self, whom: Waiting, time: Nanos) {
        self.waiting = whom;
        self.deadline = (time != Nanos::MAX).then(|| self.now.saturating_add(time));
        self.grace = time;
    }

    pub(super) fn wait_until(&mut self, time: Nanos) {
        self.waiting = Waiting::Timer;
        self.deadline = Some(time);
        self.grace = 0;
    }
}
