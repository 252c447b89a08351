//! Taking sockets: out of the records of a peer that lives and gave them, or of one that is dead for good.
//!
//! Everything is checked before anything is written. The journal comes first: from then on a start knows that what lies at these places is
//! only expected.

use crate::fault;
use crate::service::Netstack;
use crate::shell::{Placed, Recorded, decode, port_flow};
use alloc::vec::Vec;
use hic_abi::{Handle, Nanos};
use hic_migrate::{CapSlot, Imported, MAX_CAPS, Migrated, Prepare, Refusal, Share, Side};
use hic_net::record::{InterfaceRecord, Role};
use hic_net::{Micros, Protocol, Restored, Socket};
use hic_nic::flow::FlowKey;
use hic_rt::{cap, clock, log};
use netstack::choose::{self, Unit};
use netstack::place::PLACES;
use netstack::records::{Batch, Found, Handles, Phase, Places, Truth, View};

/// Where the DHCP client hears. Whoever has this port in the driver's table has the interface role.
const DHCP_CLIENT: u16 = 68;

/// The flow that belongs to the interface role.
pub fn role_flow() -> FlowKey {
    port_flow(Protocol::Udp, DHCP_CLIENT)
}

/// What the peer has and we shall have: its capabilities there, how long it was frozen, its record.
struct Checked {
    place: usize,
    socket: Socket,
    handles: Handles,
    freeze: Nanos,
    record: Restored,
}

impl Checked {
    fn new(place: usize, found: &Found, record: Restored) -> Self {
        let Found { socket, handles, freeze, .. } = *found;
        Self { place, socket, handles, freeze, record }
    }
}

impl Netstack {
    /// See `Migration::import_state`.
    pub(super) fn import(&mut self, number: u64, share: Share) -> Result<Imported, Refusal> {
        let plan =
            self.moves.journal.plan.filter(|plan| plan.side == Side::Importer).ok_or(Refusal::NotPrepared)?;
        let batch = self.moves.journal.batch;
        if batch.number == number && batch.truth(self.moves.has_token()) == Truth::Arrived {
            return Err(Refusal::WrongBatch { current: number });
        }
        // A repeat is done over: nobody has used the first answer.
        self.settle();
        let peer = self.peer(&plan).ok_or(Refusal::Corrupt { item: 0 })?;
        self.learn_from(&peer);
        match share {
            Share::Items { .. } => self.import_items(number, &peer),
            Share::Role => self.import_role(number, &peer),
            Share::Everything { max } => self.salvage(number, max.into(), &peer),
        }
    }

    /// The peer's state. Mapped since the module manager told us our side.
    pub(super) fn peer(&mut self, plan: &Prepare) -> Option<View> {
        if self.moves.peer.is_none() {
            let place = plan.peer_state;
            // SAFETY: the module manager says that the region is mapped here for reading, and keeps it mapped until it tells us that we are
            // alone, or destroys the peer: after that it asks for nothing that reads it.
            let view = unsafe { View::attach(place.address as *const u8, place.bytes as usize) };
            self.moves.peer = view.ok();
        }
        self.moves.peer
    }

    fn import_items(&mut self, number: u64, peer: &View) -> Result<Imported, Refusal> {
        let theirs = peer.journal().batch;
        if theirs.phase != Phase::Leaving || theirs.number != number || theirs.role {
            return Err(Refusal::WrongBatch { current: theirs.number });
        }
        let mut all = Vec::new();
        for place in theirs.places.iter() {
            let corrupt = Refusal::Corrupt { item: place as u64 };
            let found = peer.get(place).ok_or(corrupt)?;
            let record = decode(&found).ok().flatten().ok_or(corrupt)?;
            if self.shell.records.socket(place).is_some() {
                log!("place {place} of the peer is in use here");
                return Err(corrupt);
            }
            all.push(Checked::new(place, &found, record));
        }
        let items = all.len() as u64;
        let batch = Batch { number, frozen_at: theirs.frozen_at, ..Batch::default() };
        let (slots, _) = self.make_room(batch, all)?;
        Ok(Imported { items, left: theirs.left, slots, from: Vec::new() })
    }

