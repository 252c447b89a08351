//! How things end: resetting and destroying.
//!
//! Death is not destruction. A sandbox that faults is frozen ([`crate::freeze`]) with everything it holds, until whoever manages it resets or
//! destroys it. Destruction gives back exactly what was charged.

use crate::config::EFFORT;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::memory::is_memory;
use crate::objects::{Backing, ObjectRef, Queue, State};
use crate::pool::{Id, Link, NONE};
use crate::sched::Resched;
use hic_abi::audit::Event;
use hic_abi::message::Fault;
use hic_abi::syscall::Syscall;
use hic_abi::{Error, Handle, ObjectType, Rights};

/// Slots of a destroyed sandbox that are looked at in one step; the size of a space is a multiple of it.
const SWEEP: u32 = 16;

impl<M: Machine> Kernel<M> {
    /// `SandboxShare`.
    pub(crate) fn sys_share(&mut self, [sandbox, share @ ..]: [u64; 5]) -> Result<u64, Error> {
        let sandbox = self.object(sandbox as Handle, ObjectType::Sandbox, Rights::MANAGE)?;
        let share = self.new_share(share)?;
        self.set_share(sandbox, share);
        Ok(0)
    }

    /// `SandboxReset`: threads and mappings go; capabilities, account and name stay.
    pub(crate) fn sys_reset(&mut self, handle: Handle) -> Result<u64, Error> {
        let sandbox = self.object(handle, ObjectType::Sandbox, Rights::MANAGE)?;
        if !self.sandboxes[sandbox].frozen {
            return Err(Error::WrongState);
        }
        self.effort = 0;
        if self.sandboxes[sandbox].queue == Queue::Frozen {
            self.stop_some(sandbox);
        }
        if !self.strip(sandbox) {
            return Ok(self.again(Syscall::SandboxReset));
        }
        self.sandboxes[sandbox].frozen = false;
        let (serial, name) = (self.sandboxes[sandbox].serial, self.sandboxes[sandbox].name);
        self.record(Event::SandboxReset, serial, 0, 0, name);
        Ok(0)
    }

    /// Takes away the threads and mappings of a frozen sandbox, as far as one entry may; whether none are left.
    fn strip(&mut self, sandbox: u32) -> bool {
        while self.effort < EFFORT {
            if !self.strip_one(sandbox) {
                return true;
            }
        }
        false
    }

    /// Takes away a thread or a mapping of a frozen sandbox; whether there was one.
    fn strip_one(&mut self, sandbox: u32) -> bool {
        if let Some(thread) = self.sandboxes[sandbox].threads.first() {
            self.effort += 1;
            self.destroy_thread(thread);
        } else if let Some(mapping) = self.sandboxes[sandbox].mappings.first() {
            self.end_mapping(mapping);
        } else {
            return false;
        }
        true
    }

    fn destroy_thread(&mut self, index: u32) {
        self.stop_thread(index);
        let sandbox = self.threads[index].sandbox;
        if self.sandboxes[sandbox].unstopped == Some(index) {
            self.mark_stopped(sandbox, index);
        }
        self.unbind(index);
        self.sandboxes[sandbox].threads.remove(&mut self.threads, index);
        if let Some(thread) = self.threads.remove(index) {
            self.uncharge_object(thread.header);
        }
    }

    /// Destroys an object that lost its last capability, or whose holder says so.
    pub(crate) fn destroy(&mut self, object: ObjectRef) {
        let index = object.id.index;
        match object.kind {
            ObjectType::Sandbox => self.condemn(index),
            ObjectType::Thread => self.destroy_thread(index),
            ObjectType::Region | ObjectType::Mmio | ObjectType::Clock => self.destroy_region(index),
            ObjectType::Endpoint => self.destroy_endpoint(index),
            ObjectType::Port => self.destroy_port(index),
            ObjectType::Notification => self.destroy_notification(index),
            ObjectType::Irq => self.destroy_irq(index),
            ObjectType::IoPorts => {
                if let Some(range) = self.io_ranges.remove(index) {
                    self.uncharge_object(range.header);
                }
            }
            // One to which something is charged stays.
            ObjectType::Account => self.destroy_account(index).unwrap_or_default(),
            ObjectType::Device
            | ObjectType::Audit
            | ObjectType::Log
            | ObjectType::Entropy
            | ObjectType::Power => {}
        }
    }

    /// Takes a region that is being destroyed out of where it is mapped, as far as one entry may; whether it is mapped nowhere now.
    fn unmap_everywhere(&mut self, index: u32) -> bool {
        self.regions[index].leaving = true;
        while let Some(mapping) = self.regions[index].mappings.first() {
            if self.effort >= EFFORT {
                return false;
            }
            self.withdraw(mapping);
        }
        true
    }

