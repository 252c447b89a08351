//! How long each connection of the load stood still, by the guest's own account and by the capture.
//!
//! While a connection is frozen the guest sends nothing on it. So in one of the moves there is a silence of the guest on the wire that is at
//! least as long, but for packets that the driver had queued before. That the silence is not much longer, `probes` shows: a connection of
//! the load is silent for long of itself.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::ask;
use crate::load::Latencies;
use crate::net::{Gaps, Window};
use crate::vm::Console;

/// A connection whose queued packets left late may be silent for less than it was frozen; most are not.
pub(super) const PER_CENT: usize = 90;

/// So long the driver may take to send what the stack had queued before the freeze, which cuts the silence.
pub(super) const QUEUED: Duration = Duration::from_millis(1);

/// One connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Freeze {
    local: u16,
    remote: u16,
    longest: Duration,
}

/// All connections that were moved and still exist.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Freezes(Vec<Freeze>);

impl Freezes {
    /// What `connections` says now.
    pub fn read(console: &Console<'_>) -> Result<Self> {
        Self::parse(&ask(console, "connections")?)
    }

    fn parse(document: &Value) -> Result<Self> {
        let rows = document["connections"].as_array().context("no connections")?;
        let connections = rows.iter().filter(|row| row["protocol"] == "tcp" && row["state"] != "LISTEN");
        let freezes = connections.map(|row| {
            let port = |key: &str| row[key].as_str().and_then(|end| end.rsplit(':').next()?.parse().ok());
            let longest = row["longest_freeze_nanoseconds"].as_u64();
            let (Some(local), Some(remote), Some(longest)) = (port("local"), port("remote"), longest) else {
                anyhow::bail!("not a connection: {row}");
            };
            Ok(Freeze { local, remote, longest: Duration::from_nanos(longest) })
        });
        let moved = freezes.filter(|freeze| !matches!(freeze, Ok(Freeze { longest: Duration::ZERO, .. })));
        moved.collect::<Result<_>>().map(Self)
    }

    /// What the guest says of the connection from its port `local` to `remote`.
    pub fn longest_at(&self, local: u16, remote: u16) -> Option<Duration> {
        let found = self.0.iter().find(|freeze| (freeze.local, freeze.remote) == (local, remote));
        found.map(|freeze| freeze.longest)
    }

    /// Writes one line for each connection to `file`; the summary. An error if the capture contradicts the guest. `moves` are the times in
    /// which connections were moved.
    pub fn beside(&self, gaps: &Gaps, moves: &[Window], file: &Path) -> Result<String> {
        let mut table = String::from(
            "port\tpeer's port\tlongest freeze, ms\tlongest silence on the wire in a move, ms\n",
        );
        let (mut compared, mut agreed) = (0, 0);
        for freeze in &self.0 {
            let in_moves =
                moves.iter().map(|window| gaps.longest_silence(freeze.local, freeze.remote, *window));
            let silence = in_moves.max().flatten();
            let _ = writeln!(
                table,
                "{}\t{}\t{:.3}\t{}",
                freeze.local,
                freeze.remote,
                freeze.longest.as_secs_f64() * 1e3,
                silence.map_or("-".to_owned(), |silence| format!("{:.3}", silence.as_secs_f64() * 1e3))
            );
            compared += usize::from(silence.is_some());
            agreed += usize::from(silence.is_some_and(|silence| silence + QUEUED >= freeze.longest));
        }
        std::fs::write(file, table).with_context(|| format!("cannot write {}", file.display()))?;
        ensure!(compared > 0, "no moved connection is in the capture");
        ensure!(
            agreed * 100 >= compared * PER_CENT,
            "only {agreed} of {compared} connections were silent for as long as the guest says they were frozen"
        );
        let all: Latencies = self.0.iter().map(|freeze| freeze.longest).collect();
        Ok(format!(
            "each connection's longest freeze: median {:.2?}, p99 {:.2?}, longest {:.2?} of {}; {agreed} of {compared} were silent on the wire \
             in a move for at least as long, less {QUEUED:.0?} ({})",
            all.percentile(50),
            all.percentile(99),
            all.longest(),
            all.count(),
            file.display()
        ))
    }
}

#[cfg(test)]
impl Freezes {
    /// Of connections by both ports.
    pub fn of(all: impl IntoIterator<Item = (u16, u16, Duration)>) -> Self {
        Self(all.into_iter().map(|(local, remote, longest)| Freeze { local, remote, longest }).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_silence_within_a_move_bears_a_freeze_out() {
        let lines: Vec<String> = [1.0, 2.0, 2.1, 2.3, 2.4]
            .map(|time| format!("{time}\t1\t10.0.2.15\t10\t11\t1\t\t7\t4000"))
            .into_iter()
            .chain(
                [(2.05, 608), (2.35, 609)]
                    .map(|(time, length)| format!("{time}\t\t10.0.2.2\t\t\t\t{length}")),
            )
            .collect();
        let gaps = Gaps::parse(&lines.join("\n")).expect("well-formed");
        let moves = [gaps.window(0, 1).expect("both marks")];
        let file = tempfile::NamedTempFile::new().expect("a file");
        let verdict = |millis| {
            Freezes::of([(7, 4000, Duration::from_millis(millis))]).beside(&gaps, &moves, file.path())
        };
        assert!(verdict(201).expect("200 ms on the wire").contains("1 of 1"));
        assert!(verdict(500).is_err(), "the second before the move does not count");
        let table = std::fs::read_to_string(file.path()).expect("a table");
        assert!(table.contains("7\t4000\t500.000\t200.000"), "{table}");
    }

    #[test]
    fn only_connections_that_were_moved_count() {
        let row = |protocol: &str, state: &str, remote: &str, freeze: u64| {
            json!({"protocol": protocol, "state": state, "local": "10.0.2.15:7", "remote": remote,
                "longest_freeze_nanoseconds": freeze})
        };
        let document = json!({"connections": [
            row("tcp", "LISTEN", "*:*", 5),
            row("udp", "OPEN", "*:*", 5),
            row("tcp", "ESTABLISHED", "10.0.2.2:4000", 3_000_000),
            row("tcp", "ESTABLISHED", "10.0.2.2:4001", 0),
        ]});
        let freezes = Freezes::parse(&document).expect("well-formed");
        assert_eq!(freezes.0, [Freeze { local: 7, remote: 4000, longest: Duration::from_millis(3) }]);
        assert!(Freezes::parse(&json!({"connections": [row("tcp", "ESTABLISHED", "?", 1)]})).is_err());
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert!(freezes.beside(&Gaps::default(), &[], file.path()).is_err(), "nothing was compared");
    }
}
