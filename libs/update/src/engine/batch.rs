//! The steps of a batch, in whichever direction it goes.

use super::{Engine, Waiting};
use crate::state::{Life, Step};
use crate::{Action, Failed, Nanos, Note, Phase, Reason, Remedy, Who};
use alloc::vec::Vec;
use hic_migrate::{CapSlot, Exported, Imported, Migrated, Question, Refusal, Share, Wave};

/// Refusals on a way that must be gone, before it is gone without the one who is in the way.
pub(super) const MAX_REFUSALS: u64 = 3;

/// What the two sides have said about the batch under way. Lost with the manager: then they are asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// Nothing.
    None,
    /// What moves.
    Exported { items: u64, caps: Vec<CapSlot> },
    /// And where to.
    Ready { items: u64, caps: Vec<CapSlot>, slots: Vec<u32> },
}

impl Engine {
    /// The batch under way must not take place: the update goes the other way, or one side is dead for good.
    pub(super) fn unwanted(&self) -> bool {
        let turning = self.at.back && self.at.exporter == Who::Old;
        self.at.phase != Phase::Salvage && (turning || self.gone().is_some())
    }

    pub(super) fn enter_batch(&mut self) {
        let (from, to, batch) = (self.at.exporter, self.at.importer(), self.counts.batch);
        match self.at.step {
            Step::Pace | Step::Place if self.unwanted() => self.settled(false),
            Step::Export | Step::Import | Step::Transact | Step::SwitchOnly if self.unwanted() => {
                self.at.step = Step::AbortImporter;
            }
            Step::Place => self.order(Action::PlaceToken { at: from }, Nanos::MAX),
            Step::Export => self.ask(from, Question::Export { batch, share: self.share() }),
            Step::Import => self.ask(to, Question::Import { batch, share: self.share() }),
            Step::Transact => self.transact(),
            Step::SwitchOnly => self.emit_transaction(Vec::new(), Vec::new()),
            Step::Migrate if self.life(to) == Life::Gone => self.at.step = Step::Complete,
            Step::Migrate => self.ask(to, Question::Migrate { batch }),
            Step::Complete if self.life(from) == Life::Gone => self.settled(true),
            Step::Complete => self.ask(from, Question::Complete { batch }),
            Step::AbortImporter if self.life(to) != Life::Up => self.at.step = Step::AbortExporter,
            Step::AbortImporter => self.ask(to, Question::Abort { batch }),
            Step::AbortExporter if self.life(from) != Life::Up => self.settled(false),
            Step::AbortExporter => self.ask(from, Question::Abort { batch }),
            _ => self.pace(),
        }
    }

    fn share(&self) -> Share {
        let policy = &self.request.policy;
        let limit = |items: u64| u16::try_from(items).unwrap_or(u16::MAX);
        let room = self.counts.window.room(self.now, policy.rate()).max(1);
        match self.at.phase {
            Phase::Switch => Share::Role,
            Phase::Salvage => Share::Everything { max: limit(policy.batch_items.max(1)) },
            _ if self.goes_one_by_one() => Share::Items { wave: self.at.wave, max: 1 },
            _ => Share::Items { wave: self.at.wave, max: limit(policy.batch().min(room).min(self.proven())) },
        }
    }

    /// What must not notice moves one by one, and the new version is looked at after each (P3.5).
    fn goes_one_by_one(&self) -> bool {
        self.takes_items() && self.at.wave == Wave::Persistent
    }

    /// The new version takes items, wave by wave.
    fn takes_items(&self) -> bool {
        self.at.phase == Phase::Migrate && self.at.exporter == Who::Old
    }

    /// The first batch is a single item and no later one is larger than what has moved well before it on this way, plus one: what goes wrong,
    /// or takes long because it has never been done, meets few.
    fn proven(&self) -> u64 {
        self.counts.way_moved.saturating_add(1)
    }

