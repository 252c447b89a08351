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
use crate::objects::{Header, ObjectRef, Sandbox};
use crate::pool::Link;
use hic_abi::audit::Event;
use hic_abi::syscall::Syscall;
use hic_abi::{Error, Handle, ObjectType, Rights};

/// Whether more is kept of capabilities of this type than their number: who may send to a port, who holds memory, what is mapped in a device.
const fn keeps_lists(kind: ObjectType) -> bool {
    const THEY_DO: u32 = 1 << ObjectType::Port as u32
        | 1 << ObjectType::Region as u32
        | 1 << ObjectType::Mmio as u32
        | 1 << ObjectType::Clock as u32
        | 1 << ObjectType::Device as u32;
    THEY_DO >> (kind as u32 % u32::BITS) & 1 != 0
}

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
        self.fill(place, Cap { object, rights, owner }, None);
    }

    /// Fills an empty slot, for who has looked that the object and the owner live; `parent` is the slot that it derives from.
    fn fill(&mut self, place: u32, cap: Cap, parent: Option<u32>) {
        let filled = self.link_to(cap.owner).and_then(|space| self.fill_in(space, place, cap, parent));
        debug_assert!(filled.is_ok(), "the object or the owner is gone");
    }

    /// Fills an empty slot of its owner's space and counts the capability.
    ///
    /// # Errors
    /// [`Error::InvalidHandle`] when the object is gone.
    #[inline(always)]
    pub(crate) fn fill_in(
        &mut self,
        space: Link<Sandbox>,
        place: u32,
        cap: Cap,
        parent: Option<u32>,
    ) -> Result<(), Error> {
        self.header_mut(cap.object).ok_or(Error::InvalidHandle)?.capabilities += 1;
        self.caps.fill(place, cap, parent);
        if keeps_lists(cap.object.kind) {
            self.list(place);
        }
        if let Some(sandbox) = self.sandboxes.follow_mut(space) {
            sandbox.filled += 1;
        }
        Ok(())
    }

    /// A capability of a type of which more is kept than a number.
    #[inline(never)]
    fn list(&mut self, place: u32) {
        let Some(&cap) = self.caps.get(place) else { return };
        if is_mappable(cap.object.kind) {
            self.caps.link_peer(place);
        } else if cap.object.kind == ObjectType::Port && cap.rights.contains(Rights::SEND) {
            self.ports[cap.object.id.index].senders += 1;
        }
    }

    /// Copies a capability to an empty place, with no more rights than it has.
    pub(crate) fn copy_cap(&mut self, from: u32, to: u32, owner: u32, rights: Rights) {
        let Some(&cap) = self.caps.get(from) else { return };
        self.fill(to, Cap { rights: cap.rights & rights, owner, ..cap }, Some(from));
    }

    /// Moves a capability to an empty place. A transaction and a message cannot stop half-way: all of it, now. It is no more than [`MOVE_EFFORT`](crate::config::MOVE_EFFORT), they have looked.
    pub(crate) fn relocate_cap(&mut self, from: u32, to: u32, owner: u32) {
        if let Some(cap) = self.caps.get(from)
            && let (Some(before), Some(after)) = (self.sandboxes.link(cap.owner), self.sandboxes.link(owner))
        {
            while !self.relocate_listed(from, to, before, after) {}
        }
    }

    #[inline(always)]
    fn count_move(&mut self, before: Link<Sandbox>, after: Link<Sandbox>) {
        if let Some((before, after)) = self.sandboxes.follow_two(before, after) {
            (before.filled, after.filled) = (before.filled - 1, after.filled + 1);
        }
    }

    /// Moves a capability of a type of which more is kept than a number; `false`: more mappings would hang on nothing then than one entry may
    /// end, and it stays where it is until the rest is done.
    #[inline(never)]
    fn relocate_listed(&mut self, from: u32, to: u32, before: Link<Sandbox>, after: Link<Sandbox>) -> bool {
        let Some(&cap) = self.caps.get(from) else { return true };
        let mappable = is_mappable(cap.object.kind);
        if before != after && mappable {
            self.effort = 0;
            if !self.unmap_lost(cap, from, Some(after.index())) {
                return false;
            }
        }
        if mappable {
            self.caps.unlink_peer(from);
        }
        self.caps.relocate(from, to, Cap { owner: after.index(), ..cap });
        if mappable {
            self.caps.link_peer(to);
        }
        self.count_move(before, after);
        true
    }

    /// Empties a slot; the object dies with its last capability, but for a thread, which lives as long as its sandbox wants it. `false`: more mappings
    /// hang on the capability than one entry may end; the slot stays as it is until the rest is done.
    pub(crate) fn discard(&mut self, place: u32) -> bool {
        let Some(&cap) = self.caps.get(place) else { return true };
        let Some(space) = self.sandboxes.link(cap.owner) else { return true };
        self.discard_from(space, place, cap)
    }

    /// The same for what is in a slot of this space.
    #[inline(always)]
    fn discard_from(&mut self, space: Link<Sandbox>, place: u32, cap: Cap) -> bool {
        let Cap { object, rights, .. } = cap;
        if is_mappable(object.kind) && !self.release(place) {
            return false;
        }
        self.caps.empty(place);
        self.effort += 1;
        if let Some(sandbox) = self.sandboxes.follow_mut(space) {
            sandbox.filled -= 1;
        }
        let Some(header) = self.header_mut(object) else { return true };
        header.capabilities -= 1;
        let last = header.capabilities == 0;
        if object.kind == ObjectType::Port && rights.contains(Rights::SEND) {
            self.drop_senders(object.id.index, 1);
        }
        if last && object.kind != ObjectType::Thread {
            self.destroy(object);
        }
        true
    }

    /// Ends the mappings that hang on a capability which is about to go, and takes it off its list; whether all are ended.
    #[inline(never)]
    fn release(&mut self, place: u32) -> bool {
        let Some(&cap) = self.caps.get(place) else { return true };
        if self.is_live(cap.object) && !self.unmap_lost(cap, place, None) {
            return false;
        }
        self.caps.unlink_peer(place);
        true
    }

    /// Capabilities with SEND are gone: when they were the last, whoever watches the port hears of it (ledger: no-senders).
    fn drop_senders(&mut self, port: u32, gone: u32) {
        let port = &mut self.ports[port];
        port.senders -= gone;
        if gone != 0
            && port.senders == 0
            && let Some((watcher, bits)) = port.watch
        {
            self.signal_id(watcher, bits);
        }
    }

    /// `CapCopy`.
    pub(crate) fn sys_cap_copy(&mut self, args: [u64; 5]) -> Result<u64, Error> {
        let [to_space, to_slot, from_space, from_slot, rights] = args;
        let [own, target, source] = self.two_spaces(to_space as Handle, from_space as Handle)?;
        let from = self.place_in(source, from_slot as Handle)?;
        let cap = *self.caps.get(from).ok_or(Error::InvalidHandle)?;
        if !cap.rights.contains(Rights::COPY) {
            return Err(self.unless_dead(cap.object, Error::MissingRights));
        }
        let to = self.empty_place(target, to_slot as Handle);
        let to = to.map_err(|error| self.unless_dead(cap.object, error))?;
        let rights = cap.rights & Rights::from_bits_truncate(rights as u32);
        let cap = Cap { rights, owner: target.index(), ..cap };
        self.fill_in(target, to, cap, Some(from))?;
        self.record_grant(Event::CapabilityCopied, own, target, source, &cap);
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
        let [own, target, source] = self.two_spaces(to_space, from_space)?;
        let (from, &cap) = self.filled_place(source, from_slot)?;
        let to = self.empty_place(target, to_slot)?;
        if !keeps_lists(cap.object.kind) {
            self.caps.relocate(from, to, Cap { owner: target.index(), ..cap });
            self.count_move(source, target);
        } else if !self.relocate_listed(from, to, source, target) {
            return Ok(self.again(Syscall::CapMove));
        }
        self.record_grant(Event::CapabilityMoved, own, target, source, &cap);
        Ok(0)
    }

    /// `CapDelete`.
    pub(crate) fn sys_cap_delete(&mut self, space: Handle, slot: Handle) -> Result<u64, Error> {
        let own = self.own_space()?;
        let space = self.space_of(own, space)?;
        let place = self.place_in(space, slot)?;
        let cap = *self.caps.get(place).ok_or(Error::InvalidHandle)?;
        self.effort = 0;
        if !self.discard_from(space, place, cap) {
            return Ok(self.again(Syscall::CapDelete));
        }
        self.record_grant(Event::CapabilityDeleted, own, space, space, &cap);
        Ok(0)
    }

    /// `CapRevoke`. All that derive from a capability name its object, which that one keeps alive.
    pub(crate) fn sys_cap_revoke(&mut self, space: Handle, slot: Handle) -> Result<u64, Error> {
        let space = self.space_of(self.own_space()?, space)?;
        let (place, &Cap { object, .. }) = self.filled_place(space, slot)?;
        let deleted = if is_memory(object.kind) {
            self.prune_memory(place, object.id.index)
        } else if is_mappable(object.kind) {
            self.prune_mapped(place)
        } else {
            self.prune(place, object)
        };
        self.record(Event::Revoked, 0, object.kind as u64, deleted, [0; 32]);
        let done = self.caps.child(place).is_none();
        Ok(if done { 0 } else { self.again(Syscall::CapRevoke) })
    }

    /// Deletes what derives from a capability on which no mappings hang, as much as one entry may; how many.
    fn prune(&mut self, place: u32, object: ObjectRef) -> u64 {
        let (sandboxes, mut senders) = (&mut self.sandboxes, 0);
        let deleted = self.caps.prune(place, EFFORT, |cap| {
            sandboxes[cap.owner].filled -= 1;
            senders += u32::from(cap.rights.contains(Rights::SEND));
        });
        if let Some(header) = self.header_mut(object) {
            header.capabilities -= deleted;
        }
        if object.kind == ObjectType::Port {
            self.drop_senders(object.id.index, senders);
        }
        u64::from(deleted)
    }

    /// The same for one on a device: what was mapped in it by each of them has to be ended.
    fn prune_mapped(&mut self, place: u32) -> u64 {
        let mut deleted = 0;
        self.effort = 0;
        while self.effort < EFFORT
            && let Some(descendant) = self.caps.next_to_revoke(place)
            && self.discard(descendant)
        {
            deleted += 1;
        }
        deleted
    }

    /// `CapInfo`.
    pub(crate) fn sys_cap_info(&mut self, space: Handle, slot: Handle) -> Result<u64, Error> {
        let space = self.space_of(self.own_space()?, space)?;
        let (_, &Cap { object, rights, .. }) = self.filled_place(space, slot)?;
        self.answer_two(object.kind as u64, u64::from(rights.bits()))
    }

    /// The caller's own space, and the two that these of its handles name; mostly they are one.
    #[inline(always)]
    fn two_spaces(&self, to: Handle, from: Handle) -> Result<[Link<Sandbox>; 3], Error> {
        let own = self.own_space()?;
        let target = self.space_of(own, to)?;
        let source = if from == to { target } else { self.space_of(own, from)? };
        Ok([own, target, source])
    }

    /// What is wrong first: a handle whose object is gone, then `error`.
    #[cold]
    fn unless_dead(&self, object: ObjectRef, error: Error) -> Error {
        if self.is_live(object) { error } else { Error::InvalidHandle }
    }

    /// The record of a capability that came into a space or went out of it, by the hand of another sandbox; one's own space is one's own affair.
    #[inline(always)]
    pub(crate) fn record_grant(
        &mut self,
        event: Event,
        own: Link<Sandbox>,
        target: Link<Sandbox>,
        source: Link<Sandbox>,
        cap: &Cap,
    ) {
        if target == own && source == own {
            return;
        }
        let (Some(own), Some(concerned)) = (self.sandboxes.follow(own), self.sandboxes.follow(target)) else {
            return;
        };
        let (actor, subject) = (own.serial, concerned.serial);
        let (a, b) =
            (cap.object.kind as u64 | u64::from(cap.object.id.index) << 32, cap.rights.bits().into());
        let entry = Entry { nanos: self.machine.now(), actor, subject, event, a, b };
        self.audit.append(&entry, &[0; 32]);
    }
}
