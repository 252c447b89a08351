//! The first fragment of an IPv4 datagram whose rest never comes: the way to put bytes of our choice into the heap of the
//! guest's stack, which keeps them while it waits (RFC 791, 2.3).

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use super::{GUEST_ADDRESS, HOST_ADDRESS, Network};

/// Lengths of the headers in front of the payload.
const IP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
/// Where the datagram claims to go: a port that nobody serves (IANA has it unassigned). What has come of a datagram to a served port moves
/// with that port, and would not be of the old instance any more.
const PORT: u16 = 4;
/// The datagram claims to be as long as a few fragments.
const CLAIMED: u16 = 4000;
const UDP: u8 = 17;
/// IPPROTO_RAW: the packet is sent with the header that we wrote (raw(7)).
const RAW: i32 = 255;
const MORE_FRAGMENTS: u16 = 1 << 13;

/// Sends the fragment with `payload` from the host's address to the guest's. Root, on a tap.
pub fn send_first_fragment(network: &Network, payload: &[u8]) -> Result<()> {
    let packet = first_fragment(payload)?;
    network.run(move || {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW))).context("raw socket")?;
        let sent = socket.send_to(&packet, &SocketAddrV4::new(Ipv4Addr::from(GUEST_ADDRESS), 0).into())?;
        ensure!(sent == packet.len(), "{sent} of {} bytes were sent", packet.len());
        Ok(())
    })
}

/// IP header, UDP header and `payload`. The kernel fills in length and checksum of the IP header.
fn first_fragment(payload: &[u8]) -> Result<Vec<u8>> {
    let length = u16::try_from(IP_HEADER + UDP_HEADER + payload.len()).context("too long for a packet")?;
    ensure!(payload.len().is_multiple_of(8), "all fragments but the last are multiples of 8 bytes");
    let ident = u16::try_from(std::process::id() & 0xffff)?.max(1);
    let mut packet = vec![0x45, 0];
    for field in [length, ident, MORE_FRAGMENTS] {
        packet.extend(field.to_be_bytes());
    }
    packet.extend([64, UDP, 0, 0]);
    packet.extend(HOST_ADDRESS);
    packet.extend(GUEST_ADDRESS);
    for field in [40_000, PORT, CLAIMED, 0] {
        packet.extend(u16::to_be_bytes(field));
    }
    packet.extend(payload);
    Ok(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_fragment_says_that_more_follow() {
        let packet = first_fragment(b"HIC-MARK-0000001").expect("fits");
        assert_eq!(packet.len(), 44);
        assert_eq!((packet[0], packet[9]), (0x45, UDP));
        assert_eq!(packet[6..8], [0x20, 0], "more fragments, offset 0");
        assert_eq!((&packet[12..16], &packet[16..20]), (&HOST_ADDRESS[..], &GUEST_ADDRESS[..]));
        assert_eq!(packet[28..], *b"HIC-MARK-0000001");
        assert!(first_fragment(b"odd").is_err());
    }
}