    /// Waits until the second has room for a batch and moving has rested, then numbers it. The new version is looked at meanwhile.
    fn pace(&mut self) {
        self.rest();
        let time = self.turn_of_next();
        if time > self.now {
            return match self.check_due_in_pause() {
                Some(due) if due <= self.now => self.at.step = Step::Probe,
                due => self.wait_until(due.map_or(time, |due| due.min(time))),
            };
        }
        if self.counts.way >= self.request.policy.max_batches {
            return self.too_many();
        }
        if self.at.phase != Phase::Salvage {
            self.counts.work.begin(self.now);
        }
        self.counts.batch += 1;
        self.counts.way += 1;
        self.at.step = Step::Place;
    }

    fn turn_of_next(&self) -> Nanos {
        let policy = &self.request.policy;
        let rested = if self.in_haste() { 0 } else { self.counts.work.rests_until() };
        if !self.paced() {
            return rested;
        }
        let items = policy.batch().max(self.counts.want);
        rested.max(self.counts.window.when(self.now, policy.rate(), items))
    }

    /// Nobody serves a dead one's items meanwhile, and from a version that fails clients suffer more than from batches without a pause.
    fn in_haste(&self) -> bool {
        let fails = self.at.back && !self.reason().is_some_and(|reason| reason.is_a_wish());
        self.at.phase == Phase::Salvage || fails
    }

    /// What was under way is over, and moving rests for it.
    pub(super) fn rest(&mut self) {
        let policy = &self.request.policy;
        self.counts.work.end(self.now, policy.share, policy.longest_pause);
    }

    fn paced(&self) -> bool {
        matches!(self.at.phase, Phase::Migrate | Phase::Rest)
    }

    fn too_many(&mut self) {
        let reason = Reason::TooManyBatches { batches: self.counts.way };
        match (self.at.phase, self.at.back) {
            (Phase::Salvage, _) => self.salvage_over(),
            (_, false) => self.turn(reason),
            (_, true) => self.give_up(self.at.exporter, reason),
        }
    }

    pub(super) fn exported(&mut self, answer: Result<Exported, Refusal>) {
        self.waiting = Waiting::Nobody;
        let Exported { items, left, caps } = match answer {
            Ok(answer) => answer,
            Err(refusal) => return self.batch_refused(self.at.exporter, refusal),
        };
        if self.at.phase == Phase::Switch && items == 0 {
            self.at.step = Step::SwitchOnly;
            return;
        }
        if self.counts.way_goal == 0 {
            self.counts.way_goal = items.saturating_add(left).saturating_add(1);
        }
        if items == 0 {
            return self.share_empty();
        }
        let window = &self.counts.window;
        let fits = window.room(self.now, self.request.policy.rate()) >= items || window.is_empty(self.now);
        if self.paced() && !fits {
            self.counts.want = items;
            self.at.step = Step::AbortExporter;
            return;
        }
        self.plan = Plan::Exported { items, caps };
        self.at.step = Step::Import;
    }

    pub(super) fn imported(&mut self, answer: Result<Imported, Refusal>) {
        self.waiting = Waiting::Nobody;
        let to = self.at.importer();
        let Imported { items, left, slots, from } = match answer {
            Ok(answer) => answer,
            Err(refusal) => return self.batch_refused(to, refusal),
        };
        let salvage = self.at.phase == Phase::Salvage;
        // What is salvaged is here once it is served, and not before.
        self.counts.left = if salvage { left.saturating_add(items) } else { left };
        if salvage && items == 0 {
            return self.salvage_over();
        }
        let (promised, caps) = match core::mem::replace(&mut self.plan, Plan::None) {
            Plan::Exported { items, caps } => (items, caps),
            _ => (items, from),
        };
        if promised != items || caps.len() != slots.len() {
            return self.batch_refused(to, Refusal::Malformed);
        }
        self.plan = Plan::Ready { items, caps, slots };
        self.at.step = Step::Transact;
    }

