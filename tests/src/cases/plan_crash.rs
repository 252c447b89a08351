//! The module manager dies at its k-th system call in the middle of a plan of two steps: a plan that was begun comes to the end that it would have
//! had, and connections go on throughout. After a power cut in the middle of one, the versions that a boot starts fit together.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use hic_hicmod::manifest::{Dependency, Requirement, Version};
use serde_json::Value;
use std::path::Path;

use super::forge::{self, Chain};
use super::service::{entry, until, wait_until_served};
use super::updating::{NEW, OLD, SERVICE, ask, instances, update_to, wait_for_module, wait_for_repository};
use super::{ECHO, PORTS};
use crate::disk;
use crate::load::{self, DuplexPlan, Load};
use crate::net::Network;
use crate::qemu::{Machine, Proto};
use crate::runner::TestContext;
use crate::vm::{Console, Vm};

/// Connections that carry data both ways meanwhile.
const PLAN: DuplexPlan = DuplexPlan { clients: 10, ..DuplexPlan::USUAL };
/// Time after boot within which the services must answer, and after a death within which the manager must be back and done.
const SERVED: Duration = Duration::from_secs(120);
/// What the new stacks depend on, and what it is before and after.
const OTHER: &str = "example_guestbook";
const OTHER_OLD: &str = "1.0.0";
const OTHER_NEW: Version = Version::new(1, 1, 0);
/// A stack that works, one that dies as soon as it is started, and what the latter is made of.
const GOOD: Version = Version::new(1, 4, 0);
const BROKEN: Version = Version::new(1, 4, 2);
const FAULTY: &str = "1.3.1";
/// At so many points the manager dies, unless more are asked for.
const USUAL: usize = 8;
/// The points are spread over so many system calls of the manager: what a plan takes that is made.
const CALLS: usize = 900;

/// A point takes at least so long: the keeper resets the machine at the manager's eleventh death within ten seconds of the guest.
const PACE: Duration = Duration::from_millis(1200);

/// What runs: the other module and the stack.
type Pair = (String, String);

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let points = super::length(USUAL)?;
    let network = Network::best()?;
    let machine = context.machine()?;
    prepare(&machine)?;
    let vm = boot(context, &machine, &network)?;
    let console = vm.console()?;
    let load = load::duplex_clients(&network, vm.endpoint(Proto::Tcp, ECHO)?, PLAN)?;
    load.wait_for_everyone(SERVED)?;
    let sweep = Sweep { vm: &vm, console: &console, load: &load };
    let told = sweep.all(points)?;
    context.note(told);
    let tally = load.finish()?;
    tally.ensure_no_failure("two-way clients")?;
    context.note(tally.summary());
    let vm =
        power_cut(context, vm, &machine, &network, "step 1 of 2").context("a power cut in the first step")?;
    let vm = power_cut(context, vm, &machine, &network, "step 2 of 2")
        .context("a power cut in the second step")?;
    finish(&vm, context)
}

/// Puts the modules of the plans on the disk.
fn prepare(machine: &Machine) -> Result<()> {
    let image = machine.disks.first().context("this profile has no repository disk")?;
    let own = Chain::development(machine)?;
    let other = forge::archived(machine, OTHER)?;
    let stack = |from: &str, version| {
        let good = disk::get(image, &format!("{SERVICE}-{from}.hicmod"))?;
        forge::other_version(&good, &own, version, |manifest| {
            let needed = Requirement::new(OTHER_NEW, None);
            let needed =
                OTHER.parse().ok().zip(needed).map(|(module, version)| Dependency { module, version });
            manifest.dependencies = needed.into_iter().collect();
        })
    };
    put(image, OTHER, OTHER_NEW, &forge::other_version(&other, &own, OTHER_NEW, |_| ())?)?;
    put(image, SERVICE, GOOD, &stack(NEW, GOOD)?)?;
    put(image, SERVICE, BROKEN, &stack(FAULTY, BROKEN)?)
}

fn put(image: &Path, name: &str, version: Version, module: &[u8]) -> Result<()> {
    disk::put(image, &format!("{name}-{version}.hicmod"), module)
}

fn boot(context: &mut TestContext, machine: &Machine, network: &Network) -> Result<Vm> {
    let vm = context.boot(machine.clone(), Some(network), &PORTS)?;
    let console = vm.console()?;
    wait_until_served(&vm, network, SERVED)?;
    wait_for_module(&console, &GOOD.to_string())?;
    Ok(vm)
}

fn order(version: Version) -> String {
    format!("update {SERVICE} {version} watch=0 share=1000")
}

/// What runs, each alone and at work.
fn running(console: &Console<'_>) -> Result<Pair> {
    let version = |name| {
        let all = instances(console, name)?;
        match all.as_slice() {
            [one] if one.at_work => Ok(one.version.clone()),
            _ => Err(anyhow!("one {name} was to serve: {all:?}")),
        }
    };
    Ok((version(OTHER)?, version(SERVICE)?))
}

fn before() -> Pair {
    (OTHER_OLD.into(), OLD.into())
}

fn after() -> Pair {
    (OTHER_NEW.to_string(), GOOD.to_string())
}

/// Makes what runs what it was before.
fn put_back(console: &Console<'_>, (other, stack): &Pair) -> Result<()> {
    if stack != OLD {
        update_to(console, OLD)?;
    }
    if other != OTHER_OLD {
        ask(console, &format!("update {OTHER} {OTHER_OLD}"))?;
    }
    Ok(())
}

