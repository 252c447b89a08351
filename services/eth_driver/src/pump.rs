//! One pass over everything that can bring work.
//!
//! A pass takes a bounded number of frames of each kind, so that no side starves another or the calls. When a pass finds
//! nothing, everything that could bring work is armed and looked at once more; then the driver sleeps.

use crate::driver::Driver;
use crate::stack::Stack;
use hic_nic::Counters;
use hic_nic::region::Violation;
use hic_rt::{FOREVER, clock, log};

/// Frames of one kind in a pass. What differs between 0.1.0 and 1.2.0: with twice as many, a stack under load is woken half as often. The state regions
/// are the same.
pub const BUDGET: usize = if cfg!(feature = "v1_2") { 128 } else { 64 };
/// Passes before calls are looked at.
const PASSES: usize = 4;
/// With fewer buffers than this in the card, the driver asks to be told when a stack gives some back.
const FEW_BUFFERS: usize = 96;

impl Driver {
    /// Counts a wake-up; which bits it were does not matter, since every pass looks at everything.
    pub fn woken(&mut self, _bits: u64) {
        self.counters.wakeups += 1;
    }

    /// When the driver must look again though nobody wakes it: a hold ends.
    pub fn next_deadline(&self) -> u64 {
        self.steering.flows.next_deadline().unwrap_or(FOREVER)
    }

    /// Moves what there is to move; `true` if there may be more at once, `false` if the driver may sleep.
    pub fn pump(&mut self) -> bool {
        self.end_holds();
        if self.running.is_none() {
            return false;
        }
        self.disarm();
        for _ in 0..PASSES {
            let moved = self.complete() + self.receive() + self.transmit() + self.refill() + self.drain();
            self.wake_stacks();
            self.close_settled();
            if self.broken {
                log!("the card wrote an impossible value: reset");
                self.restart_card();
            } else if moved == 0 && self.arm() {
                return false;
            }
        }
        true
    }

    /// Flows whose hold ended go on at their owners.
    fn end_holds(&mut self) {
        if self.steering.flows.held() > 0 {
            let ended = self.steering.flows.expire(clock::now());
            self.counters.holds_expired += ended as u64;
            if ended > 0 {
                self.drain();
            }
        }
    }

    /// Delivers frames that waited for their flow, or for room at their stack; how many.
    pub fn drain(&mut self) -> usize {
        if self.steering.held.is_empty() {
            self.waiting = false;
            return 0;
        }
        let done = self.steering.drain(&mut self.stacks);
        self.counters.rx_no_stack += done.dropped as u64;
        self.waiting = done.waiting > 0;
        done.delivered + done.dropped
    }

    fn disarm(&mut self) {
        if let Some(running) = &mut self.running {
            running.rx.queue().disarm();
            running.tx.queue().disarm();
        }
        self.stacks.attached().for_each(|(_, stack)| stack.side.disarm());
    }

    /// Asks everybody to be woken; `false` if something came meanwhile.
    fn arm(&mut self) -> bool {
        let Some(running) = &mut self.running else { return true };
        let mut quiet = running.rx.queue().arm(1);
        let under_way = running.tx.queue().under_way();
        if under_way > 0 {
            quiet &= running.tx.queue().arm((under_way as u16 * 3 / 4).max(1));
        }
        let has_room = running.tx.queue().room() > 0;
        let is_short = running.rx.queue().under_way() < FEW_BUFFERS;
        for (_, stack) in self.stacks.attached().filter(|(_, stack)| !stack.muted) {
            // One that is fenced goes on when the other's frames are taken, and those wait for nothing but room.
            let is_fenced = stack.fence.before(stack.side.tx_taken()).is_some() && stack.has_to_send();
            if has_room && !is_fenced {
                quiet &= stack.side.arm_tx();
            }
            if self.waiting {
                quiet &= stack.side.arm_rx(1);
            } else if is_short {
                quiet &= stack.side.arm_rx(FEW_BUFFERS as u64 / 2);
            }
        }
        quiet
    }

    fn wake_stacks(&mut self) {
        for (_, stack) in self.stacks.attached() {
            if stack.side.must_wake() {
                stack.signal();
                self.counters.signals += 1;
            }
        }
    }
}

/// A stack that breaks the protocol is left alone, so that it can cost the others neither frames nor time.
pub fn mute(stack: &mut Stack, violation: Violation, counters: &mut Counters) {
    log!("stack {}: {violation}; it must attach again", stack.serial);
    counters.bad_index += 1;
    stack.muted = true;
}
