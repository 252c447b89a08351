//! Calls through ports: queue, deliver, answer.
//!
//! A caller queues on the *port*; an endpoint links its non-empty ports. So a switch moves a port with all its callers in constant time,
//! and their order is kept. A call that was received is answered by the thread that received it, or ends with
//! [`Error::ServerDied`]; a call that was not received yet never notices who serves.

use crate::config::{EFFORT, MOVE_EFFORT};
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::objects::State;
use crate::pool::Link;
use hic_abi::message::{DATA_OFFSET, Kind, MAX_CAPS, MAX_INLINE, RECEIVE_SLOTS_OFFSET, SendCap};
use hic_abi::syscall::Syscall;
use hic_abi::{Error, FOREVER, Handle, IpcBuffer, MessageInfo, ObjectType, Plain, Rights};

/// Whose fault it is that a message could not be handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The sender's arguments.
    Sender(Error),
    /// The receiver's buffer or slots.
    Receiver(Error),
}

/// What became of the calls that wait at an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// There are none, or none is left.
    None,
    /// One is delivered.
    One,
    /// None is delivered yet, and more is to be looked at than one entry may.
    NotYet,
}

impl<M: Machine> Kernel<M> {
    /// `Call`.
    pub(crate) fn sys_call(&mut self, handle: Handle) -> Result<u64, Error> {
        let port = self.object(handle, ObjectType::Port, Rights::SEND)?;
        let caller = self.sched.running();
        self.check_outgoing(caller)?;
        let endpoint = self.ports[port].endpoint;
        if !self.endpoints.is_live(endpoint) {
            return Err(Error::Gone);
        }
        let deadline = self.threads[caller].context.frame.r12;
        if let Some(receiver) = self.receiver_of(endpoint.index) {
            match self.deliver(caller, receiver, port) {
                Ok(()) => {
                    self.end_receive(endpoint.index, receiver);
                    self.block(State::Awaiting { server: receiver }, deadline);
                    self.hand_to(receiver);
                    return Ok(0);
                }
                Err(Refusal::Sender(error)) => return Err(error),
                Err(Refusal::Receiver(error)) => {
                    self.end_receive(endpoint.index, receiver);
                    self.finish(receiver, error);
                }
            }
        }
        if deadline != FOREVER && deadline <= self.machine.now() {
            return Err(Error::Timeout);
        }
        self.block(State::Queued { port }, deadline);
        self.queue_caller(port, caller);
        Ok(0)
    }

    /// Checks what can be known before the receiver is: lengths and the buffer.
    fn check_outgoing(&mut self, thread: u32) -> Result<(), Error> {
        let frame = &self.threads[thread].context.frame;
        let (info, buffer) = (MessageInfo(frame.rsi), frame.r13);
        if info.inline_len() > MAX_INLINE || info.caps() > MAX_CAPS {
            return Err(Error::InvalidArgument);
        }
        if !buffer.is_multiple_of(8) {
            return Err(Error::BadAddress);
        }
        if info.inline_len() + info.caps() == 0 {
            return Ok(());
        }
        let sandbox = self.threads[thread].sandbox;
        self.user_range(sandbox, buffer, size_of::<IpcBuffer>() as u64, true).map(|_| ())
    }

    /// Puts a caller (or a fault) at the end of a port's queue.
    pub(crate) fn queue_caller(&mut self, port: u32, thread: u32) {
        let first = self.ports[port].callers.is_empty();
        self.ports[port].callers.push_back(&mut self.threads, thread);
        if first && let Some(endpoint) = self.endpoints.get_mut(self.ports[port].endpoint) {
            endpoint.pending.push_back(&mut self.ports, port);
        }
    }

    /// Takes a caller off a port's queue.
    pub(crate) fn unqueue_caller(&mut self, port: u32, thread: u32) {
        self.ports[port].callers.remove(&mut self.threads, thread);
        if self.ports[port].callers.is_empty() && !self.ports[port].dead {
            self.leave_pending(port, self.ports[port].endpoint);
        }
    }

