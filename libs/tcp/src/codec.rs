//! How a record is written down: a small header, the fields in little-endian order, an extension.
//!
//! ```text
//!   0  magic "HTCP"      4  schema    6  readable_by    8  body length    10  extension length    12  CRC-32    16  body ...
//! ```
//!
//! The checksum covers everything but itself. The body never changes; a later schema adds fields at the end of the
//! extension, which a reader that does not know them skips, and raises `readable_by` only when skipping would be wrong
//! ([`crate::schema`] says which schema has what). A record from outside must never lead to a panic later: what
//! [`Record::decode`] returns was checked as a whole.

use crate::config::{Config, KeepAlive};
use crate::extension;
use crate::record::{
    CloseReason, Congestion, Negotiated, Pending, Receive, Record, Recovery, Rto, Send, State, Stats,
};
use crate::schema::{
    BASE_REASSEMBLY_SPANS, BASE_SCOREBOARD_SPANS, Dialect, Format, REASSEMBLY_ROOM, SCOREBOARD_ROOM, Schema,
};
use crate::segment::Tuple;
use crate::seq::Seq;
use crate::spans::{Span, Spans};
use crate::time::Micros;
use core::fmt;

/// Room for any encoded record, its extension included. What [`Record::encode`] fills is usually a fifth of it. The same in
/// every version, since two versions of the stack read each other's state regions.
pub const RECORD_LEN: usize = 1424;

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
        /// The layout of the reader that refused.
        reader: u16,
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
            Self::Schema { schema, readable_by, reader } => {
                write!(
                    f,
                    "record schema {schema} needs a reader of schema {readable_by}, this one is {reader}"
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
    /// Writes the record to the start of `out`, in the format that it is published in ([`Record::format`]), and returns how
    /// many bytes it took. The rest of `out` is left as it is.
    pub fn encode(&self, out: &mut [u8; RECORD_LEN]) -> usize {
        let mut writer = Writer { out, at: HEADER_LEN };
        self.put(&mut writer);
        let body_end = writer.at;
        if self.dialect.has_extension() {
            extension::put(self, &mut writer);
        }
        let end = writer.at;
        let mut header = Writer { out, at: 0 };
        MAGIC.put(&mut header);
        self.dialect.schema().number().put(&mut header);
        self.dialect.readable_by().number().put(&mut header);
        ((body_end - HEADER_LEN) as u16).put(&mut header);
        ((end - body_end) as u16).put(&mut header);
        let crc = checksum(out.get(..end).unwrap_or_default());
        crc.put(&mut Writer { out, at: CRC_AT });
        end
    }

    /// Reads a record from the start of `bytes`, and checks every field. It goes on in the format in which it was published,
    /// as far as this version has that: [`crate::Connection::set_format`] changes it.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        Self::decode_as(Schema::OWN, bytes)
    }

    /// [`Record::decode`] as the version does whose own layout is `reader`: a record of another version, seen with its eyes.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn decode_as(reader: Schema, bytes: &[u8]) -> Result<Self, RecordError> {
        let header = Header::read(reader, bytes)?;
        let mut body = Reader { bytes: header.body };
        let mut record = Self::get(&mut body)?;
        if !body.bytes.is_empty() {
            return Err(RecordError::Length);
        }
        record.dialect = Dialect::read_by(reader, header.readable_by);
        if record.dialect.has_extension() && header.schema >= record.dialect.schema().number() {
            extension::get(&mut record, &mut Reader { bytes: header.extension })?;
        }
        record.check().map_err(RecordError::Contradiction)?;
        Ok(record)
    }
}

/// The parts of an encoded record, its checksum verified.
struct Header<'a> {
    schema: u16,
    readable_by: u16,
    body: &'a [u8],
    extension: &'a [u8],
}

impl<'a> Header<'a> {
    fn read(reader: Schema, bytes: &'a [u8]) -> Result<Self, RecordError> {
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
        if readable_by > reader.number() || schema == 0 {
            return Err(RecordError::Schema { schema, readable_by, reader: reader.number() });
        }
        let body_end = HEADER_LEN + usize::from(u16::get(&mut header)?);
        let total = body_end + usize::from(u16::get(&mut header)?);
        let whole = bytes.get(..total).ok_or(short(total))?;
        let (stored, computed) = (u32::get(&mut header)?, checksum(whole));
        if stored != computed {
            return Err(RecordError::Checksum { stored, computed });
        }
        let (head, extension) = whole.split_at_checked(body_end).ok_or(RecordError::Length)?;
        let body = head.get(HEADER_LEN..).ok_or(RecordError::Length)?;
        Ok(Self { schema, readable_by, body, extension })
    }
}

/// CRC-32 of an encoded record, its own field left out.
fn checksum(whole: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(whole.get(..CRC_AT).unwrap_or_default());
    hasher.update(whole.get(CRC_AT + 4..).unwrap_or_default());
    hasher.finalize()
}

pub(crate) struct Writer<'a> {
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

pub(crate) struct Reader<'a> {
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
pub(crate) trait Field: Sized {
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

/// Writes and reads a structure's fields in the order given: one list, so the two cannot differ. Fields `beside` them are not
/// written.
macro_rules! fields {
    ($name:ident { $($field:ident),* $(,)? } $(beside { $($other:ident: $value:expr),* })?) => {
        impl Field for $name {
            fn put(&self, to: &mut Writer<'_>) {
                $( self.$field.put(to); )*
            }
            fn get(from: &mut Reader<'_>) -> Result<Self, RecordError> {
                Ok(Self { $( $field: Field::get(from)?, )* $( $( $other: $value, )* )? })
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
} beside { dialect: Dialect::new(Schema::OWN, Format::Compatible) });

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

/// The lowest spans, as many as schema 1 knows. The others are in the extension.
macro_rules! spans {
    ($($room:ident: $base:expr),*) => { $(
        impl Field for Spans<$room> {
            fn put(&self, to: &mut Writer<'_>) {
                let named = self.as_slice().get(..$base).unwrap_or(self.as_slice());
                (named.len() as u8).put(to);
                named.iter().for_each(|span| span.put(to));
            }
            fn get(from: &mut Reader<'_>) -> Result<Self, RecordError> {
                let count = u8::get(from)?;
                if usize::from(count) > $base {
                    return Err(RecordError::Field("number of spans"));
                }
                let mut spans = Self::default();
                for _ in 0..count {
                    spans.push(Span::get(from)?).map_err(|_| RecordError::Field("number of spans"))?;
                }
                Ok(spans)
            }
        }
    )* };
}

spans!(REASSEMBLY_ROOM: BASE_REASSEMBLY_SPANS, SCOREBOARD_ROOM: BASE_SCOREBOARD_SPANS);

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
