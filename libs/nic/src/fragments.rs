//! Fragments of IPv4 datagrams (RFC 791): only the first one says which flow it belongs to, so it is remembered for those that follow.
//!
//! Senders send the first fragment first. One that comes before it belongs to no flow that anybody knows, and goes where such frames go.
//! It never keeps more than a few datagrams, the latest ones; a forgotten one costs at most that datagram.

use crate::flow::FlowKey;
use crate::frame::{be16, be32, ports};
use core::cell::Cell;
use core::net::Ipv4Addr;

/// Datagrams remembered.
const DATAGRAMS: usize = 32;
/// More fragments follow, and the offset, in the flags word.
const MORE: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// What tells the fragments of one datagram from those of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Datagram {
    source: u32,
    destination: u32,
    protocol: u8,
    ident: u16,
}

/// The datagrams whose first fragment was seen lately.
#[derive(Debug)]
pub(crate) struct Fragments {
    seen: [Cell<Option<(Datagram, FlowKey)>>; DATAGRAMS],
    next: Cell<usize>,
}

impl Default for Fragments {
    fn default() -> Self {
        Self { seen: [const { Cell::new(None) }; DATAGRAMS], next: Cell::new(0) }
    }
}

impl Fragments {
    /// The flow of an incoming fragment; `None` for what is no fragment, and for one whose first was not seen.
    pub(crate) fn flow_of(&self, head: &[u8]) -> Option<FlowKey> {
        let packet = head.get(14..).filter(|_| be16(head, 12) == Some(0x0800))?;
        let first = *packet.first()?;
        let (header, flags) = (usize::from(first & 0xf) * 4, be16(packet, 6)?);
        if first >> 4 != 4 || header < 20 || flags & (MORE | OFFSET) == 0 {
            return None;
        }
        let protocol = *packet.get(9)?;
        let (source, destination) = (be32(packet, 12)?, be32(packet, 16)?);
        let datagram = Datagram { source, destination, protocol, ident: be16(packet, 4)? };
        if flags & OFFSET != 0 {
            let known = self.seen.iter().filter_map(Cell::get).find(|(known, _)| *known == datagram);
            return known.map(|(_, flow)| flow);
        }
        let (local, remote) = (Ipv4Addr::from_bits(destination), Ipv4Addr::from_bits(source));
        let flow = ports(protocol, local, remote, packet.get(header..)?, false)?;
        let place = self.next.get();
        self.next.set((place + 1) % DATAGRAMS);
        if let Some(place) = self.seen.get(place) {
            place.set(Some((datagram, flow)));
        }
        Some(flow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::PROTO_UDP;
    use core::net::SocketAddrV4;
    use std::vec::Vec;

    fn fragment(ident: u8, offset: u8, more: bool, body: &[u8]) -> Vec<u8> {
        let flags = if more { 0x20 } else { 0 };
        let ip = [0x45, 0, 0, 0, 0, ident, flags, offset, 64, PROTO_UDP, 0, 0, 10, 0, 2, 2, 10, 0, 2, 15];
        [&[0; 12][..], &[8, 0], &ip, body].concat()
    }

    fn expected(remote_port: u16) -> Option<FlowKey> {
        let (local, remote) = (Ipv4Addr::new(10, 0, 2, 15), Ipv4Addr::new(10, 0, 2, 2));
        let (local, remote) = (SocketAddrV4::new(local, 7), SocketAddrV4::new(remote, remote_port));
        Some(FlowKey::Exact { protocol: PROTO_UDP, local, remote })
    }

    #[test]
    fn fragments_follow_the_first_of_their_datagram() {
        let fragments = Fragments::default();
        let late = fragment(9, 185, false, &[1; 8]);
        assert_eq!(fragments.flow_of(&late), None, "the first was not seen");
        assert_eq!(fragments.flow_of(&fragment(9, 0, true, &[0, 5, 0, 7, 0, 0])), expected(5));
        assert_eq!(fragments.flow_of(&fragment(8, 0, true, &[0, 6, 0, 7, 0, 0])), expected(6));
        assert_eq!(fragments.flow_of(&late), expected(5));
        assert_eq!(fragments.flow_of(&fragment(7, 0, false, &[0, 5, 0, 7])), None, "not a fragment");
        assert_eq!(fragments.flow_of(&late[..20]), None, "cut off");
    }

    #[test]
    fn only_the_latest_datagrams_are_remembered() {
        let fragments = Fragments::default();
        for ident in 0..=DATAGRAMS as u8 {
            fragments.flow_of(&fragment(ident, 0, true, &[0, ident, 0, 7, 0, 0]));
        }
        let rest = |ident| fragments.flow_of(&fragment(ident, 185, false, &[]));
        assert_eq!((rest(0), rest(1), rest(32)), (None, expected(1), expected(32)));
    }
}
