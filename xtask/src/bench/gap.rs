//! What clients notice of an update: numbered requests over a tap while the network stack is replaced and put back.
//!
//! The load is the one with which Linux's hand-over of sockets was measured: connections that each send small numbered requests. Times are
//! the host's, so they stand beside those of the same clients without an update in the same run. Nobody types at the console
//! meanwhile: its answers take processor time, too. Requests of moments in which the host itself had no processors are left out on both sides.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hic_tests::load::{self, Latencies, OpenLoopPlan, Tally};
use hic_tests::net::Network;
use hic_tests::qemu::{Machine, Proto};
use hic_tests::steal::StealWatch;
use hic_tests::vm::{Console, Vm, VmOptions};
use serde_json::Value;

use super::update::{LIMIT, PORT, ask, lines, step, wait};
use super::{Figure, median};

/// A move takes a minute or more, and the console's answers take processor time, so it is seldom asked.
const LOOK: Duration = Duration::from_secs(30);
/// Without an update: so long before the way there, and again after the way back. A host is not the same all the time, and what a move is compared
/// with is to be on both sides of it.
const QUIET: Duration = Duration::from_secs(30);
/// A thousand requests a second, one each millisecond.
const PLAN: OpenLoopPlan = OpenLoopPlan {
    clients: 200,
    pace: Duration::from_millis(5),
    period: Duration::from_millis(200),
    size: 64,
};
/// There and back so often. The first time runs code that the emulator has not translated yet.
const ROUNDS: usize = 3;
/// Of fewer requests the slowest hundredth says nothing.
const FEWEST: usize = 2000;
/// What an update does until its rollback window begins.
const THERE: [&str; 7] = ["check", "create", "warm up", "migrate", "switch", "move the rest", "validate"];
/// What a rollback does.
const BACK: [&str; 5] = ["turn back", "migrate back", "switch back", "move the rest back", "undo"];

/// Names of the figures.
pub const NAMES: [&str; 5] = [
    "client_p99_quiet",
    "client_p99_update",
    "client_longest_quiet",
    "client_longest_update",
    "client_p99_ratio",
];

/// Boots over a tap, or over user networking where there is none, and moves the clients' connections.
pub fn measure(machine: Machine, folder: &Path) -> Result<Vec<Figure>> {
    let network = Network::best()?;
    let ports = vec![(Proto::Tcp, PORT)];
    let options = VmOptions { machine, ports, log_dir: folder.to_owned(), tag: "gap".to_owned() };
    let vm = Vm::boot(options, Some(&network))?;
    vm.wait_for("hic> ", LIMIT)?;
    let console = vm.console()?;
    wait(&console, "modules", LOOK, |modules| modules["reading"] == false)?;
    let mut moves = Vec::new();
    for _ in 0..ROUNDS {
        // New ones each time: after five minutes they would count as persistent, and move one by one.
        let load = load::open_loop_clients(&network, vm.endpoint(Proto::Tcp, PORT)?, PLAN)?;
        load.wait_for_connections(PLAN.clients.into(), LIMIT)?;
        let steal = StealWatch::start()?;
        let times = there_and_back(&console)?;
        let tally = load.finish()?;
        tally.ensure_no_failure("clients")?;
        let steal = steal.finish()?;
        let (all_quiet, all) = times.seen(&tally, |_| true);
        let (quiet, seen) = times.seen(&tally, |asked| steal.had_processors(asked));
        let is_in_time = is_in_time(&quiet);
        for (moved, all) in seen.into_iter().zip(&all) {
            println!("bench move of {} clients: {}", PLAN.clients, moved.beside(&quiet));
            println!("bench with what the host took time from: {}", all.beside(&all_quiet));
            if is_in_time && has_enough(&quiet, &moved) {
                moves.push((quiet.clone(), moved));
            }
        }
    }
    figures(&moves, network.describe())
}

/// Whether the guest kept up with its clients: of a hundred requests no more than one was still unanswered when that client's next one was
/// due. If it did not, the requests' times are those of a queue, and say nothing about a move.
fn is_in_time(quiet: &Latencies) -> bool {
    let seen = quiet.percentile(99);
    let in_time = seen < PLAN.period;
    if !in_time {
        println!(
            "bench: these moves do not count: p99 is {seen:.1?} without an update, and a client asks again after {:?}, so the guest has \
             more to do than it can on this host",
            PLAN.period
        );
    }
    in_time
}

/// Whether the host had its processors for long enough.
fn has_enough(quiet: &Latencies, moved: &Latencies) -> bool {
    let enough = quiet.count().min(moved.count()) >= FEWEST;
    if !enough {
        println!(
            "bench: this move does not count: the host's processors were taken from it (steal time) for all but a moment"
        );
    }
    enough
}

