//! What the console may ask the stack about itself. Each request names a record by its index (word 0) and gets it inline;
//! nothing here changes anything.
//!
//! A good answer's label is [`crate::message::LABEL_OK`]; beyond the last record it is [`NO_RECORD`].

use hic_abi::{Plain, name_bytes, name_str};

const INTERFACE: u32 = 0x0003_0000;
/// Answers a [`NetInfo`] inline; the index is ignored.
pub const ADMIN_NET: u32 = INTERFACE | 1;
/// Answers a [`ConnectionInfo`] inline.
pub const ADMIN_CONNECTION: u32 = INTERFACE | 2;
/// Answers a [`CounterInfo`] inline.
pub const ADMIN_COUNTER: u32 = INTERFACE | 3;
/// Label of the answer to an index beyond the last record.
pub const NO_RECORD: u32 = 0x0003_ffff;

/// Where the interface's address comes from: [`NetInfo::source`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Source {
    /// There is no address yet.
    None = 0,
    /// A DHCP lease.
    Dhcp = 1,
    /// The static fallback.
    Static = 2,
}

impl Source {
    /// The name printed on the console.
    #[must_use]
    pub const fn name(number: u64) -> &'static str {
        match number {
            0 => "none",
            1 => "dhcp",
            2 => "static",
            _ => "unknown",
        }
    }
}

/// The interface, as [`ADMIN_NET`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct NetInfo {
    /// IPv4 address; 0.0.0.0 = none yet.
    pub address: [u8; 4],
    /// Gateway; 0.0.0.0 = none.
    pub gateway: [u8; 4],
    /// Name servers; 0.0.0.0 where there are fewer.
    pub dns: [[u8; 4]; 2],
    /// Station address, then two zero octets.
    pub mac: [u8; 8],
    /// Length of the network prefix, 0 to 32.
    pub prefix_len: u64,
    /// A [`Source`] number.
    pub source: u64,
    /// Seconds until the lease ends; 0 without one.
    pub lease_seconds: u64,
    /// 1 = attached to the driver, 0 = waiting for it.
    pub attached: u64,
    /// Frames received.
    pub frames_in: u64,
    /// Frames sent.
    pub frames_out: u64,
    /// Packets dropped, for all reasons together; each reason is a [`CounterInfo`].
    pub dropped: u64,
    /// TCP connections in any state.
    pub connections: u64,
    /// TCP listeners.
    pub listeners: u64,
    /// UDP sockets.
    pub udp_sockets: u64,
}

/// What a [`ConnectionInfo`] describes: its [`ConnectionInfo::protocol`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Protocol {
    /// A TCP connection.
    Tcp = 1,
    /// A TCP listener.
    TcpListener = 2,
    /// A UDP socket.
    Udp = 3,
}

impl Protocol {
    /// The name printed on the console.
    #[must_use]
    pub const fn name(number: u64) -> &'static str {
        match number {
            1 | 2 => "tcp",
            3 => "udp",
            _ => "unknown",
        }
    }
}

/// One socket, as [`ADMIN_CONNECTION`] answers: listeners first, then UDP sockets, then connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ConnectionInfo {
    /// A [`Protocol`] number.
    pub protocol: u64,
    /// Our address; 0.0.0.0 = any.
    pub local_address: [u8; 4],
    /// The other end's address; 0.0.0.0 = none.
    pub remote_address: [u8; 4],
    /// Our port.
    pub local_port: u64,
    /// The other end's port; 0 = none.
    pub remote_port: u64,
    /// Name of the state (RFC 9293 3.3.2), zero padded; see [`ConnectionInfo::state`].
    pub state_name: [u8; 16],
    /// Bytes received in order from the other end.
    pub bytes_in: u64,
    /// Bytes that the other end acknowledged (UDP: bytes handed to the wire, headers of the ring included).
    pub bytes_out: u64,
    /// Segments sent again.
    pub retransmitted: u64,
    /// For how long it was not served at most, over all updates that moved it, nanoseconds.
    pub longest_freeze: u64,
}

impl ConnectionInfo {
    /// The name of its state.
    #[must_use]
    pub fn state(&self) -> &str {
        name_str(&self.state_name)
    }
}

/// One counter, as [`ADMIN_COUNTER`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct CounterInfo {
    /// Its name, zero padded; see [`CounterInfo::name`].
    pub name_bytes: [u8; 32],
    /// How often since the stack was started.
    pub value: u64,
}

impl CounterInfo {
    /// A counter with this name, cut to 32 bytes.
    #[must_use]
    pub fn new(name: &str, value: u64) -> Self {
        Self { name_bytes: name_bytes(name), value }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        name_str(&self.name_bytes)
    }
}

// SAFETY: `repr(C)`, 24 bytes of octets, then integers of 8 bytes only: no padding, every bit pattern is a value.
unsafe impl Plain for NetInfo {}
// SAFETY: `repr(C)`, octets in multiples of 8 between integers of 8 bytes: no padding, every bit pattern is a value.
unsafe impl Plain for ConnectionInfo {}
// SAFETY: `repr(C)`, 32 octets and one integer of 8 bytes: no padding, every bit pattern is a value.
unsafe impl Plain for CounterInfo {}

// The padding claims above, checked: the size is the sum of the fields.
const _: () = assert!(size_of::<NetInfo>() == 24 + 10 * 8);
const _: () = assert!(size_of::<ConnectionInfo>() == 8 + 8 + 2 * 8 + 16 + 4 * 8);
const _: () = assert!(size_of::<CounterInfo>() == 40);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_record() {
        let counter = CounterInfo::new("ip_bad_checksum", 7);
        assert_eq!((counter.name(), counter.value), ("ip_bad_checksum", 7));
        assert_eq!(Source::name(Source::Dhcp as u64), "dhcp");
        assert_eq!(Protocol::name(Protocol::TcpListener as u64), "tcp");
    }

    #[test]
    fn a_record_fits_one_message() {
        assert!(size_of::<NetInfo>() <= hic_abi::message::MAX_INLINE);
        assert!(size_of::<ConnectionInfo>() <= hic_abi::message::MAX_INLINE);
    }
}
