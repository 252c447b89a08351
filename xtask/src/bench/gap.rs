//! What clients notice of an update: numbered requests over a tap while the network stack is replaced and put back.
//!
//! The load is the one with which Linux's hand-over of sockets was measured: connections that each send small numbered requests. Times are
//! the host's, so they stand beside those of the same clients without an update in the same run. Nobody types at the console
//! meanwhile: its answers take processor time, too.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hic_tests::load::{self, Latencies, Load, OpenLoopPlan};
use hic_tests::net::Network;
use hic_tests::qemu::{Machine, Proto};
use hic_tests::vm::{Console, Vm, VmOptions};

use super::Figure;
use super::update::{LIMIT, PORT, ask, lines, step, wait};

/// Longer than a move takes, so that the console is asked about it once.
const LOOK: Duration = Duration::from_secs(4);
/// As long again without an update, before each move.
const QUIET: Duration = Duration::from_secs(5);
/// A thousand requests a second, one each millisecond.
const PLAN: OpenLoopPlan = OpenLoopPlan {
    clients: 200,
    pace: Duration::from_millis(5),
    period: Duration::from_millis(200),
    size: 64,
};
/// There and back so often. The first time runs code that the emulator has not translated yet.
const ROUNDS: usize = 3;
/// What an update does until its rollback window begins.
const THERE: [&str; 7] = ["check", "create", "warm up", "migrate", "switch", "move the rest", "validate"];
/// What a rollback does.
const BACK: [&str; 5] = ["turn back", "migrate back", "switch back", "move the rest back", "undo"];

/// Names of the figures.
pub const NAMES: [&str; 4] =
    ["client_p99_quiet", "client_p99_update", "client_longest_quiet", "client_longest_update"];

/// Boots over a tap, or over user networking where there is none, and moves the clients' connections.
pub fn measure(machine: Machine, folder: &Path) -> Result<Vec<Figure>> {
    let network = Network::best()?;
    let ports = vec![(Proto::Tcp, PORT)];
    let options = VmOptions { machine, ports, log_dir: folder.to_owned(), tag: "gap".to_owned() };
    let vm = Vm::boot(options, Some(&network))?;
    vm.wait_for("hic> ", LIMIT)?;
    let console = vm.console()?;
    wait(&console, "modules", LOOK, |modules| modules["reading"] == false)?;
    let load = load::open_loop_clients(&network, vm.endpoint(Proto::Tcp, PORT)?, PLAN)?;
    load.wait_for_connections(PLAN.clients.into(), LIMIT)?;
    let mut moves = Vec::new();
    for _ in 0..ROUNDS {
        moves.extend(there_and_back(&console, &load)?);
    }
    for (number, (quiet, moved)) in moves.iter().enumerate() {
        println!("bench move {number} of {} clients: {}", PLAN.clients, moved.beside(quiet));
    }
    load.finish()?.ensure_no_failure("clients")?;
    figures(&moves, network.describe())
}

/// What clients saw in as long a time before each of two moves, and in it. The report of both is whole when the second one is over.
fn there_and_back(console: &Console<'_>, load: &Load) -> Result<[(Latencies, Latencies); 2]> {
    std::thread::sleep(QUIET);
    let there = Instant::now();
    ask(console, "update netstack 1.3.0 watch=300")?;
    wait(console, "update status", LOOK, |status| status["step"] == "watch")?;
    std::thread::sleep(QUIET);
    let back = Instant::now();
    ask(console, "rollback netstack")?;
    let status = wait(console, "update status", LOOK, |status| status["running"] == false)?;
    ensure!(status["outcome"] == "rolled-back" && status["lost"] == 0, "it ended otherwise: {status}");
    let report = lines(&status)?;
    let seen = |began: Instant, steps: &[&str]| {
        let took = steps.iter().map(|name| step(&report, name)).sum::<Result<u64>>()?;
        let took = Duration::from_nanos(took);
        let before = began.checked_sub(took).context("the clock began a moment ago")?;
        anyhow::Ok((load.tally().latencies(before, began), load.tally().latencies(began, began + took)))
    };
    Ok([seen(there, &THERE)?, seen(back, &BACK)?])
}

/// Medians over the moves.
fn figures(moves: &[(Latencies, Latencies)], network: &str) -> Result<Vec<Figure>> {
    let median = |value: &dyn Fn(&(Latencies, Latencies)) -> Duration| {
        let mut values: Vec<Duration> = moves.iter().map(value).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().context("nothing was moved")
    };
    let times = [
        median(&|(quiet, _)| quiet.percentile(99))?,
        median(&|(_, moved)| moved.percentile(99))?,
        median(&|(quiet, _)| quiet.longest())?,
        median(&|(_, moved)| moved.longest())?,
    ];
    let unit = format!("ms, median of {} moves over {network}, this host, this run", moves.len());
    NAMES
        .iter()
        .zip(times)
        .map(|(name, time)| Figure::rounded(name, &unit, time.as_secs_f64() * 1000.0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_medians_over_the_moves() {
        let seen = |millis: &[u64]| millis.iter().map(|ms| Duration::from_millis(*ms)).collect::<Latencies>();
        let moves = [10, 30, 20].map(|ms| (seen(&[1, 2]), seen(&[1, ms])));
        let figures = figures(&moves, "a wire").expect("figures");
        let values: Vec<f64> = figures.iter().filter_map(|figure| figure.value.as_f64()).collect();
        assert_eq!(values, [2.0, 20.0, 2.0, 20.0]);
        assert!(super::figures(&[], "a wire").is_err());
    }
}
