//! An update while somebody dies at his k-th system call: whoever it is and whatever he was doing, one whole version serves
//! afterwards and no connection is lost.
//!
//! How many points each victim is killed at is a parameter ([`super::POINTS`]), so that the sweep of `cargo xtask soak` is the same test.

mod points;
mod step;
mod victim;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::service::{until, wait_until_served};
use super::updating::{NEW, OLD, Status, Update, ask, only, wait_for_module};
use super::{ECHO, PORTS};
use crate::load::{self, DuplexPlan, Load};
use crate::net::Network;
use crate::qemu::Proto;
use crate::runner::TestContext;
use crate::text;
use crate::vm::{Console, Vm};
use points::Points;
use victim::Victim;

/// At so many points each victim is killed, unless more are asked for.
const USUAL: usize = 100;

/// Rollback window, seconds: victims die in it, too, and at the commit that ends it.
const WATCH_S: u32 = 2;

/// Who was killed must be back, and connections get on, within this time.
const BACK: Duration = Duration::from_secs(120);

/// Loads of short connections, and how often each of them makes one: so many that an Accept is under way at most points.
const CONNECTORS: usize = 4;
const INTERVAL: Duration = Duration::from_millis(20);

/// Lines of the guest's log that a failure shows.
const LOG_LINES: usize = 60;

/// Failures after which the sweep is given up: each costs a boot.
const MAX_FAILURES: usize = 3;

const PLAN: DuplexPlan = DuplexPlan { hold: Duration::from_millis(100), ..DuplexPlan::USUAL };

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let wanted = super::length(USUAL)?;
    let network = Network::best()?;
    context.note(format!("over {}, {wanted} points for each victim", network.describe()));
    let mut failures = Vec::new();
    let (mut guest, mut steps) = (None, BTreeSet::new());
    for victim in Victim::ALL {
        let mut points = Points::new(wanted);
        while !points.done() && failures.len() < MAX_FAILURES {
            let here = match &mut guest {
                Some(guest) => guest,
                empty => empty.insert(Guest::boot(context, &network)?),
            };
            if let Err(error) = here.sweep(&network, victim, &mut points) {
                println!("crash_anywhere: {error:#}\n{}", here.end_of_log());
                failures.push(format!("{error:#}"));
                // Whatever state it is in now, the next point shall begin in a good one, on the same network.
                guest = None;
            }
        }
        context.note(format!("{}: {}", victim.name(), points.summary()));
        ensure!(failures.len() < MAX_FAILURES, "given up:\n{}", failures.join("\n"));
        let enough = points.is_enough(victim.is_in_the_report() && wanted >= USUAL) || !failures.is_empty();
        ensure!(
            enough,
            "{}: {}: {wanted} were wanted, most of them told in the report",
            victim.name(),
            points.summary()
        );
        steps.extend(points.steps().map(str::to_owned));
    }
    if wanted >= USUAL {
        // Frozen connections, both sides of the transaction, and the commit.
        let missing: Vec<_> =
            ["migrate", "switch", "commit"].iter().filter(|step| !steps.contains(**step)).collect();
        ensure!(missing.is_empty(), "nobody died at {missing:?}: {steps:?}");
    }
    ensure!(failures.is_empty(), "{} points failed:\n{}", failures.len(), failures.join("\n"));
    match guest {
        Some(guest) => guest.end(context),
        None => Ok(()),
    }
}

/// A guest under load.
struct Guest {
    load: Load,
    connects: Vec<Load>,
    vm: Vm,
}

impl Guest {
    fn boot(context: &mut TestContext, network: &Network) -> Result<Self> {
        let vm = context.boot(context.machine()?, Some(network), &PORTS)?;
        let console = vm.console()?;
        wait_until_served(&vm, network, BACK)?;
        wait_for_module(&console, NEW)?;
        let echo = vm.endpoint(Proto::Tcp, ECHO)?;
        let load = load::duplex_clients(network, echo, PLAN)?;
        load.wait_for_connections(PLAN.clients.into(), BACK)?;
        let connects = (0..CONNECTORS).map(|_| load::steady_connects(network, echo, INTERVAL));
        let connects = connects.collect::<Result<Vec<Load>>>()?;
        load.wait_for_everyone(BACK)?;
        Ok(Self { load, connects, vm })
    }

