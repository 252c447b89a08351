//! Requests and answers of `eth@1` as IPC carries them: a label and four words.
//!
//! A request's label is `0x10 << 16 | operation`; an answer's label is 0 or a [`Refusal`] code. A repeat of any request
//! (after the driver died under it) is harmless: attaching again gives the same region, a flow that is already the
//! caller's is inserted again with success.

use crate::flow::FlowKey;
use core::fmt;

/// Version of the interface.
pub const VERSION: u32 = 1;
/// Request slot of Attach: the notification (SEND) that the driver signals.
pub const CAP_NOTIFICATION: usize = 0;
/// Answer slot of Attach: the packet region (READ, WRITE).
pub const CAP_REGION: usize = 0;
/// Answer slot of Attach: the notification (SEND) that wakes the driver.
pub const CAP_DOORBELL: usize = 1;

const INTERFACE: u32 = 0x0010_0000;
const ATTACH: u32 = INTERFACE | 1;
const INSERT_FLOW: u32 = INTERFACE | 2;
const REMOVE_FLOW: u32 = INTERFACE | 3;
const HOLD: u32 = INTERFACE | 4;
const RELEASE: u32 = INTERFACE | 5;
const STATS: u32 = INTERFACE | 6;

/// A message as IPC carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// What is asked for, or for an answer the outcome.
    pub label: u32,
    /// The arguments.
    pub words: [u64; 4],
}

bitflags::bitflags! {
    /// What the card does for the stack.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Features: u32 {
        /// It completes checksums of outgoing frames ([`crate::Offload::Checksum`]).
        const TX_CHECKSUM = 1 << 0;
        /// It checks checksums of incoming frames (per frame: [`crate::RxFrame::checksum_valid`]).
        const RX_CHECKSUM = 1 << 1;
        /// It splits TCP over IPv4 ([`crate::Offload::Segment`]) of up to [`Attached::tso_max`] payload octets.
        const TX_SEGMENT = 1 << 2;
    }
}

/// What a stack asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Join, or join again after a restart; with a notification in [`CAP_NOTIFICATION`]. Answer: [`Attached`] with region and
    /// doorbell. The first stack to attach also gets what no flow entry names.
    Attach {
        /// [`VERSION`].
        version: u32,
        /// Bits to signal.
        signal: u64,
    },
    /// Claim a flow if nobody has it. [`Refusal::FlowTaken`] if another stack has, [`Refusal::TableFull`].
    InsertFlow(FlowKey),
    /// Give an own flow back. [`Refusal::NoSuchFlow`].
    RemoveFlow(FlowKey),
    /// Keep frames of an own flow back until Release or `deadline`. Moving flows between stacks is not part of this version of
    /// the driver: the answer is [`Refusal::NotSupported`].
    Hold {
        /// The flow.
        flow: FlowKey,
        /// Monotonic nanoseconds after which the hold ends by itself.
        deadline: u64,
    },
    /// Hand a held flow to the calling stack. As Hold, [`Refusal::NotSupported`].
    Release(FlowKey),
    /// The driver's counters; the answer carries [`crate::Counters`] inline.
    Stats,
}

impl Request {
    /// As a message.
    #[must_use]
    pub fn encode(&self) -> Message {
        let flow = |label, flow: &FlowKey, last| {
            let [a, b, c] = flow.to_words();
            Message { label, words: [a, b, c, last] }
        };
        match self {
            Self::Attach { version, signal } => {
                Message { label: ATTACH, words: [u64::from(*version), *signal, 0, 0] }
            }
            Self::InsertFlow(key) => flow(INSERT_FLOW, key, 0),
            Self::RemoveFlow(key) => flow(REMOVE_FLOW, key, 0),
            Self::Hold { flow: key, deadline } => flow(HOLD, key, *deadline),
            Self::Release(key) => flow(RELEASE, key, 0),
            Self::Stats => Message { label: STATS, words: [0; 4] },
        }
    }

    /// From a message.
    ///
    /// # Errors
    /// [`Refusal::UnknownOperation`] for a foreign label, [`Refusal::BadArgument`] for a value out of range or a set bit that
    /// no field owns.
    pub fn decode(message: &Message) -> Result<Self, Refusal> {
        let [a, b, c, last] = message.words;
        let flow = || FlowKey::from_words([a, b, c]).ok_or(Refusal::BadArgument);
        let request = match message.label {
            ATTACH => {
                Self::Attach { version: u32::try_from(a).map_err(|_| Refusal::BadArgument)?, signal: b }
            }
            INSERT_FLOW => Self::InsertFlow(flow()?),
            REMOVE_FLOW => Self::RemoveFlow(flow()?),
            HOLD => Self::Hold { flow: flow()?, deadline: last },
            RELEASE => Self::Release(flow()?),
            STATS => Self::Stats,
            _ => return Err(Refusal::UnknownOperation),
        };
        if request.encode() == *message { Ok(request) } else { Err(Refusal::BadArgument) }
    }
}

