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

/// Who is started again in order, afterwards.
const RESTARTS: [(&str, &str, bool); 2] = [("restart", "netstack", true), ("restart", "eth_driver", true)];

/// Datagrams of each round of UDP echo, by their bytes: one that fits a frame, one in fragments.
const DATAGRAMS: [usize; 3] = [1, 1400, 4000];
/// Pause between two rounds.
const ROUND: Duration = Duration::from_millis(50);

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
    let kills = VICTIMS.map(|(victim, connections_live)| ("kill", victim, connections_live));
    for (order, victim, connections_live) in kills.into_iter().chain(RESTARTS) {
        let note = end_one(&vm, &console, &network, (order, victim), connections_live)
            .with_context(|| format!("{order} {victim}"))?;
        context.note(note);
    }
    Ok(())
}

/// Brings the guest into the state that the baseline is taken in: what is allocated once and kept has been allocated.
pub(super) fn warm_up(vm: &Vm, network: &Network) -> Result<()> {
    let load = load::echo_clients(network, vm.endpoint(Proto::Tcp, ECHO)?, PLAN)?;
    std::thread::sleep(LOAD);
    load.finish()?.ensure_no_failure("warm-up")?;
    memory::settled(&vm.console()?).map(drop)
}

/// Ends a service by an order of the console, `kill` or `restart`, under load.
pub(super) fn end_one(
    vm: &Vm,
    console: &Console<'_>,
    network: &Network,
    (order, victim): (&str, &str),
    connections_live: bool,
) -> Result<String> {
    let udp = vm.endpoint(Proto::Udp, ECHO)?;
    let (echo, http) = (vm.endpoint(Proto::Tcp, ECHO)?, vm.endpoint(Proto::Tcp, HTTP)?);
    until(BASELINE, || quiet(console))?;
    let before = memory::look(console)?;
    let entry_before = entry(console, victim)?;
    ensure!(at_work(&entry_before), "not at work beforehand: {entry_before}");
    let load = load::echo_clients(network, echo, PLAN)?;
    let datagrams = load::in_rounds(network, ROUND, move |_| load::udp_echo(udp, &DATAGRAMS).map(drop))?;
    std::thread::sleep(LOAD);
    load.tally().ensure_no_failure("before the kill")?;
    datagrams.tally().ensure_no_failure("UDP before the kill")?;

    let killed = Instant::now();
    let answer = console.command(&format!("{order} {victim}"))?;
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
    let (tally, udp) = (load.finish()?, datagrams.finish()?);
    if connections_live {
        tally.ensure_no_failure("echo clients, whose service was not killed")?;
        udp.ensure_no_failure("UDP echo, whose service was not killed")?;
    }
    let settled = memory::wait_for_baseline(console, &before, BASELINE)?;
    vm.check_alive()?;
    let seconds = gone_for.as_secs_f64();
    Ok(format!(
        "{order} {victim}: served again after {seconds:.1} s, memory as before after {settled:.1?}; {}; {} rounds of UDP echo",
        tally.summary(),
        udp.messages()
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
