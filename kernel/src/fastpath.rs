//! The fast path: a call to a server that waits, and a server's answer together with its next receive.
//!
//! It does what `ipc` and `sched` do for these two, in fewer steps, and only when nothing else is due: words alone, no deadline, nobody more
//! important ready, no budget that ends. It looks first and changes afterwards, so whatever is unusual goes the general way from the start, and
//! what a program can observe is the same (`tests::fastpath` drives both and compares).

use crate::context::{Context, Frame};
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::objects::{Budget, Endpoint, Port, Sandbox, State, Thread};
use crate::pool::Link;
use crate::sched::Scheduler;
use core::ptr::NonNull;
use hic_abi::message::Kind;
use hic_abi::{FOREVER, Handle, MessageInfo, ObjectType, Rights};

/// Who goes on. `None`: nothing was done, and the call is one for [`Kernel::syscall`].
pub type HandedTo = Option<NonNull<Context>>;

/// Where the handle of a thread's last call or answer led. It leads there again, as long as
/// [`changes`](crate::caps::CapTable::changes) stays.
#[derive(Debug)]
pub struct Route<To> {
    handle: Handle,
    changes: u64,
    to: To,
}

/// Where a call leads.
pub type CallRoute = Route<(Link<Port>, Link<Endpoint>)>;
/// Where an answer is given and the next call received.
pub type ReceiveRoute = Route<Link<Endpoint>>;

impl<To: Copy> Route<To> {
    #[inline(always)]
    fn of(&self, frame: &Frame, changes: u64) -> Option<To> {
        (self.handle == frame.rdi as Handle && self.changes == changes).then_some(self.to)
    }
}

/// Whether a thread sends a label and register words alone and is ready to wait for ever.
#[inline(always)]
fn is_plain(frame: &Frame) -> bool {
    frame.rsi >> 32 == 0 && frame.r13.is_multiple_of(8) && frame.r12 == FOREVER
}

/// Hands the label and the words of one thread to another, whose system call they end.
#[inline(always)]
fn hand_words(from: &Frame, to: &mut Frame) {
    to.rax = 0;
    to.rsi = MessageInfo::new(from.rsi as u32).with_kind(Kind::Call).0;
    (to.rdx, to.r10, to.r8, to.r9) = (from.rdx, from.r10, from.r8, from.r9);
}

impl<M: Machine> Kernel<M> {
    /// The running thread's `Call` by the handle of its last one.
    #[inline(always)]
    pub fn fast_call(&mut self) -> HandedTo {
        let current = self.sched.current?;
        let caller = self.threads.follow(current)?;
        let to = caller.call_route.as_ref()?.of(&caller.context.frame, self.caps.changes())?;
        self.call_by::<false>(current, to)
    }

    /// A `Call` that [`Self::fast_call`] left alone: by another handle than the last one, or with budgets to think of.
    pub fn first_call(&mut self) -> HandedTo {
        let current = self.sched.current?;
        let (caller, changes) = (self.threads.follow(current)?, self.caps.changes());
        let (handle, known) = (caller.context.frame.rdi as Handle, caller.call_route.as_ref());
        let to = match known.and_then(|route| route.of(&caller.context.frame, changes)) {
            Some(to) => to,
            None => {
                let port = self.quick_object(handle, ObjectType::Port, Rights::SEND)?;
                let endpoint = self.ports[port].endpoint;
                self.endpoints.get(endpoint)?;
                let to = (self.ports.link(port)?, self.endpoints.link(endpoint.index)?);
                self.threads.follow_mut(current)?.call_route = Some(Route { handle, changes, to });
                to
            }
        };
        self.call_by::<true>(current, to)
    }

    /// Looks whether the server may have its call now, and hands it over. Without `BUDGETS`, not where there are any: it then calls no other
    /// function, and needs no more registers than a function may change.
    #[inline(always)]
    fn call_by<const BUDGETS: bool>(
        &mut self,
        current: Link<Thread>,
        (port, endpoint): (Link<Port>, Link<Endpoint>),
    ) -> HandedTo {
        let port = self.ports.follow(port)?;
        let endpoint = self.endpoints.follow_mut(endpoint)?;
        let server = endpoint.receiver?;
        let (caller, receiver) = self.threads.follow_two(current, server)?;
        // A receiver's R12 is its deadline.
        if !is_plain(&caller.context.frame) || receiver.context.frame.r12 != FOREVER {
            return None;
        }
        let home = receiver.home;
        let (payer, next) = self.sandboxes.follow_two(caller.home, home)?;
        if !self.sched.turn_passes::<BUDGETS>(payer, next, &self.machine) {
            return None;
        }

        caller.state = State::Awaiting { server: server.index() };
        endpoint.receiver = None;
        hand_words(&caller.context.frame, &mut receiver.context.frame);
        (receiver.context.frame.rdi, receiver.context.frame.r12) = (port.badge, payer.serial);
        (receiver.serving, receiver.state) = (Some(current), State::Ready);
        self.counters.fast_calls += 1;
        self.sched.turn_to(server, home, next);
        self.machine.activate(next.root);
        Some(NonNull::from_mut(&mut receiver.context))
    }

