//! The guest boots to its prompt, answers, refuses nonsense with a reason, and powers off.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::net::Network;
use crate::process::Outcome;
use crate::runner::TestContext;

/// How long the guest may take to power off.
const POWER_OFF: Duration = Duration::from_secs(20);

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let vm = context.boot(context.machine()?, Some(&Network::User), &[])?;
    let console = vm.console()?;

    let help = console.command("help")?;
    for command in super::console_json::NAMES {
        ensure!(help.contains(command), "`help` does not name `{command}`:\n{help}");
    }
    for wrong in ["nonsense", "caps no-such-sandbox", "restart", "kill no-such-service"] {
        let answer = console.command(wrong)?;
        ensure!(answer.contains("error["), "`{wrong}` was answered by {answer:?}");
    }
    ensure!(!console.command("status")?.contains("error["), "`status` failed");

    console.type_line("shutdown")?;
    let outcome = vm.wait_exit(POWER_OFF)?;
    ensure!(outcome == Outcome::PowerOff, "`shutdown`: {outcome}");
    Ok(())
}
