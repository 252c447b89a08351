//! Which segments are acceptable, and what they are (RFC 9293 3.10.7, RFC 5961, PAWS of RFC 7323 5).
//!
//! It must never let a segment that is not surely the peer's change anything but counters and a rate-limited
//! acknowledgement.

use crate::connection::{Connection, Events, RxSpace};
use crate::record::{CloseReason, Pending, State};
use crate::segment::{Flags, Segment};
use crate::time::Micros;

/// Challenge acknowledgements in a second (RFC 5961 7). Each connection has its own count, so that an outsider cannot read
/// one connection's from another's (CVE-2016-5696).
const CHALLENGES_PER_SECOND: u8 = 10;
/// A timestamp older than this cannot be compared (RFC 7323 5.5).
const TIMESTAMP_VALID: Micros = Micros::from_secs(24 * 86_400);

impl Connection {
    /// Takes in one segment. Data goes to `rx` at once; an acknowledgement is owed, not sent.
    pub fn on_segment(&mut self, now: Micros, segment: &Segment<'_>, rx: &mut impl RxSpace) -> Events {
        match self.r.state {
            State::Closed(_) if segment.flags.contains(Flags::RST) => Events::DROPPED,
            State::Closed(_) => Events::DROPPED | Events::SEND_RESET,
            State::SynSent => self.in_syn_sent(now, segment),
            _ => self.in_synchronized(now, segment, rx),
        }
    }

    /// RFC 9293 3.10.7.3.
    fn in_syn_sent(&mut self, now: Micros, segment: &Segment<'_>) -> Events {
        let expected = self.r.snd.iss.at(self.r.snd.nxt);
        let acked = segment.ack == Some(expected) && self.r.snd.nxt == 1;
        let reset = segment.flags.contains(Flags::RST);
        if segment.ack.is_some() && !acked {
            self.count_unacceptable();
            return if reset { Events::DROPPED } else { Events::DROPPED | Events::SEND_RESET };
        }
        if reset && acked {
            return Events::RESET | self.close(CloseReason::Refused);
        }
        if reset || !segment.flags.contains(Flags::SYN) || segment.flags.contains(Flags::FIN) {
            self.count_unacceptable();
            return Events::DROPPED;
        }
        self.learn_syn(now, segment);
        if !acked {
            // Simultaneous open: the SYN goes out again, with an acknowledgement.
            self.r.state = State::SynReceived { passive: false };
            self.r.pending |= Pending::SYN;
            return Events::empty();
        }
        self.sample_rtt(now, segment, 1);
        self.r.snd.una = 1;
        self.r.snd.wl2 = 1;
        self.r.rto.retransmit_at = None;
        self.r.pending |= Pending::ACK;
        self.enter_established()
    }

    fn in_synchronized(&mut self, now: Micros, segment: &Segment<'_>, rx: &mut impl RxSpace) -> Events {
        if self.is_syn_again(segment) {
            return self.on_syn_again(now, segment);
        }
        let reset = segment.flags.contains(Flags::RST);
        let start = self.r.rcv.irs.position(segment.seq, self.r.rcv.nxt);
        if reset {
            return self.on_reset(now, start);
        }
        if self.r.options.timestamps && segment.options.timestamp.is_none() {
            // RFC 7323 3.2: once negotiated, a segment without timestamps is not the peer's.
            self.count_unacceptable();
            return Events::DROPPED;
        }
        let Some(start) = start.filter(|start| self.is_acceptable(now, segment, *start)) else {
            return self.on_unacceptable(now, segment);
        };
        if segment.flags.contains(Flags::SYN) {
            self.challenge(now);
            return Events::DROPPED;
        }
        let Some(ack) = segment.ack else {
            self.count_unacceptable();
            return Events::DROPPED;
        };
        let position = self.r.snd.iss.position(ack, self.r.snd.una);
        let Some(position) = position.filter(|position| self.is_plausible_ack(*position)) else {
            return self.on_implausible_ack(now);
        };
        self.heard(now, segment, start);
        let mut events = Events::empty();
        if matches!(self.r.state, State::SynReceived { .. }) {
            events |= self.enter_established();
        }
        events |= self.on_ack(now, segment, start, position);
        if !matches!(self.r.state, State::Closed(_)) {
            events |= self.on_data(now, segment, start, rx);
        }
        events
    }

    /// The SYN that we know, again: our SYN-ACK was lost, or crossed the peer's (simultaneous open).
    fn is_syn_again(&self, segment: &Segment<'_>) -> bool {
        let waiting = matches!(self.r.state, State::SynReceived { .. });
        let plain = !segment.flags.intersects(Flags::RST | Flags::FIN);
        waiting && plain && segment.flags.contains(Flags::SYN) && segment.seq == self.r.rcv.irs
    }