    /// Mappings are there no more, as a rule: either nobody holds a capability on the region, or [`Self::unmap_everywhere`] was called until it was so.
    fn destroy_region(&mut self, index: u32) {
        while let Some(mapping) = self.regions[index].mappings.first() {
            self.withdraw(mapping);
        }
        let Some(region) = self.regions.remove(index) else { return };
        if matches!(region.backing, Backing::Frames | Backing::Channel { .. }) {
            self.return_frames(region.header.account, region.base, region.pages);
        }
        self.uncharge_object(region.header);
    }

    fn destroy_endpoint(&mut self, index: u32) {
        let Some(endpoint) = self.endpoints.remove(index) else { return };
        if let Some(receiver) = endpoint.receiver.map(Link::index) {
            self.finish(receiver, Error::Gone);
        }
        self.closing.append(&mut self.ports, endpoint.pending);
        self.uncharge_object(endpoint.header);
        self.close_some();
    }

    fn destroy_port(&mut self, index: u32) {
        if !self.ports[index].callers.is_empty() {
            self.leave_pending(index, self.ports[index].endpoint);
        }
        self.ports.retire(index);
        self.ports[index].dead = true;
        self.ports[index].endpoint = Id { index: NONE, generation: 1 };
        self.closing.push(&mut self.ports, index, true);
        self.close_some();
    }

    /// Takes a port that has no callers any more, or goes elsewhere with them, off the list on which they wait for a receiver: that of the endpoint to
    /// which it led until now.
    pub(crate) fn leave_pending(&mut self, port: u32, endpoint: Id) {
        if let Some(endpoint) = self.endpoints.get_mut(endpoint) {
            endpoint.pending.remove(&mut self.ports, port);
        } else if self.closing.holds(&self.ports, port) {
            self.closing.remove(&mut self.ports, port);
        }
    }

    /// Sends callers away whom nobody will receive, as many as one entry may.
    fn close_some(&mut self) {
        while self.effort < EFFORT
            && let Some(port) = self.closing.first()
        {
            self.effort += 1;
            match self.ports[port].callers.first() {
                Some(caller) => self.send_away(port, caller),
                None => {
                    self.closing.remove(&mut self.ports, port);
                    if let Some(port) = self.ports.remove(port) {
                        self.uncharge_object(port.header);
                    }
                }
            }
        }
        self.look_after_remains();
    }

    fn send_away(&mut self, port: u32, caller: u32) {
        self.unqueue_caller(port, caller);
        if let State::Faulted { .. } = self.threads[caller].state {
            self.threads[caller].state = State::Stopped;
        } else {
            self.finish(caller, Error::Gone);
        }
    }

    fn destroy_notification(&mut self, index: u32) {
        if let Some(waiter) = self.notifications[index].waiter.take().map(Link::index) {
            self.finish(waiter, Error::Gone);
        }
        if let Some(notification) = self.notifications.remove(index) {
            self.uncharge_object(notification.header);
        }
    }

    /// An account ends only when nothing is charged to it any more; its limits go back to its parent.
    pub(crate) fn destroy_account(&mut self, index: u32) -> Result<(), Error> {
        let account = &self.accounts[index];
        if account.frames_used != 0 || account.objects_used != 0 {
            return Err(Error::WrongState);
        }
        let header = account.header;
        self.end_account(index);
        self.uncharge_object(header);
        Ok(())
    }

    /// Removes an account and gives its limits back; the parent, which still pays for the account itself.
    pub(crate) fn end_account(&mut self, index: u32) -> Option<u32> {
        let account = self.accounts.remove(index)?;
        if let Some(parent) = self.accounts.at_mut(account.header.account) {
            parent.frames_limit += account.frames_limit;
            parent.objects_limit += account.objects_limit;
        }
        self.record(Event::AccountDestroyed, 0, account.frames_limit, 0, account.name);
        Some(account.header.account)
    }

    /// Ends a sandbox: from now on no handle reaches it. Taking it apart may be long, so it queues for [`Self::dismantle_some`]; one that holds
    /// the last capability of another, or of itself, makes no difference.
    fn condemn(&mut self, index: u32) {
        let by = self.actor();
        let sandbox = &mut self.sandboxes[index];
        if core::mem::replace(&mut sandbox.condemned, true) {
            return;
        }
        sandbox.ended_by = by;
        if sandbox.frozen && sandbox.queue != Queue::Frozen {
            self.unfinished.push_back(&mut self.sandboxes, index);
        }
        self.begin_to_freeze(index, [Fault::Frozen as u64, 0, 0, 0]);
        self.look_after_remains();
    }