/// What came of one point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The plan was made, or went back, with the death on the way.
    Whole,
    /// The manager died before the plan was recorded: nothing was done.
    Nothing,
    /// The plan was over before.
    Late,
}

/// A guest under load in which plans are carried out.
struct Sweep<'g> {
    vm: &'g Vm,
    console: &'g Console<'g>,
    load: &'g Load,
}

impl Sweep<'_> {
    /// Every other death is in a plan whose last step fails, which leaves all as it was before.
    fn all(&self, points: usize) -> Result<String> {
        let (mut ends, mut resumed) = (Vec::new(), 0);
        for number in 0..points {
            let calls = 1 + number * CALLS / points.max(1);
            let version = if number % 2 == 0 { GOOD } else { BROKEN };
            let begun = Instant::now();
            let (end, told) = self
                .point(version, calls)
                .with_context(|| format!("{}: the manager dies at its call {calls}", order(version)))?;
            println!("plan_crash: {version}, call {calls}: {end:?}, resumed {told}");
            ends.push(end);
            resumed += usize::from(told);
            std::thread::sleep(PACE.saturating_sub(begun.elapsed()));
        }
        let count = |wanted| ends.iter().filter(|end| **end == wanted).count();
        let (whole, nothing, late) = (count(End::Whole), count(End::Nothing), count(End::Late));
        ensure!(whole > 0 && resumed > 0, "no death fell into a plan: {ends:?}");
        Ok(format!(
            "{points} deaths of the module manager: {whole} plans came to their end all the same, {resumed} of them were followed over it, {nothing} \
             were as if never asked for, {late} were over before"
        ))
    }

    fn restarts(&self) -> Result<u64> {
        entry(self.console, "module-manager")?["restarts"].as_u64().context("a number of restarts")
    }

    fn point(&self, version: Version, calls: usize) -> Result<(End, bool)> {
        ensure!(running(self.console)? == before(), "{:?}", running(self.console)?);
        let restarts = self.restarts()?;
        self.console.command(&format!("kill module-manager after={calls}"))?;
        // Whatever it answers: the manager may die before, over or after the order.
        let answer = self.console.json(&format!("{} --json", order(version)))?;
        self.wait_for_the_end(version)?;
        let died = self.restarts()? > restarts;
        if !died {
            self.console.command("kill module-manager")?;
            until(SERVED, || {
                ensure!(self.restarts()? > restarts, "the module manager is not back yet");
                Ok(())
            })?;
        }
        let now = until(SERVED, || running(self.console))?;
        self.load.wait_for_everyone(SERVED)?;
        self.vm.check_alive()?;
        let made = judge(version, &answer, &now)?;
        put_back(self.console, &now)?;
        let end = match (made, died) {
            (true, true) => End::Whole,
            (false, _) => End::Nothing,
            (true, false) => End::Late,
        };
        Ok((end, answer.to_string().contains("started again, and goes on")))
    }

    /// Waits until no task is under way: then a plan is told at once.
    fn wait_for_the_end(&self, version: Version) -> Result<()> {
        until(SERVED, || ask(self.console, &format!("update {SERVICE} {version} --plan")).map(drop))
    }
}

/// Whether the plan was made, or went back: what runs must be its end then. Otherwise nothing was done, and the console must not say that it was.
fn judge(version: Version, answer: &Value, now: &Pair) -> Result<bool> {
    let good = version == GOOD;
    let code = answer["error"]["code"].as_str().unwrap_or_default();
    let told = answer["error"]["message"].as_str().unwrap_or_default();
    if good && *now == after() {
        return Ok(true);
    }
    ensure!(*now == before(), "{now:?} runs; the answer was {answer}");
    ensure!(answer["done"] != true, "nothing was done: {answer}");
    let went_back = told.contains(&format!("{OTHER} went back, too"));
    ensure!(!good || !went_back, "a good plan went back: {answer}");
    ensure!(went_back || ["interrupted", "server-died", "timeout"].contains(&code), "{answer}");
    Ok(went_back)
}

/// Cuts the power when the whole plan is at this step, or later on a busy host. What the next boot starts fits together.
fn power_cut(
    context: &mut TestContext,
    vm: Vm,
    machine: &Machine,
    network: &Network,
    step: &str,
) -> Result<Vm> {
    let console = vm.console()?;
    let now = until(SERVED, || running(&console))?;
    // The cut before this one may have come when its step was done: then a plan would have one step less.
    put_back(&console, &now)?;
    let begun = console.type_line(&order(GOOD))?;
    let seen = vm.serial().wait(begun, SERVED, |seen| seen.contains(step).then_some(()));
    seen.with_context(|| format!("the plan did not come to {step}"))?;
    vm.killer().kill();
    drop(vm);
    let vm = boot(context, machine, network)?;
    let console = vm.console()?;
    let (other, stack) = until(SERVED, || running(&console))?;
    ensure!(
        stack == OLD || other == OTHER_NEW.to_string(),
        "{OTHER} {other} and {SERVICE} {stack} do not fit"
    );
    context.note(format!("power cut in {step}: a boot starts {OTHER} {other} and {SERVICE} {stack}"));
    Ok(vm)
}

/// The same order makes what is left of the plan.
fn finish(vm: &Vm, context: &mut TestContext) -> Result<()> {
    let console = vm.console()?;
    wait_for_repository(&console)?;
    if running(&console)? != after() {
        ask(&console, &order(GOOD))?;
    }
    let now = until(SERVED, || running(&console))?;
    ensure!(now == after(), "{now:?} runs");
    context.note("the same order makes the rest of the plan".into());
    vm.check_alive()
}
