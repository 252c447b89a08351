//! How objects begin and end (`docs/book/objects.md`, "Accounts" and "The life of a sandbox").

use super::state::{
    Account, Body, Doing, Endpoint, Id, Model, Notification, Port, Registers, Sandbox, Thread,
};
use super::turns::Time;
use hic_abi::audit::Event;
use hic_abi::message::Fault;
use hic_abi::object::MAX_PRIORITY;
use hic_abi::{Error, ObjectType, Rights, USER_BASE};
use std::collections::VecDeque;
use std::format;

/// Whether the bytes of a name up to the first zero are no control characters; those here are ASCII.
fn is_clean(name: &[u64; 4]) -> bool {
    let bytes = name.iter().flat_map(|word| word.to_le_bytes());
    bytes.take_while(|byte| *byte != 0).all(|byte| byte >= b' ' && byte != 0x7f)
}

impl Model {
    /// `made` is what the kernel returned: an address or a serial number.
    pub fn do_create(&mut self, thread: Id, caller: Id, args: [u64; 5], made: u64) -> Result<u64, Error> {
        let [account, kind, slot, a, b] = args;
        let account = self.object(caller, account, ObjectType::Account, Rights::CHARGE)?;
        let kind = ObjectType::from_number(kind).ok_or(Error::InvalidArgument)?;
        let place = self.vacant(caller, slot)?;
        let object = match kind {
            ObjectType::Account => self.create_account(caller, account, a)?,
            ObjectType::Sandbox => self.create_sandbox(caller, account, a, made)?,
            ObjectType::Region => {
                self.check_channel(caller, b)?;
                self.create_region(account, a, made)?
            }
            ObjectType::Endpoint => self.charged(account, Body::Endpoint(Endpoint::default()))?,
            ObjectType::Notification => self.charged(account, Body::Notification(Notification::default()))?,
            ObjectType::Port => {
                let endpoint = self.object(caller, a, ObjectType::Endpoint, Rights::MANAGE)?;
                let (queue, watch, switches) = (VecDeque::new(), None, 0);
                self.charged(account, Body::Port(Port { endpoint, badge: b, queue, watch, switches }))?
            }
            ObjectType::IoPorts => self.create_ports(caller, account, a, b)?,
            _ => return Err(Error::InvalidArgument),
        };
        self.give(place, object, Rights::all(), None);
        let known = matches!(kind, ObjectType::Sandbox | ObjectType::Region);
        self.thread_mut(thread).registers.rdi = if known { made } else { 0 };
        Ok(0)
    }

    /// Whether memory can be a channel between those whom a caller names; 0 is memory for nobody in particular. What a channel is used for is tested by
    /// itself (`tests/channels.rs`): random words name no two sandboxes.
    fn check_channel(&self, caller: Id, spec: u64) -> Result<(), Error> {
        if spec == 0 {
            return Ok(());
        }
        let [one, other]: [u64; 2] = self.read_words(caller, spec)?;
        let (one, other) = (self.space(caller, one)?, self.space(caller, other)?);
        if one == other { Err(Error::InvalidArgument) } else { Ok(()) }
    }

    /// A part of a range of I/O ports, without those of the interrupt controllers and of PCI configuration.
    fn create_ports(&mut self, caller: Id, account: Id, whole: u64, part: u64) -> Result<Id, Error> {
        let whole = self.object(caller, whole, ObjectType::IoPorts, Rights::MANAGE)?;
        let Body::Ports(first, all) = self.objects[&whole].body else {
            panic!("{whole} is no range of ports")
        };
        let (base, count) = (part & 0xffff, part >> 16 & 0xffff_ffff);
        let kernel = |port: &u64| matches!(port, 0x20..0x22 | 0xa0..0xa2 | 0xcf8..0xd00);
        let inside = base >= first && base + count <= first + all;
        if count == 0 || !inside || (base..base + count).any(|port| kernel(&port)) {
            return Err(Error::InvalidArgument);
        }
        self.charged(account, Body::Ports(base, count))
    }

    pub fn charged(&mut self, account: Id, body: Body) -> Result<Id, Error> {
        if self.objects_left(account) == 0 {
            return Err(Error::NoMemory);
        }
        Ok(self.add(Some(account), body))
    }

