//! How much may be in flight: slow start, congestion avoidance, and what a loss does to them (RFC 5681, 6928, 3465).
//!
//! It must never raise the window when the window was not what held us back.

use crate::connection::Connection;
use crate::record::Recovery;
use crate::time::Micros;

/// The window stops growing here: more than any peer can offer.
pub(crate) const MAX_CWND: u32 = 1 << 30;
/// Segments in the initial window, and its bound in octets (RFC 6928 2).
const INITIAL_SEGMENTS: u32 = 10;
const INITIAL_OCTETS: u32 = 14_600;

impl Connection {
    /// Data octets in a full segment without SACK blocks.
    pub(crate) fn smss(&self) -> u32 {
        let timestamps = if self.r.options.timestamps { 12 } else { 0 };
        u32::from(self.r.options.peer_mss.min(self.r.config.mss)) - timestamps
    }

    /// The initial window (RFC 6928).
    pub(crate) fn initial_window(&self) -> u32 {
        let mss = self.smss();
        (INITIAL_SEGMENTS * mss).min(INITIAL_OCTETS.max(2 * mss))
    }

    /// Octets sent and not acknowledged (FlightSize).
    pub(crate) fn flight(&self) -> u64 {
        self.r.snd.nxt - self.r.snd.una
    }

    /// Something new was sent: notes whether the window is in use, half of it in slow start, all of it later (RFC 7661 4.1).
    pub(crate) fn note_window_use(&mut self) {
        let (flight, cwnd) = (self.flight(), u64::from(self.r.cc.cwnd));
        let slow_start = self.r.cc.cwnd < self.r.cc.ssthresh;
        let used = if slow_start { 2 * flight } else { flight + u64::from(self.smss()) };
        if used >= cwnd {
            self.r.cc.limited_to = self.r.snd.nxt;
        }
    }

    /// `acked` octets from position `from` on left the network.
    pub(crate) fn grow(&mut self, acked: u64, from: u64) {
        if from >= self.r.cc.limited_to {
            return;
        }
        let mss = self.smss();
        let cc = &mut self.r.cc;
        let acked = acked.min(u64::from(MAX_CWND)) as u32;
        if cc.cwnd < cc.ssthresh {
            // RFC 3465 with L = 2: peers acknowledge every second segment.
            cc.cwnd = cc.cwnd.saturating_add(acked.min(2 * mss)).min(MAX_CWND);
        } else {
            cc.credit = cc.credit.saturating_add(acked);
            if cc.credit >= cc.cwnd {
                cc.credit -= cc.cwnd;
                cc.cwnd = cc.cwnd.saturating_add(mss).min(MAX_CWND);
            }
        }
    }

    /// After an idle time the old window says nothing about the path (RFC 5681 4.1).
    pub(crate) fn restart_after_idle(&mut self, now: Micros) {
        let idle = now.since(self.r.snd.last);
        if self.flight() == 0 && idle > Micros(u64::from(self.r.rto.rto)) {
            self.r.cc.cwnd = self.r.cc.cwnd.min(self.initial_window());
            self.r.cc.credit = 0;
        }
    }

    fn halve(&mut self) {
        let floor = 2 * self.smss();
        self.r.cc.ssthresh = (self.flight() / 2).min(u64::from(MAX_CWND)).max(u64::from(floor)) as u32;
        self.r.cc.credit = 0;
    }

    /// Enters fast recovery (RFC 6675 5; RFC 6582 3.2 where the peer knows no SACK).
    pub(crate) fn enter_fast_recovery(&mut self) {
        self.halve();
        let head = (self.r.snd.una + u64::from(self.smss())).min(self.r.snd.nxt);
        let cc = &mut self.r.cc;
        cc.cwnd = cc.ssthresh;
        cc.recovery = Recovery::Fast { point: self.r.snd.nxt };
        cc.high_rxt = self.r.snd.una;
        // Three duplicates say that the head is gone, whatever the scoreboard knows.
        cc.lost_to = head;
    }

    /// A retransmission timeout (RFC 5681 3.1, RFC 6675 5.1): all in flight is taken for lost.
    pub(crate) fn enter_timeout_recovery(&mut self) {
        if self.r.rto.backoff == 0 {
            self.halve();
        }
        // A peer that holds the octet it asks for has reneged on its SACKs (RFC 2018 8).
        if self.r.cc.sacked.first().is_some_and(|span| span.start <= self.r.snd.una) {
            self.r.cc.sacked.clear();
        }
        let mss = self.smss();
        let cc = &mut self.r.cc;
        cc.cwnd = mss;
        cc.recovery = Recovery::Timeout { point: self.r.snd.nxt };
        cc.high_rxt = self.r.snd.una;
        cc.lost_to = self.r.snd.nxt;
        cc.limited_to = self.r.snd.nxt;
        cc.dup_acks = 0;
        self.r.rto.timed = None;
    }

    /// The first unacknowledged position moved forward by `acked`: ends or continues recovery, or grows the window.
    pub(crate) fn recovery_on_progress(&mut self, acked: u64) {
        let una = self.r.snd.una;
        match self.r.cc.recovery {
            Recovery::Open => {
                self.r.cc.dup_acks = 0;
                self.grow(acked, una - acked);
            }
            Recovery::Fast { point } | Recovery::Timeout { point } if una >= point => self.end_recovery(),
            Recovery::Fast { .. } if !self.r.options.sack => self.partial_ack(acked),
            Recovery::Fast { .. } => {}
            Recovery::Timeout { .. } => self.grow(acked, una - acked),
        }
        self.r.cc.high_rxt = self.r.cc.high_rxt.max(una).min(self.r.snd.nxt);
    }

    /// NewReno: the next hole is lost too (RFC 6582 3.2 step 5).
    fn partial_ack(&mut self, acked: u64) {
        let mss = u64::from(self.smss());
        let una = self.r.snd.una;
        self.r.cc.lost_to = (una + mss).min(self.r.snd.nxt);
        self.r.cc.high_rxt = una;
        let gone = (acked / mss).min(u64::from(u32::MAX)) as u32;
        self.r.cc.dup_acks = self.r.cc.dup_acks.saturating_sub(gone);
    }

    fn end_recovery(&mut self) {
        if matches!(self.r.cc.recovery, Recovery::Fast { .. }) {
            // RFC 6582 3.2 step 3, option 1: no burst after a recovery that drained the pipe.
            let burst = self.flight().min(u64::from(MAX_CWND)) as u32;
            let mss = self.smss();
            self.r.cc.cwnd = self.r.cc.ssthresh.min(burst.max(mss) + mss).max(mss);
        }
        self.r.cc.recovery = Recovery::Open;
        self.r.cc.dup_acks = 0;
        self.r.cc.lost_to = 0;
    }
}
