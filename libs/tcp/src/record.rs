//! The whole connection as plain data. What is not in here does not survive a move, so everything is.
//!
//! It must never hold a pointer, a length that was not checked against its ring, or a time relative to anything but the
//! shared clock. Fields are private to the crate: a [`Record`] exists only if its invariants hold.

use crate::config::Config;
use crate::schema::{Dialect, Format, REASSEMBLY_ROOM, SCOREBOARD_ROOM, Schema};
use crate::segment::Tuple;
use crate::seq::Seq;
use crate::spans::{Span, Spans};
use crate::time::Micros;
use core::fmt;

/// Positions stay below this, so that sums with windows never overflow. A stream would need 73 years at 1 GB/s.
pub(crate) const POSITION_LIMIT: u64 = 1 << 61;

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// Both sides closed and everything was acknowledged.
    Normal,
    /// The peer reset the connection.
    Reset,
    /// The peer refused the connection.
    Refused,
    /// The peer stopped answering.
    TimedOut,
    /// We reset it: the application aborted, or went away with the peer still sending.
    Aborted,
}

/// Connection states (RFC 9293 3.3.2). LISTEN is not among them: a listener is not a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Our SYN is out.
    SynSent,
    /// Both SYNs seen, ours not acknowledged. `passive` when it came from a listener.
    SynReceived {
        /// Opened by the peer.
        passive: bool,
    },
    /// Data flows both ways.
    Established,
    /// We closed; our FIN is not acknowledged.
    FinWait1,
    /// We closed, acknowledged; the peer may go on sending.
    FinWait2,
    /// The peer closed; we may go on sending.
    CloseWait,
    /// Both closed at once; our FIN is not acknowledged.
    Closing,
    /// The peer closed, then we; our FIN is not acknowledged.
    LastAck,
    /// Over; waits for stray segments to die out.
    TimeWait,
    /// Over. The record can be released once [`crate::Connection::next_segment`] says `None`.
    Closed(CloseReason),
}

impl State {
    /// Whether the peer's SYN was received, so that its sequence numbers mean something.
    #[must_use]
    pub const fn is_synchronized(self) -> bool {
        !matches!(self, Self::SynSent | Self::Closed(_))
    }

    /// Whether the application may still write.
    #[must_use]
    pub const fn can_write(self) -> bool {
        matches!(self, Self::SynSent | Self::SynReceived { .. } | Self::Established | Self::CloseWait)
    }

    /// Whether the handshake is done and data may be sent or resent.
    #[must_use]
    pub(crate) const fn can_transmit(self) -> bool {
        matches!(self, Self::Established | Self::FinWait1 | Self::CloseWait | Self::Closing | Self::LastAck)
    }

    /// Whether data may still arrive.
    #[must_use]
    pub(crate) const fn can_receive(self) -> bool {
        matches!(self, Self::Established | Self::FinWait1 | Self::FinWait2)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::SynSent => "SYN-SENT",
            Self::SynReceived { .. } => "SYN-RECEIVED",
            Self::Established => "ESTABLISHED",
            Self::FinWait1 => "FIN-WAIT-1",
            Self::FinWait2 => "FIN-WAIT-2",
            Self::CloseWait => "CLOSE-WAIT",
            Self::Closing => "CLOSING",
            Self::LastAck => "LAST-ACK",
            Self::TimeWait => "TIME-WAIT",
            Self::Closed(_) => "CLOSED",
        })
    }
}

bitflags::bitflags! {
    /// What is owed to the peer, beyond data. Part of the record: a debt survives a move.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub(crate) struct Pending: u8 {
        /// A SYN or SYN-ACK, first or again.
        const SYN = 0x01;
        /// An acknowledgement, now.
        const ACK = 0x02;
        /// A reset.
        const RST = 0x04;
        /// A window probe, or as much data as a small window takes.
        const PROBE = 0x08;
        /// A keep-alive probe.
        const KEEP_ALIVE = 0x10;
    }
}

/// Where loss recovery stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Recovery {
    /// Nothing is thought lost.
    #[default]
    Open,
    /// Fast recovery (RFC 6675, RFC 6582) until `point` is acknowledged.
    Fast { point: u64 },
    /// After a retransmission timeout, until `point` is acknowledged.
    Timeout { point: u64 },
}

/// Counters of one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Segments sent again, data or SYN or FIN.
    pub retransmitted: u32,
    /// Retransmission timeouts.
    pub timeouts: u32,
    /// Segments that arrived and were not acceptable.
    pub unacceptable: u32,
    /// Challenge acknowledgements sent (RFC 5961).
    pub challenges: u32,
}

/// What was negotiated on the SYNs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Negotiated {
    pub peer_mss: u16,
    /// How far the peer's window fields are shifted.
    pub snd_shift: u8,
    /// How far ours are.
    pub rcv_shift: u8,
    pub sack: bool,
    pub timestamps: bool,
    /// Added to our millisecond clock in TSval.
    pub ts_offset: u32,
    /// TS.Recent (RFC 7323 4.3).
    pub ts_recent: u32,
    pub ts_recent_at: Micros,
}

