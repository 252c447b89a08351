//! The records: everything about a socket or the interface that must survive the instance that serves it.
//!
//! Each is plain data with an encoding of its own (see [`codec`]). Tables and queues are derived from them and are never
//! written down. What capability belongs to which socket is the shell's knowledge; it keeps that beside the record.

mod codec;
mod sockets;

use crate::config::Address;
use crate::dhcp::Lease;
pub use codec::{MAX_RECORD, RecordError};
use codec::{Reader, Writer};
use hic_tcp::Micros;
use smoltcp::wire::Ipv4Address;
pub use sockets::{ConnectionRecord, ListenerRecord, Origin, Stage, UdpRecord};

/// Path MTUs remembered.
pub const MAX_PATHS: usize = 16;

/// What a router said about the way to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathMtu {
    /// The destination.
    pub destination: Ipv4Address,
    /// Longest packet that gets there.
    pub mtu: u16,
    /// Until when to believe it (RFC 1191 6.3).
    pub expires_at: Micros,
}

/// What an instance is to the interface. One of two running instances is the holder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Answers for the address: ARP, echo requests, DHCP, announcements.
    #[default]
    Holder,
    /// Serves its sockets at the address and finds neighbours for them, but leaves everything else to the holder.
    Guest,
}

/// What is known about the interface, and the role of the instance that wrote this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceRecord {
    /// The address in use; `None` before the first.
    pub address: Option<Address>,
    /// The lease that it comes from, if it does.
    pub lease: Option<Lease>,
    /// Identification for fragmentable packets up to this number may have been used.
    pub ident_reserved: u16,
    /// Path MTUs other than the link's.
    pub paths: [Option<PathMtu>; MAX_PATHS],
    /// Of the instance whose record this is.
    pub role: Role,
}

const MAGIC: [u8; 4] = *b"HNif";

impl InterfaceRecord {
    /// Writes the record; returns how many octets it took.
    pub fn encode(&self, out: &mut [u8; MAX_RECORD]) -> usize {
        let mut w = Writer::new(out);
        w.optional(self.address, put_address);
        w.optional(self.lease, |w, lease| {
            put_address(w, lease.address);
            w.u32(lease.server.to_bits());
            for at in [lease.renew_at, lease.rebind_at, lease.expires_at] {
                w.u64(at.0);
            }
        });
        w.u16(self.ident_reserved);
        let count = self.paths.iter().flatten().count();
        w.u8(count as u8);
        for path in self.paths.iter().flatten() {
            w.u32(path.destination.to_bits());
            w.u16(path.mtu);
            w.u64(path.expires_at.0);
        }
        w.u8(match self.role {
            Role::Holder => 0,
            Role::Guest => 1,
        });
        w.finish(MAGIC)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut r = Reader::open(bytes, MAGIC)?;
        let address = r.optional(get_address)?;
        let lease = r.optional(|r| {
            Ok(Lease {
                address: get_address(r)?,
                server: Ipv4Address::from_bits(r.u32()?),
                renew_at: Micros(r.u64()?),
                rebind_at: Micros(r.u64()?),
                expires_at: Micros(r.u64()?),
            })
        })?;
        let ident_reserved = r.u16()?;
        let mut paths = [None; MAX_PATHS];
        let count = usize::from(r.u8()?);
        let slots = paths.get_mut(..count).ok_or(RecordError::Field("paths"))?;
        for slot in slots {
            *slot = Some(PathMtu {
                destination: Ipv4Address::from_bits(r.u32()?),
                mtu: r.u16()?,
                expires_at: Micros(r.u64()?),
            });
        }
        let role = r.added(Role::Holder, |r| match r.u8()? {
            0 => Ok(Role::Holder),
            1 => Ok(Role::Guest),
            _ => Err(RecordError::Field("role")),
        })?;
        Ok(Self { address, lease, ident_reserved, paths, role })
    }
}

fn put_address(w: &mut Writer<'_>, address: Address) {
    w.u32(address.address.to_bits());
    w.u8(address.prefix_len);
    w.optional(address.gateway, |w, gateway| w.u32(gateway.to_bits()));
    for server in address.dns {
        w.u32(server.to_bits());
    }
}

fn get_address(r: &mut Reader<'_>) -> Result<Address, RecordError> {
    let address = Ipv4Address::from_bits(r.u32()?);
    let prefix_len = r.u8()?;
    if prefix_len > 32 {
        return Err(RecordError::Field("prefix"));
    }
    let gateway = r.optional(|r| Ok(Ipv4Address::from_bits(r.u32()?)))?;
    let dns = [Ipv4Address::from_bits(r.u32()?), Ipv4Address::from_bits(r.u32()?)];
    Ok(Address { address, prefix_len, gateway, dns })
}

#[cfg(test)]
mod tests;
