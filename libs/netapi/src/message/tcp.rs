//! `tcp@1`: what an application asks on the service port, on a listener port, and on a connection port.
//!
//! Three command types, one for each kind of port, so that "accept on a connection" cannot be expressed. Word 0 is always
//! the command sequence number (see [`super::sequence`]).

use super::words::{exact16, exact32, low16, pack_socket, unpack_socket};
use super::{Message, NetError};
use core::net::SocketAddrV4;

const INTERFACE: u32 = 0x0001_0000;
const LISTEN: u32 = INTERFACE | 1;
const CONNECT: u32 = INTERFACE | 2;
const ACCEPT: u32 = INTERFACE | 3;
const CLOSE_LISTENER: u32 = INTERFACE | 4;
const SHUTDOWN: u32 = INTERFACE | 5;
const CLOSE: u32 = INTERFACE | 6;
const ABORT: u32 = INTERFACE | 7;
const INFO: u32 = INTERFACE | 8;

/// On the service port `tcp`. Both carry the application's notification in [`super::CAP_NOTIFICATION`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceCommand {
    /// Become a listener. Reply: [`Listening`] with the listener port.
    Listen {
        /// Command number.
        seq: u64,
        /// Local port, not 0.
        local_port: u16,
        /// Connections that may wait for Accept, half-open ones included; at least 1.
        backlog: u16,
        /// Bytes of each ring of an accepted connection; see [`crate::region::Layout::new`] for the range.
        buffer_size: u32,
        /// Bits to signal when a connection waits for Accept.
        signal: u64,
    },
    /// Open a connection. Reply at once: [`Opened`]; the region's state tells when it is established.
    Connect {
        /// Command number.
        seq: u64,
        /// Where to.
        remote: SocketAddrV4,
        /// Local port, 0 for an ephemeral one.
        local_port: u16,
        /// Bytes of each ring.
        buffer_size: u32,
        /// Bits to signal for this connection.
        signal: u64,
    },
}

/// On a listener port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerCommand {
    /// Take the oldest established connection. Reply: [`Opened`], or [`NetError::WouldBlock`].
    Accept {
        /// Command number.
        seq: u64,
        /// Bits to signal for the new connection, on the listener's notification.
        signal: u64,
    },
    /// Stop listening; connections not accepted are reset.
    Close {
        /// Command number.
        seq: u64,
    },
}

/// On a connection port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionCommand {
    /// No more data will be written: FIN after what the ring holds. (Setting the region's flag and kicking is the same.)
    Shutdown {
        /// Command number.
        seq: u64,
    },
    /// Shutdown, and drop what arrives from now on. The port stays valid until the application drops it.
    Close {
        /// Command number.
        seq: u64,
    },
    /// Reset now.
    Abort {
        /// Command number.
        seq: u64,
    },
    /// Reply: [`Info`]. Changes nothing.
    Info,
}

fn sequence(words: &[u64; 4]) -> Result<u64, NetError> {
    let [seq, rest @ ..] = words;
    if rest.iter().all(|word| *word == 0) { Ok(*seq) } else { Err(NetError::BadArgument) }
}

impl ServiceCommand {
    /// As a message.
    pub fn encode(&self) -> Message {
        match *self {
            Self::Listen { seq, local_port, backlog, buffer_size, signal } => Message {
                label: LISTEN,
                words: [seq, u64::from(backlog) << 16 | u64::from(local_port), buffer_size.into(), signal],
            },
            Self::Connect { seq, remote, local_port, buffer_size, signal } => Message {
                label: CONNECT,
                words: [
                    seq,
                    pack_socket(remote),
                    u64::from(buffer_size) << 16 | u64::from(local_port),
                    signal,
                ],
            },
        }
    }

    /// From a message.
    ///
    /// # Errors
    /// [`NetError::UnknownOperation`] for a foreign label, [`NetError::BadArgument`] for a value out of range.
    pub fn decode(message: &Message) -> Result<Self, NetError> {
        let [seq, first, second, signal] = message.words;
        let bad = NetError::BadArgument;
        match message.label {
            LISTEN => {
                let (local_port, backlog) = (low16(first), exact16(first >> 16).ok_or(bad)?);
                if local_port == 0 || backlog == 0 {
                    return Err(bad);
                }
                Ok(Self::Listen {
                    seq,
                    local_port,
                    backlog,
                    buffer_size: exact32(second).ok_or(bad)?,
                    signal,
                })
            }
            CONNECT => {
                let remote = unpack_socket(first).ok_or(bad)?;
                if remote.port() == 0 || remote.ip().is_unspecified() {
                    return Err(bad);
                }
                let buffer_size = exact32(second >> 16).ok_or(bad)?;
                Ok(Self::Connect { seq, remote, local_port: low16(second), buffer_size, signal })
            }
            _ => Err(NetError::UnknownOperation),
        }
    }

    /// The command's sequence number.
    pub fn seq(&self) -> u64 {
        match *self {
            Self::Listen { seq, .. } | Self::Connect { seq, .. } => seq,
        }
    }
}

