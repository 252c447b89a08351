//! Capabilities in the hands of sandboxes: given, copied, moved, given up, taken back.
//!
//! [`crate::caps`] keeps slots and the tree and knows nothing of objects. Here every capability is counted by its object, which ends with the
//! last one, and whoever changes what *another* sandbox holds leaves an audit record (docs/adr/0027). All of it is constant time for one
//! capability, but for the mappings that hang on it.

use crate::audit::Entry;
use crate::caps::Cap;
use crate::config::EFFORT;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::memory::{is_mappable, is_memory};
use crate::objects::{Header, ObjectRef};
use hic_abi::audit::Event;
use hic_abi::syscall::Syscall;
use hic_abi::{Error, Handle, ObjectType, Rights};

impl<M: Machine> Kernel<M> {
    /// The header of an object that lives; those that always do share one.
    #[inline(always)]
    fn header_mut(&mut self, object: ObjectRef) -> Option<&mut Header> {
        let id = object.id;
        Some(match object.kind {
            ObjectType::Account => &mut self.accounts.get_mut(id)?.header,
            ObjectType::Sandbox => {
                let sandbox = self.sandboxes.get_mut(id)?;
                if sandbox.condemned {
                    return None;
                }
                &mut sandbox.header
            }
            ObjectType::Thread => &mut self.threads.get_mut(id)?.header,
            ObjectType::Region | ObjectType::Mmio | ObjectType::Clock => {
                &mut self.regions.get_mut(id)?.header
            }
            ObjectType::Endpoint => &mut self.endpoints.get_mut(id)?.header,
            ObjectType::Port => &mut self.ports.get_mut(id)?.header,
            ObjectType::Notification => &mut self.notifications.get_mut(id)?.header,
            ObjectType::Irq => &mut self.irqs.get_mut(id)?.header,
            ObjectType::IoPorts => &mut self.io_ranges.get_mut(id)?.header,
            ObjectType::Device => &mut self.devices.get_mut(id)?.header,
            ObjectType::Audit | ObjectType::Log | ObjectType::Entropy | ObjectType::Power => &mut self.fixed,
        })
    }

    /// Fills an empty slot with a new capability on an object that lives.
    pub(crate) fn grant(&mut self, owner: u32, place: u32, object: ObjectRef, rights: Rights) {
        let filled = self.fill(place, Cap { object, rights, owner }, None);
        debug_assert!(filled.is_ok(), "a new object lives");
    }

    /// Fills an empty slot and counts the capability; `parent` is the slot that it derives from.
    ///
    /// # Errors
    /// [`Error::InvalidHandle`] when the object is gone.
    #[inline(always)]
    fn fill(&mut self, place: u32, cap: Cap, parent: Option<u32>) -> Result<(), Error> {
        self.header_mut(cap.object).ok_or(Error::InvalidHandle)?.capabilities += 1;
        self.caps.fill(place, cap, parent);
        self.sandboxes[cap.owner].filled += 1;
        if cap.object.kind == ObjectType::Port && cap.rights.contains(Rights::SEND) {
            self.ports[cap.object.id.index].senders += 1;
        }
        if is_memory(cap.object.kind) {
            self.caps.link_peer(place);
        }
        Ok(())
    }

    /// Copies a capability to an empty place, with no more rights than it has.
    #[inline(always)]
    pub(crate) fn copy_cap(&mut self, from: u32, to: u32, owner: u32, rights: Rights) {
        let Some(&cap) = self.caps.get(from) else { return };
        let filled = self.fill(to, Cap { rights: cap.rights & rights, owner, ..cap }, Some(from));
        debug_assert!(filled.is_ok(), "who copies has looked that the object lives");
    }

    /// Moves a capability to an empty place.
    pub(crate) fn relocate_cap(&mut self, from: u32, to: u32, owner: u32) {
        if let Some(&cap) = self.caps.get(from) {
            self.relocate(cap, from, to, owner);
        }
    }

    /// Moves this capability; a mapping stays behind only where a capability does.
    #[inline(always)]
    fn relocate(&mut self, cap: Cap, from: u32, to: u32, owner: u32) {
        let Cap { object, owner: before, .. } = cap;
        if is_memory(object.kind) {
            self.caps.unlink_peer(from);
        }
        self.caps.relocate(from, to, owner);
        if is_memory(object.kind) {
            self.caps.link_peer(to);
        }
        if before == owner {
            return;
        }
        self.sandboxes[before].filled -= 1;
        self.sandboxes[owner].filled += 1;
        if is_mappable(object.kind) && self.is_live(object) {
            // A transaction and a message cannot stop half-way: all of it, now.
            while !self.unmap_lost(before, object, from) {
                self.effort = 0;
            }
        }
    }

