//! Notifications, rings, watches and interrupts (`docs/book/ipc.md`, "Notifications").

use super::state::{Doing, Id, Model};
use hic_abi::message::Kind;
use hic_abi::{Error, MessageInfo, ObjectType, Rights};

impl Model {
    /// Sets bits: the thread that waits takes them all, or they end the receive of the bound thread, or they stay. No bits wake nobody.
    pub fn signal(&mut self, notification: Id, bits: u64) {
        if bits == 0 || !self.lives(notification) {
            return;
        }
        self.notification_mut(notification).bits |= bits;
        if let Some(waiter) = self.who(Doing::Waiting(notification)) {
            self.thread_mut(waiter).registers.rdi = self.take_bits(notification);
            self.finish(waiter, Ok(0));
        } else if let Some(bound) = self.bound_to(notification)
            && let Doing::Receiving(_) = self.thread(bound).doing
        {
            self.hear(bound, notification);
            self.finish(bound, Ok(0));
        }
    }

    fn take_bits(&mut self, notification: Id) -> u64 {
        core::mem::take(&mut self.notification_mut(notification).bits)
    }

    /// The bits of a notification become the message that a thread receives.
    fn hear(&mut self, thread: Id, notification: Id) {
        let bits = self.take_bits(notification);
        let registers = &mut self.thread_mut(thread).registers;
        (registers.rdi, registers.rdx) = (0, bits);
        registers.rsi = MessageInfo::new(0).with_kind(Kind::Notification).0;
        (registers.r10, registers.r8, registers.r9, registers.r12) = (0, 0, 0, 0);
    }

    /// Whether the thread's receive ends at once because bits came before.
    pub fn hears_at_once(&mut self, thread: Id) -> bool {
        match self.thread(thread).bound {
            Some(bound) if self.lives(bound) && self.notification(bound).bits != 0 => {
                self.hear(thread, bound);
                true
            }
            _ => false,
        }
    }

    pub fn do_signal(&mut self, caller: Id, handle: u64, bits: u64) -> Result<u64, Error> {
        let (_, cap) = self.cap(caller, handle)?;
        if cap.kind != ObjectType::Port {
            let notification = self.object(caller, handle, ObjectType::Notification, Rights::SEND)?;
            self.signal(notification, bits);
            return Ok(0);
        }
        let port = self.object(caller, handle, ObjectType::Port, Rights::SEND)?;
        let endpoint = self.port(port).endpoint;
        if !self.lives(endpoint) {
            return Err(Error::Gone);
        }
        if let Some(bell) = self.endpoint(endpoint).bell {
            self.signal(bell, bits);
        }
        Ok(0)
    }

    pub fn do_wait(&mut self, thread: Id, caller: Id, handle: u64, deadline: u64) -> Result<u64, Error> {
        let notification = self.object(caller, handle, ObjectType::Notification, Rights::RECEIVE)?;
        if self.notification(notification).bits != 0 {
            self.thread_mut(thread).registers.rdi = self.take_bits(notification);
            return Ok(0);
        }
        if self.who(Doing::Waiting(notification)).is_some() {
            return Err(Error::Busy);
        }
        self.may_wait_until(deadline)?;
        self.block(thread, Doing::Waiting(notification), deadline);
        Ok(0)
    }

    pub fn do_bind(&mut self, thread: Id, caller: Id, handle: u64) -> Result<u64, Error> {
        if handle as u32 == 0 {
            self.thread_mut(thread).bound = None;
            return Ok(0);
        }
        let notification = self.object(caller, handle, ObjectType::Notification, Rights::RECEIVE)?;
        if self.bound_to(notification).is_some_and(|other| other != thread) {
            return Err(Error::Busy);
        }
        self.thread_mut(thread).bound = Some(notification);
        Ok(0)
    }

    pub fn do_endpoint_notify(&mut self, caller: Id, endpoint: u64, bell: u64) -> Result<u64, Error> {
        let endpoint = self.object(caller, endpoint, ObjectType::Endpoint, Rights::RECEIVE)?;
        let bell = self.object(caller, bell, ObjectType::Notification, Rights::SEND)?;
        self.endpoint_mut(endpoint).bell = Some(bell);
        Ok(0)
    }

    pub fn do_watch(&mut self, caller: Id, port: u64, handle: u64, bits: u64) -> Result<u64, Error> {
        let port = self.object(caller, port, ObjectType::Port, Rights::MANAGE)?;
        let watcher = self.object(caller, handle, ObjectType::Notification, Rights::SEND)?;
        self.port_mut(port).watch = Some((watcher, bits));
        if self.senders(port) == 0 {
            self.signal(watcher, bits);
        }
        Ok(0)
    }

    pub fn do_irq_bind(&mut self, caller: Id, irq: u64, handle: u64, bits: u64) -> Result<u64, Error> {
        let irq = self.object(caller, irq, ObjectType::Irq, Rights::MANAGE)?;
        let notification = self.object(caller, handle, ObjectType::Notification, Rights::SEND)?;
        self.bind_irq(irq, notification, bits);
        Ok(0)
    }

    /// An interrupt that nobody heard is heard now.
    pub fn bind_irq(&mut self, irq: Id, notification: Id, bits: u64) {
        self.irq_mut(irq).target = Some((notification, bits));
        if core::mem::take(&mut self.irq_mut(irq).latched) {
            self.signal(notification, bits);
        }
    }

    pub fn do_irq_ack(&mut self, thread: Id, caller: Id, irq: u64) -> Result<u64, Error> {
        let irq = self.object(caller, irq, ObjectType::Irq, Rights::empty())?;
        self.thread_mut(thread).registers.rdi = self.irq(irq).count;
        Ok(0)
    }

    pub fn interrupt(&mut self, irq: Id) {
        self.irq_mut(irq).count += 1;
        match self.irq(irq).target {
            Some((target, bits)) if self.lives(target) => self.signal(target, bits),
            _ => self.irq_mut(irq).latched = true,
        }
    }
}
