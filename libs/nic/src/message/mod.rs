//! Requests and answers of `eth@1` as IPC carries them: a label and four words.
//!
//! A request's label is `0x10 << 16 | operation`; an answer's label is 0 or a [`Refusal`] code. A repeat of any request
//! (after the driver died under it) is harmless: attaching again gives the same region, a flow that is already the
//! caller's is inserted again with success, a held one is held, a taken one taken.
//!
//! This module never decides whether a request is granted.

mod keys;
mod refusal;
mod request;

pub use keys::{FlowKeys, KEY_BYTES, MAX_KEYS, write_keys};
pub use refusal::Refusal;
pub use request::Request;

/// Version of the interface.
pub const VERSION: u32 = 1;
/// Request slot of Attach: what the driver signals (SEND): a port to the stack's own endpoint, which ends with the stack, or a notification.
pub const CAP_NOTIFICATION: usize = 0;
/// Answer slot of Attach: the packet region (READ, WRITE).
pub const CAP_REGION: usize = 0;
/// Answer slot of Attach: the notification (SEND) that wakes the driver.
pub const CAP_DOORBELL: usize = 1;

const INTERFACE: u32 = 0x0010_0000;

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_message(label in 0x10_0000u32..0x10_000b, words: [u64; 4]) {
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
