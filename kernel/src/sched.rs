//! Who runs: fixed priorities, a budget for each sandbox, round robin among equals.
//!
//! All threads of a sandbox share its priority and its budget, so the queues hold sandboxes and each sandbox holds its ready
//! threads; throttling one is constant time. The running thread is on no queue. A sandbox whose budget is spent waits for its next
//! period; one that is work-conserving runs meanwhile whenever nobody else can.

use crate::config::{MIN_TIMER, TIME_SLICE};
use crate::context::Context;
use crate::kernel::Kernel;
use crate::list::List;
use crate::machine::Machine;
use crate::objects::{Queue, RUNNABLE, Sandbox, State};

/// What the processor does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Resume this context.
    Run(*mut Context),
    /// Wait for an interrupt.
    Idle,
}

/// Why the running thread gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resched {
    /// It does not.
    No,
    /// It does not, but others are ready now: its turn gets an end.
    Timed,
    /// A higher priority is ready: the running one goes on first when that is done.
    Preempted,
    /// Its turn is over.
    TurnOver,
}

/// Rank of a sandbox that runs although its budget is spent: below every priority.
const SPENT: i16 = -1;

/// The queues and the clock hand.
pub struct Scheduler {
    ready: [List<RUNNABLE>; 32],
    levels: u32,
    spent: List<RUNNABLE>,
    current: Option<u32>,
    /// A thread that the running one handed the processor to.
    handoff: Option<u32>,
    active: Option<u32>,
    /// Priority of the running sandbox, or [`SPENT`].
    rank: i16,
    root: u64,
    since: u64,
    turn_ends: u64,
    armed: u64,
    /// When the first of the spent budgets is renewed, or earlier.
    next_renewal: u64,
    resched: Resched,
    idle_since: Option<u64>,
}

impl Scheduler {
    /// Nothing to run.
    #[must_use]
    pub fn new() -> Self {
        Self {
            ready: [List::new(); 32],
            levels: 0,
            spent: List::new(),
            current: None,
            handoff: None,
            active: None,
            rank: SPENT,
            root: 0,
            since: 0,
            turn_ends: 0,
            armed: u64::MAX,
            next_renewal: u64::MAX,
            resched: Resched::No,
            idle_since: None,
        }
    }

    /// The running thread, if one runs.
    #[must_use]
    pub fn current(&self) -> Option<u32> {
        self.current
    }

    /// The thread that made this system call.
    pub(crate) fn running(&self) -> u32 {
        self.current.expect("a system call comes from a running thread")
    }

    /// Whether nothing is to be decided before the running thread goes on.
    #[inline]
    pub(crate) fn is_settled(&self) -> bool {
        self.resched == Resched::No
    }

    /// When the running thread began to run.
    #[inline]
    pub(crate) fn since(&self) -> u64 {
        self.since
    }

    /// Whether no sandbox of a higher priority waits for the processor.
    #[inline]
    pub(crate) fn none_ready_above(&self, priority: u8) -> bool {
        u64::from(self.levels) >> priority <= 1
    }

    /// Whether somebody else waits who could have the processor: another that is ready, or another that spent its budget, too.
    #[inline]
    fn has_rivals(&self) -> bool {
        self.levels != 0 || (self.rank == SPENT && !self.spent.is_empty())
    }

    /// Whether the timer fires no later than this.
    #[inline]
    pub(crate) fn wakes_by(&self, at: u64) -> bool {
        self.armed <= at
    }

    /// The running thread gave the rest of its turn to this one of this sandbox.
    #[inline]
    pub(crate) fn turn_to(&mut self, thread: u32, index: u32, sandbox: &Sandbox) {
        self.current = Some(thread);
        self.active = Some(index);
        self.rank = i16::from(sandbox.priority);
        self.root = sandbox.root;
    }

    /// Time before this has been charged.
    #[inline]
    pub(crate) fn set_since(&mut self, now: u64) {
        self.since = now;
    }

    /// The top-level page table that the processor uses; 0 = the kernel's own.
    pub(crate) fn active_root(&self) -> u64 {
        self.root
    }
}

impl Default for Scheduler {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Machine> Kernel<M> {
    /// The running thread blocks in this state.
    pub(crate) fn block(&mut self, state: State, deadline: u64) {
        let Some(thread) = self.sched.current.take() else { return };
        self.threads[thread].state = state;
        if deadline != hic_abi::FOREVER {
            self.timers.add(thread, deadline);
        }
    }

