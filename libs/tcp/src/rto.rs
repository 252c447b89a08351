//! Round-trip times and the retransmission timeout (RFC 6298, Karn's rule, timestamps as RFC 7323 4).
//!
//! It must never take a sample from something that was sent twice, unless a timestamp says which copy was answered.

use crate::connection::Connection;
use crate::record::Rto;
use crate::segment::Segment;
use crate::time::Micros;

/// Added to the smoothed round-trip time at the least, microseconds. RFC 6298 2.4 wants a second for the whole; this is what
/// Linux does (`SRTT + max(4 * RTTVAR, 200 ms)`), and clears the delayed acknowledgements of common peers.
pub(crate) const MIN_RTO: u32 = 200_000;
/// The most that a timeout becomes (RFC 6298 2.5).
pub(crate) const MAX_RTO: u32 = 60_000_000;
/// Before the first sample (RFC 6298 2.1).
pub(crate) const INITIAL_RTO: u32 = 1_000_000;
/// After a SYN had to be sent again (RFC 6298 5.7).
pub(crate) const AFTER_LOST_SYN: u32 = 3_000_000;
/// A sample above this is no round trip but a peer's invention.
const MAX_SAMPLE: u32 = 600_000_000;

impl Rto {
    /// Takes one sample, microseconds (RFC 6298 2.2, 2.3).
    pub(crate) fn sample(&mut self, rtt: u32) {
        let rtt = rtt.clamp(1, MAX_SAMPLE);
        if self.srtt == 0 {
            self.srtt = rtt;
            self.rttvar = rtt / 2;
        } else {
            let deviation = u64::from(self.srtt.abs_diff(rtt));
            self.rttvar = ((3 * u64::from(self.rttvar) + deviation) / 4) as u32;
            self.srtt = ((7 * u64::from(self.srtt) + u64::from(rtt)) / 8).max(1) as u32;
        }
        let variation = self.rttvar.saturating_mul(4).max(MIN_RTO);
        self.rto = self.srtt.saturating_add(variation).min(MAX_RTO);
    }

    /// The timeout after `expiries` in a row (RFC 6298 5.5).
    pub(crate) fn backed_off(&self, expiries: u8) -> Micros {
        let timeout = u64::from(self.rto) << expiries.min(16);
        Micros(timeout.min(u64::from(MAX_RTO)))
    }

    /// When to retransmit what is sent at `now`.
    pub(crate) fn next_retransmit(&self, now: Micros) -> Micros {
        now.after(self.backed_off(self.backoff))
    }

    /// Something from `position` on is sent again: an acknowledgement of it says nothing about time (Karn).
    pub(crate) fn forget_timing(&mut self, position: u64) {
        if self.timed.is_some_and(|(timed, _)| timed > position) {
            self.timed = None;
        }
    }
}

impl Connection {
    /// Our clock in timestamps: milliseconds plus the secret offset.
    pub(crate) fn ts_clock(&self, now: Micros) -> u32 {
        (now.millis() as u32).wrapping_add(self.r.options.ts_offset)
    }

    /// Takes the round-trip sample that an acknowledgement up to `position` offers, if any.
    pub(crate) fn sample_rtt(&mut self, now: Micros, segment: &Segment<'_>, position: u64) {
        if let Some((timed, sent)) = self.r.rto.timed {
            if position >= timed {
                self.r.rto.timed = None;
                self.r.rto.sample(now.since(sent).0.min(u64::from(u32::MAX)) as u32);
            }
            return;
        }
        if let Some(timestamp) = segment.options.timestamp.filter(|_| self.r.options.timestamps) {
            let millis = self.ts_clock(now).wrapping_sub(timestamp.echo);
            if timestamp.echo != 0 && millis <= MAX_SAMPLE / 1000 {
                self.r.rto.sample(millis.max(1) * 1000);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sample_sets_both_estimates() {
        let mut rto = Rto::default();
        rto.sample(100_000);
        assert_eq!((rto.srtt, rto.rttvar, rto.rto), (100_000, 50_000, 300_000));
    }

    #[test]
    fn a_steady_round_trip_converges_to_the_floor() {
        let mut rto = Rto::default();
        (0..100).for_each(|_| rto.sample(1_000));
        assert_eq!(rto.rto, 201_000);
    }

    #[test]
    fn backing_off_doubles_up_to_a_minute() {
        let mut rto = Rto::default();
        rto.sample(100_000);
        assert_eq!(rto.backed_off(2), Micros(1_200_000));
        assert_eq!(rto.backed_off(255), Micros::from_secs(60));
    }

    #[test]
    fn timing_is_forgotten_for_what_is_sent_again_only() {
        let mut rto = Rto { timed: Some((500, Micros(1))), ..Rto::default() };
        rto.forget_timing(500);
        assert!(rto.timed.is_some());
        rto.forget_timing(499);
        assert!(rto.timed.is_none());
    }
}