    /// `Receive`, and the second half of `ReplyReceive`.
    pub(crate) fn sys_receive(&mut self, handle: Handle) -> Result<u64, Error> {
        let endpoint = self.object(handle, ObjectType::Endpoint, Rights::RECEIVE)?;
        let thread = self.sched.running();
        if self.receiver_of(endpoint).is_some() {
            return Err(Error::Busy);
        }
        self.abandon_caller(thread);
        if self.take_bound_bits(thread) {
            return Ok(0);
        }
        self.effort = 0;
        match self.take_queued(endpoint, thread)? {
            Taken::One => return Ok(0),
            Taken::NotYet => return Ok(self.again(Syscall::Receive)),
            Taken::None => {}
        }
        let deadline = self.threads[thread].context.frame.r12;
        if deadline != FOREVER && deadline <= self.machine.now() {
            return Err(if deadline == 0 { Error::WouldBlock } else { Error::Timeout });
        }
        self.endpoints[endpoint].receiver = self.threads.link(thread);
        self.block(State::Receiving { endpoint }, deadline);
        Ok(0)
    }

    /// Delivers the first queued message of an endpoint to `receiver`. Callers whose message cannot be taken are sent on their way with the reason, as
    /// many as one entry may.
    fn take_queued(&mut self, endpoint: u32, receiver: u32) -> Result<Taken, Error> {
        while let Some(port) = self.endpoints[endpoint].pending.first() {
            let Some(caller) = self.ports[port].callers.first() else { break };
            if self.effort >= EFFORT {
                return Ok(Taken::NotYet);
            }
            self.effort += 1;
            if let State::Faulted { .. } = self.threads[caller].state {
                self.deliver_fault(caller, receiver, port);
                self.unqueue_caller(port, caller);
                self.threads[caller].state = State::Stopped;
                self.rotate(endpoint, port);
                return Ok(Taken::One);
            }
            if self.is_stopped(caller) {
                continue;
            }
            match self.deliver(caller, receiver, port) {
                Ok(()) => {
                    self.unqueue_caller(port, caller);
                    self.threads[caller].state = State::Awaiting { server: receiver };
                    self.rotate(endpoint, port);
                    return Ok(Taken::One);
                }
                Err(Refusal::Receiver(error)) => return Err(error),
                Err(Refusal::Sender(error)) => {
                    self.unqueue_caller(port, caller);
                    self.finish(caller, error);
                }
            }
        }
        Ok(Taken::None)
    }

    /// A port that was served goes behind the others, so that a busy one cannot starve them.
    fn rotate(&mut self, endpoint: u32, port: u32) {
        if !self.ports[port].callers.is_empty() {
            self.endpoints[endpoint].pending.remove(&mut self.ports, port);
            self.endpoints[endpoint].pending.push_back(&mut self.ports, port);
        }
    }

    /// A port came to this endpoint with callers: a waiting receiver gets the first one.
    pub(crate) fn serve_pending(&mut self, endpoint: u32) {
        let Some(receiver) = self.receiver_of(endpoint) else { return };
        let taken = self.take_queued(endpoint, receiver);
        if taken == Ok(Taken::None) {
            return;
        }
        self.end_receive(endpoint, receiver);
        match taken {
            Err(error) => return self.finish(receiver, error),
            // It receives again, and goes on with those that are left.
            Ok(Taken::NotYet) => self.repeat(receiver, Syscall::Receive),
            Ok(_) => {}
        }
        self.make_ready(receiver);
    }

    /// The thread that waits on an endpoint; one that froze meanwhile does so no more.
    fn receiver_of(&mut self, endpoint: u32) -> Option<u32> {
        let receiver = self.endpoints[endpoint].receiver?.index();
        if self.is_stopped(receiver) { None } else { Some(receiver) }
    }

    fn end_receive(&mut self, endpoint: u32, receiver: u32) {
        self.endpoints[endpoint].receiver = None;
        self.timers.remove(receiver);
    }

    /// Hands a call to a receiver. On success the caller is the one that the receiver owes an answer.
    fn deliver(&mut self, caller: u32, receiver: u32, port: u32) -> Result<(), Refusal> {
        let info = self.transfer(caller, receiver)?;
        let badge = self.ports[port].badge;
        let serial = self.sandboxes[self.threads[caller].sandbox].serial;
        self.threads[receiver].serving = self.threads.link(caller);
        let frame = &mut self.threads[receiver].context.frame;
        (frame.rax, frame.rdi, frame.rsi, frame.r12) = (0, badge, info.with_kind(Kind::Call).0, serial);
        Ok(())
    }

