//! Giving sockets away.
//!
//! ```text
//!  choose ▶ hold listeners and UDP sockets, take in frames up to the fence (no half-open connection is new from here on)
//!         ▶ hold the connections, likewise ▶ freeze (publishes) ▶ unmap ▶ journal: leaving ▶ answer
//! ```
//! A death before the journal is written leaves sockets that are ours and flows that a hold's deadline gives back.

use crate::service::Netstack;
use crate::shell::flow_of;
use alloc::vec::Vec;
use hic_abi::Nanos;
use hic_migrate::{CapSlot, Exported, MAX_CAPS, Refusal, Share, Side, Wave};
use hic_net::record::{ListenerRecord, Role, Stage};
use hic_net::{Micros, Restored, Socket};
use hic_nic::flow::FlowKey;
use hic_rt::{clock, log};
use netstack::choose::{self, Unit};
use netstack::records::{Batch, Phase, Places, Truth};
use netstack::{orphans, place};

/// How long the driver holds flows at most: many times what a batch takes, and less than a peer's patience.
const HOLD: Nanos = 1_000_000_000;
/// Choices for one batch: what is chosen can end before it is frozen, with a frame that came before the fence.
const MAX_CHOICES: usize = 16;
/// Connections that may come to a listener between the choice and the first hold, and be counted.
const LATE_COMERS: usize = 8;

impl Netstack {
    /// See `Migration::export_state`.
    pub(super) fn export(&mut self, number: u64, share: Share) -> Result<Exported, Refusal> {
        let plan = self.moves.journal.plan.ok_or(Refusal::NotPrepared)?;
        if plan.side != Side::Exporter {
            return Err(Refusal::NotPrepared);
        }
        let batch = self.moves.journal.batch;
        match batch.truth(self.moves.has_token()) {
            Truth::Ours if batch.number == number => {
                // It may have died between the journal and this.
                self.let_role_go();
                return Ok(self.exported());
            }
            Truth::Theirs if batch.number == number => return Err(Refusal::WrongBatch { current: number }),
            _ => self.settle(),
        }
        match share {
            Share::Items { wave, max } => self.export_items(number, wave, max.into()),
            Share::Role => Ok(self.export_role(number)),
            Share::Everything { .. } => Err(Refusal::UnknownQuestion),
        }
    }

    fn export_role(&mut self, number: u64) -> Exported {
        if self.stack.role() == Role::Guest {
            return Exported { left: self.items() as u64, ..Exported::default() };
        }
        self.keep_neighbours();
        let (left, frozen_at) = (self.items() as u64, clock::now());
        self.moves.journal.batch =
            Batch { number, phase: Phase::Leaving, role: true, left, frozen_at, ..Batch::default() };
        self.write_journal();
        self.let_role_go();
        self.exported()
    }

    fn let_role_go(&mut self) {
        if self.moves.journal.batch.role {
            self.stack.release_role(&mut self.shell);
        }
    }

    fn export_items(&mut self, number: u64, wave: Wave, max: usize) -> Result<Exported, Refusal> {
        for _ in 0..MAX_CHOICES {
            if let Some(exported) = self.choose_and_freeze(number, wave, max)? {
                return Ok(exported);
            }
        }
        log!("whatever was chosen ended before it could be frozen");
        Err(Refusal::NoResources)
    }

    /// One choice; `None` if all of it ended with a frame that was taken in before the fence.
    fn choose_and_freeze(
        &mut self,
        number: u64,
        wave: Wave,
        max: usize,
    ) -> Result<Option<Exported>, Refusal> {
        let now = Micros(clock::now_micros());
        let mut heads = self.stack.movable(now);
        heads.retain(|(class, socket)| choose::moves_in(wave, *class, is_listener(*socket)));
        heads.sort_by_key(|(_, socket)| !is_listener(*socket));
        let attached: Vec<Socket> =
            self.stack.listeners().flat_map(|(id, record)| self.unanswered(id, &record)).collect();
        let heads = heads.into_iter().map(|(_, socket)| socket);
        let heads: Vec<Socket> = heads.filter(|socket| !attached.contains(socket)).collect();
        if heads.is_empty() {
            return Ok(Some(Exported { left: self.items() as u64, ..Exported::default() }));
        }
        let frozen_at = clock::now();
        let chosen = self.choose(&heads, max);
        if chosen.is_empty() {
            log!("no listener of {} fits into a batch: too many connections wait on each", heads.len());
            return Err(Refusal::NoResources);
        }
        let frozen = self.freeze(&chosen)?;
        if frozen.is_empty() {
            return Ok(None);
        }
        let mut places = Places::default();
        frozen.iter().copied().filter_map(place::of).for_each(|place| places.insert(place));
        let left = (self.items() - places.len()) as u64;
        self.moves.journal.batch =
            Batch { number, phase: Phase::Leaving, left, frozen_at, places, ..Batch::default() };
        let exported = self.exported();
        if exported.caps.len() > MAX_CAPS {
            log!("{} connections came to a listener while it was stopped", exported.caps.len());
            self.thaw();
            return Err(Refusal::NoResources);
        }
        self.write_journal();
        Ok(Some(exported))
    }