    fn on_syn_again(&mut self, now: Micros, segment: &Segment<'_>) -> Events {
        match segment.ack {
            Some(ack) if self.r.snd.nxt == 1 && ack == self.r.snd.iss.at(1) => {
                self.sample_rtt(now, segment, 1);
                self.r.snd.una = 1;
                self.r.snd.wl2 = 1;
                self.r.snd.wnd = u32::from(segment.window);
                self.r.snd.max_wnd = self.r.snd.max_wnd.max(self.r.snd.wnd);
                self.r.rto.retransmit_at = None;
                self.r.pending |= Pending::ACK;
                self.enter_established()
            }
            Some(_) => Events::DROPPED | Events::SEND_RESET,
            None => {
                // Rate-limited: a flood of SYNs is not amplified into one of SYN-ACKs.
                if self.may_challenge(now) {
                    self.r.pending |= Pending::SYN;
                }
                Events::empty()
            }
        }
    }

    /// RFC 5961 3.2: only the exact number resets.
    fn on_reset(&mut self, now: Micros, start: Option<u64>) -> Events {
        let rcv = &self.r.rcv;
        match start {
            Some(start) if start == rcv.nxt => {
                let reason = match self.r.state {
                    State::SynReceived { passive: false } => CloseReason::Refused,
                    State::TimeWait => CloseReason::Normal,
                    _ => CloseReason::Reset,
                };
                Events::RESET | self.close(reason)
            }
            Some(start) if start > rcv.nxt && start < rcv.adv => {
                self.challenge(now);
                Events::DROPPED
            }
            _ => {
                self.count_unacceptable();
                Events::DROPPED
            }
        }
    }

    /// The window test (RFC 9293 3.4) and PAWS (RFC 7323 5.3). As in Linux, the left edge is what we last acknowledged, so that
    /// a bare acknowledgement that was overtaken still counts, and the FIN is not held against the window.
    fn is_acceptable(&self, now: Micros, segment: &Segment<'_>, start: u64) -> bool {
        if let Some(timestamp) = segment.options.timestamp.filter(|_| self.r.options.timestamps) {
            let older = (timestamp.value.wrapping_sub(self.r.options.ts_recent) as i32) < 0;
            if older && now.since(self.r.options.ts_recent_at) < TIMESTAMP_VALID {
                return false;
            }
        }
        let end = start.saturating_add(segment.payload.len() as u64);
        end >= self.r.rcv.acked && start <= self.r.rcv.adv.max(self.r.rcv.nxt)
    }

    /// An unacceptable segment is answered by an acknowledgement: at once if it has data or a FIN (a window probe, a
    /// retransmission), else under the limit, so that two confused ends do not answer each other for ever.
    fn on_unacceptable(&mut self, now: Micros, segment: &Segment<'_>) -> Events {
        self.count_unacceptable();
        let loud = !segment.payload.is_empty() || segment.flags.contains(Flags::FIN);
        if loud && !segment.flags.contains(Flags::SYN) {
            self.r.pending |= Pending::ACK;
            if self.r.state == State::TimeWait && segment.flags.contains(Flags::FIN) {
                return Events::DROPPED | self.wait_out(now);
            }
        } else {
            self.challenge(now);
        }
        Events::DROPPED
    }

    /// RFC 5961 5.2: not for what we never sent, not older than the largest window.
    fn is_plausible_ack(&self, position: u64) -> bool {
        let snd = &self.r.snd;
        let opens = !matches!(self.r.state, State::SynReceived { .. }) || position > snd.una;
        opens && position <= snd.nxt && position.saturating_add(u64::from(snd.max_wnd)) >= snd.una
    }

    fn on_implausible_ack(&mut self, now: Micros) -> Events {
        if matches!(self.r.state, State::SynReceived { .. }) {
            self.count_unacceptable();
            return Events::DROPPED | Events::SEND_RESET;
        }
        self.challenge(now);
        Events::DROPPED
    }

    /// The segment is the peer's: it lives, and its timestamp may be the one to echo (RFC 7323 4.3).
    fn heard(&mut self, now: Micros, segment: &Segment<'_>, start: u64) {
        self.r.rcv.last = now;
        self.r.keep_probes = 0;
        self.r.rto.probes = 0;
        if let Some(timestamp) = segment.options.timestamp.filter(|_| self.r.options.timestamps) {
            let expired = now.since(self.r.options.ts_recent_at) >= TIMESTAMP_VALID;
            let newer = timestamp.value.wrapping_sub(self.r.options.ts_recent) as i32 >= 0;
            if (newer || expired) && start <= self.r.rcv.acked {
                self.r.options.ts_recent = timestamp.value;
                self.r.options.ts_recent_at = now;
            }
        }
    }

    fn may_challenge(&mut self, now: Micros) -> bool {
        if now.since(self.r.challenge_at) >= Micros::from_secs(1) {
            self.r.challenge_at = now;
            self.r.challenges = 0;
        }
        let allowed = self.r.challenges < CHALLENGES_PER_SECOND;
        self.r.challenges = self.r.challenges.saturating_add(u8::from(allowed));
        allowed
    }

    /// Owes a challenge acknowledgement, if the second has one left.
    fn challenge(&mut self, now: Micros) {
        self.count_unacceptable();
        if self.may_challenge(now) {
            self.r.stats.challenges = self.r.stats.challenges.saturating_add(1);
            self.r.pending |= Pending::ACK;
        }
    }

    fn count_unacceptable(&mut self) {
        self.r.stats.unacceptable = self.r.stats.unacceptable.saturating_add(1);
    }
}
