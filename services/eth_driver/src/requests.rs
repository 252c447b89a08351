//! Answers what stacks ask.

use crate::pump::Driver;
use crate::stack::{OpenError, Stack};
use hic_abi::{ObjectType, Plain};
use hic_nic::flow::{FlowKey, InsertError};
use hic_nic::message::{CAP_DOORBELL, CAP_REGION};
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
        Ok(other) => (flows_and_counters(driver, caller, other, buffer), false),
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

fn flows_and_counters(
    driver: &mut Driver,
    caller: u64,
    request: Request,
    buffer: &mut Buffer,
) -> Result<Message, Refusal> {
    let good = Message::new(hic_control::OK, [0; 4]);
    match request {
        Request::InsertFlow(key) => insert(driver, caller, &key).map(|()| good),
        Request::RemoveFlow(key) => {
            let number = number_of(driver, caller)? as u32;
            if driver.flows.remove(&key, number) { Ok(good) } else { Err(Refusal::NoSuchFlow) }
        }
        Request::Hold { .. } | Request::Release(_) => Err(Refusal::NotSupported),
        Request::Stats => {
            let len = buffer.put(driver.counters.as_bytes());
            Ok(Message { info: good.info.with_inline(len), ..good })
        }
        Request::Attach { .. } => Err(Refusal::BadArgument),
    }
}

fn number_of(driver: &Driver, serial: u64) -> Result<usize, Refusal> {
    let is_caller = |stack: &Option<Stack>| stack.as_ref().is_some_and(|stack| stack.serial == serial);
    driver.stacks.iter().position(is_caller).ok_or(Refusal::NotAttached)
}

fn insert(driver: &mut Driver, caller: u64, key: &FlowKey) -> Result<(), Refusal> {
    let number = number_of(driver, caller)? as u32;
    driver.flows.insert_if_absent(key, number).map_err(|error| match error {
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
    let is_notification = |slot: &Handle| {
        sys::cap_info(SELF, *slot).is_ok_and(|(kind, rights)| {
            kind == ObjectType::Notification as u64 && rights.contains(Rights::SEND)
        })
    };
    let notification = notification.filter(is_notification).ok_or(Refusal::MissingCapability)?;
    if let Ok(number) = number_of(driver, serial) {
        if let Some(stack) = driver.stacks[number].as_mut().filter(|stack| !stack.muted) {
            stack.rebind(notification, signal);
            return Ok(number);
        }
        driver.detach(number);
    }
    remove_dead(driver);
    let number = driver.stacks.iter().position(Option::is_none).ok_or(Refusal::TooManyStacks)?;
    *driver.attached += 1;
    let (record, order) = (driver.record(number), *driver.attached);
    // SAFETY: the place is empty, so no stack is on its record.
    let stack = unsafe { Stack::create(record, driver.account, (serial, order), (notification, signal)) };
    driver.stacks[number] = Some(stack.map_err(|error: OpenError| {
        log!("eth_driver: no packet region for stack {serial}: {error}");
        Refusal::NoMemory
    })?);
    Ok(number)
}

/// Stacks whose notification is gone were destroyed.
fn remove_dead(driver: &mut Driver) {
    for number in 0..driver.stacks.len() {
        if driver.stacks[number].as_ref().is_some_and(|stack| !stack.is_alive()) {
            driver.detach(number);
        }
    }
}

fn attached(driver: &Driver, number: usize, buffer: &mut Buffer) -> Result<Message, Refusal> {
    let (Some(stack), Some(running)) = (&driver.stacks[number], &driver.running) else {
        return Err(Refusal::NotSupported);
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
