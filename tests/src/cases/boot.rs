//! The guest boots to its prompt, answers, refuses nonsense with a reason, and powers off.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::updating::ask;
use crate::net::Network;
use crate::process::Outcome;
use crate::runner::TestContext;
use crate::vm::Vm;

/// How long the guest may take to power off.
const POWER_OFF: Duration = Duration::from_secs(120);
/// How long something that is typed may take to be answered.
const FOLLOWED: Duration = Duration::from_secs(120);

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
    ask(&console, "status")?;
    what_is_typed_while_the_log_is_followed_is_a_command(&vm)?;

    console.type_line("shutdown")?;
    let outcome = vm.wait_exit(POWER_OFF)?;
    ensure!(outcome == Outcome::PowerOff, "`shutdown`: {outcome}");
    Ok(())
}

fn what_is_typed_while_the_log_is_followed_is_a_command(vm: &Vm) -> Result<()> {
    let console = vm.console()?;
    let wait = |from, text: &str| {
        let seen = vm.serial().wait(from, FOLLOWED, |seen| seen.contains(text).then_some(()));
        seen.with_context(|| format!("{text:?} did not come after {:?}", vm.serial().text_from(from)))
    };
    wait(console.type_line("log -f")?, "module-manager: ")?;
    wait(console.type_line("nothing-like-it")?, "there is no command `nothing-like-it`")
}
