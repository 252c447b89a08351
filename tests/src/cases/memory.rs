//! Leak checks: the `memory` document before and after, compared without knowing its layout.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use super::service::{read, until};
use super::updating::ask;
use crate::vm::Console;

/// Members that may differ between two looks at the same memory: they tell of the past, not of what is held.
const HISTORY: [&str; 6] = ["peak", "high_water", "time", "uptime", "allocations", "frees"];

/// Time within which nothing changes any more in a guest that has nothing to do but serve: the repository is read, and the monitor, which looks about every
/// five seconds, has met every service.
const SETTLED: Duration = Duration::from_secs(120);

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// The `memory` document now, without page tables: how many frames they take depends on where regions happen to lie.
pub(super) fn look(console: &Console<'_>) -> Result<Value> {
    let mut document = read(console, "memory")?;
    ensure!(document["adds_up"] == true, "the frames do not add up: {document}");
    leave_out_tables(&mut document);
    Ok(document)
}

/// The same, once nothing changes it any more: the repository is read, the monitor knows the services that there are (the manager's account pays for the
/// ports that it asks them by), and two looks see the same.
pub(super) fn settled(console: &Console<'_>) -> Result<Value> {
    let mut last = Value::Null;
    until(SETTLED, || {
        ensure!(ask(console, "modules")?["reading"] == false, "the repository is still being read");
        let known = ask(console, "status")?["services"].as_u64();
        let services = ask(console, "services")?["services"].as_array().map(|all| all.len() as u64);
        ensure!(known == services, "the monitor knows {known:?} services of {services:?}");
        let now = look(console)?;
        let mut differences = Vec::new();
        compare("", &std::mem::replace(&mut last, now.clone()), &now, &mut differences);
        ensure!(differences.is_empty(), "memory still changes:\n{}", differences.join("\n"));
        Ok(now)
    })
}

fn leave_out_tables(document: &mut Value) {
    let mut all = 0;
    for account in document["accounts"].as_array_mut().into_iter().flatten() {
        let tables = account["page_tables"].as_u64().unwrap_or(0);
        account["frames"] = (account["frames"].as_u64().unwrap_or(0) - tables).into();
        account["page_tables"] = Value::Null;
        all += tables;
    }
    document["charged"] = (document["charged"].as_u64().unwrap_or(0) - all).into();
    document["free"] = (document["free"].as_u64().unwrap_or(0) + all).into();
}

/// Waits until `memory` says again what it said in `before`: what a dead instance held is given back in steps, and the
/// last connections leave TIME-WAIT. The error lists what differs.
pub(super) fn wait_for_baseline(console: &Console<'_>, before: &Value, limit: Duration) -> Result<Duration> {
    let started = Instant::now();
    loop {
        let mut differences = Vec::new();
        match look(console) {
            Ok(now) => compare("", before, &now, &mut differences),
            Err(error) => differences.push(format!("{error:#}")),
        }
        if differences.is_empty() {
            return Ok(started.elapsed());
        }
        if started.elapsed() > limit {
            bail!("memory did not return to its baseline within {limit:?}:\n{}", differences.join("\n"));
        }
        std::thread::sleep(LOOK);
    }
}

/// Lists where `now` differs from `before`. Arrays of things with a name are compared by name, since a service that
/// was restarted may have moved to the end.
fn compare(at: &str, before: &Value, now: &Value, differences: &mut Vec<String>) {
    match (before, now) {
        (Value::Object(before), Value::Object(now)) => {
            let mut keys: Vec<&String> = before.keys().chain(now.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys.into_iter().filter(|key| !HISTORY.iter().any(|word| key.contains(word))) {
                let side =
                    |value: &serde_json::Map<String, Value>| value.get(key).cloned().unwrap_or(Value::Null);
                compare(&format!("{at}/{key}"), &side(before), &side(now), differences);
            }
        }
        (Value::Array(before), Value::Array(now)) => {
            compare(at, &by_name(before), &by_name(now), differences);
        }
        _ if before == now => {}
        _ => differences.push(format!("  {at}: {before} before, {now} now")),
    }
}

/// An array as an object, keyed by each member's name, or by its place where it has none.
fn by_name(array: &[Value]) -> Value {
    let key = |(place, value): (usize, &Value)| {
        let name = ["name", "account", "service"].iter().find_map(|key| value.get(key)?.as_str());
        (name.map_or_else(|| place.to_string(), str::to_owned), value.clone())
    };
    Value::Object(array.iter().enumerate().map(key).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differences(before: &Value, now: &Value) -> Vec<String> {
        let mut found = Vec::new();
        compare("", before, now, &mut found);
        found
    }

    #[test]
    fn order_and_history_do_not_count() {
        let before = json!({"free": 9, "peak_frames": 3, "accounts": [{"name": "a", "frames": 1}, {"name": "b", "frames": 2}]});
        let now = json!({"free": 9, "peak_frames": 8, "accounts": [{"name": "b", "frames": 2}, {"name": "a", "frames": 1}]});
        assert!(differences(&before, &now).is_empty());
    }

    #[test]
    fn page_tables_do_not_count_and_all_else_does() {
        let document = |frames: u64, tables: u64| {
            let mut document = json!({"free": 100 - frames, "charged": frames,
                "accounts": [{"name": "a", "frames": frames, "page_tables": tables}]});
            leave_out_tables(&mut document);
            document
        };
        assert!(differences(&document(9, 3), &document(10, 4)).is_empty());
        assert!(!differences(&document(9, 3), &document(10, 3)).is_empty());
    }

    #[test]
    fn a_leak_is_named_with_its_account() {
        let before = json!({"accounts": [{"name": "inetd", "frames": 1}]});
        let now = json!({"accounts": [{"name": "inetd", "frames": 2}, {"name": "ghost", "frames": 1}]});
        let found = differences(&before, &now).join("\n");
        assert!(found.contains("/accounts/inetd/frames: 1 before, 2 now"), "{found}");
        assert!(found.contains("/accounts/ghost"), "{found}");
    }
}
