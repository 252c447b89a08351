//! Small changes of files, repeatably: what a test run tries beside the files themselves.

/// A sequence of numbers that looks random (SplitMix64).
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// The sequence number `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next one below `count`; 0 if that is 0.
    pub fn below(&mut self, count: usize) -> usize {
        self.next().checked_rem(count as u64).unwrap_or(0) as usize
    }
}

/// `bytes` with one to four changes: a bit flipped, a byte set to a value at some bound, bytes left out, doubled or put in.
#[must_use]
pub fn changed(bytes: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len());
        let end = (at + 1 + numbers.below(16)).min(bytes.len());
        match numbers.below(6) {
            _ if bytes.is_empty() => bytes.push(numbers.next() as u8),
            0 | 1 => bytes[at] ^= 1 << numbers.below(8),
            2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, b'\n'][numbers.below(6)],
            3 => drop(bytes.drain(at..end)),
            4 => bytes.extend_from_within(at..end),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_the_same_each_time_and_not_all_alike() {
        let many = |seed| {
            let mut numbers = Numbers::new(seed);
            (0..50).map(|_| changed(b"some bytes of a file", &mut numbers)).collect::<Vec<_>>()
        };
        assert_eq!(many(1), many(1));
        assert_ne!(many(1), many(2));
        assert!(many(1).iter().any(|bytes| bytes.len() > 20) && many(1).iter().any(|bytes| bytes.len() < 20));
        assert_eq!(
            changed(&[], &mut Numbers::new(3)).is_empty(),
            changed(&[], &mut Numbers::new(3)).is_empty()
        );
    }
}
