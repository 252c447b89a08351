//! How records are written down: a header (magic, schema, oldest reader, body length, CRC-32 of the body), then fields in a
//! fixed order, little-endian. New fields go to the end, where an older reader does not look.
//!
//! The checksum finds a torn or stray write of our own; it is no defence against anybody.

use core::fmt;

/// Longest encoded record.
pub const MAX_RECORD: usize = hic_tcp::RECORD_LEN + 256;
/// The layout that this code writes.
const SCHEMA: u16 = 1;
/// The oldest layout whose readers understand it.
const READABLE_BY: u16 = 1;
const HEADER: usize = 16;

/// Why octets are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// Cut off.
    Short,
    /// Another kind of record, or none.
    Magic([u8; 4]),
    /// Written for newer readers only.
    Schema {
        /// The layout it has.
        schema: u16,
        /// The oldest layout whose readers understand it.
        readable_by: u16,
    },
    /// The checksum does not match.
    Checksum,
    /// A field has an impossible value.
    Field(&'static str),
    /// The connection's own record.
    Tcp(hic_tcp::RecordError),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("record is cut off"),
            Self::Magic(found) => write!(f, "not this kind of record (magic {found:02x?})"),
            Self::Schema { schema, readable_by } => {
                write!(f, "record of schema {schema} needs a reader of {readable_by}, this is {SCHEMA}")
            }
            Self::Checksum => f.write_str("record checksum does not match"),
            Self::Field(name) => write!(f, "record field {name} is out of range"),
            Self::Tcp(error) => write!(f, "connection record: {error:?}"),
        }
    }
}

impl core::error::Error for RecordError {}

pub(super) struct Writer<'a> {
    out: &'a mut [u8; MAX_RECORD],
    at: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut [u8; MAX_RECORD]) -> Self {
        Self { out, at: HEADER }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        // Every record's fields fit by the definition of MAX_RECORD; a test encodes the largest of each kind.
        if let Some(place) = self.out.get_mut(self.at..self.at + bytes.len()) {
            place.copy_from_slice(bytes);
            self.at += bytes.len();
        }
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn optional<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.u8(value.is_some().into());
        if let Some(value) = value {
            put(self, value);
        }
    }

    pub(super) fn finish(self, magic: [u8; 4]) -> usize {
        let body = self.out.get(HEADER..self.at).unwrap_or_default();
        let (len, sum) = (body.len() as u32, crc32fast::hash(body));
        let mut header = Writer { out: self.out, at: 0 };
        header.bytes(&magic);
        header.u16(SCHEMA);
        header.u16(READABLE_BY);
        header.u32(len);
        header.u32(sum);
        self.at
    }
}

pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn open(bytes: &'a [u8], magic: [u8; 4]) -> Result<Self, RecordError> {
        let mut r = Self { rest: bytes };
        let found = r.array()?;
        if found != magic {
            return Err(RecordError::Magic(found));
        }
        let (schema, readable_by) = (r.u16()?, r.u16()?);
        if readable_by > SCHEMA {
            return Err(RecordError::Schema { schema, readable_by });
        }
        let (len, sum) = (r.u32()?, r.u32()?);
        let body = r.take(len as usize)?;
        if crc32fast::hash(body) != sum {
            return Err(RecordError::Checksum);
        }
        Ok(Self { rest: body })
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(RecordError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        self.take(N)?.first_chunk().copied().ok_or(RecordError::Short)
    }

    pub(super) fn u8(&mut self) -> Result<u8, RecordError> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, RecordError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, RecordError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, RecordError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A field that was added later: `before` in a record that ends before it.
    pub(super) fn added<T>(
        &mut self,
        before: T,
        get: impl FnOnce(&mut Self) -> Result<T, RecordError>,
    ) -> Result<T, RecordError> {
        if self.rest.is_empty() { Ok(before) } else { get(self) }
    }

    pub(super) fn optional<T>(
        &mut self,
        get: impl FnOnce(&mut Self) -> Result<T, RecordError>,
    ) -> Result<Option<T>, RecordError> {
        match self.u8()? {
            0 => Ok(None),
            1 => get(self).map(Some),
            _ => Err(RecordError::Field("optional")),
        }
    }
}
