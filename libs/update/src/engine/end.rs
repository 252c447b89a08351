//! Time stamps, notes, and how it ends.

use super::{Engine, Waiting};
use crate::report::{Times, stage};
use crate::state::Step;
use crate::{Action, Note, Outcome, Phase, Reason};

impl Engine {
    /// Goes to a step of another phase.
    pub(super) fn go(&mut self, phase: Phase, step: Step) {
        self.rest();
        self.stamp(|times, now| times.ended = now);
        (self.at.phase, self.at.step) = (phase, step);
        self.stamp(|times, now| {
            times.ended = 0;
            if times.started == 0 {
                times.started = now;
            }
        });
        self.waiting = Waiting::Nobody;
        if phase != Phase::Done {
            self.log_status();
        }
    }

    pub(super) fn stamp(&mut self, change: impl FnOnce(&mut Times, u64)) {
        let now = self.now;
        if let Some(times) = self.counts.times.get_mut(stage(&self.at)) {
            change(times, now);
        }
    }

    pub(super) fn log_status(&mut self) {
        self.out.push(Action::Log(Note::At(self.status())));
    }

    /// The service's own ports are served again.
    pub(super) fn served_again(&mut self) {
        if self.counts.down_since != 0 {
            self.counts.downtime =
                self.counts.downtime.saturating_add(self.now.saturating_sub(self.counts.down_since));
            self.counts.down_since = 0;
        }
    }

    pub(super) fn reason(&self) -> Option<Reason> {
        Reason::decode(&self.counts.reason)
    }

    pub(super) fn rolled_back(&mut self) {
        let reason = self.reason().unwrap_or(Reason::Aborted);
        self.finish(Outcome::RolledBack { reason });
    }

    pub(super) fn completed(&mut self) {
        self.finish(Outcome::Completed { forced: self.reason() });
    }

    pub(super) fn finish(&mut self, outcome: Outcome) {
        self.go(Phase::Done, Step::Run);
        self.counts.ended = self.now;
        (self.counts.outcome, self.counts.outcome_code) = outcome.encode();
        let took = self.now.saturating_sub(self.counts.started);
        self.out.push(Action::Log(Note::End { outcome, took }));
        self.finished();
    }

    /// Says the end, now or again.
    pub(super) fn finished(&mut self) {
        self.waiting = Waiting::Over;
        self.deadline = None;
        let Some(outcome) = Outcome::decode(self.counts.outcome, &self.counts.outcome_code) else { return };
        if outcome.serving().is_some() {
            // Otherwise it still tells whose the last batch is.
            self.out.push(Action::DropToken);
        }
        self.out.push(Action::Finish(outcome));
    }
}
