//! Who gets a frame: the flow table and the pool of held frames together.
//!
//! A frame of a held flow waits in the pool. When its flow flows again, all that waited is delivered in the order in which it
//! came ([`Steering::drain`]), and as long as some of it waits for room, later frames of the same flow queue up behind it. A
//! waiting frame is looked up again when it is delivered, so it follows its flow wherever that was moved meanwhile.
//!
//! It never touches a card or a packet region: whoever drives it moves the frames ([`Stacks`]).

use crate::flow::{Flow, FlowKey, FlowState, FlowTable};
use crate::fragments::Fragments;
use crate::frame::{flow_of, is_arp_reply};
use crate::hold::HeldPool;

/// What to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steer {
    /// To the stack of this number, if it is there, else to the default stack.
    Deliver(u32),
    /// Into the pool.
    Hold {
        /// What it matched in the table.
        flow: FlowKey,
        /// Its own flow.
        frame: FlowKey,
    },
    /// To every stack: each needs to know who answered ARP.
    All,
    /// To the default stack.
    Default,
}

/// The stacks as [`Steering::drain`] needs them.
pub trait Stacks {
    /// The default stack's number.
    fn default_stack(&self) -> Option<u32>;
    /// Whether there is a stack of this number.
    fn is_attached(&self, stack: u32) -> bool;
    /// The index that the next frame gets in its rx ring; `None` if no buffer is free now.
    fn room(&self, stack: u32) -> Option<u64>;
    /// Delivers a frame there; [`Self::room`] said that there is room.
    fn deliver(&mut self, stack: u32, checksum_valid: bool, bytes: &[u8]);
}

/// What [`Steering::drain`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Frames delivered.
    pub delivered: usize,
    /// Frames dropped, since no stack is attached.
    pub dropped: usize,
    /// Frames that wait for a buffer of their stack: call again when there is one.
    pub waiting: usize,
}

/// The flow table and the pool.
#[derive(Debug)]
pub struct Steering<'a> {
    /// Which stack owns which flow.
    pub flows: FlowTable<'a>,
    /// Frames of held flows.
    pub held: HeldPool<'a>,
    fragments: Fragments,
}

impl<'a> Steering<'a> {
    /// The table and the pool together.
    #[must_use]
    pub fn new(flows: FlowTable<'a>, held: HeldPool<'a>) -> Self {
        Self { flows, held, fragments: Fragments::default() }
    }

    /// Whether no flow is held and no frame waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.flows.held() == 0 && self.held.is_empty()
    }

    /// What to do with the frame of which `head` are the first octets ([`crate::frame::HEAD_BYTES`] are enough).
    #[must_use]
    pub fn steer(&self, head: &[u8]) -> Steer {
        if is_arp_reply(head) {
            return Steer::All;
        }
        let known = flow_of(head).or_else(|| self.fragments.flow_of(head));
        let Some(frame) = known else { return Steer::Default };
        match self.flows.route(&frame) {
            Some((flow, Flow { state: FlowState::Held { .. }, .. })) => Steer::Hold { flow, frame },
            Some((flow, _)) if self.held.has(&frame) => Steer::Hold { flow, frame },
            None if self.held.has(&frame) => Steer::Hold { flow: frame, frame },
            Some((_, Flow { owner, .. })) => Steer::Deliver(owner),
            None => Steer::Default,
        }
    }

    /// Delivers the frames of flows that are not held (any more). After a change of the table, and while frames wait for room.
    pub fn drain(&mut self, stacks: &mut impl Stacks) -> Drained {
        let mut done = Drained::default();
        let (mut full, mut after) = (0u64, 0);
        while let Some((order, place)) = self.held.next_after(after) {
            after = order;
            let Some(frame) = self.held.get(place) else { continue };
            let owner = match self.flows.route(&frame.frame) {
                Some((_, Flow { state: FlowState::Held { .. }, .. })) => continue,
                Some((_, flow)) => Some(flow.owner).filter(|owner| stacks.is_attached(*owner)),
                None => None,
            };
            let Some(stack) = owner.or_else(|| stacks.default_stack()) else {
                self.held.free(place);
                done.dropped += 1;
                continue;
            };
            // A stack without room gets nothing more, lest a later frame overtake.
            let bit = 1 << (stack % 64);
            let room = stacks.room(stack).filter(|_| full & bit == 0);
            let Some(index) = room else {
                full |= bit;
                done.waiting += 1;
                continue;
            };
            self.held.set_target(place, stack, index);
            if let Some(frame) = self.held.get(place) {
                stacks.deliver(stack, frame.checksum_valid, frame.bytes);
            }
            self.held.free(place);
            done.delivered += 1;
        }
        done
    }
}

#[cfg(test)]
mod tests;
