//! What the guest says of a freeze, held against the capture in both directions.
//!
//! Under the load of this test most connections are silent for a quarter of a second at any time: that the guest was silent for as long as it
//! says it froze them proves little. So, when the load is gone, the stack is moved a few times more under a few connections on which
//! something is under way at every moment. There the silence on the wire is the freeze and what the guest is silent for in quiet: some tens of
//! milliseconds where other work keeps the host's processors busy. So it bounds how much too little the guest can say, and how much too much.
//!
//! Every move has probes of its own, since the guest keeps only the longest freeze of each connection. All times are the capture's and the
//! guest's, which are one clock, and what is allowed follows from the silence just before, so the verdict does not depend on how fast the
//! host is.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::super::updating::{NEW, OLD, status, update_to};
use super::freezes::{Freezes, PER_CENT, QUEUED};
use super::{DISCARD, ECHO, SERVED};
use crate::load::{self, Latencies, OpenLoopPlan};
use crate::net::{Gaps, Network};
use crate::qemu::Proto;
use crate::vm::Vm;

/// The version to which each move goes; the last one is that of the baseline.
const MOVES: [&str; 3] = [OLD, NEW, OLD];

const PLAN: OpenLoopPlan =
    OpenLoopPlan { clients: 8, pace: Duration::from_millis(5), period: Duration::from_millis(2), size: 16 };

/// How long nothing is moved before a move, at least; longer if the move before it took longer.
const QUIET: Duration = Duration::from_secs(3);

/// As long as is between two questions that wait for the end of an update.
const LOOK: Duration = Duration::from_millis(100);

/// Marks from here on are these moves': three for each, where its quiet time begins, where the move begins, where it ends.
const FIRST_MARK: u16 = 100;
const MARKS: u16 = 3;

/// The silence in a move may exceed the freeze by twice the silence in quiet, since the move takes processor time, and by this.
const ALLOWED: Duration = Duration::from_millis(10);

/// One move, with what the guest said of the probes afterwards.
#[derive(Debug)]
struct Moved {
    quiet_mark: u16,
    took: Duration,
    probes: BTreeSet<u16>,
    freezes: Freezes,
}

/// All moves.
#[derive(Debug)]
pub(super) struct Probes(Vec<Moved>);

impl Probes {
    /// Moves the stack back and forth, and back to the old version.
    pub fn run(network: &Network, vm: &Vm) -> Result<Self> {
        let mut moves: Vec<Moved> = Vec::new();
        for (mark, version) in (FIRST_MARK..).step_by(MARKS.into()).zip(MOVES) {
            let quiet = moves.last().map_or(QUIET, |before| before.took.max(QUIET));
            moves.push(Moved::make(network, vm, mark, version, quiet).context(version)?);
        }
        Ok(Self(moves))
    }

    /// Writes a line for each probe to `file`; the summary. An error if the capture contradicts the guest.
    pub fn beside(&self, gaps: &Gaps, file: &Path) -> Result<String> {
        let moves: Vec<Vec<Seen>> =
            self.0.iter().map(|made| made.beside(gaps)).collect::<Result<_>>().context("probes")?;
        std::fs::write(file, table(&moves)).with_context(|| format!("cannot write {}", file.display()))?;
        let medians: Vec<Medians> = moves.iter().map(|seen| Medians::of(seen)).collect();
        let summary: Vec<String> = medians.iter().map(Medians::summary).collect();
        let summary = format!("{} ({})", summary.join("; "), file.display());
        let (agreed, all) = borne_out(&moves).with_context(|| summary.clone())?;
        Ok(format!(
            "probes: {agreed} of {all} were silent on the wire for at least as long as the guest says, less {QUEUED:.0?}; medians: {summary}"
        ))
    }
}

