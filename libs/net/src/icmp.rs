//! ICMP (RFC 792, RFC 1122 3.2.2): what a message says, and how many of ours may go out.
//!
//! Pure parsing and a token bucket; the stack acts. A message here never leads to an answer about another ICMP error.

use hic_tcp::Micros;
use smoltcp::wire::{Icmpv4Message, Icmpv4Packet, Ipv4Address, Ipv4Packet};

/// Octets of an ICMP header.
pub(crate) const HEADER: usize = 8;
/// Replies of one kind a second. Bounds what spoofed packets can make us send.
const RATE: u64 = 200;
/// Replies of one kind at once.
const BURST: u64 = 100;
/// Code of "fragmentation needed" (RFC 1191).
const FRAG_NEEDED: u8 = 4;

/// Code of "destination unreachable" for our own errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Unreachable {
    Protocol = 2,
    Port = 3,
}

/// What a router or the destination says about a packet of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Complaint {
    /// Too big for a link on the way, whose MTU is this (0: the router did not say).
    TooBig { mtu: u16 },
    /// Nobody takes it (port, protocol).
    Refused,
    /// Nobody is there (network, host, administratively).
    Unreachable,
    /// It was on the way too long.
    TimeExceeded,
}

/// The packet of ours that a complaint is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quoted {
    pub source: Ipv4Address,
    pub destination: Ipv4Address,
    pub protocol: u8,
    pub source_port: u16,
    pub destination_port: u16,
}

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming<'a> {
    /// To be sent back: identifier and sequence number, then data.
    EchoRequest { ident: u16, sequence: u16, data: &'a [u8] },
    /// About a packet of ours.
    Error { complaint: Complaint, quoted: Quoted },
    /// Something that we do not act on.
    Other,
}

/// Why a message was dropped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    Malformed,
    Checksum,
}

/// Reads one message.
pub(crate) fn parse(bytes: &[u8]) -> Result<Incoming<'_>, Bad> {
    let packet = Icmpv4Packet::new_checked(bytes).map_err(|_| Bad::Malformed)?;
    let body = bytes.get(HEADER..).ok_or(Bad::Malformed)?;
    if !packet.verify_checksum() {
        return Err(Bad::Checksum);
    }
    let complaint = match (packet.msg_type(), packet.msg_code()) {
        (Icmpv4Message::EchoRequest, 0) => {
            let (ident, sequence) = (packet.echo_ident(), packet.echo_seq_no());
            return Ok(Incoming::EchoRequest { ident, sequence, data: body });
        }
        (Icmpv4Message::DstUnreachable, FRAG_NEEDED) => Complaint::TooBig { mtu: number(bytes, 6) },
        (Icmpv4Message::DstUnreachable, 2 | 3) => Complaint::Refused,
        (Icmpv4Message::DstUnreachable, _) => Complaint::Unreachable,
        (Icmpv4Message::TimeExceeded, 0) => Complaint::TimeExceeded,
        _ => return Ok(Incoming::Other),
    };
    Ok(Incoming::Error { complaint, quoted: quoted(body).ok_or(Bad::Malformed)? })
}

/// The quoted header is cut off after 8 octets of payload, so smoltcp's length check does not apply; the fixed fields
/// are within the 20 octets that are checked for here.
fn quoted(bytes: &[u8]) -> Option<Quoted> {
    let packet = Ipv4Packet::new_unchecked(bytes.get(..20)?);
    let header = usize::from(packet.header_len());
    if packet.version() != 4 || header < 20 || packet.frag_offset() != 0 {
        return None;
    }
    let ports = bytes.get(header..header + 4)?;
    Some(Quoted {
        source: packet.src_addr(),
        destination: packet.dst_addr(),
        protocol: packet.next_header().into(),
        source_port: number(ports, 0),
        destination_port: number(ports, 2),
    })
}

fn number(bytes: &[u8], at: usize) -> u16 {
    bytes.iter().skip(at).take(2).fold(0, |value, byte| value << 8 | u16::from(*byte))
}

/// Writes an ICMP message over the whole of `out`: the header, then what `body` puts behind it.
pub(crate) fn emit(out: &mut [u8], kind: Icmpv4Message, code: u8, rest: u32, body: &[u8]) {
    let Some((header, space)) = out.split_at_mut_checked(HEADER) else { return };
    for (to, from) in header.iter_mut().skip(4).zip(rest.to_be_bytes()) {
        *to = from;
    }
    for (to, from) in space.iter_mut().zip(body) {
        *to = *from;
    }
    let mut packet = Icmpv4Packet::new_unchecked(out);
    packet.set_msg_type(kind);
    packet.set_msg_code(code);
    packet.fill_checksum();
}

/// A bucket for each kind of reply: whoever asks for too many of one does not keep others from theirs.
#[derive(Debug, Default)]
pub(crate) struct RateLimits {
    pub echo: RateLimit,
    pub unreachable: RateLimit,
    pub reset: RateLimit,
}

/// A token bucket.
#[derive(Debug)]
pub(crate) struct RateLimit {
    tokens: u64,
    at: Micros,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { tokens: BURST, at: Micros(0) }
    }
}

impl RateLimit {
    /// Takes a token. `false` if there is none.
    pub(crate) fn take(&mut self, now: Micros) -> bool {
        let fresh = now.since(self.at).0.saturating_mul(RATE) / 1_000_000;
        if fresh > 0 {
            self.tokens = self.tokens.saturating_add(fresh).min(BURST);
            self.at = now;
        }
        let granted = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn the_rate_limit_allows_a_burst_and_then_its_rate() {
        let mut limit = RateLimit::default();
        let now = Micros::from_secs(5);
        assert_eq!((0..1000).filter(|_| limit.take(now)).count() as u64, BURST);
        let later = Micros::from_millis(5100);
        assert_eq!((0..1000).filter(|_| limit.take(later)).count() as u64, RATE / 10);
    }

    #[test]
    fn fragmentation_needed_names_the_packet_and_the_mtu() {
        let mut quote = [0u8; 28];
        quote[0] = 0x45;
        quote[9] = 6;
        quote[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        quote[20..24].copy_from_slice(&[0, 80, 0x12, 0x34]);
        let mut message = [0; 36];
        emit(&mut message, Icmpv4Message::DstUnreachable, 4, 1400, &quote);
        let quoted = Quoted {
            source: Ipv4Address::new(10, 0, 0, 1),
            destination: Ipv4Address::new(10, 0, 0, 2),
            protocol: 6,
            source_port: 80,
            destination_port: 0x1234,
        };
        let complaint = Complaint::TooBig { mtu: 1400 };
        assert_eq!(parse(&message), Ok(Incoming::Error { complaint, quoted }));
        message[20] ^= 1;
        assert_eq!(parse(&message), Err(Bad::Checksum));
    }

    proptest! {
        #[test]
        fn arbitrary_messages_never_panic(mut bytes: Vec<u8>, kind: u8, quoted in any::<[u8; 40]>()) {
            let _ = parse(&bytes);
            bytes.resize(48, 0);
            emit(&mut bytes, Icmpv4Message::from(kind % 13), kind / 13, 0, &quoted);
            let _ = parse(&bytes);
        }
    }
}
