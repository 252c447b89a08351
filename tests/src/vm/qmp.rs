//! The little of QEMU's machine protocol (QMP) that tests need.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// How long QEMU may take to answer: writing all of the guest's memory to a busy disk is the longest that is asked of it.
const ANSWER: Duration = Duration::from_secs(300);

/// A QMP connection after its handshake.
#[derive(Debug)]
pub struct QmpClient {
    input: BufReader<UnixStream>,
    output: UnixStream,
}

impl QmpClient {
    /// Reads the greeting and leaves the negotiation mode.
    pub fn new(stream: UnixStream) -> Result<Self> {
        stream.set_read_timeout(Some(ANSWER))?;
        let mut client = Self { input: BufReader::new(stream.try_clone()?), output: stream };
        let greeting = client.message()?;
        if greeting.get("QMP").is_none() {
            bail!("not a QMP greeting: {greeting}");
        }
        client.execute("qmp_capabilities", json!({}))?;
        Ok(client)
    }

    /// Runs `command` and returns what it returns; events that arrive meanwhile are skipped.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let line = json!({ "execute": command, "arguments": arguments });
        writeln!(self.output, "{line}").with_context(|| format!("QMP {command}"))?;
        loop {
            let mut message = self.message().with_context(|| format!("QMP {command}"))?;
            if let Some(value) = message.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = message.get("error") {
                bail!("QMP {command}: {error}");
            }
        }
    }

    /// Ends QEMU.
    pub fn quit(&mut self) -> Result<()> {
        self.execute("quit", json!({})).map(drop)
    }

    /// Presses the power button.
    pub fn system_powerdown(&mut self) -> Result<()> {
        self.execute("system_powerdown", json!({})).map(drop)
    }

    /// The state of the machine: `running`, `paused`, `shutdown`, ...
    pub fn status(&mut self) -> Result<String> {
        let status = self.execute("query-status", json!({}))?;
        Ok(status["status"].as_str().unwrap_or_default().to_owned())
    }

    fn message(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.input.read_line(&mut line)? == 0 {
            bail!("QMP connection closed");
        }
        Ok(serde_json::from_str(&line)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_from_events_and_errors() {
        let (qemu, host) = UnixStream::pair().expect("a socket pair");
        let script = "{\"QMP\":{}}\n{\"return\":{}}\n{\"event\":\"RESUME\"}\n{\"return\":{\"status\":\"running\"}}\n{\"error\":{\"class\":\"X\"}}\n";
        (&qemu).write_all(script.as_bytes()).expect("room in the socket");
        let mut client = QmpClient::new(host).expect("a handshake");
        assert_eq!(client.status().expect("a status"), "running");
        assert!(client.quit().is_err());
    }
}
