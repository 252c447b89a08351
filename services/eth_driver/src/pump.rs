//! Moves frames between the card and the stacks.
//!
//! One pass takes a bounded number of frames of each kind, so that no side starves another or the calls. When a pass finds
//! nothing, everything that could bring work is armed and looked at once more; then the driver sleeps.

use crate::card::{Card, CardError, Running};
use crate::setup::DOORBELL_BIT;
use crate::stack::Stack;
use crate::state::{Head, MAX_STACKS, Slots, StackRecord};
use crate::{is_live, new_slot};
use core::ptr::NonNull;
use eth_driver::header::{self, HEADER_BYTES};
use hic_nic::flow::FlowTable;
use hic_nic::frame::{HEAD_BYTES, flow_of};
use hic_nic::region::{FRAME_OFFSET, Submission, Violation};
use hic_nic::segment::{MAX_HEADERS, Plan};
use hic_nic::virtqueue::QueueRecord;
use hic_nic::{Counters, Offload};
use hic_rt::{Handle, log};

/// Frames of one kind in a pass.
const BUDGET: usize = 64;
/// Passes before calls are looked at.
const PASSES: usize = 4;
/// Buffers that the card may have at once. The rest is for frames from this machine.
const CARD_BUFFERS: usize = 192;
/// With fewer buffers than this in the card, the driver asks to be told when the stack gives some back.
const FEW_BUFFERS: usize = 96;

/// The driver.
pub struct Driver {
    /// Which stack owns which flow.
    pub flows: FlowTable<'static>,
    /// Counters, in the state region.
    pub counters: &'static mut Counters,
    /// Stacks by their number.
    pub stacks: [Option<Stack>; MAX_STACKS],
    /// The card between two resets; `None` if it does not come back from one.
    pub running: Option<Running>,
    /// Pays for packet regions.
    pub account: Handle,
    /// Wakes the driver.
    pub notification: Handle,
    /// Orders of attaching given so far.
    pub attached: &'static mut u64,
    /// Slots, in the state region.
    pub slots: &'static mut Slots,
    records: NonNull<[StackRecord; MAX_STACKS]>,
    queues: NonNull<[QueueRecord; 2]>,
    card: Card,
    /// The card wrote an impossible value.
    broken: bool,
}

impl Driver {
    /// A driver without stacks, over its state.
    pub fn new(
        head: &'static mut Head,
        flows: FlowTable<'static>,
        card: Card,
        account: Handle,
        notification: Handle,
    ) -> Self {
        let Head { attached, slots, counters, stacks, queues, .. } = head;
        let (records, queues) = (NonNull::from(stacks), NonNull::from(queues));
        let stacks = [const { None }; MAX_STACKS];
        let (running, broken) = (None, false);
        Self {
            flows,
            counters,
            stacks,
            running,
            account,
            notification,
            attached,
            slots,
            records,
            queues,
            card,
            broken,
        }
    }

    /// The record of stack `number`.
    pub fn record(&self, number: usize) -> NonNull<StackRecord> {
        // SAFETY: callers take the number from a place of `stacks`, which has as many as there are records.
        unsafe { self.records.cast::<StackRecord>().add(number.min(MAX_STACKS - 1)) }
    }

    /// Opens the stacks that an earlier start had.
    pub fn reopen_stacks(&mut self) {
        for number in 0..MAX_STACKS {
            let record = self.record(number);
            // SAFETY: records of the state region are only used here and through `Stack`; none is open yet.
            let (serial, opened) = unsafe { (record.read().serial, || Stack::open(record)) };
            if serial == 0 {
                continue;
            }
            match opened() {
                Ok(stack) => self.stacks[number] = Some(stack),
                Err(error) => {
                    log!("eth_driver: stack {serial} is lost: {error}");
                    self.flows.remove_owner(number as u32);
                    // SAFETY: as above; no stack was made of it.
                    unsafe { (*record.as_ptr()).forget() };
                }
            }
        }
    }

