//! What the manager's own work came to, and the time.

use super::batch::MAX_REFUSALS;
use super::{Engine, Waiting};
use crate::state::{Life, Step};
use crate::{Action, Failed, Note, Outcome, Phase, Reason, Refused, Remedy, Who};

impl Engine {
    pub(super) fn begin(&mut self) {
        self.waiting = Waiting::Nobody;
        self.log_status();
    }

    pub(super) fn checked(&mut self, result: Result<(), Refused>) {
        match result {
            Ok(()) => self.go(Phase::Create, Step::Run),
            Err(refusal) => self.finish(Outcome::AbortedBeforeStart { refusal }),
        }
    }

    pub(super) fn created(&mut self, result: Result<(), Failed>) {
        match result {
            Ok(()) => {
                self.set_life(Who::New, Life::Up);
                self.go(Phase::WarmUp, Step::Start);
            }
            Err(error) => self.turn(Reason::NotCreated(error)),
        }
    }

    pub(super) fn started(&mut self, result: Result<(), Failed>) {
        match result {
            Ok(()) => self.next(Step::PrepareExporter),
            Err(error) => self.turn(Reason::NotStarted(error)),
        }
    }

    pub(super) fn placed(&mut self, result: Result<(), Failed>) {
        let salvage = self.at.phase == Phase::Salvage;
        match result {
            Ok(()) => self.next(if salvage { Step::Import } else { Step::Export }),
            Err(error) if self.at.back || salvage => {
                self.waiting = Waiting::Nobody;
                self.refused_on_the_way(self.at.exporter, Reason::NotMoved(error));
            }
            Err(error) => self.turn(Reason::NotMoved(error)),
        }
    }

    /// The record was made, or not.
    pub(super) fn recorded(&mut self, error: Option<Failed>) {
        self.waiting = Waiting::Nobody;
        let undoing = self.at.phase == Phase::Undo;
        match error.map(Reason::NotRecorded) {
            None => self.record_settled(),
            Some(reason) if !undoing && self.gone().is_none() => self.turn_in_earnest(reason),
            Some(reason) if self.counts.refusals < MAX_REFUSALS => {
                self.counts.refusals += 1;
                let who = if undoing { Who::Old } else { Who::New };
                self.out.push(Action::Log(Note::Trouble { reason, remedy: Remedy::Retry(who) }));
            }
            // The version named serves, whatever the record says; at the next boot the manager finds the other one fail, or well.
            Some(_) => self.record_settled(),
        }
    }

    fn record_settled(&mut self) {
        self.at.committed |= self.at.phase == Phase::Commit;
        self.counts.refusals = 0;
        self.next(Step::Commit);
    }

    pub(super) fn destroyed(&mut self, who: Who) {
        match (self.at.phase, who) {
            (Phase::CleanUp, Who::Old) => self.completed(),
            (Phase::Undo, Who::New) => {
                self.at.life = [self.life(Who::Old), Life::Absent];
                self.counts.refusals = 0;
                self.next(if self.at.record_tried { Step::Record } else { Step::Commit });
            }
            _ => {}
        }
    }

    pub(super) fn restarted(&mut self, who: Who, result: Result<(), Failed>) {
        if self.life(who) != Life::Down {
            return;
        }
        match result {
            Ok(()) => self.set_life(who, Life::Raised),
            Err(error) => self.not_restarted(who, error),
        }
        if self.waiting == Waiting::Restart(who) {
            self.waiting = Waiting::Nobody;
        }
    }

    /// The window ends at the operator's word.
    pub(super) fn commit_now(&mut self) {
        match self.at.phase {
            Phase::Watch => self.go(Phase::Commit, Step::Record),
            _ => self.counts.confirmed = 1,
        }
    }

    /// The deadline has come.
    pub(super) fn expired(&mut self) {
        let phase = self.at.phase;
        match self.waiting {
            Waiting::Timer => self.time_is_come(),
            Waiting::Answer(who) | Waiting::Raise(who) => self.fault(who, Reason::Hang { who, phase }),
            Waiting::Restart(who) => self.restarted(who, Err(Failed::default())),
            Waiting::Manager if self.at.step == Step::Record => self.recorded(Some(Failed::default())),
            Waiting::Manager => self.turn(Reason::TooSlow { phase }),
            Waiting::Began | Waiting::Nobody | Waiting::Over => {}
        }
    }

    fn time_is_come(&mut self) {
        self.waiting = Waiting::Nobody;
        match self.at.phase {
            Phase::Validate => self.at.step = Step::Probe,
            Phase::Watch if !self.watch_is_over() => self.at.step = Step::Probe,
            _ => {}
        }
    }

    /// Pausing again then leads to the commit.
    pub(super) fn watch_is_over(&self) -> bool {
        if self.at.phase != Phase::Watch {
            return false;
        }
        let by_time = self.request.policy.manual_commit == 0 && self.now >= self.counts.watch_until;
        by_time || self.counts.confirmed != 0
    }
}
