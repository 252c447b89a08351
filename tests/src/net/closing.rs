//! How far each end of the connections in a capture has sent, and which connections are over: both ends have closed, and both closings are
//! acknowledged. A reset ends nothing there; it is the answer to a duplicate that came late, as it does where a host stands still for longer than a
//! retransmission waits (RFC 9293, 3.10.7.1).

use std::collections::BTreeMap;

/// The connections of a capture by tshark's numbers, each with its ends by port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Closings(BTreeMap<u64, BTreeMap<u64, End>>);

/// One end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct End {
    /// The number after all that it sent.
    sent: u64,
    closed: Option<Closed>,
}

/// It has closed, for all we saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Closed {
    /// The number after its FIN.
    end: u64,
    acknowledged: bool,
}

/// What tshark says of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) stream: u64,
    pub(super) source_port: u64,
    /// The number after its last byte, without a FIN.
    pub(super) end: u64,
    pub(super) acknowledges: u64,
    pub(super) fin: bool,
}

impl Closings {
    /// The next segment of the capture.
    pub(super) fn add(&mut self, segment: Segment) {
        let ends = self.0.entry(segment.stream).or_default();
        for (_, other) in ends.iter_mut().filter(|(port, _)| **port != segment.source_port) {
            if let Some(closed) = &mut other.closed {
                closed.acknowledged |= segment.acknowledges >= closed.end;
            }
        }
        let own = ends.entry(segment.source_port).or_default();
        let end = segment.end + u64::from(segment.fin);
        own.sent = own.sent.max(end);
        if segment.fin {
            own.closed.get_or_insert(Closed { end, acknowledged: false });
        }
    }

    /// Whether nothing of the connection is left.
    pub(super) fn is_over(&self, stream: u64) -> bool {
        let over = |end: &End| end.closed.is_some_and(|closed| closed.acknowledged);
        self.0.get(&stream).is_some_and(|ends| ends.len() == 2 && ends.values().all(over))
    }

    /// Whether a segment acknowledges more than the other end has sent. tshark says so too of what a retransmission brought that began in old data and
    /// ended in new.
    pub(super) fn acknowledges_unseen(&self, segment: Segment) -> bool {
        let others = self.0.get(&segment.stream).into_iter().flatten();
        let sent = others.filter(|(port, _)| **port != segment.source_port).map(|(_, end)| end.sent).max();
        // Number 0 is the SYN's, whose end is not counted.
        segment.acknowledges > sent.unwrap_or(0).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(source_port: u64, end: u64, acknowledges: u64, fin: bool) -> Segment {
        Segment { stream: 3, source_port, end, acknowledges, fin }
    }

    #[test]
    fn a_connection_is_over_when_both_closings_are_acknowledged() {
        let mut closings = Closings::default();
        let steps = [
            segment(7, 100, 50, false),
            segment(7, 100, 50, true),
            segment(4000, 50, 101, true),
            segment(4000, 50, 101, true),
        ];
        for step in steps {
            closings.add(step);
            assert!(!closings.is_over(3), "after {step:?}");
        }
        closings.add(segment(7, 101, 50, false));
        assert!(!closings.is_over(3), "its last byte is acknowledged, its FIN is not");
        closings.add(segment(7, 101, 51, false));
        assert!(closings.is_over(3) && !closings.is_over(4));
    }

    #[test]
    fn who_acknowledges_his_own_end_has_not_ended_the_other() {
        let mut closings = Closings::default();
        closings.add(segment(7, 100, 0, true));
        closings.add(segment(7, 100, 500, false));
        closings.add(segment(4000, 50, 100, true));
        closings.add(segment(7, 101, 51, false));
        assert!(!closings.is_over(3), "100 is not 101");
    }

    #[test]
    fn what_the_other_end_has_sent_may_be_acknowledged_and_no_more() {
        let mut closings = Closings::default();
        let acknowledges =
            |closings: &Closings, number| closings.acknowledges_unseen(segment(7, 1, number, false));
        assert!(!acknowledges(&closings, 1), "a SYN");
        closings.add(segment(4000, 50, 1, false));
        closings.add(segment(7, 500, 50, false));
        assert_eq!([49, 50, 51].map(|number| acknowledges(&closings, number)), [false, false, true]);
        closings.add(segment(4000, 80, 1, false));
        closings.add(segment(4000, 60, 1, true));
        assert_eq!([80, 81].map(|number| acknowledges(&closings, number)), [false, true]);
        closings.add(segment(4000, 80, 1, true));
        assert!(!acknowledges(&closings, 81), "the FIN has a number");
    }
}
