//! The driver as a whole: its parts, how it starts over what an earlier start left, and how stacks come and go.

use crate::card::{Card, CardError, Running};
use crate::setup::DOORBELL_BIT;
use crate::stack::Stack;
use crate::stacks::Stacks;
use crate::state::{Head, PLACES, Slots, StackRecord};
use crate::{is_live, new_slot};
use core::ptr::NonNull;
use hic_nic::Counters;
use hic_nic::flow::FlowTable;
use hic_nic::hold::{HeldPool, HeldRecord, PoolRepair};
use hic_nic::region::WithCard;
use hic_nic::steer::Steering;
use hic_nic::token::{RxToken, TxToken};
use hic_nic::virtqueue::QueueRecord;
use hic_rt::{Handle, log};

/// The driver.
pub struct Driver {
    /// Who gets a frame.
    pub steering: Steering<'static>,
    /// Counters, in the state region.
    pub counters: &'static mut Counters,
    /// Stacks by their number.
    pub stacks: Stacks,
    /// The card between two resets; `None` if it does not come back from one.
    pub running: Option<Running>,
    /// Pays for packet regions.
    pub account: Handle,
    /// The card as the kernel knows it: it reaches what is mapped in it.
    pub device: Handle,
    /// Wakes the driver.
    pub notification: Handle,
    /// Orders of attaching given so far.
    pub attached: &'static mut u64,
    /// Slots, in the state region.
    pub slots: &'static mut Slots,
    /// The card wrote an impossible value.
    pub broken: bool,
    /// Frames of flows that are not held wait for buffers of their stack.
    pub waiting: bool,
    features: &'static mut u64,
    records: NonNull<[StackRecord; PLACES]>,
    queues: NonNull<[QueueRecord; 2]>,
    card: Card,
}

/// What the driver is made from.
pub struct Parts {
    /// The state region's head.
    pub head: &'static mut Head,
    /// Its flow table.
    pub flows: FlowTable<'static>,
    /// The region of held frames.
    pub held: &'static mut [HeldRecord],
    /// The card.
    pub card: Card,
    /// As in [`Driver`].
    pub account: Handle,
    /// As in [`Driver`].
    pub device: Handle,
    /// As in [`Driver`].
    pub notification: Handle,
}

impl Driver {
    /// A driver over its state, without stacks; the card is left alone.
    pub fn new(parts: Parts) -> Self {
        let Parts { head, flows, held, card, account, device, notification } = parts;
        let Head { attached, default, features, slots, counters, stacks, queues, .. } = head;
        let delivered = |stack: u32, index: u64| {
            let record = stacks.get(stack as usize).filter(|record| record.serial != 0);
            record.is_some_and(|record| index < record.driver.progress().0)
        };
        let (held, repair) = HeldPool::attach(held, delivered);
        if repair != PoolRepair::default() {
            log!("held frames: {} broken, {} delivered before", repair.broken, repair.delivered);
        }
        let (records, queues) = (NonNull::from(stacks), NonNull::from(queues));
        Self {
            steering: Steering::new(flows, held),
            counters,
            stacks: Stacks::new(default),
            running: None,
            account,
            device,
            notification,
            attached,
            slots,
            broken: false,
            waiting: false,
            features,
            records,
            queues,
            card,
        }
    }

    /// The record of stack `number`.
    pub fn record(&self, number: usize) -> NonNull<StackRecord> {
        // SAFETY: the number is cut to the records that there are.
        unsafe { self.records.cast::<StackRecord>().add(number.min(PLACES - 1)) }
    }

    /// Opens the stacks that an earlier start had, and starts the card or goes on with it.
    pub fn start(&mut self) -> Result<(), CardError> {
        let all_opened = self.reopen_stacks();
        let goes_on = all_opened && self.resume_card();
        if !goes_on {
            self.start_card()?;
        }
        let leaving = self.stacks.leaving();
        for number in (0..PLACES).filter(|number| leaving[*number]) {
            self.settle(number);
        }
        Ok(())
    }

    /// Whether every stack was opened as it was left.
    fn reopen_stacks(&mut self) -> bool {
        let mut as_left = true;
        for number in 0..PLACES {
            let record = self.record(number);
            // SAFETY: records of the state region are only used here and through `Stack`; none is open yet.
            let (serial, opened) = unsafe { (record.read().serial, || Stack::open(record, self.device)) };
            if serial == 0 {
                continue;
            }
            match opened() {
                Ok(stack) => {
                    as_left &= !stack.muted;
                    self.stacks.put(number, stack);
                }
                Err(error) => {
                    log!("stack {serial} is lost: {error}");
                    as_left = false;
                    self.steering.flows.remove_owner(number as u32);
                    // The card may have its buffers; if it does not come back from the reset, their memory stays ours.
                    if self.card.reset().is_ok() {
                        // SAFETY: as above; no stack was made of it.
                        unsafe { (*record.as_ptr()).forget(self.device) };
                    }
                }
            }
        }
        as_left
    }

