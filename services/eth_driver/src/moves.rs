//! Holding flows and handing them from one stack to another.
//!
//! Who may take what is not decided here: a stack takes flows when the system's truth (the batch token) says that it has their
//! sockets. Each request leaves a state from which its repeat does the rest.

use crate::driver::Driver;
use crate::state::PLACES;
use hic_nic::Refusal;
use hic_nic::flow::{FlowKey, MAX_HOLD_NANOS, MoveError};
use hic_rt::clock;

fn refusal(error: MoveError) -> Refusal {
    match error {
        MoveError::NotOwn { .. } => Refusal::NoSuchFlow,
        MoveError::Full { .. } => Refusal::TableFull,
    }
}

impl Driver {
    /// Holds flows of a stack; its receive fence. What the card has received and nobody looked at yet is held too.
    pub fn hold(&mut self, number: usize, keys: &[FlowKey], deadline: u64) -> Result<u64, Refusal> {
        let deadline = deadline.min(clock::now() + MAX_HOLD_NANOS);
        self.steering.flows.hold(keys, number as u32, deadline).map_err(refusal)?;
        Ok(self.stacks.get(number).map_or(0, |stack| stack.side.rx_index()))
    }

    /// Lets flows of a stack flow.
    pub fn release(&mut self, number: usize, keys: &[FlowKey]) -> Result<(), Refusal> {
        self.steering.flows.release(keys, number as u32).map_err(refusal)?;
        self.drain();
        Ok(())
    }

    /// Makes flows those of stack `number`. The fence comes first: a driver that dies in between has a fence too many, and not a frame
    /// of the new owner before one of the old.
    pub fn take(&mut self, number: usize, keys: &[FlowKey], from_serial: u64) -> Result<(), Refusal> {
        let owners = |owner: usize| {
            let owns = |key| self.steering.flows.get(key).is_some_and(|flow| flow.owner == owner as u32);
            keys.iter().any(owns)
        };
        let before: [bool; PLACES] = core::array::from_fn(|other| {
            let is_named = self.stacks.get(other).is_some_and(|stack| stack.serial == from_serial);
            other != number && (is_named || owners(other))
        });
        let mut moved = 0;
        for other in (0..PLACES).filter(|other| before[*other]) {
            self.fence(number, other);
            moved = keys.len() as u64;
        }
        self.steering.flows.take(keys, number as u32).map_err(|error| {
            self.counters.flows_refused += 1;
            refusal(error)
        })?;
        self.counters.flows_moved += moved;
        self.drain();
        Ok(())
    }

    /// What stack `other` has posted goes before what stack `number` posts from now on.
    fn fence(&mut self, number: usize, other: usize) {
        let Some(first) = self.stacks.get(other).filter(|stack| stack.has_to_send()) else { return };
        let end = first.leaving.unwrap_or(u64::MAX);
        let (serial, theirs) = (first.serial, first.side.tx_posted().unwrap_or(0).min(end));
        if let Some(stack) = self.stacks.get_mut(number) {
            let ours = stack.side.tx_posted().unwrap_or_else(|_| stack.side.tx_taken());
            stack.fence.raise(serial, theirs, ours);
        }
    }
}