    fn transact(&mut self) {
        let Plan::Ready { items, caps, slots } = core::mem::replace(&mut self.plan, Plan::None) else {
            return self.rewind();
        };
        if self.paced() {
            self.counts.window.enter(self.now, items);
        }
        self.emit_transaction(caps, slots);
    }

    fn emit_transaction(&mut self, caps: Vec<CapSlot>, slots: Vec<u32>) {
        let (batch, from, to) = (self.counts.batch, self.at.exporter, self.at.importer());
        self.at.touched |= to == Who::New;
        let switch_service_ports = matches!(self.at.phase, Phase::Switch | Phase::Salvage);
        self.order(Action::Transact { batch, from, to, caps, slots, switch_service_ports }, Nanos::MAX);
    }

    /// What both sides said before the transaction is asked for again: one of them, or the manager, started anew.
    pub(super) fn rewind(&mut self) {
        if self.waiting == Waiting::Manager || !self.at.phase.is_batches() {
            return;
        }
        self.plan = Plan::None;
        if matches!(self.at.step, Step::Import | Step::Transact) {
            self.at.step = if self.at.phase == Phase::Salvage { Step::Import } else { Step::Export };
        }
    }

    pub(super) fn transacted(&mut self, result: Result<(), Failed>) {
        self.waiting = Waiting::Nobody;
        if let Err(error) = result {
            return self.not_moved(error);
        }
        let only_ports = self.at.step == Step::SwitchOnly;
        if self.paced() {
            self.counts.window.moved(self.now);
            self.counts.want = 0;
        } else {
            if self.at.role_at == self.at.exporter {
                self.at.role_at = self.at.importer();
                self.share_out();
            }
            self.at.salvaged = self.at.phase == Phase::Salvage;
            self.served_again();
        }
        match (only_ports, self.at.phase) {
            (true, Phase::Salvage) => self.salvage_over(),
            (true, _) => self.settled(true),
            (false, _) => self.at.step = Step::Migrate,
        }
    }

    fn not_moved(&mut self, error: Failed) {
        let reason = Reason::NotMoved(error);
        if !self.at.back && self.at.phase != Phase::Salvage {
            return self.turn(reason);
        }
        if self.at.step != Step::SwitchOnly {
            return self.refused_on_the_way(self.at.exporter, reason);
        }
        self.counts.refusals += 1;
        if self.counts.refusals >= 2 * MAX_REFUSALS {
            match self.at.phase {
                Phase::Salvage => self.lost(reason),
                _ => self.give_up(self.at.exporter, reason),
            }
        }
    }

    fn batch_refused(&mut self, who: Who, refusal: Refusal) {
        let reason = Reason::Refused { who, phase: self.at.phase, refusal };
        if self.at.back || self.at.phase == Phase::Salvage {
            self.refused_on_the_way(who, reason);
        } else {
            self.turn(reason);
        }
    }

    /// There is no other way to turn to: try again, then without the one who is in the way.
    pub(super) fn refused_on_the_way(&mut self, who: Who, reason: Reason) {
        self.counts.refusals += 1;
        if self.at.phase.is_batches() {
            self.at.step = Step::AbortImporter;
        }
        if self.counts.refusals >= MAX_REFUSALS && self.at.phase != Phase::Salvage {
            self.give_up(who, reason);
        } else {
            self.out.push(Action::Log(Note::Trouble { reason, remedy: Remedy::Retry(who) }));
        }
    }

