//! The beginning and the end of an update: which side we are on, what we may name, what we answer for, and whether we are well.

use super::import::role_flow;
use crate::fault;
use crate::service::Netstack;
use core::ops::Range;
use hic_abi::Nanos;
use hic_migrate::{Health, PROTOCOLS, Prepare, Ready, Refusal, Side};
use hic_net::record::{InterfaceRecord, Role};
use hic_net::{Config, EthernetAddress, Lane, Micros, Socket, Stack};
use hic_rt::{clock, log};
use hic_tcp::{Format, Schema};
use netstack::place::{self, PLACES};
use netstack::records::{Phase, Places, View};

/// How long after its end a peer that was replaced is certainly gone: it has nothing more to do then, and nobody tells us.
const PEER_ENDS: Nanos = 500_000_000;
/// Places that one health check looks at. All of them at once is a walk over the whole state region, and clients notice it.
const LOOK: usize = PLACES / 8;
/// A timer that is later than this by so much means that the engine does not get its time.
const LATE: u64 = 2_000_000;

impl Netstack {
    /// See `Migration::prepare_migration`.
    pub(super) fn prepare(&mut self, plan: &Prepare) -> Result<Ready, Refusal> {
        let protocol = PROTOCOLS.common(plan.protocols).ok_or(Refusal::Protocol)?;
        if plan.schema == 0 || plan.schema > Schema::OWN.number() {
            return Err(Refusal::Schema { schema: plan.schema });
        }
        fault::while_warming_up();
        let on_this_side = match self.moves.journal.batch.phase {
            Phase::Leaving => plan.side == Side::Exporter,
            Phase::Incoming => plan.side == Side::Importer,
            Phase::Idle => true,
        };
        if !on_this_side {
            self.settle();
        }
        if plan.schema < Schema::OWN.number() {
            self.set_format(false);
        }
        self.moves.peer = None;
        let peer = self.peer(plan);
        let journal = &mut self.moves.journal;
        journal.plan = Some(*plan);
        journal.reserved = peer.map_or(Places::default(), |peer| used(&peer));
        self.write_journal();
        if let Some(peer) = peer.filter(|_| plan.side == Side::Importer) {
            self.share_secret(&peer);
            self.learn_from(&peer);
        }
        self.take_lane();
        Ok(Ready { protocol, items: self.items() as u64 })
    }

    /// Keeps to our lane, and to what the peer leaves us, while there is an update.
    pub(crate) fn take_lane(&mut self) {
        let Some(plan) = self.moves.journal.plan else { return };
        self.stack.set_lane(Some(if plan.lane == 0 { Lane::Even } else { Lane::Odd }));
        self.stack.set_reset_strangers(false);
        let here = |place: usize| self.shell.records.socket(place).is_some();
        let taken: alloc::vec::Vec<Socket> = self.moves.journal.taken(here).filter_map(place::at).collect();
        self.stack.reserve(taken);
    }

    /// All instances number their connections by one secret. An instance that has nothing yet takes the peer's.
    fn share_secret(&mut self, peer: &View) {
        let (ours, theirs) = (self.shell.records.secret(), peer.secret());
        let Some(secret) = theirs.filter(|theirs| ours != Some(*theirs)) else { return };
        if self.items() > 0 || self.stack.role() == Role::Holder {
            return;
        }
        self.shell.records.set_secret(secret);
        self.config = Config { secret, ..self.config.clone() };
        self.stack = Stack::new(self.config.clone());
    }

    /// Learns from the peer's state which address our sockets have, and which stations there are.
    pub(super) fn learn_from(&mut self, peer: &View) {
        let now = Micros(clock::now_micros());
        if let Ok(record) = InterfaceRecord::decode(&peer.interface()) {
            self.stack.set_address_from(now, &record, &mut self.shell);
        }
        let neighbours = peer.neighbours().map(|(ip, mac)| (ip.into(), EthernetAddress(mac)));
        self.stack.learn_neighbours(now, neighbours, &mut self.shell);
    }

