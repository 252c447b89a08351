//! `udp@1`: what an application asks on the service port and on a socket port. Datagrams themselves travel in the data
//! region (see [`crate::datagram`]). Word 0 is the command sequence number (see [`super::sequence`]).

use super::words::{exact32, low16};
use super::{Message, NetError};

const INTERFACE: u32 = 0x0002_0000;
const BIND: u32 = INTERFACE | 1;
const CLOSE: u32 = INTERFACE | 2;

/// On the service port `udp`, with the application's notification in [`super::CAP_NOTIFICATION`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceCommand {
    /// Open a socket. Reply: [`Bound`] with port and region.
    Bind {
        /// Command number.
        seq: u64,
        /// Local port, 0 for an ephemeral one.
        local_port: u16,
        /// Bytes of each datagram ring; see [`crate::region::Layout::new`] for the range.
        buffer_size: u32,
        /// Bits to signal for this socket.
        signal: u64,
    },
}

/// On a socket port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketCommand {
    /// Close; what the tx ring holds is sent first.
    Close {
        /// Command number.
        seq: u64,
    },
}

/// Reply to Bind; capabilities in [`super::CAP_PORT`], [`super::CAP_REGION`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The local port.
    pub local_port: u16,
    /// Length of the data region in bytes.
    pub region_len: u64,
    /// Bits to signal on the port as the doorbell.
    pub doorbell_bits: u64,
}

impl ServiceCommand {
    /// As a message.
    pub fn encode(&self) -> Message {
        let Self::Bind { seq, local_port, buffer_size, signal } = *self;
        Message { label: BIND, words: [seq, local_port.into(), buffer_size.into(), signal] }
    }

    /// From a message.
    ///
    /// # Errors
    /// [`NetError::UnknownOperation`] for a foreign label, [`NetError::BadArgument`] for a value out of range.
    pub fn decode(message: &Message) -> Result<Self, NetError> {
        let [seq, port, size, signal] = message.words;
        match (message.label, u16::try_from(port), exact32(size)) {
            (BIND, Ok(local_port), Some(buffer_size)) => {
                Ok(Self::Bind { seq, local_port, buffer_size, signal })
            }
            (BIND, ..) => Err(NetError::BadArgument),
            _ => Err(NetError::UnknownOperation),
        }
    }

    /// The command's sequence number.
    pub fn seq(&self) -> u64 {
        let Self::Bind { seq, .. } = *self;
        seq
    }
}

impl SocketCommand {
    /// As a message.
    pub fn encode(&self) -> Message {
        let Self::Close { seq } = *self;
        Message { label: CLOSE, words: [seq, 0, 0, 0] }
    }

    /// From a message.
    ///
    /// # Errors
    /// As [`ServiceCommand::decode`].
    pub fn decode(message: &Message) -> Result<Self, NetError> {
        match (message.label, message.words) {
            (CLOSE, [seq, 0, 0, 0]) => Ok(Self::Close { seq }),
            (CLOSE, _) => Err(NetError::BadArgument),
            _ => Err(NetError::UnknownOperation),
        }
    }

    /// The command's sequence number.
    pub fn seq(&self) -> u64 {
        let Self::Close { seq } = *self;
        seq
    }
}

impl Bound {
    /// As a reply.
    pub fn encode(&self) -> Message {
        Message::ok([self.local_port.into(), self.region_len, self.doorbell_bits, 0])
    }

    /// From the words of a success reply.
    ///
    /// # Errors
    /// [`NetError::Protocol`] if they are not such a reply.
    pub fn decode(words: &[u64; 4]) -> Result<Self, NetError> {
        let [port, region_len, doorbell_bits, spare] = *words;
        if port > 0xffff || spare != 0 {
            return Err(NetError::Protocol);
        }
        Ok(Self { local_port: low16(port), region_len, doorbell_bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bind_and_its_reply_survive_their_encoding(seq: u64, port: u16, size: u32, word: u64) {
            let bind = ServiceCommand::Bind { seq, local_port: port, buffer_size: size, signal: word };
            prop_assert_eq!(ServiceCommand::decode(&bind.encode()), Ok(bind));
            let bound = Bound { local_port: port, region_len: word, doorbell_bits: seq };
            prop_assert_eq!(Bound::decode(&bound.encode().words), Ok(bound));
        }

        #[test]
        fn arbitrary_messages_never_panic(label in 0x2_0000u32..0x2_0004, words: [u64; 4]) {
            let message = Message { label, words };
            if let Ok(command) = ServiceCommand::decode(&message) { prop_assert_eq!(command.encode(), message); }
            if let Ok(command) = SocketCommand::decode(&message) { prop_assert_eq!(command.encode(), message); }
            let _ = Bound::decode(&words);
        }
    }
}
