//! The connection's door: opening, what the application says, what it may know.
//!
//! A call here changes the record and nothing else; segments leave by [`Connection::next_segment`] only, so the shell can
//! publish the record in between. Figures that the application reports are untrusted and are checked here.

use crate::config::{Config, ConfigError, DEFAULT_MSS, MIN_MSS};
use crate::record::{CloseReason, POSITION_LIMIT, Pending, Record, State};
use crate::segment::{Flags, Segment, Tuple};
use crate::seq::Seq;
use crate::time::Micros;
use core::fmt;

/// Where sent data is copied from: the tx ring.
pub trait TxData {
    /// Fills `out` with the stream's bytes from `offset` on. Only offsets between [`Connection::tx_acked`] and what
    /// [`Connection::app_wrote`] was told are asked for.
    fn copy(&self, offset: u64, out: &mut [u8]);
}

/// Where received data goes: the rx ring.
pub trait RxSpace {
    /// Stores `data` at stream offset `offset`. It lies between the consumed offset and that plus the ring's capacity, may
    /// leave a gap before it, and may be written twice. Readers see it when [`Connection::rx_ready`] has passed it.
    fn write(&mut self, offset: u64, data: &[u8]);
}

bitflags::bitflags! {
    /// What a step changed for others.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Events: u16 {
        /// [`Connection::rx_ready`] moved.
        const READABLE = 0x001;
        /// [`Connection::tx_acked`] moved: there is room in the tx ring.
        const WRITABLE = 0x002;
        /// The handshake is complete.
        const ESTABLISHED = 0x004;
        /// The peer closed its side: the stream ends at [`Connection::rx_ready`].
        const REMOTE_CLOSED = 0x008;
        /// Our FIN, and so all that we sent, was acknowledged.
        const LOCAL_CLOSED = 0x010;
        /// The peer reset or refused the connection.
        const RESET = 0x020;
        /// The peer stopped answering.
        const TIMED_OUT = 0x040;
        /// The state is now TIME-WAIT.
        const TIME_WAIT = 0x080;
        /// The state is now [`State::Closed`]; the reason is in it.
        const CLOSED = 0x100;
        /// Answer this very segment with [`crate::reset_for`]: it belongs to some other incarnation.
        const SEND_RESET = 0x200;
        /// The segment was not acceptable and was dropped, perhaps with an acknowledgement owed.
        const DROPPED = 0x400;
    }
}

/// Why a connection cannot be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenError {
    /// The configuration cannot work.
    Config(ConfigError),
    /// The segment is not a plain SYN.
    NotSyn,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => write!(f, "configuration: {error}"),
            Self::NotSyn => f.write_str("the segment does not open a connection"),
        }
    }
}

impl core::error::Error for OpenError {}

/// The application reported something impossible. The record is unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppError {
    /// It wrote backwards, past its ring, or past the end of all streams.
    Wrote {
        /// The offset that it reported.
        end: u64,
        /// The lowest that would be right.
        from: u64,
        /// The highest that would be right.
        to: u64,
    },
    /// It consumed backwards or more than there was.
    Consumed {
        /// The offset that it reported.
        offset: u64,
        /// The lowest that would be right.
        from: u64,
        /// The highest that would be right.
        to: u64,
    },
    /// It wrote after closing, or in a state that sends no data.
    NotWritable(State),
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrote { end, from, to } => write!(f, "written offset {end} is not within {from}..={to}"),
            Self::Consumed { offset, from, to } => {
                write!(f, "consumed offset {offset} is not within {from}..={to}")
            }
            Self::NotWritable(state) => write!(f, "nothing can be written in {state} or after closing"),
        }
    }
}

impl core::error::Error for AppError {}

/// One connection, running.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connection {
    pub(crate) r: Record,
}

impl Connection {
    /// Opens actively: the first [`Connection::next_segment`] is the SYN.
    ///
    /// `isn` and `ts_offset` come from [`crate::isn`].
    ///
    /// # Errors
    /// [`OpenError::Config`].
    pub fn connect(
        tuple: Tuple,
        config: Config,
        isn: Seq,
        ts_offset: u32,
        now: Micros,
    ) -> Result<Self, OpenError> {
        config.check().map_err(OpenError::Config)?;
        let mut record = Record::new(tuple, config, isn, State::SynSent, now);
        record.options.ts_offset = ts_offset;
        Ok(Self { r: record })
    }

