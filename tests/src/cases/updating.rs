//! Steps that the tests of updates share: start one, follow it, look at who serves.

mod status;

pub(super) use status::Status;

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use super::service::{at_work, read, until};
use crate::vm::Console;

/// The service that is updated.
pub(super) const SERVICE: &str = "netstack";
/// The version in the boot archive.
pub(super) const OLD: &str = "1.2.0";
/// The good version in the repository.
pub(super) const NEW: &str = "1.3.0";

/// An update must have ended, or reached the step that is waited for, within this time: the sum of its own deadlines, and
/// room for a slow machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(180);

/// The repository must have been looked through within this time after boot.
pub(super) const SCANNED: Duration = Duration::from_secs(60);

/// Thousandths of the time that moving may take in tests of what an update survives: all of it, so that hundreds of updates take minutes, and a
/// death falls into a batch rather than between two. What an operator gets who asks for nothing is [`gently_to`]'s.
const SHARE: u64 = 1000;

/// Commands that change nothing, so that they may be asked twice.
const READING: [&str; 8] =
    ["audit", "memory", "modules", "net", "processor", "services", "status", "update status"];

/// What `update status` is refused with when there was none since the system started.
const NO_UPDATE: &str = "not-found";

/// A refusal: the code and the sentence that the console prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub code: String,
    pub message: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.code, self.message)
    }
}

impl Refused {
    fn of(document: &Value) -> Option<Self> {
        let error = document.get("error").filter(|error| error.is_object())?;
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        Some(Self { code: text("code"), message: text("message") })
    }
}

/// What `command --json` answers; a refusal is an error.
pub(super) fn ask(console: &Console<'_>, command: &str) -> Result<Value> {
    let changes_nothing = READING.iter().any(|word| command.split(' ').eq(word.split(' ')));
    let document =
        if changes_nothing { read(console, command)? } else { console.json(&format!("{command} --json"))? };
    match Refused::of(&document) {
        Some(refused) => Err(anyhow!("`{command}`: {refused}")),
        None => Ok(document),
    }
}

/// Number of the last note in the audit log; 0 if there is none.
pub(super) fn last_note(console: &Console<'_>) -> Result<u64> {
    Ok(notes(console)?.into_iter().map(|(sequence, _)| sequence).max().unwrap_or(0))
}

/// The notes in the audit log that the console shows, with their numbers.
pub(super) fn notes(console: &Console<'_>) -> Result<Vec<(u64, String)>> {
    let document = ask(console, "audit")?;
    let records = document["records"].as_array().with_context(|| format!("no records in {document}"))?;
    let note = |record: &Value| {
        Some((record["sequence"].as_u64()?, record["text"].as_str().unwrap_or_default().to_owned()))
    };
    Ok(records.iter().filter(|record| record["event"] == "note").filter_map(note).collect())
}

/// What `command --json` is refused with; it is an error if it is not.
pub(super) fn refusal(console: &Console<'_>, command: &str) -> Result<Refused> {
    let document = console.json(&format!("{command} --json"))?;
    Refused::of(&document).with_context(|| format!("`{command}` was not refused: {document}"))
}

/// `update status` now.
pub(super) fn status(console: &Console<'_>) -> Result<Status> {
    Status::parse(&ask(console, "update status")?)
}

/// An update that was started from here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Update {
    /// When the update before it began: a status that says so is an old one.
    before: Option<u64>,
}

impl Update {
    /// Starts `update netstack VERSION` with a rollback window of `watch` seconds.
    pub(super) fn start(console: &Console<'_>, version: &str, watch: u32) -> Result<Self> {
        let update = Self::next(console)?;
        ask(console, &format!("update {SERVICE} {version} watch={watch} share={SHARE}"))?;
        Ok(update)
    }

    /// As [`Self::start`] where whoever takes the order may die over it: asks again until the order was taken.
    pub(super) fn insist(console: &Console<'_>, version: &str, watch: u32) -> Result<Self> {
        let update = Self::next(console)?;
        let command = format!("update {SERVICE} {version} watch={watch} share={SHARE} --json");
        until(PATIENCE, || {
            let document = console.json(&command)?;
            match Refused::of(&document) {
                // An order whose answer was lost: the update runs, or has ended already.
                Some(refused) if ["update-running", "same-version"].contains(&refused.code.as_str()) => {
                    Ok(())
                }
                Some(refused) => Err(anyhow!("{refused}")),
                None => Ok(()),
            }
        })?;
        Ok(update)
    }

    /// The update that will begin next.
    pub(super) fn next(console: &Console<'_>) -> Result<Self> {
        let before = until(PATIENCE, || {
            let document = read(console, "update status")?;
            match Refused::of(&document) {
                Some(refused) if refused.code == NO_UPDATE => Ok(None),
                Some(refused) => Err(anyhow!("{refused}")),
                None => Ok(Some(Status::parse(&document)?.began)),
            }
        })?;
        Ok(Self { before })
    }

    /// Waits until it has ended.
    pub(super) fn ended(self, console: &Console<'_>) -> Result<Status> {
        self.wait(console, |_| false, || ())
    }

    /// As [`Self::ended`]; calls `look` again and again meanwhile.
    pub(super) fn ended_while(self, console: &Console<'_>, look: impl FnMut()) -> Result<Status> {
        self.wait(console, |_| false, look)
    }

