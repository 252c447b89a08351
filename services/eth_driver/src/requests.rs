//! Answers what stacks ask.

use crate::driver::Driver;
use crate::stack::{OpenError, Stack};
use crate::state::MAX_STACKS;
use hic_abi::{ObjectType, Plain};
use hic_nic::flow::{FlowKey, InsertError};
use hic_nic::message::{CAP_DOORBELL, CAP_REGION, FlowKeys};
use hic_nic::region::REGION_BYTES;
use hic_nic::{Attached, Refusal, Request, VERSION};
use hic_rt::ipc::{Buffer, Message};
use hic_rt::{Handle, Rights, SELF, cap, log, sys};

/// IP packets of Ethernet.
const MTU: u16 = 1500;

/// The answer to a call; what it carries beside words is in `buffer`.
pub fn answer(driver: &mut Driver, caller: u64, message: Message, buffer: &mut Buffer) -> Message {
    // Whatever came with the call must leave the offered slot, or nobody else could send us anything.
    let received = if message.info.caps() > 0 { driver.take_offered() } else { None };
    if message.label() == hic_control::PING {
        received.into_iter().for_each(cap::drop_slot);
        return Message::new(hic_control::OK, [0; 4]);
    }
    let request = hic_nic::Message { label: message.label(), words: message.words };
    let (answer, kept) = match Request::decode(&request) {
        Ok(Request::Attach { version, signal }) => match attach(driver, caller, version, received, signal) {
            Ok(number) => (attached(driver, number, buffer), true),
            Err(refusal) => (Err(refusal), false),
        },
        Ok(other) => (others(driver, caller, other, message.info.inline_len(), buffer), false),
        Err(refusal) => (Err(refusal), false),
    };
    if let Some(slot) = received.filter(|_| !kept) {
        cap::drop_slot(slot);
    }
    answer.unwrap_or_else(|refusal| {
        let refusal = refusal.message();
        Message::new(refusal.label, refusal.words)
    })
}

fn others(
    driver: &mut Driver,
    caller: u64,
    request: Request,
    inline: usize,
    buffer: &mut Buffer,
) -> Result<Message, Refusal> {
    let good = Message::new(hic_control::OK, [0; 4]);
    let keys = |count, buffer: &Buffer| FlowKeys::read(count, buffer.data(inline));
    match request {
        Request::InsertFlow(key) => insert(driver, caller, &key)?,
        Request::RemoveFlow(key) => {
            let number = number_of(driver, caller)? as u32;
            if !driver.steering.flows.remove(&key, number) {
                return Err(Refusal::NoSuchFlow);
            }
            driver.drain();
        }
        Request::Hold { count, deadline } => {
            let (number, keys) = (number_of(driver, caller)?, keys(count, buffer)?);
            let fence = driver.hold(number, keys.as_slice(), deadline)?;
            return Ok(Message::new(hic_control::OK, [fence, 0, 0, 0]));
        }
        Request::Release { count } => {
            let (number, keys) = (number_of(driver, caller)?, keys(count, buffer)?);
            driver.release(number, keys.as_slice())?;
        }
        Request::Take { count, from_serial } => {
            let (number, keys) = (number_of(driver, caller)?, keys(count, buffer)?);
            driver.take(number, keys.as_slice(), from_serial)?;
        }
        Request::TakeDefault => {
            number_of(driver, caller)?;
            driver.stacks.set_default(caller);
        }
        Request::Forget { serial } => {
            number_of(driver, caller)?;
            if serial == caller {
                return Err(Refusal::BadArgument);
            }
            if let Some(number) = driver.stacks.find(serial) {
                driver.abandon(number);
            }
        }
        Request::Stats => {
            let len = buffer.put(driver.counters.as_bytes());
            return Ok(Message { info: good.info.with_inline(len), ..good });
        }
        Request::Attach { .. } => return Err(Refusal::BadArgument),
    }
    Ok(good)
}

fn number_of(driver: &Driver, serial: u64) -> Result<usize, Refusal> {
    driver.stacks.find(serial).ok_or(Refusal::NotAttached)
}

fn insert(driver: &mut Driver, caller: u64, key: &FlowKey) -> Result<(), Refusal> {
    let number = number_of(driver, caller)? as u32;
    driver.steering.flows.insert_if_absent(key, number).map_err(|error| match error {
        InsertError::Taken { .. } => {
            driver.counters.flows_taken += 1;
            Refusal::FlowTaken
        }
        InsertError::Full { .. } => {
            driver.counters.flows_refused += 1;
            Refusal::TableFull
        }
    })
}

