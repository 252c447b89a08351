//! Taking over from an instance that is gone ([`Stack::restore`]) or that gives sockets away ([`Stack::adopt`]): tables are
//! rebuilt from records, regions are shown their true indices again, every ring counts as signalled.

use super::Stack;
use super::tcp_table::{Conn, Listener};
use crate::activity::Activity;
use crate::env::{Env, Published, Socket};
use crate::record::{ConnectionRecord, InterfaceRecord, ListenerRecord, Stage, UdpRecord};
use crate::slab::Id;
use alloc::vec::Vec;
use core::fmt;
use hic_netapi::NetError;
use hic_netapi::region::{Indices, Status};
use hic_tcp::{Connection, Micros};
use smoltcp::wire::Ipv4Address;

/// One decoded record with the number of its place.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::large_enum_variant, reason = "decoded one by one and consumed at once")]
pub enum Restored {
    /// The interface role.
    Interface(InterfaceRecord),
    /// A listener.
    Listener(Id, ListenerRecord),
    /// A connection.
    Connection(Id, ConnectionRecord),
    /// A UDP socket.
    Udp(Id, UdpRecord),
}

/// A record that contradicts another. It was left out; the shell gives its place back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// Two records with one number, port or tuple, or a number beyond the limits.
    Duplicate(Socket),
    /// A connection waits on a listener that does not exist.
    NoListener(Id),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate(socket) => write!(f, "record of {socket:?} contradicts another"),
            Self::NoListener(id) => write!(f, "connection {id} waits on a listener that does not exist"),
        }
    }
}

impl core::error::Error for RestoreError {}

impl Stack {
    /// Fills an empty stack from records, in any order, instead of [`Stack::start`] (which is still to be called if there is
    /// no interface record and this instance is to hold that role). The shell attached the data regions
    /// before (with the indices of [`connection_indices`](Self::connection_indices) or of the UDP record) and claimed the
    /// flows of the connections that [`ConnectionRecord::owns_flow`], and the ports of listeners and UDP sockets. Then
    /// everything is served once, and applications are woken once. Returns what did not fit.
    pub fn restore(
        &mut self,
        now: Micros,
        records: impl IntoIterator<Item = Restored>,
        env: &mut dyn Env,
    ) -> Vec<RestoreError> {
        self.adopt(now, records, env)
    }

    /// Takes sockets from another instance, in any order, into this one that runs and has others: as [`Stack::restore`],
    /// but nothing else is served or woken. The interface role comes by [`Stack::take_role`]; a record of it among these
    /// counts as our own.
    pub fn adopt(
        &mut self,
        now: Micros,
        records: impl IntoIterator<Item = Restored>,
        env: &mut dyn Env,
    ) -> Vec<RestoreError> {
        // Listeners before those that wait on them, and these in the order in which they are to be accepted, or
        // were begun.
        let mut records: Vec<Restored> = records.into_iter().collect();
        records.sort_by_key(|record| match record {
            Restored::Connection(_, record) => (true, record.ticket, record.opened_at),
            _ => (false, Default::default(), Default::default()),
        });
        let (mut errors, mut adopted) = (Vec::new(), Vec::with_capacity(records.len()));
        for record in records {
            let result = match record {
                Restored::Interface(record) => {
                    self.resume_interface(now, record);
                    continue;
                }
                Restored::Connection(id, record) => self.restore_connection(now, id, record),
                Restored::Listener(id, record) => self.restore_listener(id, record),
                Restored::Udp(id, record) => self.restore_udp(id, record),
            };
            match result {
                Ok(socket) => adopted.push(socket),
                Err(error) => errors.push(error),
            }
        }
        self.resume(now, &adopted, env);
        errors
    }

    /// The indices with which to attach a connection's data region.
    pub fn connection_indices(record: &ConnectionRecord) -> Indices {
        let tcp = Connection::from_record(record.tcp);
        Indices {
            tx_acked: tcp.tx_acked(),
            tx_seen: tcp.tx_acked(),
            rx_written: tcp.rx_ready(),
            rx_consumed: tcp.rx_consumed(),
        }
    }

