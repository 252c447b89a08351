//! From the first octets of a frame to the flow that it belongs to. It looks, it never changes anything.

use crate::flow::{FlowKey, PROTO_TCP, PROTO_UDP};
use core::net::{Ipv4Addr, SocketAddrV4};

/// Octets of a frame that are looked at: Ethernet, the longest IPv4 header, an ICMP header, the longest IPv4 header that it quotes and
/// both ports.
pub const HEAD_BYTES: usize = 14 + 60 + 8 + 60 + 4;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
/// Operation of an ARP reply (RFC 826).
const ARP_REPLY: u16 = 2;
const PROTO_ICMP: u8 = 1;
/// ICMP errors, which quote the packet that they are about (RFC 792): unreachable, quench, redirect, time, parameter.
const ICMP_ERRORS: [u8; 5] = [3, 4, 5, 11, 12];

pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Whether a frame is an ARP reply. Every stack on this station may have asked.
#[must_use]
pub fn is_arp_reply(head: &[u8]) -> bool {
    be16(head, 12) == Some(ETHERTYPE_ARP) && be16(head, 14 + 6) == Some(ARP_REPLY)
}

/// The flow of an incoming frame, seen from this machine. An ICMP error belongs to the flow that it quotes. `None` for
/// everything that has no ports where ports are looked for: other protocols, fragments, what is cut off.
#[must_use]
pub fn flow_of(head: &[u8]) -> Option<FlowKey> {
    if be16(head, 12)? != ETHERTYPE_IPV4 {
        return None;
    }
    let packet = head.get(14..)?;
    let (protocol, source, destination, body) = ipv4(packet)?;
    if protocol != PROTO_ICMP {
        return ports(protocol, destination, source, body, false);
    }
    if !ICMP_ERRORS.contains(body.first()?) {
        return None;
    }
    let (protocol, source, destination, body) = ipv4(body.get(8..)?)?;
    // The quoted packet was sent by this machine: its source is the local end.
    ports(protocol, source, destination, body, true)
}

/// Protocol, source, destination and body of an unfragmented packet (RFC 791).
fn ipv4(packet: &[u8]) -> Option<(u8, Ipv4Addr, Ipv4Addr, &[u8])> {
    let first = *packet.first()?;
    let header = usize::from(first & 0xf) * 4;
    // More fragments, or an offset: ports are only in the first, and one stack must get all of them.
    let fragment = be16(packet, 6)? & 0x3fff != 0;
    if first >> 4 != 4 || header < 20 || fragment {
        return None;
    }
    let address = |at| Some(Ipv4Addr::from_bits(be32(packet, at)?));
    Some((*packet.get(9)?, address(12)?, address(16)?, packet.get(header..)?))
}

pub(crate) fn ports(
    protocol: u8,
    local: Ipv4Addr,
    remote: Ipv4Addr,
    body: &[u8],
    quoted: bool,
) -> Option<FlowKey> {
    if protocol != PROTO_TCP && protocol != PROTO_UDP {
        return None;
    }
    let (source, destination) = (be16(body, 0)?, be16(body, 2)?);
    let (local_port, remote_port) = if quoted { (source, destination) } else { (destination, source) };
    let (local, remote) = (SocketAddrV4::new(local, local_port), SocketAddrV4::new(remote, remote_port));
    Some(FlowKey::Exact { protocol, local, remote })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn ip(protocol: u8, source: [u8; 4], destination: [u8; 4], body: &[u8]) -> Vec<u8> {
        let mut packet = std::vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0];
        packet.extend(source.iter().chain(&destination).chain(body));
        packet
    }

    fn ethernet(packet: &[u8]) -> Vec<u8> {
        [&[0; 12][..], &[8, 0], packet].concat()
    }

    const HERE: [u8; 4] = [10, 0, 2, 15];
    const THERE: [u8; 4] = [10, 0, 2, 2];

    fn expected() -> FlowKey {
        let (local, remote) = (SocketAddrV4::new(HERE.into(), 80), SocketAddrV4::new(THERE.into(), 40_000));
        FlowKey::Exact { protocol: PROTO_TCP, local, remote }
    }

    #[test]
    fn an_incoming_segment_belongs_to_the_flow_of_its_ports() {
        let frame = ethernet(&ip(PROTO_TCP, THERE, HERE, &[0x9c, 0x40, 0, 80, 0, 0]));
        assert_eq!(flow_of(&frame), Some(expected()));
    }

    #[test]
    fn an_icmp_error_belongs_to_the_flow_that_it_quotes() {
        let quoted = ip(PROTO_TCP, HERE, THERE, &[0, 80, 0x9c, 0x40, 0, 0, 0, 0]);
        let error = [&[3, 1, 0, 0, 0, 0, 0, 0][..], &quoted].concat();
        assert_eq!(flow_of(&ethernet(&ip(PROTO_ICMP, [9; 4], HERE, &error))), Some(expected()));
        let ping = [&[8, 0, 0, 0, 0, 0, 0, 0][..], &quoted].concat();
        assert_eq!(flow_of(&ethernet(&ip(PROTO_ICMP, THERE, HERE, &ping))), None);
    }

    #[test]
    fn the_longest_headers_fit_into_what_is_looked_at() {
        let options = |mut packet: Vec<u8>| {
            packet[0] = 0x4f;
            packet.splice(20..20, [1; 40]);
            packet
        };
        let quoted = options(ip(PROTO_TCP, HERE, THERE, &[0, 80, 0x9c, 0x40, 0, 0, 0, 0]));
        let error = [&[11, 0, 0, 0, 0, 0, 0, 0][..], &quoted].concat();
        let frame = ethernet(&options(ip(PROTO_ICMP, [9; 4], HERE, &error)));
        assert_eq!(flow_of(&frame[..HEAD_BYTES]), Some(expected()));
    }

    #[test]
    fn arp_replies_are_told_from_requests_and_from_everything_else() {
        let arp = |operation| [&[0; 12][..], &[8, 6, 0, 1, 8, 0, 6, 4, 0, operation], &[0; 20]].concat();
        assert_eq!([1, 2].map(|operation| is_arp_reply(&arp(operation))), [false, true]);
        assert!(!is_arp_reply(&arp(2)[..21]), "cut off");
        assert!(!is_arp_reply(&ethernet(&ip(PROTO_TCP, THERE, HERE, &[0, 2, 0, 2, 0, 0]))));
    }

    #[test]
    fn a_fragment_by_itself_names_no_flow() {
        let mut first = ip(PROTO_UDP, THERE, HERE, &[0, 7, 0, 7, 0, 0]);
        first[6] = 0x20;
        assert_eq!(flow_of(&ethernet(&first)), None);
    }

    proptest! {
        #[test]
        fn arbitrary_octets_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..HEAD_BYTES), ip: bool) {
            if ip && bytes.len() > 14 { bytes[12] = 8; bytes[13] = 0; bytes[14] = 0x40 | bytes[14] & 0xf; }
            let _ = flow_of(&bytes);
        }
    }
}
