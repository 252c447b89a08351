//! The fast path: a call to a server that waits, and a server's answer together with its next receive.
//!
//! It does what `ipc` and `sched` do for these two, in fewer steps, and only when nothing else is due: words alone, no deadline, nobody more
//! important ready, no budget that ends. It looks first and changes afterwards, so whatever is unusual goes the general way from the start, and
//! what a program can observe is the same (`tests::fastpath` drives both and compares).

use crate::caps::Cap;
use crate::context::{Context, Frame};
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::objects::{Budget, ObjectRef, Sandbox, State};
use crate::sched::Scheduler;
use core::ptr::NonNull;
use hic_abi::message::Kind;
use hic_abi::{FOREVER, Handle, MessageInfo, ObjectType, Rights};

/// Who goes on. `None`: nothing was done, and the call is one for [`Kernel::syscall`].
pub type HandedTo = Option<NonNull<Context>>;

/// Whether a thread sends register words alone and is ready to wait for ever.
#[inline(always)]
fn is_plain(frame: &Frame) -> bool {
    MessageInfo(frame.rsi).is_words_only() && frame.r13.is_multiple_of(8) && frame.r12 == FOREVER
}

/// Hands the words of one thread to another, whose system call they end.
#[inline(always)]
fn hand_words(from: &Frame, to: &mut Frame) {
    to.rax = 0;
    to.rsi = MessageInfo(from.rsi).with_kind(Kind::Call).0;
    (to.rdx, to.r10, to.r8, to.r9) = (from.rdx, from.r10, from.r8, from.r9);
}

impl<M: Machine> Kernel<M> {
    /// The running thread's `Call`.
    pub fn fast_call(&mut self) -> HandedTo {
        let index = self.fast_caller()?;
        let caller = &self.threads[index];
        if !is_plain(&caller.context.frame) {
            return None;
        }
        let from = caller.sandbox;
        let place = self.sandboxes[from].place(caller.context.frame.rdi as Handle)?;
        let Some(Cap { object: ObjectRef { kind: ObjectType::Port, id }, rights, .. }) = self.caps.get(place)
        else {
            return None;
        };
        if !rights.contains(Rights::SEND) {
            return None;
        }
        let port = self.ports.get(*id)?;
        let endpoint = self.endpoints.get_mut(port.endpoint)?;
        let server = endpoint.receiver?;
        let identity = self.threads.id(index);
        let (caller, receiver) = self.threads.two(index, server)?;
        // A receiver's R12 is its deadline.
        if receiver.context.frame.r12 != FOREVER {
            return None;
        }
        let (payer, next) = self.sandboxes.two(from, receiver.sandbox)?;
        if !self.sched.turn_passes(payer, next, &self.machine) {
            return None;
        }

        caller.state = State::Awaiting { server };
        endpoint.receiver = None;
        hand_words(&caller.context.frame, &mut receiver.context.frame);
        (receiver.context.frame.rdi, receiver.context.frame.r12) = (port.badge, payer.serial);
        (receiver.serving, receiver.state) = (identity, State::Ready);
        self.counters.fast_calls += 1;
        self.sched.turn_to(server, receiver.sandbox, next);
        self.machine.activate(next.root);
        Some(NonNull::from_mut(&mut receiver.context))
    }

    /// The running thread's `ReplyReceive`.
    pub fn fast_reply_receive(&mut self) -> HandedTo {
        let index = self.fast_caller()?;
        let server = &self.threads[index];
        if !is_plain(&server.context.frame) {
            return None;
        }
        let (from, owed) = (server.sandbox, server.serving?);
        let place = self.sandboxes[from].place(server.context.frame.rdi as Handle)?;
        let Some(Cap { object: ObjectRef { kind: ObjectType::Endpoint, id }, rights, .. }) =
            self.caps.get(place)
        else {
            return None;
        };
        if !rights.contains(Rights::RECEIVE) {
            return None;
        }
        let endpoint = self.endpoints.get_mut(*id)?;
        let bits = server.bound.and_then(|bound| self.notifications.get(bound)).is_some_and(|n| n.bits != 0);
        if endpoint.receiver.is_some() || !endpoint.pending.is_empty() || bits {
            return None;
        }
        self.threads.get(owed)?;
        let (server, caller) = self.threads.two(index, owed.index)?;
        // A caller's R12 is its deadline.
        if caller.state != (State::Awaiting { server: index }) || caller.context.frame.r12 != FOREVER {
            return None;
        }
        let (payer, next) = self.sandboxes.two(from, caller.sandbox)?;
        if !self.sched.turn_passes(payer, next, &self.machine) {
            return None;
        }

        (server.serving, server.state) = (None, State::Receiving { endpoint: id.index });
        endpoint.receiver = Some(index);
        hand_words(&server.context.frame, &mut caller.context.frame);
        caller.state = State::Ready;
        self.counters.fast_calls += 1;
        self.sched.turn_to(owed.index, caller.sandbox, next);
        self.machine.activate(next.root);
        Some(NonNull::from_mut(&mut caller.context))
    }

    /// The running thread, when nobody counts system calls.
    #[inline(always)]
    fn fast_caller(&self) -> Option<u32> {
        if self.fuses == 0 { self.sched.current() } else { None }
    }
}

impl Budget {
    /// Whether this much time can be charged without spending it, in the same period.
    const fn affords(&self, elapsed: u64, now: u64) -> bool {
        self.amount == 0 || (self.left > elapsed && now < self.renewal())
    }
}

impl Scheduler {
    /// Whether one sandbox may go on in the turn of another: nobody more important is ready, and neither has a budget that ends now or before
    /// the timer looks after it. If so, the one that gives its turn away has paid for its time.
    #[inline(always)]
    fn turn_passes(&mut self, payer: &mut Sandbox, next: &Sandbox, machine: &impl Machine) -> bool {
        if !self.none_ready_above(next.priority) {
            return false;
        }
        let now = machine.now();
        let unlimited = payer.budget.amount | next.budget.amount == 0;
        if !unlimited && !self.budgets_allow(payer, next, now) {
            return false;
        }
        payer.cpu += now - self.since();
        self.set_since(now);
        true
    }

    #[cold]
    fn budgets_allow(&self, payer: &mut Sandbox, next: &Sandbox, now: u64) -> bool {
        let elapsed = now - self.since();
        let left = next.budget.left;
        let watched = next.budget.amount == 0 || (left != 0 && self.wakes_by(now + left));
        let allow = payer.budget.affords(elapsed, now) && watched;
        if allow && payer.budget.amount != 0 {
            payer.budget.left -= elapsed;
        }
        allow
    }
}
