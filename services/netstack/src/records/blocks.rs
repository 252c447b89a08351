//! Blocks of words in the header that change as a whole: written into the copy that is not valid, then the sequence number says
//! which one is.

use super::memory::Memory;

/// Where a block of `N` words lies: sequence number, 7 words unused, two copies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<const N: usize> {
    pub at: usize,
}

const FIRST_COPY: usize = 64;

/// Times that a block is read again because its writer came in between. It changes a few times a second at most.
const TRIES: usize = 16;

impl<const N: usize> Block<N> {
    /// Bytes of the block.
    pub(super) const BYTES: usize = FIRST_COPY + 2 * N * 8;

    const fn copy_at(self, sequence: u64) -> usize {
        self.at + FIRST_COPY + (sequence & 1) as usize * N * 8
    }

    /// The valid words; `None` before the first write.
    pub(super) fn read(self, memory: &Memory) -> Option<[u64; N]> {
        for _ in 0..TRIES {
            let sequence = memory.load(self.at);
            if sequence == 0 {
                return None;
            }
            let copy = self.copy_at(sequence);
            let words = core::array::from_fn(|n| memory.load(copy + n * 8));
            if memory.load(self.at) == sequence {
                return Some(words);
            }
        }
        None
    }

    pub(super) fn write(self, memory: &Memory, words: &[u64; N]) {
        let sequence = memory.load(self.at).wrapping_add(1).max(1);
        let copy = self.copy_at(sequence);
        for (n, word) in words.iter().enumerate() {
            memory.store(copy + n * 8, *word);
        }
        memory.store(self.at, sequence);
    }

    pub(super) fn clear(self, memory: &Memory) {
        memory.store(self.at, 0);
    }
}