    fn create_account(&mut self, caller: Id, parent: Id, spec: u64) -> Result<Id, Error> {
        let [frames, objects, name @ ..]: [u64; 6] = self.read_words(caller, spec)?;
        if !is_clean(&name) {
            return Err(Error::InvalidArgument);
        }
        // The account is itself one object of its parent's.
        let objects_left = self.objects_left(parent).checked_sub(1).ok_or(Error::NoMemory)?;
        if self.frames_left(parent) < frames || objects_left < objects {
            return Err(Error::NoMemory);
        }
        let p = self.account_mut(parent);
        p.frames_limit -= frames;
        p.objects_limit -= objects;
        let account = Account { frames_limit: frames, objects_limit: objects, name };
        self.record(Event::AccountCreated, 0, frames, objects, name);
        Ok(self.add(Some(parent), Body::Account(account)))
    }

    fn create_sandbox(&mut self, caller: Id, account: Id, spec: u64, serial: u64) -> Result<Id, Error> {
        let spec: [u64; 13] = self.read_words(caller, spec)?;
        let [slots, priority, budget, period, hard, n0, n1, n2, n3, purpose @ ..] = spec;
        let name = [n0, n1, n2, n3];
        let slots_fit = slots.is_power_of_two() && (64..=65_536).contains(&slots);
        if !slots_fit || !share_fits(priority, budget, period) || !is_clean(&name) {
            return Err(Error::InvalidArgument);
        }
        if self.objects_left(account) == 0 || self.frames_left(account) < 1 + slots / 64 {
            return Err(Error::NoMemory);
        }
        let used = self.all(ObjectType::Sandbox).iter().any(|id| self.sandbox(*id).serial >= serial);
        if used {
            self.complaints.push(format!("serial number {serial} again"));
        }
        self.record(Event::SandboxCreated, serial, 0, 0, name);
        self.record(Event::Purpose, serial, 0, 0, purpose);
        let time = Time { budget, period, hard: hard != 0, born: self.now, ..Time::default() };
        let sandbox = Sandbox { serial, slots, priority, name, time, ..Sandbox::default() };
        Ok(self.add(Some(account), Body::Sandbox(sandbox)))
    }

    pub fn do_thread(&mut self, caller: Id, args: [u64; 5]) -> Result<u64, Error> {
        let [account, space, slot, spec, _] = args;
        let account = self.object(caller, account, ObjectType::Account, Rights::CHARGE)?;
        let sandbox = self.space(caller, space)?;
        if self.sandbox(sandbox).frozen {
            return Err(Error::WrongState);
        }
        let place = if slot as u32 == 0 { None } else { Some(self.vacant(caller, slot)?) };
        let [entry, stack, argument]: [u64; 3] = self.read_words(caller, spec)?;
        let user = USER_BASE..2 * USER_BASE;
        if !user.contains(&entry) || !user.contains(&stack) {
            return Err(Error::BadAddress);
        }
        if self.objects_left(account) == 0 {
            return Err(Error::NoMemory);
        }
        let thread = self.new_thread(account, sandbox, entry, argument);
        if let Some(place) = place {
            self.give(place, thread, Rights::all(), None);
        }
        Ok(0)
    }

    pub fn new_thread(&mut self, account: Id, sandbox: Id, entry: u64, argument: u64) -> Id {
        let registers = Registers { rdi: argument, ..Registers::default() };
        let doing = Doing::Ready;
        let thread = Thread { sandbox, doing, deadline: 0, bound: None, entry, registers };
        let thread = self.add(Some(account), Body::Thread(thread));
        self.sandbox_mut(sandbox).threads.push(thread);
        self.wake(thread);
        thread
    }

