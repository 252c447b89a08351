//! Data and FIN from the peer, reassembly, and when an acknowledgement is owed (RFC 9293 3.10.7.4, 3.8.6; RFC 5681 4.2).
//!
//! It must never write outside the window that the peer was told, nor change what the application may already have read.

use crate::connection::{Connection, Events, RxSpace};
use crate::record::{Pending, State};
use crate::segment::{Flags, Segment};
use crate::spans::Span;
use crate::time::Micros;

impl Connection {
    /// Takes the data and the FIN of an acceptable segment at receive position `start`.
    pub(crate) fn on_data(
        &mut self,
        now: Micros,
        segment: &Segment<'_>,
        start: u64,
        rx: &mut impl RxSpace,
    ) -> Events {
        let fin = segment.flags.contains(Flags::FIN);
        if segment.payload.is_empty() && !fin {
            return Events::empty();
        }
        if !self.r.state.can_receive() {
            // The stream has ended; this is an old copy, or nonsense.
            self.r.pending |= Pending::ACK;
            let again = self.r.state == State::TimeWait && fin;
            return if again { self.wait_out(now) } else { Events::empty() };
        }
        let end = start + segment.payload.len() as u64;
        if self.r.detached && end > self.r.rcv.nxt {
            return self.abort();
        }
        let before = self.r.rcv.nxt;
        self.note_segment_size(segment.payload.len());
        let stored = self.store(segment.payload, start, rx);
        if fin && stored == end {
            self.note_fin(end);
        }
        let mut events = Events::empty();
        events.set(Events::READABLE, self.r.rcv.nxt > before);
        if self.r.rcv.fin == Some(self.r.rcv.nxt) {
            return events | self.on_fin(now);
        }
        self.owe_ack(now, before, stored < end);
        events
    }

    /// What a full segment is, for this peer on this path.
    fn note_segment_size(&mut self, octets: usize) {
        let size = octets.min(usize::from(self.r.config.mss)) as u16;
        self.r.rcv.mss = self.r.rcv.mss.max(size);
    }

    /// Writes what is new and inside the window. Returns the position up to which the payload was taken, or was there.
    fn store(&mut self, payload: &[u8], start: u64, rx: &mut impl RxSpace) -> u64 {
        let spans = self.r.dialect.reassembly_spans();
        let rcv = &mut self.r.rcv;
        let limit = rcv.fin.unwrap_or(u64::MAX).min(rcv.adv.max(rcv.nxt));
        let new =
            Span { start: start.max(rcv.nxt), end: start.saturating_add(payload.len() as u64).min(limit) };
        let skipped = (new.start - start) as usize;
        let Some(data) = payload.get(skipped..skipped + new.len() as usize).filter(|data| !data.is_empty())
        else {
            return start.saturating_add(payload.len() as u64).min(limit);
        };
        if new.start == rcv.nxt {
            rx.write(new.start - 1, data);
            rcv.nxt = new.end;
            if let Some(held) = rcv.held.first().filter(|held| held.start <= rcv.nxt) {
                rcv.nxt = rcv.nxt.max(held.end);
            }
            self.settle();
        } else if rcv.held.insert(new, spans).is_ok() {
            rx.write(new.start - 1, data);
            rcv.recent.rotate_right(1);
            if let Some(latest) = rcv.recent.first_mut() {
                *latest = new.start;
            }
        } else {
            // No room to remember one more gap: the peer sends it again.
            return new.start;
        }
        new.end
    }

    /// Takes over held stretches that the stream has reached.
    fn settle(&mut self) {
        let rcv = &mut self.r.rcv;
        while let Some(held) = rcv.held.first().filter(|held| held.start <= rcv.nxt) {
            rcv.nxt = rcv.nxt.max(held.end);
            rcv.held.remove_below(rcv.nxt);
        }
    }

    /// Notes where the stream ends. A second opinion, or an end before data that is there, is not believed.
    fn note_fin(&mut self, position: u64) {
        let rcv = &mut self.r.rcv;
        if rcv.fin.is_none() && position >= rcv.nxt && position >= rcv.held.end() {
            rcv.fin = Some(position);
        }
    }

    /// All data is in and the FIN is next (RFC 9293 3.10.7.4, eighth).
    fn on_fin(&mut self, now: Micros) -> Events {
        self.r.rcv.nxt += 1;
        self.r.pending |= Pending::ACK;
        Events::REMOTE_CLOSED
            | match self.r.state {
                State::Established => {
                    self.r.state = State::CloseWait;
                    Events::empty()
                }
                State::FinWait1 => {
                    self.r.state = State::Closing;
                    Events::empty()
                }
                State::FinWait2 => self.wait_out(now),
                _ => Events::empty(),
            }
    }

    /// At once for every second full segment, for what is out of order, fills a gap, was there already or was `cut` because
    /// it did not fit; else within the delay (RFC 9293 3.8.6.3, RFC 5681 4.2).
    fn owe_ack(&mut self, now: Micros, before: u64, cut: bool) {
        let rcv = &self.r.rcv;
        let full = 2 * u64::from(rcv.mss);
        let disorder =
            cut || rcv.nxt == before || rcv.held.count() > 0 || rcv.recent.iter().any(|p| *p > before);
        if disorder || rcv.nxt - rcv.acked >= full {
            self.r.pending |= Pending::ACK;
        } else if rcv.ack_at.is_none() {
            self.r.rcv.ack_at = Some(now.after(self.r.config.delayed_ack));
        }
    }

    /// The position where the rx ring ends.
    fn ring_end(&self) -> u64 {
        self.r.rcv.consumed + 1 + u64::from(self.r.config.rx_capacity)
    }

    /// Whether the application made enough room that the peer should hear of it unasked: twice the window that it knows,
    /// and enough to be worth a segment (RFC 9293 3.8.6.2.2).
    pub(crate) fn window_update_due(&self) -> bool {
        let rcv = &self.r.rcv;
        let known = rcv.adv.saturating_sub(rcv.nxt);
        let possible = self.ring_end().saturating_sub(rcv.nxt);
        let capacity = u64::from(self.r.config.rx_capacity);
        let step = (capacity / 2).min(2 * u64::from(self.r.config.mss)).max(1);
        possible >= known.saturating_mul(2) && possible >= known + step
    }

    /// The window field to send now. The right edge moves forward by steps worth a segment (RFC 9293 3.8.6.2.2). What was
    /// allowed stays allowed, though the field may understate it by less than its unit (RFC 7323 2.4).
    pub(crate) fn advertise(&mut self, syn: bool) -> u16 {
        let ring_end = self.ring_end();
        let capacity = u64::from(self.r.config.rx_capacity);
        let step = (capacity / 2).min(u64::from(self.r.config.mss));
        let rcv = &mut self.r.rcv;
        let edge = if ring_end >= rcv.adv.saturating_add(step) { ring_end } else { rcv.adv };
        let next = rcv.nxt.max(1);
        let window = edge.saturating_sub(next);
        let shift = if syn { 0 } else { self.r.options.rcv_shift };
        // Rounding down understates the window; up is right if the ring has the room.
        let up = window.div_ceil(1 << shift);
        let units = if next + (up << shift) <= ring_end { up } else { window >> shift };
        let field = units.min(u64::from(u16::MAX));
        rcv.adv = rcv.adv.max(next + (field << shift));
        field as u16
    }
}
