//! Updates of services: how one goes, or went.

use super::{Report, clean};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use hic_abi::name_str;
use hic_control::manager::UpdateInfo;
use serde::Serialize;

/// `update status`. Times in nanoseconds of guest time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Update {
    /// Name of the service.
    pub service: String,
    /// Version that served when it began.
    pub from: String,
    /// Version that was to serve.
    pub to: String,
    /// Whether it is under way.
    pub running: bool,
    /// Name of its step.
    pub step: String,
    /// Number of the step, from 1; 0 on the way back.
    pub step_number: u64,
    /// Steps of the way forward.
    pub steps: u64,
    /// How it ended.
    pub outcome: Option<String>,
    /// Code of the reason of a rollback or a refusal.
    pub reason: Option<String>,
    /// Items (connections, listeners, sockets) that the service had.
    pub total: u64,
    /// Items moved so far.
    pub moved: u64,
    /// Items given up.
    pub lost: u64,
    /// Batches so far.
    pub batches: u64,
    /// Longest time that one item was not served.
    pub longest_freeze_nanoseconds: u64,
    /// Mean of these times.
    pub mean_freeze_nanoseconds: u64,
    /// Time during which new callers were not served.
    pub downtime_nanoseconds: u64,
    /// Thousandths of the time that moving may take.
    pub share_thousandths: u64,
    /// Time that moving took so far.
    pub moving_nanoseconds: u64,
    /// When it began, since boot.
    pub began_nanoseconds: u64,
    /// When it ended, since boot.
    pub ended_nanoseconds: Option<u64>,
    /// Its report.
    pub lines: Vec<String>,
}

impl From<&UpdateInfo> for Update {
    /// Without the lines of the report.
    fn from(info: &UpdateInfo) -> Self {
        let text = |bytes: &[u8]| String::from(name_str(bytes));
        let named = |bytes: &[u8]| Some(text(bytes)).filter(|name| !name.is_empty());
        Self {
            service: text(&info.service),
            from: text(&info.from),
            to: text(&info.to),
            running: info.running != 0,
            step: text(&info.step),
            step_number: info.step_number,
            steps: info.steps,
            outcome: named(&info.outcome),
            reason: named(&info.reason),
            total: info.total,
            moved: info.moved,
            lost: info.lost,
            batches: info.batches,
            longest_freeze_nanoseconds: info.longest_freeze,
            mean_freeze_nanoseconds: info.mean_freeze,
            downtime_nanoseconds: info.downtime,
            share_thousandths: info.share,
            moving_nanoseconds: info.moving,
            began_nanoseconds: info.began,
            ended_nanoseconds: Some(info.ended).filter(|ended| *ended != 0),
            lines: Vec::new(),
        }
    }
}

impl Update {
    /// `service from -> to`, printable.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{} {} -> {}", clean(&self.service), clean(&self.from), clean(&self.to))
    }

    fn state(&self) -> String {
        let mut state = match &self.outcome {
            Some(outcome) => clean(outcome),
            None => "under way".into(),
        };
        if let Some(reason) = &self.reason {
            let _ = write!(state, ", because of {}", clean(reason));
        }
        if let Some(ended) = self.ended_nanoseconds {
            let took = ended.saturating_sub(self.began_nanoseconds);
            let _ = write!(state, ", after {}", milliseconds(took));
        }
        state
    }
}

impl Report for Update {
    fn text(&self, out: &mut String) {
        let _ = writeln!(out, "update    {}", self.title());
        let step = clean(&self.step);
        let _ = match self.step_number {
            0 => writeln!(out, "step      {step}"),
            number => writeln!(out, "step      {number}/{} {step}", self.steps),
        };
        let Self { total, moved, lost, batches, .. } = self;
        let _ = writeln!(out, "items     {moved} of {total} moved in {batches} batches, {lost} lost");
        let longest = milliseconds(self.longest_freeze_nanoseconds);
        let mean = milliseconds(self.mean_freeze_nanoseconds);
        let _ = writeln!(out, "frozen    longest {longest}, mean {mean}");
        let _ = writeln!(out, "downtime  {} for new callers", milliseconds(self.downtime_nanoseconds));
        let moving = milliseconds(self.moving_nanoseconds);
        let _ = writeln!(out, "moving    {moving}, at most {} of 1000 of the time", self.share_thousandths);
        let _ = writeln!(out, "outcome   {}", self.state());
        for line in &self.lines {
            let _ = writeln!(out, "  {}", clean(line));
        }
    }
}

