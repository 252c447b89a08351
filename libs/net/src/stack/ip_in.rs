//! IPv4 in: what is acceptable (RFC 1122 3.2.1), fragments, and to which protocol it goes.

use super::{RxInfo, Stack};
use crate::env::Env;
use crate::icmp::Unreachable;
use crate::reassembly::{Key, Outcome, Piece};
use crate::timers::Timer;
use hic_tcp::Micros;
use smoltcp::wire::{DHCP_CLIENT_PORT, IpProtocol, Ipv4Address, Ipv4Packet};

/// One packet (whole again, if it came in pieces) on its way up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    pub source: Ipv4Address,
    pub destination: Ipv4Address,
    /// It came to our own address, not to everybody: errors may be answered.
    pub unicast: bool,
    /// The card checked the sum.
    pub checksum_valid: bool,
    /// The IP header as received, for quoting; of the first fragment only if there was one packet.
    pub header: &'a [u8],
    pub payload: &'a [u8],
}

/// Where a packet is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Destination {
    Ours,
    Everybody,
    Other,
}

impl Stack {
    pub(super) fn ip_input(
        &mut self,
        now: Micros,
        bytes: &[u8],
        from_self: bool,
        info: RxInfo,
        env: &mut dyn Env,
    ) {
        let packet = Ipv4Packet::new_checked(bytes).ok().filter(|packet| packet.version() == 4);
        let Some(packet) = packet else {
            self.counters.ip_malformed += 1;
            return;
        };
        if !packet.verify_checksum() {
            self.counters.ip_bad_checksum += 1;
            return;
        }
        let to = self.classify(packet.dst_addr());
        let dhcp = self.interface.address.is_none() && is_dhcp_reply(&packet);
        if to == Destination::Other && !dhcp {
            self.counters.ip_not_ours += 1;
            return;
        }
        if self.is_martian(packet.src_addr(), from_self) {
            self.counters.ip_martian += 1;
            return;
        }
        let up = Packet {
            source: packet.src_addr(),
            destination: packet.dst_addr(),
            unicast: to == Destination::Ours,
            checksum_valid: info.checksum_valid,
            header: bytes.get(..packet.header_len().into()).unwrap_or_default(),
            payload: packet.payload(),
        };
        if packet.more_frags() || packet.frag_offset() != 0 {
            self.fragment_input(now, &packet, up, env);
        } else {
            self.dispatch(now, packet.next_header(), &up, env);
        }
    }

    fn fragment_input(&mut self, now: Micros, packet: &Ipv4Packet<&[u8]>, up: Packet<'_>, env: &mut dyn Env) {
        self.counters.ip_fragments += 1;
        let key = Key {
            source: up.source,
            destination: up.destination,
            protocol: packet.next_header().into(),
            ident: packet.ident(),
        };
        let piece =
            Piece { offset: packet.frag_offset().into(), more: packet.more_frags(), data: up.payload };
        let outcome = self.reassembly.add(now, key, piece);
        self.counters.ip_reassembly_failed += self.reassembly.take_evicted();
        match outcome {
            Outcome::Incomplete => self.timers.schedule(Timer::Reassembly, self.reassembly.deadline()),
            Outcome::Dropped => self.counters.ip_reassembly_failed += 1,
            Outcome::Complete(payload) => {
                self.counters.ip_reassembled += 1;
                // The card looked at pieces only.
                let whole = Packet { payload: &payload, checksum_valid: false, ..up };
                self.dispatch(now, packet.next_header(), &whole, env);
            }
        }
    }

    fn dispatch(&mut self, now: Micros, protocol: IpProtocol, up: &Packet<'_>, env: &mut dyn Env) {
        match protocol {
            IpProtocol::Tcp if up.unicast => self.tcp_input(now, up, env),
            IpProtocol::Tcp => self.counters.ip_not_ours += 1,
            IpProtocol::Udp => self.udp_input(now, up, env),
            IpProtocol::Icmp => self.icmp_input(now, up, env),
            _ => {
                self.counters.ip_unknown_protocol += 1;
                self.send_unreachable(now, Unreachable::Protocol, up, env);
            }
        }
    }

    fn classify(&self, destination: Ipv4Address) -> Destination {
        match self.interface.address {
            _ if destination.is_broadcast() => Destination::Everybody,
            Some(ours) if destination == ours.address => Destination::Ours,
            Some(ours) if ours.is_subnet_broadcast(destination) => Destination::Everybody,
            _ => Destination::Other,
        }
    }

    /// RFC 1122 3.2.1.3. Our own address is a good source only on what the driver looped back to us.
    fn is_martian(&self, source: Ipv4Address, from_self: bool) -> bool {
        let ours = self.interface.address;
        source.is_multicast()
            || source.is_broadcast()
            || source.is_loopback()
            || source.is_unspecified()
            || ours.is_some_and(|ours| ours.is_subnet_broadcast(source))
            || ours.is_some_and(|ours| ours.address == source && !from_self)
    }
}

/// Before we have an address, a server may send its answer to the address that it is about to give us (RFC 2131 4.1).
fn is_dhcp_reply(packet: &Ipv4Packet<&[u8]>) -> bool {
    let port = packet.payload().get(2..4).map(|bytes| bytes.iter().fold(0, |n, b| n << 8 | u16::from(*b)));
    packet.next_header() == IpProtocol::Udp && packet.frag_offset() == 0 && port == Some(DHCP_CLIENT_PORT)
}
