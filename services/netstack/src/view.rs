//! The stack as the console sees it: plain records made from what the engine tells.

use crate::place;
use core::net::{Ipv4Addr, SocketAddrV4};
use hic_abi::{Nanos, Plain, name_bytes};
use hic_net::{Counters, Micros, Socket, Stack};
use hic_netapi::admin::{ConnectionInfo, CounterInfo, NetInfo, Protocol, Source};
use hic_tcp::State;

/// Counters that are no drops: all others together are [`NetInfo::dropped`].
const NOT_DROPS: [&str; 17] = [
    "frames_in",
    "frames_out",
    "ip_fragments",
    "ip_reassembled",
    "icmp_echoed",
    "icmp_errors_in",
    "icmp_errors_out",
    "udp_in",
    "udp_out",
    "tcp_in",
    "tcp_out",
    "tcp_accepted",
    "tcp_connected",
    "tcp_recycled",
    "tcp_resets_out",
    "dhcp_leases",
    "app_violations",
];

/// The interface.
#[must_use]
pub fn net_info(stack: &Stack, now: Micros, attached: bool) -> NetInfo {
    let (interface, counters) = (stack.interface(), stack.counters());
    let mut info = NetInfo { attached: attached.into(), ..NetInfo::zeroed() };
    for (to, from) in info.mac.iter_mut().zip(interface.mac.0) {
        *to = from;
    }
    if let Some(address) = interface.address {
        info.address = address.address.octets();
        info.gateway = address.gateway.map_or([0; 4], |gateway| gateway.octets());
        info.dns = address.dns.map(|server| server.octets());
        info.prefix_len = address.prefix_len.into();
        info.source = Source::Static as u64;
    }
    if let Some(lease) = interface.lease.filter(|_| interface.address.is_some()) {
        info.source = Source::Dhcp as u64;
        info.lease_seconds = lease.expires_at.since(now).millis() / 1000;
    }
    (info.frames_in, info.frames_out) = (counters.frames_in, counters.frames_out);
    info.dropped = dropped(counters);
    info.connections = stack.connections().count() as u64;
    info.listeners = stack.listeners().count() as u64;
    info.udp_sockets = stack.udp_sockets().count() as u64;
    info
}

/// Everything that was dropped, for whatever reason.
#[must_use]
pub fn dropped(counters: &Counters) -> u64 {
    let drops = counters.each().filter(|(name, _)| !NOT_DROPS.contains(name));
    drops.map(|(_, value)| value).sum()
}

/// The counter with this index; `poisoned` is what the state region says ([`crate::records::View::poisoned`]).
#[must_use]
pub fn counter(stack: &Stack, poisoned: u64, index: u64) -> Option<CounterInfo> {
    let index = usize::try_from(index).ok()?;
    let ours = [("frames_poisonous", poisoned)];
    stack.counters().each().chain(ours).nth(index).map(|(name, value)| CounterInfo::new(name, value))
}

/// The socket with this index: listeners, then UDP sockets, then connections. `freeze_at` is
/// [`crate::records::View::freeze`] of a place.
#[must_use]
pub fn socket(stack: &Stack, freeze_at: impl FnOnce(usize) -> Nanos, index: u64) -> Option<ConnectionInfo> {
    let index = usize::try_from(index).ok()?;
    let anyone = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
    let at = |port| SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
    let listeners = stack
        .listeners()
        .map(|(id, l)| (Socket::Listener(id), info(Protocol::TcpListener, at(l.port), anyone, "LISTEN")));
    let udp = stack.udp_sockets().map(|(id, record)| {
        let info = ConnectionInfo {
            bytes_in: record.indices.rx_written,
            bytes_out: record.indices.tx_acked,
            ..info(Protocol::Udp, at(record.port), anyone, "OPEN")
        };
        (Socket::Udp(id), info)
    });
    let connections = stack.connections().filter_map(|id| {
        let connection = stack.connection(id)?;
        let record = stack.connection_record(id)?;
        let indices = Stack::connection_indices(&record);
        let info = ConnectionInfo {
            bytes_in: indices.rx_written,
            bytes_out: indices.tx_acked,
            retransmitted: connection.stats.retransmitted.into(),
            ..info(Protocol::Tcp, connection.local, connection.remote, state_name(connection.state))
        };
        Some((Socket::Connection(id), info))
    });
    let (socket, info) = listeners.chain(udp).chain(connections).nth(index)?;
    let longest_freeze = place::of(socket).map_or(0, freeze_at);
    Some(ConnectionInfo { longest_freeze, ..info })
}

fn info(protocol: Protocol, local: SocketAddrV4, remote: SocketAddrV4, state: &str) -> ConnectionInfo {
    ConnectionInfo {
        protocol: protocol as u64,
        local_address: local.ip().octets(),
        remote_address: remote.ip().octets(),
        local_port: local.port().into(),
        remote_port: remote.port().into(),
        state_name: name_bytes(state),
        ..ConnectionInfo::zeroed()
    }
}

/// The name that RFC 9293 3.3.2 gives a state, and its code in the Info reply of `tcp@1`.
#[must_use]
pub const fn state_name(state: State) -> &'static str {
    match state {
        State::SynSent => "SYN-SENT",
        State::SynReceived { .. } => "SYN-RECEIVED",
        State::Established => "ESTABLISHED",
        State::FinWait1 => "FIN-WAIT-1",
        State::FinWait2 => "FIN-WAIT-2",
        State::CloseWait => "CLOSE-WAIT",
        State::Closing => "CLOSING",
        State::LastAck => "LAST-ACK",
        State::TimeWait => "TIME-WAIT",
        State::Closed(_) => "CLOSED",
    }
}

/// The code of a state in the Info reply of `tcp@1`.
#[must_use]
pub const fn state_code(state: State) -> u32 {
    match state {
        State::SynSent => 1,
        State::SynReceived { .. } => 2,
        State::Established => 3,
        State::FinWait1 => 4,
        State::FinWait2 => 5,
        State::CloseWait => 6,
        State::Closing => 7,
        State::LastAck => 8,
        State::TimeWait => 9,
        State::Closed(_) => 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hic_net::{AddressSource, Config, EthernetAddress};

    fn stack() -> Stack {
        let mac = EthernetAddress([2, 0, 0, 0, 0, 9]);
        Stack::new(Config::new(mac, AddressSource::Dhcp { fallback: None, after: Micros(0) }, [0; 16]))
    }

    #[test]
    fn an_interface_without_address_says_so() {
        let info = net_info(&stack(), Micros(5), true);
        assert_eq!((info.address, info.source, info.attached), ([0; 4], Source::None as u64, 1));
        assert_eq!(info.mac, [2, 0, 0, 0, 0, 9, 0, 0]);
    }

    #[test]
    fn every_name_that_is_no_drop_is_a_counter() {
        let counters = Counters::default();
        for name in NOT_DROPS {
            assert!(counters.each().any(|(counter, _)| counter == name), "{name}");
        }
    }

    #[test]
    fn lists_end() {
        let stack = stack();
        assert!(counter(&stack, 0, 0).is_some() && counter(&stack, 0, 10_000).is_none());
        assert!(socket(&stack, |_| 0, 0).is_none() && socket(&stack, |_| 0, u64::MAX).is_none());
    }
}
