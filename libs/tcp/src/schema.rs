//! Which layouts a record has had, and which one this build writes: the one place of this crate where netstack 1.2.0 and
//! 1.3.0 differ (cargo feature `v1_3`).
//!
//! ```text
//!   schema 1   netstack 1.2.0    8 stretches of reassembly,  24 of the SACK scoreboard, all in the body
//!   schema 2   netstack 1.3.0   24 stretches of reassembly,  64 of the SACK scoreboard; what the body has no room for
//!                               is in the extension
//! ```
//!
//! Both schemas are always compiled, so that a test moves a connection between them; the feature selects [`Schema::OWN`]
//! and nothing else.
//!
//! Until an update is committed, and again before a downgrade, the new version must keep nothing whose loss would hurt a
//! stream if the old version went on from the record without its extension. [`Format::Compatible`] says so:
//!
//! - *Reassembly* keeps what the body can name. A stretch beyond is not stored, so it is never promised to the peer in a SACK
//!   block, and it comes again.
//! - *The scoreboard* may use the extension: forgetting what the peer holds sends it twice and loses nothing.

use crate::connection::Connection;

/// Room for stretches of reassembly, whatever the schema.
pub const REASSEMBLY_ROOM: usize = 24;
/// Room for stretches of the SACK scoreboard, whatever the schema.
pub const SCOREBOARD_ROOM: usize = 64;
/// Stretches of reassembly that a record's body names.
pub const BASE_REASSEMBLY_SPANS: usize = 8;
/// Stretches of the SACK scoreboard that a record's body names.
pub const BASE_SCOREBOARD_SPANS: usize = 24;

/// A layout of records, and with it a version of the code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Schema {
    /// netstack 1.2.0.
    V1,
    /// netstack 1.3.0.
    V2,
}

impl Schema {
    /// What this build is.
    pub const OWN: Self = if cfg!(feature = "v1_3") { Self::V2 } else { Self::V1 };

    /// Its number in a record's header.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

/// For whom a connection is published.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// The predecessor can read the record and go on from it: before an update is committed, and before a downgrade.
    Compatible,
    /// This version and its successors only. Schema 1 has no predecessor: its own format is the compatible one.
    Own,
}

/// Which version runs a connection, and how it publishes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Dialect {
    schema: Schema,
    format: Format,
}

impl Dialect {
    pub(crate) const fn new(schema: Schema, format: Format) -> Self {
        match schema {
            Schema::V1 => Self { schema, format: Format::Compatible },
            Schema::V2 => Self { schema, format },
        }
    }

    /// How `reader` goes on with a record that readers of the layout `readable_by` understand.
    pub(crate) const fn read_by(reader: Schema, readable_by: u16) -> Self {
        let compatible = readable_by <= Schema::V1.number();
        Self::new(reader, if compatible { Format::Compatible } else { Format::Own })
    }

    pub(crate) const fn schema(self) -> Schema {
        self.schema
    }

    pub(crate) const fn format(self) -> Format {
        self.format
    }

    /// The oldest schema whose readers understand what is published.
    pub(crate) const fn readable_by(self) -> Schema {
        match self.format {
            Format::Compatible => Schema::V1,
            Format::Own => self.schema,
        }
    }

    /// Whether its records have an extension.
    pub(crate) const fn has_extension(self) -> bool {
        matches!(self.schema, Schema::V2)
    }

    /// Stretches that the reassembly remembers. A stretch beyond them is dropped and comes again.
    pub(crate) const fn reassembly_spans(self) -> usize {
        match self.format {
            Format::Compatible => BASE_REASSEMBLY_SPANS,
            Format::Own => REASSEMBLY_ROOM,
        }
    }

    /// Stretches that the SACK scoreboard remembers. What is forgotten may be sent twice; nothing is lost.
    pub(crate) const fn scoreboard_spans(self) -> usize {
        match self.schema {
            Schema::V1 => BASE_SCOREBOARD_SPANS,
            Schema::V2 => SCOREBOARD_ROOM,
        }
    }
}

impl Connection {
    /// Says from now on for whom the record is published: [`Format::Own`] once an update is committed, [`Format::Compatible`]
    /// before a downgrade. A new connection is compatible; one that goes on from a record keeps that record's format. Publish
    /// the record afterwards: the change is in effect for others when that is done.
    ///
    /// Returns how many octets the change forgot. It is more than 0 only on the way to [`Format::Compatible`], when more
    /// stretches wait out of order than the compatible format can name: the lowest stay, since they are needed first. The
    /// peer may have been told of the others by SACK. RFC 2018 8 allows forgetting them, and keeps a sender from discarding
    /// what was not acknowledged cumulatively: when the acknowledgement stops at a forgotten stretch, the peer's
    /// retransmission timer, at the latest, sends it again. So this costs time and loses nothing.
    pub fn set_format(&mut self, format: Format) -> u64 {
        self.r.dialect = Dialect::new(self.r.dialect.schema(), format);
        self.r.rcv.held.keep_lowest(self.r.dialect.reassembly_spans())
    }

    /// For whom the record is published.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.r.dialect.format()
    }
}
