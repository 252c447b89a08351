//! What an update would do, told and not done; what has to change first, named, and then changed; what the policy denies, denied.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hic_hicmod::manifest::{Authority, Dependency, Manifest, Requirement, Span, Version};
use serde_json::Value;

use super::driver_update::runs;
use super::forge::{self, Chain};
use super::install::done;
use super::service::{until, wait_until_served};
use super::updating::{NEW, OLD, SERVICE, ask, only, refusal, wait_for_module, wait_for_repository};
use super::{ECHO, PORTS};
use crate::disk;
use crate::load::{self, DuplexPlan};
use crate::net::Network;
use crate::qemu::Proto;
use crate::runner::TestContext;
use crate::vm::{Console, Vm};

/// Connections that carry data both ways while plans are carried out.
const PLAN: DuplexPlan = DuplexPlan { clients: 10, ..DuplexPlan::USUAL };
/// Time after boot within which the services must answer.
const SERVED: Duration = Duration::from_secs(120);
/// Needs a newer driver, and asks for authority that no stack has.
const AHEAD: Version = Version::new(1, 4, 0);
/// Needs it, too, and dies as soon as it is started.
const BROKEN: Version = Version::new(1, 4, 2);
/// What the broken one is made of.
const FAULTY: &str = "1.3.1";
/// Like [`BROKEN`], but what it needs first is a module that ends and starts anew, and of a new epoch.
const BROKEN_AFTER: Version = Version::new(1, 4, 3);
/// That module, which nothing can be moved of.
const OTHER: &str = "example_guestbook";
const OTHER_RAISED: Version = Version::new(1, 1, 0);
/// Asks for more memory than there is.
const OTHER_GREEDY: Version = Version::new(1, 2, 0);
/// Made for another kernel.
const FOREIGN: Version = Version::new(1, 4, 1);
const DRIVER: Version = Version::new(1, 2, 0);
/// The driver in the boot archive.
const DRIVER_BEFORE: &str = "0.1.0";

type Made = (String, Result<Vec<u8>>);

fn forged([good, faulty, other]: [&[u8]; 3], own: &Chain) -> Vec<Made> {
    let make_of = |from: &[u8], name: &str, version, change: &dyn Fn(&mut Manifest)| {
        let bytes = forge::other_version(from, own, version, |manifest| {
            manifest.name = name.parse().unwrap_or_default();
            change(manifest);
        });
        (format!("{name}-{version}.hicmod"), bytes)
    };
    let make = |name: &str, version, change: &dyn Fn(&mut Manifest)| make_of(good, name, version, change);
    let broken = make_of(faulty, SERVICE, BROKEN, &|manifest| {
        manifest.dependencies = dependency("eth_driver", DRIVER).into_iter().collect();
    });
    let ahead = make(SERVICE, AHEAD, &|manifest| {
        manifest.dependencies = dependency("eth_driver", DRIVER).into_iter().collect();
        let _ = manifest.authority.push(Authority::Audit);
        let _ = manifest.optional_authority.push(Authority::Audit);
    });
    let foreign = make(SERVICE, FOREIGN, &|manifest| manifest.abi = Span::only(99));
    let greedy = make("greedy", Version::new(1, 0, 0), &|manifest| {
        manifest.order = 7;
        manifest.priority = 1;
        (manifest.dependencies, manifest.update, manifest.state_regions) = Default::default();
        manifest.provides = [manifest.name.clone()].into_iter().collect();
        manifest.interfaces = Default::default();
        manifest.authority = [Authority::Clock, Authority::Power].into_iter().collect();
        (manifest.heap_pages, manifest.account_pages) = (16, 16);
    });
    let broken_after = make_of(faulty, SERVICE, BROKEN_AFTER, &|manifest| {
        manifest.dependencies = dependency(OTHER, OTHER_RAISED).into_iter().collect();
    });
    let raised = make_of(other, OTHER, OTHER_RAISED, &|manifest| manifest.epoch = 1);
    vec![ahead, broken, foreign, greedy, broken_after, raised]
}

