//! TCP connections and listeners, and how to find them. All of it except the records is derived.

use crate::activity::Activity;
use crate::config::Limits;
use crate::record::{ConnectionRecord, ListenerRecord, Origin, Stage};
use crate::slab::{Id, Slab};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use hic_netapi::message::sequence::CommandSlot;
use hic_netapi::{Layout, NetError};
use hic_tcp::{Connection, SegmentOut, State, Tuple};
use smoltcp::wire::Ipv4Address;

/// One connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub tcp: Connection,
    pub stage: Stage,
    pub layout: Layout,
    pub has_region: bool,
    pub error: Option<NetError>,
    pub origin: Origin,
    pub commands: CommandSlot,
    /// It is in the flow table, ours and the driver's.
    pub listed: bool,
    /// See [`ConnectionRecord::ticket`].
    pub ticket: u64,
    pub activity: Activity,
}

impl Conn {
    pub(super) fn record(&self) -> ConnectionRecord {
        ConnectionRecord {
            tcp: *self.tcp.record(),
            stage: self.stage,
            layout: self.layout,
            has_region: self.has_region,
            error: self.error,
            origin: self.origin,
            commands: self.commands,
            ticket: self.ticket,
            opened_at: self.activity.opened_at(),
        }
    }

    /// Whether the application's side of the region still counts.
    pub(super) fn listens_to_app(&self) -> bool {
        self.has_region && self.stage != Stage::Detached && self.error != Some(NetError::Violation)
    }

    pub(super) fn listener(&self) -> Option<Id> {
        match self.stage {
            Stage::HalfOpen(id) | Stage::Queued(id) => Some(id),
            Stage::Open | Stage::Detached => None,
        }
    }
}

/// One listener.
#[derive(Debug)]
pub(super) struct Listener {
    pub record: ListenerRecord,
    /// Established connections, oldest first.
    pub queue: VecDeque<Id>,
    /// Connections whose handshake is not done, oldest first.
    pub half_open: VecDeque<Id>,
}

impl Listener {
    pub(super) fn new(record: ListenerRecord) -> Self {
        Self { record, queue: VecDeque::new(), half_open: VecDeque::new() }
    }

    /// Whether as many connections wait as may.
    pub(super) fn is_full(&self) -> bool {
        self.queue.len() + self.half_open.len() >= usize::from(self.record.backlog)
    }
}

/// The order of accept queues, in numbers that survive in records.
#[derive(Debug)]
pub(super) struct Tickets {
    next: u64,
}

impl Tickets {
    pub(super) fn draw(&mut self) -> u64 {
        let ticket = self.next;
        self.next = ticket.saturating_add(1);
        ticket
    }

    /// Later tickets are higher than this one, which another instance gave.
    pub(super) fn saw(&mut self, ticket: u64) {
        self.next = self.next.max(ticket.saturating_add(1));
    }
}

#[derive(Debug)]
pub(super) struct TcpTable {
    pub conns: Slab<Conn>,
    pub listeners: Slab<Listener>,
    pub by_port: BTreeMap<u16, Id>,
    by_tuple: BTreeMap<u64, Id>,
    pub tickets: Tickets,
    /// Scratch for one batch of segments, kept to avoid an allocation for each.
    pub batch: Vec<SegmentOut>,
}

/// All of the tuple but the local address: we have one. A connection from an address that we had before is told apart by
/// comparing the whole.
fn key(tuple: &Tuple) -> u64 {
    let remote = u64::from(u32::from_be_bytes(tuple.remote_addr));
    remote << 32 | u64::from(tuple.remote_port) << 16 | u64::from(tuple.local_port)
}

impl TcpTable {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            conns: Slab::new(limits.connections),
            listeners: Slab::new(limits.listeners),
            by_port: BTreeMap::new(),
            by_tuple: BTreeMap::new(),
            tickets: Tickets { next: 1 },
            batch: Vec::new(),
        }
    }

    pub(super) fn find(&self, tuple: &Tuple) -> Option<Id> {
        let id = *self.by_tuple.get(&key(tuple))?;
        self.conns.get(id).filter(|conn| conn.tcp.tuple() == *tuple).map(|_| id)
    }

    /// Whether no connection has these ends.
    pub(super) fn is_free(&self, tuple: &Tuple) -> bool {
        !self.by_tuple.contains_key(&key(tuple))
    }

    pub(super) fn list(&mut self, tuple: &Tuple, id: Id) {
        self.by_tuple.insert(key(tuple), id);
    }

    pub(super) fn unlist(&mut self, tuple: &Tuple) {
        self.by_tuple.remove(&key(tuple));
    }

    /// Takes a connection out of its listener's books.
    pub(super) fn leave_listener(&mut self, listener: Id, id: Id) {
        if let Some(listener) = self.listeners.get_mut(listener) {
            listener.queue.retain(|queued| *queued != id);
            listener.half_open.retain(|begun| *begun != id);
        }
    }

    /// Live connections with another local address than this.
    pub(super) fn not_from(&self, address: Ipv4Address) -> Vec<Id> {
        let other = |conn: &Conn| conn.listed && conn.tcp.tuple().local_addr != address.octets();
        self.conns.iter().filter(|(_, conn)| other(conn)).map(|(id, _)| id).collect()
    }

    /// Connections in TIME-WAIT, left by their applications, whose places may be given again: those that would be
    /// forgotten first come first.
    pub(super) fn oldest_time_wait(&self) -> Vec<Id> {
        let waits = |conn: &Conn| conn.stage == Stage::Detached && conn.tcp.state() == State::TimeWait;
        let useful = |id: Id| self.conns.may_give(id.slot());
        let waiting = self.conns.iter().filter(|(id, conn)| waits(conn) && useful(*id));
        let mut waiting: Vec<_> = waiting.map(|(id, conn)| (conn.tcp.deadline(), id)).collect();
        waiting.sort_unstable();
        waiting.into_iter().map(|(_, id)| id).collect()
    }

    /// Connections that wait on a listener.
    pub(super) fn of_listener(&self, listener: Id) -> Vec<Id> {
        let its = |conn: &Conn| conn.listener() == Some(listener);
        self.conns.iter().filter(|(_, conn)| its(conn)).map(|(id, _)| id).collect()
    }
}