/// When it was what for the clients of two moves.
struct Times {
    /// Without an update: before the first and after the second.
    quiet: [[Instant; 2]; 2],
    moves: [[Instant; 2]; 2],
}

impl Times {
    /// What clients saw without an update and in each move. Asked for when the clients are through: what is not answered yet is not counted.
    fn seen(&self, tally: &Tally, counts: impl Fn(Instant) -> bool) -> (Latencies, [Latencies; 2]) {
        let seen = |[from, to]: [Instant; 2]| tally.latencies_of(from, to, &counts);
        let [before, after] = self.quiet.map(seen);
        (before.with(after), self.moves.map(seen))
    }
}

/// Moves all there and back. The report of both is whole when the second one is over.
fn there_and_back(console: &Console<'_>) -> Result<Times> {
    let before = quiet();
    let there = Instant::now();
    ask(console, "update netstack 1.3.0 watch=300")?;
    let over = |status: &Value| status["running"] == false;
    wait(console, "update status", LOOK, |status| status["step"] == "watch" || over(status))?;
    let back = Instant::now();
    ask(console, "rollback netstack")?;
    let status = wait(console, "update status", LOOK, over)?;
    ensure!(status["outcome"] == "rolled-back" && status["lost"] == 0, "it ended otherwise: {status}");
    let after = quiet();
    let report = lines(&status)?;
    let moved = |began: Instant, steps: &[&str]| {
        let took = steps.iter().map(|name| step(&report, name)).sum::<Result<u64>>()?;
        anyhow::Ok([began, began + Duration::from_nanos(took)])
    };
    Ok(Times { quiet: [before, after], moves: [moved(there, &THERE)?, moved(back, &BACK)?] })
}

/// From now on for [`QUIET`].
fn quiet() -> [Instant; 2] {
    let began = Instant::now();
    std::thread::sleep(QUIET);
    [began, Instant::now()]
}

/// Medians over the moves. The ratio is that of each move to the time just before and after the two it belongs to.
fn figures(moves: &[(Latencies, Latencies)], network: &str) -> Result<Vec<Figure>> {
    let millis = |time: Duration| time.as_secs_f64() * 1000.0;
    let p99 = |seen: &Latencies| millis(seen.percentile(99));
    let longest = |seen: &Latencies| millis(seen.longest());
    let of = |value: &dyn Fn(&Latencies, &Latencies) -> f64| {
        let values = moves.iter().map(|(quiet, moved)| value(quiet, moved)).collect();
        median(values).context(
            "nothing was moved while the guest kept up with its clients: a quieter or faster host is needed",
        )
    };
    let values = [
        of(&|quiet, _| p99(quiet))?,
        of(&|_, moved| p99(moved))?,
        of(&|quiet, _| longest(quiet))?,
        of(&|_, moved| longest(moved))?,
        of(&|quiet, moved| 100.0 * p99(moved) / p99(quiet))?,
    ];
    let count = moves.len();
    let time = format!("ms, median of {count} moves over {network}, this host, this run");
    let ratio = format!("% of the quiet p99 around the same move, median of {count} moves");
    let units = [&time, &time, &time, &time, &ratio];
    NAMES
        .iter()
        .zip(units)
        .zip(values)
        .map(|((name, unit), value)| Figure::rounded(name, unit, value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_is_late_without_a_move_says_nothing_about_it() {
        let seen = |late: usize| {
            let time = |number| if number < late { PLAN.period } else { Duration::from_millis(1) };
            (0..100).map(time).collect::<Latencies>()
        };
        assert!(is_in_time(&seen(0)) && is_in_time(&seen(1)) && !is_in_time(&seen(2)));
    }

    #[test]
    fn a_move_of_which_a_moment_is_left_does_not_count() {
        let seen = |count| (0..count).map(|_| Duration::from_millis(1)).collect::<Latencies>();
        let (few, enough) = (seen(FEWEST - 1), seen(FEWEST));
        assert!(has_enough(&enough, &enough) && !has_enough(&few, &enough) && !has_enough(&enough, &few));
    }

    #[test]
    fn figures_are_medians_over_the_moves() {
        let seen = |millis: &[u64]| millis.iter().map(|ms| Duration::from_millis(*ms)).collect::<Latencies>();
        let moves = [10, 30, 20].map(|ms| (seen(&[1, 2]), seen(&[1, ms])));
        let figures = figures(&moves, "a wire").expect("figures");
        let values: Vec<f64> = figures.iter().filter_map(|figure| figure.value.as_f64()).collect();
        assert_eq!(values, [2.0, 20.0, 2.0, 20.0, 1000.0]);
        assert!(super::figures(&[], "a wire").is_err());
    }
}
