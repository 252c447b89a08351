//! Each service in turn is killed under load: only its own work stops, it comes back, and nothing leaks.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::service::{at_work, entry, healthy, until, wait_until_served};
use super::{ECHO, HTTP, PORTS, memory};
use crate::load::{self, EchoPlan};
use crate::net::Network;
use crate::qemu::Proto;
use crate::runner::TestContext;
use crate::vm::{Console, Vm};

/// Who is killed, in this order, and whether the echo connections live through it: all do but those of the application that
/// serves them, which ends with its own.
const VICTIMS: [(&str, bool); 12] = [
    ("web_server", true),
    ("example_guestbook", true),
    ("storage", true),
    ("vault", true),
    ("verifier", true),
    ("monitor", true),
    ("module-manager", true),
    ("console", true),
    ("fetcher", true),
    ("inetd", false),
    ("netstack", true),
    ("eth_driver", true),
];

/// A service must be back within this time.
const BACK: Duration = Duration::from_secs(60);

/// How long the load runs before and after each kill.
const LOAD: Duration = Duration::from_secs(3);

/// Memory must be back at its baseline within this time: a connection that the guest closed stays in TIME-WAIT first.
const BASELINE: Duration = Duration::from_secs(150);

const PLAN: EchoPlan = EchoPlan {
    clients: 20,
    pace: Duration::from_millis(5),
    pause: Duration::from_millis(50),
    sizes: &[16, 512, 1460, 4096],
    reconnect: true,
};

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let network = Network::best()?;
    context.note(format!("over {}", network.describe()));
    let vm = context.boot(context.machine()?, Some(&network), &PORTS)?;
    let console = vm.console()?;
    wait_until_served(&vm, &network, Duration::from_secs(120))?;
    warm_up(&vm, &network)?;
    for (victim, connections_live) in VICTIMS {
        let note = kill_one(&vm, &console, &network, victim, connections_live)
            .with_context(|| format!("kill {victim}"))?;
        context.note(note);
    }
    Ok(())
}

/// Brings the guest into the state that the baseline is taken in: what is allocated once and kept has been allocated.
pub(super) fn warm_up(vm: &Vm, network: &Network) -> Result<()> {
    let load = load::echo_clients(network, vm.endpoint(Proto::Tcp, ECHO)?, PLAN)?;
    std::thread::sleep(LOAD);
    load.finish()?.ensure_no_failure("warm-up")
}

pub(super) fn kill_one(
    vm: &Vm,
    console: &Console<'_>,
    network: &Network,
    victim: &str,
    connections_live: bool,
) -> Result<String> {
    let (echo, http) = (vm.endpoint(Proto::Tcp, ECHO)?, vm.endpoint(Proto::Tcp, HTTP)?);
    until(BASELINE, || quiet(console))?;
    let before = memory::settled(console)?;
    let entry_before = entry(console, victim)?;
    ensure!(at_work(&entry_before), "not at work beforehand: {entry_before}");
    let load = load::echo_clients(network, echo, PLAN)?;
    std::thread::sleep(LOAD);
    load.tally().ensure_no_failure("before the kill")?;

    let killed = Instant::now();
    let answer = console.command(&format!("kill {victim}"))?;
    ensure!(!answer.contains("error["), "{answer}");
    until(BACK, || back(console, victim, &entry_before))?;
    wait_until_served(vm, network, BACK)?;
    let gone_for = killed.elapsed();
    let messages = load.tally().messages();
    std::thread::sleep(LOAD);

    others_work(network, http)?;
    until(BACK, || {
        ensure!(load.tally().messages() > messages, "the echo clients do not get on any more");
        Ok(())
    })?;
    let tally = load.finish()?;
    if connections_live {
        tally.ensure_no_failure("echo clients, whose service was not killed")?;
    }
    let settled = memory::wait_for_baseline(console, &before, BASELINE)?;
    vm.check_alive()?;
    let seconds = gone_for.as_secs_f64();
    Ok(format!(
        "{victim}: served again after {seconds:.1} s, memory as before after {settled:.1?}; {}",
        tally.summary()
    ))
}

/// Whether the stack holds no connection: one that is still closing would make the baseline too high.
pub(super) fn quiet(console: &Console<'_>) -> Result<()> {
    let net = console.json("net --json")?;
    ensure!(net["connections"] == 0, "{} connections are still closing", net["connections"]);
    Ok(())
}

/// Whether the victim is at work again, as another instance.
fn back(console: &Console<'_>, victim: &str, before: &serde_json::Value) -> Result<()> {
    let now = entry(console, victim)?;
    ensure!(at_work(&now), "not at work: {now}");
    ensure!(now != *before, "`services` shows no sign of a restart: {now}");
    Ok(())
}

fn others_work(network: &Network, http: SocketAddr) -> Result<()> {
    network.run(move || healthy(http))
}