    /// Opens passively from a SYN that a listener got: the first [`Connection::next_segment`] is the SYN-ACK.
    ///
    /// # Errors
    /// [`OpenError::NotSyn`] for any other segment, [`OpenError::Config`].
    pub fn accept(
        tuple: Tuple,
        config: Config,
        isn: Seq,
        ts_offset: u32,
        syn: &Segment<'_>,
        now: Micros,
    ) -> Result<Self, OpenError> {
        config.check().map_err(OpenError::Config)?;
        if segment_opens(syn) {
            let mut record = Record::new(tuple, config, isn, State::SynReceived { passive: true }, now);
            record.options.ts_offset = ts_offset;
            let mut connection = Self { r: record };
            connection.learn_syn(now, syn);
            return Ok(connection);
        }
        Err(OpenError::NotSyn)
    }

    /// Goes on where the record stands.
    #[must_use]
    pub const fn from_record(record: Record) -> Self {
        Self { r: record }
    }

    /// The record to publish.
    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.r
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> State {
        self.r.state
    }

    /// Both ends.
    #[must_use]
    pub const fn tuple(&self) -> Tuple {
        self.r.tuple
    }

    /// The application wrote up to stream offset `end` (0 is the start of the stream). Repeating a figure is harmless.
    ///
    /// # Errors
    /// [`AppError::Wrote`], [`AppError::NotWritable`].
    pub fn app_wrote(&mut self, end: u64) -> Result<(), AppError> {
        let snd = &self.r.snd;
        if end == snd.end {
            return Ok(());
        }
        if snd.closed || !self.r.state.can_write() {
            return Err(AppError::NotWritable(self.r.state));
        }
        let to = (self.r.tx_offset() + u64::from(self.r.config.tx_capacity)).min(POSITION_LIMIT - 1);
        if end < snd.end || end > to {
            return Err(AppError::Wrote { end, from: snd.end, to });
        }
        self.r.snd.end = end;
        Ok(())
    }

    /// The application consumed up to stream offset `offset`. May make a window update owed.
    ///
    /// # Errors
    /// [`AppError::Consumed`].
    pub fn app_consumed(&mut self, offset: u64) -> Result<(), AppError> {
        let (from, to) = (self.r.rcv.consumed, self.r.rx_offset());
        if offset < from || offset > to || offset >= POSITION_LIMIT {
            return Err(AppError::Consumed { offset, from, to });
        }
        self.r.rcv.consumed = offset;
        if self.r.state.can_receive() && self.window_update_due() {
            self.r.pending |= Pending::ACK;
        }
        Ok(())
    }

    /// The application writes no more: a FIN follows what it wrote. It may go on reading (half-close). Harmless twice.
    pub fn app_closed(&mut self) {
        if self.r.state.can_write() {
            self.r.snd.closed = true;
            self.advance_close();
        }
    }

    /// The application is gone: close, and reset if the peer goes on sending or left data unread (RFC 9293 3.6.1,
    /// RFC 2525 2.17). Harmless twice.
    pub fn app_detached(&mut self, now: Micros) -> Events {
        self.r.detached = true;
        let unread = self.r.rcv.consumed < self.r.rx_offset();
        match self.r.state {
            State::SynSent => return self.abort(),
            State::TimeWait | State::Closed(_) => {}
            _ if unread => return self.abort(),
            State::FinWait2 => self.wait_for_fin(now),
            _ => self.app_closed(),
        }
        Events::empty()
    }

    /// Resets the connection: the peer learns by the next segment.
    pub fn abort(&mut self) -> Events {
        match self.r.state {
            State::Closed(_) => Events::empty(),
            State::TimeWait => self.close(CloseReason::Normal),
            State::SynSent => self.close(CloseReason::Aborted),
            _ => {
                let events = self.close(CloseReason::Aborted);
                self.r.pending = Pending::RST;
                events
            }
        }
    }

    /// Stream offset up to which the peer acknowledged: the tx ring is free below it.
    #[must_use]
    pub fn tx_acked(&self) -> u64 {
        self.r.tx_offset()
    }

    /// Stream offset up to which data can be read.
    #[must_use]
    pub fn rx_ready(&self) -> u64 {
        self.r.rx_offset()
    }

    /// Stream offset up to which the application said that it consumed.
    #[must_use]
    pub fn rx_consumed(&self) -> u64 {
        self.r.rcv.consumed
    }