    /// See `Migration::commit`.
    pub(super) fn be_alone(&mut self, own_format: bool) {
        self.settle();
        let journal = &mut self.moves.journal;
        if let Some(plan) = journal.plan.take() {
            journal.forget = plan.peer_serial;
            // In the first lane is who served before the update: alone again, its peer is destroyed already.
            let patience = if plan.lane == 0 { 0 } else { PEER_ENDS };
            self.moves.forget_at = clock::now() + patience;
        }
        self.moves.peer = None;
        (journal.reserved, journal.salvaged) = (Places::default(), Places::default());
        (journal.arrived, journal.given) = (0, 0);
        self.set_format(own_format);
        self.write_journal();
        self.stack.set_lane(None);
        self.stack.clear_reservations();
        self.stack.set_reset_strangers(true);
        self.forget_peer();
    }

    /// Publishes for this version alone, or so that a predecessor can read it.
    fn set_format(&mut self, own: bool) {
        self.moves.journal.own_format = own;
        let format = if own { Format::Own } else { Format::Compatible };
        self.stack.set_format(format, &mut self.shell);
    }

    /// Has the driver forget a peer, once it is gone.
    pub(crate) fn forget_peer(&mut self) {
        let serial = self.moves.journal.forget;
        if serial == 0 || clock::now() < self.moves.forget_at {
            return;
        }
        if let Err(code) = self.shell.wire.forget(serial) {
            log!("eth_driver does not forget stack {serial} (code {code})");
            return;
        }
        self.moves.journal.forget = 0;
        self.write_journal();
    }

    /// At a start without an interface record: whether another instance answers for the interface. One truth: the driver's table.
    pub(crate) fn claim_role(&mut self) -> bool {
        self.shell.wire.claim(role_flow())
    }

    /// See `Migration::shutdown`.
    pub(super) fn retire(&mut self) {
        self.moves.journal.retired = true;
        self.write_journal();
        log!("goodbye, {} sockets left", self.items());
    }

    /// See `Migration::check`. The tests by number: 1 the driver answers, 2 timers run, 3 every record is one that a successor can read, 4
    /// sockets and records are the same, 5 whoever answers for the interface has an address or asks for one. Tests 3 and 4 look at [`LOOK`]
    /// places each time, in turn.
    pub(super) fn health(&mut self) -> Health {
        let first = self.moves.next_look;
        let look = first..first + LOOK;
        self.moves.next_look = look.end % PLACES;
        let tests = [
            self.shell.wire.ring().is_ok(),
            self.stack.deadline().is_none_or(|at| at.0 == 0 || clock::now_micros() < at.0 + LATE),
            look.clone().all(|place| {
                self.shell.records.get(place).is_none_or(|found| crate::shell::decode(&found).is_ok())
            }),
            self.records_match(look),
            self.stack.role() == Role::Guest
                || InterfaceRecord::decode(&self.shell.records.interface()).is_ok(),
        ];
        let failed = tests.iter().position(|well| !well).map_or(0, |n| n as u64 + 1);
        let failed = fault::health(failed, self.stack.role() == Role::Holder);
        let counters = self.stack.counters();
        let dropped = netstack::view::dropped(counters);
        Health { failed, items: self.items() as u64, events: counters.frames_in, errors: dropped }
    }

    /// Each socket at these places has its record, and each record its socket, except in a batch that is expected, or was frozen by a start
    /// before this one: that has records and no sockets.
    fn records_match(&self, places: Range<usize>) -> bool {
        let batch = self.moves.journal.batch.places;
        let sockets = self.stack.connections().map(Socket::Connection);
        let sockets = sockets.chain(self.stack.listeners().map(|(id, _)| Socket::Listener(id)));
        let sockets = sockets.chain(self.stack.udp_sockets().map(|(id, _)| Socket::Udp(id)));
        let placed = sockets.map(|socket| (place::of(socket), socket));
        let mut here = placed.filter(|(at, _)| at.is_none_or(|at| places.contains(&at)));
        here.all(|(at, socket)| at.and_then(|at| self.shell.records.socket(at)) == Some(socket))
            && places.clone().filter(|place| !batch.contains(*place)).all(|place| {
                let recorded = self.shell.records.socket(place);
                recorded.is_none_or(|socket| self.stack.commands(socket).is_some())
            })
    }
}

/// The places in which there is something.
fn used(peer: &View) -> Places {
    let mut places = Places::default();
    (0..PLACES).filter(|place| peer.socket(*place).is_some()).for_each(|place| places.insert(place));
    places
}