impl Moved {
    fn make(network: &Network, vm: &Vm, quiet_mark: u16, version: &str, quiet: Duration) -> Result<Self> {
        let discard = vm.endpoint(Proto::Udp, DISCARD)?;
        let mark = |number| network.run(move || load::mark(discard, number)).context("mark");
        let (probes, ports) = load::noted_clients(network, vm.endpoint(Proto::Tcp, ECHO)?, PLAN)?;
        probes.wait_for_connections(PLAN.clients.into(), SERVED)?;
        probes.wait_for_everyone(SERVED)?;
        let console = vm.console()?;
        mark(quiet_mark)?;
        let began = Instant::now();
        while began.elapsed() < quiet {
            // As during the move: the console's answers take processor time.
            status(&console)?;
            std::thread::sleep(LOOK);
        }
        mark(quiet_mark + 1)?;
        let began = Instant::now();
        let status = update_to(&console, version)?;
        let took = began.elapsed();
        mark(quiet_mark + 2)?;
        ensure!(status.lost == 0, "{}", status.summary());
        let freezes = Freezes::read(&console)?;
        probes.finish()?.ensure_no_failure("probes")?;
        Ok(Self { quiet_mark, took, probes: ports.try_iter().collect(), freezes })
    }

    /// Each probe by both accounts.
    fn beside(&self, gaps: &Gaps) -> Result<Vec<Seen>> {
        let window = gaps.window(self.quiet_mark + 1, self.quiet_mark + 2)?;
        let quiet = gaps.before(window).context("no mark before the move")?;
        let seen = |port: &u16| {
            let freeze = self.freezes.longest_at(ECHO, *port);
            let freeze = freeze.with_context(|| format!("the guest does not say that {port} was frozen"))?;
            let silence = |window| {
                gaps.longest_silence(ECHO, *port, window)
                    .with_context(|| format!("{port} is not in the capture"))
            };
            Ok(Seen { port: *port, freeze, in_move: silence(window)?, in_quiet: silence(quiet)? })
        };
        self.probes.iter().map(seen).collect()
    }
}

/// One probe: what the guest says, and the longest silence in the move and in the quiet before it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    port: u16,
    freeze: Duration,
    in_move: Duration,
    in_quiet: Duration,
}

/// One move, by the medians over its probes.
#[derive(Clone, Copy, Debug)]
struct Medians {
    freeze: Duration,
    in_move: Duration,
    in_quiet: Duration,
}

impl Medians {
    fn of(probes: &[Seen]) -> Self {
        let median =
            |time: fn(&Seen) -> Duration| probes.iter().map(time).collect::<Latencies>().percentile(50);
        Self {
            freeze: median(|seen| seen.freeze),
            in_move: median(|seen| seen.in_move),
            in_quiet: median(|seen| seen.in_quiet),
        }
    }

    fn allowed(&self) -> Duration {
        self.freeze + 2 * self.in_quiet + ALLOWED
    }

    fn summary(&self) -> String {
        format!(
            "frozen {:.2?}, silent {:.2?} of {:.2?} allowed ({:.2?} in quiet)",
            self.freeze,
            self.in_move,
            self.allowed(),
            self.in_quiet
        )
    }
}

/// In one of the moves the guest must say neither more than the wire shows nor less. One is enough: in the others the host may have stood still, which the
/// wire shows and no freeze is, or in which the driver sends late, in the middle of a freeze, what the stack had queued before it. Who tells too much or too
/// little does so in every move. How many probes were silent for long enough in all moves, and of how many.
fn borne_out(moves: &[Vec<Seen>]) -> Result<(usize, usize)> {
    let agree = |probes: &[Seen]| probes.iter().filter(|seen| seen.in_move + QUEUED >= seen.freeze).count();
    let not_too_long = |probes: &[Seen]| !probes.is_empty() && agree(probes) * 100 >= probes.len() * PER_CENT;
    let not_too_short = |probes: &[Seen]| {
        let medians = Medians::of(probes);
        medians.in_move <= medians.allowed()
    };
    let (agreed, all) = (moves.iter().map(|probes| agree(probes)).sum(), moves.iter().flatten().count());
    let some = |fits: &dyn Fn(&[Seen]) -> bool| moves.iter().any(|probes| fits(probes));
    ensure!(
        some(&not_too_long),
        "the guest says more than the wire shows: only {agreed} of {all} probes were silent for as long as it says they were frozen"
    );
    ensure!(
        some(&not_too_short),
        "the guest says less than the wire shows: in every move it was silent for longer"
    );
    ensure!(
        some(&|probes| not_too_long(probes) && not_too_short(probes)),
        "in no move does the guest say what the wire shows: now more, now less"
    );
    Ok((agreed, all))
}