    /// A thread may run again.
    pub(crate) fn make_ready(&mut self, thread: u32) {
        let woken = &mut self.threads[thread];
        woken.state = State::Ready;
        let sandbox = woken.sandbox;
        self.enqueue(thread, sandbox, false);
        if self.sched.current.is_none() || self.sched.resched == Resched::TurnOver {
            return;
        }
        let woken = &self.sandboxes[sandbox];
        if woken.queue == Queue::Priority && i16::from(woken.priority) > self.sched.rank {
            self.sched.resched = Resched::Preempted;
        } else if self.sched.is_settled()
            && self.sched.armed > self.sched.turn_ends.min(self.next_replenish())
        {
            self.sched.resched = Resched::Timed;
        }
    }

    /// The running thread blocks and this one goes on in its place, if nothing more important is ready.
    pub(crate) fn hand_to(&mut self, thread: u32) {
        let next = &mut self.threads[thread];
        next.state = State::Ready;
        let sandbox = next.sandbox;
        if self.sched.handoff.is_some() {
            self.enqueue(thread, sandbox, true);
        } else {
            self.sched.handoff = Some(thread);
        }
    }

    /// A sandbox has another priority from now on.
    pub(crate) fn set_priority(&mut self, sandbox: u32, priority: u8) {
        let waits = self.sandboxes[sandbox].queue == Queue::Priority;
        if waits {
            self.leave_queue(sandbox);
        }
        self.sandboxes[sandbox].priority = priority;
        if waits {
            self.join_queue(sandbox, false);
        }
        if self.sched.active == Some(sandbox) {
            self.sched.rank = i16::from(priority);
        }
        // Either the running one has fallen below another, or this one has risen above it.
        self.sched.resched = match self.sched.resched {
            Resched::TurnOver => Resched::TurnOver,
            _ => Resched::Preempted,
        };
    }

    /// The running thread ends its turn.
    pub(crate) fn yield_turn(&mut self) {
        self.sched.resched = Resched::TurnOver;
    }

    /// Takes a ready thread off whatever queue it is on.
    pub(crate) fn unready(&mut self, thread: u32) {
        if self.sched.current == Some(thread) {
            self.sched.current = None;
        } else if self.sched.handoff == Some(thread) {
            self.sched.handoff = None;
        } else {
            let sandbox = self.threads[thread].sandbox;
            self.sandboxes[sandbox].ready.remove(&mut self.threads, thread);
            if self.sandboxes[sandbox].ready.is_empty() {
                self.leave_queue(sandbox);
            }
        }
    }

    /// Puts a ready thread on its sandbox's list, and the sandbox on a queue.
    #[inline(always)]
    fn enqueue(&mut self, thread: u32, index: u32, front: bool) {
        let sandbox = &mut self.sandboxes[index];
        if front {
            sandbox.ready.push_front(&mut self.threads, thread);
        } else {
            sandbox.ready.push_back(&mut self.threads, thread);
        }
        if sandbox.queue == Queue::Idle {
            self.join_queue(index, front);
        }
    }

    fn join_queue(&mut self, index: u32, front: bool) {
        if self.sandboxes[index].budget.is_spent() && !self.renew_budget(index, self.machine.now()) {
            let sandbox = &mut self.sandboxes[index];
            sandbox.queue = Queue::Spent;
            self.sched.next_renewal = self.sched.next_renewal.min(sandbox.budget.renewal());
            self.sched.spent.push_back(&mut self.sandboxes, index);
            return;
        }
        let sandbox = &mut self.sandboxes[index];
        sandbox.queue = Queue::Priority;
        let level = usize::from(sandbox.priority);
        self.sched.levels |= 1 << level;
        if front {
            self.sched.ready[level].push_front(&mut self.sandboxes, index);
        } else {
            self.sched.ready[level].push_back(&mut self.sandboxes, index);
        }
    }

    #[inline(always)]
    fn leave_queue(&mut self, index: u32) {
        let queue = core::mem::replace(&mut self.sandboxes[index].queue, Queue::Idle);
        match queue {
            Queue::Idle => {}
            Queue::Spent => self.sched.spent.remove(&mut self.sandboxes, index),
            Queue::Priority => {
                let level = usize::from(self.sandboxes[index].priority);
                self.sched.ready[level].remove(&mut self.sandboxes, index);
                if self.sched.ready[level].is_empty() {
                    self.sched.levels &= !(1 << level);
                }
            }
        }
    }

