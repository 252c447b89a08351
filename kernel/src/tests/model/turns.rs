//! Who runs (`docs/book/objects.md`, "Scheduling").
//!
//! Sandboxes with ready threads stand in one line, in the order in which they came; whoever outranks the others goes first, and among equals who came first. What a
//! sandbox has used of its budget is the sum over the times at which it ran, of which there is a list. When the timer fires is the kernel's choice: it
//! may fire in vain, never later than [`MIN_TIMER`] after something was due, and the model looks after that.

use super::state::{Doing, Id, Model};
use hic_abi::FOREVER;
use std::format;
use std::vec::Vec;

/// How long a thread runs before an equal has its turn, nanoseconds.
const TURN: u64 = 4_000_000;
/// The shortest time for which the timer is set; a rest of a turn that is shorter is none.
const MIN_TIMER: u64 = 20_000;
/// Rank of a sandbox that spent its budget.
const SPENT: i64 = -1;

/// The time of a sandbox.
#[derive(Clone, Copy, Debug, Default)]
pub struct Time {
    /// Guaranteed in each period, nanoseconds; 0 = no budget is kept.
    pub budget: u64,
    pub period: u64,
    /// Nothing beyond it.
    pub hard: bool,
    /// When its first period began.
    pub born: u64,
    /// What it has left of a turn out of which somebody more important took it.
    pub rest: u64,
    pub used: u64,
}

/// The line and whose turn it is.
#[derive(Default)]
pub struct Turns {
    /// Whether the model says who runs; otherwise whoever is ready does.
    pub on: bool,
    pub running: Option<Id>,
    /// The thread to which the running one handed the processor.
    handed: Option<Id>,
    /// Sandboxes with ready threads that do not run, and whether they wait for a new period.
    line: Vec<(Id, bool)>,
    /// Ready threads that do not run.
    ready: Vec<Id>,
    /// Who had the processor, from when on that has not been charged.
    payer: Option<Id>,
    since: u64,
    idle: bool,
    turn_ends: u64,
    /// Rank of who runs.
    rank: i64,
    /// Somebody may be more important than who runs.
    look: bool,
    /// The turn is over.
    over: bool,
    /// Times at which sandboxes ran.
    ran: Vec<(Id, u64, u64)>,
    /// What the timer is due for, and when it must have fired.
    duty: Option<(u64, u64)>,
    /// Changes of the running thread.
    pub changes: u64,
}

impl Turns {
    pub fn begin(&mut self, thread: Id, sandbox: Id, now: u64, rank: u64) {
        self.on = true;
        (self.running, self.payer) = (Some(thread), Some(sandbox));
        (self.since, self.turn_ends, self.rank) = (now, now + TURN, rank as i64);
    }

    pub fn end_turn(&mut self) {
        self.over = true;
    }
}

impl Model {
    fn home(&self, thread: Id) -> Id {
        self.thread(thread).sandbox
    }

    /// Whether a sandbox has used up its budget of the present period.
    fn is_spent(&self, sandbox: Id) -> bool {
        let time = self.sandbox(sandbox).time;
        if time.budget == 0 {
            return false;
        }
        let began = self.now - (self.now - time.born) % time.period;
        self.used_since(sandbox, began) >= time.budget
    }

    fn rank(&self, sandbox: Id) -> i64 {
        if self.is_spent(sandbox) { SPENT } else { self.sandbox(sandbox).priority as i64 }
    }

    /// A thread can run: it goes behind the others.
    pub fn wake(&mut self, thread: Id) {
        self.thread_mut(thread).doing = Doing::Ready;
        if !self.turns.on {
            return;
        }
        let rank = self.stand(thread, false);
        // One whose server was in the same sandbox, which is freezing, is stopped before it runs.
        let stays = !self.sandbox(self.home(thread)).frozen;
        let turns = &mut self.turns;
        turns.look |= stays && turns.running.is_some() && !turns.over && rank > turns.rank;
    }

    /// Puts a thread among the ready ones and its sandbox into the line; the rank at which it waits.
    fn stand(&mut self, thread: Id, front: bool) -> i64 {
        let place = if front { 0 } else { self.turns.ready.len() };
        self.turns.ready.insert(place, thread);
        let home = self.home(thread);
        match self.turns.line.iter().find(|(id, _)| *id == home) {
            Some((_, true)) => SPENT,
            Some(_) => self.sandbox(home).priority as i64,
            None => self.line_up(home, front),
        }
    }

    fn line_up(&mut self, sandbox: Id, front: bool) -> i64 {
        let spent = self.is_spent(sandbox);
        // Among those that spent their budget there is no way to the front.
        let place = if front && !spent { 0 } else { self.turns.line.len() };
        self.turns.line.insert(place, (sandbox, spent));
        self.rank(sandbox)
    }