    fn restore_listener(&mut self, id: Id, record: ListenerRecord) -> Result<Socket, RestoreError> {
        let duplicate = RestoreError::Duplicate(Socket::Listener(id));
        let listener = Listener::new(record);
        if self.tcp.by_port.contains_key(&record.port) || !self.tcp.listeners.insert_at(id, listener) {
            return Err(duplicate);
        }
        self.tcp.by_port.insert(record.port, id);
        Ok(Socket::Listener(id))
    }

    fn restore_udp(&mut self, id: Id, record: UdpRecord) -> Result<Socket, RestoreError> {
        let duplicate = RestoreError::Duplicate(Socket::Udp(id));
        if self.udp.by_port.contains_key(&record.port) || !self.udp.sockets.insert_at(id, record) {
            return Err(duplicate);
        }
        self.udp.by_port.insert(record.port, id);
        Ok(Socket::Udp(id))
    }

    fn restore_connection(
        &mut self,
        now: Micros,
        id: Id,
        record: ConnectionRecord,
    ) -> Result<Socket, RestoreError> {
        let listed = record.owns_flow();
        let ConnectionRecord { tcp, stage, layout, has_region, error, origin, commands, ticket, opened_at } =
            record;
        let mut tcp = Connection::from_record(tcp);
        tcp.set_format(self.format);
        let tuple = tcp.tuple();
        if listed && !self.tcp.is_free(&tuple) {
            return Err(RestoreError::Duplicate(Socket::Connection(id)));
        }
        let activity = Activity::new(now, opened_at, tcp.tx_acked().saturating_add(tcp.rx_ready()));
        let conn = Conn { tcp, stage, layout, has_region, error, origin, commands, listed, ticket, activity };
        let listener = conn.listener();
        if listener.is_some_and(|listener| self.tcp.listeners.get(listener).is_none()) {
            return Err(RestoreError::NoListener(id));
        }
        if !self.tcp.conns.insert_at(id, conn) {
            return Err(RestoreError::Duplicate(Socket::Connection(id)));
        }
        if listed {
            self.tcp.list(&tuple, id);
        }
        if let Some(entry) = listener.and_then(|listener| self.tcp.listeners.get_mut(listener)) {
            let queued = matches!(stage, Stage::Queued(_));
            if queued { &mut entry.queue } else { &mut entry.half_open }.push_back(id);
        }
        self.tcp.tickets.saw(ticket);
        Ok(Socket::Connection(id))
    }

    /// Serves each of these once, as after a restart of its ring, and wakes its application once.
    pub(super) fn resume(&mut self, now: Micros, sockets: &[Socket], env: &mut dyn Env) {
        for socket in sockets {
            match *socket {
                Socket::Connection(id) => self.resume_connection(now, id, env),
                Socket::Udp(id) => self.resume_udp(now, id, env),
                Socket::Listener(_) => env.notify(*socket),
            }
        }
    }

    fn resume_connection(&mut self, now: Micros, id: Id, env: &mut dyn Env) {
        if let Some(region) = env.region(Socket::Connection(id)) {
            region.republish();
            // Also of an application that is gone: what it wrote is still to be sent. Nonsense is dealt with by `serve`.
            let _ = region.refresh();
        }
        self.serve(now, id, env);
        let ours = self.interface.address.map(|ours| ours.address);
        let Some(conn) = self.tcp.conns.get(id) else { return };
        let local = Ipv4Address::from(conn.tcp.tuple().local_addr);
        if conn.listed && ours.is_some_and(|ours| ours != local) {
            // The address changed while the connection was between two instances.
            self.fail(now, id, NetError::Unreachable, env);
        }
        if self.tcp.conns.get(id).is_some_and(|conn| conn.stage == Stage::Open) {
            env.notify(Socket::Connection(id));
        }
    }

    fn resume_udp(&mut self, now: Micros, id: Id, env: &mut dyn Env) {
        let Some(record) = self.udp.sockets.get(id) else { return };
        env.publish(Published::Udp(id, record));
        if let Some(region) = env.region(Socket::Udp(id)) {
            region.republish();
            region.publish_status(Status { established: true, ..Status::default() });
        }
        env.notify(Socket::Udp(id));
        self.udp_serve(now, id, env);
    }
}
