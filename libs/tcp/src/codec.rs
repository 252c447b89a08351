//! How a record is written down: a small header, the fields in little-endian order, an extension.
//!
//! ```text
//!   0  magic "HTCP"      4  schema    6  readable_by    8  body length    10  extension length    12  CRC-32    16  body ...
//! ```
//!
//! The checksum covers everything but itself. The body of a schema never changes; a later schema adds fields in the
//! extension, which a reader that does not know it skips, and raises `readable_by` only when skipping would be wrong. A
//! record from outside must never lead to a panic later: what [`Record::decode`] returns was checked as a whole.

use crate::config::{Config, KeepAlive};
use crate::record::{
    CloseReason, Congestion, Negotiated, Pending, Receive, Record, Recovery, Rto, Send, State, Stats,
};
use crate::segment::Tuple;
use crate::seq::Seq;
use crate::spans::{Span, Spans};
use crate::time::Micros;
use core::fmt;

/// Room for any encoded record, its extension included. What [`Record::encode`] fills is usually a third of it.
pub const RECORD_LEN: usize = 1024;
/// The layout that this code writes.
pub const SCHEMA: u16 = 1;
/// The oldest layout whose readers understand what this code writes.
pub const READABLE_BY: u16 = 1;

const MAGIC: u32 = u32::from_le_bytes(*b"HTCP");
const HEADER_LEN: usize = 16;
const CRC_AT: usize = 12;

/// Why bytes are not a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordError {
    /// Fewer bytes than a header, or than the header promises.
    Short {
        /// Bytes needed.
        needed: usize,
        /// Bytes there.
        got: usize,
    },
    /// Not a record at all.
    Magic(u32),
    /// A layout that this version cannot read.
    Schema {
        /// What the writer calls its layout.
        schema: u16,
        /// The oldest layout that can read it.
        readable_by: u16,
    },
    /// The checksum does not match.
    Checksum {
        /// What the header says.
        stored: u32,
        /// What the bytes say.
        computed: u32,
    },
    /// The body has another length than its fields.
    Length,
    /// The byte for this has no meaning.
    Field(&'static str),
    /// Fields contradict each other: the group that does.
    Contradiction(&'static str),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { needed, got } => write!(f, "record of {got} bytes, {needed} needed"),
            Self::Magic(magic) => write!(f, "not a connection record (magic {magic:#010x})"),
            Self::Schema { schema, readable_by } => {
                write!(
                    f,
                    "record schema {schema} needs a reader of schema {readable_by}, this one is {SCHEMA}"
                )
            }
            Self::Checksum { stored, computed } => {
                write!(f, "record checksum {stored:#010x}, the bytes have {computed:#010x}")
            }
            Self::Length => f.write_str("record body and fields differ in length"),
            Self::Field(name) => write!(f, "record field {name} has no meaning"),
            Self::Contradiction(group) => write!(f, "record contradicts itself: {group}"),
        }
    }
}

impl core::error::Error for RecordError {}

impl Record {
    /// Writes the record to the start of `out` and returns how many bytes it took. The rest of `out` is left as it is.
    pub fn encode(&self, out: &mut [u8; RECORD_LEN]) -> usize {
        let mut body = Writer { out, at: HEADER_LEN };
        self.put(&mut body);
        let end = body.at;
        let mut header = Writer { out, at: 0 };
        MAGIC.put(&mut header);
        SCHEMA.put(&mut header);
        READABLE_BY.put(&mut header);
        ((end - HEADER_LEN) as u16).put(&mut header);
        0_u16.put(&mut header);
        let crc = checksum(out.get(..end).unwrap_or_default());
        crc.put(&mut Writer { out, at: CRC_AT });
        end
    }