/// Answer to Attach; capabilities in [`CAP_REGION`] and [`CAP_DOORBELL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Our station address.
    pub mac: [u8; 6],
    /// Largest IP packet on the link, octets.
    pub mtu: u16,
    /// What the card does for the stack.
    pub features: Features,
    /// Largest TCP payload of a frame with [`crate::Offload::Segment`], octets; 0 without [`Features::TX_SEGMENT`].
    pub tso_max: u32,
    /// Length of the packet region in bytes.
    pub region_len: u64,
    /// Bits to signal on the doorbell.
    pub doorbell_bits: u64,
}

impl Attached {
    /// As a good answer.
    #[must_use]
    pub fn encode(&self) -> Message {
        let [a, b, c, d, e, f] = self.mac;
        let link = u64::from_be_bytes([0, 0, a, b, c, d, e, f]) | u64::from(self.mtu) << 48;
        let offload = u64::from(self.features.bits()) | u64::from(self.tso_max) << 32;
        Message { label: 0, words: [link, offload, self.region_len, self.doorbell_bits] }
    }

    /// From the words of a good answer.
    #[must_use]
    pub fn decode(words: &[u64; 4]) -> Self {
        let [link, offload, region_len, doorbell_bits] = *words;
        let [_, _, a, b, c, d, e, f] = link.to_be_bytes();
        Self {
            mac: [a, b, c, d, e, f],
            mtu: (link >> 48) as u16,
            features: Features::from_bits_truncate(offload as u32),
            tso_max: (offload >> 32) as u32,
            region_len,
            doorbell_bits,
        }
    }
}

/// Why the driver did not do what was asked; the label of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Refusal {
    /// The label names no operation of this interface.
    UnknownOperation = 1,
    /// An argument is out of range.
    BadArgument = 2,
    /// The stack speaks another version of the interface.
    Version = 3,
    /// Attach came without a notification.
    MissingCapability = 4,
    /// As many stacks as the driver can serve are attached.
    TooManyStacks = 5,
    /// The caller is not attached.
    NotAttached = 6,
    /// The flow table is full; flows in it go on.
    TableFull = 7,
    /// Another stack owns the flow.
    FlowTaken = 8,
    /// The caller owns no such flow.
    NoSuchFlow = 9,
    /// This version of the driver cannot do it.
    NotSupported = 10,
    /// The driver's account has no memory for another packet region.
    NoMemory = 11,
}

impl Refusal {
    const ALL: [Self; 11] = [
        Self::UnknownOperation,
        Self::BadArgument,
        Self::Version,
        Self::MissingCapability,
        Self::TooManyStacks,
        Self::NotAttached,
        Self::TableFull,
        Self::FlowTaken,
        Self::NoSuchFlow,
        Self::NotSupported,
        Self::NoMemory,
    ];

    /// As the label of an answer: never 0.
    #[must_use]
    pub const fn label(self) -> u32 {
        self as u32
    }

    /// As an answer.
    #[must_use]
    pub const fn message(self) -> Message {
        Message { label: self.label(), words: [0; 4] }
    }

    /// Reads the label of an answer; `None` for a good one. A number that names no refusal is [`Refusal::UnknownOperation`].
    #[must_use]
    pub fn from_label(label: u32) -> Option<Self> {
        let known = Self::ALL.into_iter().find(|r| r.label() == label);
        if label == 0 { None } else { Some(known.unwrap_or(Self::UnknownOperation)) }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownOperation => "no such operation in eth@1",
            Self::BadArgument => "an argument is out of range",
            Self::Version => "the driver speaks another version of eth@1",
            Self::MissingCapability => "the request needs a notification and came without",
            Self::TooManyStacks => "no place for another stack at the driver",
            Self::NotAttached => "attach first",
            Self::TableFull => "the flow table is full",
            Self::FlowTaken => "the flow belongs to another stack",
            Self::NoSuchFlow => "the caller has no such flow",
            Self::NotSupported => "this version of the driver does not move flows",
            Self::NoMemory => "the driver has no memory for another packet region",
        })
    }
}

impl core::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_message(label in 0x10_0000u32..0x10_0008, words: [u64; 4]) {
            let message = Message { label, words };
            if let Ok(request) = Request::decode(&message) { prop_assert_eq!(request.encode(), message); }
        }

        #[test]
        fn the_answer_to_attach_survives_its_encoding(
            mac: [u8; 6], mtu: u16, features in 0u32..8, tso_max: u32, region_len: u64, doorbell_bits: u64,
        ) {
            let features = Features::from_bits_truncate(features);
            let attached = Attached { mac, mtu, features, tso_max, region_len, doorbell_bits };
            prop_assert_eq!(Attached::decode(&attached.encode().words), attached);
        }
    }

    #[test]
    fn every_refusal_survives_its_label() {
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::from_label(refusal.label()), Some(refusal));
        }
        assert_eq!(Refusal::from_label(0), None);
    }
}
