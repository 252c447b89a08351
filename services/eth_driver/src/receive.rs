//! Frames from the card to the stacks.
//!
//! A frame is delivered first and taken out of the card's queue then: a driver that dies in between finds it in both, and skips it if it
//! lies in the ring of the stack whose buffer it is in; a copy to another stack may come twice, but nothing is lost.

use crate::driver::Driver;
use crate::pump::{BUDGET, mute};
use crate::stacks::copy;
use crate::state::PLACES;
use eth_driver::header::{self, HEADER_BYTES};
use hic_nic::frame::HEAD_BYTES;
use hic_nic::region::FRAME_OFFSET;
use hic_nic::steer::Steer;
use hic_nic::supply::{self, Stock};
use hic_nic::token::RxToken;
use hic_nic::virtqueue::UsedError;
use hic_rt::log;

impl Driver {
    /// Token and length of the next frame that the card received.
    pub fn peek_rx(&mut self) -> Option<(u32, u32)> {
        match self.running.as_mut()?.rx.queue().peek() {
            Ok(used) => used.map(|used| (used.token, used.len)),
            Err(error) => {
                self.card_lied(error);
                None
            }
        }
    }

    /// The card is reset at the end of the pass.
    pub fn card_lied(&mut self, error: UsedError) {
        if !self.broken {
            log!("{error}");
        }
        self.counters.card_violations += 1;
        self.broken = true;
    }

    /// A bounded number of frames; how many.
    pub fn receive(&mut self) -> usize {
        let mut count = 0;
        while count < BUDGET {
            let Some((token, len)) = self.peek_rx() else { break };
            let RxToken { stack, buffer } = RxToken::decode(token);
            self.arrived(stack, buffer, len);
            if let Some(running) = &mut self.running {
                running.rx.queue().advance();
            }
            count += 1;
        }
        count
    }

    /// A frame came into a buffer of stack `feeder`.
    fn arrived(&mut self, feeder: usize, buffer: u16, written: u32) {
        let Some(stack) = self.stacks.get_mut(feeder) else { return };
        let Some(at) = stack.side.buffer(buffer) else { return };
        // SAFETY: the buffer's first octets are mapped and, until it is delivered, the driver's.
        let header = unsafe { at.cast::<[u8; HEADER_BYTES]>().read_volatile() };
        let Some((len, valid)) = header::decode(header, written) else {
            stack.side.give_back(buffer);
            self.counters.rx_bad_length += 1;
            return;
        };
        let head = stack.side.frame_head::<HEAD_BYTES>(buffer);
        self.counters.rx_frames += 1;
        self.counters.rx_bytes += len as u64;
        let steer = self.steer(head.get(..len.min(HEAD_BYTES)).unwrap_or_default());
        let is_feeders = match steer {
            Steer::All => self.stacks.get(feeder).is_some_and(|stack| stack.leaving.is_none()),
            _ => self.target(steer) == Some(feeder),
        };
        if !is_feeders || steer == Steer::All {
            // SAFETY: the frame lies inside the buffer.
            let frame = unsafe { at.add(FRAME_OFFSET) };
            self.place(steer, Some(feeder), valid, |to| copy(frame, len, to));
        }
        let Some(stack) = self.stacks.get_mut(feeder) else { return };
        if is_feeders { stack.side.deliver(buffer, len, valid) } else { stack.side.give_back(buffer) }
    }

    /// What to do with a frame; without a look at it while there is nothing to decide.
    pub fn steer(&self, head: &[u8]) -> Steer {
        if self.steering.is_idle() && self.stacks.attached().count() < 2 {
            return Steer::Default;
        }
        self.steering.steer(head)
    }

