//! What every run of the machine is held to: no second sees too many moves, and moving rests for its work.

use super::world::SECOND;
use crate::{Engine, Nanos, Phase, Policy};
use std::assert;
use std::vec::Vec;

/// What has moved, and until when moving rests. What lies between token and transaction is a part of a batch's work, so the real pause is no shorter.
#[derive(Default)]
pub struct Rests {
    began: Nanos,
    until: Nanos,
    moves: Vec<(Nanos, u64)>,
}

impl Rests {
    /// The token is placed for a batch.
    pub fn begins(&mut self, now: Nanos, engine: Option<&Engine>) {
        let reason = engine.and_then(|engine| engine.report().reason);
        let salvage = engine.is_some_and(|engine| engine.status().phase == Phase::Salvage);
        let in_haste = salvage || reason.is_some_and(|reason| !reason.is_a_wish());
        assert!(in_haste || now >= self.until, "a batch begins at {now}, moving rests until {}", self.until);
        self.began = now;
    }

    /// Its transaction took place, with so many items for which the rate counts.
    pub fn moved(&mut self, now: Nanos, items: u64, policy: &Policy) {
        self.moves.push((now, items));
        let pause = (now - self.began) * (1000 - policy.share) / policy.share;
        self.until = now + pause.min(policy.longest_pause);
    }

    /// In the end: no second saw more moves than the policy allows.
    pub fn check_rate(&self, policy: &Policy) {
        for (at, _) in &self.moves {
            let second = self.moves.iter().filter(|(time, _)| (*at..*at + SECOND).contains(time));
            let items: u64 = second.map(|(_, items)| items).sum();
            assert!(items <= policy.moves_per_second, "{items} in the second from {at}");
        }
    }
}
