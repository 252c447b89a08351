//! The kernel's log ring: lines from the kernel and from every sandbox, kept as text with running byte numbers.
//!
//! A reader asks for text from a byte number on; what the ring has overwritten is skipped, so a slow reader loses lines and never
//! blocks a writer.

use crate::config::LOG_BYTES;
use crate::pool::{Arena, Id};

/// The ring.
pub struct Log {
    ring: &'static mut [u8],
    next: u64,
    /// Told of new lines; while there is nobody, the machine prints them.
    pub watch: Option<(Id, u64)>,
}

impl Log {
    /// Bytes of the ring.
    pub const BYTES: usize = LOG_BYTES;

    /// An empty ring.
    pub fn new(arena: &mut Arena) -> Self {
        Self { ring: arena.fill(LOG_BYTES, 0), next: 0, watch: None }
    }

    /// Appends text.
    pub fn append(&mut self, text: &[u8]) {
        for &byte in text {
            self.ring[(self.next % LOG_BYTES as u64) as usize] = byte;
            self.next += 1;
        }
    }

    /// Copies text from byte number `from` on, or from the oldest one kept; the number of the first byte and how many.
    pub fn read(&self, from: u64, out: &mut [u8]) -> (u64, usize) {
        let first = from.max(self.next.saturating_sub(LOG_BYTES as u64)).min(self.next);
        let count = ((self.next - first) as usize).min(out.len());
        for (n, byte) in out.iter_mut().take(count).enumerate() {
            *byte = self.ring[((first + n as u64) % LOG_BYTES as u64) as usize];
        }
        (first, count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_fell_behind_starts_at_the_oldest_byte_kept() {
        let mut log = Log::new(&mut Arena::new(std::vec![0u8; LOG_BYTES].leak()));
        for n in 0..LOG_BYTES + 100 {
            log.append(&[(n % 251) as u8]);
        }
        let mut out = [0; 4];
        let (first, count) = log.read(0, &mut out);
        assert_eq!((first, count, out[0]), (100, 4, 100));
        assert_eq!(log.read(u64::MAX, &mut out).1, 0);
    }
}