    /// The one stack that gets a frame, if it is one.
    pub fn target(&self, steer: Steer) -> Option<usize> {
        let owner = match steer {
            Steer::Deliver(owner) => Some(owner as usize),
            Steer::Default => None,
            Steer::Hold { .. } | Steer::All => return None,
        };
        let attached = |owner: &usize| self.stacks.get(*owner).is_some_and(|stack| stack.leaving.is_none());
        owner.filter(attached).or_else(|| self.stacks.default_number())
    }

    /// Copies a frame to where it belongs; `fill` writes it and returns its length. Of several stacks, `except` is left out.
    pub fn place(
        &mut self,
        steer: Steer,
        except: Option<usize>,
        valid: bool,
        fill: impl Fn(&mut [u8]) -> usize,
    ) {
        match steer {
            Steer::Hold { flow, frame } => match self.steering.held.keep((&flow, &frame), valid, fill) {
                Ok(()) => self.counters.held_frames += 1,
                Err(_) => self.counters.held_dropped += 1,
            },
            Steer::All => {
                for number in (0..PLACES).filter(|number| Some(*number) != except) {
                    if self.stacks.get(number).is_some_and(|stack| stack.leaving.is_none()) {
                        self.copy_to(number, valid, &fill);
                    }
                }
            }
            Steer::Deliver(_) | Steer::Default => match self.target(steer) {
                Some(number) => self.copy_to(number, valid, &fill),
                None => self.counters.rx_no_stack += 1,
            },
        }
    }

    fn copy_to(&mut self, number: usize, valid: bool, fill: impl Fn(&mut [u8]) -> usize) {
        let Some(stack) = self.stacks.get_mut(number) else { return };
        if stack.side.deliver_copy(valid, fill) {
            self.counters.local_frames += 1;
        } else {
            self.counters.rx_no_buffer += 1;
        }
    }

    /// Takes buffers back from the stacks and gives the card what it lacks: of the default stack, and if that has none to give (it may be
    /// dead and its ring full), of another that has flows, so that one stack's death does not keep frames from the others.
    pub fn refill(&mut self) -> usize {
        for stack in self.stacks.all_mut().filter(|stack| !stack.muted && stack.leaving.is_none()) {
            if let Err(violation) = stack.side.reclaim() {
                mute(stack, violation, self.counters);
            }
        }
        let Some(default) = self.stacks.default_number() else { return 0 };
        let mut stocks = self.stocks(default);
        let mut count = self.feed(default, &mut stocks);
        for number in (0..PLACES).filter(|number| *number != default) {
            count += self.feed(number, &mut stocks);
        }
        if let Some(running) = self.running.as_mut().filter(|_| count > 0) {
            running.rx.kick();
        }
        count
    }

    /// Where the stacks' buffers are. An instance that only waits, before or after a move, has no flows: the card gets none of its.
    fn stocks(&self, default: usize) -> [Stock; PLACES] {
        core::array::from_fn(|number| {
            let Some(stack) = self.stacks.get(number) else { return Stock::default() };
            let is_served = number == default || self.steering.flows.owns_any(number as u32);
            let free = (is_served && stack.leaving.is_none()).then(|| stack.side.free_buffers());
            Stock { free, with_card: stack.side.lent_buffers() }
        })
    }

    /// Gives the card what it may have of a stack's buffers; how many.
    fn feed(&mut self, number: usize, stocks: &mut [Stock; PLACES]) -> usize {
        let (Some(running), Some(stack)) = (&mut self.running, self.stacks.get_mut(number)) else { return 0 };
        let mut count = 0;
        while supply::may_give(stocks, number) {
            let Some(buffer) = stack.side.take_buffer() else { break };
            let token = RxToken { stack: number, buffer }.encode();
            let posted = stack.side.buffer(buffer).is_some_and(|at| running.post_rx(token, at).is_ok());
            if !posted {
                stack.side.give_back(buffer);
                break;
            }
            if let Some(stock) = stocks.get_mut(number) {
                *stock = Stock { free: Some(stack.side.free_buffers()), with_card: stock.with_card + 1 };
            }
            count += 1;
        }
        count
    }
}
