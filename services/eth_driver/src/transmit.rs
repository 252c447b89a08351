//! Frames from the stacks to the card, or to each other.
//!
//! A frame is given to the card first and taken from the stack's ring then; when it was sent, it is taken out of the card's queue
//! first and done then. `hic_nic::region` says how a driver that dies in between finds out.

use crate::driver::Driver;
use crate::pump::{BUDGET, mute};
use crate::stacks::copy;
use crate::state::PLACES;
use hic_nic::Offload;
use hic_nic::frame::HEAD_BYTES;
use hic_nic::region::{Submission, Violation};
use hic_nic::segment::{MAX_HEADERS, Plan};
use hic_nic::token::TxToken;
use hic_rt::log;

/// What came of an attempt to send a frame of a stack.
enum Attempt {
    /// One frame less.
    Done,
    /// It has none, or the card takes none.
    Nothing,
    /// Frames of another stack go first.
    Fenced,
}

impl Driver {
    /// Frames that the card has sent go back to their stacks; how many.
    pub fn complete(&mut self) -> usize {
        let mut count = 0;
        while let Some(running) = &mut self.running {
            let used = match running.tx.queue().pop() {
                Ok(Some(used)) => used,
                Ok(None) => break,
                Err(error) => {
                    self.card_lied(error);
                    break;
                }
            };
            let TxToken { stack, slot } = TxToken::decode(used.token);
            if let Some(stack) = self.stacks.get_mut(stack) {
                stack.side.complete_slot(slot);
            }
            count += 1;
        }
        count
    }

    /// A bounded number of frames of each stack; how many.
    pub fn transmit(&mut self) -> usize {
        let (mut count, mut fenced) = (0, false);
        for number in 0..PLACES {
            for _ in 0..BUDGET {
                if !self.has_room() {
                    break;
                }
                match self.transmit_one(number) {
                    Attempt::Done => count += 1,
                    Attempt::Nothing => break,
                    Attempt::Fenced => {
                        fenced = true;
                        break;
                    }
                }
            }
        }
        if count == 0 && fenced && self.has_room() {
            self.break_fences();
            return 1;
        }
        if let Some(running) = self.running.as_mut().filter(|_| count > 0) {
            running.tx.kick();
        }
        count
    }

    fn has_room(&mut self) -> bool {
        self.running.as_mut().is_some_and(|running| running.tx.queue().room() > 0)
    }

    /// Everybody who has something to send waits for another: order is given up.
    fn break_fences(&mut self) {
        log!("stacks wait for each other's frames: fences dropped");
        for stack in self.stacks.all_mut() {
            stack.fence.clear();
        }
        self.counters.fences_broken += 1;
    }

    /// Whether a stack's next frame must wait for another stack's.
    fn is_fenced(&mut self, number: usize) -> bool {
        let Some(stack) = self.stacks.get(number) else { return false };
        let next = stack.side.tx_taken();
        let Some((serial, _)) = stack.fence.before(next) else { return false };
        let progress = self.stacks.tx_progress(serial);
        self.stacks.get_mut(number).is_some_and(|stack| stack.fence.blocks(next, |_| progress))
    }

    fn transmit_one(&mut self, number: usize) -> Attempt {
        let Some(stack) = self.stacks.get(number).filter(|stack| !stack.muted) else {
            return Attempt::Nothing;
        };
        if stack.has_to_send() && self.is_fenced(number) {
            return Attempt::Fenced;
        }
        let Some(stack) = self.stacks.get_mut(number) else { return Attempt::Nothing };
        if stack.leaving.is_some_and(|last| stack.side.tx_taken() >= last) {
            return Attempt::Nothing;
        }
        let frame = match stack.side.next_tx() {
            Ok(Some(frame)) => frame,
            Ok(None) => return Attempt::Nothing,
            Err(Violation::TxDescriptor { .. }) => {
                self.counters.tx_bad_descriptor += 1;
                return Attempt::Done;
            }
            Err(violation) => {
                mute(stack, violation, self.counters);
                return Attempt::Nothing;
            }
        };
        self.send(number, &frame)
    }

    fn send(&mut self, number: usize, frame: &Submission) -> Attempt {
        let Some(running) = &mut self.running else { return Attempt::Nothing };
        let mut head = [0; MAX_HEADERS];
        copy(frame.at, frame.len.min(MAX_HEADERS), &mut head);
        let is_local = head[..6] == running.mac;
        if !is_local && running.post_tx(TxToken::new(number, frame.index).encode(), frame).is_err() {
            return Attempt::Nothing;
        }
        if is_local {
            self.transmit_local(frame, &head);
        } else {
            self.counters.tx_frames += 1;
            self.counters.tx_bytes += frame.len as u64;
        }
        if let Some(stack) = self.stacks.get_mut(number) {
            stack.side.taken(frame.index);
            if is_local {
                stack.side.complete(frame.index);
            }
        }
        Attempt::Done
    }

    /// A frame to our own station: it is steered as if it had come from the card, cut up if need be.
    fn transmit_local(&mut self, frame: &Submission, head: &[u8; MAX_HEADERS]) {
        let steer = self.steer(&head[..frame.len.min(HEAD_BYTES).min(MAX_HEADERS)]);
        let valid = frame.offload != Offload::None;
        let Offload::Segment { header_len, mss, .. } = frame.offload else {
            return self.place(steer, None, valid, |to| copy(frame.at, frame.len, to));
        };
        let Some(plan) = Plan::new(head, frame.len, header_len.into(), mss.into()) else {
            self.counters.local_unfit += 1;
            return;
        };
        for n in 0..plan.count() {
            self.place(steer, None, true, |to| {
                plan.write(n, to, |from, body| {
                    // SAFETY: `from + body.len()` is at most the payload's length (`Plan::write`), so it lies inside the frame.
                    let at = unsafe { frame.at.add(usize::from(header_len) + from) };
                    copy(at, body.len(), body);
                })
            });
        }
    }
}
