//! The SACK scoreboard (RFC 2018, RFC 6675): what the peer holds, what is lost, what is in the pipe.
//!
//! It must never believe a block that lies outside what is in flight, and never send again what the peer holds.

use crate::connection::Connection;
use crate::record::Recovery;
use crate::segment::{SACK_BLOCKS, Segment};
use crate::seq::Seq;
use crate::spans::Span;

/// DupThresh (RFC 6675 2).
pub(crate) const DUP_THRESH: u32 = 3;

impl Connection {
    /// Notes the blocks of an acknowledgement up to `position`. Says whether one brought news.
    pub(crate) fn note_sacked(&mut self, segment: &Segment<'_>, position: u64) -> bool {
        if !self.r.options.sack {
            return false;
        }
        let before = self.r.cc.sacked.total();
        let floor = position.max(self.r.snd.una);
        let limit = self.r.dialect.scoreboard_spans();
        for (left, right) in segment.options.sack.iter().flatten() {
            let iss = self.r.snd.iss;
            let (Some(start), Some(end)) = (iss.position(*left, floor), iss.position(*right, floor)) else {
                continue;
            };
            // A block at or below the acknowledgement is a duplicate report (RFC 2883) or old.
            if start > floor && start < end && end <= self.r.snd.nxt {
                // When full, the block is forgotten: what it covers may be sent twice.
                let _ = self.r.cc.sacked.insert(Span { start, end }, limit);
            }
        }
        self.r.cc.sacked.total() > before
    }

    /// All that is not SACKed below this position counts as lost (IsLost of RFC 6675 4, for all positions at once).
    pub(crate) fn lost_below(&self) -> u64 {
        let octets_limit = u64::from((DUP_THRESH - 1) * self.smss());
        let mut octets = 0;
        let mut spans = 0;
        for span in self.r.cc.sacked.as_slice().iter().rev() {
            spans += 1;
            octets += span.len();
            if spans >= DUP_THRESH || octets > octets_limit {
                return span.start.max(self.r.cc.lost_to);
            }
        }
        self.r.cc.lost_to
    }

    /// Octets thought to be in the network (SetPipe of RFC 6675 4). Without SACK, each duplicate acknowledgement stands
    /// for a segment that arrived.
    pub(crate) fn pipe(&self) -> u64 {
        let lost = self.lost_below();
        let resent = self.r.cc.high_rxt;
        let mut pipe = 0;
        let mut from = self.r.snd.una;
        let tail = Span { start: self.r.snd.nxt, end: self.r.snd.nxt };
        for span in self.r.cc.sacked.as_slice().iter().chain(core::iter::once(&tail)) {
            pipe += span.start.max(lost).saturating_sub(from.max(lost));
            pipe += span.start.min(resent).saturating_sub(from.min(resent));
            from = span.end;
        }
        if self.r.options.sack || matches!(self.r.cc.recovery, Recovery::Timeout { .. }) {
            return pipe;
        }
        pipe.saturating_sub(u64::from(self.r.cc.dup_acks) * u64::from(self.smss()))
    }

    /// The first stretch below `limit` that the peer does not hold and that was not sent again in this recovery.
    pub(crate) fn next_hole(&self, limit: u64) -> Option<Span> {
        let mut start = self.r.cc.high_rxt.max(self.r.snd.una);
        for span in self.r.cc.sacked.as_slice() {
            if span.start > start {
                return (start < limit).then_some(Span { start, end: span.start });
            }
            start = start.max(span.end);
        }
        let end = self.r.snd.nxt;
        (start < limit && start < end).then_some(Span { start, end })
    }

    /// The blocks to report (RFC 2018 4): where the latest segment landed first, then the ones before it, then others.
    pub(crate) fn sack_blocks(&self) -> [Option<(Seq, Seq)>; SACK_BLOCKS] {
        let mut blocks = [None; SACK_BLOCKS];
        if !self.r.options.sack {
            return blocks;
        }
        let held = &self.r.rcv.held;
        let recent = self.r.rcv.recent.iter().filter_map(|position| held.find(*position));
        let irs = self.r.rcv.irs;
        for span in recent.chain(held.as_slice().iter().copied()) {
            let block = Some((irs.at(span.start), irs.at(span.end)));
            if blocks.contains(&block) {
                continue;
            }
            let Some(slot) = blocks.iter_mut().find(|slot| slot.is_none()) else { break };
            *slot = block;
        }
        blocks
    }
}