/// The send half.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Send {
    pub iss: Seq,
    /// First position not acknowledged.
    pub una: u64,
    /// First position never sent.
    pub nxt: u64,
    /// Bytes that the application wrote, as a stream offset.
    pub end: u64,
    /// The application closed: a FIN follows `end`.
    pub closed: bool,
    /// The peer's window in octets, and the largest it ever was.
    pub wnd: u32,
    pub max_wnd: u32,
    /// Positions of the segment that last updated the window: its sequence number and its acknowledgement.
    pub wl1: u64,
    pub wl2: u64,
    /// When something that takes sequence space was last sent.
    pub last: Micros,
}

/// Congestion control and loss recovery.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Congestion {
    pub cwnd: u32,
    pub ssthresh: u32,
    /// Octets acknowledged towards the next increase in congestion avoidance.
    pub credit: u32,
    pub recovery: Recovery,
    pub dup_acks: u32,
    /// Up to here the window was what held us back; an acknowledgement beyond does not raise it.
    pub limited_to: u64,
    /// All not SACKed below this is declared lost by a timeout or by NewReno.
    pub lost_to: u64,
    /// All not SACKed below this was sent again in this recovery (HighRxt).
    pub high_rxt: u64,
    pub sacked: Spans<SCOREBOARD_ROOM>,
}

/// Round-trip times and the retransmission and persist timers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Rto {
    /// Smoothed round-trip time and its variation, microseconds; 0 before the first sample.
    pub srtt: u32,
    pub rttvar: u32,
    /// The timeout before backing off.
    pub rto: u32,
    /// Expiries in a row.
    pub backoff: u8,
    /// The position whose acknowledgement is being timed, and when it was sent.
    pub timed: Option<(u64, Micros)>,
    pub retransmit_at: Option<Micros>,
    pub persist_at: Option<Micros>,
    /// Window probes without an answer.
    pub probes: u8,
}

/// The receive half.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Receive {
    pub irs: Seq,
    /// First position not received in order.
    pub nxt: u64,
    /// Past the last position that we ever allowed.
    pub adv: u64,
    /// Stream offset up to which the application has read.
    pub consumed: u64,
    /// Position of the peer's FIN, once seen.
    pub fin: Option<u64>,
    pub held: Spans<REASSEMBLY_ROOM>,
    /// Where the latest out-of-order segments landed, newest first (RFC 2018 4); 0 for none.
    pub recent: [u64; 3],
    /// Last.ACK.sent (RFC 7323 4.3).
    pub acked: u64,
    /// Largest segment seen: what a full one is.
    pub mss: u16,
    /// A delayed acknowledgement is due.
    pub ack_at: Option<Micros>,
    /// When the peer was last heard.
    pub last: Micros,
}

/// One connection, complete. `Copy`, no pointers; read and written by [`Record::encode`] and [`Record::decode`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Which version runs it and how it is published. Written in the header, not among the fields.
    pub(crate) dialect: Dialect,
    pub(crate) tuple: Tuple,
    pub(crate) config: Config,
    pub(crate) state: State,
    pub(crate) pending: Pending,
    pub(crate) options: Negotiated,
    pub(crate) snd: Send,
    pub(crate) cc: Congestion,
    pub(crate) rto: Rto,
    pub(crate) rcv: Receive,
    pub(crate) keep_probes: u8,
    /// Nobody reads or writes on our side any more.
    pub(crate) detached: bool,
    /// When TIME-WAIT, or a FIN-WAIT-2 without an application, ends.
    pub(crate) expire_at: Option<Micros>,
    /// Start of the current second of challenge acknowledgements, and how many it had.
    pub(crate) challenge_at: Micros,
    pub(crate) challenges: u8,
    pub(crate) stats: Stats,
}

impl Record {
    /// A connection whose SYN is owed.
    pub(crate) fn new(tuple: Tuple, config: Config, iss: Seq, state: State, now: Micros) -> Self {
        Self {
            dialect: Dialect::new(Schema::OWN, Format::Compatible),
            tuple,
            config,
            state,
            pending: Pending::SYN,
            options: Negotiated { peer_mss: crate::config::DEFAULT_MSS, ..Negotiated::default() },
            snd: Send { iss, last: now, ..Send::default() },
            cc: Congestion { cwnd: u32::from(config.mss), ssthresh: u32::MAX, ..Congestion::default() },
            rto: Rto { rto: crate::rto::INITIAL_RTO, ..Rto::default() },
            rcv: Receive { mss: crate::config::DEFAULT_MSS, last: now, ..Receive::default() },
            keep_probes: 0,
            detached: false,
            expire_at: None,
            challenge_at: now,
            challenges: 0,
            stats: Stats::default(),
        }
    }

