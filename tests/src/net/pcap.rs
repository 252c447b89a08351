//! Captures as QEMU 7 writes them.
//!
//! On a tap whose guest uses checksum or segmentation offload, `filter-dump` puts the 12 octets of virtio's packet header
//! (virtio 1.2, 5.1.6) before each frame, which no reader of captures expects. They are taken out here.

use std::path::Path;

use anyhow::{Context, Result};

/// Octets of the file's own header, and of each record's (libpcap's savefile format, little-endian).
const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
/// Octets of virtio's packet header.
const DEVICE_HEADER: usize = 12;
/// IPv4, ARP and IPv6, as Ethernet names them.
const ETHER_TYPES: [[u8; 2]; 3] = [[0x08, 0x00], [0x08, 0x06], [0x86, 0xdd]];

/// Writes a capture with bare frames; `to` may be `from`.
pub fn make_bare(from: &Path, to: &Path) -> Result<()> {
    let bytes = std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    std::fs::write(to, bare_frames(&bytes)?).with_context(|| format!("cannot write {}", to.display()))
}

/// The capture with bare frames. A capture without device headers comes back as it was.
pub fn bare_frames(capture: &[u8]) -> Result<Vec<u8>> {
    let mut out = capture.get(..FILE_HEADER).context("not a capture: no file header")?.to_vec();
    let mut rest = capture.get(FILE_HEADER..).unwrap_or_default();
    // A record that is cut off is the last one of a guest that was ended.
    while let Some((header, after)) = rest.split_at_checked(RECORD_HEADER) {
        let field = |at: usize| {
            let bytes = header.get(at..at + 4).and_then(|b| b.try_into().ok()).unwrap_or_default();
            u32::from_le_bytes(bytes)
        };
        let (kept, length) = (field(8), field(12));
        let Some((frame, next)) = after.split_at_checked(kept as usize) else { break };
        let skip = if is_frame(frame) { 0 } else { device_header(frame) };
        out.extend_from_slice(header.get(..8).unwrap_or_default());
        out.extend_from_slice(&(kept - skip as u32).to_le_bytes());
        out.extend_from_slice(&length.saturating_sub(skip as u32).to_le_bytes());
        out.extend_from_slice(frame.get(skip..).unwrap_or_default());
        rest = next;
    }
    Ok(out)
}

fn is_frame(bytes: &[u8]) -> bool {
    bytes.get(12..14).is_some_and(|found| ETHER_TYPES.iter().any(|known| known == found))
}

fn device_header(bytes: &[u8]) -> usize {
    if bytes.get(DEVICE_HEADER..).is_some_and(is_frame) { DEVICE_HEADER } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(records: &[&[u8]]) -> Vec<u8> {
        let mut file = vec![7; FILE_HEADER];
        for record in records {
            let length = (record.len() as u32).to_le_bytes();
            file.extend_from_slice(&[9; 8]);
            file.extend_from_slice(&length);
            file.extend_from_slice(&length);
            file.extend_from_slice(record);
        }
        file
    }

    fn frame() -> Vec<u8> {
        [&[1; 12][..], &[0x08, 0x00], &[0x45; 30]].concat()
    }

    #[test]
    fn the_device_header_goes_and_the_frame_stays() {
        let with_header = [&[0; DEVICE_HEADER][..], &frame()].concat();
        let bare = bare_frames(&capture(&[&with_header, &frame()])).expect("a capture");
        assert_eq!(bare, capture(&[&frame(), &frame()]));
    }

    #[test]
    fn a_record_that_is_cut_off_ends_the_capture() {
        let mut file = capture(&[&frame(), &frame()]);
        file.truncate(file.len() - 3);
        assert_eq!(bare_frames(&file).expect("a capture"), capture(&[&frame()]));
        assert!(bare_frames(&[1, 2, 3]).is_err());
    }
}