    fn import_role(&mut self, number: u64, peer: &View) -> Result<Imported, Refusal> {
        let theirs = peer.journal().batch;
        if theirs.phase != Phase::Leaving || theirs.number != number || !theirs.role {
            return Err(Refusal::WrongBatch { current: theirs.number });
        }
        InterfaceRecord::decode(&peer.interface()).map_err(|_| Refusal::Corrupt { item: PLACES as u64 })?;
        let batch = Batch { number, role: true, frozen_at: theirs.frozen_at, ..Batch::default() };
        self.make_room(batch, Vec::new())?;
        Ok(Imported { items: 1, left: theirs.left, ..Imported::default() })
    }

    /// Writes down what is expected, with slots for its capabilities; these, and those that the peer has them in.
    fn make_room(&mut self, batch: Batch, all: Vec<Checked>) -> Result<(Vec<Handle>, Vec<CapSlot>), Refusal> {
        let from: Vec<CapSlot> = all
            .iter()
            .flat_map(|checked| checked.handles.each())
            .map(|(slot, is_port)| CapSlot { slot, is_port })
            .collect();
        let slots: Vec<Handle> =
            core::iter::repeat_with(cap::allocate).take(from.len()).map_while(|slot| slot).collect();
        if slots.len() < from.len() || from.len() > MAX_CAPS {
            slots.into_iter().for_each(cap::release);
            return Err(Refusal::NoResources);
        }
        let mut places = Places::default();
        all.iter().for_each(|checked| places.insert(checked.place));
        self.moves.journal.batch = Batch { phase: Phase::Incoming, places, ..batch };
        self.write_journal();
        let mut free = slots.iter().copied();
        let mut expected = Vec::with_capacity(all.len());
        for Checked { place, socket, handles, freeze, record } in all {
            let mut slot = |theirs: Handle| if theirs == 0 { 0 } else { free.next().unwrap_or(0) };
            let Handles { port, region, notification, bits } = handles;
            let (port, region, notification) = (slot(port), slot(region), slot(notification));
            let records = &mut self.shell.records;
            records.open(place, socket);
            records.note_freeze(place, freeze);
            records.set_handles(place, Handles { port, region, notification, bits });
            records.publish(place, |out| match &record {
                Restored::Connection(_, record) => record.encode(out),
                Restored::Listener(_, record) => record.encode(out),
                Restored::Udp(_, record) => record.encode(out),
                Restored::Interface(_) => 0,
            });
            expected.push((place, record));
        }
        expected.sort_unstable_by_key(|(place, _): &Placed| *place);
        self.moves.expected = (batch.number, expected);
        Ok((slots, from))
    }

    /// Takes what is left in the state of a dead peer. What does not hold together is given up.
    fn salvage(&mut self, number: u64, max: usize, peer: &View) -> Result<Imported, Refusal> {
        let candidates = self.left_by(peer);
        let role = self.stack.role() == Role::Guest && self.peer_has_role(peer);
        let units: Vec<Unit> = candidates
            .iter()
            .map(|checked| Unit { items: 1, caps: checked.handles.each().count() })
            .collect();
        let chosen = choose::choose(&units, max.max(1), MAX_CAPS);
        let left = (candidates.len() - chosen.len()) as u64;
        let mut candidates: Vec<Option<Checked>> = candidates.into_iter().map(Some).collect();
        let all: Vec<Checked> = chosen.into_iter().filter_map(|n| candidates.get_mut(n)?.take()).collect();
        let items = all.len() as u64 + u64::from(role);
        if items == 0 {
            return Ok(Imported::default());
        }
        let batch = Batch { number, role, salvage: true, left, ..Batch::default() };
        let (slots, from) = self.make_room(batch, all)?;
        Ok(Imported { items, left, slots, from })
    }

