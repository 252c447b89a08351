//! Stacks that are gone for good.
//!
//! Such a stack gets nothing more. Frames that it had not consumed are steered again, frames that it had posted are sent; its
//! packet region stays as long as the card has buffers of it, which come back as frames arrive in them (another stack's
//! take their place). So nothing is lost and the card is not reset; it is only when a third stack needs the place
//! ([`Driver::force_places`]).

use crate::driver::Driver;
use crate::stack::Stack;
use crate::stacks::copy;
use crate::state::PLACES;
use hic_nic::frame::{HEAD_BYTES, flow_of};
use hic_nic::steer::{self, Steer};
use hic_nic::token::RxToken;

impl Driver {
    /// An attached stack is gone for good.
    pub fn abandon(&mut self, number: usize) {
        if let Some(stack) = self.stacks.get_mut(number) {
            stack.leave();
            self.settle(number);
        }
    }

    /// Hands on what a stack that is leaving had. It can be done again, after a restart in the middle of it.
    pub fn settle(&mut self, number: usize) {
        self.steering.flows.remove_owner(number as u32);
        // The fallback becomes explicit, so that a later stack does not change it.
        let default = self.stacks.default_number().and_then(|number| self.stacks.get(number));
        if let Some(serial) = default.map(|stack| stack.serial) {
            self.stacks.set_default(serial);
        }
        if let Some(stack) = self.stacks.get_mut(number).filter(|stack| !stack.muted) {
            // An impossible index of a stack that is gone: all that the driver knows as delivered is steered again.
            let _ = stack.side.reclaim();
        }
        while self.steer_again(number) {}
        self.drain();
    }

    /// Steers the oldest frame that a stack had not consumed; `false` if there is none. Dying between copy and drop repeats it.
    fn steer_again(&mut self, number: usize) -> bool {
        let Some(frame) = self.stacks.get(number).and_then(|stack| stack.side.unconsumed()) else {
            return false;
        };
        let mut head = [0; HEAD_BYTES];
        let head = &mut head[..frame.len.min(HEAD_BYTES)];
        copy(frame.at, head.len(), head);
        if frame.len >= 14 {
            let steer = self.with_patience(self.steer(head), head);
            self.place(steer, None, frame.checksum_valid, |to| copy(frame.at, frame.len, to));
            self.counters.resteered_frames += 1;
        }
        if let Some(stack) = self.stacks.get_mut(number) {
            stack.side.drop_unconsumed();
        }
        true
    }

    /// A frame whose stack has no room now waits for it in the pool.
    fn with_patience(&self, steer: Steer, head: &[u8]) -> Steer {
        let is_full = |number: usize| steer::Stacks::room(&self.stacks, number as u32).is_none();
        match (self.target(steer).filter(|number| is_full(*number)), flow_of(head)) {
            (Some(_), Some(frame)) => Steer::Hold { flow: frame, frame },
            _ => steer,
        }
    }

    /// Frees the places of stacks that are gone and of which the card has nothing any more.
    pub fn close_settled(&mut self) {
        let leaving = self.stacks.leaving();
        for number in (0..PLACES).filter(|number| leaving[*number]) {
            if self.is_settled(number) {
                self.stacks.remove(number).into_iter().for_each(Stack::close);
            }
        }
    }

    fn is_settled(&mut self, number: usize) -> bool {
        let Some(running) = &mut self.running else { return false };
        let has_buffer = running.rx.queue().tokens().any(|token| RxToken::decode(token).stack == number);
        let is_idle = |stack: &Stack| !stack.has_to_send() && stack.side.tx_under_way() == 0;
        !has_buffer && self.stacks.get(number).is_some_and(is_idle)
    }
}
