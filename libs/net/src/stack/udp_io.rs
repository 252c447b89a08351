//! UDP (RFC 768): sockets by local port, datagrams in from frames and out from data regions.

use super::Stack;
use super::ethernet::ETHERNET;
use super::ip_in::Packet;
use super::ip_out::{IP, fragment_step};
use super::work::Work;
use crate::config::Limits;
use crate::env::{Env, Published, Socket};
use crate::icmp::Unreachable;
use crate::outgoing::IpOut;
use crate::record::UdpRecord;
use crate::slab::{Id, Slab};
use alloc::collections::BTreeMap;
use core::net::SocketAddrV4;
use hic_netapi::datagram::Outgoing;
use hic_netapi::region::Status;
use hic_netapi::{NetError, StackSide};
use hic_tcp::Micros;
use smoltcp::wire::{DHCP_CLIENT_PORT, IpAddress, IpProtocol, Ipv4Address, UdpPacket};

/// Octets of a UDP header.
pub(super) const UDP: usize = 8;
/// Frames of a datagram that are waited for at most: the largest one over the smallest path (552 octets) takes no more.
const MOST_FRAMES: usize = 125;
/// Datagrams sent for one socket before others get their turn.
const BATCH: usize = 32;

#[derive(Debug)]
pub(super) struct UdpTable {
    pub sockets: Slab<UdpRecord>,
    pub by_port: BTreeMap<u16, Id>,
}

impl UdpTable {
    pub(super) fn new(limits: Limits) -> Self {
        Self { sockets: Slab::new(limits.udp_sockets), by_port: BTreeMap::new() }
    }
}

impl Stack {
    pub(super) fn udp_input(&mut self, now: Micros, up: &Packet<'_>, env: &mut dyn Env) {
        let Ok(packet) = UdpPacket::new_checked(up.payload) else {
            self.counters.udp_malformed += 1;
            return;
        };
        let (source, destination) = (IpAddress::Ipv4(up.source), IpAddress::Ipv4(up.destination));
        // A sum of zero means that the sender made none.
        let summed = packet.checksum() != 0 && !up.checksum_valid;
        if summed && !packet.verify_checksum(&source, &destination) {
            self.counters.udp_bad_checksum += 1;
            return;
        }
        let port = packet.dst_port();
        if port == DHCP_CLIENT_PORT && self.dhcp.deadline().is_some() {
            self.dhcp_input(now, packet.payload(), env);
            return;
        }
        let Some(id) = self.udp.by_port.get(&port).copied() else {
            self.counters.udp_no_socket += 1;
            self.send_unreachable(now, Unreachable::Port, up, env);
            return;
        };
        if self.is_frozen(Socket::Udp(id)) {
            self.counters.udp_frozen += 1;
            return;
        }
        let remote = SocketAddrV4::new(up.source, packet.src_port());
        self.udp_deliver(id, remote, packet.payload(), env);
    }

    /// Data, then record, then index, then notification.
    fn udp_deliver(&mut self, id: Id, remote: SocketAddrV4, payload: &[u8], env: &mut dyn Env) {
        let Some(record) = self.udp.sockets.get_mut(id) else { return };
        let Some(region) = env.region(Socket::Udp(id)) else { return };
        // An application that writes nonsense is dealt with when its socket is served.
        let _ = region.refresh();
        let Some(end) = region.push_datagram(remote, payload) else {
            self.counters.udp_no_space += 1;
            return;
        };
        record.indices = region.indices();
        record.indices.rx_written = end;
        self.counters.udp_in += 1;
        env.publish(Published::Udp(id, record));
        let wake = env.region(Socket::Udp(id)).is_some_and(|region| {
            region.publish_rx(end);
            region.take_app_wake()
        });
        if wake {
            env.notify(Socket::Udp(id));
        }
    }