    /// Reads a record from the start of `bytes`, and checks every field.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut header = Reader { bytes };
        let short = |needed: usize| RecordError::Short { needed, got: bytes.len() };
        if bytes.len() < HEADER_LEN {
            return Err(short(HEADER_LEN));
        }
        let magic = u32::get(&mut header)?;
        if magic != MAGIC {
            return Err(RecordError::Magic(magic));
        }
        let (schema, readable_by) = (u16::get(&mut header)?, u16::get(&mut header)?);
        if readable_by > SCHEMA || schema == 0 {
            return Err(RecordError::Schema { schema, readable_by });
        }
        let body_len = usize::from(u16::get(&mut header)?);
        let total = HEADER_LEN + body_len + usize::from(u16::get(&mut header)?);
        let whole = bytes.get(..total).ok_or(short(total))?;
        let (stored, computed) = (u32::get(&mut header)?, checksum(whole));
        if stored != computed {
            return Err(RecordError::Checksum { stored, computed });
        }
        let body = whole.get(HEADER_LEN..HEADER_LEN + body_len).ok_or(RecordError::Length)?;
        let mut body = Reader { bytes: body };
        let record = Self::get(&mut body)?;
        if !body.bytes.is_empty() {
            return Err(RecordError::Length);
        }
        record.check().map_err(RecordError::Contradiction)?;
        Ok(record)
    }
}

/// CRC-32 of an encoded record, its own field left out.
fn checksum(whole: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(whole.get(..CRC_AT).unwrap_or_default());
    hasher.update(whole.get(CRC_AT + 4..).unwrap_or_default());
    hasher.finalize()
}

struct Writer<'a> {
    out: &'a mut [u8; RECORD_LEN],
    at: usize,
}

impl Writer<'_> {
    /// [`RECORD_LEN`] holds the largest record (a test says so), so nothing is ever left out.
    fn bytes(&mut self, bytes: &[u8]) {
        if let Some(slot) = self.out.get_mut(self.at..self.at + bytes.len()) {
            slot.copy_from_slice(bytes);
            self.at += bytes.len();
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (head, rest) = self.bytes.split_first_chunk().ok_or(RecordError::Length)?;
        self.bytes = rest;
        Ok(*head)
    }
}