    /// Hands the fault of a sandbox to a receiver.
    pub(crate) fn deliver_fault(&mut self, thread: u32, receiver: u32, port: u32) {
        let sandbox = &self.sandboxes[self.threads[thread].sandbox];
        let (words, serial, badge) = (sandbox.fault, sandbox.serial, self.ports[port].badge);
        let frame = &mut self.threads[receiver].context.frame;
        (frame.rax, frame.rdi, frame.r12) = (0, badge, serial);
        frame.rsi = MessageInfo::new(serial as u32).with_kind(Kind::Fault).0;
        [frame.rdx, frame.r10, frame.r8, frame.r9] = words;
    }

    /// Copies words, inline bytes and capabilities from one thread to another; all or nothing.
    fn transfer(&mut self, from: u32, to: u32) -> Result<MessageInfo, Refusal> {
        let frame = &self.threads[from].context.frame;
        let (info, words) = (MessageInfo(frame.rsi), [frame.rdx, frame.r10, frame.r8, frame.r9]);
        if info.inline_len() + info.caps() > 0 {
            self.transfer_buffer(from, to, info)?;
        }
        let frame = &mut self.threads[to].context.frame;
        [frame.rdx, frame.r10, frame.r8, frame.r9] = words;
        Ok(info)
    }

    fn transfer_buffer(&mut self, from: u32, to: u32, info: MessageInfo) -> Result<(), Refusal> {
        let bytes = size_of::<IpcBuffer>() as u64;
        let (source, target) = (self.threads[from].context.frame.r13, self.threads[to].context.frame.r13);
        let (sender, receiver) = (self.threads[from].sandbox, self.threads[to].sandbox);
        if target == 0 {
            // A server of register words alone must not be stuck behind such a message.
            return Err(Refusal::Sender(Error::NoReceiveSlot));
        }
        let source = self.user_range(sender, source, bytes, true).map_err(Refusal::Sender)?;
        let target = self.user_range(receiver, target, bytes, true).map_err(Refusal::Receiver)?;
        if source.abs_diff(target) < bytes {
            return Err(Refusal::Sender(Error::NoReceiveSlot));
        }
        self.transfer_caps(sender, source, receiver, target, info.caps())?;
        let length = info.inline_len();
        if length > 0 {
            self.machine.copy(source + DATA_OFFSET as u64, target + DATA_OFFSET as u64, length as u64);
        }
        Ok(())
    }

    fn transfer_caps(
        &mut self,
        sender: u32,
        source: u64,
        receiver: u32,
        target: u64,
        count: usize,
    ) -> Result<(), Refusal> {
        let mut sends = [SendCap { slot: 0, mode: 0, rights: 0, reserved: 0 }; MAX_CAPS];
        let mut places = [(0u32, 0u32); MAX_CAPS];
        let mut work = 0;
        for n in 0..count.min(MAX_CAPS) {
            self.machine.read(source + (n * size_of::<SendCap>()) as u64, sends[n].as_bytes_mut());
            let from = self.sendable(sender, sends[n]).map_err(Refusal::Sender)?;
            let mut slot = [0; 4];
            self.machine.read(target + (RECEIVE_SLOTS_OFFSET + n * 4) as u64, &mut slot);
            let to = self
                .empty_slot(receiver, Handle::from_le_bytes(slot))
                .map_err(|_| Refusal::Sender(Error::NoReceiveSlot))?;
            if places[..n].iter().any(|&(f, t)| t == to || f == from) {
                return Err(Refusal::Sender(Error::InvalidArgument));
            }
            if sends[n].mode == SendCap::MOVE {
                work += self.work_of_move(from, receiver);
            }
            if work > MOVE_EFFORT {
                return Err(Refusal::Sender(Error::Mapped));
            }
            places[n] = (from, to);
        }
        for n in 0..count.min(MAX_CAPS) {
            let (from, to) = places[n];
            if sends[n].mode == SendCap::MOVE {
                self.relocate_cap(from, to, receiver);
            } else {
                self.copy_cap(from, to, receiver, Rights::from_bits_truncate(sends[n].rights));
            }
        }
        Ok(())
    }

