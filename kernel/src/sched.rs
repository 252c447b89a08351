//! Who runs: fixed priorities, a budget for each sandbox, round robin among equals.
//!
//! All threads of a sandbox share its priority and its budget, so the queues hold sandboxes and each sandbox holds its ready
//! threads; throttling one is constant time. The running thread is on no queue. A sandbox whose budget is spent waits for its next
//! period; one that is work-conserving runs meanwhile whenever nobody else can.

use crate::config::{EFFORT, MIN_TIMER, TIME_SLICE};
use crate::context::Context;
use crate::kernel::Kernel;
use crate::list::List;
use crate::machine::Machine;
use crate::objects::{Queue, RUNNABLE, Sandbox, Share, State, Thread};
use crate::pool::{Link, NONE};
use hic_abi::object::MAX_PRIORITY;

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
pub(crate) enum Resched {
    /// It does not.
    No,
    /// It does not, but others are ready now, or something is left to be done in parts: the timer is to see to it.
    Timed,
    /// A higher priority is ready: the running one goes on first when that is done.
    Preempted,
    /// Its turn is over.
    TurnOver,
}

/// Rank of a sandbox that runs although its budget is spent: below every priority.
const SPENT: i16 = -1;

/// How soon the timer looks after what is left to be done in parts while threads run, nanoseconds: a part takes some fiftieth of it, on a machine whose
/// IOMMU is quick.
const REMAINS_EVERY: u64 = 500_000;

/// Priorities.
pub(crate) const LEVELS: usize = MAX_PRIORITY as usize + 1;

/// The queues and the clock hand.
pub struct Scheduler {
    pub(crate) ready: [List<RUNNABLE>; LEVELS],
    pub(crate) levels: u32,
    /// Those whose budget is spent and who may use what nobody else wants.
    pub(crate) spent: List<RUNNABLE>,
    pub(crate) current: Option<Link<Thread>>,
    /// A thread that the running one handed the processor to.
    pub(crate) handoff: Option<Link<Thread>>,
    /// The sandbox whose page tables the processor uses, if it is not the kernel's own.
    pub(crate) active: Option<Link<Sandbox>>,
    /// Priority of the running sandbox, or [`SPENT`].
    pub(crate) rank: i16,
    /// Time before this has been charged.
    pub(crate) since: u64,
    pub(crate) turn_ends: u64,
    /// When the timer fires.
    pub(crate) armed: u64,
    /// When the first of the spent budgets is renewed.
    pub(crate) next_renewal: u64,
    pub(crate) resched: Resched,
    idle_since: Option<u64>,
}

impl Scheduler {
    /// Nothing to run.
    pub(crate) fn new() -> Self {
        Self {
            ready: [List::new(); LEVELS],
            levels: 0,
            spent: List::new(),
            current: None,
            handoff: None,
            active: None,
            rank: SPENT,
            since: 0,
            turn_ends: 0,
            armed: u64::MAX,
            next_renewal: u64::MAX,
            resched: Resched::No,
            idle_since: None,
        }
    }

    /// The running thread, if one runs.
    #[inline(always)]
    pub fn current(&self) -> Option<u32> {
        self.current.map(Link::index)
    }

    /// The thread that made this system call.
    pub(crate) fn running(&self) -> u32 {
        self.current().expect("a system call comes from a running thread")
    }

    /// Whether nothing is to be decided before the running thread goes on.
    #[inline]
    pub(crate) fn is_settled(&self) -> bool {
        self.resched == Resched::No
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

    /// Whether something is to happen before the timer is to fire; `deadline` is the first of the waiting threads.
    #[inline(always)]
    pub(crate) fn is_due_before_timer(&self, deadline: u64) -> bool {
        let others = if self.has_rivals() { self.turn_ends } else { u64::MAX };
        others.min(deadline).min(self.next_renewal) < self.armed
    }

    /// The running thread gave the rest of its turn to this one of this sandbox.
    #[inline]
    pub(crate) fn turn_to(&mut self, thread: Link<Thread>, home: Link<Sandbox>, sandbox: &Sandbox) {
        (self.current, self.active) = (Some(thread), Some(home));
        self.rank = i16::from(sandbox.priority);
    }

    /// Whether the processor uses the page tables of this sandbox.
    pub(crate) fn is_active(&self, sandbox: u32) -> bool {
        self.active.map(Link::index) == Some(sandbox)
    }
}

impl Sandbox {
    /// It runs in a turn of its own, or in what is left of one: how long that is.
    #[inline(always)]
    pub(crate) fn begin_turn(&mut self) -> u64 {
        let rest = core::mem::take(&mut self.turn_left);
        if rest == 0 { TIME_SLICE } else { rest }
    }
}

impl<M: Machine> Kernel<M> {
    /// The running thread blocks in this state.
    pub(crate) fn block(&mut self, state: State, deadline: u64) {
        let Some(thread) = self.sched.current.take() else { return };
        let Some(blocked) = self.threads.follow_mut(thread) else { return };
        blocked.state = state;
        blocked.timed = deadline != hic_abi::FOREVER;
        if blocked.timed {
            self.timers.add(thread.index(), deadline);
        }
    }

