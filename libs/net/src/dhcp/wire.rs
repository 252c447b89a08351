//! DHCP messages by smoltcp's packet formats.

use super::{MESSAGE_LEN, Outgoing};
use smoltcp::wire::{DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr, EthernetAddress, Ipv4Address};

const OPTION_ROUTER: u8 = 3;
const OPTION_HOST_NAME: u8 = 12;
/// What we ask for: mask, router, name servers, lease time, T1, T2.
const PARAMETERS: [u8; 6] = [1, 3, 6, 51, 58, 59];
/// Longest host name that fits beside the other options.
const MAX_HOST_NAME: usize = 32;

/// The message types that matter to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Discover,
    Offer,
    Request,
    Ack,
    Nak,
    Decline,
}

/// What a server said, checked as far as a message alone can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServerMessage {
    pub kind: Kind,
    pub transaction: u32,
    pub your_address: Ipv4Address,
    pub server: Option<Ipv4Address>,
    pub prefix_len: u8,
    pub router: Option<Ipv4Address>,
    pub dns: [Ipv4Address; 2],
    pub lease_seconds: u32,
    pub renew_seconds: Option<u32>,
    pub rebind_seconds: Option<u32>,
}

/// Reads a server's message to the station `mac`; `None` if it is none.
pub(crate) fn parse(bytes: &[u8], mac: EthernetAddress) -> Option<ServerMessage> {
    let packet = DhcpPacket::new_checked(bytes).ok()?;
    let repr = DhcpRepr::parse(&packet).ok()?;
    if repr.client_hardware_address != mac {
        return None;
    }
    let kind = match repr.message_type {
        DhcpMessageType::Offer => Kind::Offer,
        DhcpMessageType::Ack => Kind::Ack,
        DhcpMessageType::Nak => Kind::Nak,
        _ => return None,
    };
    // The parser takes the router option only if it names exactly one; there may be several, in order of preference.
    let router = packet.options().find(|option| option.kind == OPTION_ROUTER);
    let router = router.and_then(|option| option.data.first_chunk::<4>()).copied();
    let mut names = repr.dns_servers.iter().flatten().copied();
    let mut name = || names.next().unwrap_or(Ipv4Address::UNSPECIFIED);
    Some(ServerMessage {
        kind,
        transaction: repr.transaction_id,
        your_address: repr.your_ip,
        server: repr.server_identifier,
        prefix_len: prefix_len(repr.subnet_mask, repr.your_ip),
        router: router.map(Ipv4Address::from),
        dns: [name(), name()],
        lease_seconds: repr.lease_duration.unwrap_or(0),
        renew_seconds: repr.renew_duration,
        rebind_seconds: repr.rebind_duration,
    })
}

/// Without a mask that is one, the class of the address (RFC 950) decides.
fn prefix_len(mask: Option<Ipv4Address>, address: Ipv4Address) -> u8 {
    let bits = mask.map_or(0, |mask| mask.to_bits());
    if bits != 0 && bits.leading_ones() + bits.trailing_zeros() == 32 {
        return bits.leading_ones() as u8;
    }
    match address.octets() {
        [0..=127, ..] => 8,
        [128..=191, ..] => 16,
        _ => 24,
    }
}

/// Writes a message; `out` has [`MESSAGE_LEN`] octets. `false` if the options did not fit.
pub(crate) fn emit(message: &Outgoing, mac: EthernetAddress, host_name: &str, out: &mut [u8]) -> bool {
    out.fill(0);
    if out.len() < MESSAGE_LEN {
        return false;
    }
    let name = host_name.as_bytes().get(..host_name.len().min(MAX_HOST_NAME)).unwrap_or_default();
    let options = [DhcpOption { kind: OPTION_HOST_NAME, data: name }];
    let decline = message.kind == Kind::Decline;
    let repr = DhcpRepr {
        message_type: match message.kind {
            Kind::Discover => DhcpMessageType::Discover,
            Kind::Request => DhcpMessageType::Request,
            Kind::Decline => DhcpMessageType::Decline,
            Kind::Offer => DhcpMessageType::Offer,
            Kind::Ack => DhcpMessageType::Ack,
            Kind::Nak => DhcpMessageType::Nak,
        },
        transaction_id: message.transaction,
        secs: message.secs,
        client_hardware_address: mac,
        client_ip: message.client,
        your_ip: Ipv4Address::UNSPECIFIED,
        server_ip: Ipv4Address::UNSPECIFIED,
        router: None,
        subnet_mask: None,
        relay_agent_ip: Ipv4Address::UNSPECIFIED,
        // RFC 2131 4.1. Without any address a unicast reply would do, but with the fallback address it is not ours.
        broadcast: message.client.is_unspecified() && !decline,
        requested_ip: message.requested,
        client_identifier: Some(mac),
        server_identifier: message.server,
        parameter_request_list: (!decline).then_some(&PARAMETERS),
        dns_servers: None,
        max_size: None,
        lease_duration: None,
        renew_duration: None,
        rebind_duration: None,
        additional_options: if decline || name.is_empty() { &[] } else { &options },
    };
    repr.emit(&mut DhcpPacket::new_unchecked(out)).is_ok()
}
