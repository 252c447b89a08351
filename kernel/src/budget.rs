//! Budgets: what of its guarantee a sandbox has spent, and when its next period begins.
//!
//! A sandbox that spent its budget is on a queue of its own. One that is work-conserving runs from there whenever nobody else can.

use crate::config::EFFORT;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::objects::{Queue, Sandbox, Thread};
use crate::pool::Link;

impl<M: Machine> Kernel<M> {
    /// The first thread of a sandbox that spent its budget and may use what nobody else wants.
    #[cold]
    pub(crate) fn choose_spent(&mut self) -> Option<Link<Thread>> {
        let index = self.sched.spent.first()?;
        let sandbox = &mut self.sandboxes[index];
        let thread = sandbox.ready.first()?;
        sandbox.ready.remove(&mut self.threads, thread);
        if sandbox.ready.is_empty() {
            self.leave_queue(index);
        } else {
            self.move_queue(index, false);
        }
        self.threads.link(thread)
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
        self.renewals.add(index, sandbox.budget.renewal());
        self.sched.next_renewal = self.renewals.next();
        if !sandbox.hard_limit {
            self.sched.spent.push_back(&mut self.sandboxes, index);
        }
        false
    }

    /// A sandbox that spent its budget waits for a new period no more.
    #[cold]
    pub(crate) fn leave_spent(&mut self, index: u32) {
        self.renewals.remove(index);
        self.sched.next_renewal = self.renewals.next();
        if !self.sandboxes[index].hard_limit {
            self.sched.spent.remove(&mut self.sandboxes, index);
        }
    }

    /// Charges a sandbox for the time until now. A new period begins with what was used of it already: what was used before is of the old one.
    pub(crate) fn charge_budget(&mut self, index: u32, elapsed: u64, now: u64) {
        self.renew_budget(index, now);
        let sandbox = &mut self.sandboxes[index];
        let budget = &mut sandbox.budget;
        budget.left = budget.left.saturating_sub(elapsed.min(now - budget.since));
        // The other way [`Self::replenish`] leads, to which the timer comes at once.
        if budget.left == 0 && sandbox.queue == Queue::Priority {
            self.move_queue(index, false);
        }
    }

    /// Starts new periods, as many as one entry may; if there are more, the timer fires again at once.
    #[cold]
    pub(crate) fn replenish(&mut self, now: u64) {
        for _ in 0..EFFORT {
            let Some(index) = self.renewals.expired(now) else { break };
            self.renew_budget(index, now);
            self.move_queue(index, false);
        }
        self.sched.next_renewal = self.renewals.next();
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
}