    /// Whether the stream ends at [`Connection::rx_ready`].
    #[must_use]
    pub fn rx_finished(&self) -> bool {
        self.r.rcv.fin.is_some_and(|fin| self.r.rcv.nxt > fin)
    }

    /// Whether a connection in TIME-WAIT may make way for this SYN (RFC 9293 3.6.1, RFC 6191): then release the record and
    /// [`Connection::accept`] a new one.
    #[must_use]
    pub fn may_reopen(&self, segment: &Segment<'_>) -> bool {
        if self.r.state != State::TimeWait || !segment_opens(segment) {
            return false;
        }
        match (self.r.options.timestamps, segment.options.timestamp) {
            (true, Some(timestamp)) => timestamp.value.wrapping_sub(self.r.options.ts_recent) as i32 > 0,
            _ => segment.seq.after(self.r.rcv.irs.at(self.r.rcv.nxt)),
        }
    }

    /// What the peer's SYN says (RFC 9293 3.10.7.2, 3.10.7.3). Data on a SYN is not taken: the peer sends it again.
    pub(crate) fn learn_syn(&mut self, now: Micros, syn: &Segment<'_>) {
        let config = self.r.config;
        let options = &mut self.r.options;
        options.peer_mss = syn.options.mss.unwrap_or(DEFAULT_MSS).max(MIN_MSS);
        if let Some(shift) = syn.options.window_scale.filter(|_| config.window_scaling) {
            options.snd_shift = shift.min(14);
            options.rcv_shift = config.window_shift();
        }
        options.sack = config.sack && syn.options.sack_permitted;
        if let Some(timestamp) = syn.options.timestamp.filter(|_| config.timestamps) {
            options.timestamps = true;
            options.ts_recent = timestamp.value;
            options.ts_recent_at = now;
        }
        self.r.rcv.irs = syn.seq;
        self.r.rcv.nxt = 1;
        self.r.rcv.adv = self.r.rcv.adv.max(1);
        self.r.rcv.last = now;
        // The window on a SYN is never scaled (RFC 7323 2.2).
        self.r.snd.wnd = u32::from(syn.window);
        self.r.snd.max_wnd = self.r.snd.wnd;
        self.r.cc.cwnd = self.initial_window();
    }

    /// The handshake is done. A lost SYN is a sign of congestion (RFC 5681 3.1, RFC 6298 5.7).
    pub(crate) fn enter_established(&mut self) -> Events {
        if self.r.rto.backoff > 0 {
            self.r.cc.cwnd = self.smss();
            if self.r.rto.srtt == 0 {
                self.r.rto.rto = crate::rto::AFTER_LOST_SYN;
            }
            self.r.rto.backoff = 0;
        }
        self.r.state = State::Established;
        self.advance_close();
        Events::ESTABLISHED
    }

    /// Follows the application's wish to close, as far as the state allows now.
    fn advance_close(&mut self) {
        if self.r.snd.closed {
            self.r.state = match self.r.state {
                State::Established => State::FinWait1,
                State::CloseWait => State::LastAck,
                other => other,
            };
        }
    }

    /// FIN-WAIT-2 lasts as long as an application wants to read; without one, for a while.
    pub(crate) fn wait_for_fin(&mut self, now: Micros) {
        self.r.state = State::FinWait2;
        if self.r.detached && self.r.expire_at.is_none() {
            self.r.expire_at = Some(now.after(self.r.config.fin_wait_2));
        }
    }

    /// Enters, or restarts, TIME-WAIT.
    pub(crate) fn wait_out(&mut self, now: Micros) -> Events {
        self.r.state = State::TimeWait;
        self.r.expire_at = Some(now.after(self.r.config.time_wait));
        Events::TIME_WAIT
    }

    /// Ends the connection. Nothing is owed any more.
    pub(crate) fn close(&mut self, reason: CloseReason) -> Events {
        self.r.state = State::Closed(reason);
        self.r.pending = Pending::empty();
        self.r.rto.retransmit_at = None;
        self.r.rto.persist_at = None;
        self.r.rcv.ack_at = None;
        self.r.expire_at = None;
        Events::CLOSED
    }
}

/// Whether `segment` is a plain SYN.
fn segment_opens(segment: &Segment<'_>) -> bool {
    segment.ack.is_none()
        && segment.flags.contains(Flags::SYN)
        && !segment.flags.intersects(Flags::ACK | Flags::RST | Flags::FIN)
}
