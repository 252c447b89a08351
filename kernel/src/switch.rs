//! Switching ports, and transactions: many changes checked and reserved as a whole, then done as a whole.
//!
//! A switch costs the same for one queued caller and for ten thousand: the port moves between two endpoints' lists with its queue. A
//! transaction checks every entry against the state that the entries before it leave, so that the second pass cannot fail.

use crate::config::MOVE_EFFORT;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::objects::{Port, Sandbox};
use crate::pool::{Id, Link};
use hic_abi::audit::Event;
use hic_abi::switch::{Entry, EntryKind, MAX_ENTRIES};
use hic_abi::{Error, Handle, ObjectType, Plain, Rights};

/// An entry after its check: objects instead of handles.
#[derive(Clone, Copy, Debug)]
enum Step {
    None,
    Move { from: u32, to: u32, owner: u32 },
    Switch { port: Link<Port>, endpoint: Id },
    Rebind { irq: u32, notification: u32, bits: u64 },
    Signal { notification: u32, bits: u64 },
}

impl<M: Machine> Kernel<M> {
    /// `PortSwitch`.
    pub(crate) fn sys_port_switch(&mut self, port: Handle, endpoint: Handle) -> Result<u64, Error> {
        let own = self.own_space()?;
        let port = self.switchable(own, port)?;
        let endpoint = self.object_of(own, endpoint, ObjectType::Endpoint, Rights::MANAGE)?;
        let waiting = self.switch_port(port, endpoint);
        self.record(Event::PortSwitched, 0, port.index().into(), endpoint.index.into(), [0; 32]);
        if waiting {
            self.effort = 0;
            self.serve_pending(endpoint.index);
        }
        Ok(0)
    }

    /// The port behind a handle of this space, which its holder may switch.
    #[inline(always)]
    fn switchable(&self, space: Link<Sandbox>, port: Handle) -> Result<Link<Port>, Error> {
        let id = self.named(self.place_in(space, port)?, ObjectType::Port, Rights::MANAGE)?;
        self.ports.find(id).ok_or(Error::InvalidHandle)
    }

    /// Leads a port, with its queue, to another endpoint; whether there is a queue.
    #[inline(always)]
    fn switch_port(&mut self, port: Link<Port>, endpoint: Id) -> bool {
        let Some(switched) = self.ports.follow_mut(port) else { return false };
        switched.switches += 1;
        self.caps.changed();
        let before = core::mem::replace(&mut switched.endpoint, endpoint);
        if switched.callers.is_empty() {
            return false;
        }
        self.move_queue_of(port.index(), before, endpoint);
        true
    }

    /// A port with callers waits for the receiver of another endpoint now.
    fn move_queue_of(&mut self, port: u32, before: Id, endpoint: Id) {
        self.leave_pending(port, before);
        self.endpoints[endpoint.index].pending.push_back(&mut self.ports, port);
    }

    /// `Transaction`. On refusal `rdi` holds the index of the first bad entry, and nothing was done.
    #[inline(never)]
    pub(crate) fn sys_transaction(&mut self, address: u64, count: u64) -> Result<u64, Error> {
        if count == 0 || count > MAX_ENTRIES as u64 {
            return Err(Error::InvalidArgument);
        }
        let mut steps = [Step::None; MAX_ENTRIES];
        let mut entry = Entry::zeroed();
        self.effort = 0;
        // Readable as a whole, as a rule; otherwise the first entry that is not has to be found.
        let (sandbox, own) = (self.caller(), self.own_space()?);
        let whole = self.user_range(sandbox, address, count * size_of::<Entry>() as u64, false).ok();
        for index in 0..count as usize {
            let checked = self
                .copy_entry(address, whole, index, &mut entry)
                .and_then(|()| self.check_entry(own, &entry));
            match checked {
                Ok(step) => steps[index] = step,
                Err(error) => {
                    self.take_back(&steps[..index]);
                    self.answer(index as u64)?;
                    return Err(error);
                }
            }
        }
        self.commit(&steps[..count as usize]);
        self.record(Event::Transaction, 0, count, 0, [0; 32]);
        Ok(0)
    }