/// The number of the stack, which keeps the notification.
fn attach(
    driver: &mut Driver,
    serial: u64,
    version: u32,
    notification: Option<Handle>,
    signal: u64,
) -> Result<usize, Refusal> {
    if version != VERSION {
        return Err(Refusal::Version);
    }
    let can_ring = |slot: &Handle| {
        let kinds = [ObjectType::Notification as u64, ObjectType::Port as u64];
        sys::cap_info(SELF, *slot)
            .is_ok_and(|(kind, rights)| kinds.contains(&kind) && rights.contains(Rights::SEND))
    };
    let notification = notification.filter(can_ring).ok_or(Refusal::MissingCapability)?;
    if let Ok(number) = number_of(driver, serial) {
        return join_again(driver, number, notification, signal);
    }
    let alive = driver.stacks.attached().filter(|(_, stack)| stack.is_alive()).count();
    if alive >= MAX_STACKS {
        return Err(Refusal::TooManyStacks);
    }
    let number = join(driver, serial, notification, signal)?;
    // Whose endpoint is gone was destroyed. Its frames can be steered to the new stack now.
    while let Some(dead) = dead(driver) {
        driver.abandon(dead);
    }
    Ok(number)
}

/// An attached stack that was destroyed.
fn dead(driver: &Driver) -> Option<usize> {
    driver.stacks.attached().find(|(_, stack)| !stack.is_alive()).map(|(number, _)| number)
}

/// A known stack goes on with its packet region, or with a new one and its flows if it broke the rules in the old one.
fn join_again(
    driver: &mut Driver,
    number: usize,
    notification: Handle,
    signal: u64,
) -> Result<usize, Refusal> {
    let Some(stack) = driver.stacks.get_mut(number) else { return Err(Refusal::NotAttached) };
    if !stack.muted {
        stack.rebind(notification, signal);
        return Ok(number);
    }
    let serial = stack.serial;
    stack.leave();
    let joined = join(driver, serial, notification, signal);
    match joined {
        // Its own place was the one that was made free for it, and its flows are where they belong.
        Ok(new) if new == number => return joined,
        Ok(new) => driver.steering.flows.reassign(number as u32, new as u32),
        Err(_) => {}
    }
    driver.settle(number);
    joined
}

/// Makes a packet region for a stack that is not attached.
fn join(driver: &mut Driver, serial: u64, notification: Handle, signal: u64) -> Result<usize, Refusal> {
    if driver.stacks.free_place().is_none() {
        driver.force_places();
    }
    let number = driver.stacks.free_place().ok_or(Refusal::TooManyStacks)?;
    *driver.attached += 1;
    let (record, order) = (driver.record(number), *driver.attached);
    // SAFETY: the place is empty, so no stack is on its record.
    let stack = unsafe {
        Stack::create(record, (driver.account, driver.device), (serial, order), (notification, signal))
    };
    let mut stack = stack.map_err(|error: OpenError| {
        log!("no packet region for stack {serial}: {error}");
        Refusal::NoMemory
    })?;
    stack.side.card_was_reset();
    if driver.stacks.default_number().is_none() {
        driver.stacks.set_default(serial);
    }
    driver.stacks.put(number, stack);
    Ok(number)
}

fn attached(driver: &Driver, number: usize, buffer: &mut Buffer) -> Result<Message, Refusal> {
    let (Some(stack), Some(running)) = (driver.stacks.get(number), &driver.running) else {
        return Err(Refusal::NoCard);
    };
    let (features, tso_max) = running.features.for_stack();
    let answer = Attached {
        mac: running.mac,
        mtu: MTU,
        features,
        tso_max,
        region_len: REGION_BYTES as u64,
        doorbell_bits: Driver::doorbell(number),
    };
    buffer.send_copy(CAP_REGION, stack.region, Rights::READ | Rights::WRITE | Rights::COPY);
    buffer.send_copy(CAP_DOORBELL, driver.notification, Rights::SEND | Rights::COPY);
    let answer = answer.encode();
    let message = Message::new(answer.label, answer.words);
    Ok(Message { info: message.info.with_caps(2), ..message })
}
