//! The network driver: a virtio-net card on one side, network stacks on the other, the flow table between them.
//!
//! Frames lie in packet regions (`hic_nic::region`), each shared with one stack; their buffers are the card's buffers, so frames
//! are not copied. Queues and headers of frames to send lie in DMA memory that no stack can reach. All that a later start must
//! know (slots, indices, queues, flows, held frames, counters) is in the state regions: a driver that died at any instruction goes on
//! with the same stacks and the running card, and both notice nothing but a pause. No frame is lost then; one that was being
//! copied from the card, or sent from stack to stack, may come twice. Only where records do not add up is the card reset, at the price of what it
//! had received and of sending again what it had not confirmed.
//!
//! A flow can be held, and taken by another stack (`moves`); a stack that is gone for good keeps its place until the card has none of
//! its buffers any more (`leaving`).
//!
//! ```text
//!   card ─ interrupt ─┐                    ┌─ rx ring ─▶ stack ─ doorbell ─┐
//!                     ▼                    │                               ▼
//!              bound notification ─▶ Driver::pump ◀── tx ring ── stack   (the same)
//!                     calls ─▶ requests::answer (attach, flows, counters)
//!                 deadlines ─▶ Driver::pump (holds end)
//! ```
//!
//! | module | what |
//! | --- | --- |
//! | `state` | the state region |
//! | `setup` | from grants to mapped registers, interrupts and queues |
//! | `card` | registers and queues of the card |
//! | `stack`, `stacks` | one stack; all of them |
//! | `driver` | the whole: starts over what an earlier start left |
//! | `pump` | one pass over everything that can bring work |
//! | `receive`, `transmit` | move frames |
//! | `requests` | answers stacks |
//! | `moves` | holds flows and hands them over |
//! | `leaving` | stacks that are gone for good |
//! | `fault` | what the faulty releases of the tests do |
//!
//! The driver never looks at more of a frame than its headers, and never lets a stack write what the card takes orders from.
#![no_std]
#![no_main]

mod card;
mod driver;
mod fault;
mod leaving;
mod moves;
mod pump;
mod receive;
mod requests;
mod setup;
mod stack;
mod stacks;
mod state;
mod transmit;

use driver::Driver;
use hic_rt::ipc::{self, Buffer, Received};
use hic_rt::{Error, Export, StartPage, cap, log, sys};

/// What it serves.
const SERVICE: Export = Export::new("eth_driver");

hic_rt::entry!(main, exports: [SERVICE]);

/// Exit code of a driver that could not set up its card.
const NO_CARD: u64 = 1;

fn main(page: &'static StartPage) -> u64 {
    fault::at_start();
    match setup::driver(page) {
        Ok(driver) => serve(page, driver),
        Err(error) => {
            log!("{error}");
            NO_CARD
        }
    }
}

fn serve(page: &StartPage, mut driver: Driver) -> u64 {
    let endpoint = SERVICE.endpoint(page);
    let mut buffer = Buffer::new();
    let mut answer = None;
    loop {
        // With work left, only look whether somebody calls; otherwise everything is armed and we sleep until a hold ends.
        let deadline = if driver.pump() { 0 } else { driver.next_deadline() };
        let offered = driver.offer();
        buffer.offer(&[offered]);
        let answered = answer.is_some();
        let next = match answer.take() {
            Some(message) => ipc::reply_receive(endpoint, message, &mut buffer, deadline),
            None => ipc::receive(endpoint, &mut buffer, deadline),
        };
        match next {
            Ok(Received::Call { caller, message, .. }) => {
                fault::when_asked();
                answer = Some(requests::answer(&mut driver, caller, message, &mut buffer));
            }
            Ok(Received::Signal(bits)) => driver.woken(bits),
            Ok(Received::Fault { .. }) | Err(Error::Timeout | Error::WouldBlock) => {}
            // Whoever asked has no place for the answer's capabilities, or offers one twice: it does without.
            Err(Error::CallerGone | Error::NoReceiveSlot | Error::InvalidArgument) if answered => {}
            Err(error) => {
                log!("receive: {error}");
                return 2;
            }
        }
    }
}

/// An empty slot of this program's capability space. A start that died before it recorded what it had in the slot left that there.
fn new_slot() -> Result<u32, Error> {
    let slot = cap::allocate().ok_or(Error::PoolFull)?;
    let _ = sys::cap_delete(hic_rt::SELF, slot);
    Ok(slot)
}

/// Whether the slot holds a capability on something that still exists.
fn is_live(slot: u32) -> bool {
    slot != 0 && sys::cap_info(hic_rt::SELF, slot).is_ok()
}
