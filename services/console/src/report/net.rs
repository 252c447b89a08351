//! The network: the interface and its sockets.

use super::update::milliseconds;
use super::{Report, clean, table::Table};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;
use hic_netapi::admin::{ConnectionInfo, NetInfo, Protocol, Source};
use serde::Serialize;

/// `net`
#[derive(Clone, Debug, Default, Serialize)]
pub struct Net {
    /// IPv4 address; none before the first lease.
    pub address: Option<String>,
    /// Length of the network prefix.
    pub prefix: u64,
    /// Gateway.
    pub gateway: Option<String>,
    /// Name servers.
    pub dns: Vec<String>,
    /// Station address.
    pub mac: String,
    /// dhcp, static or none.
    pub source: &'static str,
    /// Seconds until the lease ends.
    pub lease_seconds: u64,
    /// Whether the stack has its driver.
    pub attached: bool,
    /// Frames received.
    pub frames_in: u64,
    /// Frames sent.
    pub frames_out: u64,
    /// Packets dropped.
    pub dropped: u64,
    /// TCP connections.
    pub connections: u64,
    /// TCP listeners.
    pub listeners: u64,
    /// UDP sockets.
    pub udp_sockets: u64,
    /// All counters by name.
    pub counters: BTreeMap<String, u64>,
}

impl Net {
    /// From what the stack answered.
    #[must_use]
    pub fn new(info: &NetInfo, counters: BTreeMap<String, u64>) -> Self {
        Self {
            address: address(info.address),
            prefix: info.prefix_len,
            gateway: address(info.gateway),
            dns: info.dns.iter().filter_map(|d| address(*d)).collect(),
            mac: mac(&info.mac),
            source: Source::name(info.source),
            lease_seconds: info.lease_seconds,
            attached: info.attached != 0,
            frames_in: info.frames_in,
            frames_out: info.frames_out,
            dropped: info.dropped,
            connections: info.connections,
            listeners: info.listeners,
            udp_sockets: info.udp_sockets,
            counters,
        }
    }
}

impl Report for Net {
    fn text(&self, out: &mut String) {
        let none = || String::from("none");
        let address = self.address.as_ref().map_or_else(none, |a| format!("{a}/{}", self.prefix));
        let lease =
            if self.lease_seconds > 0 { format!(", {} s left", self.lease_seconds) } else { String::new() };
        let _ = writeln!(out, "address   {address} ({}{lease})", self.source);
        let _ = writeln!(out, "gateway   {}", self.gateway.clone().unwrap_or_else(none));
        let dns = if self.dns.is_empty() { none() } else { self.dns.join(", ") };
        let _ = writeln!(out, "dns       {dns}");
        let driver = if self.attached { "attached" } else { "waiting for the driver" };
        let _ = writeln!(out, "station   {}, {driver}", self.mac);
        let _ = writeln!(
            out,
            "frames    {} in, {} out, {} dropped",
            self.frames_in, self.frames_out, self.dropped
        );
        let _ = writeln!(
            out,
            "sockets   {} TCP connections, {} TCP listeners, {} UDP",
            self.connections, self.listeners, self.udp_sockets
        );
        for (name, value) in self.counters.iter().filter(|(_, value)| **value > 0) {
            let _ = writeln!(out, "  {:32} {value}", clean(name));
        }
    }
}

/// `connections`
#[derive(Clone, Debug, Default, Serialize)]
pub struct Connections {
    /// Listeners, UDP sockets, connections.
    pub connections: Vec<Connection>,
    /// There are more than can be shown.
    pub truncated: bool,
}

/// One socket.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Connection {
    /// tcp or udp.
    pub protocol: &'static str,
    /// Its state (RFC 9293 3.3.2).
    pub state: String,
    /// Our end.
    pub local: String,
    /// The other end.
    pub remote: String,
    /// Bytes received in order.
    pub bytes_in: u64,
    /// Bytes acknowledged by the other end.
    pub bytes_out: u64,
    /// Segments sent again.
    pub retransmitted: u64,
    /// For how long it was not served at most, over all updates that moved it.
    pub longest_freeze_nanoseconds: u64,
}

impl From<&ConnectionInfo> for Connection {
    fn from(info: &ConnectionInfo) -> Self {
        Self {
            protocol: Protocol::name(info.protocol),
            state: info.state().into(),
            local: end(info.local_address, info.local_port),
            remote: end(info.remote_address, info.remote_port),
            bytes_in: info.bytes_in,
            bytes_out: info.bytes_out,
            retransmitted: info.retransmitted,
            longest_freeze_nanoseconds: info.longest_freeze,
        }
    }
}

impl Report for Connections {
    fn text(&self, out: &mut String) {
        let mut table = Table::new([
            "protocol",
            "local",
            "remote",
            "state",
            "in",
            "out",
            "retransmitted",
            "longest freeze",
        ]);
        for c in &self.connections {
            let [i, o, r] = [c.bytes_in, c.bytes_out, c.retransmitted].map(|n| n.to_string());
            let freeze = match c.longest_freeze_nanoseconds {
                0 => String::new(),
                freeze => milliseconds(freeze),
            };
            let (local, remote) = (c.local.clone(), c.remote.clone());
            table.row([c.protocol.into(), local, remote, clean(&c.state), i, o, r, freeze]);
        }
        table.print(out);
        if self.truncated {
            out.push_str("(not all are shown)\n");
        }
    }
}

/// An IPv4 address; 0.0.0.0 is none.
fn address(octets: [u8; 4]) -> Option<String> {
    let [a, b, c, d] = octets;
    (octets != [0; 4]).then(|| format!("{a}.{b}.{c}.{d}"))
}

fn end(octets: [u8; 4], port: u64) -> String {
    let host = address(octets).unwrap_or_else(|| "*".into());
    if port == 0 { format!("{host}:*") } else { format!("{host}:{port}") }
}

fn mac(octets: &[u8; 8]) -> String {
    let [a, b, c, d, e, f, ..] = octets;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

#[cfg(test)]
mod tests {
    use super::super::testing::both;
    use super::*;
    use hic_abi::{Plain, name_bytes};

    #[test]
    fn the_interface_shows_address_lease_and_counters() {
        let info = NetInfo {
            address: [10, 0, 2, 15],
            prefix_len: 24,
            source: Source::Dhcp as u64,
            lease_seconds: 60,
            mac: [0x52, 0x54, 0, 0, 0, 1, 0, 0],
            ..NetInfo::zeroed()
        };
        let counters = BTreeMap::from([("ip_bad_checksum".into(), 3), ("arp_bad".into(), 0)]);
        let (json, text) = both(&Net::new(&info, counters));
        assert_eq!(json["address"], "10.0.2.15");
        assert_eq!(json["counters"]["arp_bad"], 0);
        assert!(json["gateway"].is_null());
        assert!(
            text.contains("10.0.2.15/24 (dhcp, 60 s left)") && text.contains("52:54:00:00:00:01"),
            "{text}"
        );
        assert!(text.contains("ip_bad_checksum") && !text.contains("arp_bad"), "{text}");
    }

    #[test]
    fn a_listener_has_no_other_end() {
        let info = ConnectionInfo {
            protocol: Protocol::TcpListener as u64,
            local_port: 7,
            state_name: name_bytes("listen"),
            ..ConnectionInfo::zeroed()
        };
        let connections = alloc::vec![Connection::from(&info)];
        let (json, text) = both(&Connections { connections, truncated: false });
        assert_eq!(json["connections"][0]["remote"], "*:*");
        assert!(text.contains("tcp       *:7    *:*     listen"), "{text}");
    }
}
