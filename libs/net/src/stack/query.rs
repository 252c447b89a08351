//! What the console and the shell may ask. Nothing here changes anything.

use super::Stack;
use crate::config::Address;
use crate::counters::Counters;
use crate::dhcp::Lease;
use crate::record::{ConnectionRecord, InterfaceRecord, ListenerRecord, Role, Stage, UdpRecord};
use crate::slab::Id;
use core::net::SocketAddrV4;
use hic_netapi::NetError;
use hic_tcp::{State, Stats};
use smoltcp::wire::{EthernetAddress, Ipv4Address};

/// One connection, for display and for the Info command.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionInfo {
    /// Our end.
    pub local: SocketAddrV4,
    /// The other end.
    pub remote: SocketAddrV4,
    /// The protocol's state.
    pub state: State,
    /// Whose it is.
    pub stage: Stage,
    /// Why it ended, if it did and for a reason of ours.
    pub error: Option<NetError>,
    /// The protocol's counters.
    pub stats: Stats,
}

/// The interface, for display.
#[derive(Clone, Copy, Debug)]
pub struct InterfaceInfo {
    /// Our station address.
    pub mac: EthernetAddress,
    /// The address in use.
    pub address: Option<Address>,
    /// The lease that it comes from.
    pub lease: Option<Lease>,
    /// What this instance is to the interface.
    pub role: Role,
    /// What the DHCP client does.
    pub dhcp: &'static str,
}

impl Stack {
    /// All counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The interface.
    pub fn interface(&self) -> InterfaceInfo {
        InterfaceInfo {
            mac: self.config.mac,
            address: self.interface.address,
            lease: self.interface.lease,
            role: self.interface.role,
            dhcp: self.dhcp.state_name(),
        }
    }

    /// Stations on the link that are known now.
    pub fn neighbours(&self) -> impl Iterator<Item = (Ipv4Address, EthernetAddress)> + '_ {
        self.arp.iter()
    }

    /// One connection.
    pub fn connection(&self, id: Id) -> Option<ConnectionInfo> {
        let conn = self.tcp.conns.get(id)?;
        let tuple = conn.tcp.tuple();
        Some(ConnectionInfo {
            local: SocketAddrV4::new(tuple.local_addr.into(), tuple.local_port),
            remote: SocketAddrV4::new(tuple.remote_addr.into(), tuple.remote_port),
            state: conn.tcp.state(),
            stage: conn.stage,
            error: conn.error,
            stats: conn.tcp.record().stats(),
        })
    }

    /// All connections.
    pub fn connections(&self) -> impl Iterator<Item = Id> + '_ {
        self.tcp.conns.iter().map(|(id, _)| id)
    }

    /// All listeners.
    pub fn listeners(&self) -> impl Iterator<Item = (Id, ListenerRecord)> + '_ {
        self.tcp.listeners.iter().map(|(id, entry)| (id, entry.record))
    }

    /// All UDP sockets.
    pub fn udp_sockets(&self) -> impl Iterator<Item = (Id, UdpRecord)> + '_ {
        self.udp.sockets.iter().map(|(id, record)| (id, *record))
    }

    /// The record of a connection as it stands.
    pub fn connection_record(&self, id: Id) -> Option<ConnectionRecord> {
        self.tcp.conns.get(id).map(super::tcp_table::Conn::record)
    }

    /// The record of the interface as it stands.
    pub fn interface_record(&self) -> &InterfaceRecord {
        &self.interface
    }
}
