//! Deaths and hangs, the turn back, and giving an instance up.

use super::batch::MAX_REFUSALS;
use super::{Engine, Waiting};
use crate::state::{Life, Step};
use crate::{Action, Failed, Note, Outcome, Phase, Reason, Remedy, Who};

/// Faults of the last instance that can serve, before the update ends without one: more than any passing trouble takes, and an end.
pub const LAST_RESTARTS: u64 = 8;

impl Engine {
    /// An instance died, hangs, or refuses what it must do.
    pub(super) fn fault(&mut self, who: Who, reason: Reason) {
        match self.life(who) {
            Life::Up | Life::Raised => self.fell(who, reason),
            Life::Down | Life::Absent | Life::Gone => {}
        }
    }

    /// A restart did not even begin.
    pub(super) fn not_restarted(&mut self, who: Who, error: Failed) {
        self.fell(who, Reason::NotRestarted { who, error });
    }

    fn fell(&mut self, who: Who, reason: Reason) {
        if self.waiting != Waiting::Manager {
            self.waiting = Waiting::Nobody;
        }
        self.set_life(who, Life::Down);
        if !self.needs(who) {
            return;
        }
        self.count_fault(who);
        self.rewind();
        if who == Who::New && self.at.committed {
            self.fell_committed(reason);
        }
        let turns = match who {
            Who::New => true,
            Who::Old => self.faults(who) > self.request.policy.restarts,
        };
        let turned = turns && self.set_back(reason);
        if self.needs(who) {
            self.remedy(who, reason);
        }
        if turned && self.gone().is_none() {
            self.leave_phase();
        }
    }

    /// It may have died before it made its own note of being alone, or while it made it. If it cannot, it serves without.
    fn fell_committed(&mut self, reason: Reason) {
        let cannot = self.counts.refusals >= MAX_REFUSALS;
        match self.at.step {
            Step::Commit if cannot => {
                self.counts.reason = reason.encode();
                self.at.step = Step::Shutdown;
            }
            Step::Commit => self.counts.refusals += 1,
            Step::Shutdown if !cannot => self.at.step = Step::Commit,
            _ => {}
        }
    }

    fn remedy(&mut self, who: Who, reason: Reason) {
        if self.faults(who) > self.patience(who) {
            return self.give_up(who, reason);
        }
        self.out.push(Action::Log(Note::Trouble { reason, remedy: Remedy::Restart(who) }));
        if self.waiting == Waiting::Manager {
            // The manager's work may take long; nobody should be without service meanwhile.
            self.restart(who);
        }
    }

    fn count_fault(&mut self, who: Who) {
        let [old, new] = &mut self.counts.faults;
        *(if who == Who::Old { old } else { new }) += 1;
        if who == self.at.role_at && self.counts.down_since == 0 {
            self.counts.down_since = self.now;
        }
    }

    fn faults(&self, who: Who) -> u64 {
        let [old, new] = self.counts.faults;
        if who == Who::Old { old } else { new }
    }

    /// Faults after which an instance is given up. The old one has twice the patience: after the first half the update goes back to it.
    fn patience(&self, who: Who) -> u64 {
        let restarts = self.request.policy.restarts;
        let twice = restarts.saturating_mul(2).saturating_add(1);
        match who {
            _ if !self.can_serve(who.other()) => twice.max(LAST_RESTARTS),
            Who::Old => twice,
            Who::New => restarts,
        }
    }

    /// Whether this instance could serve everything.
    fn can_serve(&self, who: Who) -> bool {
        let lives = matches!(self.life(who), Life::Up | Life::Down | Life::Raised);
        let in_play = match who {
            Who::Old => !self.at.committed,
            Who::New => !matches!(self.at.phase, Phase::Check | Phase::Create | Phase::WarmUp | Phase::Undo),
        };
        lives && in_play
    }

    /// Turns back, as far as that is possible.
    pub(super) fn turn(&mut self, reason: Reason) {
        if self.set_back(reason) {
            self.leave_phase();
        }
    }

    /// Turns back from a record that was not made.
    pub(super) fn turn_in_earnest(&mut self, reason: Reason) {
        self.at.back = true;
        self.tell_back(reason);
        self.leave_phase();
    }

    fn set_back(&mut self, reason: Reason) -> bool {
        let recording = self.at.phase == Phase::Commit;
        if self.at.back || self.at.committed || recording || self.at.phase == Phase::Salvage {
            return false;
        }
        self.at.back = true;
        self.tell_back(reason);
        true
    }

    fn tell_back(&mut self, reason: Reason) {
        self.counts.reason = reason.encode();
        self.out.push(Action::Log(Note::Back(reason)));
    }

    /// A batch is settled first; everything else is left where it stands.
    fn leave_phase(&mut self) {
        if !self.at.phase.is_batches() {
            self.unwind();
        } else if self.waiting != Waiting::Manager {
            self.waiting = Waiting::Nobody;
        }
    }

    /// The way back begins: nothing is under way.
    pub(super) fn unwind(&mut self) {
        (self.counts.refusals, self.counts.way, self.counts.want) = (0, 0, 0);
        if self.at.phase == Phase::Check {
            self.rolled_back();
        } else if self.at.touched {
            self.at.exporter = Who::New;
            self.go(Phase::Turn, Step::PrepareExporter);
        } else {
            self.go(Phase::Undo, Step::Destroy);
        }
    }

    /// This instance is not started again; the other one takes what it has.
    pub(super) fn give_up(&mut self, who: Who, reason: Reason) {
        if self.waiting != Waiting::Manager {
            self.waiting = Waiting::Nobody;
        }
        if self.can_serve(who.other()) {
            self.out.push(Action::Log(Note::Trouble { reason, remedy: Remedy::GiveUp(who) }));
            self.out.push(Action::Freeze(who));
            self.set_life(who, Life::Gone);
            if who == Who::Old || self.reason().is_none() {
                self.counts.reason = reason.encode();
            }
            if !self.at.phase.is_batches() {
                self.salvage(who);
            }
        } else if who == Who::Old && self.at.phase == Phase::Undo {
            // It has everything that there is, and its own restart policy.
            self.set_life(who, Life::Gone);
        } else {
            self.lost(reason);
        }
    }

    /// Takes everything from the state of an instance that is dead for good.
    pub(super) fn salvage(&mut self, gone: Who) {
        (self.counts.refusals, self.counts.way) = (0, 0);
        self.at.exporter = gone;
        self.at.salvaged = false;
        self.at.back = gone == Who::New;
        self.go(Phase::Salvage, Step::PrepareImporter);
    }

    /// Nothing is left in the dead one's state. If nothing was, the service's ports are still to be switched.
    pub(super) fn salvage_over(&mut self) {
        self.waiting = Waiting::Nobody;
        if !self.at.salvaged {
            self.at.step = Step::SwitchOnly;
        } else if self.at.exporter == Who::Old {
            self.counts.refusals = 0;
            self.go(Phase::Commit, Step::Record);
        } else {
            self.go(Phase::Undo, Step::Destroy);
        }
    }

    pub(super) fn lost(&mut self, reason: Reason) {
        self.finish(Outcome::Lost { reason });
    }
}