    /// Both ends.
    #[must_use]
    pub const fn tuple(&self) -> Tuple {
        self.tuple
    }

    /// The configuration that it was opened with.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// How it is published.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.dialect.format()
    }

    /// The counters.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// Checks what the code relies on.
    ///
    /// # Errors
    /// The name of the first broken rule.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let rules = [
            (self.config.check().is_ok(), "configuration"),
            (self.options_sound(), "negotiated options"),
            (self.state_sound(), "state"),
            (self.send_sound(), "send positions"),
            (self.recovery_sound(), "recovery positions"),
            (self.receive_sound(), "receive positions"),
        ];
        rules.iter().find(|(sound, _)| !sound).map_or(Ok(()), |(_, name)| Err(name))
    }

    fn options_sound(&self) -> bool {
        let options = &self.options;
        options.peer_mss >= crate::config::MIN_MSS && options.snd_shift <= 14 && options.rcv_shift <= 14
    }

    /// Whether the positions are where the state says that they are.
    fn state_sound(&self) -> bool {
        let snd = &self.snd;
        let opened = snd.una >= 1 && self.rcv.nxt >= 1;
        let all_acked = snd.closed && snd.una == snd.end.saturating_add(2);
        let finished = self.rcv.fin.is_some_and(|fin| self.rcv.nxt == fin.saturating_add(1));
        match self.state {
            State::SynSent => snd.una == 0 && snd.nxt <= 1 && self.rcv.nxt == 0,
            State::SynReceived { .. } => snd.una == 0 && snd.nxt <= 1 && self.rcv.nxt == 1,
            State::Established => opened && !snd.closed && !finished,
            State::FinWait1 => opened && snd.closed && !all_acked && !finished,
            State::FinWait2 => opened && all_acked && !finished,
            State::CloseWait => opened && !snd.closed && finished,
            State::Closing | State::LastAck => opened && snd.closed && !all_acked && finished,
            State::TimeWait => opened && all_acked && finished && self.expire_at.is_some(),
            State::Closed(_) => true,
        }
    }

    fn send_sound(&self) -> bool {
        let snd = &self.snd;
        let limit = snd.end.saturating_add(1).saturating_add(u64::from(snd.closed));
        snd.end < POSITION_LIMIT
            && snd.una <= snd.nxt
            && snd.nxt <= limit
            && snd.end.saturating_sub(snd.una.saturating_sub(1)) <= u64::from(self.config.tx_capacity)
            && snd.wnd <= snd.max_wnd
            && snd.max_wnd <= u32::from(u16::MAX) << 14
            && snd.wl2 <= snd.nxt
    }

    fn recovery_sound(&self) -> bool {
        let (cc, snd) = (&self.cc, &self.snd);
        let point = match cc.recovery {
            Recovery::Open => snd.una,
            Recovery::Fast { point } | Recovery::Timeout { point } => point,
        };
        cc.sacked.is_sound(Span { start: snd.una, end: snd.nxt })
            && cc.sacked.count() <= self.dialect.scoreboard_spans()
            && cc.lost_to <= snd.nxt
            && cc.high_rxt <= snd.nxt
            && cc.limited_to <= snd.nxt
            && point <= snd.nxt
            && cc.cwnd > 0
            && cc.cwnd <= crate::congestion::MAX_CWND
            && self.rto.rto >= crate::rto::MIN_RTO
            && self.rto.rto <= crate::rto::MAX_RTO
            && self.rto.timed.is_none_or(|(position, _)| position <= snd.nxt)
    }

    fn receive_sound(&self) -> bool {
        let rcv = &self.rcv;
        let ring_end = rcv.consumed.saturating_add(1 + u64::from(self.config.rx_capacity));
        rcv.consumed < POSITION_LIMIT
            && rcv.adv <= ring_end.saturating_add(1)
            && rcv.nxt <= ring_end.saturating_add(1)
            && rcv.acked <= rcv.nxt
            && rcv.consumed <= self.rx_offset()
            && rcv.held.is_sound(Span { start: rcv.nxt.saturating_add(1), end: ring_end })
            && rcv.held.count() <= self.dialect.reassembly_spans()
            && rcv.fin.is_none_or(|fin| fin <= ring_end && fin.saturating_add(1) >= rcv.nxt)
            && self.snd.wl1 < POSITION_LIMIT
    }

    /// Stream offset up to which data was received in order. The peer's FIN is not data.
    #[must_use]
    pub(crate) fn rx_offset(&self) -> u64 {
        let fin = u64::from(self.rcv.fin.is_some_and(|fin| self.rcv.nxt > fin));
        self.rcv.nxt.saturating_sub(1 + fin)
    }

    /// Stream offset up to which the peer acknowledged data.
    #[must_use]
    pub(crate) fn tx_offset(&self) -> u64 {
        self.snd.una.saturating_sub(1).min(self.snd.end)
    }
}
