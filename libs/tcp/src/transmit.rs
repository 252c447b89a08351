//! Which segment to send next. Each call commits the record to one segment; its bytes are somebody else's business.
//!
//! It must never send data beyond the peer's window, what the peer holds, or a byte that the application did not write.

use crate::connection::Connection;
use crate::record::{Pending, Recovery, State};
use crate::segment::{Flags, Options, SegmentOut, Timestamp};
use crate::spans::Span;
use crate::time::Micros;
use core::ops::Range;

impl Connection {
    /// The next segment to send, if any; the record already says that it was sent. Call until `None` after every step.
    /// `max_payload` bounds its data: one MSS without segmentation offload, a multiple with it.
    pub fn next_segment(&mut self, now: Micros, max_payload: usize) -> Option<SegmentOut> {
        if let State::Closed(_) = self.r.state {
            return self.next_reset();
        }
        if self.r.pending.contains(Pending::SYN) {
            return Some(self.next_syn(now));
        }
        if self.r.state.can_transmit() {
            let segment = self
                .next_lost(now, max_payload)
                .or_else(|| self.next_new(now, max_payload))
                .or_else(|| self.next_doubtful(now, max_payload));
            if segment.is_some() {
                return segment;
            }
            self.arm_persist(now);
        }
        if !self.r.state.is_synchronized() {
            return None;
        }
        if self.r.pending.intersects(Pending::PROBE | Pending::KEEP_ALIVE) {
            return Some(self.next_probe(now));
        }
        self.r.pending.contains(Pending::ACK).then(|| self.next_ack(now))
    }

    /// The reset that [`Connection::abort`] owes.
    fn next_reset(&mut self) -> Option<SegmentOut> {
        let owed = self.r.pending.contains(Pending::RST);
        self.r.pending = Pending::empty();
        owed.then(|| SegmentOut {
            seq: self.r.snd.iss.at(self.r.snd.nxt),
            ack: Some(self.r.rcv.irs.at(self.r.rcv.nxt)),
            flags: Flags::RST | Flags::ACK,
            ..SegmentOut::default()
        })
    }

    /// SYN, or SYN-ACK once the peer's SYN is known. Options on a SYN-ACK are those that the peer offered.
    fn next_syn(&mut self, now: Micros) -> SegmentOut {
        let config = self.r.config;
        let options = self.r.options;
        let answer = self.r.state != State::SynSent;
        self.r.pending.remove(Pending::SYN);
        if self.r.snd.nxt == 0 {
            self.r.snd.nxt = 1;
            self.r.rto.timed = Some((1, now));
        } else {
            self.count_retransmission(0);
        }
        self.sent(now);
        let scaling =
            if answer { options.rcv_shift > 0 || options.snd_shift > 0 } else { config.window_scaling };
        let timestamps = if answer { options.timestamps } else { config.timestamps };
        let echo = if answer { options.ts_recent } else { 0 };
        SegmentOut {
            seq: self.r.snd.iss,
            ack: answer.then(|| self.acknowledge()),
            flags: if answer { Flags::SYN | Flags::ACK } else { Flags::SYN },
            window: self.advertise(true),
            options: Options {
                mss: Some(config.mss),
                window_scale: scaling.then(|| config.window_shift()),
                sack_permitted: if answer { options.sack } else { config.sack },
                timestamp: timestamps.then(|| Timestamp { value: self.ts_clock(now), echo }),
                ..Options::default()
            },
            ..SegmentOut::default()
        }
    }

    /// Something that is surely lost (NextSeg rule 1 of RFC 6675 4). The head goes out whatever the pipe holds.
    fn next_lost(&mut self, now: Micros, max_payload: usize) -> Option<SegmentOut> {
        if self.r.cc.recovery == Recovery::Open {
            return None;
        }
        let hole = self.next_hole(self.lost_below())?;
        let head = hole.start == self.r.snd.una;
        let room = u64::from(self.r.cc.cwnd).saturating_sub(self.pipe());
        let wanted = hole.len().min(u64::from(self.smss()));
        if !head && room < wanted {
            return None;
        }
        if head {
            // The head has waited longest: give it a whole timeout.
            self.r.rto.retransmit_at = Some(self.r.rto.next_retransmit(now));
        }
        Some(self.resend(now, hole, room, max_payload))
    }

