//! A set of small numbers from which the smallest is found at once: a bit for each, and over it two levels of bits that say where
//! some are.

use crate::pool::Arena;

/// Levels of 64-bit words; enough for 64^3 numbers.
const LEVELS: usize = 3;

/// The set.
pub struct Bitmap {
    levels: [&'static mut [u64]; LEVELS],
}

impl Bitmap {
    /// Bytes for numbers below `count`, alignment included.
    pub const fn bytes(count: usize) -> usize {
        let (mut words, mut all, mut level) = (count, 0, 0);
        while level < LEVELS {
            words = words.div_ceil(64);
            all += words + 1;
            level += 1;
        }
        all * size_of::<u64>()
    }

    /// An empty set of numbers below `count`.
    pub fn new(arena: &mut Arena, count: usize) -> Self {
        let mut words = count;
        let levels = core::array::from_fn(|_| {
            words = words.div_ceil(64);
            arena.fill(words, 0)
        });
        Self { levels }
    }

    /// Puts a number in, or takes it out.
    pub fn set(&mut self, number: u32, present: bool) {
        let mut at = number;
        for level in &mut self.levels {
            let (word, bit) = (&mut level[at as usize / 64], 1 << (at % 64));
            let before = *word;
            *word = if present { before | bit } else { before & !bit };
            // The level above knows only whether there are any.
            if before != 0 && *word != 0 {
                return;
            }
            at /= 64;
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        // Numbers are below 64^3, so that the uppermost level is one word.
        self.levels[LEVELS - 1].first().is_none_or(|word| *word == 0)
    }

    /// The smallest number.
    pub fn first(&self) -> Option<u32> {
        let mut at = 0;
        for level in self.levels.iter().rev() {
            let word = *level.get(at as usize)?;
            if word == 0 {
                return None;
            }
            at = at * 64 + word.trailing_zeros();
        }
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn it_is_a_set_and_knows_its_smallest_number() {
        const COUNT: u32 = 250_000;
        let mut arena = Arena::new(std::vec![0u8; Bitmap::bytes(COUNT as usize)].leak());
        let (mut bits, mut set) = (Bitmap::new(&mut arena, COUNT as usize), BTreeSet::new());
        let mut seed = 1u64;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let number = (seed >> 33) as u32 % COUNT;
            if seed >> 63 == 0 {
                bits.set(number, true);
                set.insert(number);
            } else {
                let gone = set.range(number..).next().copied().unwrap_or(number);
                bits.set(gone, false);
                set.remove(&gone);
            }
            assert_eq!((bits.first(), bits.is_empty()), (set.first().copied(), set.is_empty()));
            let present = bits.levels[0][number as usize / 64] >> (number % 64) & 1 != 0;
            assert_eq!(present, set.contains(&number));
        }
        assert!(set.len() > 100);
    }
}
