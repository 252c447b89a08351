//! The machine: events in, actions out.
//!
//! | file | what |
//! | --- | --- |
//! | `mod` | the engine from outside, and which event concerns it now |
//! | `advance` | entering a step: what it asks for |
//! | `batch` | the steps of a batch |
//! | `answers` | what instances answered |
//! | `results` | what the manager's own work came to |
//! | `faults` | deaths and hangs, turning back, giving up |
//! | `end` | time stamps, notes, the outcome |
//!
//! What it must never do: emit an action whose effect it could not find out again from its journal, the token, and who lives.

mod advance;
mod answers;
mod batch;
mod end;
mod faults;
mod results;

pub use faults::LAST_RESTARTS;

use crate::journal::{Counts, Journal};
use crate::state::{BatchPart, Life, Position, Step};
use crate::{Action, Event, Nanos, Observed, Phase, Reason, Report, Request, Status, TokenAt, Who};
use alloc::vec::Vec;
use batch::Plan;
use core::fmt;

/// A deadline that is told so much too late tells nothing about the one who was asked: the whole machine stood still, as a virtual one may. Then there is
/// the same time again, once.
const LATE: Nanos = 250_000_000;

/// What the engine waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// The beginning.
    Began,
    /// Nothing: the step can be entered.
    Nobody,
    /// The time.
    Timer,
    /// The manager's own work on this step.
    Manager,
    /// An answer to this step's question.
    Answer(Who),
    /// A restart.
    Restart(Who),
    /// The answer of a restarted instance that was told its side.
    Raise(Who),
    /// Nothing any more.
    Over,
}

/// An update under way.
#[derive(Clone, Debug)]
pub struct Engine {
    request: Request,
    at: Position,
    counts: Counts,
    now: Nanos,
    waiting: Waiting,
    deadline: Option<Nanos>,
    /// What is added to the deadline once, when the engine hears of it too late to blame anybody.
    grace: Nanos,
    plan: Plan,
    out: Vec<Action>,
}

/// The memory holds no journal of this layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadJournal;

impl fmt::Display for BadJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the journal of the update is not one of this layout")
    }
}

impl core::error::Error for BadJournal {}

impl Engine {
    /// A new update. Store [`Self::journal`], then give it [`Event::Began`].
    #[must_use]
    pub fn new(request: Request, now: Nanos) -> Self {
        let counts = Counts { started: now, ..Counts::default() };
        let mut engine = Self::at_position(request, Position::START, counts, now, Waiting::Began);
        engine.stamp(|times, now| times.started = now);
        engine
    }

    fn at_position(request: Request, at: Position, counts: Counts, now: Nanos, waiting: Waiting) -> Self {
        let (deadline, grace, plan, out) = (None, 0, Plan::None, Vec::new());
        Self { request, at, counts, now, waiting, deadline, grace, plan, out }
    }

    /// Goes on after the manager's death. Actions as from [`Self::on`]: store the journal first.
    ///
    /// # Errors
    /// [`BadJournal`].
    pub fn resume(
        request: Request,
        journal: &Journal,
        observed: Observed,
        now: Nanos,
    ) -> Result<(Self, Vec<Action>), BadJournal> {
        let (at, counts) = journal.decode().ok_or(BadJournal)?;
        let mut engine = Self::at_position(request, at, counts, now, Waiting::Nobody);
        if at.phase == Phase::Done {
            engine.finished();
        } else {
            engine.find_place(observed);
        }
        // What was under way when the manager died is not booked: nobody knows how much of the time was its own.
        engine.counts.part_began = now;
        engine.advance();
        let actions = core::mem::take(&mut engine.out);
        Ok((engine, actions))
    }

    /// What the world knows better than the journal: whether the transaction took place, and who died meanwhile.
    fn find_place(&mut self, observed: Observed) {
        if let Some(gone) = self.gone() {
            // The order may not have been carried out, and a hanging one that wakes up must not serve what was taken from it.
            self.out.push(Action::Freeze(gone));
        }
        // As above.
        self.share_out();
        let was_moving =
            self.at.phase.is_batches() && matches!(self.at.step, Step::Transact | Step::SwitchOnly);
        if was_moving && observed.token == TokenAt::Slot(self.at.importer()) {
            self.transacted(Ok(()));
        } else {
            self.rewind();
        }
        for (who, fault) in Who::BOTH.into_iter().zip(observed.dead) {
            if let Some(fault) = fault {
                self.fault(who, Reason::Died { who, phase: self.at.phase, fault });
            }
        }
    }

    /// Takes an event. Store [`Self::journal`] before the actions are carried out, in order. An event that fits nothing that is under way is ignored.
    #[must_use = "the update stands still until the actions are carried out"]
    pub fn on(&mut self, now: Nanos, event: Event<'_>) -> Vec<Action> {
        self.now = self.now.max(now);
        let part = self.batch_part();
        self.take(event);
        let part = self.book_part(part);
        self.advance();
        self.book_part(part);
        core::mem::take(&mut self.out)
    }

    /// The part of a batch that is under way. What is taken from a dead instance is no batch: moving does not count it either.
    fn batch_part(&self) -> Option<BatchPart> {
        self.at.step.batch_part().filter(|_| self.at.phase != Phase::Salvage)
    }

