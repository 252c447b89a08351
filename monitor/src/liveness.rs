//! Who is asked for a sign of life, who is killed for giving none, who is started again.
//!
//! ```text
//!   Idle ──(time)──▶ Listing ──(list came)──▶ Asking(0) ─▶ Asking(1) … ─▶ Idle
//! ```
//! One question at a time: between two of them the monitor looks for faults, so a service that hangs delays nobody's restart by more than
//! one question.

use hic_abi::Nanos;
use hic_control::manager::ServiceState;

/// From the end of one round of questions to the next.
pub const INTERVAL: Nanos = 5_000_000_000;
/// How long an answer may take. Long work of a service is done in steps that are far shorter.
pub const ANSWER: Nanos = 2_000_000_000;
/// Questions in a row without an answer after which a service is taken for hung: one may be lost to a long burst of work.
pub const MISSES: u8 = 2;
/// Services watched, at most.
pub const MAX_SERVICES: usize = 128;

/// One service, as the module manager listed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What it does.
    pub state: ServiceState,
    /// Whether there is a port on which to ask it.
    pub askable: bool,
    /// Serial number of its sandbox: with another one, another instance has come to the same index.
    pub serial: u64,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing until then.
    Wait(Nanos),
    /// Ask the module manager for its list, then call [`Liveness::listed`] or [`Liveness::not_listed`].
    List,
    /// Ask this service, then call [`Liveness::answered`] or [`Liveness::missed`].
    Ask(usize),
    /// Have this service started again: it is frozen, and nobody did it yet.
    Revive(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle { until: Nanos },
    Listing,
    Asking { next: usize },
}

/// The state of the watch.
#[derive(Clone, Debug)]
pub struct Liveness {
    phase: Phase,
    misses: [Misses; MAX_SERVICES],
    /// Lists in a row for which the module manager did not answer; `None` until the first one came: at boot it has long work to do.
    unlisted: Option<u8>,
}

/// Questions in a row that an instance did not answer.
#[derive(Clone, Copy, Debug)]
struct Misses {
    serial: u64,
    count: u8,
}

/// Counts a miss; whether it was the last one that is forgiven, and the counting begins anew.
const fn is_too_many(count: &mut u8) -> bool {
    *count += 1;
    let over = *count >= MISSES;
    if over {
        *count = 0;
    }
    over
}

impl Liveness {
    /// A watch whose first round begins at `start`.
    #[must_use]
    pub const fn new(start: Nanos) -> Self {
        let misses = [Misses { serial: 0, count: 0 }; MAX_SERVICES];
        Self { phase: Phase::Idle { until: start }, misses, unlisted: None }
    }

    /// What to do at time `now`, given the services as last listed.
    pub fn next(&mut self, now: Nanos, services: &[Seen]) -> Step {
        match self.phase {
            Phase::Idle { until } if now < until => Step::Wait(until),
            Phase::Idle { .. } | Phase::Listing => {
                self.phase = Phase::Listing;
                Step::List
            }
            Phase::Asking { next } => self.next_service(now, next, services),
        }
    }

    fn next_service(&mut self, now: Nanos, from: usize, services: &[Seen]) -> Step {
        for (index, seen) in services.iter().enumerate().take(MAX_SERVICES).skip(from) {
            self.phase = Phase::Asking { next: index + 1 };
            match seen.state {
                ServiceState::Running if seen.askable => return Step::Ask(index),
                ServiceState::Frozen => return Step::Revive(index),
                ServiceState::Running | ServiceState::Stopped | ServiceState::Absent => {}
            }
        }
        let until = now.saturating_add(INTERVAL);
        self.phase = Phase::Idle { until };
        Step::Wait(until)
    }

    /// The list came. An instance that took another's place does not answer for it.
    pub fn listed(&mut self, services: &[Seen]) {
        for (misses, seen) in self.misses.iter_mut().zip(services) {
            if misses.serial != seen.serial {
                *misses = Misses { serial: seen.serial, count: 0 };
            }
        }
        (self.phase, self.unlisted) = (Phase::Asking { next: 0 }, Some(0));
    }

    /// There is no list, so this round is left out. Whether the module manager, if it was `silent`, is hung and must be killed now: it is not
    /// asked like the others, since without a list nobody is.
    #[must_use]
    pub fn not_listed(&mut self, now: Nanos, silent: bool) -> bool {
        self.phase = Phase::Idle { until: now.saturating_add(INTERVAL) };
        match &mut self.unlisted {
            Some(count) if silent => is_too_many(count),
            _ => false,
        }
    }

