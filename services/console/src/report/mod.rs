//! Answers: each knows its JSON form (its fields) and its text form.
//!
//! The JSON form is the interface for programs: fields are added, never renamed.

pub mod audit;
pub mod follow;
pub mod modules;
pub mod net;
pub mod objects;
pub mod processor;
pub mod services;
pub mod system;
pub mod table;
pub mod task;
pub mod update;

use alloc::string::String;
use serde::Serialize;

/// Rows of one answer, at most: more would not fit the console's heap. The answer says when there were more.
pub const MAX_ROWS: usize = 4096;

/// An answer.
pub trait Report: Serialize {
    /// Its text form: whole lines.
    fn text(&self, out: &mut String);
}

/// An answer in the form that was asked for.
pub fn render<R: Report>(report: &R, json: bool) -> String {
    if json {
        return json_line(report);
    }
    let mut out = String::new();
    report.text(&mut out);
    out
}

/// One JSON document on one line. Reports hold nothing that JSON cannot say, so the other branch is a fault of a report.
pub(crate) fn json_line<T: Serialize>(value: &T) -> String {
    let mut line = serde_json::to_string(value).unwrap_or_else(|_| {
        String::from("{\"error\":{\"code\":\"internal\",\"message\":\"the answer has no JSON form\"}}")
    });
    line.push('\n');
    line
}

/// Text that came from elsewhere, with control characters (escape sequences for the terminal among them) made visible.
#[must_use]
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A name that may be empty, made printable.
fn dash(text: &str) -> String {
    if text.is_empty() { "-".into() } else { clean(text) }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::{Report, render};
    use std::string::String;

    /// Both forms of a report, checked for what all must hold.
    pub fn both<R: Report>(report: &R) -> (serde_json::Value, String) {
        let json = render(report, true);
        assert_eq!(json.matches('\n').count(), 1, "one line: {json}");
        let text = render(report, false);
        assert!(text.ends_with('\n') && !text.contains('\r'), "whole lines: {text:?}");
        (serde_json::from_str(&json).expect("JSON"), text)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn escape_sequences_of_others_do_not_reach_the_terminal() {
        assert_eq!(super::clean("a\x1b[2Jb\u{9b}é"), "a\u{fffd}[2Jb\u{fffd}é");
    }
}