    fn choose(&mut self, heads: &[Socket], max: usize) -> Vec<Socket> {
        let units: Vec<Unit> = heads.iter().map(|head| self.unit(*head)).collect();
        let chosen = choose::choose(&units, max.max(1), MAX_CAPS);
        chosen.into_iter().filter_map(|index| heads.get(index).copied()).collect()
    }

    /// How large what moves with this socket may become until it is frozen.
    fn unit(&mut self, head: Socket) -> Unit {
        let sockets = self.with_unit(head);
        let caps = sockets.iter().map(|socket| match socket {
            // A half-open one may yet get its data region.
            Socket::Connection(id) if self.waits(*id) => 1,
            _ => place::of(*socket).map_or(0, |place| self.shell.records.handles(place).each().count()),
        });
        let late = if is_listener(head) { LATE_COMERS } else { 0 };
        Unit { items: sockets.len(), caps: caps.sum::<usize>() + late }
    }

    /// What moves with this socket, itself included: with a listener all that wait on it, and what it was asked for without an answer.
    fn with_unit(&self, head: Socket) -> Vec<Socket> {
        let Socket::Listener(id) = head else { return alloc::vec![head] };
        let listener = self.stack.listeners().find(|(other, _)| *other == id);
        let unanswered = listener.into_iter().flat_map(|(id, record)| self.unanswered(id, &record));
        self.stack.unit(id).into_iter().chain(unanswered).collect()
    }

    /// What an Accept took that may come again: at the listener's port, and what it took must be there. It may have come meanwhile.
    fn unanswered(&self, listener: hic_net::Id, record: &ListenerRecord) -> Vec<Socket> {
        if self.orphans.is_empty() {
            return Vec::new();
        }
        let accepts = orphans::open_accepts(listener, record).into_iter();
        let taken = accepts.filter_map(|origin| self.stack.opened_by(origin));
        taken.filter(|socket| self.orphans.has(*socket)).collect()
    }

    fn waits(&self, id: hic_net::Id) -> bool {
        let stage = self.stack.connection(id).map(|info| info.stage);
        matches!(stage, Some(Stage::HalfOpen(_) | Stage::Queued(_)))
    }

    /// Stops these and what moves with them. On an error everything is served as before.
    fn freeze(&mut self, heads: &[Socket]) -> Result<Vec<Socket>, Refusal> {
        let (ports, _): (Vec<Socket>, Vec<Socket>) =
            heads.iter().partition(|socket| !matches!(socket, Socket::Connection(_)));
        let port_flows: Vec<FlowKey> = ports.iter().filter_map(|socket| self.flow_of(*socket)).collect();
        let held = self.hold(&port_flows).and_then(|()| {
            let sockets = heads.iter().flat_map(|head| self.with_unit(*head));
            let connections = sockets.filter(|socket| matches!(socket, Socket::Connection(_)));
            let flows: Vec<FlowKey> = connections.filter_map(|socket| self.flow_of(socket)).collect();
            self.hold(&flows).inspect_err(|_| self.shell.wire.release(&flows))
        });
        if let Err(code) = held {
            self.shell.wire.release(&port_flows);
            return Err(Refusal::Downstream { code: code.into() });
        }
        self.keep_neighbours();
        let sockets: Vec<Socket> = heads.iter().flat_map(|head| self.with_unit(*head)).collect();
        let frozen = self.stack.freeze(Micros(clock::now_micros()), &sockets, &mut self.shell);
        frozen.iter().for_each(|socket| self.shell.suspend(*socket));
        Ok(frozen)
    }

    /// Holds flows and takes in the frames that came before.
    fn hold(&mut self, flows: &[FlowKey]) -> Result<(), u32> {
        let deadline = clock::now() + HOLD;
        let fence = match self.shell.wire.hold(flows, deadline) {
            Ok(fence) => fence,
            // One of them is not in the table (any more): then all are put there.
            Err(_) => {
                self.shell.wire.take_flows(flows, 0)?;
                self.shell.wire.hold(flows, deadline)?
            }
        };
        if let Some(fence) = fence {
            self.take_frames_up_to(fence);
        }
        Ok(())
    }

    fn flow_of(&self, socket: Socket) -> Option<FlowKey> {
        let record = match socket {
            Socket::Connection(id) => Restored::Connection(id, self.stack.connection_record(id)?),
            Socket::Listener(id) => Restored::Listener(id, self.stack.listeners().find(|(n, _)| *n == id)?.1),
            Socket::Udp(id) => Restored::Udp(id, self.stack.udp_sockets().find(|(n, _)| *n == id)?.1),
        };
        flow_of(&record)
    }

    /// The answer about the batch on record, the same however often it is asked for.
    fn exported(&self) -> Exported {
        let batch = self.moves.journal.batch;
        let handles = batch.places.iter().flat_map(|place| self.shell.records.handles(place).each());
        let caps = handles.map(|(slot, is_port)| CapSlot { slot, is_port }).collect();
        let items = batch.places.len() as u64 + u64::from(batch.role);
        Exported { items, left: batch.left, caps }
    }

    /// Sockets that are here.
    pub(super) fn items(&self) -> usize {
        self.stack.connections().count() + self.stack.listeners().count() + self.stack.udp_sockets().count()
    }
}

fn is_listener(socket: Socket) -> bool {
    matches!(socket, Socket::Listener(_))
}
