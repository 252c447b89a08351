//! What the shell decides once: station address, network card abilities, limits, secrets.

use hic_tcp::{Config as TcpConfig, Micros};
use smoltcp::wire::{EthernetAddress, Ipv4Address};

/// What the network card does for us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// It completes TCP checksums of outgoing frames (we write the pseudo-header's sum).
    pub tx_csum_offload: bool,
    /// Largest TCP payload that it splits into segments; 0 if it does not. Needs `tx_csum_offload`.
    pub tso_max: u32,
}

/// An IPv4 configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Our address.
    pub address: Ipv4Address,
    /// Length of the network prefix, 0 to 32.
    pub prefix_len: u8,
    /// Where packets to other networks go.
    pub gateway: Option<Ipv4Address>,
    /// Name servers; unspecified (0.0.0.0) where there are fewer.
    pub dns: [Ipv4Address; 2],
}

impl Address {
    /// Whether `other` is in our network, to be reached without the gateway.
    pub fn on_link(&self, other: Ipv4Address) -> bool {
        (self.address.to_bits() ^ other.to_bits()) & self.mask() == 0
    }

    /// Whether `other` is the broadcast address of our network. There is none in a /31 or /32 (RFC 3021).
    pub fn is_subnet_broadcast(&self, other: Ipv4Address) -> bool {
        self.prefix_len < 31 && self.on_link(other) && other.to_bits() | self.mask() == u32::MAX
    }

    fn mask(&self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix_len.min(32))).unwrap_or(0)
    }
}

/// Where the address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressSource {
    /// Always this one.
    Static(Address),
    /// DHCP; if it gives nothing for `after`, `fallback` until it does.
    Dhcp {
        /// The address to use meanwhile.
        fallback: Option<Address>,
        /// How long to wait for a first lease.
        after: Micros,
    },
}

/// Bounds of the tables: what a stranger can make us hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in any state.
    pub connections: usize,
    /// Listeners.
    pub listeners: usize,
    /// UDP sockets.
    pub udp_sockets: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 4096, listeners: 64, udp_sockets: 256 }
    }
}

/// Everything that a [`crate::Stack`] is made from.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our station address.
    pub mac: EthernetAddress,
    /// Largest IP packet on the link, 576 to 65535; 1500 on Ethernet.
    pub mtu: u16,
    /// The network card.
    pub capabilities: Capabilities,
    /// Where our address comes from.
    pub source: AddressSource,
    /// Name to give to DHCP, at most 32 octets; empty for none.
    pub host_name: &'static str,
    /// For initial sequence numbers, timestamp offsets and port choice. Made once, the same for every instance.
    pub secret: [u8; 16],
    /// Bounds.
    pub limits: Limits,
    /// For connections; `mss` and ring sizes are set for each.
    pub tcp: TcpConfig,
    /// Whether what belongs to nobody is answered (TCP: reset, else ICMP unreachable). Off while two instances share the
    /// link.
    pub reset_strangers: bool,
}

impl Config {
    /// Defaults around what has none.
    pub fn new(mac: EthernetAddress, source: AddressSource, secret: [u8; 16]) -> Self {
        Self {
            mac,
            mtu: 1500,
            capabilities: Capabilities::default(),
            source,
            host_name: "",
            secret,
            limits: Limits::default(),
            tcp: TcpConfig::default(),
            reset_strangers: true,
        }
    }
}
