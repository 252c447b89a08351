//! Where things are in a data region. The stack decides it when it makes the region and keeps its own copy; the
//! application reads it from the header once and checks it against the length of what it mapped.

use core::fmt;

/// Smallest ring in bytes: one page.
pub const MIN_RING: u32 = 4096;
/// Largest ring in bytes: bounds what one socket can cost.
pub const MAX_RING: u32 = 4 << 20;

pub(super) const HEADER_LEN: usize = 64;
const RINGS_AT: u32 = 1024;
const PAGE: usize = 4096;
const MAGIC_TCP: u32 = u32::from_le_bytes(*b"HtcR");
const MAGIC_UDP: u32 = u32::from_le_bytes(*b"HudR");
/// Version of the layout: `tcp@1`, `udp@1`.
const VERSION: u32 = 1;

/// What flows in the rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionKind {
    /// A byte stream.
    Tcp,
    /// Framed datagrams (see [`crate::datagram`]).
    Udp,
}

/// Geometry of one data region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    kind: RegionKind,
    tx_size: u32,
    rx_size: u32,
}

/// Why a geometry or a header is not acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// A ring's size is not a power of two from [`MIN_RING`] to [`MAX_RING`].
    RingSize(u32),
    /// The mapping is shorter than the layout.
    TooShort {
        /// Bytes the layout needs.
        need: usize,
        /// Bytes that are mapped.
        have: usize,
    },
    /// The base address is null or not aligned to 64 bytes.
    Misaligned,
    /// The header is not one of this interface version.
    Header,
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RingSize(size) => {
                write!(f, "ring of {size} bytes: must be a power of two from {MIN_RING} to {MAX_RING}")
            }
            Self::TooShort { need, have } => {
                write!(f, "region of {have} bytes is shorter than its layout ({need})")
            }
            Self::Misaligned => f.write_str("region is not aligned to a cache line"),
            Self::Header => f.write_str("region header is of another interface or version"),
        }
    }
}

impl core::error::Error for LayoutError {}

impl Layout {
    /// Length of an encoded header.
    pub(super) const ENCODED: usize = 32;

    /// A region with these ring sizes in bytes: powers of two from [`MIN_RING`] to [`MAX_RING`].
    ///
    /// # Errors
    /// [`LayoutError::RingSize`].
    pub const fn new(kind: RegionKind, tx_size: u32, rx_size: u32) -> Result<Self, LayoutError> {
        if !tx_size.is_power_of_two() || tx_size < MIN_RING || tx_size > MAX_RING {
            return Err(LayoutError::RingSize(tx_size));
        }
        if !rx_size.is_power_of_two() || rx_size < MIN_RING || rx_size > MAX_RING {
            return Err(LayoutError::RingSize(rx_size));
        }
        Ok(Self { kind, tx_size, rx_size })
    }

    /// Bytes of the region, a whole number of pages.
    pub const fn region_len(&self) -> usize {
        (RINGS_AT as usize + self.tx_size as usize + self.rx_size as usize).next_multiple_of(PAGE)
    }

    /// What flows in the rings.
    pub const fn kind(&self) -> RegionKind {
        self.kind
    }

    /// Bytes of the ring from the application to the stack.
    pub const fn tx_size(&self) -> u32 {
        self.tx_size
    }

    /// Bytes of the ring from the stack to the application.
    pub const fn rx_size(&self) -> u32 {
        self.rx_size
    }

    pub(super) const fn tx_offset(&self) -> usize {
        RINGS_AT as usize
    }

    pub(super) const fn rx_offset(&self) -> usize {
        RINGS_AT as usize + self.tx_size as usize
    }

    /// The header: magic, version, header length, ring offsets and sizes, little-endian.
    pub(super) fn encode(&self) -> [u8; Self::ENCODED] {
        let magic = match self.kind {
            RegionKind::Tcp => MAGIC_TCP,
            RegionKind::Udp => MAGIC_UDP,
        };
        let fields = [
            magic,
            VERSION,
            HEADER_LEN as u32,
            self.tx_offset() as u32,
            self.tx_size,
            self.rx_offset() as u32,
            self.rx_size,
            0,
        ];
        let mut out = [0; Self::ENCODED];
        for (to, field) in out.chunks_exact_mut(4).zip(fields) {
            to.copy_from_slice(&field.to_le_bytes());
        }
        out
    }

    /// Reads a header that was copied out of a region of `have` bytes.
    pub(super) fn decode(header: &[u8; Self::ENCODED], have: usize) -> Result<Self, LayoutError> {
        let field = |index: usize| {
            let bytes = header.iter().skip(index * 4).take(4).rev();
            bytes.fold(0u32, |value, byte| value << 8 | u32::from(*byte))
        };
        let kind = match field(0) {
            MAGIC_TCP => RegionKind::Tcp,
            MAGIC_UDP => RegionKind::Udp,
            _ => return Err(LayoutError::Header),
        };
        let layout = Self::new(kind, field(4), field(6))?;
        if layout.encode() != *header {
            return Err(LayoutError::Header);
        }
        layout.fits(have)?;
        Ok(layout)
    }

    pub(super) fn fits(&self, have: usize) -> Result<(), LayoutError> {
        let need = self.region_len();
        if have < need { Err(LayoutError::TooShort { need, have }) } else { Ok(()) }
    }
}