fn table(moves: &[Vec<Seen>]) -> String {
    let mut table = String::from(
        "move\tpeer's port\tfreeze, ms\tlongest silence in the move, ms\tlongest silence in quiet, ms\n",
    );
    for (number, seen) in
        moves.iter().enumerate().flat_map(|(number, all)| all.iter().map(move |seen| (number, seen)))
    {
        let [freeze, in_move, in_quiet] =
            [seen.freeze, seen.in_move, seen.in_quiet].map(|time| time.as_secs_f64() * 1e3);
        let _ = writeln!(table, "{number}\t{}\t{freeze:.3}\t{in_move:.3}\t{in_quiet:.3}", seen.port);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP_MS: u64 = 2;

    /// Three moves of eight probes that are answered every two milliseconds, but for `silence` milliseconds in each move, and a
    /// guest that says it was `freeze` milliseconds.
    fn verdict(freeze: u64, silence: [u64; 3]) -> Result<String> {
        let mut lines = Vec::new();
        let mut moves = Vec::new();
        for ((mark, start), silence) in (FIRST_MARK..).step_by(3).zip((1..).step_by(10)).zip(silence) {
            let at = |millis: u64| format!("{:.3}", f64::from(start) + millis as f64 / 1e3);
            let ports = mark * 100..mark * 100 + 8;
            let sent = |millis| {
                ports.clone().map(move |port| (millis, format!("1\t10.0.2.15\t16\t17\t1\t\t{ECHO}\t{port}")))
            };
            let answers =
                (0..3000).step_by(STEP_MS as usize).filter(|at| !(1050..1050 + silence).contains(at));
            let mut all: Vec<(u64, String)> = answers.flat_map(sent).collect();
            all.extend((0..3).map(|which| {
                (1000 * u64::from(which) + 1, format!("\t10.0.2.2\t\t\t\t{}", 608 + mark + which))
            }));
            all.sort_by_key(|(millis, _)| *millis);
            lines.extend(all.iter().map(|(millis, rest)| format!("{}\t{rest}", at(*millis))));
            let freezes = Freezes::of(ports.clone().map(|port| (ECHO, port, Duration::from_millis(freeze))));
            moves.push(Moved { quiet_mark: mark, took: QUIET, probes: ports.collect(), freezes });
        }
        let gaps = Gaps::parse(&lines.join("\n")).expect("well-formed");
        let file = tempfile::NamedTempFile::new().expect("a file");
        Probes(moves).beside(&gaps, file.path())
    }

    #[test]
    fn a_guest_that_says_what_the_wire_shows_is_believed() {
        let summary = verdict(40, [40, 40, 40]).expect("they agree");
        assert!(summary.contains("24 of 24"), "{summary}");
        assert!(
            summary.contains("frozen 40.00ms, silent 42.00ms of 54.00ms allowed (2.00ms in quiet)"),
            "{summary}"
        );
    }

    #[test]
    fn a_guest_that_says_more_than_the_wire_shows_is_found_out() {
        let error = verdict(44, [40, 40, 40]).expect_err("42 ms at most");
        assert!(format!("{error:#}").contains("says more"), "{error:#}");
        verdict(44, [40, 50, 40]).expect("one move bears it out");
    }

    #[test]
    fn a_guest_that_says_less_than_the_wire_shows_is_found_out() {
        let error = verdict(10, [40, 40, 40]).expect_err("24 ms were allowed");
        assert!(format!("{error:#}").contains("says less"), "{error:#}");
    }

    #[test]
    fn a_host_that_stands_still_in_some_moves_is_no_fault_of_the_guest() {
        verdict(10, [900, 10, 900]).expect("one move bears it out");
    }

    #[test]
    fn a_guest_that_does_not_tell_of_a_probe_is_found_out() {
        let gaps =
            Gaps::parse("1.0\t\t10.0.2.2\t\t\t\t708\n2.0\t\t10.0.2.2\t\t\t\t709\n3.0\t\t10.0.2.2\t\t\t\t710");
        let moved =
            Moved { quiet_mark: FIRST_MARK, took: QUIET, probes: [4000].into(), freezes: Freezes::of([]) };
        let error = Probes(vec![moved]).beside(&gaps.expect("well-formed"), Path::new("/nonexistent"));
        assert!(format!("{:#}", error.expect_err("4000 was moved")).contains("4000"));
        assert!(borne_out(&[]).is_err(), "nothing was compared");
    }
}