    /// Stops all threads and tells the fault port. A sandbox without threads reports nothing.
    pub fn freeze(&mut self, sandbox: Id, fault: [u64; 4]) {
        if self.sandbox(sandbox).frozen {
            return;
        }
        let s = self.sandbox_mut(sandbox);
        (s.frozen, s.fault, s.fuse) = (true, fault, (0, 0));
        let (threads, port) = (s.threads.clone(), s.fault_port);
        // Those that have the processor or are about to get it stop first; whoever waited for them is woken in that order.
        let mut stopping = threads.clone();
        stopping.sort_by_key(|thread| self.stops_late(*thread));
        for thread in stopping {
            self.stop(thread);
        }
        let Sandbox { serial, name, .. } = *self.sandbox(sandbox);
        self.record(Event::SandboxFrozen, serial, fault[0], fault[1], name);
        let (Some(first), Some(port)) = (threads.first(), port) else { return };
        if !self.lives(port) {
            return;
        }
        self.thread_mut(*first).doing = Doing::Faulted(port);
        self.enqueue(port, *first);
        let endpoint = self.port(port).endpoint;
        if self.lives(endpoint) {
            self.serve(endpoint);
        }
    }

    fn stop(&mut self, thread: Id) {
        if self.thread(thread).doing == Doing::Ready {
            self.unready(thread);
        }
        self.leave_queue(thread);
        self.thread_mut(thread).doing = Doing::Stopped;
        self.abandon(thread);
    }

    pub fn do_freeze(&mut self, caller: Id, sandbox: u64, reason: u64) -> Result<u64, Error> {
        let sandbox = self.object(caller, sandbox, ObjectType::Sandbox, Rights::MANAGE)?;
        if self.sandbox(sandbox).frozen {
            return Err(Error::WrongState);
        }
        self.freeze(sandbox, [Fault::Frozen as u64, reason, 0, 0]);
        Ok(0)
    }

    pub fn do_reset(&mut self, caller: Id, sandbox: u64) -> Result<u64, Error> {
        let sandbox = self.object(caller, sandbox, ObjectType::Sandbox, Rights::MANAGE)?;
        if !self.sandbox(sandbox).frozen {
            return Err(Error::WrongState);
        }
        self.strip(sandbox);
        self.sandbox_mut(sandbox).frozen = false;
        let Sandbox { serial, name, .. } = *self.sandbox(sandbox);
        self.record(Event::SandboxReset, serial, 0, 0, name);
        Ok(0)
    }

    /// Threads and mappings go; capabilities stay.
    fn strip(&mut self, sandbox: Id) {
        for thread in self.sandbox(sandbox).threads.clone() {
            self.end_thread(thread);
        }
        self.mappings.retain(|mapping| mapping.space != sandbox);
    }

    fn end_thread(&mut self, thread: Id) {
        self.stop(thread);
        let sandbox = self.thread(thread).sandbox;
        self.sandbox_mut(sandbox).threads.retain(|other| *other != thread);
        self.remove(thread);
    }

    pub fn do_fault_port(&mut self, caller: Id, sandbox: u64, port: u64) -> Result<u64, Error> {
        let sandbox = self.object(caller, sandbox, ObjectType::Sandbox, Rights::MANAGE)?;
        let port = self.object(caller, port, ObjectType::Port, Rights::SEND)?;
        self.sandbox_mut(sandbox).fault_port = Some(port);
        Ok(0)
    }

    pub fn do_fuse(&mut self, caller: Id, sandbox: u64, calls: u64, reason: u64) -> Result<u64, Error> {
        let sandbox = self.object(caller, sandbox, ObjectType::Sandbox, Rights::MANAGE)?;
        if self.sandbox(sandbox).frozen {
            return Err(Error::WrongState);
        }
        self.sandbox_mut(sandbox).fuse = (calls, reason);
        Ok(0)
    }

    pub fn do_share(&mut self, caller: Id, args: [u64; 5]) -> Result<u64, Error> {
        let [sandbox, priority, budget, period, hard] = args;
        let sandbox = self.object(caller, sandbox, ObjectType::Sandbox, Rights::MANAGE)?;
        if !share_fits(priority, budget, period) {
            return Err(Error::InvalidArgument);
        }
        let waited = self.leave_for_now(sandbox);
        let born = self.now;
        let changed = self.sandbox_mut(sandbox);
        changed.priority = priority;
        changed.time = Time { budget, period, hard: hard != 0, born, ..changed.time };
        self.share_changed(sandbox, waited);
        Ok(0)
    }