    /// Chooses what runs now. Called once at the end of each entry into the kernel.
    pub fn choose_next(&mut self) -> Next {
        if let Some(current) = self.sched.current {
            if self.sched.resched == Resched::Timed {
                self.sched.resched = Resched::No;
                let now = self.machine.now();
                self.arm(now, true);
            }
            if self.sched.resched == Resched::No {
                return Next::Run(&raw mut self.threads[current].context);
            }
        }
        if self.has_remains() {
            self.dismantle_some();
        }
        debug_assert!(self.sched.current.is_none() || self.sched.handoff.is_none());
        let now = self.machine.now();
        let budgeted = self.charge_time(now);
        if now >= self.sched.next_renewal {
            self.replenish(now);
        }
        if let Some(active) = budgeted {
            self.renew_budget(active, now);
        }
        if let Some(current) = self.sched.current.take() {
            self.requeue(current, now);
        }
        self.sched.resched = Resched::No;
        if let Some(thread) = self.take_handoff() {
            return self.switch_to(thread, now);
        }
        match self.choose() {
            Some(thread) => {
                self.begin_turn(thread, now);
                self.switch_to(thread, now)
            }
            None => {
                self.sched.idle_since = Some(now);
                self.arm(now, false);
                Next::Idle
            }
        }
    }

    /// The processor was idle and an interrupt came.
    pub fn idle_ended(&mut self) {
        if let Some(since) = self.sched.idle_since.take() {
            let now = self.machine.now();
            self.counters.idle += now.saturating_sub(since);
            self.sched.since = now;
        }
    }

    /// Puts the running thread back. A preempted one keeps the rest of its turn and no more, or frequent interrupts would let it starve
    /// its equals.
    #[inline(always)]
    fn requeue(&mut self, thread: u32, now: u64) {
        let index = self.threads[thread].sandbox;
        let turn_left = self.sched.turn_ends.saturating_sub(now);
        let preempted = self.sched.resched == Resched::Preempted && turn_left >= MIN_TIMER;
        let sandbox = &mut self.sandboxes[index];
        sandbox.turn_left = if preempted { turn_left } else { 0 };
        if !preempted && sandbox.queue != Queue::Idle {
            sandbox.ready.push_back(&mut self.threads, thread);
            self.leave_queue(index);
            self.join_queue(index, false);
        } else {
            self.enqueue(thread, index, preempted);
        }
    }

    /// The thread that the one before handed the processor to, unless somebody more important is ready or its budget is spent. It goes on in
    /// the same turn: two that keep calling each other are no reason for a third of the same priority to wait longer.
    #[inline(always)]
    fn take_handoff(&mut self) -> Option<u32> {
        let thread = self.sched.handoff.take()?;
        let index = self.threads[thread].sandbox;
        let sandbox = &self.sandboxes[index];
        if !sandbox.budget.is_spent() && self.sched.none_ready_above(sandbox.priority) {
            return Some(thread);
        }
        self.enqueue(thread, index, true);
        None
    }

    #[inline(always)]
    fn choose(&mut self) -> Option<u32> {
        let index = match self.sched.levels.checked_ilog2() {
            Some(level) => self.sched.ready[level as usize & 31].first(),
            None => self.first_conserving(),
        }?;
        let sandbox = &mut self.sandboxes[index];
        let thread = sandbox.ready.pop_front(&mut self.threads);
        if sandbox.ready.is_empty() {
            self.leave_queue(index);
        }
        thread
    }

    /// The first sandbox that spent its budget and may use what nobody else wants.
    fn first_conserving(&self) -> Option<u32> {
        let mut at = self.sched.spent.first();
        while let Some(sandbox) = at {
            if !self.sandboxes[sandbox].budget.hard {
                return Some(sandbox);
            }
            at = self.sched.spent.after(&self.sandboxes, sandbox);
        }
        None
    }

    #[inline(always)]
    fn begin_turn(&mut self, thread: u32, now: u64) {
        let sandbox = &mut self.sandboxes[self.threads[thread].sandbox];
        let turn = match core::mem::take(&mut sandbox.turn_left) {
            0 => TIME_SLICE,
            rest => rest,
        };
        self.sched.turn_ends = now + turn;
    }

    #[inline(always)]
    fn switch_to(&mut self, thread: u32, now: u64) -> Next {
        let index = self.threads[thread].sandbox;
        let sandbox = &self.sandboxes[index];
        self.counters.switches += 1;
        let sched = &mut self.sched;
        (sched.current, sched.since) = (Some(thread), now);
        if sched.active != Some(index) || sched.root == 0 {
            (sched.active, sched.root) = (Some(index), sandbox.root);
            self.machine.activate(sandbox.root);
        }
        sched.rank = if sandbox.budget.is_spent() { SPENT } else { i16::from(sandbox.priority) };
        let others = if sched.has_rivals() { sched.turn_ends } else { u64::MAX };
        let due = others.min(self.timers.next()).min(sched.next_renewal);
        if due < sched.armed || sandbox.budget.amount != 0 {
            self.arm(now, true);
        }
        Next::Run(&raw mut self.threads[thread].context)
    }