    /// Waits until its rollback window has begun; an error if it ends before.
    pub(super) fn watched(self, console: &Console<'_>) -> Result<Status> {
        let status = self.wait(console, |status| status.step == "watch", || ())?;
        ensure!(status.running, "it ended before its rollback window: {}", status.summary());
        Ok(status)
    }

    fn wait(
        self,
        console: &Console<'_>,
        enough: impl Fn(&Status) -> bool,
        mut look: impl FnMut(),
    ) -> Result<Status> {
        until(PATIENCE, || {
            look();
            let status = status(console)?;
            ensure!(self.before != Some(status.began), "it has not begun");
            ensure!(!status.running || enough(&status), "still at step {}", status.step);
            Ok(status)
        })
    }
}

/// A whole update to `version` without a rollback window; an error unless it is completed.
pub(super) fn update_to(console: &Console<'_>, version: &str) -> Result<Status> {
    let status = Update::start(console, version, 0)?.ended(console)?;
    ensure!(status.outcome == "completed", "{}", status.summary());
    Ok(status)
}

/// As [`update_to`] at the pace of the policy; an error unless moving kept to its share of the time.
pub(super) fn gently_to(console: &Console<'_>, version: &str) -> Result<Status> {
    /// So long it takes at the least: pauses have an end, and nothing rests for the last batch.
    const LEAST: Duration = Duration::from_secs(2);
    let update = Update::next(console)?;
    ask(console, &format!("update {SERVICE} {version} watch=0"))?;
    let status = update.ended(console)?;
    ensure!(status.outcome == "completed", "{}", status.summary());
    let (moving, took) = (status.moving, Duration::from_nanos(status.ended - status.began));
    ensure!((1..10).contains(&status.share), "moving takes {} thousandths of the time", status.share);
    let whole = moving.as_secs_f64() * 1000.0 / f64::from(u32::try_from(status.share)?);
    let least = Duration::from_secs_f64(whole).min(LEAST);
    ensure!(!moving.is_zero() && took >= least, "{moving:.2?} of moving in {took:.2?}: {}", status.summary());
    Ok(status)
}

/// One instance, as `services` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instance {
    pub version: String,
    pub at_work: bool,
    pub sandbox: u64,
    pub restarts: u64,
}

/// The instances of `service`.
pub(super) fn instances(console: &Console<'_>, service: &str) -> Result<Vec<Instance>> {
    let document = ask(console, "services")?;
    let rows = document["services"].as_array().with_context(|| format!("no services in {document}"))?;
    let of_it =
        |row: &&Value| row["name"].as_str().is_some_and(|name| name.split('@').next() == Some(service));
    Ok(rows.iter().filter(of_it).map(instance).collect())
}

fn instance(row: &Value) -> Instance {
    Instance {
        version: row["version"].as_str().unwrap_or_default().to_owned(),
        at_work: at_work(row),
        sandbox: row["sandbox"].as_u64().unwrap_or(0),
        restarts: row["restarts"].as_u64().unwrap_or(0),
    }
}

/// The only instance of the service; an error unless there is exactly one, at work, of this version.
pub(super) fn only(console: &Console<'_>, version: &str) -> Result<Instance> {
    let all = instances(console, SERVICE)?;
    match all.as_slice() {
        [one] if one.at_work && one.version == version => Ok(one.clone()),
        _ => Err(anyhow!("{SERVICE} {version} alone was to serve: {all:?}")),
    }
}

/// What `modules` says about each module: name (of a refused one, of its file), version, state and reason.
pub(super) fn modules(console: &Console<'_>) -> Result<Vec<[String; 4]>> {
    let document = ask(console, "modules")?;
    let rows = document["modules"].as_array().with_context(|| format!("no modules in {document}"))?;
    let text = |row: &Value, key: &str| match &row[key] {
        Value::String(text) => text.clone(),
        Value::Object(reason) => format!("{}: {}", reason["code"], reason["message"]),
        _ => String::new(),
    };
    Ok(rows.iter().map(|row| ["name", "version", "state", "reason"].map(|key| text(row, key))).collect())
}

/// Waits until every file of the repository was looked at. An update to what is not known yet is taken before, and checked then.
pub(super) fn wait_for_repository(console: &Console<'_>) -> Result<()> {
    until(SCANNED, || {
        ensure!(ask(console, "modules")?["reading"] == false, "the repository is still being read");
        Ok(())
    })
}

/// [`wait_for_repository`], and it has this version of the service.
pub(super) fn wait_for_module(console: &Console<'_>, version: &str) -> Result<()> {
    wait_for_repository(console)?;
    let all = modules(console)?;
    let found = all.iter().any(|[name, found, ..]| name == SERVICE && found == version);
    ensure!(found, "`modules` does not list {SERVICE} {version}: {all:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_has_code_and_sentence() {
        let document = json!({"error": {"code": "digest", "message": "changed"}});
        assert_eq!(Refused::of(&document).expect("refused").to_string(), "error[digest]: changed");
        assert_eq!(Refused::of(&json!({"error": null})), None);
    }

    #[test]
    fn an_instance_is_read_from_its_row() {
        let row =
            json!({"name": "netstack", "version": "1.3.0", "state": "running", "sandbox": 12, "restarts": 1});
        let read = instance(&row);
        assert_eq!(
            (read.version.as_str(), read.at_work, read.sandbox, read.restarts),
            ("1.3.0", true, 12, 1)
        );
    }
}
