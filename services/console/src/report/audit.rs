//! Audit records.

use super::{Report, clean, table::Table};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;
use hic_abi::audit::{Event, Record};
use hic_abi::name_str;
use serde::Serialize;

/// `audit`
#[derive(Clone, Debug, Default, Serialize)]
pub struct Audit {
    /// Records that the monitor keeps.
    pub kept: u64,
    /// The newest ones, oldest first.
    pub records: Vec<Entry>,
}

/// One record.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Entry {
    /// Its number.
    pub sequence: u64,
    /// When, nanoseconds since boot.
    pub nanoseconds: u64,
    /// What.
    pub event: &'static str,
    /// Serial number of the sandbox that caused it; 0 = the kernel.
    pub actor: u64,
    /// Its name, while it exists.
    pub actor_name: Option<String>,
    /// Serial number of the sandbox concerned, or 0.
    pub subject: u64,
    /// Its name, while it exists.
    pub subject_name: Option<String>,
    /// Error number of a refused operation, or 0.
    pub status: i32,
    /// By event.
    pub a: u64,
    /// By event.
    pub b: u64,
    /// By event.
    pub text: String,
}

impl Entry {
    /// From a record; `name` knows the names of sandboxes by serial number.
    #[must_use]
    pub fn new(record: &Record, name: impl Fn(u64) -> Option<String>) -> Self {
        Self {
            sequence: record.sequence,
            nanoseconds: record.nanos,
            event: Event::name(record.event),
            actor: record.actor,
            actor_name: name(record.actor),
            subject: record.subject,
            subject_name: name(record.subject),
            status: record.status,
            a: record.a,
            b: record.b,
            text: name_str(&record.text).into(),
        }
    }
}

fn who(serial: u64, name: Option<&String>) -> String {
    match (serial, name) {
        (0, _) => "-".into(),
        (_, Some(name)) => clean(name),
        (serial, None) => format!("#{serial}"),
    }
}

impl Report for Audit {
    fn text(&self, out: &mut String) {
        let mut table = Table::new(["record", "time", "event", "by", "on", "a", "b", "text"]);
        for e in &self.records {
            let seconds = e.nanoseconds / 1_000_000_000;
            let time = format!("{seconds}.{:06}", e.nanoseconds / 1000 % 1_000_000);
            let by = if e.actor == 0 { "the kernel".into() } else { who(e.actor, e.actor_name.as_ref()) };
            let on = who(e.subject, e.subject_name.as_ref());
            let numbers = (e.sequence.to_string(), e.a.to_string(), e.b.to_string());
            table.row([numbers.0, time, e.event.into(), by, on, numbers.1, numbers.2, clean(&e.text)]);
        }
        table.print(out);
        let _ = writeln!(out, "{} records kept, the last {} shown", self.kept, self.records.len());
    }
}

/// `audit verify`
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Verified {
    /// Records checked.
    pub records: u64,
    /// Always true: a broken chain is an error.
    pub whole: bool,
}

impl Report for Verified {
    fn text(&self, out: &mut String) {
        let _ =
            writeln!(out, "{} records checked: none changed, missing, reordered or cut off", self.records);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::both;
    use super::*;
    use hic_abi::{Plain, name_bytes};

    #[test]
    fn an_entry_names_who_did_what_to_whom() {
        let record = Record {
            sequence: 4,
            nanos: 1_500_000_000,
            actor: 3,
            subject: 9,
            event: Event::SandboxCreated as u32,
            text: name_bytes("inetd"),
            ..Record::zeroed()
        };
        let name = |serial| (serial == 3).then(|| "module-manager".into());
        let audit = Audit { kept: 70, records: alloc::vec![Entry::new(&record, name)] };
        let (json, text) = both(&audit);
        assert_eq!(json["records"][0]["event"], "sandbox-created");
        assert!(
            text.contains("4       1.500000  sandbox-created  module-manager  #9  0  0  inetd"),
            "{text}"
        );
        assert!(both(&Verified { records: 5, whole: true }).1.starts_with("5 records checked"));
    }
}
