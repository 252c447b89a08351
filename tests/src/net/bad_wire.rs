//! What a bad wire does to frames, without any input or output: some are lost, the others late, and a few overtake.
//!
//! The same meaning as `tc netem`: a frame that is reordered is the one that is *not* delayed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How bad a wire is, in both directions.
#[derive(Clone, Copy, Debug)]
pub struct Impairment {
    /// Frames lost, per cent.
    pub loss: u32,
    /// Frames that overtake those before them, per cent.
    pub reorder: u32,
    /// Delay of the others, milliseconds. Reordering needs at least 1.
    pub delay_ms: u32,
}

/// Frames on their way in one direction.
#[derive(Debug)]
pub(super) struct BadWire {
    how: Impairment,
    dice: u64,
    under_way: VecDeque<(Instant, Vec<u8>)>,
}

impl BadWire {
    /// A wire whose accidents follow from `seed`.
    pub fn new(how: Impairment, seed: u64) -> Self {
        // The generator stays at zero once it is there.
        Self { how, dice: seed.max(1), under_way: VecDeque::new() }
    }

    /// Puts a frame on the wire; returns it if it comes out at once.
    pub fn put(&mut self, frame: &[u8], now: Instant) -> Option<Vec<u8>> {
        if self.roll() < self.how.loss {
            return None;
        }
        let frame = frame.to_vec();
        if self.how.delay_ms == 0 || self.roll() < self.how.reorder {
            return Some(frame);
        }
        self.under_way.push_back((now + Duration::from_millis(self.how.delay_ms.into()), frame));
        None
    }

    /// A frame that has arrived by `now`.
    pub fn take(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.under_way.pop_front_if(|(due, _)| *due <= now).map(|(_, frame)| frame)
    }

    /// When the next frame arrives.
    pub fn next_due(&self) -> Option<Instant> {
        self.under_way.front().map(|(due, _)| *due)
    }

    /// A number below 100 (xorshift64, Marsaglia 2003).
    fn roll(&mut self) -> u32 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        // Below 100, so the conversion cannot fail.
        u32::try_from(self.dice % 100).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of 10,000 frames in the order in which they come out.
    fn run(how: Impairment) -> Vec<u32> {
        let mut wire = BadWire::new(how, 42);
        let start = Instant::now();
        let mut out = Vec::new();
        for number in 0..10_000_u32 {
            let now = start + Duration::from_millis(number.into());
            while let Some(frame) = wire.take(now) {
                out.push(frame);
            }
            out.extend(wire.put(&number.to_be_bytes(), now));
        }
        while let Some(due) = wire.next_due() {
            out.extend(wire.take(due));
        }
        out.iter().map(|frame| u32::from_be_bytes(frame[..].try_into().expect("four bytes"))).collect()
    }

    #[test]
    fn about_as_many_frames_are_lost_as_was_said_and_none_is_doubled() {
        let mut out = run(Impairment { loss: 2, reorder: 10, delay_ms: 5 });
        let lost = 10_000 - out.len();
        assert!((100..300).contains(&lost), "{lost} lost");
        let overtaken = out.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert!((500..1500).contains(&overtaken), "{overtaken} out of order");
        out.sort_unstable();
        assert!(out.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_good_wire_changes_nothing() {
        let out = run(Impairment { loss: 0, reorder: 0, delay_ms: 3 });
        assert_eq!(out, (0..10_000).collect::<Vec<u32>>());
    }
}
