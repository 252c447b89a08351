//! Handles, rights and the derivation tree (`docs/book/objects.md`, "Capabilities").

use super::state::{Cap, Id, Model, Place};
use hic_abi::audit::Event;
use hic_abi::{Error, ObjectType, Rights};
use std::vec;
use std::vec::Vec;

impl Model {
    /// The place that a handle means, filled or not.
    fn place(&self, sandbox: Id, handle: u64) -> Option<Place> {
        let slot = handle as u32;
        (slot != 0 && u64::from(slot) < self.sandbox(sandbox).slots).then_some((sandbox, slot))
    }

    /// The capability that a handle means, when its object lives.
    pub fn cap(&self, sandbox: Id, handle: u64) -> Result<(Place, Cap), Error> {
        let place = self.place(sandbox, handle).ok_or(Error::InvalidHandle)?;
        let cap = self.caps.get(&place).ok_or(Error::InvalidHandle)?;
        if !self.lives(cap.object) {
            return Err(Error::InvalidHandle);
        }
        Ok((place, *cap))
    }

    /// The object that a handle means, when it is of this type and the capability has these rights.
    pub fn object(&self, sandbox: Id, handle: u64, kind: ObjectType, rights: Rights) -> Result<Id, Error> {
        let (_, cap) = self.cap(sandbox, handle)?;
        if cap.kind != kind {
            return Err(Error::WrongType);
        }
        if !cap.rights.contains(rights) {
            return Err(Error::MissingRights);
        }
        Ok(cap.object)
    }

    /// The sandbox whose space is meant: the caller's own, or one that it manages.
    pub fn space(&self, caller: Id, handle: u64) -> Result<Id, Error> {
        if handle as u32 == hic_abi::SELF {
            return Ok(caller);
        }
        self.object(caller, handle, ObjectType::Sandbox, Rights::MANAGE)
    }

    /// A place that can be filled.
    pub fn vacant(&self, sandbox: Id, handle: u64) -> Result<Place, Error> {
        let place = self.place(sandbox, handle).ok_or(Error::SlotUnusable)?;
        if self.caps.contains_key(&place) { Err(Error::SlotUnusable) } else { Ok(place) }
    }

    pub fn give(&mut self, place: Place, object: Id, rights: Rights, parent: Option<u64>) {
        let (number, kind) = (self.number(), self.kind(object));
        self.caps.insert(place, Cap { number, object, kind, rights, parent });
    }

    pub fn copy_cap(&mut self, from: Place, to: Place, rights: u64) {
        let cap = self.caps[&from];
        let rights = cap.rights & Rights::from_bits_truncate(rights as u32);
        let copy = Cap { number: self.number(), rights, parent: Some(cap.number), ..cap };
        self.caps.insert(to, copy);
    }

    pub fn move_cap(&mut self, from: Place, to: Place) {
        let cap = self.caps.remove(&from).expect("filled");
        self.caps.insert(to, cap);
        self.lost(from.0, cap.object);
    }

    /// A sandbox has one capability on an object less. Mappings last while their sandbox or their maker holds one that allows them; a maker
    /// that held none for once does not count any more.
    fn lost(&mut self, sandbox: Id, object: Id) {
        if self.lives(object) && self.kind(object) == ObjectType::Device {
            return self.lost_device(sandbox, object);
        }
        for n in 0..self.mappings.len() {
            let mapping = self.mappings[n];
            if mapping.region == object && mapping.maker == Some(sandbox) && !self.allows(sandbox, &mapping) {
                self.mappings[n].maker = None;
            }
        }
        self.withdraw(|model, m| m.region == object && m.maker.is_none() && !model.allows(m.space, m));
    }

