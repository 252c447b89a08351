//! Cutting up a large TCP frame ([`crate::Offload::Segment`]) that never reaches a card, because its receiver is on this
//! machine too. The segments' checksums are left out: whoever delivers them marks them as checked.

/// Ethernet header, the longest IPv4 header, the longest TCP header.
pub const MAX_HEADERS: usize = 14 + 60 + 60;
const ETHERNET: usize = 14;
/// TCP flags (RFC 9293, 3.1) that belong to the last segment only: FIN and PSH.
const LAST_ONLY: u8 = 0x01 | 0x08;

/// How a frame is cut.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    headers: [u8; MAX_HEADERS],
    header_len: usize,
    /// Offset of the TCP header.
    tcp: usize,
    payload: usize,
    mss: usize,
}

impl Plan {
    /// For a frame of `len` octets whose first octets are `head`. `None` if it is not a TCP segment over IPv4 with headers of
    /// `header_len` octets and a payload.
    #[must_use]
    pub fn new(head: &[u8; MAX_HEADERS], len: usize, header_len: usize, mss: usize) -> Option<Self> {
        let first = head[ETHERNET];
        let ip = usize::from(first & 0xf) * 4;
        let tcp = ETHERNET + ip;
        let offset = usize::from(*head.get(tcp + 12)? >> 4) * 4;
        let is_tcp = head[12] == 8 && head[13] == 0 && first >> 4 == 4 && ip >= 20 && head[ETHERNET + 9] == 6;
        if !is_tcp || offset < 20 || tcp + offset != header_len || header_len > MAX_HEADERS || mss == 0 {
            return None;
        }
        let payload = len.checked_sub(header_len).filter(|payload| *payload > 0)?;
        Some(Self { headers: *head, header_len, tcp, payload, mss })
    }

    /// Segments that it becomes.
    #[must_use]
    pub fn count(&self) -> usize {
        self.payload.div_ceil(self.mss)
    }

    /// Writes segment `n` to `out`; `payload` copies payload octets from an offset on. Its length; 0 if `out` is too short or
    /// there is no such segment.
    pub fn write(&self, n: usize, out: &mut [u8], payload: impl FnOnce(usize, &mut [u8])) -> usize {
        let start = n * self.mss;
        let take = self.mss.min(self.payload.saturating_sub(start));
        let len = self.header_len + take;
        let (Some(out), true) = (out.get_mut(..len), take > 0) else { return 0 };
        let (header, body) = out.split_at_mut(self.header_len);
        header.iter_mut().zip(&self.headers).for_each(|(to, from)| *to = *from);
        let last = start + take == self.payload;
        if self.patch(header, n, start, len, last).is_none() {
            return 0;
        }
        payload(start, body);
        len
    }

    /// Total length, identification and header checksum of IPv4; sequence number and flags of TCP.
    fn patch(&self, header: &mut [u8], n: usize, start: usize, len: usize, last: bool) -> Option<()> {
        let (ip, tcp) = (header.get_mut(ETHERNET..)?, self.tcp - ETHERNET);
        put16(ip, 2, (len - ETHERNET) as u16)?;
        let ident = get16(ip, 4)?.wrapping_add(n as u16);
        put16(ip, 4, ident)?;
        put16(ip, 10, 0)?;
        let sum = checksum(ip.get(..tcp)?);
        put16(ip, 10, sum)?;
        let sequence = u32::from(get16(ip, tcp + 4)?) << 16 | u32::from(get16(ip, tcp + 6)?);
        let sequence = sequence.wrapping_add(start as u32);
        put16(ip, tcp + 4, (sequence >> 16) as u16)?;
        put16(ip, tcp + 6, sequence as u16)?;
        if !last {
            *ip.get_mut(tcp + 13)? &= !LAST_ONLY;
        }
        Some(())
    }
}

fn get16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn put16(bytes: &mut [u8], at: usize, value: u16) -> Option<()> {
    bytes.get_mut(at..at + 2)?.copy_from_slice(&value.to_be_bytes());
    Some(())
}

/// The Internet checksum (RFC 1071) of a header.
fn checksum(bytes: &[u8]) -> u16 {
    let words = (0..bytes.len()).step_by(2).filter_map(|at| get16(bytes, at));
    let sum: u32 = words.map(u32::from).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn head(flags: u8) -> [u8; MAX_HEADERS] {
        let mut head = [0; MAX_HEADERS];
        (head[12], head[14], head[23], head[46], head[47]) = (8, 0x45, 6, 0x50, flags);
        head[38..42].copy_from_slice(&0xffff_ff00u32.to_be_bytes());
        head
    }

    #[test]
    fn segments_carry_all_octets_in_order_and_only_the_last_carries_fin() {
        let payload: Vec<u8> = (0..3000u32).map(|n| n as u8).collect();
        let plan = Plan::new(&head(0x19), 54 + payload.len(), 54, 1460).unwrap();
        assert_eq!(plan.count(), 3);
        let mut joined = Vec::new();
        for n in 0..3 {
            let mut out = [0; 2036];
            let len = plan.write(n, &mut out, |at, to| to.copy_from_slice(&payload[at..at + to.len()]));
            assert_eq!(checksum(&out[14..34]), 0, "IPv4 header checksum");
            assert_eq!(usize::from(get16(&out, 16).unwrap()), len - 14);
            let sequence = u32::from_be_bytes(out[38..42].try_into().unwrap());
            assert_eq!(sequence, 0xffff_ff00u32.wrapping_add(joined.len() as u32));
            assert_eq!(out[47], if n == 2 { 0x19 } else { 0x10 });
            joined.extend_from_slice(&out[54..len]);
        }
        assert_eq!(joined, payload);
    }

    proptest! {
        #[test]
        fn arbitrary_heads_never_panic(bytes: [u8; 32], len in 0usize..70_000, header_len in 0usize..200, mss in 0usize..3000) {
            let mut wild = head(0);
            wild[14..46].copy_from_slice(&bytes);
            if let Some(plan) = Plan::new(&wild, len, header_len, mss) {
                let mut out = [0; 2036];
                prop_assert_eq!(plan.write(plan.count(), &mut out, |_, _| ()), 0);
                let _ = plan.write(0, &mut out, |_, _| ());
            }
        }
    }
}