    /// The running thread's `ReplyReceive` by the handle of its last one.
    #[inline(always)]
    pub fn fast_reply_receive(&mut self) -> HandedTo {
        let current = self.sched.current?;
        let server = self.threads.follow(current)?;
        let at = server.receive_route.as_ref()?.of(&server.context.frame, self.caps.changes())?;
        self.answer_by::<false>(current, at)
    }

    /// A `ReplyReceive` that [`Self::fast_reply_receive`] left alone for the reasons of [`Self::first_call`].
    pub fn first_reply_receive(&mut self) -> HandedTo {
        let current = self.sched.current?;
        let (server, changes) = (self.threads.follow(current)?, self.caps.changes());
        let (handle, known) = (server.context.frame.rdi as Handle, server.receive_route.as_ref());
        let at = match known.and_then(|route| route.of(&server.context.frame, changes)) {
            Some(at) => at,
            None => {
                let endpoint = self.quick_object(handle, ObjectType::Endpoint, Rights::RECEIVE)?;
                let to = self.endpoints.link(endpoint)?;
                self.threads.follow_mut(current)?.receive_route = Some(Route { handle, changes, to });
                to
            }
        };
        self.answer_by::<true>(current, at)
    }

    /// As [`Self::call_by`], the other way round.
    #[inline(always)]
    fn answer_by<const BUDGETS: bool>(&mut self, current: Link<Thread>, at: Link<Endpoint>) -> HandedTo {
        let endpoint = self.endpoints.follow_mut(at)?;
        let server = self.threads.follow(current)?;
        let bits = server.bound.and_then(|bound| self.notifications.get(bound)).is_some_and(|n| n.bits != 0);
        if bits || !is_plain(&server.context.frame) {
            return None;
        }
        if endpoint.receiver.is_some() || !endpoint.pending.is_empty() {
            return None;
        }
        let owed = server.serving?;
        let (server, caller) = self.threads.follow_two(current, owed)?;
        // A caller's R12 is its deadline.
        if caller.state != (State::Awaiting { server: current.index() })
            || caller.context.frame.r12 != FOREVER
        {
            return None;
        }
        let home = caller.home;
        let (payer, next) = self.sandboxes.follow_two(server.home, home)?;
        if !self.sched.turn_passes::<BUDGETS>(payer, next, &self.machine) {
            return None;
        }

        (server.serving, server.state) = (None, State::Receiving { endpoint: at.index() });
        endpoint.receiver = Some(current);
        hand_words(&server.context.frame, &mut caller.context.frame);
        caller.state = State::Ready;
        self.counters.fast_calls += 1;
        self.sched.turn_to(owed, home, next);
        self.machine.activate(next.root);
        Some(NonNull::from_mut(&mut caller.context))
    }

    /// The object behind a handle of the caller, if it may be used so; nothing while somebody counts system calls, or a sandbox that froze (which
    /// ends all routes) has threads that are not stopped yet.
    fn quick_object(&self, handle: Handle, kind: ObjectType, rights: Rights) -> Option<u32> {
        if self.fuses != 0 || !self.unfinished.is_empty() {
            return None;
        }
        self.object(handle, kind, rights).ok()
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
    fn turn_passes<const BUDGETS: bool>(
        &mut self,
        payer: &mut Sandbox,
        next: &Sandbox,
        machine: &impl Machine,
    ) -> bool {
        if !self.none_ready_above(next.priority) {
            return false;
        }
        let now = machine.now();
        let unlimited = payer.budget.amount | next.budget.amount == 0;
        if !(unlimited || BUDGETS && self.budgets_allow(payer, next, now)) {
            return false;
        }
        payer.cpu += now - self.since;
        self.since = now;
        true
    }

    fn budgets_allow(&self, payer: &mut Sandbox, next: &Sandbox, now: u64) -> bool {
        let elapsed = now - self.since;
        let left = next.budget.left;
        let watched = next.budget.amount == 0 || (left != 0 && self.armed <= now + left);
        let allow = payer.budget.affords(elapsed, now) && watched;
        if allow && payer.budget.amount != 0 {
            payer.budget.left -= elapsed;
        }
        allow
    }
}