/// Nanoseconds as milliseconds with their thousandths.
pub(super) fn milliseconds(nanoseconds: u64) -> String {
    format!("{}.{:03} ms", nanoseconds / 1_000_000, nanoseconds / 1000 % 1000)
}

/// `update`, `rollback` with `--json`, `abort`, `commit`: the module manager accepted it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Started {
    /// Always true: a refusal is an error.
    pub started: bool,
    /// What was asked for.
    pub request: &'static str,
}

impl Started {
    /// This was accepted.
    #[must_use]
    pub const fn new(request: &'static str) -> Self {
        Self { started: true, request }
    }
}

impl Report for Started {
    fn text(&self, out: &mut String) {
        let _ = writeln!(out, "{}: accepted; `update status` shows how it goes on", self.request);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::both;
    use super::*;
    use hic_abi::{Plain, name_bytes};

    fn migrating() -> UpdateInfo {
        UpdateInfo {
            service: name_bytes("netstack"),
            from: name_bytes("1.2.0"),
            to: name_bytes("1.3.0"),
            step: name_bytes("migrate"),
            running: 1,
            step_number: 4,
            steps: 9,
            total: 200,
            moved: 120,
            batches: 12,
            longest_freeze: 2_134_567,
            mean_freeze: 1_020_000,
            share: 8,
            moving: 48_500_000,
            began: 5_000_000_000,
            ..UpdateInfo::zeroed()
        }
    }

    #[test]
    fn an_update_under_way_shows_how_far_it_is() {
        let mut update = Update::from(&migrating());
        update.lines = alloc::vec!["step 1/9 check".into(), "step 2/9\x1b[2J".into()];
        let (json, text) = both(&update);
        assert_eq!(
            text,
            "update    netstack 1.2.0 -> 1.3.0\n\
             step      4/9 migrate\n\
             items     120 of 200 moved in 12 batches, 0 lost\n\
             frozen    longest 2.134 ms, mean 1.020 ms\n\
             downtime  0.000 ms for new callers\n\
             moving    48.500 ms, at most 8 of 1000 of the time\n\
             outcome   under way\n  step 1/9 check\n  step 2/9\u{fffd}[2J\n"
        );
        assert_eq!((&json["running"], &json["moved"]), (&true.into(), &120.into()));
        assert_eq!(json["longest_freeze_nanoseconds"], 2_134_567);
        assert_eq!(
            (&json["share_thousandths"], &json["moving_nanoseconds"]),
            (&8.into(), &48_500_000.into())
        );
        assert!(json["outcome"].is_null() && json["reason"].is_null() && json["ended_nanoseconds"].is_null());
        assert_eq!(json["lines"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn an_update_that_went_back_says_why_and_when() {
        let info = UpdateInfo {
            step: name_bytes("done"),
            outcome: name_bytes("rolled-back"),
            reason: name_bytes("unhealthy"),
            running: 0,
            step_number: 0,
            ended: 8_250_000_000,
            ..migrating()
        };
        let (json, text) = both(&Update::from(&info));
        assert!(text.contains("step      done\n"), "{text}");
        assert!(text.ends_with("outcome   rolled-back, because of unhealthy, after 3250.000 ms\n"), "{text}");
        assert_eq!((&json["outcome"], &json["reason"]), (&"rolled-back".into(), &"unhealthy".into()));
        assert_eq!(json["ended_nanoseconds"], 8_250_000_000_u64);
    }

    #[test]
    fn what_was_accepted_has_both_forms() {
        let (json, text) = both(&Started::new("abort"));
        assert_eq!(json, serde_json::json!({ "started": true, "request": "abort" }));
        assert_eq!(text, "abort: accepted; `update status` shows how it goes on\n");
    }
}