impl ListenerCommand {
    /// As a message.
    pub fn encode(&self) -> Message {
        match *self {
            Self::Accept { seq, signal } => Message { label: ACCEPT, words: [seq, signal, 0, 0] },
            Self::Close { seq } => Message { label: CLOSE_LISTENER, words: [seq, 0, 0, 0] },
        }
    }

    /// From a message.
    ///
    /// # Errors
    /// As [`ServiceCommand::decode`].
    pub fn decode(message: &Message) -> Result<Self, NetError> {
        match message.label {
            ACCEPT => match message.words {
                [seq, signal, 0, 0] => Ok(Self::Accept { seq, signal }),
                _ => Err(NetError::BadArgument),
            },
            CLOSE_LISTENER => Ok(Self::Close { seq: sequence(&message.words)? }),
            _ => Err(NetError::UnknownOperation),
        }
    }

    /// The command's sequence number.
    pub fn seq(&self) -> u64 {
        match *self {
            Self::Accept { seq, .. } | Self::Close { seq } => seq,
        }
    }
}

impl ConnectionCommand {
    /// As a message.
    pub fn encode(&self) -> Message {
        let (label, seq) = match *self {
            Self::Shutdown { seq } => (SHUTDOWN, seq),
            Self::Close { seq } => (CLOSE, seq),
            Self::Abort { seq } => (ABORT, seq),
            Self::Info => (INFO, 0),
        };
        Message { label, words: [seq, 0, 0, 0] }
    }

    /// From a message.
    ///
    /// # Errors
    /// As [`ServiceCommand::decode`].
    pub fn decode(message: &Message) -> Result<Self, NetError> {
        let seq = sequence(&message.words);
        match message.label {
            SHUTDOWN => Ok(Self::Shutdown { seq: seq? }),
            CLOSE => Ok(Self::Close { seq: seq? }),
            ABORT => Ok(Self::Abort { seq: seq? }),
            INFO => Ok(Self::Info),
            _ => Err(NetError::UnknownOperation),
        }
    }

    /// The command's sequence number, `None` for a query.
    pub fn seq(&self) -> Option<u64> {
        match *self {
            Self::Shutdown { seq } | Self::Close { seq } | Self::Abort { seq } => Some(seq),
            Self::Info => None,
        }
    }
}

/// Reply to Listen; the port is in [`super::CAP_PORT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The port listened on.
    pub local_port: u16,
}

/// Reply to Connect and Accept; capabilities in [`super::CAP_PORT`], [`super::CAP_REGION`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Our end.
    pub local: SocketAddrV4,
    /// The other end.
    pub remote: SocketAddrV4,
    /// Length of the data region in bytes.
    pub region_len: u64,
    /// Bits to signal on the port as the doorbell.
    pub doorbell_bits: u64,
}

/// Reply to Info.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Our end.
    pub local: SocketAddrV4,
    /// The other end.
    pub remote: SocketAddrV4,
    /// The state's code, as `hic-tcp` numbers them; for display.
    pub state: u32,
    /// Why it ended, if it did.
    pub error: Option<NetError>,
}

impl Listening {
    /// As a reply.
    pub fn encode(&self) -> Message {
        Message::ok([self.local_port.into(), 0, 0, 0])
    }

    /// From the words of a success reply.
    ///
    /// # Errors
    /// [`NetError::Protocol`] if they are not such a reply.
    pub fn decode(words: &[u64; 4]) -> Result<Self, NetError> {
        let [port, ..] = *words;
        Ok(Self { local_port: exact16(port).ok_or(NetError::Protocol)? })
    }
}

impl Opened {
    /// As a reply.
    pub fn encode(&self) -> Message {
        Message::ok([pack_socket(self.local), pack_socket(self.remote), self.region_len, self.doorbell_bits])
    }

    /// From the words of a success reply.
    ///
    /// # Errors
    /// [`NetError::Protocol`] if they are not such a reply.
    pub fn decode(words: &[u64; 4]) -> Result<Self, NetError> {
        let [local, remote, region_len, doorbell_bits] = *words;
        let socket = |word| unpack_socket(word).ok_or(NetError::Protocol);
        Ok(Self { local: socket(local)?, remote: socket(remote)?, region_len, doorbell_bits })
    }
}

impl Info {
    /// As a reply.
    pub fn encode(&self) -> Message {
        let error = self.error.map_or(0, NetError::code);
        Message::ok([pack_socket(self.local), pack_socket(self.remote), self.state.into(), error.into()])
    }

    /// From the words of a success reply.
    ///
    /// # Errors
    /// [`NetError::Protocol`] if they are not such a reply.
    pub fn decode(words: &[u64; 4]) -> Result<Self, NetError> {
        let [local, remote, state, error] = *words;
        let bad = NetError::Protocol;
        Ok(Self {
            local: unpack_socket(local).ok_or(bad)?,
            remote: unpack_socket(remote).ok_or(bad)?,
            state: exact32(state).ok_or(bad)?,
            error: match exact32(error).ok_or(bad)? {
                0 => None,
                code => Some(NetError::from_code(code).ok_or(bad)?),
            },
        })
    }
}

#[cfg(test)]
#[path = "tcp_tests.rs"]
mod tests;
