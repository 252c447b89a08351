//! Which connections of a capture are over: both ends have closed, and both closings are acknowledged. A reset ends nothing there; it is the answer
//! to a duplicate that came late, as it does where a host stands still for longer than a retransmission waits (RFC 9293, 3.10.7.1).

use std::collections::BTreeMap;

/// The connections of a capture by tshark's numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Closings(BTreeMap<u64, BTreeMap<u64, Closed>>);

/// One end has closed, for all we saw.
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
            other.acknowledged |= segment.acknowledges >= other.end;
        }
        if segment.fin {
            ends.entry(segment.source_port).or_insert(Closed { end: segment.end + 1, acknowledged: false });
        }
    }

    /// Whether nothing of the connection is left.
    pub(super) fn is_over(&self, stream: u64) -> bool {
        self.0.get(&stream).is_some_and(|ends| ends.len() == 2 && ends.values().all(|end| end.acknowledged))
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
}