    /// Empties a slot; the object dies with its last capability, but for a thread, which lives as long as its sandbox wants it. `false`: more mappings
    /// hang on the capability than one entry may end; the slot stays as it is until the rest is done.
    #[inline(always)]
    pub(crate) fn discard(&mut self, place: u32) -> bool {
        let Some(&Cap { object, rights, owner }) = self.caps.get(place) else { return true };
        if is_mappable(object.kind) && self.is_live(object) && !self.unmap_lost(owner, object, place) {
            return false;
        }
        if is_memory(object.kind) {
            self.caps.unlink_peer(place);
        }
        self.caps.empty(place);
        self.effort += 1;
        self.sandboxes[owner].filled -= 1;
        let Some(header) = self.header_mut(object) else { return true };
        header.capabilities -= 1;
        let last = header.capabilities == 0;
        if object.kind == ObjectType::Port && rights.contains(Rights::SEND) {
            self.drop_sender(object.id.index);
        }
        if last && object.kind != ObjectType::Thread {
            self.destroy(object);
        }
        true
    }

    /// A capability with SEND is gone: when it was the last, whoever watches the port hears of it (ledger: no-senders).
    fn drop_sender(&mut self, port: u32) {
        let port = &mut self.ports[port];
        port.senders -= 1;
        if port.senders == 0
            && let Some((watcher, bits)) = port.watch
        {
            self.signal_id(watcher, bits);
        }
    }

    /// `CapCopy`.
    pub(crate) fn sys_cap_copy(&mut self, args: [u64; 5]) -> Result<u64, Error> {
        let [to_space, to_slot, from_space, from_slot, rights] = args;
        let caller = self.caller();
        let owner = self.space_of(caller, to_space as Handle)?;
        let source = self.space_of(caller, from_space as Handle)?;
        let from = self.slot(source, from_slot as Handle)?;
        let cap = *self.caps.get(from).ok_or(Error::InvalidHandle)?;
        if !cap.rights.contains(Rights::COPY) {
            return Err(self.unless_dead(cap.object, Error::MissingRights));
        }
        let to = self.empty_slot(owner, to_slot as Handle);
        let to = to.map_err(|error| self.unless_dead(cap.object, error))?;
        let rights = cap.rights & Rights::from_bits_truncate(rights as u32);
        let cap = Cap { rights, owner, ..cap };
        self.fill(to, cap, Some(from))?;
        if owner != caller || source != caller {
            self.record_grant(Event::CapabilityCopied, caller, owner, cap);
        }
        Ok(0)
    }

    /// `CapMove`.
    pub(crate) fn sys_cap_move(
        &mut self,
        to_space: Handle,
        to_slot: Handle,
        from_space: Handle,
        from_slot: Handle,
    ) -> Result<u64, Error> {
        let caller = self.caller();
        let owner = self.space_of(caller, to_space)?;
        let source = self.space_of(caller, from_space)?;
        let (from, &cap) = self.filled_slot(source, from_slot)?;
        let to = self.empty_slot(owner, to_slot)?;
        self.relocate(cap, from, to, owner);
        if owner != caller || source != caller {
            self.record_grant(Event::CapabilityMoved, caller, owner, cap);
        }
        Ok(0)
    }

    /// `CapDelete`.
    pub(crate) fn sys_cap_delete(&mut self, space: Handle, slot: Handle) -> Result<u64, Error> {
        let caller = self.caller();
        let sandbox = self.space_of(caller, space)?;
        let place = self.slot(sandbox, slot)?;
        let cap = *self.caps.get(place).ok_or(Error::InvalidHandle)?;
        self.effort = 0;
        if !self.discard(place) {
            return Ok(self.again(Syscall::CapDelete));
        }
        if sandbox != caller {
            self.record_grant(Event::CapabilityDeleted, caller, sandbox, cap);
        }
        Ok(0)
    }

    /// `CapRevoke`.
    pub(crate) fn sys_cap_revoke(&mut self, space: Handle, slot: Handle) -> Result<u64, Error> {
        let sandbox = self.space(space)?;
        let (place, cap) = self.filled_slot(sandbox, slot)?;
        let kind = cap.object.kind;
        let mut deleted = 0;
        self.effort = 0;
        while self.effort < EFFORT
            && let Some(descendant) = self.caps.next_to_revoke(place)
            && self.discard(descendant)
        {
            deleted += 1;
        }
        self.record(Event::Revoked, 0, kind as u64, deleted, [0; 32]);
        let done = self.caps.child(place).is_none();
        Ok(if done { 0 } else { self.again(Syscall::CapRevoke) })
    }

    /// `CapInfo`.
    pub(crate) fn sys_cap_info(&mut self, space: Handle, slot: Handle) -> Result<u64, Error> {
        let sandbox = self.space(space)?;
        let cap = self.cap(sandbox, slot)?;
        self.answer_two(cap.object.kind as u64, u64::from(cap.rights.bits()))
    }

    /// What is wrong first: a handle whose object is gone, then `error`.
    #[cold]
    fn unless_dead(&self, object: ObjectRef, error: Error) -> Error {
        if self.is_live(object) { error } else { Error::InvalidHandle }
    }

    /// The record of a capability that came into a space or went out of it, by the hand of another sandbox.
    #[inline(always)]
    fn record_grant(&mut self, event: Event, caller: u32, concerned: u32, cap: Cap) {
        let (actor, subject) = (self.sandboxes[caller].serial, self.sandboxes[concerned].serial);
        let (a, b) =
            (cap.object.kind as u64 | u64::from(cap.object.id.index) << 32, cap.rights.bits().into());
        let entry = Entry { nanos: self.machine.now(), actor, subject, event, a, b };
        self.audit.append(&entry, &[0; 32]);
    }
}
