//! A release of a new epoch, and the way back from it: refused, refused as a rollback, too, and permitted once the policy names it. Then it is a rolling
//! update like any other. The same for a release that was tested with no other. What a release says of its health checks is done.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use hic_hicmod::Archive;
use hic_hicmod::manifest::{Health, Manifest, Version};
use hic_policy::{POLICY, Rules};

use super::forge::{self, Chain};
use super::install::power_off;
use super::service::{until, wait_until_served};
use super::updating::{NEW, OLD, SERVICE, ask, only, refusal, update_to, wait_for_module};
use super::{ECHO, PORTS};
use crate::load::{self, DuplexPlan};
use crate::net::Network;
use crate::qemu::{Machine, Proto};
use crate::runner::TestContext;
use crate::vm::Console;
use crate::{disk, workspace};

/// The release that raises the epoch.
const RAISED: Version = Version::new(1, 3, 9);
/// A release that was tested with no other.
const UNTESTED: Version = Version::new(1, 3, 8);
/// Health checks in a row that [`RAISED`] wants, and the time between two of them (`validate_period` of `libs/update/src/request.rs`).
const CHECKS: u8 = 8;
const PERIOD: Duration = Duration::from_millis(200);
/// Time after boot within which the services must answer.
const SERVED: Duration = Duration::from_secs(120);

const PLAN: DuplexPlan = DuplexPlan { clients: 10, ..DuplexPlan::USUAL };

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let network = Network::best()?;
    let mut machine = context.machine()?;
    put_like_new(&machine, RAISED, |manifest| {
        manifest.epoch = 1;
        manifest.health = Some(Health { every_ms: 100, checks: CHECKS });
    })
    .context("the release of the new epoch")?;
    put_like_new(&machine, UNTESTED, |manifest| {
        manifest.epoch = 1;
        manifest.update.iter_mut().for_each(|update| update.tested_with.clear());
    })
    .context("the release that nobody tested")?;

    let vm = context.boot(machine.clone(), Some(&network), &PORTS)?;
    let console = vm.console()?;
    wait_until_served(&vm, &network, SERVED)?;
    wait_for_module(&console, &RAISED.to_string())?;
    let untested = refusal(&console, &format!("update {SERVICE} {UNTESTED}"))?;
    ensure!(untested.code == "untested-pair", "{untested}");
    update_to(&console, &RAISED.to_string())?;
    let validated = step(&console, "validate")?;
    let least = PERIOD * (u32::from(CHECKS) - 1);
    ensure!(validated >= least, "{CHECKS} health checks in {validated:?}");
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
    wait_for_module(&console, &UNTESTED.to_string())?;
    update_to(&console, &UNTESTED.to_string()).context("the policy permits untested pairs")?;
    vm.check_alive()
}

/// Puts a release like [`NEW`] with a changed manifest on the disk.
fn put_like_new(machine: &Machine, version: Version, change: impl Fn(&mut Manifest)) -> Result<()> {
    let image = machine.disks.first().context("this profile has no repository disk")?;
    let good = disk::get(image, &format!("{SERVICE}-{NEW}.hicmod"))?;
    let own = Chain::development(machine)?;
    let module = forge::other_version(&good, &own, version, change)?;
    disk::put(image, &format!("{SERVICE}-{version}.hicmod"), &module)
}

/// How long a step of the last update took, by its report.
fn step(console: &Console<'_>, name: &str) -> Result<Duration> {
    let report = ask(console, "update status")?;
    let lines = report["lines"].as_array().with_context(|| format!("no report in {report}"))?;
    let took = |line: &str| {
        let (_, took) = line.split_once(&format!("{name}: "))?;
        Some(Duration::from_secs_f64(took.strip_suffix(" ms")?.parse::<f64>().ok()? / 1000.0))
    };
    let found = lines.iter().filter_map(|line| line.as_str()).find_map(took);
    found.with_context(|| format!("no step {name} in {report}"))
}

/// Gives the machine a boot archive whose policy names the downgrade to [`OLD`], and permits pairs that nobody tested.
fn permit(context: &TestContext, machine: &mut Machine) -> Result<()> {
    let text = std::fs::read_to_string(workspace::root().join("qemu/policy.toml"))?;
    let named = format!("[module.{SERVICE}]\n");
    ensure!(text.contains(&named), "qemu/policy.toml does not name {SERVICE}");
    let text = text.replace(&named, &format!("{named}downgrade = [\"{OLD}\"]\nuntested = true\n"));
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
