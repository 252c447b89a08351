//! Whose turn it is to use the network: one look at the servers or one search for a module at a time, each to its end.
//!
//! ```text
//!   ask_look   ─┐            ┌▶ look: server after server ─┐
//!   ask_search ─┴▶ waits ─▶ begin                          ├▶ nobody's turn
//!                   │        └▶ search: its module ────────┘
//!                   └ a search waits for a look that begins after it was asked for
//! ```
//! There is one place for a file on its way. Whoever puts a second one there loses the memory of the first, which the fetcher can still write.

use alloc::collections::VecDeque;

/// Somebody searches already; it is not his module that would be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// Whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Turn<S, M> {
    Nobody,
    /// A look; these servers are still to be asked.
    Look(VecDeque<S>),
    Search(M),
}

/// What begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun<M> {
    /// A look: [`Turns::next_server`] has the first server.
    Look,
    /// The search for this module.
    Search(M),
}

/// The turns: `S` is a server, `M` a module that is searched for.
#[derive(Clone, Debug)]
pub struct Turns<S, M> {
    turn: Turn<S, M>,
    /// A look was asked for and has not begun.
    look: bool,
    /// A search was asked for and has not begun.
    search: Option<M>,
}

impl<S, M> Default for Turns<S, M> {
    fn default() -> Self {
        Self { turn: Turn::Nobody, look: false, search: None }
    }
}

impl<S, M: Clone> Turns<S, M> {
    /// Asks for a look. One that is under way does not count: what its servers had may have changed since, and the list of them, too.
    pub const fn ask_look(&mut self) {
        self.look = true;
    }

    /// Asks for a module, by what a look from now on finds.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn ask_search(&mut self, module: M) -> Result<(), Busy> {
        if self.is_searching() {
            return Err(Busy);
        }
        (self.look, self.search) = (true, Some(module));
        Ok(())
    }

    /// Begins what waits, if it is nobody's turn; looks come before the search. `servers` are those that a look asks.
    pub fn begin(&mut self, servers: impl FnOnce() -> VecDeque<S>) -> Option<Begun<M>> {
        if !matches!(self.turn, Turn::Nobody) {
            return None;
        }
        if core::mem::take(&mut self.look) {
            self.turn = Turn::Look(servers());
            return Some(Begun::Look);
        }
        let module = self.search.take()?;
        self.turn = Turn::Search(module.clone());
        Some(Begun::Search(module))
    }

    /// The next server of the look under way; `None` ends it.
    pub fn next_server(&mut self) -> Option<S> {
        let Turn::Look(servers) = &mut self.turn else { return None };
        let next = servers.pop_front();
        if next.is_none() {
            self.turn = Turn::Nobody;
        }
        next
    }

    /// The search under way has come to its end.
    pub fn end_search(&mut self) {
        if matches!(self.turn, Turn::Search(_)) {
            self.turn = Turn::Nobody;
        }
    }

    /// Whether the last look that was asked for has not ended.
    #[must_use]
    pub const fn is_looking(&self) -> bool {
        self.look || matches!(self.turn, Turn::Look(_))
    }

    /// Whether a search was asked for that has not ended.
    #[must_use]
    pub const fn is_searching(&self) -> bool {
        self.search.is_some() || matches!(self.turn, Turn::Search(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Names = Turns<&'static str, &'static str>;

    fn begin(turns: &mut Names, servers: &[&'static str]) -> Option<Begun<&'static str>> {
        turns.begin(|| servers.iter().copied().collect())
    }

    #[test]
    fn a_look_waits_until_the_module_that_is_being_fetched_is_there() {
        let mut turns = Names::default();
        turns.ask_search("netstack 1.9.0").unwrap();
        assert_eq!(begin(&mut turns, &["a"]), Some(Begun::Look));
        assert_eq!((turns.next_server(), turns.next_server()), (Some("a"), None));
        assert_eq!(begin(&mut turns, &["a"]), Some(Begun::Search("netstack 1.9.0")));
        turns.ask_look();
        assert_eq!(begin(&mut turns, &["a"]), None);
        // Nor does the end of a walk that is none of its own get it further.
        assert_eq!(turns.next_server(), None);
        assert!(turns.is_looking() && turns.is_searching());
        turns.end_search();
        assert_eq!(begin(&mut turns, &["a"]), Some(Begun::Look));
    }

    #[test]
    fn a_second_search_is_refused_and_the_first_goes_on() {
        let mut turns = Names::default();
        turns.ask_search("netstack 1.9.0").unwrap();
        assert_eq!(turns.ask_search("foo 1.0.0"), Err(Busy));
        assert_eq!((begin(&mut turns, &[]), turns.next_server()), (Some(Begun::Look), None));
        assert_eq!(begin(&mut turns, &[]), Some(Begun::Search("netstack 1.9.0")));
        assert_eq!(turns.ask_search("foo 1.0.0"), Err(Busy));
        turns.end_search();
        assert_eq!(turns.ask_search("foo 1.0.0"), Ok(()));
    }

    #[test]
    fn who_asks_for_a_look_gets_one_that_began_afterwards() {
        let mut turns = Names::default();
        turns.ask_look();
        assert_eq!(begin(&mut turns, &["slow"]), Some(Begun::Look));
        assert_eq!(turns.next_server(), Some("slow"));
        turns.ask_look();
        assert_eq!(turns.next_server(), None);
        assert!(turns.is_looking(), "the look of before says nothing about the server that was added");
        assert_eq!(begin(&mut turns, &["slow", "added"]), Some(Begun::Look));
        assert_eq!((turns.next_server(), turns.next_server()), (Some("slow"), Some("added")));
        assert_eq!(turns.next_server(), None);
        assert!(!turns.is_looking());
        assert_eq!(begin(&mut turns, &[]), None);
    }

    #[test]
    fn a_search_goes_by_a_look_that_began_after_it_was_asked_for() {
        let mut turns = Names::default();
        turns.ask_look();
        assert_eq!((begin(&mut turns, &["a"]), turns.next_server()), (Some(Begun::Look), Some("a")));
        turns.ask_search("foo 1.0.0").unwrap();
        assert_eq!(turns.next_server(), None);
        assert_eq!(begin(&mut turns, &["a"]), Some(Begun::Look));
    }
}