    fn sendable(&self, sender: u32, send: SendCap) -> Result<u32, Error> {
        let (place, cap) = self.filled_place(self.link_to(sender)?, send.slot)?;
        if send.mode == SendCap::COPY && !cap.rights.contains(Rights::COPY) {
            return Err(Error::MissingRights);
        }
        if send.mode > SendCap::MOVE {
            return Err(Error::InvalidArgument);
        }
        Ok(place)
    }

    /// `Reply`.
    pub(crate) fn sys_reply(&mut self) -> Result<u64, Error> {
        let caller = self.answer_caller()?;
        self.make_ready(caller);
        Ok(0)
    }

    /// `ReplyReceive`: a caller that is gone does not keep the server from the next one. When no call waits, the caller goes on in its place.
    pub(crate) fn sys_reply_receive(&mut self, handle: Handle) -> Result<u64, Error> {
        let answered = match self.answer_caller() {
            Ok(caller) => Some(caller),
            Err(Error::CallerGone) => None,
            Err(error) => return Err(error),
        };
        let received = self.sys_receive(handle);
        match answered {
            Some(caller) if self.sched.current().is_none() => self.hand_to(caller),
            Some(caller) => self.make_ready(caller),
            None => {}
        }
        received
    }

    /// Hands the answer to the caller that this thread owes one; who it is. Nobody has made it ready yet.
    fn answer_caller(&mut self) -> Result<u32, Error> {
        let thread = self.sched.running();
        self.check_outgoing(thread)?;
        let Some(caller) = self.threads[thread].serving else { return Err(Error::CallerGone) };
        let owed = self.threads.follow(caller).is_some_and(|c| c.state == State::Awaiting { server: thread });
        let caller = caller.index();
        if !owed || self.is_stopped(caller) {
            self.threads[thread].serving = None;
            return Err(Error::CallerGone);
        }
        match self.transfer(thread, caller) {
            Ok(info) => {
                self.threads[thread].serving = None;
                self.timers.remove(caller);
                let frame = &mut self.threads[caller].context.frame;
                (frame.rax, frame.rsi) = (0, info.with_kind(Kind::Call).0);
                Ok(caller)
            }
            Err(Refusal::Sender(Error::NoReceiveSlot) | Refusal::Receiver(_)) => {
                self.threads[thread].serving = None;
                self.finish(caller, Error::NoReceiveSlot);
                Err(Error::NoReceiveSlot)
            }
            Err(Refusal::Sender(error)) => Err(error),
        }
    }

    /// Whoever waits for an answer of this thread will not get one.
    pub(crate) fn abandon_caller(&mut self, thread: u32) {
        let Some(caller) = self.threads[thread].serving.take() else { return };
        if self.threads.follow(caller).is_some_and(|c| c.state == State::Awaiting { server: thread }) {
            self.finish(caller.index(), Error::ServerDied);
        }
    }

    /// A blocked thread that is on no queue any more goes on with an error, and waits for no deadline.
    pub(crate) fn finish(&mut self, thread: u32, error: Error) {
        self.timers.remove(thread);
        self.threads[thread].context.frame.rax = error.code();
        self.make_ready(thread);
    }

    /// Takes a blocked thread out of whatever it waits in.
    pub(crate) fn unblock(&mut self, thread: u32) {
        self.timers.remove(thread);
        match self.threads[thread].state {
            State::Ready => self.unready(thread),
            State::Queued { port } | State::Faulted { port } => self.unqueue_caller(port, thread),
            State::Awaiting { server } => {
                if self.threads[server].serving.map(Link::index) == Some(thread) {
                    self.threads[server].serving = None;
                }
            }
            State::Receiving { endpoint } => self.endpoints[endpoint].receiver = None,
            State::Waiting { notification } => self.notifications[notification].waiter = None,
            State::Stopped => {}
        }
    }

    /// A deadline passed.
    pub(crate) fn timed_out(&mut self, thread: u32) {
        self.unblock(thread);
        self.finish(thread, Error::Timeout);
    }
}
