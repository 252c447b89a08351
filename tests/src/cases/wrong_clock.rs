//! A battery that is empty, and a date from the far future: the system starts all the same, says what is wrong, and believes of the repository
//! only what was signed by somebody whose certificate is valid (docs/adr/0028).

use std::time::Duration;

use anyhow::{Result, ensure};

use super::PORTS;
use super::service::{until, wait_until_served};
use super::updating::{NEW, SERVICE, ask, modules, refusal, wait_for_repository};
use crate::net::Network;
use crate::runner::TestContext;
use crate::vm::{Console, Vm};

/// Time after boot within which the services must answer.
const SERVED: Duration = Duration::from_secs(120);
/// Before every signature; after the end of every certificate. (QEMU 7.2 keeps the distance to the host in an `int`: 68 years at most.)
const LONG_AGO: &str = "2001-01-01T00:00:00";
const FAR_AHEAD: &str = "2060-01-01T00:00:00";

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let network = Network::best()?;
    let vm = boot(context, &network, LONG_AGO)?;
    let console = vm.console()?;
    says(&console, "s behind the time at which this system was made")?;
    ensure!(state(&console)? == ("verified".to_owned(), String::new()), "{:?}", modules(&console)?);
    drop(vm);

    let vm = boot(context, &network, FAR_AHEAD)?;
    let console = vm.console()?;
    let (state, reason) = state(&console)?;
    ensure!(
        state == "refused" && reason.contains("validity") && reason.contains("2060-01-01"),
        "{state}: {reason}"
    );
    let refused = refusal(&console, &format!("update {SERVICE} {NEW}"))?;
    ensure!(refused.code == "validity" && refused.message.contains("set the clock"), "{refused}");
    vm.check_alive()
}

/// A guest whose clock says `clock` and that serves.
fn boot(context: &mut TestContext, network: &Network, clock: &str) -> Result<Vm> {
    let mut machine = context.machine()?;
    clock.clone_into(&mut machine.clock);
    let vm = context.boot(machine, Some(network), &PORTS)?;
    wait_until_served(&vm, network, SERVED)?;
    wait_for_repository(&vm.console()?)?;
    Ok(vm)
}

/// State of the newer version in the repository, and why if it is refused.
fn state(console: &Console<'_>) -> Result<(String, String)> {
    let file = format!("{SERVICE}-{NEW}.hicmod");
    let row = modules(console)?
        .into_iter()
        .find(|[name, version, ..]| (name == SERVICE && version == NEW) || name.eq_ignore_ascii_case(&file));
    let [_, _, state, reason] = row.unwrap_or_default();
    Ok((state, reason))
}

/// The system log must hold these words.
fn says(console: &Console<'_>, words: &str) -> Result<()> {
    until(SERVED, || {
        let log = ask(console, "log")?;
        ensure!(log.to_string().contains(words), "the log does not say {words:?}: {log}");
        Ok(())
    })
}
