//! The audit log of both: which records, in which order, by whom, about whom, and when.

use super::compare::same;
use super::lab::{Lab, words_of};
use super::state::Due;
use hic_abi::ObjectType;
use hic_abi::audit::{Event, Record};
use std::string::String;
use std::vec::Vec;

impl Lab {
    /// The records since the last comparison, unless the rate cap took some.
    pub fn compare_records(&mut self) -> Result<(), String> {
        let mut due = core::mem::take(&mut self.model.records);
        let mut got = Vec::new();
        while let Some(record) = self.w.k.audit.drain() {
            same(|| "number of an audit record".into(), record.sequence, self.sequence)?;
            self.sequence += 1;
            got.push(self.translated(&record, due.get(got.len())));
        }
        let dropped = core::mem::replace(&mut self.dropped, self.w.k.audit.dropped);
        if dropped != self.dropped {
            return Ok(());
        }
        if join_revocations(&mut got) {
            // Between the parts of a long call others may come, so the order is not that of a call in one piece.
            let key = |r: &Due| (r.event, r.subject, r.a, r.b, r.text);
            got.sort_by_key(key);
            due.sort_by_key(key);
        }
        same(|| "audit records".into(), got, due)
    }

    /// A record in the model's words. An object that is gone left its number to others, so it is taken to be what is due.
    fn translated(&self, r: &Record, due: Option<&Due>) -> Due {
        let known = |kind: u64, index: u64, due: Option<u64>| match due {
            Some(due) if !self.model.lives(due) => due,
            _ => self.names.get(&(kind, index)).copied().or(due).unwrap_or(u64::MAX),
        };
        let event = |event: Event| r.event == event as u32;
        let capability = event(Event::CapabilityCopied)
            || event(Event::CapabilityMoved)
            || event(Event::CapabilityDeleted);
        let (a, b) = if capability {
            (known(r.a & 0xffff_ffff, r.a >> 32, due.map(|due| due.a)), r.b)
        } else if event(Event::PortSwitched) {
            (
                known(ObjectType::Port as u64, r.a, due.map(|due| due.a)),
                known(ObjectType::Endpoint as u64, r.b, due.map(|due| due.b)),
            )
        } else {
            (r.a, r.b)
        };
        let (event, actor, subject, nanos) = (r.event.into(), r.actor, r.subject, r.nanos);
        Due { event, actor, subject, a, b, text: words_of(r.text), nanos }
    }
}

/// A long revocation leaves a record for each of its parts: makes them one, where the last was. Whether there were several.
fn join_revocations(records: &mut Vec<Due>) -> bool {
    let is_one = |r: &Due| r.event == Event::Revoked as u64;
    let deleted: u64 = records.iter().filter(|r| is_one(r)).map(|r| r.b).sum();
    let Some(last) = records.iter().rposition(is_one) else { return false };
    records[last].b = deleted;
    let before = records.len();
    let mut place = 0;
    records.retain(|r| {
        place += 1;
        !is_one(r) || place - 1 == last
    });
    records.len() != before
}
