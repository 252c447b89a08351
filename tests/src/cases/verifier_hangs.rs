//! A file with which the verifier never comes to an end: the verifier is started again, and when it hangs again the file is refused. Whatever else the
//! repository has is looked at, and nobody who serves notices.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hic_hicmod::manifest::Version;

use super::forge::{self, Chain};
use super::service::{entry, until, wait_until_served};
use super::updating::{NEW, OLD, SERVICE, modules, only, wait_for_module};
use super::{ECHO, PORTS};
use crate::disk;
use crate::load;
use crate::net::Network;
use crate::qemu::{Machine, Proto};
use crate::runner::TestContext;
use crate::vm::Console;

/// Time after boot within which the services must answer.
const SERVED: Duration = Duration::from_secs(120);
/// Twice the module manager's patience, and room for a slow machine.
const GIVEN_UP: Duration = Duration::from_secs(180);
/// Echoes that must be answered before the file is given up: with a verifier that keeps the processor to itself it is none or one.
const MEANWHILE: u32 = 4;
/// The file that the verifier of this profile hangs on.
const HANGS: &str = "hang.hicmod";
/// A good one that is looked at after it.
const LATER: Version = Version::new(1, 4, 0);

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let network = Network::best()?;
    let machine = context.machine()?;
    prepare(&machine)?;
    let vm = context.boot(machine, Some(&network), &PORTS)?;
    let console = vm.console()?;
    wait_until_served(&vm, &network, SERVED)?;
    let running = only(&console, OLD)?;

    let echo = vm.endpoint(Proto::Tcp, ECHO)?;
    let (mut served, mut missed) = (0_u32, Vec::new());
    until(GIVEN_UP, || {
        match network.run(move || load::echo_once(echo, 64)) {
            Ok(_) => served += 1,
            Err(error) => missed.push(format!("{error:#}")),
        }
        refused(&console)
    })?;
    ensure!(missed.is_empty(), "nobody served while the verifier hung: {missed:?}");
    ensure!(served >= MEANWHILE, "only {served} echoes while the verifier hung");
    let found = until(GIVEN_UP, || wait_for_module(&console, &LATER.to_string()));
    found.context("the file after the one that hangs")?;
    wait_for_module(&console, NEW)?;

    let verifier = entry(&console, "verifier")?;
    ensure!(verifier["restarts"].as_u64().is_some_and(|restarts| restarts >= 2), "{verifier}");
    let now = only(&console, OLD)?;
    ensure!(now == running, "the running service was touched: {running:?} before, {now:?} now");
    wait_until_served(&vm, &network, SERVED)?;
    context.note(format!("refused after two attempts, {served} echoes meanwhile"));
    vm.check_alive()
}

/// Puts a good module on the disk under a name that hangs, and another one behind it.
fn prepare(machine: &Machine) -> Result<()> {
    let disk = machine.disks.first().context("this profile has no repository disk")?;
    let own = Chain::development(machine)?;
    let good = disk::get(disk, &format!("{SERVICE}-{NEW}.hicmod"))?;
    disk::put(disk, HANGS, &good)?;
    let later = forge::other_version(&good, &own, LATER, |_| ())?;
    disk::put(disk, &format!("{SERVICE}-{LATER}.hicmod"), &later)
}

/// `modules` must list the file as refused, because the verifier was started over it twice or because nobody answered: the monitor, which asks every
/// service whether it lives, may be earlier than the module manager's patience is over.
fn refused(console: &Console<'_>) -> Result<()> {
    let all = modules(console)?;
    let row = all.iter().find(|[name, ..]| name.eq_ignore_ascii_case(HANGS));
    let [_, _, state, reason] = row.with_context(|| format!("{HANGS} is not listed: {all:?}"))?;
    let named = ["verifier-died", "no-answer"].iter().any(|check| reason.contains(check));
    ensure!(state == "refused" && named, "{HANGS} is {state}: {reason}");
    Ok(())
}