    /// If something is left to be done in parts, the timer looks after it, whoever runs meanwhile.
    pub(crate) fn look_after_remains(&mut self) {
        if self.has_remains() && self.sched.is_settled() {
            self.sched.resched = Resched::Timed;
        }
    }

    /// Takes condemned sandboxes apart, in a bounded number of steps; whether any is left. Whoever destroys one comes back until it is gone; what
    /// ended with its last capability is taken apart here and there: before another thread is chosen, and when the processor is idle.
    pub fn dismantle_some(&mut self) -> bool {
        self.effort = 0;
        if self.unread {
            self.refusals();
        }
        self.close_some();
        while self.effort < EFFORT
            && let Some(index) = self.unfinished.first()
        {
            match self.sandboxes[index].queue {
                Queue::Frozen => self.stop_some(index),
                _ => {
                    self.on_behalf = Some(self.sandboxes[index].ended_by);
                    self.dismantle(index);
                    self.on_behalf = None;
                }
            }
        }
        self.has_remains()
    }

    /// Whether something is left of what ended.
    #[inline]
    pub(crate) fn has_remains(&self) -> bool {
        !self.unfinished.is_empty() || !self.closing.is_empty() || self.unread
    }

    /// One step: a thread, a mapping, or some slots.
    fn dismantle(&mut self, index: u32) {
        if self.strip_one(index) {
            return;
        }
        self.effort += 1;
        let sandbox = &self.sandboxes[index];
        if sandbox.filled > 0 {
            let first = sandbox.space + sandbox.swept;
            for place in first..first + SWEEP {
                if !self.discard(place) {
                    return;
                }
            }
            self.sandboxes[index].swept += SWEEP;
        } else {
            self.end_sandbox(index);
        }
    }

    fn end_sandbox(&mut self, index: u32) {
        self.leave_address_space(index);
        self.unfinished.remove(&mut self.sandboxes, index);
        let Some(sandbox) = self.sandboxes.remove(index) else { return };
        self.return_space(sandbox.header.account, sandbox.space, sandbox.slots);
        self.return_frames(sandbox.header.account, sandbox.root, 1);
        self.uncharge_object(sandbox.header);
        self.record(Event::SandboxDestroyed, sandbox.serial, 0, 0, sandbox.name);
    }

    /// `Destroy`: the object ends, whoever else holds capabilities on it. A sandbox is taken apart in several calls.
    pub(crate) fn sys_destroy(&mut self, space: Handle, slot: Handle) -> Result<u64, Error> {
        let begun = self.leave_off(self.sched.running(), Syscall::Destroy);
        if let Some(begun) = begun.filter(|begun| begun.kind == ObjectType::Sandbox) {
            return Ok(self.end_further(begun));
        }
        let own = self.own_space()?;
        let space = self.space_of(own, space)?;
        let (place, &cap) = self.filled_place(space, slot)?;
        let ObjectRef { kind, id } = cap.object;
        if !cap.rights.contains(Rights::MANAGE) {
            return Err(Error::MissingRights);
        }
        self.effort = 0;
        match kind {
            ObjectType::Account => self.destroy_account(id.index)?,
            _ if is_memory(kind) && !self.unmap_everywhere(id.index) => {
                return Ok(self.again_with(Syscall::Destroy, cap.object));
            }
            ObjectType::Thread if !self.is_frozen_thread(id.index) => return Err(Error::WrongState),
            _ => self.destroy(cap.object),
        }
        if !self.discard(place) {
            return Ok(self.again(Syscall::Destroy));
        }
        self.record_grant(Event::CapabilityDeleted, own, space, space, &cap);
        Ok(if kind == ObjectType::Sandbox { self.end_further(cap.object) } else { 0 })
    }

    /// Takes a condemned sandbox apart as far as one entry may. The thread comes back until it is gone, whoever does the rest; a thread of the
    /// sandbox itself does not.
    fn end_further(&mut self, begun: ObjectRef) -> u64 {
        let left = self.dismantle_some() && self.sandboxes.is_live(begun.id);
        if left { self.again_with(Syscall::Destroy, begun) } else { 0 }
    }

    /// A thread makes this call, again or not: what it has begun to end or to freeze by it. Memory that nobody is destroying can be mapped.
    pub(crate) fn leave_off(&mut self, thread: u32, call: Syscall) -> Option<ObjectRef> {
        let (by, begun) = self.threads[thread].begun.take()?;
        if is_memory(begun.kind)
            && let Some(region) = self.regions.get_mut(begun.id)
        {
            region.leaving = false;
        }
        (by == call).then_some(begun)
    }
}
