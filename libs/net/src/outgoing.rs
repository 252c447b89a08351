//! One IP packet on its way out, before it has a next hop and a frame.

use crate::env::Socket;
use alloc::vec::Vec;
use smoltcp::wire::{IpProtocol, Ipv4Address};

/// What the card must do with a TCP segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Card {
    /// Nothing.
    #[default]
    Nothing,
    /// Complete the TCP checksum.
    Checksum,
    /// Split into segments of `mss`; the TCP header has `header_len` octets.
    Segment { mss: u16, header_len: u16 },
}

/// The header of one packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IpOut {
    /// Our address at that time.
    pub source: Ipv4Address,
    pub destination: Ipv4Address,
    pub protocol: IpProtocol,
    /// Octets above IP.
    pub len: usize,
    /// Never to be fragmented (TCP: path MTU discovery).
    pub dont_fragment: bool,
    /// The socket whose region the payload comes from.
    pub region: Option<Socket>,
    pub card: Card,
}

impl Default for IpOut {
    fn default() -> Self {
        Self {
            source: Ipv4Address::UNSPECIFIED,
            destination: Ipv4Address::UNSPECIFIED,
            protocol: IpProtocol::Icmp,
            len: 0,
            dont_fragment: false,
            region: None,
            card: Card::Nothing,
        }
    }
}

/// A packet that waits for its next hop to be found, payload copied.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiting {
    pub out: IpOut,
    pub payload: Vec<u8>,
}
