//! Calls, receives and replies (`docs/book/ipc.md`).

use super::state::{Doing, Id, Model, Place};
use hic_abi::message::{DATA_OFFSET, Kind, MAX_CAPS, MAX_INLINE, RECEIVE_SLOTS_OFFSET, SendCap};
use hic_abi::{Error, FOREVER, IpcBuffer, MessageInfo, ObjectType, Rights};
use std::vec::Vec;

/// Bytes of a buffer.
const BUFFER: u64 = size_of::<IpcBuffer>() as u64;

/// Who has to hear that a message could not be handed over.
pub enum Blame {
    Sender(Error),
    Receiver(Error),
}

impl Model {
    /// A blocked thread goes on with this result.
    pub fn finish(&mut self, thread: Id, result: Result<u64, Error>) {
        self.thread_mut(thread).registers.rax = result.unwrap_or_else(Error::code);
        self.wake(thread);
    }

    /// The thread that makes the call waits.
    pub fn block(&mut self, thread: Id, doing: Doing, deadline: u64) {
        self.turns.running = None;
        let thread = self.thread_mut(thread);
        (thread.doing, thread.deadline) = (doing, deadline);
    }

    pub fn may_wait_until(&self, deadline: u64) -> Result<(), Error> {
        match deadline {
            0 => Err(Error::WouldBlock),
            FOREVER => Ok(()),
            past if past <= self.now => Err(Error::Timeout),
            _ => Ok(()),
        }
    }

    pub fn enqueue(&mut self, port: Id, thread: Id) {
        self.port_mut(port).queue.push_back(thread);
        let endpoint = self.port(port).endpoint;
        if self.lives(endpoint) && !self.endpoint(endpoint).turn.contains(&port) {
            self.endpoint_mut(endpoint).turn.push_back(port);
        }
    }

    pub fn dequeue(&mut self, port: Id, thread: Id) {
        self.port_mut(port).queue.retain(|caller| *caller != thread);
        let endpoint = self.port(port).endpoint;
        if self.port(port).queue.is_empty() && self.lives(endpoint) {
            self.endpoint_mut(endpoint).turn.retain(|other| *other != port);
        }
    }

    /// What the sender alone can get wrong.
    fn check_message(&self, thread: Id) -> Result<(), Error> {
        let registers = self.thread(thread).registers;
        let info = MessageInfo(registers.rsi);
        if info.inline_len() > MAX_INLINE || info.caps() > MAX_CAPS {
            return Err(Error::InvalidArgument);
        }
        if !registers.r13.is_multiple_of(8) {
            return Err(Error::BadAddress);
        }
        if info.inline_len() + info.caps() > 0 {
            self.range(self.thread(thread).sandbox, registers.r13, BUFFER, true)?;
        }
        Ok(())
    }

    pub fn do_call(&mut self, thread: Id, caller: Id, handle: u64) -> Result<u64, Error> {
        let port = self.object(caller, handle, ObjectType::Port, Rights::SEND)?;
        self.check_message(thread)?;
        let endpoint = self.port(port).endpoint;
        if !self.lives(endpoint) {
            return Err(Error::Gone);
        }
        let deadline = self.thread(thread).registers.r12;
        if let Some(receiver) = self.who(Doing::Receiving(endpoint)) {
            match self.deliver(thread, receiver, port) {
                Ok(()) => {
                    self.thread_mut(receiver).registers.rax = 0;
                    self.block(thread, Doing::Awaiting(receiver), deadline);
                    self.hand_to(receiver);
                    return Ok(0);
                }
                Err(Blame::Sender(error)) => return Err(error),
                Err(Blame::Receiver(error)) => self.finish(receiver, Err(error)),
            }
        }
        if deadline <= self.now {
            return Err(Error::Timeout);
        }
        self.block(thread, Doing::Queued(port), deadline);
        self.enqueue(port, thread);
        Ok(0)
    }

    pub fn do_receive(&mut self, thread: Id, caller: Id, handle: u64) -> Result<u64, Error> {
        let endpoint = self.object(caller, handle, ObjectType::Endpoint, Rights::RECEIVE)?;
        if self.who(Doing::Receiving(endpoint)).is_some() {
            return Err(Error::Busy);
        }
        self.abandon(thread);
        if self.hears_at_once(thread) || self.next_message(endpoint, thread)? {
            return Ok(0);
        }
        let deadline = self.thread(thread).registers.r12;
        self.may_wait_until(deadline)?;
        self.block(thread, Doing::Receiving(endpoint), deadline);
        Ok(0)
    }

