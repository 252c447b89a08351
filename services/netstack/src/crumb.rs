//! Packet of death: which frame was being looked at, and what a start does about the one that its predecessor died of.
//!
//! A frame is consumed only after everything that it caused was published. So the frame at the head of the ring is the one that was
//! being looked at when the service died, if the crumb names it. One death does not convict it: services are also killed by operators, at
//! any instruction, and a frame dropped costs its sender a retransmission timeout. So it gets a second try; the second death drops it and
//! puts its flow under suspicion; the next frame of that flow that kills drops the connection with it, and nothing else.

use core::net::{Ipv4Addr, SocketAddrV4};

/// How long a flow stays under suspicion, nanoseconds.
const SUSPICION: u64 = 60_000_000_000;

/// The crumb, as it is on record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crumb {
    /// Position in the receive ring + 1 of the frame looked at last; 0 = none.
    pub frame: u64,
    /// The frame, by the same number, that a start found unconsumed and served again; 0 = none. Not a count: the frame looked at goes on, this one does
    /// not, and no frame may be judged by a death that belongs to another.
    pub tried: u64,
    /// The flow that killed before; 0 = none.
    pub suspect: u64,
    /// Since when, monotonic nanoseconds.
    pub since: u64,
}

/// What to do with the frame at the head of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sentence {
    /// Look at it like at any other.
    Serve,
    /// Drop it.
    Drop,
    /// Drop it and reset its connection.
    Reset,
}

impl Crumb {
    /// Judges the frame at the head of the ring, at a start; `position` is its place in the ring. Returns what is to be on record before
    /// the frame is looked at.
    #[must_use]
    pub fn judge(self, position: u64, frame: Option<&[u8]>, now: u64) -> (Self, Sentence) {
        let suspect = if now.saturating_sub(self.since) < SUSPICION { self.suspect } else { 0 };
        let free = Self { frame: 0, tried: 0, suspect, since: self.since };
        let Some(frame) = frame.filter(|_| self.frame == position.wrapping_add(1)) else {
            return (free, Sentence::Serve);
        };
        let flow = Flow::of(frame).map_or(0, |flow| flow.word());
        if flow != 0 && flow == suspect {
            return (Self { suspect: 0, ..free }, Sentence::Reset);
        }
        if self.tried == self.frame {
            return (Self { suspect: flow, since: now, ..free }, Sentence::Drop);
        }
        (Self { frame: self.frame, tried: self.frame, ..free }, Sentence::Serve)
    }
}

/// The ends of the TCP connection that a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Ours.
    pub local: SocketAddrV4,
    /// Theirs.
    pub remote: SocketAddrV4,
}

const ETHERNET: usize = 14;

impl Flow {
    /// Of an Ethernet frame; `None` if it is no TCP segment over IPv4, or too short to tell.
    #[must_use]
    pub fn of(frame: &[u8]) -> Option<Self> {
        let short = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
        let address = |at: usize| {
            let bytes: [u8; 4] = frame.get(at..at + 4)?.try_into().ok()?;
            Some(Ipv4Addr::from(bytes))
        };
        let version = *frame.get(ETHERNET)?;
        let is_tcp = short(12)? == 0x0800 && version >> 4 == 4 && *frame.get(ETHERNET + 9)? == 6;
        let ports = ETHERNET + usize::from(version & 15) * 4;
        is_tcp.then_some(())?;
        Some(Self {
            remote: SocketAddrV4::new(address(ETHERNET + 12)?, short(ports)?),
            local: SocketAddrV4::new(address(ETHERNET + 16)?, short(ports + 2)?),
        })
    }

    /// The remote end and the local port in one word, which is never 0.
    fn word(self) -> u64 {
        let remote = u64::from(self.remote.ip().to_bits()) << 32 | u64::from(self.remote.port()) << 16;
        (remote | u64::from(self.local.port())).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn frame(remote_port: u16) -> Vec<u8> {
        let mut frame = std::vec![0; 54];
        frame[12..14].copy_from_slice(&[8, 0]);
        (frame[14], frame[23]) = (0x45, 6);
        frame[26..34].copy_from_slice(&[10, 0, 2, 2, 10, 0, 2, 15]);
        frame[34..36].copy_from_slice(&remote_port.to_be_bytes());
        frame[36..38].copy_from_slice(&7u16.to_be_bytes());
        frame
    }

    /// What the stack does before it looks at a frame.
    fn looking_at(crumb: Crumb, position: u64) -> Crumb {
        Crumb { frame: position + 1, ..crumb }
    }

    #[test]
    fn a_frame_is_tried_twice_and_then_dropped() {
        let crumb = looking_at(Crumb::default(), 5);
        let (crumb, first) = crumb.judge(5, Some(&frame(1)), 0);
        let (crumb, second) = looking_at(crumb, 5).judge(5, Some(&frame(1)), 1);
        assert_eq!((first, second, crumb.tried), (Sentence::Serve, Sentence::Drop, 0));
    }

    #[test]
    fn a_second_frame_of_the_flow_that_kills_costs_the_connection_and_no_other() {
        let (crumb, _) = looking_at(Crumb { tried: 6, ..Crumb::default() }, 5).judge(5, Some(&frame(1)), 9);
        let (_, other) = looking_at(crumb, 6).judge(6, Some(&frame(2)), 10);
        let (after, same) = looking_at(crumb, 6).judge(6, Some(&frame(1)), 10);
        assert_eq!((other, same, after.suspect), (Sentence::Serve, Sentence::Reset, 0));
        let (_, late) = looking_at(crumb, 6).judge(6, Some(&frame(1)), 10 + SUSPICION);
        assert_eq!(late, Sentence::Serve);
    }

    #[test]
    fn a_frame_is_not_judged_by_the_death_of_the_one_before() {
        let (crumb, _) = looking_at(Crumb::default(), 5).judge(5, Some(&frame(1)), 0);
        // The second try went well; much later, another frame is the one at which the service dies.
        let (crumb, first) = looking_at(crumb, 6).judge(6, Some(&frame(2)), 1);
        let (_, second) = looking_at(crumb, 6).judge(6, Some(&frame(2)), 2);
        assert_eq!((first, second, crumb.suspect), (Sentence::Serve, Sentence::Drop, 0));
    }

    #[test]
    fn a_death_between_frames_accuses_none() {
        let crumb = looking_at(Crumb::default(), 5);
        assert_eq!(crumb.judge(6, Some(&frame(1)), 0), (Crumb::default(), Sentence::Serve));
        assert_eq!(crumb.judge(5, None, 0), (Crumb::default(), Sentence::Serve));
    }

    proptest! {
        #[test]
        fn arbitrary_frames_are_judged_without_panic(frame in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Crumb { frame: 1, tried: 1, suspect: 3, since: 0 }.judge(0, Some(&frame), 1);
        }
    }
}
