//! Which features of the card are taken (virtio 1.2, 5.1.3 and 6).

use hic_nic::Features;

bitflags::bitflags! {
    /// Feature bits that this driver knows what to do with.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct CardFeatures: u64 {
        /// The card completes checksums of outgoing frames.
        const CSUM = 1 << 0;
        /// Incoming frames may come with a checksum that is known to be right, or left out.
        const GUEST_CSUM = 1 << 1;
        /// The card has a station address.
        const MAC = 1 << 5;
        /// The card splits TCP over IPv4.
        const HOST_TSO4 = 1 << 11;
        /// The card tells whether the link is up.
        const STATUS = 1 << 16;
        /// Both sides say from which index on they want a signal.
        const EVENT_INDEX = 1 << 29;
        /// The card follows virtio 1.x.
        const VERSION_1 = 1 << 32;
        /// The card reaches memory through the IOMMU, as every other device does (6.1: taken wherever it is offered).
        const ACCESS_PLATFORM = 1 << 33;
    }
}

/// Payload octets that one frame with segmentation may carry: an IPv4 packet of 65,535 less the longest headers.
const TSO_MAX: u32 = 65_535 - 120;

impl CardFeatures {
    /// What is taken of what the card offers; `None` if it lacks what the driver cannot do without. Receiving larger frames than a
    /// buffer (`GUEST_TSO4`, `MRG_RXBUF`) is not wanted: a buffer holds a frame of the link.
    #[must_use]
    pub fn negotiate(offered: u64) -> Option<Self> {
        let mut taken = Self::from_bits_truncate(offered);
        if !taken.contains(Self::VERSION_1 | Self::MAC) {
            return None;
        }
        // 5.1.3.1: HOST_TSO4 requires CSUM.
        if !taken.contains(Self::CSUM) {
            taken.remove(Self::HOST_TSO4);
        }
        Some(taken)
    }

    /// What a stack is told, and the largest payload of a frame with segmentation.
    #[must_use]
    pub fn for_stack(self) -> (Features, u32) {
        let mut told = Features::empty();
        told.set(Features::TX_CHECKSUM, self.contains(Self::CSUM));
        told.set(Features::RX_CHECKSUM, self.contains(Self::GUEST_CSUM));
        told.set(Features::TX_SEGMENT, self.contains(Self::HOST_TSO4));
        (told, if self.contains(Self::HOST_TSO4) { TSO_MAX } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_without_virtio_1_or_a_station_address_is_refused() {
        assert_eq!(CardFeatures::negotiate(CardFeatures::MAC.bits()), None);
        assert_eq!(CardFeatures::negotiate(CardFeatures::VERSION_1.bits()), None);
    }

    #[test]
    fn segmentation_is_taken_only_with_checksums_and_unknown_bits_never() {
        let base = CardFeatures::VERSION_1 | CardFeatures::MAC;
        let taken =
            CardFeatures::negotiate((base | CardFeatures::HOST_TSO4).bits() | 1 << 15 | 1 << 7).unwrap();
        assert_eq!(taken, base);
        let taken =
            CardFeatures::negotiate((base | CardFeatures::HOST_TSO4 | CardFeatures::CSUM).bits()).unwrap();
        assert_eq!(taken.for_stack(), (Features::TX_CHECKSUM | Features::TX_SEGMENT, TSO_MAX));
    }
}
