//! One move of all connections from a version to another: when it began and ended on the host's clock, what the guest reports,
//! and its marks in the capture.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::super::updating::Status;
use super::DISCARD;
use super::everything::Everything;
use crate::load;
use crate::net::Network;
use crate::qemu::Proto;
use crate::vm::Vm;

/// The name of the last step, which is watched like a move.
pub(super) const COMMIT: &str = "commit";

/// What is left of a move.
#[derive(Debug)]
pub(super) struct Move {
    /// What it was.
    pub name: &'static str,
    /// What the guest said afterwards.
    pub status: Status,
    number: usize,
    began: Instant,
    ended: Instant,
}

impl Move {
    /// Does `work`, move number `number`.
    pub fn make(
        network: &Network,
        vm: &Vm,
        number: usize,
        name: &'static str,
        work: &mut dyn FnMut() -> Result<Status>,
    ) -> Result<Self> {
        let discard = vm.endpoint(Proto::Udp, DISCARD)?;
        let [first, last] = marks(number);
        network.run(move || load::mark(discard, first)).context("mark")?;
        let began = Instant::now();
        let status = work()?;
        let ended = Instant::now();
        network.run(move || load::mark(discard, last)).context("mark")?;
        Ok(Self { name, status, number, began, ended })
    }

    /// The mark before it.
    pub fn first_mark(&self) -> u16 {
        let [first, _] = marks(self.number);
        first
    }

    /// The mark behind it.
    pub fn last_mark(&self) -> u16 {
        let [_, last] = marks(self.number);
        last
    }

    /// Whether connections were moved: a commit only ends the old instance.
    pub fn moves_connections(&self) -> bool {
        self.name != COMMIT
    }

    fn took(&self) -> Duration {
        self.ended - self.began
    }

    /// What the guest says, and what clients saw during the move and during as long a time before it.
    pub fn note(&self, everything: &Everything) -> String {
        let before = self.began.checked_sub(self.took()).unwrap_or(self.began);
        let quiet = everything.latencies(before, self.began);
        let seen = everything.latencies(self.began, self.ended).beside(&quiet);
        format!("{}: {} in {:.2?}; clients: {seen}", self.name, self.status.summary(), self.took())
    }
}

/// Numbers of the marks before and behind a move.
fn marks(number: usize) -> [u16; 2] {
    // A handful of moves.
    let first = u16::try_from(2 * number).unwrap_or(u16::MAX - 1);
    [first, first + 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_moves_share_a_mark() {
        let all: std::collections::BTreeSet<u16> = (0..10).flat_map(marks).collect();
        assert_eq!(all.len(), 20);
    }
}
