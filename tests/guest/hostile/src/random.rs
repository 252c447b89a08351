//! Random numbers that a seed determines (splitmix64).

/// A sequence.
#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw().checked_rem(bound).unwrap_or(0)
    }

    /// One of these; `fallback` when there are none.
    pub fn of<T: Copy>(&mut self, choices: &[T], fallback: T) -> T {
        let index = self.below(choices.len() as u64) as usize;
        choices.get(index).copied().unwrap_or(fallback)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_determines_the_sequence_and_bounds_hold() {
        let (mut a, mut b) = (Random::new(9), Random::new(9));
        for bound in 1..1000 {
            let value = a.below(bound);
            assert!(value < bound);
            assert_eq!(value, b.below(bound));
        }
        assert_eq!((a.below(0), a.of(&[], 5)), (0, 5));
    }
}
