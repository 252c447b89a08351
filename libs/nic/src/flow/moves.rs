//! Holding flows and handing them from one stack to another.
//!
//! Each request names many flows and is checked as a whole first, so that it is done for all of them or for none. A driver that
//! dies half way leaves each flow in the old or the new state; its caller asks again, and a repeat does the rest.

use super::record::{Flow, FlowRecord, FlowState, Slot};
use super::{FlowKey, FlowTable};
use core::fmt;

/// Longest hold: whoever forgets its flows gets them back, with what the pool still kept of their frames.
pub const MAX_HOLD_NANOS: u64 = 30_000_000_000;

/// Why flows were not held, released or taken; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveError {
    /// A flow is not in the table, or another stack's.
    NotOwn {
        /// Its place in the list.
        number: usize,
    },
    /// The table has no room for those of the flows that it lacks.
    Full {
        /// Flows that it lacks.
        missing: usize,
    },
}

impl fmt::Display for MoveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOwn { number } => write!(f, "flow {number} of the list is not the caller's"),
            Self::Full { missing } => write!(f, "the flow table has no room for {missing} more flows"),
        }
    }
}

impl core::error::Error for MoveError {}

impl FlowTable<'_> {
    /// Held flows.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// When to call [`Self::expire`]: no hold ends before this, in monotonic nanoseconds; `None` if nothing is held.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        (self.held > 0).then_some(self.earliest)
    }

    /// Counts holds and finds the earliest deadline.
    pub(super) fn count_holds(&mut self) {
        (self.held, self.earliest) = (0, u64::MAX);
        for record in self.records.iter() {
            if let Slot::Live(_, Flow { state: FlowState::Held { deadline }, .. }) = record.read() {
                self.held += 1;
                self.earliest = self.earliest.min(deadline);
            }
        }
    }

    /// Writes owner and state of a flow in the table.
    fn set(&mut self, at: usize, key: &FlowKey, flow: Flow) {
        let Some(record) = self.records.get_mut(at) else { return };
        let before = record.read();
        record.write(key.to_words(), flow);
        if let Slot::Live(_, Flow { owner, state }) = before {
            self.one_less(owner);
            if matches!(state, FlowState::Held { .. }) {
                self.one_held_less();
            }
        }
        self.one_more(flow.owner);
        if let FlowState::Held { deadline } = flow.state {
            self.held += 1;
            self.earliest = self.earliest.min(deadline);
        }
    }

    /// A held flow flows again or is gone. With the last one goes the deadline, or the next hold would be searched for at once.
    pub(super) fn one_held_less(&mut self) {
        self.held -= 1;
        if self.held == 0 {
            self.earliest = u64::MAX;
        }
    }

    fn check_own(&self, keys: &[FlowKey], owner: u32) -> Result<(), MoveError> {
        let is_own = |key| self.get(key).is_some_and(|flow| flow.owner == owner);
        let foreign = keys.iter().position(|key| !is_own(key));
        foreign.map_or(Ok(()), |number| Err(MoveError::NotOwn { number }))
    }

    /// Holds flows of `owner` until `deadline`, monotonic nanoseconds. Flows that are held get the new deadline.
    ///
    /// # Errors
    /// [`MoveError::NotOwn`].
    pub fn hold(&mut self, keys: &[FlowKey], owner: u32, deadline: u64) -> Result<(), MoveError> {
        self.check_own(keys, owner)?;
        self.set_all(keys, Flow { owner, state: FlowState::Held { deadline } });
        Ok(())
    }

    /// Lets flows of `owner` flow. Those that are not held stay as they are.
    ///
    /// # Errors
    /// [`MoveError::NotOwn`].
    pub fn release(&mut self, keys: &[FlowKey], owner: u32) -> Result<(), MoveError> {
        self.check_own(keys, owner)?;
        self.set_all(keys, Flow { owner, state: FlowState::Flowing });
        Ok(())
    }

    /// Makes flows `owner`'s, and flowing, whoever had them; those that are not in the table are inserted.
    ///
    /// # Errors
    /// [`MoveError::Full`].
    pub fn take(&mut self, keys: &[FlowKey], owner: u32) -> Result<(), MoveError> {
        let missing = keys.iter().filter(|key| self.get(key).is_none()).count();
        if missing > self.capacity().saturating_sub(self.live()) {
            return Err(MoveError::Full { missing });
        }
        self.set_all(keys, Flow { owner, state: FlowState::Flowing });
        for key in keys {
            self.insert_if_absent(key, owner).map_err(|_| MoveError::Full { missing })?;
        }
        Ok(())
    }

    fn set_all(&mut self, keys: &[FlowKey], flow: Flow) {
        for key in keys {
            if let Some(at) = self.position(&key.to_words()) {
                self.set(at, key, flow);
            }
        }
    }

    /// Returns flows whose hold ended by `now` to their owners; how many.
    pub fn expire(&mut self, now: u64) -> usize {
        if self.held == 0 || now < self.earliest {
            return 0;
        }
        let before = self.held;
        for at in 0..self.records.len() {
            let Some(Slot::Live(key, flow)) = self.records.get(at).map(FlowRecord::read) else { continue };
            if matches!(flow.state, FlowState::Held { deadline } if deadline <= now) {
                self.set(at, &key, Flow { state: FlowState::Flowing, ..flow });
            }
        }
        let expired = before - self.held;
        self.count_holds();
        expired
    }

    /// Gives all flows of `from` to `to`, in the state that they are in: the same stack under another number.
    pub fn reassign(&mut self, from: u32, to: u32) {
        for at in 0..self.records.len() {
            let Some(Slot::Live(key, flow)) = self.records.get(at).map(FlowRecord::read) else { continue };
            if flow.owner == from {
                self.set(at, &key, Flow { owner: to, ..flow });
            }
        }
    }
}
