//! Which versions: a depth-first search from what is installed, with at most one change, then at most two, and so on.
//!
//! At each node the first need that is not met is looked at. In every answer that keeps what was decided so far, either somebody who meets it or
//! the one who has it is in another version than here; trying all these is therefore trying everything. Each try is one change, so the
//! depth is the number of changes, and the first answer has the fewest.

use alloc::vec::Vec;

use hic_hicmod::manifest::Version;

use crate::order::{self, NoOrder};
use crate::problem::{Link, Problem, Stuck};
use crate::universe::{Chosen, Module, Release, Universe};
use crate::{MAX_CHANGES, MAX_WORK, Need, Plan, Step, Why};

/// A change that the search decided on.
#[derive(Clone, Copy)]
pub struct Change<'a> {
    pub module: Module,
    pub to: Release,
    why: Why<'a>,
}

/// A need that is not met, and whose it is.
#[derive(Clone, Copy, PartialEq)]
pub struct Unmet<'a> {
    pub holder: Release,
    pub need: Need<'a>,
}

/// What became of a node: an order of changes, nothing, or the end of all search.
type Found<'a> = Result<Option<Vec<Change<'a>>>, Problem<'a>>;

struct Search<'u, 'a> {
    universe: &'u Universe<'a>,
    chosen: Chosen,
    changes: Vec<Change<'a>>,
    /// The needs on the way to this node, with what was tried for each.
    path: Vec<Link<'a>>,
    /// The first way that ended where nothing could be tried.
    dead_end: Option<Problem<'a>>,
    /// A node was left because it would have taken one change more.
    cut: bool,
    work: u64,
}

pub fn search<'a>(universe: &Universe<'a>, name: &'a str, version: Version) -> Result<Plan<'a>, Problem<'a>> {
    let module = universe.module(name).ok_or(Problem::UnknownModule { name })?;
    let newest = universe.releases_of(module).next_back().map(|release| universe.version(release));
    let goal = universe.release(module, version).ok_or(Problem::UnknownVersion { name, version, newest })?;
    if let Some(error) = universe.unfit(goal) {
        return Err(Problem::Unfit { name, version, error });
    }
    let mut search = Search {
        universe,
        chosen: universe.installed.clone(),
        changes: Vec::new(),
        path: Vec::new(),
        dead_end: None,
        cut: false,
        work: 0,
    };
    // The runtime cannot be exchanged; what was asked for is decided from the start, changed or not.
    let installed = search.chosen.get(module).copied().flatten() == Some(goal);
    if !installed {
        search.apply(Change { module, to: goal, why: Why::Asked });
    }
    for limit in search.changes.len()..=MAX_CHANGES {
        search.cut = false;
        if let Some(order) = search.visit(limit, module)? {
            let steps = order.into_iter().map(|change| step(universe, &change)).collect();
            return Ok(Plan { steps, work: search.work });
        }
        if !search.cut {
            break;
        }
    }
    Err(search.dead_end.unwrap_or(Problem::TooManyChanges { limit: MAX_CHANGES }))
}

fn step<'a>(universe: &Universe<'a>, change: &Change<'a>) -> Step<'a> {
    let from = universe.installed.get(change.module).copied().flatten();
    Step {
        name: universe.name(change.module),
        from: from.map(|release| universe.version(release)),
        to: universe.version(change.to),
        why: change.why,
    }
}