    pub fn do_destroy(&mut self, caller: Id, space: u64, slot: u64) -> Result<u64, Error> {
        let sandbox = self.space(caller, space)?;
        let (place, cap) = self.cap(sandbox, slot)?;
        if !cap.rights.contains(Rights::MANAGE) {
            return Err(Error::MissingRights);
        }
        match cap.kind {
            ObjectType::Account if !self.is_unused(cap.object) => return Err(Error::WrongState),
            ObjectType::Account => self.end_account(cap.object),
            ObjectType::Thread if !self.sandbox(self.thread(cap.object).sandbox).frozen => {
                return Err(Error::WrongState);
            }
            ObjectType::Thread => self.end_thread(cap.object),
            _ => self.end(cap.object),
        }
        self.drop_cap(place);
        self.note(Event::CapabilityDeleted, caller, [sandbox; 2], cap);
        Ok(0)
    }

    /// The last capability on an object is gone.
    pub fn unnamed(&mut self, object: Id) {
        match self.kind(object) {
            // It belongs to its sandbox.
            ObjectType::Thread => {}
            ObjectType::Account if !self.is_unused(object) => {}
            ObjectType::Account => self.end_account(object),
            _ => self.end(object),
        }
    }

    fn end(&mut self, object: Id) {
        match self.kind(object) {
            ObjectType::Sandbox => self.end_sandbox(object),
            ObjectType::Region | ObjectType::Mmio => self.end_region(object),
            ObjectType::Endpoint => {
                if let Some(receiver) = self.who(Doing::Receiving(object)) {
                    self.finish(receiver, Err(Error::Gone));
                }
                for port in self.endpoint(object).turn.clone() {
                    self.fail_callers(port);
                }
                self.remove(object);
            }
            ObjectType::Port => {
                self.fail_callers(object);
                self.remove(object);
            }
            ObjectType::Notification => {
                if let Some(waiter) = self.who(Doing::Waiting(object)) {
                    self.finish(waiter, Err(Error::Gone));
                }
                self.remove(object);
            }
            ObjectType::Irq | ObjectType::IoPorts => self.remove(object),
            // There is one of each, and it stays.
            _ => {}
        }
    }

    fn fail_callers(&mut self, port: Id) {
        for caller in self.port(port).queue.clone() {
            self.dequeue(port, caller);
            match self.thread(caller).doing {
                Doing::Faulted(_) => self.thread_mut(caller).doing = Doing::Stopped,
                _ => self.finish(caller, Err(Error::Gone)),
            }
        }
    }

    /// Freezes now; it is taken apart at the end of the step.
    fn end_sandbox(&mut self, sandbox: Id) {
        self.sandbox_mut(sandbox).ending = true;
        self.freeze(sandbox, [Fault::Frozen as u64, 0, 0, 0]);
        self.ending.push_back(sandbox);
    }

    /// Takes apart what ended, in order; the end of one sandbox may be the end of others.
    pub fn take_apart(&mut self) {
        while let Some(next) = self.ending.front().copied() {
            self.strip(next);
            for slot in 0..self.sandbox(next).slots as u32 {
                self.drop_cap((next, slot));
            }
            self.ending.pop_front();
            let Sandbox { serial, name, .. } = *self.sandbox(next);
            self.remove(next);
            self.record(Event::SandboxDestroyed, serial, 0, 0, name);
        }
    }

    /// Takes an object out; whoever paid for it may end with it.
    pub fn remove(&mut self, object: Id) {
        let removed = self.objects.remove(&object).expect("it lives");
        if let Some(payer) = removed.payer
            && !self.is_named(payer)
            && self.is_unused(payer)
        {
            self.end_account(payer);
        }
    }

    fn end_account(&mut self, account: Id) {
        let Account { frames_limit, objects_limit, name } = *self.account(account);
        if let Some(parent) = self.objects[&account].payer {
            let parent = self.account_mut(parent);
            parent.frames_limit += frames_limit;
            parent.objects_limit += objects_limit;
        }
        self.record(Event::AccountDestroyed, 0, frames_limit, 0, name);
        self.remove(account);
    }
}

fn share_fits(priority: u64, budget: u64, period: u64) -> bool {
    let budget_fits = budget == 0 || ((1_000_000..=1_000_000_000).contains(&period) && budget <= period);
    priority <= MAX_PRIORITY && budget_fits
}
