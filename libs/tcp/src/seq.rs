//! Sequence numbers: 32 bits that wrap. Why a type: comparing them as integers is the classic TCP bug.
//!
//! It must never offer `Ord`: the order of two sequence numbers holds within half the space only, and is not transitive.

use core::fmt;

/// A TCP sequence number (RFC 9293 3.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Seq(pub u32);

impl Seq {
    /// This number moved forward by `count` octets.
    #[must_use]
    pub const fn add(self, count: u32) -> Self {
        Self(self.0.wrapping_add(count))
    }

    /// This number moved back by `count` octets.
    #[must_use]
    pub const fn sub(self, count: u32) -> Self {
        Self(self.0.wrapping_sub(count))
    }

    /// Octets from `from` to `self`: negative when `self` is the older one.
    #[must_use]
    pub const fn since(self, from: Self) -> i32 {
        self.0.wrapping_sub(from.0) as i32
    }

    /// Whether `self` comes before `other`.
    #[must_use]
    pub const fn before(self, other: Self) -> bool {
        self.since(other) < 0
    }

    /// Whether `self` comes after `other`.
    #[must_use]
    pub const fn after(self, other: Self) -> bool {
        self.since(other) > 0
    }

    /// The sequence number of stream position `position`, when position 0 has the number `self`.
    #[must_use]
    pub const fn at(self, position: u64) -> Self {
        self.add(position as u32)
    }

    /// The stream position of `seq`, when position 0 has the number `self`: the one nearest to `near`. `None` when it
    /// would lie before position 0.
    #[must_use]
    pub const fn position(self, seq: Self, near: u64) -> Option<u64> {
        near.checked_add_signed(seq.since(self.at(near)) as i64)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparison_holds_across_the_wrap() {
        assert!(Seq(u32::MAX).before(Seq(0)));
        assert!(Seq(5).after(Seq(u32::MAX - 5)));
        assert_eq!(Seq(3).since(Seq(u32::MAX)), 4);
    }

    #[test]
    fn a_position_survives_many_wraps() {
        let start = Seq(0xffff_fff0);
        for position in [0, 1, 0x10, 0x1_0000_0000, 0x7_1234_5678_u64] {
            assert_eq!(start.position(start.at(position), position + 1000), Some(position));
        }
    }

    #[test]
    fn a_number_before_the_stream_has_no_position() {
        assert_eq!(Seq(100).position(Seq(99), 0), None);
    }
}
