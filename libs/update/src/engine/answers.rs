//! What instances answered. An answer is read by the question that the step asked; one that nobody waits for is passed over.

use super::{Engine, Waiting};
use crate::state::{Life, Step};
use crate::{Action, Phase, Quota, Reason, Who};
use hic_channel::Message;
use hic_migrate::{Exported, Health, Imported, Migrated, Ready, Refusal, refusal};

impl Engine {
    pub(super) fn answered(&mut self, who: Who, answer: &Message) {
        if self.waiting == Waiting::Raise(who) {
            return self.raised(who, Ready::decode(answer));
        }
        if self.waiting != Waiting::Answer(who) {
            return;
        }
        match self.at.step {
            Step::PrepareExporter | Step::PrepareImporter => self.ready(who, Ready::decode(answer)),
            Step::Probe => self.health(Health::decode(answer)),
            Step::Export => self.exported(Exported::decode(answer)),
            Step::Import => self.imported(Imported::decode(answer)),
            Step::Migrate => match Migrated::decode(answer) {
                Ok(migrated) => self.migrated(migrated),
                Err(refusal) => self.refused(who, refusal),
            },
            Step::Complete => match refusal::of(answer) {
                // It forgot the batch already, and died before it said so.
                None | Some(Refusal::WrongBatch { current: 0 }) => self.settled(true),
                Some(refusal) => self.refused(who, refusal),
            },
            Step::AbortImporter | Step::AbortExporter => match refusal::of(answer) {
                // It never began, or forgot the batch and died before it said so.
                None | Some(Refusal::WrongBatch { current: 0 }) => self.aborted(),
                Some(refusal) => self.refused(who, refusal),
            },
            Step::Commit if self.at.phase == Phase::Undo => self.rolled_back(),
            Step::Commit => self.next(Step::Shutdown),
            Step::Shutdown => self.go(Phase::CleanUp, Step::Destroy),
            _ => {}
        }
    }

    pub(super) fn next(&mut self, step: Step) {
        self.waiting = Waiting::Nobody;
        self.at.step = step;
    }

    /// An instance that refuses what it must do is as good as dead: it is started again.
    fn refused(&mut self, who: Who, refusal: Refusal) {
        self.fault(who, Reason::Refused { who, phase: self.at.phase, refusal });
    }

    fn ready(&mut self, who: Who, answer: Result<Ready, Refusal>) {
        match (answer, self.at.phase) {
            (Err(refusal), phase @ Phase::WarmUp) => self.turn(Reason::Refused { who, phase, refusal }),
            (Err(refusal), _) => self.refused(who, refusal),
            (Ok(ready), phase) => self.is_ready(who, ready, phase),
        }
    }

    fn is_ready(&mut self, who: Who, ready: Ready, phase: Phase) {
        if phase == Phase::WarmUp && who == Who::Old {
            self.counts.total = ready.items;
        }
        match (self.at.step, phase) {
            (Step::PrepareExporter, _) => self.next(Step::PrepareImporter),
            (_, Phase::WarmUp) => self.next(Step::Probe),
            (_, Phase::Turn) => self.first_wave(),
            _ => self.next(Step::Pace),
        }
    }

    fn raised(&mut self, who: Who, answer: Result<Ready, Refusal>) {
        match answer {
            Ok(_) => {
                self.waiting = Waiting::Nobody;
                self.set_life(who, Life::Up);
            }
            Err(refusal) => self.refused(who, refusal),
        }
    }

    fn health(&mut self, answer: Result<Health, Refusal>) {
        let phase = self.at.phase;
        match answer {
            Ok(Health { failed: 0, .. }) => self.healthy(),
            Ok(Health { failed: test, .. }) => self.turn(Reason::Unhealthy { phase, test }),
            Err(refusal) => self.turn(Reason::Refused { who: Who::New, phase, refusal }),
        }
    }

    fn healthy(&mut self) {
        let policy = self.request.policy;
        let measured = self.counts.downtime;
        if measured > policy.max_downtime && self.at.phase != Phase::WarmUp {
            return self.turn(Reason::Downtime { measured, allowed: policy.max_downtime });
        }
        self.counts.checked_at = self.now;
        if self.at.phase == Phase::Migrate {
            return self.go_on(self.counts.work.is_under_way());
        }
        self.counts.checks += 1;
        match self.at.phase {
            Phase::WarmUp => {
                self.out.push(Action::Share { who: Who::New, quota: Quota::Beside });
                self.first_wave();
            }
            Phase::Validate if self.counts.checks <= policy.validations.max(1) => self.next(Step::Pause),
            Phase::Validate => {
                self.counts.watch_until = self.now.saturating_add(policy.watch);
                self.go(Phase::Watch, Step::Pause);
            }
            _ => self.next(Step::Pause),
        }
    }
}
