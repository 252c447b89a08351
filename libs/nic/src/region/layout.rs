//! Where things are in a packet region. The geometry is fixed for version 1, so neither side can talk the other into another.

use core::fmt;

/// Received frames that can be on their way to the stack or in the card's hands together.
pub const RX_SLOTS: usize = 256;
/// Frames to send that can be under way.
pub const TX_SLOTS: usize = 256;
/// Octets of a packet buffer: a frame of a 1500-octet link with room.
pub const BUFFER_BYTES: usize = 2048;
/// Units of [`BUFFER_BYTES`] in the tx area.
pub const TX_UNITS: usize = 512;
/// Where in its buffer a received frame begins: the card's own header (virtio 1.2, 5.1.6, 12 octets) is before it.
pub const FRAME_OFFSET: usize = 12;
/// Longest frame that fits a receive buffer, octets.
pub const MAX_RX_FRAME: usize = BUFFER_BYTES - FRAME_OFFSET;
/// Longest frame that a stack may post, octets: an IPv4 packet of 65,535 and the Ethernet header.
pub const MAX_FRAME: usize = 65_535 + 14;
/// In a wake-up word: do not signal.
pub const AWAKE: u64 = u64::MAX;

pub(super) const DESCRIPTOR: usize = 16;
pub(super) const RX_DESCRIPTORS: usize = 4096;
pub(super) const TX_DESCRIPTORS: usize = RX_DESCRIPTORS + RX_SLOTS * DESCRIPTOR;
pub(super) const RX_BUFFERS: usize = TX_DESCRIPTORS + TX_SLOTS * DESCRIPTOR;
pub(super) const TX_AREA: usize = RX_BUFFERS + RX_SLOTS * BUFFER_BYTES;
/// Bytes of a packet region, a whole number of pages.
pub const REGION_BYTES: usize = TX_AREA + TX_UNITS * BUFFER_BYTES;

/// The header: magic, version, then the sizes.
pub(super) const HEADER: [u32; 6] =
    [u32::from_le_bytes(*b"Hnic"), 1, RX_SLOTS as u32, TX_SLOTS as u32, BUFFER_BYTES as u32, TX_UNITS as u32];

/// Why memory is no packet region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// The mapping is shorter than [`REGION_BYTES`].
    TooShort {
        /// Bytes that are mapped.
        have: usize,
    },
    /// The address is null or not aligned to a cache line (64 bytes).
    Misaligned,
    /// The header is not one of this version of the interface.
    Header,
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { have } => write!(f, "packet region of {have} bytes, {REGION_BYTES} are needed"),
            Self::Misaligned => f.write_str("packet region is not aligned to a cache line"),
            Self::Header => f.write_str("packet region of another interface or version"),
        }
    }
}

impl core::error::Error for LayoutError {}