    /// Adds the time of the part that was under way `before` to its sum, unless it is under way still. What is under way now.
    fn book_part(&mut self, before: Option<BatchPart>) -> Option<BatchPart> {
        let now = self.batch_part();
        if now != before {
            let took = self.now.saturating_sub(self.counts.part_began);
            if let Some(sum) = before.and_then(|part| self.counts.parts.get_mut(part as usize)) {
                *sum = sum.saturating_add(took);
            }
            self.counts.part_began = self.now;
        }
        now
    }

    fn take(&mut self, event: Event<'_>) {
        let manager = self.waiting == Waiting::Manager;
        let at = (self.at.phase, self.at.step);
        match event {
            _ if self.waiting == Waiting::Over => {}
            Event::Began if self.waiting == Waiting::Began => self.begin(),
            Event::Checked(result) if manager && at.0 == Phase::Check => self.checked(result),
            Event::Created(result) if manager && at.0 == Phase::Create => self.created(result),
            Event::Started(result) if manager && at.1 == Step::Start => self.started(result),
            Event::Placed(result) if manager && at.1 == Step::Place => self.placed(result),
            Event::Transacted(result) if manager && matches!(at.1, Step::Transact | Step::SwitchOnly) => {
                self.transacted(result);
            }
            Event::Recorded(result) if manager && at.1 == Step::Record => self.recorded(result.err()),
            Event::Destroyed(who) if manager && at.1 == Step::Destroy => self.destroyed(who),
            Event::Answered { who, answer } => self.answered(who, answer),
            Event::Died { who, fault } => self.fault(who, Reason::Died { who, phase: at.0, fault }),
            Event::Restarted { who, result } => self.restarted(who, result),
            Event::Tick => self.tick(),
            Event::AbortRequested if self.accepts(&event) => self.turn(Reason::Aborted),
            Event::RollbackRequested if self.accepts(&event) => self.turn(Reason::Requested),
            Event::CommitRequested if self.accepts(&event) => self.commit_now(),
            _ => {}
        }
    }

    fn tick(&mut self) {
        let Some(late) = self.deadline.and_then(|deadline| self.now.checked_sub(deadline)) else { return };
        let grace = core::mem::take(&mut self.grace);
        if late >= LATE && grace > 0 {
            self.deadline = Some(self.now.saturating_add(grace));
        } else {
            self.expired();
        }
    }

    /// Whether an operator's wish will be granted; `true` for any other event.
    #[must_use]
    pub fn accepts(&self, wish: &Event<'_>) -> bool {
        let forward = !self.at.back && !self.at.committed;
        match wish {
            Event::AbortRequested => forward && self.at.phase < Phase::Switch,
            Event::RollbackRequested => forward && self.at.phase < Phase::Commit,
            Event::CommitRequested => forward && matches!(self.at.phase, Phase::Validate | Phase::Watch),
            _ => true,
        }
    }

    /// When [`Event::Tick`] is wanted.
    #[must_use]
    pub fn deadline(&self) -> Option<Nanos> {
        self.deadline
    }

    /// The durable position.
    #[must_use]
    pub fn journal(&self) -> Journal {
        Journal::encode(&self.at, &self.counts)
    }

    /// What was done so far.
    #[must_use]
    pub fn report(&self) -> Report {
        Report::from_counts(&self.request, &self.counts)
    }

    /// What is asked for.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Whom the service's own ports lead to.
    #[must_use]
    pub fn role_at(&self) -> Who {
        self.at.role_at
    }

    /// Whether what the update needs of the processor is reserved: from the check that found it free until one of the two instances is gone (P1.11).
    #[must_use]
    pub fn reserves(&self) -> bool {
        !self.is_over() && self.at.phase != Phase::Check
    }

    /// Whether it is over; then [`Report::outcome`] says how.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.waiting == Waiting::Over
    }

    /// Where it is.
    #[must_use]
    pub fn status(&self) -> Status {
        let [there, back] = self.counts.moved;
        let (moved, total) = if self.at.back { (back, there) } else { (there, self.counts.total) };
        let watching = self.at.phase == Phase::Watch;
        Status {
            phase: self.at.phase,
            back: self.at.back,
            wave: self.at.wave,
            moved,
            total: total.max(moved),
            watch_left: if watching { self.counts.watch_until.saturating_sub(self.now) } else { 0 },
            can_roll_back: self.accepts(&Event::RollbackRequested),
            can_commit: self.accepts(&Event::CommitRequested),
        }
    }

    fn life(&self, who: Who) -> Life {
        let [old, new] = self.at.life;
        match who {
            Who::Old => old,
            Who::New => new,
        }
    }

    fn set_life(&mut self, who: Who, life: Life) {
        let [old, new] = &mut self.at.life;
        match who {
            Who::Old => *old = life,
            Who::New => *new = life,
        }
        if life == Life::Up && who == self.at.role_at {
            self.served_again();
        }
    }

    /// The one that is dead for good.
    fn gone(&self) -> Option<Who> {
        Who::BOTH.into_iter().find(|who| self.life(*who) == Life::Gone)
    }
}