    fn sweep(&self, network: &Network, victim: Victim, points: &mut Points) -> Result<()> {
        let console = self.vm.console()?;
        while let Some(calls) = points.next() {
            let started = Instant::now();
            let at = || format!("{} killed at its call {calls}", victim.name());
            let (status, hit, step) =
                self.one_point(&console, network, victim, calls).with_context(|| {
                    points.fail(calls);
                    at()
                })?;
            points.done_at(calls, hit, &status.outcome);
            step.into_iter().for_each(|step| points.told(step));
            let seconds = started.elapsed().as_secs_f64();
            let late = if hit { "" } else { "; the update ended before" };
            println!("crash_anywhere: {}: {} ({seconds:.1} s){late}", at(), status.summary());
        }
        Ok(())
    }

    /// An update to the new version with the victim's death on the way, and the way back to the old one.
    fn one_point(
        &self,
        console: &Console<'_>,
        network: &Network,
        victim: Victim,
        calls: u64,
    ) -> Result<(Status, bool, Option<String>)> {
        only(console, OLD)?;
        let seen = victim.look(console)?;
        let update = if victim.exists_beforehand() {
            victim.arm(console, calls)?;
            Update::insist(console, NEW, WATCH_S)?
        } else {
            let update = Update::insist(console, NEW, WATCH_S)?;
            victim.arm_when_it_exists(console, calls, BACK)?;
            update
        };
        let mut died = false;
        let status =
            update.ended_while(console, || died |= victim.restarted(console, &seen).unwrap_or(false))?;
        ensure!(["completed", "rolled-back"].contains(&status.outcome.as_str()), "{}", status.summary());
        ensure!(status.lost == 0, "{}", status.summary());
        let serving = if status.outcome == "completed" { NEW } else { OLD };
        until(BACK, || only(console, serving)).with_context(|| status.summary())?;
        let hit = until(BACK, || victim.was_hit(console, &seen, &status))? || died;
        let report = ask(console, "update status")?;
        let lines = report["lines"].as_array().with_context(|| format!("no report in {report}"))?;
        let lines: Vec<&str> = lines.iter().filter_map(|line| line.as_str()).collect();
        let step = step::of_death(victim, &lines).filter(|_| hit);
        self.everyone_gets_on(network).with_context(|| status.summary())?;
        if !hit {
            victim.defuse(console, BACK)?;
        }
        if status.outcome == "completed" {
            let back = Update::insist(console, OLD, 0)?.ended(console)?;
            ensure!(back.outcome == "completed" && back.lost == 0, "the way back: {}", back.summary());
        }
        until(BACK, || only(console, OLD))?;
        Ok((status, hit, step))
    }

    fn everyone_gets_on(&self, network: &Network) -> Result<()> {
        self.load.wait_for_everyone(BACK).context("two-way clients")?;
        for load in &self.connects {
            load.wait_for_everyone(BACK).context("steady connects")?;
        }
        let echo = self.vm.endpoint(Proto::Tcp, ECHO)?;
        network.run(move || load::echo_once(echo, 1000)).context("a new connection")?;
        self.vm.check_alive()
    }

    /// What the guest's log says in the end: what went wrong is said there, if somebody noticed.
    fn end_of_log(&self) -> String {
        let log = self.vm.console().and_then(|console| console.command("log"));
        log.map_or_else(|error| format!("no log: {error:#}"), |log| text::tail(&log, LOG_LINES))
    }

    fn end(self, context: &mut TestContext) -> Result<()> {
        let connects = self.connects.into_iter().map(|load| ("steady connects", load));
        for (who, load) in core::iter::once(("two-way clients", self.load)).chain(connects) {
            let tally = load.finish()?;
            context.note(format!("{who}: {}", tally.summary()));
            tally.ensure_no_failure(who)?;
        }
        self.vm.check_alive()
    }
}
