//! Steps that several tests share: wait until the guest serves, look at one service, ask for its pages.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{ECHO, HTTP};
use crate::load;
use crate::net::Network;
use crate::qemu::Proto;
use crate::vm::{Console, Vm};

/// Pause between two attempts.
const AGAIN: Duration = Duration::from_millis(100);

/// A question is asked so often at most.
const READS: u32 = 10;

/// Words by which the console says that a service is at work.
const AT_WORK: [&str; 5] = ["running", "alive", "ready", "up", "healthy"];

/// Tries `attempt` until it succeeds or `limit` is over; then its last error is the answer.
pub(super) fn until<T>(limit: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= deadline => {
                return Err(error.context(format!("still so after {limit:?}")));
            }
            Err(_) => std::thread::sleep(AGAIN),
        }
    }
}

/// Waits until both services answer over TCP.
pub(super) fn wait_until_served(vm: &Vm, network: &Network, limit: Duration) -> Result<()> {
    let (echo, http) = (vm.endpoint(Proto::Tcp, ECHO)?, vm.endpoint(Proto::Tcp, HTTP)?);
    let served = network.run(move || {
        until(limit, || load::echo_once(echo, 64)).context("echo")?;
        until(limit, || healthy(http)).context("web server")
    });
    vm.check_alive()?;
    served
}

/// Whether `/healthz` says so.
pub(super) fn healthy(http: SocketAddr) -> Result<()> {
    let (status, _) = load::http_get(http, "/healthz")?;
    ensure!(status.contains(" 200 "), "/healthz: {status}");
    Ok(())
}

/// What a command that changes nothing answers. A service that the console asks for it may be starting again on a host that stalls: then it is asked once
/// more.
pub(super) fn read(console: &Console<'_>, command: &str) -> Result<Value> {
    let (command, mut left) = (format!("{command} --json"), READS);
    loop {
        let document = console.json(&command)?;
        left -= 1;
        if left == 0 || document["error"]["code"] != "timeout" {
            return Ok(document);
        }
    }
}

/// What `services --json` says about `name`.
pub(super) fn entry(console: &Console<'_>, name: &str) -> Result<Value> {
    let document = read(console, "services")?;
    find(&document, name).cloned().with_context(|| format!("`services` does not list {name}: {document}"))
}

/// Whether an entry of `services --json` is that of a service at work.
pub(super) fn at_work(entry: &Value) -> bool {
    let state = entry.get("state").or_else(|| entry.get("status")).and_then(Value::as_str);
    state.is_some_and(|state| AT_WORK.contains(&state.to_lowercase().as_str()))
}

/// The object in `document`, at whatever depth, whose `name` is `name`.
fn find<'a>(document: &'a Value, name: &str) -> Option<&'a Value> {
    match document {
        Value::Object(members) if members.get("name").and_then(Value::as_str) == Some(name) => Some(document),
        Value::Object(members) => members.values().find_map(|value| find(value, name)),
        Value::Array(values) => values.iter().find_map(|value| find(value, name)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_is_found_by_its_name() {
        let document =
            json!({"services": [{"name": "inetd", "state": "Running"}, {"name": "x", "state": "dead"}]});
        assert!(at_work(find(&document, "inetd").expect("listed")));
        assert!(!at_work(find(&document, "x").expect("listed")));
        assert!(find(&document, "y").is_none());
    }

    #[test]
    fn the_last_error_is_the_answer_when_time_is_over() {
        let mut attempts = 0;
        let result: Result<()> = until(Duration::ZERO, || {
            attempts += 1;
            anyhow::bail!("attempt {attempts}")
        });
        assert!(format!("{:#}", result.expect_err("never succeeds")).contains("attempt 1"));
    }
}