impl<'a> Search<'_, 'a> {
    fn apply(&mut self, change: Change<'a>) {
        if let Some(place) = self.chosen.get_mut(change.module) {
            *place = Some(change.to);
        }
        self.changes.push(change);
    }

    fn undo(&mut self) {
        let Some(change) = self.changes.pop() else { return };
        let before = self.universe.installed.get(change.module).copied().flatten();
        if let Some(place) = self.chosen.get_mut(change.module) {
            *place = before;
        }
    }

    /// An order of changes that ends where every need is met, with at most `limit` of them; `goal` stays as it is.
    fn visit(&mut self, limit: usize, goal: Module) -> Found<'a> {
        let Some(unmet) = self.first_unmet()? else { return self.finish(limit, goal) };
        let tries = self.tries(&unmet, goal)?;
        if tries.is_empty() {
            self.stuck(&unmet, goal);
            return Ok(None);
        }
        self.try_each(&unmet, tries, limit, goal)
    }

    fn try_each(
        &mut self,
        unmet: &Unmet<'a>,
        tries: Vec<Change<'a>>,
        limit: usize,
        goal: Module,
    ) -> Found<'a> {
        if self.changes.len() >= limit {
            self.cut |= !tries.is_empty();
            return Ok(None);
        }
        for change in tries {
            let (name, version) = (self.universe.name(change.module), self.universe.version(change.to));
            self.path.push(self.link(unmet, Stuck::Tried(name, version)));
            self.apply(change);
            let found = self.visit(limit, goal);
            self.undo();
            self.path.pop();
            if let Some(order) = found? {
                return Ok(Some(order));
            }
        }
        Ok(None)
    }

    /// The changes in an order that can be gone step by step. Where there is none, one more change may open the way: whatever it is, it meets
    /// a need that was in the way, or its holder is in another version by it.
    fn finish(&mut self, limit: usize, goal: Module) -> Found<'a> {
        let blocked = match order::find(self.universe, &self.changes, &mut self.work) {
            Ok(order) => return Ok(Some(order)),
            Err(NoOrder::TooMuchWork) => return Err(Problem::TooHard { limit: MAX_WORK }),
            Err(NoOrder::Blocked { together, unmet }) => {
                let names = together.into_iter().map(|module| self.universe.name(module)).collect();
                self.dead_end.get_or_insert(Problem::OneStroke { names });
                unmet
            }
        };
        for unmet in blocked {
            let tries = self.tries(&unmet, goal)?;
            if let Some(order) = self.try_each(&unmet, tries, limit, goal)? {
                return Ok(Some(order));
            }
        }
        Ok(None)
    }

    fn count(&mut self, comparisons: u64) -> Result<(), Problem<'a>> {
        self.work += comparisons;
        if self.work > MAX_WORK { Err(Problem::TooHard { limit: MAX_WORK }) } else { Ok(()) }
    }

    fn first_unmet(&mut self) -> Result<Option<Unmet<'a>>, Problem<'a>> {
        // What was changed last is most likely to need something; then everything else.
        let latest = self.changes.iter().rev().map(|change| change.to);
        let rest = self.chosen.iter().copied().flatten();
        let mut compared = 0;
        let mut found = None;
        'all: for holder in latest.chain(rest) {
            for need in self.universe.needs(holder) {
                compared += 1;
                if !self.universe.is_met(&need, &self.chosen) && !self.was_unmet(holder, &need) {
                    found = Some(Unmet { holder, need });
                    break 'all;
                }
            }
        }
        self.count(compared)?;
        Ok(found)
    }

    /// Whether an installed module lacked this before anything changed: that is not this question's business.
    fn was_unmet(&self, holder: Release, need: &Need<'_>) -> bool {
        let installed = &self.universe.installed;
        installed.get(self.universe.module_of(holder)) == Some(&Some(holder))
            && !self.universe.is_met(need, installed)
    }

    /// Whether a module's version was decided on this way.
    fn is_decided(&self, module: Module, goal: Module) -> bool {
        module == goal || self.changes.iter().any(|change| change.module == module)
    }

    /// Whether a release may take the place of what is chosen: it runs here, nothing was decided about its module, and it is no step back.
    fn is_free(&self, release: Release, goal: Module) -> bool {
        let module = self.universe.module_of(release);
        let present = self.universe.installed.get(module).copied().flatten();
        let is_newer =
            present.is_none_or(|present| self.universe.version(release) > self.universe.version(present));
        is_newer && self.universe.unfit(release).is_none() && !self.is_decided(module, goal)
    }

    /// The changes that could meet a need, the preferred first: somebody who meets it, the newest first; then a newer version of the one who
    /// has it.
    fn tries(&mut self, unmet: &Unmet<'a>, goal: Module) -> Result<Vec<Change<'a>>, Problem<'a>> {
        let meeting = self.universe.that_meet(&unmet.need);
        let holder = self.universe.module_of(unmet.holder);
        let others = self.universe.releases_of(holder);
        self.count((meeting.len() + others.len()) as u64)?;
        let version = self.universe.version(unmet.holder);
        let needed = Why::NeededBy(self.universe.name(holder), version, unmet.need);
        let to = |why| move |to| (to, why);
        let meeting = meeting.into_iter().rev().map(to(needed));
        let others = others.rev().filter(|&other| other != unmet.holder).map(to(Why::OutOfStep(unmet.need)));
        let free = meeting.chain(others).filter(|(to, _)| self.is_free(*to, goal));
        Ok(free.map(|(to, why)| Change { module: self.universe.module_of(to), to, why }).collect())
    }

    fn link(&self, unmet: &Unmet<'a>, stuck: Stuck<'a>) -> Link<'a> {
        let holder = self.universe.module_of(unmet.holder);
        Link {
            name: self.universe.name(holder),
            version: self.universe.version(unmet.holder),
            need: unmet.need,
            stuck,
        }
    }

    /// Remembers why nothing can be tried for a need, if this is the first dead end.
    fn stuck(&mut self, unmet: &Unmet<'a>, goal: Module) {
        if self.dead_end.is_some() {
            return;
        }
        let mut links = core::mem::take(&mut self.path);
        links.push(self.link(unmet, self.reason(unmet, goal)));
        self.dead_end = Some(Problem::Conflict { links: links.clone() });
        links.pop();
        self.path = links;
    }

    /// Why no release can meet a need.
    fn reason(&self, unmet: &Unmet<'a>, goal: Module) -> Stuck<'a> {
        let universe = self.universe;
        let meeting = universe.that_meet(&unmet.need);
        let unfit = meeting.iter().rev().find_map(|&r| Some((universe.version(r), universe.unfit(r)?)));
        let present = match unmet.need {
            Need::Module(name, _) => {
                let module = universe.module(name);
                let chosen = module.and_then(|m| self.chosen.get(m).copied().flatten());
                let decided = module.is_some_and(|m| self.is_decided(m, goal));
                chosen.map(|release| (universe.version(release), decided))
            }
            Need::Interface(_) => None,
        };
        let newest = match unmet.need {
            Need::Module(name, _) => universe.module(name).and_then(|m| universe.releases_of(m).next_back()),
            Need::Interface(_) => None,
        };
        match (present, unfit) {
            (Some((version, true)), _) => Stuck::Decided(version),
            (_, Some((version, error))) => Stuck::Unfit(version, error),
            (Some((present, _)), _) => match newest.map(|release| universe.version(release)) {
                Some(newest) if newest > present => Stuck::Newest { present, newest },
                _ => Stuck::Present(present),
            },
            (None, _) => match (newest, meeting.last()) {
                (Some(newest), _) => Stuck::NotThis(universe.version(newest)),
                (None, Some(&only)) => {
                    Stuck::Elsewhere(universe.name(universe.module_of(only)), universe.version(only))
                }
                (None, None) => Stuck::Unknown,
            },
        }
    }
}