    fn leave_line(&mut self, sandbox: Id) -> bool {
        let before = self.turns.line.len();
        self.turns.line.retain(|(id, _)| *id != sandbox);
        before != self.turns.line.len()
    }

    /// A thread cannot run any more.
    pub fn unready(&mut self, thread: Id) {
        if self.turns.running == Some(thread) {
            self.turns.running = None;
        } else if self.turns.handed == Some(thread) {
            self.turns.handed = None;
        } else {
            self.turns.ready.retain(|other| *other != thread);
            self.leave_if_alone(self.home(thread));
        }
    }

    fn leave_if_alone(&mut self, sandbox: Id) -> bool {
        let more = self.turns.ready.iter().any(|other| self.home(*other) == sandbox);
        if !more {
            self.leave_line(sandbox);
        }
        !more
    }

    /// Where a thread of a sandbox that freezes comes: the running one, the one to which the processor was handed, the others.
    pub fn stops_late(&self, thread: Id) -> u8 {
        match Some(thread) {
            running if running == self.turns.running => 0,
            handed if handed == self.turns.handed => 1,
            _ => 2,
        }
    }

    /// The running thread blocked and this one goes on in its turn.
    pub fn hand_to(&mut self, thread: Id) {
        self.thread_mut(thread).doing = Doing::Ready;
        if self.turns.on && self.turns.handed.is_some() {
            self.stand(thread, true);
        } else if self.turns.on {
            self.turns.handed = Some(thread);
        }
    }

    /// A sandbox is about to have another share; whether it stood in the line.
    pub fn leave_for_now(&mut self, sandbox: Id) -> bool {
        self.turns.on && self.leave_line(sandbox)
    }

    /// A sandbox has another share: everybody is looked at again.
    pub fn share_changed(&mut self, sandbox: Id, waited: bool) {
        if !self.turns.on {
            return;
        }
        if waited {
            self.line_up(sandbox, false);
        }
        if self.turns.running.is_some_and(|thread| self.home(thread) == sandbox) {
            self.turns.rank = self.sandbox(sandbox).priority as i64;
        }
        self.turns.look = true;
    }

    /// At the end of a step: who goes on. `direct`: the processor was handed over without a look at the periods of others.
    pub fn decide(&mut self, direct: bool) {
        if !self.turns.on {
            return;
        }
        if self.turns.running.is_none() || self.turns.look || self.turns.over {
            self.change(direct);
        }
        self.note_duty();
    }

    fn change(&mut self, direct: bool) {
        self.charge();
        if !direct {
            self.renew();
        }
        if let Some(thread) = self.turns.running.take() {
            self.step_back(thread);
        }
        (self.turns.look, self.turns.over) = (false, false);
        let mut handed = self.turns.handed.take();
        if let Some(thread) = handed
            && !self.may_go_on(thread)
        {
            self.stand(thread, true);
            handed = None;
        }
        if let Some(thread) = handed.or_else(|| self.next_in_line()) {
            let home = self.home(thread);
            if handed.is_none() {
                let rest = core::mem::take(&mut self.sandbox_mut(home).time.rest);
                self.turns.turn_ends = self.now + if rest == 0 { TURN } else { rest };
            }
            self.turns.rank = self.rank(home);
            self.turns.payer = Some(home);
            self.turns.running = Some(thread);
            self.turns.changes += 1;
        }
        self.turns.idle = self.turns.running.is_none();
    }

    /// Whether a thread to which the processor was handed may have it: it can pay, and nobody is more important.
    fn may_go_on(&self, thread: Id) -> bool {
        let rank = self.rank(self.home(thread));
        rank != SPENT && self.first_in_line().is_none_or(|other| self.rank(other) <= rank)
    }

    /// Charges who had the processor for the time since the last change.
    fn charge(&mut self) {
        let from = core::mem::replace(&mut self.turns.since, self.now);
        let idle = core::mem::take(&mut self.turns.idle);
        let Some(payer) = self.turns.payer.filter(|payer| !idle && self.objects.contains_key(payer)) else {
            return;
        };
        self.sandbox_mut(payer).time.used += self.now - from;
        if self.sandbox(payer).time.budget != 0 {
            self.turns.ran.push((payer, from, self.now));
        }
        // Its other threads wait for a new period with it, or have one now.
        let spent = self.is_spent(payer);
        if self.turns.line.iter().any(|(id, waits)| *id == payer && *waits != spent) {
            self.leave_line(payer);
            self.line_up(payer, false);
        }
    }

    /// New periods begin for those that wait for one.
    fn renew(&mut self) {
        for (sandbox, waits) in self.turns.line.clone() {
            if waits && !self.is_spent(sandbox) {
                self.leave_line(sandbox);
                self.line_up(sandbox, false);
            }
        }
    }

