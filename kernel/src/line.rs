//! Who goes on after a thread that blocked or ended its turn, where that is a matter of the ready queues alone.
//!
//! It does what [`Kernel::choose_next`] does, in fewer steps, for the common case: no budgets, nothing to take apart, nobody to whom the processor
//! was handed, one ready thread in the sandbox whose turn it is. As in [`crate::fastpath`], it looks first and changes afterwards, so what is unusual goes the general way from the start.

use crate::context::Context;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::objects::Queue;
use crate::pool::NONE;
use crate::sched::{LEVELS, Resched};
use core::ptr::NonNull;

/// Who goes on, and whether [`Kernel::arm_for_next`] is due.
pub type InLine = Option<(NonNull<Context>, bool)>;

impl<M: Machine> Kernel<M> {
    /// The running thread has blocked: the first in the ready queues goes on. `None`: nothing was done, and [`Kernel::choose_next`] says who goes on.
    #[inline(always)]
    pub fn next_in_line(&mut self) -> InLine {
        let sched = &mut self.sched;
        if sched.current.is_some() || sched.handoff.is_some() || !self.unfinished.is_empty() {
            return None;
        }
        let payer = sched.active?;
        let level = sched.levels.checked_ilog2()?;
        let queue = &mut sched.ready[level as usize % LEVELS];
        let home = self.sandboxes.link(queue.head())?;
        let sandbox = self.sandboxes.follow(home)?;
        let link = self.threads.link(sandbox.ready.head())?;
        let alone = self.threads.follow(link)?.ready.is_last();
        if !alone || self.sandboxes.follow(payer)?.budget.amount | sandbox.budget.amount != 0 {
            return None;
        }
        let now = self.machine.now();
        if now >= sched.next_renewal {
            return None;
        }

        if let Some(payer) = self.sandboxes.follow_mut(payer) {
            payer.cpu += now - core::mem::replace(&mut sched.since, now);
        }
        let (thread, sandbox) = (self.threads.follow_mut(link)?, self.sandboxes.follow_mut(home)?);
        let context = NonNull::from_mut(&mut thread.context);
        (sched.current, sched.resched) = (Some(link), Resched::No);
        if home != payer {
            sched.active = Some(home);
            self.machine.activate(sandbox.root);
        }
        sched.turn_ends = now + sandbox.begin_turn();
        sched.rank = i16::from(sandbox.priority);
        self.counters.switches += 1;
        let _alone = sandbox.ready.take_first(&mut thread.ready);
        sandbox.queue = Queue::Idle;
        match queue.take_first(&mut sandbox.runnable) {
            Some(next) => self.sandboxes[next].runnable.previous = NONE,
            None => sched.levels &= !(1 << level),
        }
        Some((context, self.sched.is_due_before_timer(self.timers.next())))
    }

    /// The running thread, the only ready one of its sandbox, ended its turn: the first of the next sandbox of its priority goes on, and it goes
    /// behind the others. `None` as before.
    #[inline(always)]
    pub fn next_turn(&mut self) -> InLine {
        let sched = &mut self.sched;
        let ended = sched.current?;
        if sched.resched != Resched::TurnOver || !self.unfinished.is_empty() {
            return None;
        }
        let payer = sched.active?;
        let level = sched.levels.checked_ilog2()?;
        let queue = &mut sched.ready[level as usize % LEVELS];
        let home = self.sandboxes.link(queue.head())?;
        let (from, sandbox) = self.sandboxes.follow_two(payer, home)?;
        let link = self.threads.link(sandbox.ready.head())?;
        let (last, thread) = self.threads.follow_two(ended, link)?;
        let alone = from.queue == Queue::Idle && thread.ready.is_last();
        if !alone || u32::from(from.priority) != level || from.budget.amount | sandbox.budget.amount != 0 {
            return None;
        }
        let now = self.machine.now();
        if now >= sched.next_renewal {
            return None;
        }

        let context = NonNull::from_mut(&mut thread.context);
        from.cpu += now - core::mem::replace(&mut sched.since, now);
        (sched.current, sched.active, sched.resched) = (Some(link), Some(home), Resched::No);
        self.machine.activate(sandbox.root);
        sched.turn_ends = now + sandbox.begin_turn();
        self.counters.switches += 1;
        (sandbox.queue, from.queue, from.turn_left) = (Queue::Idle, Queue::Priority, 0);
        let _alone = (
            sandbox.ready.take_first(&mut thread.ready),
            from.ready.put(ended.index(), &mut last.ready, false),
        );
        if sandbox.runnable.is_last() {
            queue.replace_only(payer.index());
        } else {
            let (next, before) = (
                queue.take_first(&mut sandbox.runnable),
                queue.put(payer.index(), &mut from.runnable, false),
            );
            if let (Some(next), Some(before)) = (next, before) {
                self.sandboxes[next].runnable.previous = NONE;
                self.sandboxes[before].runnable.next = payer.index();
            }
        }
        Some((context, self.sched.is_due_before_timer(self.timers.next())))
    }

    /// The timer is to fire earlier: the context of the thread that goes on.
    pub fn arm_for_next(&mut self) -> Option<NonNull<Context>> {
        let now = self.machine.now();
        self.arm(now, true);
        let thread = self.threads.follow_mut(self.sched.current?)?;
        Some(NonNull::from_mut(&mut thread.context))
    }
}