    /// A thread may run again.
    pub(crate) fn make_ready(&mut self, thread: u32) {
        if let Some(thread) = self.threads.link(thread) {
            self.wake(thread);
        }
    }

    /// The same. Of a sandbox that froze it is only no longer on the list of those that wait.
    #[inline(always)]
    pub(crate) fn wake(&mut self, thread: Link<Thread>) {
        let Some(woken) = self.threads.follow_mut(thread) else { return };
        woken.state = State::Ready;
        let rank = self.enqueue(thread, false);
        if self.sched.current.is_none() || self.sched.resched == Resched::TurnOver {
            return;
        }
        if rank > self.sched.rank {
            self.sched.resched = Resched::Preempted;
        } else if self.sched.is_settled()
            && self.sched.armed > self.sched.turn_ends.min(self.sched.next_renewal)
        {
            self.sched.resched = Resched::Timed;
        }
    }

    /// The running thread blocks and this one goes on in its place, if nothing more important is ready.
    pub(crate) fn hand_to(&mut self, thread: u32) {
        let Some(thread) = self.threads.link(thread) else { return };
        self.threads[thread.index()].state = State::Ready;
        if self.sched.handoff.is_some() {
            self.enqueue(thread, true);
        } else {
            self.sched.handoff = Some(thread);
        }
    }

    /// A sandbox has another share from now on. What it has used until now is of the one before.
    pub(crate) fn set_share(&mut self, sandbox: u32, share: Share) {
        let waits = matches!(self.sandboxes[sandbox].queue, Queue::Priority | Queue::Spent);
        if waits {
            self.leave_queue(sandbox);
        }
        let changed = &mut self.sandboxes[sandbox];
        (changed.priority, changed.budget, changed.hard_limit) = share;
        if waits && let Some(home) = self.sandboxes.link(sandbox) {
            self.join_queue(home, false);
        }
        if self.sched.is_active(sandbox) {
            self.sched.rank = i16::from(share.0);
        }
        // Either the running one has fallen below another, or this one has risen above it.
        if self.sched.resched != Resched::TurnOver {
            self.sched.resched = Resched::Preempted;
        }
    }

    /// Takes a ready thread off whatever queue it is on.
    pub(crate) fn unready(&mut self, thread: u32) {
        if self.sched.current() == Some(thread) {
            self.sched.current = None;
        } else if self.sched.handoff.map(Link::index) == Some(thread) {
            self.sched.handoff = None;
        } else {
            let sandbox = self.threads[thread].sandbox;
            self.sandboxes[sandbox].ready.remove(&mut self.threads, thread);
            if self.sandboxes[sandbox].ready.is_empty() {
                self.leave_queue(sandbox);
            }
        }
    }

    /// Puts a ready thread on its sandbox's list, and the sandbox on a queue; the rank at which it waits.
    #[inline(always)]
    fn enqueue(&mut self, link: Link<Thread>, front: bool) -> i16 {
        let Some(thread) = self.threads.follow_mut(link) else { return SPENT };
        let home = thread.home;
        let Some(sandbox) = self.sandboxes.follow_mut(home) else { return SPENT };
        if let Some(neighbour) = sandbox.ready.put(link.index(), &mut thread.ready, front) {
            self.threads[neighbour].ready.meet(link.index(), front);
        }
        match sandbox.queue {
            Queue::Idle => self.join_queue(home, front),
            Queue::Priority => i16::from(sandbox.priority),
            Queue::Spent | Queue::Frozen => SPENT,
        }
    }

    /// Puts a sandbox with ready threads on a queue; its rank there.
    #[inline(always)]
    pub(crate) fn join_queue(&mut self, home: Link<Sandbox>, front: bool) -> i16 {
        let Some(sandbox) = self.sandboxes.follow_mut(home) else { return SPENT };
        if sandbox.budget.is_spent() && !self.renewed(home) {
            return SPENT;
        }
        self.join_level(home, front)
    }