    /// Takes back what the entries of a refused transaction had reserved.
    fn take_back(&mut self, steps: &[Step]) {
        for step in steps {
            if let Step::Move { from, to, .. } = *step {
                self.caps.release(from);
                self.caps.release(to);
            }
        }
    }

    fn copy_entry(
        &mut self,
        address: u64,
        whole: Option<u64>,
        index: usize,
        entry: &mut Entry,
    ) -> Result<(), Error> {
        let offset = (index * size_of::<Entry>()) as u64;
        if let Some(physical) = whole {
            self.machine.read(physical + offset, entry.as_bytes_mut());
            return Ok(());
        }
        *entry = self.read_user(address.checked_add(offset).ok_or(Error::BadAddress)?)?;
        Ok(())
    }

    #[inline(always)]
    fn check_entry(&mut self, own: Link<Sandbox>, entry: &Entry) -> Result<Step, Error> {
        let [a, b, c, d] = entry.args;
        match EntryKind::from_number(entry.kind).ok_or(Error::InvalidArgument)? {
            EntryKind::MoveCapability => self.check_move(own, [a, b, c, d].map(|x| x as Handle)),
            EntryKind::SwitchPort => Ok(Step::Switch {
                port: self.switchable(self.space_of(own, a as Handle)?, b as Handle)?,
                endpoint: self.object_of(own, c as Handle, ObjectType::Endpoint, Rights::MANAGE)?,
            }),
            EntryKind::RebindIrq => Ok(Step::Rebind {
                irq: self.object_of(own, a as Handle, ObjectType::Irq, Rights::MANAGE)?.index,
                notification: self.object_of(own, b as Handle, ObjectType::Notification, Rights::SEND)?.index,
                bits: c,
            }),
            EntryKind::Signal => Ok(Step::Signal {
                notification: self.object_of(own, a as Handle, ObjectType::Notification, Rights::SEND)?.index,
                bits: b,
            }),
        }
    }

    /// A capability move inside a transaction: the target must be empty now and not yet promised, the source not yet given away, and no
    /// later entry may rely on a handle that this one moves ([`Error::WrongState`]). What the moves have to unmap must be little ([`Error::Mapped`]).
    fn check_move(&mut self, own: Link<Sandbox>, args: [Handle; 4]) -> Result<Step, Error> {
        let [from_space, from_slot, to_space, to_slot] = args;
        let (source, target) = (self.space_of(own, from_space)?, self.space_of(own, to_space)?);
        let (from, _) = self.filled_place(source, from_slot)?;
        let (to, owner) = (self.empty_place(target, to_slot)?, target.index());
        self.effort += self.work_of_move(from, owner);
        if self.effort > MOVE_EFFORT {
            return Err(Error::Mapped);
        }
        if !self.caps.promise(from) {
            return Err(Error::WrongState);
        }
        if !self.caps.promise(to) {
            self.caps.release(from);
            return Err(Error::WrongState);
        }
        Ok(Step::Move { from, to, owner })
    }

    /// Does what was checked. Nothing here can fail; waiting receivers are served when all is in place.
    fn commit(&mut self, steps: &[Step]) {
        let mut told = false;
        for step in steps {
            match *step {
                Step::Move { from, to, owner } => self.relocate_cap(from, to, owner),
                Step::Switch { port, endpoint } => told |= self.switch_port(port, endpoint),
                Step::Rebind { irq, notification, bits } => self.bind_irq(irq, notification, bits),
                Step::Signal { .. } => told = true,
                Step::None => {}
            }
        }
        self.effort = 0;
        for step in steps.iter().filter(|_| told) {
            match *step {
                Step::Switch { endpoint, .. } => self.serve_pending(endpoint.index),
                Step::Signal { notification, bits } => self.signal(notification, bits),
                _ => {}
            }
        }
    }
}
