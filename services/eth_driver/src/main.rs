//! The network driver: a virtio-net card on one side, network stacks on the other, the flow table between them.
//!
//! Frames lie in packet regions (`hic_nic::region`), each shared with one stack; their buffers are the card's buffers, so frames
//! are not copied. Queues and headers of frames to send lie in DMA memory that no stack can reach. All that a later start must
//! know (slots, indices, flows, counters) is in the state region: a driver that died goes on with the same stacks, after a reset of
//! the card, and stacks notice nothing but a pause.
//!
//! ```text
//!   card ─ interrupt ─┐                    ┌─ rx ring ─▶ stack ─ doorbell ─┐
//!                     ▼                    │                               ▼
//!              bound notification ─▶ Driver::pump ◀── tx ring ── stack   (the same)
//!                     calls ─▶ requests::answer (attach, flows, counters)
//! ```
//!
//! | module | what |
//! | --- | --- |
//! | `state` | the state region |
//! | `setup` | from grants to mapped registers, interrupts and queues |
//! | `card` | registers and queues of the card |
//! | `stack` | one attached stack |
//! | `pump` | moves frames |
//! | `requests` | answers stacks |
//!
//! The driver never looks at more of a frame than its headers, and never lets a stack write what the card takes orders from.
#![no_std]
#![no_main]

mod card;
mod pump;
mod requests;
mod setup;
mod stack;
mod state;

use hic_rt::ipc::{self, Buffer, Received};
use hic_rt::{Error, FOREVER, StartPage, cap, log, start, sys};
use pump::Driver;

hic_rt::entry!(main);

/// Exit code of a driver that could not set up its card.
const NO_CARD: u64 = 1;

fn main(page: &'static StartPage) -> u64 {
    match setup::driver(page) {
        Ok(driver) => serve(page, driver),
        Err(error) => {
            log!("eth_driver: {error}");
            NO_CARD
        }
    }
}

fn serve(page: &StartPage, mut driver: Driver) -> u64 {
    let endpoint = start::require(page, "endpoint:eth_driver").slot;
    let mut buffer = Buffer::new();
    let mut answer = None;
    loop {
        // With work left, only look whether somebody calls; otherwise everything is armed and we sleep.
        let deadline = if driver.pump() { 0 } else { FOREVER };
        let offered = driver.offer();
        buffer.offer(&[offered]);
        let next = match answer.take() {
            Some(message) => ipc::reply_receive(endpoint, message, &mut buffer, deadline),
            None => ipc::receive(endpoint, &mut buffer, deadline),
        };
        match next {
            Ok(Received::Call { caller, message, .. }) => {
                answer = Some(requests::answer(&mut driver, caller, message, &mut buffer));
            }
            Ok(Received::Signal(bits)) => driver.woken(bits),
            Ok(Received::Fault { .. }) | Err(Error::Timeout | Error::WouldBlock) => {}
            Err(Error::CallerGone | Error::NoReceiveSlot) => {}
            Err(error) => {
                log!("eth_driver: receive: {error}");
                return 2;
            }
        }
    }
}

/// A slot of this program's capability space.
fn new_slot() -> Result<u32, Error> {
    cap::allocate().ok_or(Error::PoolFull)
}

/// Whether the slot holds a capability on something that still exists.
fn is_live(slot: u32) -> bool {
    slot != 0 && sys::cap_info(hic_rt::SELF, slot).is_ok()
}
