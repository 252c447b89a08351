//! What an acknowledgement means for what was sent (RFC 9293 3.10.7.4, RFC 5961 5, RFC 5681 3.2).
//!
//! It must never move the first unacknowledged position backwards or past what was sent.

use crate::connection::{Connection, Events};
use crate::record::{CloseReason, Recovery, State};
use crate::sack::DUP_THRESH;
use crate::segment::{Flags, Segment};
use crate::time::Micros;

impl Connection {
    /// Takes the acknowledgement up to `position`, from a segment at receive position `start`. The caller checked that
    /// `position` was sent.
    pub(crate) fn on_ack(&mut self, now: Micros, segment: &Segment<'_>, start: u64, position: u64) -> Events {
        let flight = self.flight();
        let news = position >= self.r.snd.una && self.note_sacked(segment, position);
        let window_moved = self.update_window(segment, start, position);
        if position > self.r.snd.una {
            let events = self.on_progress(now, segment, position);
            self.enter_recovery_if_due();
            return events;
        }
        let bare = segment.payload.is_empty() && !segment.flags.intersects(Flags::SYN | Flags::FIN);
        let duplicate = if self.r.options.sack { news } else { bare && !window_moved };
        if position == self.r.snd.una && flight > 0 && duplicate {
            self.r.cc.dup_acks = self.r.cc.dup_acks.saturating_add(1);
            self.enter_recovery_if_due();
        }
        Events::empty()
    }

    /// Updates the send window from the newest segment (RFC 9293 3.10.7.4). Says whether it changed.
    fn update_window(&mut self, segment: &Segment<'_>, start: u64, position: u64) -> bool {
        let snd = &mut self.r.snd;
        if position < snd.una || start < snd.wl1 || (start == snd.wl1 && position < snd.wl2) {
            return false;
        }
        let window = u32::from(segment.window) << self.r.options.snd_shift;
        let changed = snd.wnd != window;
        snd.wnd = window;
        snd.max_wnd = snd.max_wnd.max(window);
        (snd.wl1, snd.wl2) = (start, position);
        changed
    }

    fn on_progress(&mut self, now: Micros, segment: &Segment<'_>, position: u64) -> Events {
        let before = self.r.tx_offset();
        let acked = position - self.r.snd.una;
        self.sample_rtt(now, segment, position);
        self.r.snd.una = position;
        self.r.cc.sacked.remove_below(position);
        self.r.rto.backoff = 0;
        // RFC 6298 5.2, 5.3.
        let outstanding = self.flight() > 0;
        self.r.rto.retransmit_at = outstanding.then(|| self.r.rto.next_retransmit(now));
        self.recovery_on_progress(acked);
        let mut events = Events::empty();
        events.set(Events::WRITABLE, self.r.tx_offset() > before);
        let finished = self.r.snd.closed && position == self.r.snd.end + 2;
        if finished { events | self.on_fin_acked(now) } else { events }
    }

    fn on_fin_acked(&mut self, now: Micros) -> Events {
        match self.r.state {
            State::FinWait1 => self.wait_for_fin(now),
            State::Closing => return Events::LOCAL_CLOSED | self.wait_out(now),
            State::LastAck => return Events::LOCAL_CLOSED | self.close(CloseReason::Normal),
            _ => return Events::empty(),
        }
        Events::LOCAL_CLOSED
    }

    /// Enters fast recovery on the third duplicate, or when the scoreboard shows a loss (RFC 6675 5). After a timeout,
    /// duplicates are echoes of our own retransmissions until its point is passed.
    fn enter_recovery_if_due(&mut self) {
        let due = self.r.cc.dup_acks >= DUP_THRESH || self.lost_below() > self.r.snd.una;
        if self.r.cc.recovery == Recovery::Open && self.flight() > 0 && due {
            self.enter_fast_recovery();
        }
    }
}