    /// The running thread goes back: to the front with the rest of its turn if it was interrupted, else behind the others.
    fn step_back(&mut self, thread: Id) {
        let home = self.home(thread);
        let rest = self.turns.turn_ends.saturating_sub(self.now);
        let interrupted = !self.turns.over && rest >= MIN_TIMER;
        self.sandbox_mut(home).time.rest = if interrupted { rest } else { 0 };
        self.stand(thread, interrupted);
        self.leave_line(home);
        self.line_up(home, interrupted);
    }

    /// The most important sandbox in the line that may run: of equals the first, of those that spent their budget only who may use what nobody else wants.
    fn first_in_line(&self) -> Option<Id> {
        let may = |(id, spent): &&(Id, bool)| !spent || !self.sandbox(*id).time.hard;
        let key = |(id, spent): &(Id, bool)| {
            if *spent { SPENT } else { self.sandbox(*id).priority as i64 }
        };
        let best = self.turns.line.iter().filter(may).map(key).max()?;
        self.turns.line.iter().filter(may).find(|entry| key(entry) == best).map(|(id, _)| *id)
    }

    fn next_in_line(&mut self) -> Option<Id> {
        let sandbox = self.first_in_line()?;
        let place = self.turns.ready.iter().position(|thread| self.home(*thread) == sandbox);
        let thread = self.turns.ready.remove(place.expect("a sandbox in the line has a ready thread"));
        if !self.leave_if_alone(sandbox) {
            // The others wait for another turn.
            self.leave_line(sandbox);
            self.line_up(sandbox, false);
        }
        Some(thread)
    }

    /// The timer fires now. Deadlines come first, in their order. Whether the order was clear.
    pub fn timer(&mut self) -> bool {
        let mut late: Vec<(u64, Id)> = self.waiting().filter(|(at, _)| *at <= self.now).collect();
        late.sort_unstable();
        let clear = late.windows(2).all(|pair| pair[0].0 != pair[1].0);
        for (_, thread) in late {
            self.time_out(thread);
        }
        if self.turns.running.is_some() {
            self.turns.look = true;
            self.turns.over |= self.now >= self.turns.turn_ends;
        }
        clear
    }

    /// Threads that wait until a deadline.
    pub fn waiting(&self) -> impl Iterator<Item = (u64, Id)> {
        let timed = self.threads().filter(|(_, t)| t.deadline != FOREVER);
        let waits =
            timed.filter(|(_, t)| !matches!(t.doing, Doing::Ready | Doing::Stopped | Doing::Faulted(_)));
        waits.map(|(id, t)| (t.deadline, id))
    }

    /// When the next thing is due that only the timer can bring about.
    fn next_duty(&self) -> Option<u64> {
        let mut duties: Vec<u64> = self.waiting().map(|(at, _)| at).collect();
        let renewal = |time: Time| self.now - (self.now - time.born) % time.period + time.period;
        let waiting = self.turns.line.iter().filter(|(_, waits)| *waits);
        duties.extend(waiting.map(|(id, _)| renewal(self.sandbox(*id).time)));
        if let Some(home) = self.turns.running.map(|thread| self.home(thread)) {
            let time = self.sandbox(home).time;
            let equals = |(id, waits): &(Id, bool)| match waits {
                true => self.turns.rank == SPENT && !self.sandbox(*id).time.hard,
                false => self.turns.rank == self.sandbox(*id).priority as i64,
            };
            if self.turns.line.iter().any(equals) {
                duties.push(self.turns.turn_ends);
            }
            if time.budget != 0 && self.turns.rank == SPENT {
                duties.push(renewal(time));
            } else if time.budget != 0 {
                duties.push(self.budget_ends(home));
            }
        }
        duties.into_iter().min()
    }

    /// When a sandbox will have spent its budget that goes on running: in this period, or in the next one.
    fn budget_ends(&self, sandbox: Id) -> u64 {
        let time = self.sandbox(sandbox).time;
        let began = self.turns.since - (self.turns.since - time.born) % time.period;
        let end = self.turns.since + time.budget.saturating_sub(self.used_since(sandbox, began));
        end.min(began + time.period + time.budget)
    }

    fn used_since(&self, sandbox: Id, began: u64) -> u64 {
        let of_period = |(_, from, to): &(Id, u64, u64)| to.saturating_sub(began.max(*from));
        self.turns.ran.iter().filter(|(id, ..)| *id == sandbox).map(of_period).sum()
    }

    fn note_duty(&mut self) {
        self.turns.duty = self.next_duty().map(|at| match self.turns.duty {
            Some((before, must)) if before == at => (at, must),
            _ => (at, at.max(self.now) + MIN_TIMER),
        });
    }

    /// Complains when the timer should have fired before now.
    pub fn check_timer(&mut self) {
        if let Some((at, must)) = self.turns.duty
            && self.now > must
        {
            self.complaints.push(format!("{at} was due, it is {} and the timer has not fired", self.now));
        }
    }
}