    /// Resets the card and starts it with empty queues. Every stack goes on where it was.
    pub fn start_card(&mut self) -> Result<(), CardError> {
        self.running = None;
        self.broken = false;
        self.card.reset()?;
        self.counters.resets += 1;
        for stack in self.stacks.iter_mut().flatten() {
            stack.side.card_was_reset();
        }
        // SAFETY: the card was reset, and `running`, the only user of the queues' records, was dropped.
        self.running = Some(unsafe { self.card.start(self.queues.as_ptr()) }?);
        Ok(())
    }

    fn restart_card(&mut self) {
        if let Err(error) = self.start_card() {
            log!("eth_driver: {error}");
        }
    }

    /// Takes a stack out. The card is reset, since it may have buffers of that stack.
    pub fn detach(&mut self, number: usize) {
        self.running = None;
        if let Err(error) = self.card.reset() {
            // Its memory stays ours: the card may still write there.
            log!("eth_driver: {error}");
            return;
        }
        if let Some(stack) = self.stacks.get_mut(number).and_then(Option::take) {
            stack.close();
        }
        self.flows.remove_owner(number as u32);
        self.restart_card();
    }

    /// The slot that is offered for the next capability to come.
    pub fn offer(&mut self) -> Handle {
        if self.slots.offered == 0 {
            self.slots.offered = new_slot().unwrap_or(0);
        }
        self.slots.offered
    }

    /// The capability that came; another slot will be offered.
    pub fn take_offered(&mut self) -> Option<Handle> {
        let slot = self.slots.offered;
        if !is_live(slot) {
            return None;
        }
        self.slots.offered = 0;
        Some(slot)
    }

    /// Counts a wake-up; which bits it were does not matter, since every pass looks at everything.
    pub fn woken(&mut self, _bits: u64) {
        self.counters.wakeups += 1;
    }

    /// The bit by which stack `number` wakes the driver.
    pub fn doorbell(number: usize) -> u64 {
        DOORBELL_BIT << number
    }

    /// The stack that gets what no flow entry names, and whose buffers the card fills.
    fn default_stack(&self) -> Option<usize> {
        let stacks = self.stacks.iter().enumerate();
        stacks.filter_map(|(n, s)| s.as_ref().map(|s| (s.order, n))).min().map(|(_, n)| n)
    }

    /// Moves what there is to move; `true` if there may be more at once, `false` if the driver may sleep.
    pub fn pump(&mut self) -> bool {
        if self.running.is_none() {
            return false;
        }
        self.disarm();
        for _ in 0..PASSES {
            let moved = self.complete() + self.receive() + self.transmit() + self.refill();
            self.wake_stacks();
            if self.broken {
                log!("eth_driver: the card wrote an impossible value: reset");
                self.restart_card();
            } else if moved == 0 && self.arm() {
                return false;
            }
        }
        true
    }

    fn disarm(&mut self) {
        if let Some(running) = &mut self.running {
            running.rx.queue().disarm();
            running.tx.queue().disarm();
        }
        self.stacks.iter().flatten().for_each(|stack| stack.side.disarm());
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
        for stack in self.stacks.iter().flatten().filter(|stack| !stack.muted) {
            if has_room {
                quiet &= stack.side.arm_tx();
            }
            if is_short {
                quiet &= stack.side.arm_rx(FEW_BUFFERS as u64 / 2);
            }
        }
        quiet
    }

    /// Frames that the card has sent go back to their stacks.
    fn complete(&mut self) -> usize {
        let mut count = 0;
        while let Some(token) = self.pop(|running| running.tx.queue()) {
            count += 1;
            if let Some(stack) = self.stacks.get_mut(token.0 as usize >> 8).and_then(Option::as_mut) {
                stack.side.complete_slot(token.0 as u8);
            }
        }
        count
    }