    pub(super) fn migrated(&mut self, answer: Migrated) {
        let forward = self.at.importer() == Who::New;
        let counts = &mut self.counts;
        // What an instance says of itself is not checked, so the sums must bear anything.
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        if self.at.phase == Phase::Switch {
            add(&mut counts.downtime, answer.longest_freeze);
        } else {
            let [there, back] = &mut counts.moved;
            add(if forward { there } else { back }, answer.items);
            add(&mut counts.way_moved, answer.items.saturating_add(answer.lost));
        }
        add(&mut counts.lost, answer.lost);
        if self.at.phase == Phase::Salvage {
            // It goes on: only refusals in a row end it.
            counts.refusals = 0;
        }
        counts.longest_freeze = counts.longest_freeze.max(answer.longest_freeze);
        counts.total_freeze = counts.total_freeze.saturating_add(answer.total_freeze);
        counts.batches += 1;
        self.waiting = Waiting::Nobody;
        self.at.step = Step::Complete;
    }

    pub(super) fn aborted(&mut self) {
        match self.at.step {
            Step::AbortImporter => self.next(Step::AbortExporter),
            _ => self.settled(false),
        }
    }

    /// No batch is under way any more.
    pub(super) fn settled(&mut self, moved: bool) {
        self.waiting = Waiting::Nobody;
        self.plan = Plan::None;
        if self.at.phase == Phase::Salvage {
            self.at.step = Step::Pace;
            if self.counts.refusals >= MAX_REFUSALS {
                // What cannot be taken must not keep everything else from being served.
                self.counts.lost = self.counts.lost.saturating_add(self.counts.left.max(1));
                self.salvage_over();
            }
            return;
        }
        if let Some(gone) = self.gone() {
            return self.salvage(gone);
        }
        if self.at.back && self.at.exporter == Who::Old {
            return self.unwind();
        }
        if moved && self.check_due().is_some_and(|due| due <= self.now) {
            self.at.step = Step::Probe;
        } else {
            self.go_on(moved);
        }
    }

    /// When the new version is to be looked at next while it takes items, as often as the policy says for this wave (P3.5).
    fn check_due(&self) -> Option<Nanos> {
        let period = self.request.policy.wave_check(self.at.wave);
        self.takes_items().then(|| self.counts.checked_at.saturating_add(period))
    }

    /// The same in a pause; `None` in a wave whose batches each end with a look.
    fn check_due_in_pause(&self) -> Option<Nanos> {
        self.check_due().filter(|_| self.request.policy.wave_check(self.at.wave) > 0)
    }

    /// The next batch, or what comes after the last one.
    pub(super) fn go_on(&mut self, moved: bool) {
        self.next(Step::Pace);
        if moved && self.at.phase == Phase::Switch {
            self.go(Phase::Rest, Step::Pace);
        } else if moved
            && self.at.phase == Phase::Migrate
            && self.counts.way_moved.saturating_add(1) >= self.counts.way_goal
        {
            self.wave_over();
        }
    }

    /// The exporter has nothing of the share: no batch.
    fn share_empty(&mut self) {
        match self.at.phase {
            Phase::Migrate => self.wave_over(),
            _ if self.at.exporter == Who::Old => self.go(Phase::Validate, Step::Probe),
            _ => self.go(Phase::Undo, Step::Destroy),
        }
    }

    /// Nothing of the wave is left.
    fn wave_over(&mut self) {
        self.at.step = Step::Pace;
        match Wave::ALL.into_iter().find(|wave| *wave > self.at.wave) {
            Some(wave) => {
                self.at.wave = wave;
                self.log_status();
            }
            None => self.waves_over(),
        }
    }

    /// The waves end when nothing is left, or when as many have moved as there were: new ones, which come until the switch, must not put it off.
    fn waves_over(&mut self) {
        self.at.wave = Wave::Persistent;
        let switch = self.at.role_at == self.at.exporter;
        self.go(if switch { Phase::Switch } else { Phase::Rest }, Step::Pace);
    }

    /// The first wave of a way.
    pub(super) fn first_wave(&mut self) {
        (self.counts.way_goal, self.counts.way_moved) = (0, 0);
        self.at.wave = Wave::Low;
        self.go(Phase::Migrate, Step::Pace);
    }
}
