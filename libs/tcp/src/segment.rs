//! One segment as values, on its way in and on its way out. It must never look at connection state.

use crate::seq::Seq;
use core::ops::Range;

/// Both ends of a connection, addresses in network order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Tuple {
    /// Our IPv4 address.
    pub local_addr: [u8; 4],
    /// Our port.
    pub local_port: u16,
    /// The peer's IPv4 address.
    pub remote_addr: [u8; 4],
    /// The peer's port.
    pub remote_port: u16,
}

bitflags::bitflags! {
    /// Control bits (RFC 9293 3.1). URG and the ECN bits are neither read nor sent.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Flags: u8 {
        /// No more data from the sender.
        const FIN = 0x01;
        /// Synchronize sequence numbers.
        const SYN = 0x02;
        /// Reset the connection.
        const RST = 0x04;
        /// Push.
        const PSH = 0x08;
        /// The acknowledgement field is significant.
        const ACK = 0x10;
    }
}

/// The timestamps option (RFC 7323 3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timestamp {
    /// The sender's clock, milliseconds plus a secret offset on our side.
    pub value: u32,
    /// The other side's clock, echoed.
    pub echo: u32,
}

/// Most SACK blocks one segment carries: three fit beside timestamps (RFC 2018 3).
pub const SACK_BLOCKS: usize = 3;

/// The options of one segment that this stack knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Maximum segment size, on SYN only (RFC 9293 3.7.1).
    pub mss: Option<u16>,
    /// Window scale shift, 0 to 14, on SYN only (RFC 7323 2.2).
    pub window_scale: Option<u8>,
    /// SACK permitted, on SYN only (RFC 2018 2).
    pub sack_permitted: bool,
    /// SACK blocks: left edge, and right edge exclusive (RFC 2018 3).
    pub sack: [Option<(Seq, Seq)>; SACK_BLOCKS],
    /// Timestamps.
    pub timestamp: Option<Timestamp>,
}

impl Options {
    /// Octets that these options take in the header, padding included: a multiple of 4, at most 40.
    #[must_use]
    pub fn len(&self) -> usize {
        let blocks = self.sack.iter().flatten().count();
        let sack = if blocks == 0 { 0 } else { 4 + 8 * blocks };
        usize::from(self.mss.is_some()) * 4
            + usize::from(self.window_scale.is_some()) * 4
            + usize::from(self.sack_permitted) * 4
            + usize::from(self.timestamp.is_some()) * 12
            + sack
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A segment that arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Segment<'a> {
    /// Sequence number of the first octet, or of the SYN.
    pub seq: Seq,
    /// Acknowledgement number; `None` without the ACK bit.
    pub ack: Option<Seq>,
    /// Control bits.
    pub flags: Flags,
    /// The window field as it is in the header, not scaled.
    pub window: u16,
    /// Known options.
    pub options: Options,
    /// Data.
    pub payload: &'a [u8],
}

impl Segment<'_> {
    /// Octets of sequence space that it takes: data, SYN and FIN.
    #[must_use]
    pub fn seq_len(&self) -> u32 {
        self.payload.len() as u32
            + u32::from(self.flags.contains(Flags::SYN))
            + u32::from(self.flags.contains(Flags::FIN))
    }
}

/// A segment to send. Its bytes stay in the tx ring: `payload` says which.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SegmentOut {
    /// Sequence number.
    pub seq: Seq,
    /// Acknowledgement number; `None` without the ACK bit.
    pub ack: Option<Seq>,
    /// Control bits, ACK included.
    pub flags: Flags,
    /// The window field, scaled already.
    pub window: u16,
    /// Options.
    pub options: Options,
    /// Stream offsets (from 0, the first byte that the application wrote) of the data; may be empty, may be longer than
    /// `mss`: then the network card splits it (or the caller asked for it by `max_payload`).
    pub payload: Range<u64>,
    /// Data octets each packet on the wire may carry, for segmentation offload.
    pub mss: u16,
}

/// The answer to a segment that belongs to no connection (RFC 9293 3.10.7.1). `None` for a reset, which is never
/// answered.
#[must_use]
pub fn reset_for(segment: &Segment<'_>) -> Option<SegmentOut> {
    if segment.flags.contains(Flags::RST) {
        return None;
    }
    Some(match segment.ack {
        Some(ack) => SegmentOut { seq: ack, flags: Flags::RST, ..SegmentOut::default() },
        None => SegmentOut {
            ack: Some(segment.seq.add(segment.seq_len())),
            flags: Flags::RST | Flags::ACK,
            ..SegmentOut::default()
        },
    })
}
