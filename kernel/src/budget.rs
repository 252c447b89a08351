//! Budgets: what of its guarantee a sandbox has spent, and when its next period begins.
//!
//! A sandbox that spent its budget is on a queue of its own. One that is work-conserving runs from there whenever nobody else can.

use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::objects::{Queue, Sandbox, Thread};
use crate::pool::Link;

impl<M: Machine> Kernel<M> {
    #[cold]
    pub(crate) fn choose_spent(&mut self) -> Option<Link<Thread>> {
        let index = self.first_conserving()?;
        let sandbox = &mut self.sandboxes[index];
        let thread = sandbox.ready.first()?;
        sandbox.ready.remove(&mut self.threads, thread);
        if sandbox.ready.is_empty() {
            self.leave_queue(index);
        }
        self.threads.link(thread)
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

    /// Whether a sandbox that spent its budget begins a new period; if not, it waits for one.
    #[cold]
    pub(crate) fn renewed(&mut self, home: Link<Sandbox>) -> bool {
        let index = home.index();
        if self.renew_budget(index, self.machine.now()) {
            return true;
        }
        let sandbox = &mut self.sandboxes[index];
        sandbox.queue = Queue::Spent;
        self.sched.next_renewal = self.sched.next_renewal.min(sandbox.budget.renewal());
        self.sched.spent.push_back(&mut self.sandboxes, index);
        false
    }

    pub(crate) fn charge_budget(&mut self, index: u32, elapsed: u64) {
        let sandbox = &mut self.sandboxes[index];
        if sandbox.budget.left == 0 {
            return;
        }
        sandbox.budget.left = sandbox.budget.left.saturating_sub(elapsed);
        if sandbox.budget.left == 0 && sandbox.queue == Queue::Priority {
            self.move_queue(index);
        }
    }

    /// Starts new periods.
    #[cold]
    pub(crate) fn replenish(&mut self, now: u64) {
        self.sched.next_renewal = u64::MAX;
        let mut at = self.sched.spent.first();
        while let Some(index) = at {
            at = self.sched.spent.after(&self.sandboxes, index);
            if self.renew_budget(index, now) {
                self.move_queue(index);
            } else {
                let renewal = self.sandboxes[index].budget.renewal();
                self.sched.next_renewal = self.sched.next_renewal.min(renewal);
            }
        }
    }

    #[inline(never)]
    pub(crate) fn renew_budget(&mut self, index: u32, now: u64) -> bool {
        let budget = &mut self.sandboxes[index].budget;
        if budget.amount == 0 || now.saturating_sub(budget.since) < budget.period {
            return false;
        }
        budget.left = budget.amount;
        // On the grid of its periods: a timer that comes late makes no period longer.
        budget.since = now - (now - budget.since) % budget.period;
        true
    }

    pub(crate) fn next_replenish(&self) -> u64 {
        if self.sched.spent.is_empty() { u64::MAX } else { self.sched.next_renewal }
    }
}
