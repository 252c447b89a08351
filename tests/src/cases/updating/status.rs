//! What `update status` says of an update.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

/// `update status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub from: String,
    pub to: String,
    pub step: String,
    pub outcome: String,
    pub reason: String,
    pub running: bool,
    pub total: u64,
    pub moved: u64,
    pub lost: u64,
    pub batches: u64,
    pub longest_freeze: Duration,
    pub mean_freeze: Duration,
    pub downtime: Duration,
    pub share: u64,
    pub moving: Duration,
    pub began: u64,
    pub ended: u64,
}

impl Status {
    /// Reads the document that `update status --json` prints.
    pub fn parse(document: &Value) -> Result<Self> {
        let at = status_object(document).with_context(|| format!("no status in {document}"))?;
        let text = |key: &str| at[key].as_str().unwrap_or_default().to_owned();
        let number =
            |key: &str| at[key].as_u64().with_context(|| format!("`{key}` is no number in {document}"));
        let time = |key| Ok::<_, anyhow::Error>(Duration::from_nanos(number(key)?));
        Ok(Self {
            from: text("from"),
            to: text("to"),
            step: text("step"),
            outcome: text("outcome"),
            reason: text("reason"),
            running: at["running"].as_bool().unwrap_or_else(|| at["running"].as_u64() == Some(1)),
            total: number("total")?,
            moved: number("moved")?,
            lost: number("lost")?,
            batches: number("batches")?,
            longest_freeze: time("longest_freeze_nanoseconds")?,
            mean_freeze: time("mean_freeze_nanoseconds")?,
            downtime: time("downtime_nanoseconds")?,
            share: number("share_thousandths")?,
            moving: time("moving_nanoseconds")?,
            began: number("began_nanoseconds")?,
            ended: at["ended_nanoseconds"].as_u64().unwrap_or(0),
        })
    }

    /// One line.
    pub fn summary(&self) -> String {
        let how = match (self.outcome.as_str(), self.reason.as_str()) {
            ("", _) => format!("at step {}", self.step),
            (outcome, "") => outcome.to_owned(),
            (outcome, reason) => format!("{outcome} ({reason})"),
        };
        format!(
            "{} -> {} {how}: {} of {} moved in {} batches, {} lost, longest freeze {:.2?}, mean {:.2?}, downtime {:.2?}, moving {:.2?}, at most {} of 1000 of the time",
            self.from,
            self.to,
            self.moved,
            self.total,
            self.batches,
            self.lost,
            self.longest_freeze,
            self.mean_freeze,
            self.downtime,
            self.moving,
            self.share
        )
    }
}

/// The object that tells of an update, at whatever depth.
fn status_object(document: &Value) -> Option<&Value> {
    match document {
        Value::Object(members) if members.contains_key("outcome") => Some(document),
        Value::Object(members) => members.values().find_map(status_object),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_is_read_at_any_depth_and_running_may_be_a_number() {
        let info = json!({"service": "netstack", "from": "1.2.0", "to": "1.3.0", "step": "migrate", "outcome": "",
            "reason": "", "running": 1, "total": 9, "moved": 4, "lost": 0, "batches": 1, "longest_freeze_nanoseconds": 2_000_000,
            "mean_freeze_nanoseconds": 1_000_000, "downtime_nanoseconds": 0, "share_thousandths": 4,
            "moving_nanoseconds": 3_000_000, "began_nanoseconds": 5,
            "ended_nanoseconds": null});
        let status = Status::parse(&json!({ "update": info })).expect("a status");
        assert!(status.running && status.longest_freeze == Duration::from_millis(2));
        let text = status.summary();
        assert!(text.starts_with("1.2.0 -> 1.3.0 at step migrate: 4 of 9 moved"), "{text}");
        let mut ended = info;
        (ended["running"], ended["outcome"], ended["reason"]) =
            (false.into(), "rolled-back".into(), "unhealthy".into());
        let status = Status::parse(&ended).expect("a status");
        assert!(!status.running && status.summary().contains("rolled-back (unhealthy)"));
        assert!(Status::parse(&json!({"outcome": "", "total": "many"})).is_err());
    }
}