    /// Empties a place: the children become the parent's, and an object that nobody names any more ends.
    pub fn drop_cap(&mut self, place: Place) {
        let Some(cap) = self.caps.remove(&place) else { return };
        for other in self.caps.values_mut().filter(|other| other.parent == Some(cap.number)) {
            other.parent = cap.parent;
        }
        if !self.lives(cap.object) {
            return;
        }
        let sent = cap.kind == ObjectType::Port && cap.rights.contains(Rights::SEND);
        if sent
            && self.senders(cap.object) == 0
            && let Some((watcher, bits)) = self.port(cap.object).watch
        {
            self.signal(watcher, bits);
        }
        self.lost(place.0, cap.object);
        if !self.is_named(cap.object) {
            self.unnamed(cap.object);
        }
    }

    /// All that derives from a capability, near or far.
    fn descendants(&self, cap: u64) -> Vec<Place> {
        let mut found = vec![cap];
        let mut places = Vec::new();
        while let Some(parent) = found.pop() {
            for (place, child) in self.caps.iter().filter(|(_, child)| child.parent == Some(parent)) {
                found.push(child.number);
                places.push(*place);
            }
        }
        places
    }

    pub fn do_copy(&mut self, caller: Id, args: [u64; 5]) -> Result<u64, Error> {
        let [to_space, to_slot, from_space, from_slot, rights] = args;
        let (owner, source) = (self.space(caller, to_space)?, self.space(caller, from_space)?);
        let (from, cap) = self.cap(source, from_slot)?;
        if !cap.rights.contains(Rights::COPY) {
            return Err(Error::MissingRights);
        }
        let to = self.vacant(owner, to_slot)?;
        self.copy_cap(from, to, rights);
        self.note(Event::CapabilityCopied, caller, [owner, source], self.caps[&to]);
        Ok(0)
    }

    pub fn do_move(&mut self, caller: Id, args: [u64; 5]) -> Result<u64, Error> {
        let [to_space, to_slot, from_space, from_slot, _] = args;
        let (owner, source) = (self.space(caller, to_space)?, self.space(caller, from_space)?);
        let (from, cap) = self.cap(source, from_slot)?;
        let to = self.vacant(owner, to_slot)?;
        self.move_cap(from, to);
        self.note(Event::CapabilityMoved, caller, [owner, source], cap);
        Ok(0)
    }

    /// A capability whose object is gone can be deleted like any other.
    pub fn do_delete(&mut self, caller: Id, space: u64, slot: u64) -> Result<u64, Error> {
        let sandbox = self.space(caller, space)?;
        let place = self.place(sandbox, slot).filter(|p| self.caps.contains_key(p));
        let place = place.ok_or(Error::InvalidHandle)?;
        let cap = self.caps[&place];
        self.drop_cap(place);
        self.note(Event::CapabilityDeleted, caller, [sandbox; 2], cap);
        Ok(0)
    }

    /// Whoever changes what another sandbox holds is recorded: what happened, who did it, in whose space, the object and the rights.
    pub fn note(&mut self, event: Event, caller: Id, spaces: [Id; 2], cap: Cap) {
        if spaces != [caller; 2] {
            let subject = self.sandbox(spaces[0]).serial;
            self.record(event, subject, cap.object, cap.rights.bits().into(), [0; 4]);
        }
    }

    pub fn do_revoke(&mut self, caller: Id, space: u64, slot: u64) -> Result<u64, Error> {
        let sandbox = self.space(caller, space)?;
        let (_, cap) = self.cap(sandbox, slot)?;
        let descendants = self.descendants(cap.number);
        for place in &descendants {
            self.drop_cap(*place);
        }
        self.record(Event::Revoked, 0, cap.kind as u64, descendants.len() as u64, [0; 4]);
        Ok(0)
    }

    pub fn do_info(&mut self, thread: Id, caller: Id, space: u64, slot: u64) -> Result<u64, Error> {
        let sandbox = self.space(caller, space)?;
        let (_, cap) = self.cap(sandbox, slot)?;
        let registers = &mut self.thread_mut(thread).registers;
        (registers.rdi, registers.rsi) = (cap.kind as u64, cap.rights.bits().into());
        Ok(0)
    }
}