    /// Token and length of the next used request.
    fn pop(
        &mut self,
        queue: impl FnOnce(&mut Running) -> &mut hic_nic::virtqueue::Queue<'static>,
    ) -> Option<(u32, u32)> {
        match queue(self.running.as_mut()?).pop() {
            Ok(used) => used.map(|used| (used.token, used.len)),
            Err(error) => {
                if !self.broken {
                    log!("eth_driver: {error}");
                }
                self.counters.card_violations += 1;
                self.broken = true;
                None
            }
        }
    }

    fn receive(&mut self) -> usize {
        let mut count = 0;
        while count < BUDGET {
            let Some((token, len)) = self.pop(|running| running.rx.queue()) else { break };
            self.arrived((token >> 16) as usize, token as u16, len);
            count += 1;
        }
        count
    }

    /// A frame came into a buffer of stack `feeder`.
    fn arrived(&mut self, feeder: usize, buffer: u16, written: u32) {
        let Some(stack) = self.stacks.get_mut(feeder).and_then(Option::as_mut) else { return };
        let Some(at) = stack.side.buffer(buffer) else { return };
        // SAFETY: the buffer's first octets are mapped and, until it is delivered, the driver's.
        let header = unsafe { at.cast::<[u8; HEADER_BYTES]>().read_volatile() };
        let Some((len, valid)) = header::decode(header, written) else {
            stack.side.give_back(buffer);
            self.counters.rx_bad_length += 1;
            return;
        };
        self.counters.rx_frames += 1;
        self.counters.rx_bytes += len as u64;
        let head = stack.side.frame_head::<HEAD_BYTES>(buffer);
        let owner = self.owner(head.get(..len.min(HEAD_BYTES)).unwrap_or_default()).unwrap_or(feeder);
        if owner != feeder {
            // SAFETY: the frame lies inside the buffer.
            let frame = unsafe { at.add(FRAME_OFFSET) };
            self.deliver(owner, valid, |to| copy(frame, len, to));
        }
        let Some(stack) = self.stacks.get_mut(feeder).and_then(Option::as_mut) else { return };
        if owner == feeder { stack.side.deliver(buffer, len, valid) } else { stack.side.give_back(buffer) }
    }

    /// The stack that gets a frame.
    fn owner(&self, head: &[u8]) -> Option<usize> {
        let default = self.default_stack();
        if self.stacks.iter().flatten().count() < 2 {
            return default;
        }
        let flow = flow_of(head).and_then(|key| self.flows.route(&key));
        let owner = flow.map(|flow| flow.owner as usize);
        owner.filter(|owner| self.stacks.get(*owner).is_some_and(Option::is_some)).or(default)
    }

    /// Copies a frame to a stack.
    fn deliver(&mut self, owner: usize, valid: bool, fill: impl FnOnce(&mut [u8]) -> usize) {
        let Some(stack) = self.stacks.get_mut(owner).and_then(Option::as_mut) else {
            self.counters.rx_no_stack += 1;
            return;
        };
        if stack.side.deliver_copy(valid, fill) {
            self.counters.local_frames += 1;
        } else {
            self.counters.rx_no_buffer += 1;
        }
    }

    /// Takes buffers back from the stacks and gives the card what it lacks.
    fn refill(&mut self) -> usize {
        for stack in self.stacks.iter_mut().flatten().filter(|stack| !stack.muted) {
            if let Err(violation) = stack.side.reclaim() {
                mute(stack, violation, self.counters);
            }
        }
        let Some(feeder) = self.default_stack() else { return 0 };
        let (Some(running), Some(stack)) = (&mut self.running, &mut self.stacks[feeder]) else { return 0 };
        let mut count = 0;
        while running.rx.queue().under_way() < CARD_BUFFERS {
            let Some(buffer) = stack.side.take_buffer() else { break };
            let token = (feeder as u32) << 16 | u32::from(buffer);
            let posted = stack.side.buffer(buffer).is_some_and(|at| running.post_rx(token, at).is_ok());
            if !posted {
                stack.side.give_back(buffer);
                break;
            }
            count += 1;
        }
        if count > 0 {
            running.rx.kick();
        }
        count
    }