    /// The service answered, or was started anew.
    pub fn answered(&mut self, index: usize) {
        if let Some(misses) = self.misses.get_mut(index) {
            misses.count = 0;
        }
    }

    /// The service did not answer in time; whether it must be killed now.
    #[must_use]
    pub fn missed(&mut self, index: usize) -> bool {
        self.misses.get_mut(index).is_some_and(|misses| is_too_many(&mut misses.count))
    }

    /// Whether the service owes an answer.
    #[must_use]
    pub fn is_late(&self, index: usize) -> bool {
        self.misses.get(index).is_some_and(|misses| misses.count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    const UP: Seen = Seen { state: ServiceState::Running, askable: true, serial: 1 };
    const MUTE: Seen = Seen { askable: false, ..UP };
    const FROZEN: Seen = Seen { state: ServiceState::Frozen, ..UP };
    const STOPPED: Seen = Seen { state: ServiceState::Stopped, ..UP };

    fn round(watch: &mut Liveness, now: Nanos, services: &[Seen]) -> Vec<Step> {
        assert_eq!(watch.next(now, services), Step::List);
        watch.listed(services);
        let mut steps = vec![];
        loop {
            match watch.next(now, services) {
                Step::Wait(until) => {
                    assert_eq!(until, now + INTERVAL);
                    return steps;
                }
                step => steps.push(step),
            }
        }
    }

    #[test]
    fn a_round_asks_the_running_and_revives_the_frozen() {
        let mut watch = Liveness::new(0);
        let steps = round(&mut watch, 7, &[UP, MUTE, FROZEN, STOPPED, UP]);
        assert_eq!(steps, [Step::Ask(0), Step::Revive(2), Step::Ask(4)]);
        assert_eq!(watch.next(8, &[]), Step::Wait(7 + INTERVAL));
    }

    #[test]
    fn two_misses_in_a_row_kill_and_an_answer_between_forgives() {
        let mut watch = Liveness::new(0);
        assert!(!watch.missed(3));
        watch.answered(3);
        assert!(!watch.missed(3));
        assert!(watch.is_late(3) && !watch.is_late(2));
        assert!(watch.missed(3));
        assert!(!watch.missed(3), "a killed service starts with a clean sheet");
    }

    #[test]
    fn without_a_list_the_round_is_left_out() {
        let mut watch = Liveness::new(0);
        assert_eq!(watch.next(0, &[UP]), Step::List);
        assert!(!watch.not_listed(10, true));
        assert_eq!(watch.next(11, &[UP]), Step::Wait(10 + INTERVAL));
    }

    #[test]
    fn a_module_manager_that_gives_no_list_twice_in_a_row_is_killed_but_not_at_boot() {
        let mut watch = Liveness::new(0);
        assert!((0..9).all(|round| !watch.not_listed(round, true)), "it is still starting");
        watch.listed(&[]);
        assert!(!watch.not_listed(10, true));
        assert!(!watch.not_listed(11, false), "a refusal is an answer");
        watch.listed(&[]);
        assert!(!watch.not_listed(12, true));
        assert!(watch.not_listed(13, true));
        assert!(!watch.not_listed(14, true), "a killed one starts with a clean sheet");
    }

    #[test]
    fn another_instance_at_the_same_index_does_not_answer_for_the_one_before() {
        let mut watch = Liveness::new(0);
        watch.listed(&[UP]);
        assert!(!watch.missed(0));
        watch.listed(&[Seen { serial: 2, ..UP }]);
        assert!(!watch.is_late(0) && !watch.missed(0));
        watch.listed(&[Seen { serial: 2, ..UP }]);
        assert!(watch.missed(0));
    }

    proptest! {
        #[test]
        fn every_running_service_is_asked_once_a_round(kinds in prop::collection::vec(0usize..4, 0..300)) {
            let services: Vec<Seen> = kinds.iter().map(|&k| [UP, MUTE, FROZEN, STOPPED][k]).collect();
            let steps = round(&mut Liveness::new(0), 1, &services);
            let watched = &services[..services.len().min(MAX_SERVICES)];
            let asked = watched.iter().filter(|s| **s == UP).count();
            let revived = watched.iter().filter(|s| **s == FROZEN).count();
            prop_assert_eq!(steps.iter().filter(|s| matches!(s, Step::Ask(_))).count(), asked);
            prop_assert_eq!(steps.iter().filter(|s| matches!(s, Step::Revive(_))).count(), revived);
        }
    }
}
