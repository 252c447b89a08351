//! The header that the card puts before each frame, and wants before each (virtio 1.2, 5.1.6).

use hic_nic::Offload;
use hic_nic::region::{FRAME_OFFSET, MAX_RX_FRAME};

/// Octets of the header.
pub const HEADER_BYTES: usize = 12;
const _: () = assert!(HEADER_BYTES == FRAME_OFFSET);

const NEEDS_CHECKSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const GSO_TCP4: u8 = 1;

/// The header of a frame to send.
#[must_use]
pub fn encode(offload: Offload) -> [u8; HEADER_BYTES] {
    let (flags, kind, header_len, mss, start, offset) = match offload {
        Offload::None => (0, 0, 0, 0, 0, 0),
        Offload::Checksum { start, offset } => (NEEDS_CHECKSUM, 0, 0, 0, start, offset),
        Offload::Segment { start, offset, header_len, mss } => {
            (NEEDS_CHECKSUM, GSO_TCP4, header_len, mss, start, offset)
        }
    };
    let ([h0, h1], [m0, m1]) = (header_len.to_le_bytes(), mss.to_le_bytes());
    let ([s0, s1], [o0, o1]) = (start.to_le_bytes(), offset.to_le_bytes());
    [flags, kind, h0, h1, m0, m1, s0, s1, o0, o1, 0, 0]
}

/// What a received buffer holds: octets of the frame, and whether its checksum is known to be right or was left out by a sender
/// on this machine. `None` if the card wrote a length that cannot be.
#[must_use]
pub fn decode(header: [u8; HEADER_BYTES], written: u32) -> Option<(usize, bool)> {
    let len = (written as usize).checked_sub(HEADER_BYTES)?;
    let [flags, ..] = header;
    (14..=MAX_RX_FRAME).contains(&len).then_some((len, flags & (NEEDS_CHECKSUM | DATA_VALID) != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offloads_are_written_little_endian_in_their_fields() {
        let header = encode(Offload::Segment { start: 34, offset: 16, header_len: 66, mss: 1448 });
        assert_eq!(header, [1, 1, 66, 0, 0xa8, 5, 34, 0, 16, 0, 0, 0]);
        assert_eq!(encode(Offload::None), [0; 12]);
    }

    #[test]
    fn lengths_that_no_frame_has_are_refused() {
        assert_eq!(decode([0; 12], 12 + 60), Some((60, false)));
        assert_eq!(decode([2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 12 + 60), Some((60, true)));
        for written in [0, 11, 12, 25, 2049, u32::MAX] {
            assert_eq!(decode([0; 12], written), None);
        }
    }
}
