//! What schema 2 adds behind a record's body: the stretches that the body has no room for.
//!
//! ```text
//!   reassembly: u8 count, count × stretch     scoreboard: u8 count, count × stretch     [later schemas]
//!   stretch: u32 gap after the stretch before it, u32 length
//! ```
//!
//! Lengths instead of positions halve it: both lists lie within a window, and a window has less than 2^31 octets
//! (RFC 7323 2.3). It must never carry what schema 1 cannot do without while the header says that schema 1 can read it; the
//! check of the whole record sees to that.

use crate::codec::{Field, Reader, RecordError, Writer};
use crate::record::Record;
use crate::schema::{BASE_REASSEMBLY_SPANS, BASE_SCOREBOARD_SPANS};
use crate::spans::{Span, Spans};

/// Writes the extension.
pub(crate) fn put(record: &Record, to: &mut Writer<'_>) {
    put_rest(&record.rcv.held, BASE_REASSEMBLY_SPANS, to);
    put_rest(&record.cc.sacked, BASE_SCOREBOARD_SPANS, to);
}

/// Reads the extension into a record whose body was read. What follows belongs to a later schema and is skipped.
///
/// # Errors
/// [`RecordError::Length`] if it is cut, [`RecordError::Field`] if it names more stretches than there is room for.
pub(crate) fn get(record: &mut Record, from: &mut Reader<'_>) -> Result<(), RecordError> {
    get_rest(&mut record.rcv.held, BASE_REASSEMBLY_SPANS, from)?;
    get_rest(&mut record.cc.sacked, BASE_SCOREBOARD_SPANS, from)
}

fn put_rest<const N: usize>(spans: &Spans<N>, base: usize, to: &mut Writer<'_>) {
    let (named, rest) = spans.as_slice().split_at_checked(base).unwrap_or((spans.as_slice(), &[]));
    let mut end = named.last().map_or(0, |span| span.end);
    (rest.len() as u8).put(to);
    for span in rest {
        (span.start.saturating_sub(end) as u32, span.len() as u32).put(to);
        end = span.end;
    }
}

fn get_rest<const N: usize>(
    spans: &mut Spans<N>,
    base: usize,
    from: &mut Reader<'_>,
) -> Result<(), RecordError> {
    let count = u8::get(from)?;
    if count > 0 && spans.count() < base {
        return Err(RecordError::Field("spans in the extension"));
    }
    let mut end = spans.end();
    for _ in 0..count {
        let (gap, len) = <(u32, u32)>::get(from)?;
        let start = end.saturating_add(gap.into());
        end = start.saturating_add(len.into());
        spans.push(Span { start, end }).map_err(|_| RecordError::Field("number of spans"))?;
    }
    Ok(())
}