    /// Whoever waits for this thread's answer gets none.
    pub fn abandon(&mut self, thread: Id) {
        if let Some(caller) = self.who(Doing::Awaiting(thread)) {
            self.finish(caller, Err(Error::ServerDied));
        }
    }

    /// Takes the first message of an endpoint; whether there was one. Callers whose message cannot be delivered are told so.
    fn next_message(&mut self, endpoint: Id, receiver: Id) -> Result<bool, Error> {
        while let Some(port) = self.endpoint(endpoint).turn.front().copied() {
            let sender = *self.port(port).queue.front().expect("a port with callers");
            let faulted = matches!(self.thread(sender).doing, Doing::Faulted(_));
            if faulted {
                self.deliver_fault(sender, receiver, port);
            } else {
                match self.deliver(sender, receiver, port) {
                    Ok(()) => {}
                    Err(Blame::Receiver(error)) => return Err(error),
                    Err(Blame::Sender(error)) => {
                        self.dequeue(port, sender);
                        self.finish(sender, Err(error));
                        continue;
                    }
                }
            }
            self.dequeue(port, sender);
            self.thread_mut(sender).doing = if faulted { Doing::Stopped } else { Doing::Awaiting(receiver) };
            let turn = &mut self.endpoint_mut(endpoint).turn;
            if turn.front() == Some(&port) {
                turn.rotate_left(1);
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Messages may wait at an endpoint on which a thread receives: it gets the first.
    pub fn serve(&mut self, endpoint: Id) {
        let Some(receiver) = self.who(Doing::Receiving(endpoint)) else { return };
        match self.next_message(endpoint, receiver) {
            Ok(false) => {}
            Ok(true) => self.finish(receiver, Ok(0)),
            Err(error) => self.finish(receiver, Err(error)),
        }
    }

    fn deliver(&mut self, sender: Id, receiver: Id, port: Id) -> Result<(), Blame> {
        let info = self.transfer(sender, receiver)?;
        let badge = self.port(port).badge;
        let serial = self.sandbox(self.thread(sender).sandbox).serial;
        let registers = &mut self.thread_mut(receiver).registers;
        (registers.rdi, registers.rsi, registers.r12) = (badge, info, serial);
        Ok(())
    }

    fn deliver_fault(&mut self, sender: Id, receiver: Id, port: Id) {
        let badge = self.port(port).badge;
        let sandbox = self.sandbox(self.thread(sender).sandbox);
        let (fault, serial) = (sandbox.fault, sandbox.serial);
        let registers = &mut self.thread_mut(receiver).registers;
        (registers.rdi, registers.r12) = (badge, serial);
        registers.rsi = MessageInfo::new(serial as u32).with_kind(Kind::Fault).0;
        [registers.rdx, registers.r10, registers.r8, registers.r9] = fault;
    }

    /// Words, capabilities and bytes from one thread to another, all or nothing; the message word that arrives.
    fn transfer(&mut self, from: Id, to: Id) -> Result<u64, Blame> {
        let sent = self.thread(from).registers;
        let info = MessageInfo(sent.rsi);
        if info.inline_len() + info.caps() > 0 {
            self.transfer_buffer(from, to, info)?;
        }
        let got = &mut self.thread_mut(to).registers;
        (got.rdx, got.r10, got.r8, got.r9) = (sent.rdx, sent.r10, sent.r8, sent.r9);
        Ok(info.with_kind(Kind::Call).0)
    }

    fn transfer_buffer(&mut self, from: Id, to: Id, info: MessageInfo) -> Result<(), Blame> {
        let (source, target) = (self.thread(from).registers.r13, self.thread(to).registers.r13);
        if target == 0 {
            return Err(Blame::Sender(Error::NoReceiveSlot));
        }
        let (sender, receiver) = (self.thread(from).sandbox, self.thread(to).sandbox);
        let source = self.range(sender, source, BUFFER, true).map_err(Blame::Sender)?;
        let target = self.range(receiver, target, BUFFER, true).map_err(Blame::Receiver)?;
        if source.abs_diff(target) < BUFFER {
            return Err(Blame::Sender(Error::NoReceiveSlot));
        }
        let plan = self.plan_caps(sender, source, receiver, target, info.caps()).map_err(Blame::Sender)?;
        for (from, to, mode, rights) in plan {
            match mode {
                SendCap::MOVE => self.move_cap(from, to),
                _ => self.copy_cap(from, to, rights),
            }
        }
        let data = self.read_bytes(source + DATA_OFFSET as u64, info.inline_len() as u64);
        self.write_bytes(target + DATA_OFFSET as u64, &data);
        Ok(())
    }

    /// Which capabilities go where, how, and with which rights.
    fn plan_caps(
        &self,
        sender: Id,
        source: u64,
        receiver: Id,
        target: u64,
        count: usize,
    ) -> Result<Vec<(Place, Place, u32, u64)>, Error> {
        let word = |at: u64| u32::from_le_bytes(self.read_bytes(at, 4).try_into().expect("4 bytes"));
        let mut plan: Vec<(Place, Place, u32, u64)> = Vec::new();
        for n in 0..count as u64 {
            let at = source + n * size_of::<SendCap>() as u64;
            let (slot, mode, rights) = (word(at), word(at + 4), word(at + 8));
            let (from, cap) = self.cap(sender, slot.into())?;
            if mode == SendCap::COPY && !cap.rights.contains(Rights::COPY) {
                return Err(Error::MissingRights);
            }
            if mode > SendCap::MOVE {
                return Err(Error::InvalidArgument);
            }
            let offered = word(target + RECEIVE_SLOTS_OFFSET as u64 + n * 4);
            let to = self.vacant(receiver, offered.into()).map_err(|_| Error::NoReceiveSlot)?;
            if plan.iter().any(|(f, t, ..)| *f == from || *t == to) {
                return Err(Error::InvalidArgument);
            }
            plan.push((from, to, mode, rights.into()));
        }
        Ok(plan)
    }

    pub fn do_reply(&mut self, thread: Id) -> Result<u64, Error> {
        let caller = self.answer(thread)?;
        self.wake(caller);
        Ok(0)
    }

    /// Hands the answer to the caller to whom the thread owes one; who it is.
    fn answer(&mut self, thread: Id) -> Result<Id, Error> {
        self.check_message(thread)?;
        let caller = self.who(Doing::Awaiting(thread)).ok_or(Error::CallerGone)?;
        match self.transfer(thread, caller) {
            Ok(info) => {
                let caller_thread = self.thread_mut(caller);
                (caller_thread.registers.rax, caller_thread.registers.rsi) = (0, info);
                // It waits for nobody any more, whatever the same call does next.
                caller_thread.doing = Doing::Ready;
                Ok(caller)
            }
            Err(Blame::Sender(Error::NoReceiveSlot) | Blame::Receiver(_)) => {
                self.finish(caller, Err(Error::NoReceiveSlot));
                Err(Error::NoReceiveSlot)
            }
            Err(Blame::Sender(error)) => Err(error),
        }
    }

    /// A caller that is gone does not keep a server from the next one. Where no call waits, the caller that was answered goes on in the server's turn.
    pub fn do_reply_receive(&mut self, thread: Id, caller: Id, handle: u64) -> Result<u64, Error> {
        let answered = match self.answer(thread) {
            Ok(answered) => Some(answered),
            Err(Error::CallerGone) => None,
            Err(error) => return Err(error),
        };
        let received = self.do_receive(thread, caller, handle);
        if let Some(answered) = answered {
            match self.thread(thread).doing {
                Doing::Ready => self.wake(answered),
                _ => self.hand_to(answered),
            }
        }
        received
    }

    /// Time passes; whoever waited long enough goes on.
    pub fn pass(&mut self, nanos: u64) {
        self.now += nanos;
        let late: Vec<Id> = self.waiting().filter(|(at, _)| *at <= self.now).map(|(_, id)| id).collect();
        for thread in late {
            self.time_out(thread);
        }
    }

    pub fn time_out(&mut self, thread: Id) {
        self.leave_queue(thread);
        self.finish(thread, Err(Error::Timeout));
    }

    /// Takes a thread off the port on which it is queued, if it is.
    pub fn leave_queue(&mut self, thread: Id) {
        if let Doing::Queued(port) | Doing::Faulted(port) = self.thread(thread).doing {
            self.dequeue(port, thread);
        }
    }
}
