//! Taking over from an instance that is gone: tables are rebuilt from records, regions are shown their true indices again,
//! every ring counts as signalled.

use super::Stack;
use super::tcp_table::{Conn, Listener};
use crate::env::{Env, Socket};
use crate::record::{ConnectionRecord, InterfaceRecord, ListenerRecord, Stage, UdpRecord};
use crate::slab::Id;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use hic_netapi::region::{Indices, Status};
use hic_tcp::{Connection, Micros};

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
    /// flows of the connections that [`ConnectionRecord::owns_flow`]. Then everything is served once, and sleeping applications are woken once. Returns what did not fit.
    pub fn restore(
        &mut self,
        now: Micros,
        records: impl IntoIterator<Item = Restored>,
        env: &mut dyn Env,
    ) -> Vec<RestoreError> {
        let mut errors = Vec::new();
        let mut connections = Vec::new();
        for record in records {
            let result = match record {
                Restored::Interface(record) => {
                    self.resume_interface(now, record);
                    Ok(())
                }
                Restored::Listener(id, record) => self.restore_listener(id, record),
                Restored::Udp(id, record) => self.restore_udp(id, record),
                Restored::Connection(id, record) => {
                    connections.push((id, record));
                    Ok(())
                }
            };
            errors.extend(result.err());
        }
        for (id, record) in connections {
            errors.extend(self.restore_connection(id, record).err());
        }
        self.resume_all(now, env);
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

    fn restore_listener(&mut self, id: Id, record: ListenerRecord) -> Result<(), RestoreError> {
        let duplicate = RestoreError::Duplicate(Socket::Listener(id));
        let listener = Listener { record, queue: VecDeque::new(), waiting: 0 };
        if self.tcp.by_port.contains_key(&record.port) || !self.tcp.listeners.insert_at(id, listener) {
            return Err(duplicate);
        }
        self.tcp.by_port.insert(record.port, id);
        Ok(())
    }

    fn restore_udp(&mut self, id: Id, record: UdpRecord) -> Result<(), RestoreError> {
        let duplicate = RestoreError::Duplicate(Socket::Udp(id));
        if self.udp.by_port.contains_key(&record.port) || !self.udp.sockets.insert_at(id, record) {
            return Err(duplicate);
        }
        self.udp.by_port.insert(record.port, id);
        Ok(())
    }

    fn restore_connection(&mut self, id: Id, record: ConnectionRecord) -> Result<(), RestoreError> {
        let listed = record.owns_flow();
        let ConnectionRecord { tcp, stage, layout, has_region, error, origin, commands } = record;
        let tcp = Connection::from_record(tcp);
        let tuple = tcp.tuple();
        if listed && !self.tcp.is_free(&tuple) {
            return Err(RestoreError::Duplicate(Socket::Connection(id)));
        }
        let conn = Conn { tcp, stage, layout, has_region, error, origin, commands, listed };
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
            entry.waiting += 1;
            if matches!(stage, Stage::Queued(_)) {
                entry.queue.push_back(id);
            }
        }
        Ok(())
    }

    fn resume_all(&mut self, now: Micros, env: &mut dyn Env) {
        let connections: Vec<Id> = self.connections().collect();
        for id in connections {
            if let Some(region) = env.region(Socket::Connection(id)) {
                region.republish();
                // Also of an application that is gone: what it wrote is still to be sent. Nonsense is dealt with by `serve`.
                let _ = region.refresh();
            }
            self.serve(now, id, env);
        }
        let sockets: Vec<Id> = self.udp_sockets().map(|(id, _)| id).collect();
        for id in sockets {
            if let Some(region) = env.region(Socket::Udp(id)) {
                region.republish();
                region.publish_status(Status { established: true, ..Status::default() });
                if region.take_app_wake() {
                    env.notify(Socket::Udp(id));
                }
            }
            self.udp_serve(now, id, env);
        }
        let queued = |(id, entry): (Id, &'_ Listener)| (!entry.queue.is_empty()).then_some(id);
        let listeners: Vec<Id> = self.tcp.listeners.iter().filter_map(queued).collect();
        for id in listeners {
            env.notify(Socket::Listener(id));
        }
    }
}