    /// Sends what the application queued, then waits for its kick.
    pub(super) fn udp_serve(&mut self, now: Micros, id: Id, env: &mut dyn Env) {
        if self.is_frozen(Socket::Udp(id)) {
            return;
        }
        for _ in 0..BATCH {
            let Some(region) = env.region(Socket::Udp(id)) else { return };
            if region.status().over {
                return;
            }
            let next = region.refresh().and_then(|()| region.peek_datagram());
            let out = match next {
                Ok(Some(out)) => out,
                Ok(None) => {
                    if region.arm(u64::MAX) {
                        return;
                    }
                    continue;
                }
                Err(_) => return self.udp_violation(id, env),
            };
            let (frame, frames) = self.frames_of(now, &out);
            if env.tx_room(frame) < frames {
                return self.blocked.push(Work::Udp(id));
            }
            self.udp_send(now, id, &out, env);
        }
        self.ready.push(Work::Udp(id));
    }

    /// Octets of the largest frame of a datagram, and how many frames to wait for room for: one that is sent in part is lost.
    fn frames_of(&self, now: Micros, datagram: &Outgoing) -> (usize, usize) {
        let (mtu, len) = (usize::from(self.path_mtu(now, *datagram.remote.ip())), UDP + datagram.len);
        let frames = if IP + len <= mtu { 1 } else { len.div_ceil(fragment_step(mtu)) };
        (ETHERNET + mtu, frames.min(MOST_FRAMES))
    }

    fn udp_send(&mut self, now: Micros, id: Id, datagram: &Outgoing, env: &mut dyn Env) {
        let Some(record) = self.udp.sockets.get_mut(id) else { return };
        let Some(region) = env.region(Socket::Udp(id)) else { return };
        record.indices = region.indices();
        record.indices.tx_acked = datagram.next;
        env.publish(Published::Udp(id, record));
        let ports = (record.port, datagram.remote.port());
        let out = IpOut {
            source: self.interface.address.map_or(Ipv4Address::UNSPECIFIED, |ours| ours.address),
            destination: *datagram.remote.ip(),
            protocol: IpProtocol::Udp,
            len: UDP + datagram.len,
            region: Some(Socket::Udp(id)),
            ..IpOut::default()
        };
        let at = datagram.payload_at;
        let sendable = self.interface.address.is_some() && datagram.remote.port() != 0;
        let sent = sendable
            && self.ip_output(now, &out, env, &mut |space, region: Option<&StackSide>| {
                emit(space, &out, ports, |body| {
                    if !region.is_some_and(|region| region.copy_tx(at, body)) {
                        // The region went away meanwhile: the buffer must not show what it held before.
                        body.fill(0);
                    }
                });
            });
        if sent {
            self.counters.udp_out += 1;
        } else if !sendable {
            self.counters.ip_no_route += 1;
        }
        let wake = env.region(Socket::Udp(id)).is_some_and(|region| {
            region.publish_acked(datagram.next);
            region.take_app_wake()
        });
        if wake {
            env.notify(Socket::Udp(id));
        }
    }

    fn udp_violation(&mut self, id: Id, env: &mut dyn Env) {
        self.counters.app_violations += 1;
        let Some(region) = env.region(Socket::Udp(id)) else { return };
        region.publish_status(Status { over: true, error: Some(NetError::Violation), ..Status::default() });
        if region.take_app_wake() {
            env.notify(Socket::Udp(id));
        }
    }
}

/// Writes a datagram over the whole of `space`: the header, what `fill` puts behind it, the checksum.
pub(super) fn emit(space: &mut [u8], out: &IpOut, ports: (u16, u16), fill: impl FnOnce(&mut [u8])) {
    let len = space.len();
    let Some((header, body)) = space.split_at_mut_checked(UDP) else { return };
    header.fill(0);
    fill(body);
    let mut packet = UdpPacket::new_unchecked(space);
    packet.set_src_port(ports.0);
    packet.set_dst_port(ports.1);
    packet.set_len(len as u16);
    packet.fill_checksum(&IpAddress::Ipv4(out.source), &IpAddress::Ipv4(out.destination));
}