    /// What the peer left, listeners first: what waits on one needs it.
    fn left_by(&mut self, peer: &View) -> Vec<Checked> {
        let (journal, theirs) = (self.moves.journal, peer.journal().batch);
        let gone = match theirs.phase {
            Phase::Leaving => theirs.number == journal.arrived,
            Phase::Incoming => theirs.number != journal.given,
            Phase::Idle => false,
        };
        let mut all = Vec::new();
        for place in 0..PLACES {
            let dealt_with = journal.salvaged.contains(place) || (gone && theirs.places.contains(place));
            if dealt_with || self.shell.records.socket(place).is_some() {
                continue;
            }
            let Some(found) = peer.get(place) else { continue };
            match decode(&found) {
                Ok(Some(record)) => all.push(Checked::new(place, &found, record)),
                Ok(None) => {}
                Err(error) => {
                    log!("{:?} of the dead peer: {error}; it is lost", found.socket);
                    self.moves.journal.salvaged.insert(place);
                }
            }
        }
        all.sort_by_key(|checked| (!matches!(checked.socket, Socket::Listener(_)), checked.place));
        all
    }

    fn peer_has_role(&self, peer: &View) -> bool {
        let (journal, theirs) = (self.moves.journal, peer.journal().batch);
        let holds =
            InterfaceRecord::decode(&peer.interface()).is_ok_and(|record| record.role == Role::Holder);
        match theirs.phase {
            Phase::Leaving if theirs.role => theirs.number != journal.arrived,
            Phase::Incoming if theirs.role => theirs.number == journal.given,
            _ => holds,
        }
    }

    /// See `Migration::migrate_connection`.
    pub(super) fn arrive(&mut self, number: u64) -> Result<Migrated, Refusal> {
        let journal = self.moves.journal;
        if journal.batch.number == number && journal.batch.truth(self.moves.has_token()) == Truth::Arrived {
            return self.serve_batch();
        }
        match self.moves.last {
            Some((last, answer)) if last == number => Ok(answer),
            // By a start before this one.
            _ if journal.arrived == number => Ok(Migrated::default()),
            _ => Err(Refusal::WrongBatch { current: journal.batch.number }),
        }
    }

    /// Serves the batch that arrived.
    pub(super) fn serve_batch(&mut self) -> Result<Migrated, Refusal> {
        let Batch { number, role, salvage, left, frozen_at, places, .. } = self.moves.journal.batch;
        fault::while_migrating(number);
        let from = self.moves.journal.plan.map_or(0, |plan| plan.peer_serial);
        let (of, expected) = core::mem::take(&mut self.moves.expected);
        let expected = if of == number { expected } else { Vec::new() };
        let Recorded { places: resumed, records, mut flows } = self.shell.resume(places.iter(), expected);
        flows.extend(role.then(role_flow));
        let refused = |code: u32| Refusal::Downstream { code: code.into() };
        self.shell.wire.take_flows(&flows, from).map_err(refused)?;
        if role {
            self.shell.wire.take_default().map_err(refused)?;
        }
        let now = Micros(clock::now_micros());
        let errors = self.stack.adopt(now, records, &mut self.shell);
        let lost = (errors.len() + places.len() - resumed.len()) as u64;
        self.lose(errors);
        if role {
            let record = *self.stack.interface_record();
            self.stack.take_role(now, &record, &mut self.shell);
        }
        let frozen = if frozen_at == 0 { 0 } else { clock::now().saturating_sub(frozen_at) };
        places.iter().for_each(|place| self.shell.records.note_freeze(place, frozen));
        let items = places.len() as u64 + u64::from(role) - lost;
        let answer = Migrated { items, lost, longest_freeze: frozen, total_freeze: frozen * items };
        let journal = &mut self.moves.journal;
        (journal.arrived, journal.batch) = (number, Batch::default());
        if salvage {
            journal.salvaged.add(&places);
        }
        self.write_journal();
        self.moves.last = Some((number, answer));
        if salvage && left == 0 {
            // Frames that the dead one had not looked at come to us.
            let _ = self.shell.wire.forget(from);
        }
        self.context(now).judge_unheld();
        Ok(answer)
    }
}
