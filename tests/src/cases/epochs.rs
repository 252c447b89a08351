//! A release of a new epoch, and the way back from it: refused, refused as a rollback, too, and permitted once the policy names it. Then it is a rolling
//! update like any other.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, ensure};
use hic_hicmod::Archive;
use hic_hicmod::manifest::Version;
use hic_policy::{POLICY, Rules};

use super::forge::{self, Chain};
use super::install::power_off;
use super::service::{until, wait_until_served};
use super::updating::{NEW, OLD, SERVICE, only, refusal, update_to, wait_for_module};
use super::{ECHO, PORTS};
use crate::load::{self, DuplexPlan};
use crate::net::Network;
use crate::qemu::{Machine, Proto};
use crate::runner::TestContext;
use crate::{disk, workspace};

/// Where the development chain lies, from the folder of images (`xtask/src/signing.rs`).
const KEYS: &str = "keys";
/// The release that raises the epoch.
const RAISED: Version = Version::new(1, 3, 9);
/// Time after boot within which the services must answer.
const SERVED: Duration = Duration::from_secs(30);

const PLAN: DuplexPlan = DuplexPlan { clients: 10, ..DuplexPlan::USUAL };

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let network = Network::best()?;
    let mut machine = context.machine()?;
    put_raised(&machine).context("the release of the new epoch")?;

    let vm = context.boot(machine.clone(), Some(&network), &PORTS)?;
    let console = vm.console()?;
    wait_until_served(&vm, &network, SERVED)?;
    wait_for_module(&console, &RAISED.to_string())?;
    update_to(&console, &RAISED.to_string())?;
    for order in [format!("update {SERVICE} {OLD}"), format!("rollback {SERVICE}")] {
        let refused = refusal(&console, &order)?;
        ensure!(refused.code == "epoch" && refused.message.contains("downgrade"), "`{order}`: {refused}");
    }
    only(&console, &RAISED.to_string())?;
    power_off(&vm)?;

    permit(context, &mut machine).context("a policy that names the downgrade")?;
    let vm = context.boot(machine.clone(), Some(&network), &PORTS)?;
    let console = vm.console()?;
    wait_until_served(&vm, &network, SERVED)?;
    until(SERVED, || only(&console, &RAISED.to_string())).context("the epoch survives a reboot")?;
    wait_for_module(&console, NEW)?;
    let other = refusal(&console, &format!("update {SERVICE} {NEW}"))?;
    ensure!(other.code == "epoch", "the policy names {OLD} alone: {other}");
    let load = load::duplex_clients(&network, vm.endpoint(Proto::Tcp, ECHO)?, PLAN)?;
    load.wait_for_everyone(SERVED)?;
    let status = update_to(&console, OLD)?;
    only(&console, OLD)?;
    load.wait_for_everyone(SERVED)?;
    let tally = load.finish()?;
    tally.ensure_no_failure("two-way clients")?;
    ensure!(status.moved > 0 && status.lost == 0, "{}", status.summary());
    let log = console.command("log")?;
    ensure!(
        log.contains("the policy names it as a downgrade"),
        "the log does not say that it was meant: {log}"
    );
    context.note(format!("down to {OLD}: {}; {}", status.summary(), tally.summary()));
    power_off(&vm)?;

    let vm = context.boot(machine, Some(&network), &PORTS)?;
    wait_until_served(&vm, &network, SERVED)?;
    let console = vm.console()?;
    until(SERVED, || only(&console, OLD)).context("the downgrade survives a reboot")?;
    vm.check_alive()
}

/// A release like [`NEW`], of epoch 1.
fn put_raised(machine: &Machine) -> Result<()> {
    let image = machine.disks.first().context("this profile has no repository disk")?;
    let good = disk::get(image, &format!("{SERVICE}-{NEW}.hicmod"))?;
    let keys = machine.archive.as_deref().and_then(Path::parent).context("a boot archive")?.join(KEYS);
    let own = Chain::load(&keys).context("the development chain")?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let raised = forge::other_version(&good, &own, now, RAISED, |manifest| manifest.epoch = 1)?;
    disk::put(image, &format!("{SERVICE}-{RAISED}.hicmod"), &raised)
}

/// Gives the machine a boot archive whose policy names the downgrade to [`OLD`].
fn permit(context: &TestContext, machine: &mut Machine) -> Result<()> {
    let text = std::fs::read_to_string(workspace::root().join("qemu/policy.toml"))?;
    let named = format!("[module.{SERVICE}]\n");
    ensure!(text.contains(&named), "qemu/policy.toml does not name {SERVICE}");
    let text = text.replace(&named, &format!("{named}downgrade = [\"{OLD}\"]\n"));
    let policy = toml::from_str::<Rules>(&text)?.encode().map_err(|error| anyhow!("{error}"))?;
    let archive = machine.archive.clone().context("a boot archive")?;
    let bytes = std::fs::read(&archive)?;
    let parsed = Archive::parse(&bytes).map_err(|error| anyhow!("{error}"))?;
    let mut files = Vec::new();
    for entry in parsed.iter() {
        let old = entry.bytes().map_err(|error| anyhow!("{error}"))?;
        files.push((entry.name, if entry.name == POLICY { &policy[..] } else { old }));
    }
    let archive = hicmod_tool::archive(&files).map_err(|error| anyhow!("{error}"))?;
    context.boot_archive(machine, &archive)
}
