//! Notifications: words of bits that anybody with SEND may set and one thread at a time takes.

use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::objects::{State, Thread};
use crate::pool::{Id, Link};
use hic_abi::message::Kind;
use hic_abi::syscall::Syscall;
use hic_abi::{Error, FOREVER, Handle, MessageInfo, ObjectType, Rights};

impl<M: Machine> Kernel<M> {
    /// Sets bits and wakes whoever waits for them; no bits wake nobody.
    pub(crate) fn signal(&mut self, notification: u32, bits: u64) {
        self.signal_here(notification, bits);
    }

    /// The same, as a part of its caller.
    #[inline(always)]
    pub(crate) fn signal_here(&mut self, notification: u32, bits: u64) {
        if bits == 0 {
            return;
        }
        let n = &mut self.notifications[notification];
        n.bits |= bits;
        if let Some(waiter) = n.waiter.take() {
            let Some(thread) = self.threads.follow_mut(waiter) else { return };
            if self.sandboxes.follow(thread.home).is_some_and(|home| home.frozen) {
                return self.signal_past(notification, waiter);
            }
            let bits = core::mem::take(&mut n.bits);
            (thread.context.frame.rax, thread.context.frame.rdi) = (0, bits);
            let timed = thread.timed;
            self.wake(waiter);
            if timed {
                self.timers.remove(waiter.index());
            }
        } else if let Some(bound) = n.bound {
            self.end_receive_by(bound, notification);
        }
    }

    /// The waiter froze while it waited, so the bits are not for it.
    #[cold]
    fn signal_past(&mut self, notification: u32, waiter: Link<Thread>) {
        self.is_stopped(waiter.index());
        let n = &mut self.notifications[notification];
        n.waiter = None;
        if let Some(bound) = n.bound {
            self.end_receive_by(bound, notification);
        }
    }

    /// A receive of the bound thread ends with the bits.
    #[inline(never)]
    fn end_receive_by(&mut self, bound: Id, notification: u32) {
        if let Some(thread) = self.threads.get(bound)
            && let State::Receiving { endpoint } = thread.state
            && !self.is_stopped(bound.index)
        {
            self.endpoints[endpoint].receiver = None;
            self.timers.remove(bound.index);
            self.deliver_bits(bound.index, notification);
            self.make_ready(bound.index);
        }
    }

    /// `Signal`.
    #[inline(always)]
    pub(crate) fn sys_signal(&mut self, handle: Handle, bits: u64) -> Result<u64, Error> {
        match self.object(handle, ObjectType::Notification, Rights::SEND) {
            Ok(notification) => {
                self.signal_here(notification, bits);
                Ok(0)
            }
            Err(Error::WrongType) => self.ring(handle, bits),
            Err(error) => Err(error),
        }
    }

    /// `Signal` on a port.
    #[inline(never)]
    fn ring(&mut self, handle: Handle, bits: u64) -> Result<u64, Error> {
        let port = self.object(handle, ObjectType::Port, Rights::SEND)?;
        let endpoint = self.ports[port].endpoint;
        if !self.endpoints.is_live(endpoint) {
            return Err(Error::Gone);
        }
        if let Some(bell) = self.endpoints[endpoint.index].bell {
            self.signal_id(bell, bits);
        }
        Ok(0)
    }

    /// `EndpointNotify`.
    pub(crate) fn sys_endpoint_notify(&mut self, endpoint: Handle, bell: Handle) -> Result<u64, Error> {
        let endpoint = self.object(endpoint, ObjectType::Endpoint, Rights::RECEIVE)?;
        let bell = self.object(bell, ObjectType::Notification, Rights::SEND)?;
        self.endpoints[endpoint].bell = self.notifications.id(bell);
        Ok(0)
    }

    /// Ends a thread's receive with the bits of its notification.
    fn deliver_bits(&mut self, thread: u32, notification: u32) {
        let bits = core::mem::take(&mut self.notifications[notification].bits);
        let frame = &mut self.threads[thread].context.frame;
        (frame.rax, frame.rdi, frame.rdx) = (0, 0, bits);
        frame.rsi = MessageInfo::new(0).with_kind(Kind::Notification).0;
        (frame.r10, frame.r8, frame.r9, frame.r12) = (0, 0, 0, 0);
    }

    /// Delivers bits that came before the thread received; whether there were any.
    pub(crate) fn take_bound_bits(&mut self, thread: u32) -> bool {
        let bound = self.threads[thread].bound;
        let waits = |id: &Id| self.notifications.get(*id).is_some_and(|n| n.bits != 0);
        let Some(bound) = bound.filter(waits) else { return false };
        self.deliver_bits(thread, bound.index);
        true
    }

    /// `Wait`.
    pub(crate) fn sys_wait(&mut self, handle: Handle, deadline: u64) -> Result<u64, Error> {
        let index = self.object(handle, ObjectType::Notification, Rights::RECEIVE)?;
        let Some(thread) = self.sched.current else { return Err(Error::WrongState) };
        let n = &mut self.notifications[index];
        if n.bits != 0 {
            self.threads[thread.index()].context.frame.rdi = core::mem::take(&mut n.bits);
            return Ok(0);
        }
        if let Some(waiter) = n.waiter {
            return self.wait_after(waiter);
        }
        if deadline != FOREVER && deadline <= self.machine.now() {
            return Err(if deadline == 0 { Error::WouldBlock } else { Error::Timeout });
        }
        n.waiter = Some(thread);
        self.block(State::Waiting { notification: index }, deadline);
        Ok(0)
    }

    /// `Wait`, when somebody waits already. One that froze meanwhile does so no more, and the call is made again.
    #[cold]
    fn wait_after(&mut self, waiter: Link<Thread>) -> Result<u64, Error> {
        if self.is_stopped(waiter.index()) { Ok(self.again(Syscall::Wait)) } else { Err(Error::Busy) }
    }

    /// No notification ends the receive of this thread any more.
    pub(crate) fn unbind(&mut self, thread: u32) {
        if let Some(bound) = self.threads[thread].bound.take().and_then(|id| self.notifications.get_mut(id)) {
            bound.bound = None;
        }
    }

    /// `BindNotification`.
    pub(crate) fn sys_bind(&mut self, handle: Handle) -> Result<u64, Error> {
        let thread = self.sched.running();
        let identity = self.threads.id(thread);
        let wanted = match handle {
            0 => None,
            _ => Some(self.object(handle, ObjectType::Notification, Rights::RECEIVE)?),
        };
        let holder = wanted.and_then(|index| self.notifications[index].bound);
        if holder.is_some_and(|t| Some(t) != identity && self.threads.is_live(t)) {
            return Err(Error::Busy);
        }
        self.unbind(thread);
        if let Some(index) = wanted {
            self.notifications[index].bound = identity;
            self.threads[thread].bound = self.notifications.id(index);
        }
        Ok(0)
    }
}