    fn transmit(&mut self) -> usize {
        let mut count = 0;
        for number in 0..MAX_STACKS {
            for _ in 0..BUDGET {
                let has_room = self.running.as_mut().is_some_and(|running| running.tx.queue().room() > 0);
                if !has_room || !self.transmit_one(number) {
                    break;
                }
                count += 1;
            }
        }
        if count > 0
            && let Some(running) = &mut self.running
        {
            running.tx.kick();
        }
        count
    }

    /// Sends one frame of a stack; `false` if it has none.
    fn transmit_one(&mut self, number: usize) -> bool {
        let Some(stack) = self.stacks[number].as_mut().filter(|stack| !stack.muted) else { return false };
        let frame = match stack.side.take_tx() {
            Ok(Some(frame)) => frame,
            Ok(None) => return false,
            Err(Violation::TxDescriptor { .. }) => {
                self.counters.tx_bad_descriptor += 1;
                return true;
            }
            Err(violation) => {
                mute(stack, violation, self.counters);
                return false;
            }
        };
        let Some(running) = &mut self.running else { return false };
        let mut head = [0; MAX_HEADERS];
        copy(frame.at, frame.len.min(MAX_HEADERS), &mut head);
        if head[..6] == running.mac {
            self.transmit_local(&frame, &head);
        } else if running.post_tx((number as u32) << 8 | frame.index as u32 & 0xff, &frame).is_ok() {
            self.counters.tx_frames += 1;
            self.counters.tx_bytes += frame.len as u64;
            return true;
        }
        if let Some(stack) = &mut self.stacks[number] {
            stack.side.complete(frame.index);
        }
        true
    }

    /// A frame to our own station: it goes to the stack that owns its flow, cut up if need be.
    fn transmit_local(&mut self, frame: &Submission, head: &[u8; MAX_HEADERS]) {
        let owner = self.owner(&head[..frame.len.min(HEAD_BYTES)]);
        let Some(owner) = owner else { return };
        let valid = frame.offload != Offload::None;
        let Offload::Segment { header_len, mss, .. } = frame.offload else {
            return self.deliver(owner, valid, |to| copy(frame.at, frame.len, to));
        };
        let Some(plan) = Plan::new(head, frame.len, header_len.into(), mss.into()) else {
            self.counters.local_unfit += 1;
            return;
        };
        for n in 0..plan.count() {
            self.deliver(owner, true, |to| {
                plan.write(n, to, |from, body| {
                    // SAFETY: `from + body.len()` is at most the payload's length (`Plan::write`), so it lies inside the frame.
                    let at = unsafe { frame.at.add(usize::from(header_len) + from) };
                    copy(at, body.len(), body);
                })
            });
        }
    }

    fn wake_stacks(&mut self) {
        for stack in self.stacks.iter().flatten() {
            if stack.side.must_wake() {
                stack.signal();
                self.counters.signals += 1;
            }
        }
    }
}

/// A stack that breaks the protocol is left alone, so that it can cost the others neither frames nor time.
fn mute(stack: &mut Stack, violation: Violation, counters: &mut Counters) {
    log!("eth_driver: stack {}: {violation}; it must attach again", stack.serial);
    counters.bad_index += 1;
    stack.muted = true;
}

/// Copies octets that somebody else may be changing, as many as fit; how many.
fn copy(from: NonNull<u8>, len: usize, to: &mut [u8]) -> usize {
    let len = len.min(to.len());
    // SAFETY: callers pass a frame or a part of one that was checked to lie inside a mapped packet region, and a buffer of their own
    // or of another place in a region, so the two do not overlap.
    unsafe { from.as_ptr().copy_to_nonoverlapping(to.as_mut_ptr(), len) };
    len
}