pub(super) fn dependency(module: &str, from: Version) -> Option<Dependency> {
    Some(Dependency { module: module.parse().ok()?, version: Requirement::new(from, None)? })
}

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let network = Network::best()?;
    let machine = context.machine()?;
    let image = machine.disks.first().context("this profile has no repository disk")?;
    let good = disk::get(image, &format!("{SERVICE}-{NEW}.hicmod"))?;
    let other = forge::archived(&machine, OTHER)?;
    let own = Chain::development(&machine)?;
    let faulty = disk::get(image, &format!("{SERVICE}-{FAULTY}.hicmod"))?;
    // A plan takes the newest that will do, and these two are faulty.
    for version in ["1.2.1", "1.2.2"] {
        disk::remove(image, &format!("eth_driver-{version}.hicmod"))?;
    }
    for (file, bytes) in forged([&good, &faulty, &other], &own) {
        disk::put(image, &file, &bytes.context(file.clone())?)?;
    }
    let greedy = forge::other_version(&other, &own, OTHER_GREEDY, |manifest| {
        (manifest.epoch, manifest.heap_pages) = (1, 65_536);
    })?;
    let vm = context.boot(machine.clone(), Some(&network), &PORTS)?;
    let console = vm.console()?;
    wait_until_served(&vm, &network, SERVED)?;
    wait_for_repository(&console)?;
    wait_for_module(&console, NEW)?;
    let before = running(&console)?;

    straight(&console).context("an update that needs nothing else")?;
    ahead(&console).context("an update that needs another one first")?;
    refused(&vm, &console)?;
    ensure!(running(&console)? == before, "a plan or a refusal changed what runs");
    context
        .note("plans told, nothing changed; what must come first and what the policy denies is named".into());
    let load = load::duplex_clients(&network, vm.endpoint(Proto::Tcp, ECHO)?, PLAN)?;
    load.wait_for_everyone(SERVED)?;
    broken(&console).context("a plan whose last step fails")?;
    broken_after(&console).context("a plan whose last step fails after an end and start")?;
    disk::put(image, &format!("{OTHER}-{OTHER_GREEDY}.hicmod"), &greedy)?;
    fails_at_once(&console).context("a plan whose first step fails at once")?;
    carried_out(&console).context("a plan of two steps")?;
    load.wait_for_everyone(SERVED)?;
    let tally = load.finish()?;
    tally.ensure_no_failure("two-way clients")?;
    context.note(format!("a plan of two steps was made, and one went back; {}", tally.summary()));
    vm.check_alive()
}

/// Which versions run, and how often each was started.
fn running(console: &Console<'_>) -> Result<Value> {
    Ok(ask(console, "services")?["services"].take())
}

