//! What an update did, in numbers and steps. All of it comes out of the request and the journal, so a restart of the manager loses nothing of it.

use crate::journal::{Counts, Journal};
use crate::state::{BatchPart, Position};
use crate::{Nanos, Outcome, Phase, Reason, Request, Who};
use alloc::vec::Vec;
use core::fmt;
use hic_abi::name_str as text;

/// Stages with times of their own: every phase, and those of batches once more for the way back.
pub(crate) const STAGES: usize = Phase::ALL.len() + 3;

/// When a stage began and ended; 0 = it did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub(crate) struct Times {
    pub started: Nanos,
    pub ended: Nanos,
}

/// The place of a phase's times.
pub(crate) fn stage(position: &Position) -> usize {
    let back = position.exporter == Who::New;
    match position.phase {
        Phase::Migrate if back => Phase::ALL.len(),
        Phase::Switch if back => Phase::ALL.len() + 1,
        Phase::Rest if back => Phase::ALL.len() + 2,
        phase => phase as usize - 1,
    }
}

/// One step of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepReport {
    /// What.
    pub phase: Phase,
    /// Whether it was done on the way back.
    pub back: bool,
    /// When it began, guest time.
    pub started: Nanos,
    /// When it ended; `None`: it is under way.
    pub ended: Option<Nanos>,
}

/// What an update did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What was asked, with the policy.
    pub request: Request,
    /// Begin, guest time.
    pub started: Nanos,
    /// End; `None`: it is under way.
    pub ended: Option<Nanos>,
    /// Items that the old instance had when it was asked.
    pub total: u64,
    /// Items moved to the new instance.
    pub migrated: u64,
    /// Items moved back.
    pub moved_back: u64,
    /// Items that had to be given up.
    pub lost: u64,
    /// Batches moved, either way.
    pub batches: u64,
    /// Longest time that an item was not served.
    pub longest_freeze: Nanos,
    /// Mean of these times.
    pub mean_freeze: Nanos,
    /// Time in which nobody served the service's own ports.
    pub downtime: Nanos,
    /// Time that batches took, either way, with the health checks between them.
    pub moving: Nanos,
    /// Of it, the time of each part of a batch, in the order of [`BatchPart::ALL`].
    pub parts: [Nanos; BatchPart::ALL.len()],
    /// Deaths, hangs and failed restarts of the old instance and of the new one.
    pub faults: [u64; 2],
    /// Why it went back, or had to be completed.
    pub reason: Option<Reason>,
    /// The steps, in the order in which they began.
    pub steps: Vec<StepReport>,
    /// How it ended; `None`: it is under way.
    pub outcome: Option<Outcome>,
}

impl Report {
    /// The report of a stored update; `None` for memory that holds no journal.
    #[must_use]
    pub fn of(request: &Request, journal: &Journal) -> Option<Self> {
        let (_, counts) = journal.decode()?;
        Some(Self::from_counts(request, &counts))
    }

    pub(crate) fn from_counts(request: &Request, counts: &Counts) -> Self {
        let [migrated, moved_back] = counts.moved;
        let moved = migrated.saturating_add(moved_back);
        let set = |time: Nanos| (time != 0).then_some(time);
        Self {
            request: *request,
            started: counts.started,
            ended: set(counts.ended),
            total: counts.total,
            migrated,
            moved_back,
            lost: counts.lost,
            batches: counts.batches,
            longest_freeze: counts.longest_freeze,
            mean_freeze: counts.total_freeze.checked_div(moved).unwrap_or(0),
            downtime: counts.downtime,
            moving: counts.work.total(),
            parts: counts.parts,
            faults: counts.faults,
            reason: Reason::decode(&counts.reason),
            steps: steps(counts),
            outcome: Outcome::decode(counts.outcome, &counts.outcome_code),
        }
    }
}

fn steps(counts: &Counts) -> Vec<StepReport> {
    let back = [Phase::Migrate, Phase::Switch, Phase::Rest].map(|phase| (phase, true));
    let all = Phase::ALL.map(|phase| (phase, phase >= Phase::Turn)).into_iter().chain(back);
    let mut steps: Vec<_> = all
        .zip(counts.times)
        .filter(|((phase, _), times)| times.started != 0 && *phase != Phase::Done)
        .map(|((phase, back), times)| StepReport {
            phase,
            back,
            started: times.started,
            ended: (times.ended != 0).then_some(times.ended),
        })
        .collect();
    steps.sort_by_key(|step| step.started);
    steps
}

/// A time as the console prints it.
pub(crate) struct Millis(pub Nanos);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} ms", self.0 / 1_000_000, self.0 / 1000 % 1000)
    }
}

impl fmt::Display for StepReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.back && self.phase < Phase::Turn { " back" } else { "" };
        write!(f, "{}{way}: ", self.phase.name())?;
        match self.ended {
            Some(ended) => write!(f, "{}", Millis(ended.saturating_sub(self.started))),
            None => f.write_str("under way"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Request { service, from, to, source, .. } = &self.request;
        let (service, from, to) = (text(service), text(from), text(to));
        writeln!(f, "{service} {from} -> {to}, asked for by the {}", source.name())?;
        for step in &self.steps {
            let at = step.started.saturating_sub(self.started);
            writeln!(f, "  at {:>12}  {step}", alloc::format!("{}", Millis(at)))?;
        }
        let Self { total, migrated, moved_back, lost, batches, .. } = self;
        writeln!(
            f,
            "items: {total}, moved {migrated}, moved back {moved_back}, lost {lost}, in {batches} batches"
        )?;
        let (longest, mean) = (Millis(self.longest_freeze), Millis(self.mean_freeze));
        writeln!(f, "frozen: longest {longest}, mean {mean}; downtime {}", Millis(self.downtime))?;
        let share = self.request.policy.share;
        writeln!(f, "moving: {} in all, at most {share} of 1000 of the time", Millis(self.moving))?;
        for (number, (part, took)) in BatchPart::ALL.iter().zip(self.parts).enumerate() {
            let start = if number == 0 { "of it " } else { ", " };
            write!(f, "{start}{} {}", part.name(), Millis(took))?;
        }
        writeln!(f)?;
        let [old, new] = self.faults;
        if old > 0 || new > 0 {
            writeln!(f, "faults: old {old}, new {new}")?;
        }
        match (&self.outcome, &self.reason) {
            (Some(outcome), _) => write!(f, "{outcome}"),
            (None, Some(reason)) => write!(f, "going back: {reason}"),
            (None, None) => f.write_str("under way"),
        }
    }
}
