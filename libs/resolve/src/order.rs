//! In which order: changes are made one at a time, and after each of them every need is met that was met before.
//!
//! All subsets of the changes are nodes of a graph with an edge for each single change; a walk to the full set is an order. Each subset is looked
//! at once, so the work is bounded by 2^[`MAX_CHANGES`](crate::MAX_CHANGES) of them, and a way that exists is found.

use alloc::vec;
use alloc::vec::Vec;

use crate::MAX_WORK;
use crate::search::{Change, Unmet};
use crate::universe::{Chosen, Module, Universe};

/// Why there is no order.
pub enum NoOrder<'a> {
    /// The way ends somewhere.
    Blocked {
        /// These modules would have to change in one stroke.
        together: Vec<Module>,
        /// The needs that were in the way, each once.
        unmet: Vec<Unmet<'a>>,
    },
    /// Looking for it took too long.
    TooMuchWork,
}

/// `changes` in an order that can be gone one by one.
pub fn find<'a>(
    universe: &Universe<'a>,
    changes: &[Change<'a>],
    work: &mut u64,
) -> Result<Vec<Change<'a>>, NoOrder<'a>> {
    let seen = vec![false; 1 << changes.len()];
    let mut walk = Walk { universe, changes, seen, furthest: 0, unmet: Vec::new(), work };
    let mut order = Vec::with_capacity(changes.len());
    if walk.go(0, &mut order)? {
        return Ok(order.into_iter().filter_map(|index| changes.get(index).copied()).collect());
    }
    let left = |index: &usize| walk.furthest & (1 << index) == 0;
    let left = (0..changes.len()).filter(left).filter_map(|index| changes.get(index));
    let together = left.map(|change| change.module).collect();
    Err(NoOrder::Blocked { together, unmet: walk.unmet })
}

struct Walk<'w, 'a> {
    universe: &'w Universe<'a>,
    changes: &'w [Change<'a>],
    /// Subsets, by their bits, that were looked at.
    seen: Vec<bool>,
    /// The largest subset that can be reached.
    furthest: usize,
    /// The needs that kept a change from being made.
    unmet: Vec<Unmet<'a>>,
    work: &'w mut u64,
}

impl<'a> Walk<'_, 'a> {
    /// Goes on from the subset `done`, in the order of the search's changes backwards: what was decided on last is needed by what came
    /// before.
    fn go(&mut self, done: usize, order: &mut Vec<usize>) -> Result<bool, NoOrder<'a>> {
        if done.count_ones() > self.furthest.count_ones() {
            self.furthest = done;
        }
        if order.len() == self.changes.len() {
            return Ok(true);
        }
        for index in (0..self.changes.len()).rev() {
            let next = done | 1 << index;
            let Some(seen) = self.seen.get_mut(next) else { continue };
            if next == done || core::mem::replace(seen, true) || !self.holds(next)? {
                continue;
            }
            order.push(index);
            if self.go(next, order)? {
                return Ok(true);
            }
            order.pop();
        }
        Ok(false)
    }

    /// Whether all needs are met when the changes of this subset are made, but for those that installed modules had before and that were
    /// not met then either.
    fn holds(&mut self, subset: usize) -> Result<bool, NoOrder<'a>> {
        let mut chosen: Chosen = self.universe.installed.clone();
        for (index, change) in self.changes.iter().enumerate() {
            if subset & (1 << index) != 0
                && let Some(place) = chosen.get_mut(change.module)
            {
                *place = Some(change.to);
            }
        }
        for (present, before) in chosen.iter().zip(&self.universe.installed) {
            let Some(release) = *present else { continue };
            for need in self.universe.needs(release) {
                *self.work += 1;
                if *self.work > MAX_WORK {
                    return Err(NoOrder::TooMuchWork);
                }
                let met = self.universe.is_met(&need, &chosen);
                let was_unmet = present == before && !self.universe.is_met(&need, &self.universe.installed);
                if !met && !was_unmet {
                    let unmet = Unmet { holder: release, need };
                    if !self.unmet.contains(&unmet) {
                        self.unmet.push(unmet);
                    }
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}