    /// A gap that is perhaps lost, when there is nothing better to send (NextSeg rule 3).
    fn next_doubtful(&mut self, now: Micros, max_payload: usize) -> Option<SegmentOut> {
        if !matches!(self.r.cc.recovery, Recovery::Fast { .. }) {
            return None;
        }
        let hole = self.next_hole(self.r.cc.sacked.end())?;
        let room = u64::from(self.r.cc.cwnd).saturating_sub(self.pipe());
        if room < hole.len().min(u64::from(self.smss())) {
            return None;
        }
        Some(self.resend(now, hole, room, max_payload))
    }

    /// Sends the start of `hole` again: one segment, or as many whole ones as `room` and `max_payload` take.
    fn resend(&mut self, now: Micros, hole: Span, room: u64, max_payload: usize) -> SegmentOut {
        let options = self.options(now);
        let unit = self.segment_mss(&options).min(max_payload as u64).max(1);
        let whole = (room.min(max_payload as u64) / unit * unit).max(unit);
        let data_end = self.r.snd.end + 1;
        let end = hole.end.min(hole.start + whole).min(data_end.max(hole.start));
        // The FIN follows the last byte and rides along if it is part of the hole.
        let fin = end == data_end && hole.end > data_end;
        self.count_retransmission(hole.start);
        let after = end + u64::from(fin);
        self.r.cc.high_rxt = after;
        self.sent(now);
        self.data_segment(options, hole.start..end, fin)
    }

    /// Data never sent, or the FIN (NextSeg rule 2).
    fn next_new(&mut self, now: Micros, max_payload: usize) -> Option<SegmentOut> {
        let snd = self.r.snd;
        let data = (snd.end + 1).saturating_sub(snd.nxt);
        let fin_unsent = snd.closed && snd.nxt <= snd.end + 1;
        if data == 0 && !fin_unsent {
            return None;
        }
        self.restart_after_idle(now);
        let options = self.options(now);
        let window = (snd.una + u64::from(snd.wnd)).saturating_sub(snd.nxt);
        let unit = self.segment_mss(&options).min(max_payload as u64).max(1);
        let len = if data == 0 { 0 } else { self.amount(data, window, unit, max_payload as u64)? };
        let fin = fin_unsent && len == data && window > len;
        if len == 0 && !fin {
            return None;
        }
        if snd.una == snd.nxt {
            // The backoff was that of window probes: this is new.
            self.r.rto.backoff = 0;
        }
        let start = snd.nxt;
        self.r.snd.nxt = start + len + u64::from(fin);
        self.note_window_use();
        if self.r.rto.timed.is_none() && self.r.cc.recovery == Recovery::Open {
            self.r.rto.timed = Some((self.r.snd.nxt, now));
        }
        self.sent(now);
        Some(self.data_segment(options, start..start + len, fin))
    }

    /// How much of `data` unsent octets may go now, in segments of `unit`: `None` if it should wait (RFC 9293 3.8.6.2.1,
    /// RFC 5681).
    fn amount(&self, data: u64, window: u64, unit: u64, max_payload: u64) -> Option<u64> {
        let pipe = self.pipe();
        let mut room = u64::from(self.r.cc.cwnd).saturating_sub(pipe);
        if pipe == 0 {
            room = room.max(unit);
        }
        let sendable = data.min(window);
        if room < sendable.min(unit) {
            return None;
        }
        let idle = self.flight() == 0;
        // Whole segments: beyond the last of them the options would not fit into the packet.
        let bound = (max_payload / unit * unit).max(unit).min(room);
        let whole = bound.min(sendable) / unit * unit;
        let all = data <= window && data <= bound;
        let small_ok = !self.r.config.nagle || idle || self.r.snd.closed;
        if all && (small_ok || whole == data) {
            return Some(data);
        }
        if whole > 0 {
            return Some(whole);
        }
        let big_part = sendable >= u64::from(self.r.snd.max_wnd / 2) && sendable > 0;
        let forced = self.r.pending.contains(Pending::PROBE) && sendable > 0;
        let by_window = window < data && window < unit;
        (by_window && ((big_part && idle) || forced)).then(|| sendable.min(bound))
    }