    #[inline(always)]
    fn join_level(&mut self, home: Link<Sandbox>, front: bool) -> i16 {
        let Some(sandbox) = self.sandboxes.follow_mut(home) else { return SPENT };
        sandbox.queue = Queue::Priority;
        let priority = sandbox.priority;
        self.sched.levels |= 1 << priority;
        let level = &mut self.sched.ready[usize::from(priority) % LEVELS];
        if let Some(neighbour) = level.put(home.index(), &mut sandbox.runnable, front) {
            self.sandboxes[neighbour].runnable.meet(home.index(), front);
        }
        i16::from(priority)
    }

    /// A waiting sandbox goes to the queue that it belongs on by now, behind the others there or before them.
    pub(crate) fn move_queue(&mut self, index: u32, front: bool) {
        self.leave_queue(index);
        if let Some(home) = self.sandboxes.link(index) {
            self.join_queue(home, front);
        }
    }

    pub(crate) fn leave_queue(&mut self, index: u32) {
        match self.sandboxes[index].queue {
            Queue::Idle | Queue::Frozen => return,
            Queue::Spent => self.leave_spent(index),
            Queue::Priority => {
                let level = usize::from(self.sandboxes[index].priority);
                self.sched.ready[level].remove(&mut self.sandboxes, index);
                if self.sched.ready[level].is_empty() {
                    self.sched.levels &= !(1 << level);
                }
            }
        }
        self.sandboxes[index].queue = Queue::Idle;
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
                return self.resume(current);
            }
        }
        let remains = self.has_remains() && self.dismantle_some();
        debug_assert!(self.sched.current.is_none() || self.sched.handoff.is_none());
        let now = self.machine.now();
        self.charge_time(now);
        if now >= self.sched.next_renewal {
            self.replenish(now);
        }
        if let Some(current) = self.sched.current.take() {
            self.requeue(current, now);
        }
        self.sched.resched = Resched::No;
        let handed = self.take_handoff(now);
        match handed.or_else(|| self.choose()) {
            Some(thread) => {
                let next = self.switch_to(thread, now, handed.is_none());
                if remains {
                    self.arm(now, true);
                }
                next
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
    fn requeue(&mut self, current: Link<Thread>, now: u64) {
        let Some(thread) = self.threads.follow(current) else { return };
        let home = thread.home;
        let Some(sandbox) = self.sandboxes.follow_mut(home) else { return };
        let turn_left = self.sched.turn_ends.saturating_sub(now);
        let preempted = self.sched.resched == Resched::Preempted && turn_left >= MIN_TIMER;
        sandbox.turn_left = if preempted { turn_left } else { 0 };
        let waits = sandbox.queue != Queue::Idle;
        self.enqueue(current, preempted);
        if waits {
            self.move_queue(home.index(), preempted);
        }
    }

    /// The thread that the one before handed the processor to, unless somebody more important is ready or its budget is spent. It goes on in
    /// the same turn: two that keep calling each other are no reason for a third of the same priority to wait longer.
    #[inline(always)]
    fn take_handoff(&mut self, now: u64) -> Option<Link<Thread>> {
        let thread = self.sched.handoff.take()?;
        let home = self.threads.follow(thread)?.home;
        let sandbox = self.sandboxes.follow(home)?;
        let (spent, priority) = (sandbox.budget.is_spent(), sandbox.priority);
        if self.sched.none_ready_above(priority) && (!spent || self.renew_budget(home.index(), now)) {
            return Some(thread);
        }
        self.enqueue(thread, true);
        None
    }

    /// Takes the next thread off its queue.
    fn choose(&mut self) -> Option<Link<Thread>> {
        let Some(level) = self.sched.levels.checked_ilog2() else { return self.choose_spent() };
        let queue = &mut self.sched.ready[level as usize % LEVELS];
        let index = queue.first()?;
        let sandbox = &mut self.sandboxes[index];
        let thread = self.threads.link(sandbox.ready.first()?)?;
        let next = sandbox.ready.take_first(&mut self.threads.follow_mut(thread)?.ready);
        if let Some(next) = next {
            self.threads[next].ready.previous = NONE;
            // Its other threads wait for another turn, or those that wake one another would keep the processor from its equals.
            let only = sandbox.runnable.is_last();
            if !only {
                self.move_queue(index, false);
            }
            return Some(thread);
        }
        sandbox.queue = Queue::Idle;
        match queue.take_first(&mut sandbox.runnable) {
            Some(next) => self.sandboxes[next].runnable.previous = NONE,
            None => self.sched.levels &= !(1 << level),
        }
        Some(thread)
    }

    /// Lets a thread run, in a turn of its own or in the rest of another's.
    #[inline(always)]
    fn switch_to(&mut self, link: Link<Thread>, now: u64, own_turn: bool) -> Next {
        let Some(thread) = self.threads.follow_mut(link) else { return Next::Idle };
        let (context, home) = (&raw mut thread.context, thread.home);
        let Some(sandbox) = self.sandboxes.follow_mut(home) else { return Next::Idle };
        let sched = &mut self.sched;
        if own_turn {
            sched.turn_ends = now + sandbox.begin_turn();
        }
        self.counters.switches += 1;
        (sched.current, sched.since) = (Some(link), now);
        if sched.active != Some(home) {
            sched.active = Some(home);
            self.machine.activate(sandbox.root);
        }
        sched.rank = if sandbox.budget.is_spent() { SPENT } else { i16::from(sandbox.priority) };
        if sched.is_due_before_timer(self.timers.next()) || sandbox.budget.amount != 0 {
            self.arm(now, true);
        }
        Next::Run(context)
    }

    fn resume(&mut self, thread: Link<Thread>) -> Next {
        match self.threads.follow_mut(thread) {
            Some(thread) => Next::Run(&raw mut thread.context),
            None => Next::Idle,
        }
    }

    /// Charges the time since the last switch to the sandbox that used it.
    #[inline(always)]
    fn charge_time(&mut self, now: u64) {
        let elapsed = now - core::mem::replace(&mut self.sched.since, now);
        if self.sched.idle_since.is_some() {
            return;
        }
        let Some(active) = self.sched.active else { return };
        let Some(sandbox) = self.sandboxes.follow_mut(active) else { return };
        sandbox.cpu += elapsed;
        if sandbox.budget.amount != 0 {
            self.charge_budget(active.index(), elapsed, now);
        }
    }

    /// Arms the timer for whatever comes first; an earlier arming is left, since a timer that fires in vain does no harm.
    pub(crate) fn arm(&mut self, now: u64, running: bool) {
        let mut at = self.timers.next().min(self.sched.next_renewal);
        if running && self.sched.has_rivals() {
            at = at.min(self.sched.turn_ends);
        }
        if running && self.has_remains() {
            at = at.min(now + REMAINS_EVERY);
        }
        if running
            && let Some(active) = self.sched.active.and_then(|active| self.sandboxes.follow(active))
            && active.budget.amount != 0
        {
            let budget = &active.budget;
            at = at.min(if budget.is_spent() { budget.renewal() } else { now + budget.left });
        }
        // What is due already must not be put off by each entry that comes before the timer.
        let at = at.max(now + MIN_TIMER);
        // Nor must one that is due and waits for the end of this entry: only ever to an earlier time, until it has fired.
        if at < self.sched.armed {
            self.sched.armed = at;
            self.machine.set_timer(at);
        }
    }

    /// The timer fired.
    pub fn timer(&mut self) {
        self.counters.interrupts += 1;
        self.sched.armed = u64::MAX;
        let now = self.machine.now();
        // If there are more, the timer fires again at once.
        for _ in 0..EFFORT {
            let Some(thread) = self.timers.expired(now) else { break };
            self.timed_out(thread);
        }
        if self.sched.current.is_some() {
            let keep_place = now < self.sched.turn_ends && self.sched.resched != Resched::TurnOver;
            self.sched.resched = if keep_place { Resched::Preempted } else { Resched::TurnOver };
        }
    }

    /// The sandbox's page tables are about to go: the processor must not use them any more.
    pub(crate) fn leave_address_space(&mut self, sandbox: u32) {
        if self.sched.is_active(sandbox) {
            let now = self.machine.now();
            self.charge_time(now);
            self.sched.active = None;
            self.machine.deactivate();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl<M: Machine> Kernel<M> {
        /// A test says who runs: this ready thread; the running one goes back to its queue.
        pub(crate) fn run_instead(&mut self, thread: u32) {
            if self.sched.current() == Some(thread) {
                return;
            }
            assert_eq!(
                self.threads[thread].state,
                State::Ready,
                "only a ready thread can make a system call"
            );
            self.idle_ended();
            let now = self.machine.now();
            self.charge_time(now);
            if let Some(other) = self.sched.handoff.take() {
                self.enqueue(other, true);
            }
            if let Some(current) = self.sched.current.take() {
                self.enqueue(current, true);
            }
            self.unready(thread);
            let thread = self.threads.link(thread).expect("it is ready");
            self.switch_to(thread, now, true);
        }
    }
}
