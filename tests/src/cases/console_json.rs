//! Every console command takes `--json` and then prints exactly one JSON document on one line.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::service::until;
use super::updating::{ask, wait_for_repository};
use crate::net::Network;
use crate::process::Outcome;
use crate::runner::TestContext;
use crate::vm::Vm;

/// Time after the prompt within which the network is there.
const READY: Duration = Duration::from_secs(120);

/// The commands, as `help` must name them.
pub(super) const NAMES: [&str; 25] = [
    "help",
    "status",
    "services",
    "ports",
    "caps",
    "connections",
    "net",
    "memory",
    "processor",
    "restart",
    "kill",
    "modules",
    "repository",
    "install",
    "remove",
    "update",
    "abort",
    "rollback",
    "commit",
    "log",
    "audit",
    "uptime",
    "shutdown",
    "reboot",
    "--json",
];

/// Commands after which the guest goes on, in an order in which each finds what it needs.
const GOES_ON: [&str; 23] = [
    "help",
    "status",
    "services",
    "ports",
    "caps netstack",
    "connections",
    "net",
    "memory",
    "processor",
    "modules",
    "modules refresh",
    "repository",
    "repository add http://10.0.2.2:1/",
    "repository remove http://10.0.2.2:1/",
    "remove example_guestbook",
    "install example_guestbook 1.0.0",
    "log",
    "audit",
    "audit verify",
    "uptime",
    "restart web_server",
    "kill inetd",
    "status",
];

/// Wrong commands: the error is a document too, and names its code.
const WRONG: [&str; 14] = [
    "nonsense",
    "caps no-such-sandbox",
    "kill no-such-service",
    "update status",
    "update netstack 9.9.9",
    "update netstack 1.3.0 share=0",
    "update netstack 1.3.0 share=1001",
    "abort",
    "commit",
    "install inetd 1.0.0",
    "install no-such-module 1.0.0",
    "remove netstack",
    "repository add ftp://10.0.2.2/",
    "repository remove http://10.0.2.2:2/",
];

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let vm = context.boot(context.machine()?, Some(&Network::User), &[])?;
    let console = vm.console()?;
    // Until the stack has its card it answers nobody.
    until(READY, || ask(&console, "net"))?;
    for command in GOES_ON {
        let document = console.json(&format!("{command} --json"))?;
        ensure!(document.is_object() || document.is_array(), "`{command} --json` printed {document}");
        ensure!(document.get("error").is_none(), "`{command} --json` failed: {document}");
    }
    wait_for_repository(&console)?;
    for command in WRONG {
        let document = console.json(&format!("{command} --json"))?;
        ensure!(document.get("error").is_some(), "`{command} --json` printed {document}");
    }
    last_word(&vm, "shutdown --json")?;
    drop(vm);
    let vm = context.boot(context.machine()?, None, &[])?;
    vm.console()?;
    last_word(&vm, "reboot --json")
}

/// A command that ends the guest prints its document first.
fn last_word(vm: &Vm, command: &str) -> Result<()> {
    let from = vm.console()?.type_line(command)?;
    let outcome = vm.wait_exit(Duration::from_secs(120))?;
    ensure!(outcome == Outcome::PowerOff, "`{command}`: {outcome}");
    // What was printed is all there once the line is closed, which this wait reports as an error.
    let _ = vm.serial().wait(from, Duration::from_secs(5), |_| None::<()>);
    let text = vm.serial().text_from(from);
    let document = text.lines().map(str::trim).find(|line| line.starts_with('{'));
    let document = document.with_context(|| format!("`{command}` printed {text:?}"))?;
    serde_json::from_str::<serde_json::Value>(document)
        .with_context(|| format!("`{command}`: {document:?}"))?;
    Ok(())
}