    /// Nothing in flight will bring an acknowledgement, and something waits for a window: ask for it in time.
    fn arm_persist(&mut self, now: Micros) {
        let snd = &self.r.snd;
        let waiting = snd.nxt < snd.end + 1 + u64::from(snd.closed);
        if waiting && snd.una == snd.nxt {
            let at = self.r.rto.next_retransmit(now);
            self.r.rto.persist_at.get_or_insert(at);
        } else {
            self.r.rto.persist_at = None;
            self.r.pending.remove(Pending::PROBE);
        }
    }

    /// A segment just below the window, which the peer must answer (RFC 9293 3.8.4 for keep-alive). For window probes Linux
    /// does the same instead of sending an octet beyond the window: no octet can then be in doubt.
    fn next_probe(&mut self, now: Micros) -> SegmentOut {
        self.r.pending.remove(Pending::PROBE | Pending::KEEP_ALIVE);
        let mut segment = self.next_ack(now);
        segment.seq = self.r.snd.iss.at(self.r.snd.una).sub(1);
        segment
    }

    fn next_ack(&mut self, now: Micros) -> SegmentOut {
        let options = self.options(now);
        SegmentOut {
            seq: self.r.snd.iss.at(self.r.snd.nxt),
            ack: Some(self.acknowledge()),
            flags: Flags::ACK,
            window: self.advertise(false),
            options,
            ..SegmentOut::default()
        }
    }

    /// A segment with the data at positions `data`, and the FIN.
    fn data_segment(&mut self, options: Options, data: Range<u64>, fin: bool) -> SegmentOut {
        let mut flags = Flags::ACK;
        flags.set(Flags::PSH, !data.is_empty() && data.end > self.r.snd.end);
        flags.set(Flags::FIN, fin);
        SegmentOut {
            seq: self.r.snd.iss.at(data.start),
            ack: Some(self.acknowledge()),
            flags,
            window: self.advertise(false),
            mss: self.segment_mss(&options) as u16,
            options,
            payload: data.start - 1..data.end - 1,
        }
    }

    /// The acknowledgement number; whatever carries it settles what is owed.
    fn acknowledge(&mut self) -> crate::seq::Seq {
        self.r.pending.remove(Pending::ACK);
        self.r.rcv.ack_at = None;
        self.r.rcv.acked = self.r.rcv.nxt;
        self.r.rcv.irs.at(self.r.rcv.nxt)
    }

    /// The options of a segment that is no SYN.
    fn options(&self, now: Micros) -> Options {
        let timestamp = Timestamp { value: self.ts_clock(now), echo: self.r.options.ts_recent };
        Options {
            timestamp: self.r.options.timestamps.then_some(timestamp),
            sack: self.sack_blocks(),
            ..Options::default()
        }
    }

    /// Data octets beside `options` (RFC 6691).
    fn segment_mss(&self, options: &Options) -> u64 {
        u64::from(self.r.options.peer_mss.min(self.r.config.mss)) - options.len() as u64
    }

    /// Something that takes sequence space was sent: the timer runs (RFC 6298 5.1).
    fn sent(&mut self, now: Micros) {
        self.r.snd.last = now;
        self.r.rto.persist_at = None;
        self.r.pending.remove(Pending::PROBE);
        if self.r.rto.retransmit_at.is_none() {
            self.r.rto.retransmit_at = Some(self.r.rto.next_retransmit(now));
        }
    }

    fn count_retransmission(&mut self, position: u64) {
        self.r.rto.forget_timing(position);
        self.r.stats.retransmitted = self.r.stats.retransmitted.saturating_add(1);
    }
}