    /// Goes on with the card that an earlier start left running; `false` if it must be reset.
    fn resume_card(&mut self) -> bool {
        // SAFETY: `running`, the only user of the queues' records, is none yet.
        match unsafe { self.card.resume(self.queues.as_ptr(), *self.features) } {
            Ok(running) => self.running = Some(running),
            Err(error) => {
                if *self.features != 0 {
                    log!("{error}");
                }
                return false;
            }
        }
        self.skip_delivered();
        let with = self.with_card();
        let is_sound = with.is_some_and(|with| {
            with.iter().enumerate().all(|(number, with)| match self.stacks.get_mut(number) {
                Some(stack) => stack.side.card_goes_on(with),
                None => !with.buffers.contains(&true) && !with.slots.contains(&true),
            })
        });
        if !is_sound || self.broken {
            log!("the queues and the stacks' records do not add up");
            return false;
        }
        self.counters.resumes += 1;
        log!("goes on with the running card (resume {})", self.counters.resumes);
        if let Some(running) = &mut self.running {
            running.rx.notify();
            running.tx.notify();
        }
        true
    }

    /// Takes frames out of the receive queue that an earlier start had delivered when it died.
    fn skip_delivered(&mut self) {
        while let Some((token, _)) = self.peek_rx() {
            let RxToken { stack, buffer } = RxToken::decode(token);
            let is_delivered = self.stacks.get(stack).is_some_and(|stack| stack.side.is_delivered(buffer));
            let Some(running) = self.running.as_mut().filter(|_| is_delivered) else { return };
            running.rx.queue().advance();
        }
    }

    /// What of each stack is with the card by the queues' tokens; `None` if two tokens name the same.
    fn with_card(&mut self) -> Option<[WithCard; PLACES]> {
        let running = self.running.as_mut()?;
        let mut with = [WithCard::NOTHING; PLACES];
        for token in running.rx.queue().tokens().map(RxToken::decode) {
            with.get_mut(token.stack)?.add_buffer(token.buffer).then_some(())?;
        }
        for token in running.tx.queue().tokens().map(TxToken::decode) {
            with.get_mut(token.stack)?.add_slot(token.slot).then_some(())?;
        }
        Some(with)
    }

    /// Resets the card and starts it with empty queues. Every stack goes on where it was.
    pub fn start_card(&mut self) -> Result<(), CardError> {
        self.stop_card()?;
        self.begin_card()
    }

    /// Starts the card after [`Self::stop_card`].
    fn begin_card(&mut self) -> Result<(), CardError> {
        // SAFETY: the card was reset, and `running`, the only user of the queues' records, was dropped.
        let running = unsafe { self.card.start(self.queues.as_ptr()) }?;
        *self.features = running.features.bits();
        self.running = Some(running);
        Ok(())
    }

    /// Resets the card: it has nothing of any stack any more.
    fn stop_card(&mut self) -> Result<(), CardError> {
        self.running = None;
        self.broken = false;
        *self.features = 0;
        self.card.reset()?;
        self.counters.resets += 1;
        for stack in self.stacks.all_mut() {
            stack.side.card_was_reset();
        }
        Ok(())
    }

    /// As [`Self::start_card`]; a card that does not come back is reported.
    pub fn restart_card(&mut self) {
        if let Err(error) = self.start_card() {
            log!("{error}");
        }
    }

    /// Frees the places of stacks that are gone at once, at the price of what the card has of them and of a reset.
    pub fn force_places(&mut self) {
        if let Err(error) = self.stop_card() {
            // Their memory stays ours: the card may still write there.
            log!("{error}");
            return;
        }
        log!("the card was reset for the place of a stack that is gone");
        let leaving = self.stacks.leaving();
        for number in (0..PLACES).filter(|number| leaving[*number]) {
            self.stacks.remove(number).into_iter().for_each(Stack::close);
        }
        if let Err(error) = self.begin_card() {
            log!("{error}");
        }
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

    /// The bit by which stack `number` wakes the driver.
    pub fn doorbell(number: usize) -> u64 {
        DOORBELL_BIT << number
    }
}