fn plan(console: &Console<'_>, module: &str) -> Result<Vec<String>> {
    let document = ask(console, &format!("update {module} --plan"))?;
    ensure!(document["done"] == true, "{document}");
    let lines = document["lines"].as_array().with_context(|| format!("no lines in {document}"))?;
    Ok(lines.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn says(lines: &[String], wanted: &[&str]) -> Result<()> {
    let mut rest = lines.iter();
    for wanted in wanted {
        ensure!(
            rest.any(|line| line.contains(wanted)),
            "the plan does not say {wanted:?} in its place: {lines:#?}"
        );
    }
    Ok(())
}

fn straight(console: &Console<'_>) -> Result<()> {
    let lines = plan(console, &format!("{SERVICE} {NEW}"))?;
    let step = format!("step 1 of 1: {SERVICE} {OLD} -> {NEW}");
    says(
        &lines,
        &[&step, "why: it was asked for", "how: rolling update", "needs: ipc_lib", "authority: as before"],
    )
}

fn ahead(console: &Console<'_>) -> Result<()> {
    let lines = plan(console, &format!("{SERVICE} {AHEAD}"))?;
    says(
        &lines,
        &[
            "step 1 of 2: eth_driver",
            "why: netstack 1.4.0 needs eth_driver >=1.2.0",
            "how: in place",
            "step 2 of 2: netstack 1.2.0 -> 1.4.0",
            "denied by the policy: authority audit; it works without",
        ],
    )?;
    Ok(())
}

/// The new driver works, the new stack does not: both are as before, and the operator reads why.
fn broken(console: &Console<'_>) -> Result<()> {
    let refused = refusal(console, &format!("update {SERVICE} {BROKEN} share=1000"))?;
    ensure!(refused.code == "instance-died", "{refused}");
    ensure!(refused.message.contains("eth_driver went back, too"), "{refused}");
    only(console, OLD)?;
    runs(console, DRIVER_BEFORE)
}

/// What ran before is good enough for the way back, though it is of an epoch that is over since the step that goes back.
fn broken_after(console: &Console<'_>) -> Result<()> {
    let refused = refusal(console, &format!("update {SERVICE} {BROKEN_AFTER} share=1000"))?;
    ensure!(refused.code == "instance-died", "{refused}");
    ensure!(refused.message.contains(&format!("{OTHER} went back, too")), "{refused}");
    only(console, OLD).map(drop)
}

/// Of a module that came to the disk just now, so the plan begins when the disk was read. Its end is told once.
fn fails_at_once(console: &Console<'_>) -> Result<()> {
    let refused = refusal(console, &format!("update {OTHER} {OTHER_GREEDY}"))?;
    let log = console.command("log")?;
    let told = log.lines().filter(|line| line.contains(&format!("failed: {}: ", refused.code))).count();
    ensure!(told == 1, "the end of the step is told {told} times: {log}");
    Ok(())
}

fn carried_out(console: &Console<'_>) -> Result<()> {
    let lines = done(console, &format!("update {SERVICE} {AHEAD} watch=0 share=1000"))?;
    says(
        &lines,
        &[
            "step 1 of 2: eth_driver 0.1.0 -> 1.2.0: in place",
            "eth_driver 1.2.0 serves",
            "step 2 of 2: netstack 1.2.0 -> 1.4.0: rolling update",
            "netstack 1.4.0: denied by the policy: authority audit; it works without",
            "step 9/9",
        ],
    )?;
    only(console, &AHEAD.to_string())?;
    runs(console, &DRIVER.to_string())?;
    let denied = "authority audit; it works without";
    let described = ask(console, &format!("modules {SERVICE} {AHEAD}"))?;
    let facts = described["modules"][0]["facts"].as_array().context("no facts of a module in memory")?;
    for (what, text) in [("parts", "tcp 1.3.0"), ("granted", "entropy"), ("denied", denied)] {
        let told = facts.iter().any(|fact| fact["what"] == what && fact["text"].to_string().contains(text));
        ensure!(told, "`modules {SERVICE} {AHEAD}` does not say {what}: {text}: {described}");
    }
    // By the name of the service: the sandbox that serves since the update has another one.
    let caps = ask(console, &format!("caps {SERVICE}"))?;
    ensure!(caps["denied"][0] == denied, "`caps` does not say what was denied: {}", caps["denied"]);
    Ok(())
}

fn refused(vm: &Vm, console: &Console<'_>) -> Result<()> {
    let foreign = refusal(console, &format!("update {SERVICE} {FOREIGN}"))?;
    ensure!(foreign.code == "abi" && foreign.message.contains("99"), "{foreign}");
    let lines = plan(console, "greedy 1.0.0")?;
    says(
        &lines,
        &[
            "greedy new -> 1.0.0",
            "+ clock",
            "authority power; it does not start without",
            "port to eth_driver",
        ],
    )?;
    let greedy = refusal(console, "install greedy 1.0.0")?;
    ensure!(greedy.code == "policy" && greedy.message.contains("authority power"), "{greedy}");
    until(SERVED, || {
        let audit = ask(console, "audit")?.to_string();
        ensure!(audit.contains("denied greedy"), "no note of what was denied: {audit}");
        Ok(())
    })?;
    only(console, OLD)?;
    vm.check_alive()
}
