//! The guest's console, as its user sees it: a command typed, the lines up to the next prompt.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::SerialLine;
use crate::text;

/// How long one command may take: far above what any needs, since it only guards against a hang. An `install` from a server that hangs takes half a minute
/// of guest time.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(120);

/// The console at its prompt.
#[derive(Debug)]
pub struct Console<'a> {
    serial: &'a SerialLine,
}

impl<'a> Console<'a> {
    pub(super) fn new(serial: &'a SerialLine) -> Self {
        Self { serial }
    }

    /// Types `command` and returns what it printed, without the echo and the prompt, lines ended by `\n`.
    pub fn command(&self, command: &str) -> Result<String> {
        let from = self.type_line(command)?;
        self.serial
            .wait(from, COMMAND_TIMEOUT, text::command_output)
            .with_context(|| format!("`{command}` printed {:?}", self.serial.text_from(from)))
    }

    /// Types `command` without waiting for a prompt: for those after which none comes. Returns the place on the serial
    /// line at which what follows begins.
    pub fn type_line(&self, command: &str) -> Result<usize> {
        let from = self.serial.position();
        self.serial.send(&format!("{command}\r"))?;
        Ok(from)
    }

    /// Types `command`, which ends in `--json`, and parses the one line that it prints.
    pub fn json(&self, command: &str) -> Result<Value> {
        let output = self.command(command)?;
        one_document(&output).with_context(|| format!("`{command}`"))
    }
}

/// The JSON document that is all of `output`: exactly one line.
pub fn one_document(output: &str) -> Result<Value> {
    let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    ensure!(lines.len() == 1, "one line was due, {} came: {output:?}", lines.len());
    let line = lines.first().context("no line")?;
    serde_json::from_str(line).with_context(|| format!("not JSON: {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_document_means_one_line_and_nothing_else() {
        assert_eq!(one_document("{\"a\":1}\n").expect("a document")["a"], 1);
        assert!(one_document("{}\n{}").is_err());
        assert!(one_document("").is_err());
        assert!(one_document("ok").is_err());
    }
}
