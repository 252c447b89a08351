//! What happens when time passes. Deadlines are absolute and in the record, so a successor keeps them.
//!
//! It must never do more than its timers say: being called early or often changes nothing.

use crate::connection::{Connection, Events};
use crate::record::{CloseReason, Pending, State};
use crate::rto::MAX_RTO;
use crate::time::Micros;

/// A peer that was heard this recently is alive, even if it took its window back to zero.
const HEARD_RECENTLY: Micros = Micros(2 * MAX_RTO as u64);

impl Connection {
    /// When [`Connection::on_timer`] must be called at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Micros> {
        let deadlines = [
            self.r.rto.retransmit_at,
            self.r.rto.persist_at,
            self.r.rcv.ack_at,
            self.r.expire_at,
            self.keep_alive_at(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Lets time pass: does what was due by `now`. Cheap when nothing was.
    pub fn on_timer(&mut self, now: Micros) -> Events {
        let due = |at: Option<Micros>| at.is_some_and(|at| at <= now);
        if due(self.r.expire_at) {
            return self.close(CloseReason::Normal);
        }
        if due(self.r.rcv.ack_at) {
            self.r.rcv.ack_at = None;
            self.r.pending |= Pending::ACK;
        }
        let mut alive = true;
        if due(self.r.rto.retransmit_at) {
            alive = self.on_retransmission_timeout(now);
        }
        if alive && due(self.r.rto.persist_at) {
            alive = self.on_persist(now);
        }
        if alive && due(self.keep_alive_at()) {
            alive = self.on_keep_alive();
        }
        if alive { Events::empty() } else { Events::TIMED_OUT | self.close(CloseReason::TimedOut) }
    }

    /// RFC 6298 5.4 to 5.7. Says whether there is still hope.
    fn on_retransmission_timeout(&mut self, now: Micros) -> bool {
        if self.flight() == 0 {
            self.r.rto.retransmit_at = None;
            return true;
        }
        let opening = matches!(self.r.state, State::SynSent | State::SynReceived { .. });
        let limit = if opening { self.r.config.syn_retries } else { self.r.config.retries };
        let stalled = !opening && self.r.snd.wnd == 0 && now.since(self.r.rcv.last) < HEARD_RECENTLY;
        if self.r.rto.backoff >= limit && !stalled {
            return false;
        }
        self.r.stats.timeouts = self.r.stats.timeouts.saturating_add(1);
        if opening {
            self.r.rto.timed = None;
            self.r.pending |= Pending::SYN;
        } else {
            self.enter_timeout_recovery();
        }
        self.r.rto.backoff = self.r.rto.backoff.saturating_add(1);
        self.r.rto.retransmit_at = Some(self.r.rto.next_retransmit(now));
        true
    }

    /// The window is closed, or too small to use, and nothing in flight will bring news of it (RFC 9293 3.8.6.1).
    fn on_persist(&mut self, now: Micros) -> bool {
        if self.r.rto.probes >= self.r.config.retries {
            return false;
        }
        self.r.rto.probes += 1;
        self.r.rto.backoff = self.r.rto.backoff.saturating_add(1);
        self.r.pending |= Pending::PROBE;
        self.r.rto.persist_at = Some(self.r.rto.next_retransmit(now));
        true
    }

    fn on_keep_alive(&mut self) -> bool {
        let Some(keep) = self.r.config.keep_alive else { return true };
        if self.r.keep_probes >= keep.probes {
            return false;
        }
        self.r.keep_probes += 1;
        self.r.pending |= Pending::KEEP_ALIVE;
        true
    }

    /// When the silence calls for a probe: only while nothing else makes the peer answer.
    fn keep_alive_at(&self) -> Option<Micros> {
        let keep = self.r.config.keep_alive?;
        let quiet = self.r.snd.una == self.r.snd.nxt && self.r.rto.persist_at.is_none();
        let open = matches!(self.r.state, State::Established | State::CloseWait | State::FinWait2);
        let waited = keep.interval.0.saturating_mul(u64::from(self.r.keep_probes));
        (quiet && open).then(|| self.r.rcv.last.after(keep.idle).after(Micros(waited)))
    }
}