/// A value with one written form.
trait Field: Sized {
    fn put(&self, to: &mut Writer<'_>);
    fn get(from: &mut Reader<'_>) -> Result<Self, RecordError>;
}

macro_rules! integers {
    ($($integer:ty),*) => { $(
        impl Field for $integer {
            fn put(&self, to: &mut Writer<'_>) {
                to.bytes(&self.to_le_bytes());
            }
            fn get(from: &mut Reader<'_>) -> Result<Self, RecordError> {
                Ok(Self::from_le_bytes(from.array()?))
            }
        }
    )* };
}

integers!(u8, u16, u32, u64);

/// Writes and reads a structure's fields in the order given: one list, so the two cannot differ.
macro_rules! fields {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl Field for $name {
            fn put(&self, to: &mut Writer<'_>) {
                $( self.$field.put(to); )*
            }
            fn get(from: &mut Reader<'_>) -> Result<Self, RecordError> {
                Ok(Self { $( $field: Field::get(from)?, )* })
            }
        }
    };
}

fields!(Tuple { local_addr, local_port, remote_addr, remote_port });
fields!(KeepAlive { idle, interval, probes });
fields!(Config {
    mss,
    rx_capacity,
    tx_capacity,
    timestamps,
    sack,
    window_scaling,
    nagle,
    keep_alive,
    time_wait,
    fin_wait_2,
    delayed_ack,
    syn_retries,
    retries,
});
fields!(Span { start, end });
fields!(Stats { retransmitted, timeouts, unacceptable, challenges });
fields!(Negotiated { peer_mss, snd_shift, rcv_shift, sack, timestamps, ts_offset, ts_recent, ts_recent_at });
fields!(Send { iss, una, nxt, end, closed, wnd, max_wnd, wl1, wl2, last });
fields!(Congestion { cwnd, ssthresh, credit, recovery, dup_acks, limited_to, lost_to, high_rxt, sacked });
fields!(Rto { srtt, rttvar, rto, backoff, timed, retransmit_at, persist_at, probes });
fields!(Receive { irs, nxt, adv, consumed, fin, held, recent, acked, mss, ack_at, last });
fields!(Record {
    tuple,
    config,
    state,
    pending,
    options,
    snd,
    cc,
    rto,
    rcv,
    keep_probes,
    detached,
    expire_at,
    challenge_at,
    challenges,
    stats,
});

impl Field for bool {
    fn put(&self, to: &mut Writer<'_>) {
        u8::from(*self).put(to);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, RecordError> {
        match u8::get(from)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(RecordError::Field("flag")),
        }
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, to: &mut Writer<'_>) {
        self.is_some().put(to);
        if let Some(value) = self {
            value.put(to);
        }
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, RecordError> {
        bool::get(from)?.then(|| T::get(from)).transpose()
    }
}

impl<A: Field, B: Field> Field for (A, B) {
    fn put(&self, to: &mut Writer<'_>) {
        self.0.put(to);
        self.1.put(to);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, RecordError> {
        Ok((A::get(from)?, B::get(from)?))
    }
}

impl<T: Field + Copy + Default, const N: usize> Field for [T; N] {
    fn put(&self, to: &mut Writer<'_>) {
        self.iter().for_each(|item| item.put(to));
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, RecordError> {
        let mut items = [T::default(); N];
        for item in &mut items {
            *item = T::get(from)?;
        }
        Ok(items)
    }
}

impl<const N: usize> Field for Spans<N> {
    fn put(&self, to: &mut Writer<'_>) {
        (self.count() as u8).put(to);
        self.as_slice().iter().for_each(|span| span.put(to));
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, RecordError> {
        let mut spans = Self::default();
        for _ in 0..u8::get(from)? {
            spans.push(Span::get(from)?).map_err(|_| RecordError::Field("number of spans"))?;
        }
        Ok(spans)
    }
}

impl Field for Seq {
    fn put(&self, to: &mut Writer<'_>) {
        self.0.put(to);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, RecordError> {
        Ok(Self(u32::get(from)?))
    }
}

impl Field for Micros {
    fn put(&self, to: &mut Writer<'_>) {
        self.0.put(to);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, RecordError> {
        Ok(Self(u64::get(from)?))
    }
}

impl Field for Pending {
    fn put(&self, to: &mut Writer<'_>) {
        self.bits().put(to);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, RecordError> {
        Self::from_bits(u8::get(from)?).ok_or(RecordError::Field("pending"))
    }
}

impl Field for Recovery {
    fn put(&self, to: &mut Writer<'_>) {
        match self {
            Self::Open => 0_u8.put(to),
            Self::Fast { point } => (1_u8, *point).put(to),
            Self::Timeout { point } => (2_u8, *point).put(to),
        }
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, RecordError> {
        Ok(match u8::get(from)? {
            0 => Self::Open,
            1 => Self::Fast { point: u64::get(from)? },
            2 => Self::Timeout { point: u64::get(from)? },
            _ => return Err(RecordError::Field("recovery")),
        })
    }
}

/// The numbers of states, for ever: a new state takes a new number.
const STATES: [(u8, State); 15] = [
    (1, State::SynSent),
    (2, State::SynReceived { passive: true }),
    (3, State::SynReceived { passive: false }),
    (4, State::Established),
    (5, State::FinWait1),
    (6, State::FinWait2),
    (7, State::CloseWait),
    (8, State::Closing),
    (9, State::LastAck),
    (10, State::TimeWait),
    (32, State::Closed(CloseReason::Normal)),
    (33, State::Closed(CloseReason::Reset)),
    (34, State::Closed(CloseReason::Refused)),
    (35, State::Closed(CloseReason::TimedOut)),
    (36, State::Closed(CloseReason::Aborted)),
];

impl Field for State {
    fn put(&self, to: &mut Writer<'_>) {
        let number = STATES.iter().find(|(_, state)| state == self).map_or(0, |(number, _)| *number);
        number.put(to);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, RecordError> {
        let number = u8::get(from)?;
        let found = STATES.iter().find(|(known, _)| *known == number);
        found.map(|(_, state)| *state).ok_or(RecordError::Field("state"))
    }
}
