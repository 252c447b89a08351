//! Names of flows.

use core::net::{Ipv4Addr, SocketAddrV4};

/// TCP's IP protocol number.
pub const PROTO_TCP: u8 = 6;
/// UDP's IP protocol number.
pub const PROTO_UDP: u8 = 17;

/// What an entry of the table matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlowKey {
    /// One connection.
    Exact {
        /// IP protocol.
        protocol: u8,
        /// This machine's end.
        local: SocketAddrV4,
        /// The other end.
        remote: SocketAddrV4,
    },
    /// All that comes to a port, a listener's or a UDP socket's, and has no exact entry.
    Port {
        /// IP protocol.
        protocol: u8,
        /// The port.
        port: u16,
    },
}

const EXACT: u64 = 1;
const PORT: u64 = 2;

fn pack(socket: SocketAddrV4) -> u64 {
    u64::from(socket.ip().to_bits()) << 16 | u64::from(socket.port())
}

fn unpack(word: u64) -> Option<SocketAddrV4> {
    let address = u32::try_from(word >> 16).ok()?;
    Some(SocketAddrV4::new(Ipv4Addr::from_bits(address), word as u16))
}

impl FlowKey {
    /// As three words: kind | protocol << 8, local address << 16 | port, remote address << 16 | port.
    #[must_use]
    pub fn to_words(&self) -> [u64; 3] {
        match *self {
            Self::Exact { protocol, local, remote } => {
                [EXACT | u64::from(protocol) << 8, pack(local), pack(remote)]
            }
            Self::Port { protocol, port } => [PORT | u64::from(protocol) << 8, port.into(), 0],
        }
    }

    /// From three words; `None` if they are no key's.
    #[must_use]
    pub fn from_words(words: [u64; 3]) -> Option<Self> {
        let [kind, local, remote] = words;
        let protocol = u8::try_from(kind >> 8).ok()?;
        match kind & 0xff {
            EXACT => Some(Self::Exact { protocol, local: unpack(local)?, remote: unpack(remote)? }),
            PORT if remote == 0 => Some(Self::Port { protocol, port: u16::try_from(local).ok()? }),
            _ => None,
        }
    }
}