    /// Charges the time since the last switch to the sandbox that used it; which one, if it has a budget.
    #[inline(always)]
    fn charge_time(&mut self, now: u64) -> Option<u32> {
        let elapsed = now.saturating_sub(core::mem::replace(&mut self.sched.since, now));
        if self.sched.idle_since.is_some() {
            return None;
        }
        let active = self.sched.active?;
        let sandbox = self.sandboxes.at_mut(active)?;
        sandbox.cpu += elapsed;
        if sandbox.budget.amount == 0 {
            return None;
        }
        self.charge_budget(active, elapsed);
        Some(active)
    }

    fn charge_budget(&mut self, index: u32, elapsed: u64) {
        let sandbox = &mut self.sandboxes[index];
        if sandbox.budget.left == 0 {
            return;
        }
        sandbox.budget.left = sandbox.budget.left.saturating_sub(elapsed);
        if sandbox.budget.left == 0 && sandbox.queue == Queue::Priority {
            self.leave_queue(index);
            self.join_queue(index, false);
        }
    }

    /// Starts new periods.
    #[cold]
    fn replenish(&mut self, now: u64) {
        self.sched.next_renewal = u64::MAX;
        let mut at = self.sched.spent.first();
        while let Some(index) = at {
            at = self.sched.spent.after(&self.sandboxes, index);
            if self.renew_budget(index, now) {
                self.leave_queue(index);
                self.join_queue(index, false);
            } else {
                let renewal = self.sandboxes[index].budget.renewal();
                self.sched.next_renewal = self.sched.next_renewal.min(renewal);
            }
        }
    }

    fn renew_budget(&mut self, index: u32, now: u64) -> bool {
        let budget = &mut self.sandboxes[index].budget;
        if budget.amount == 0 || now.saturating_sub(budget.since) < budget.period {
            return false;
        }
        budget.left = budget.amount;
        // On the grid of its periods: a timer that comes late makes no period longer.
        budget.since = now - (now - budget.since) % budget.period;
        true
    }

    fn next_replenish(&self) -> u64 {
        if self.sched.spent.is_empty() { u64::MAX } else { self.sched.next_renewal }
    }

    /// Arms the timer for whatever comes first; an earlier arming is left, since a timer that fires in vain does no harm.
    fn arm(&mut self, now: u64, running: bool) {
        let mut at = self.timers.next().min(self.next_replenish());
        if running && self.sched.has_rivals() {
            at = at.min(self.sched.turn_ends);
        }
        if running
            && let Some(active) = self.sched.active
            && self.sandboxes[active].budget.amount != 0
        {
            let budget = &self.sandboxes[active].budget;
            at = at.min(if budget.is_spent() { budget.renewal() } else { now + budget.left });
        }
        if at < self.sched.armed || self.sched.armed <= now {
            self.sched.armed = at;
            if at != u64::MAX {
                self.machine.set_timer(at.max(now + MIN_TIMER));
            }
        }
    }

    /// The timer fired.
    pub fn timer(&mut self) {
        self.counters.interrupts += 1;
        self.sched.armed = u64::MAX;
        let now = self.machine.now();
        while let Some(thread) = self.timers.expired(now) {
            self.timed_out(thread);
        }
        if self.sched.current.is_some() {
            let keep_place = now < self.sched.turn_ends && self.sched.resched != Resched::TurnOver;
            self.sched.resched = if keep_place { Resched::Preempted } else { Resched::TurnOver };
        }
    }

    /// The sandbox's page tables are about to go: the processor must not use them any more.
    pub(crate) fn leave_address_space(&mut self, sandbox: u32) {
        if self.sched.active == Some(sandbox) {
            let now = self.machine.now();
            self.charge_time(now);
            self.sched.active = None;
            self.sched.root = 0;
            self.machine.activate(0);
        }
    }
}

#[cfg(test)]
impl<M: Machine> Kernel<M> {
    /// A test says who runs: this ready thread; the running one goes back to its queue.
    pub(crate) fn run_instead(&mut self, thread: u32) {
        if self.sched.current == Some(thread) {
            return;
        }
        assert_eq!(self.threads[thread].state, State::Ready, "only a ready thread can make a system call");
        self.idle_ended();
        let now = self.machine.now();
        self.charge_time(now);
        if let Some(other) = self.sched.handoff.take() {
            self.enqueue(other, self.threads[other].sandbox, true);
        }
        if let Some(current) = self.sched.current.take() {
            self.enqueue(current, self.threads[current].sandbox, true);
        }
        self.unready(thread);
        self.begin_turn(thread, now);
        self.switch_to(thread, now);
    }

    /// The thread that the running one handed the processor to.
    pub(crate) fn handed_to(&self) -> Option<u32> {
        self.sched.handoff
    }
}
