//! Scene three: a port with a queue is switched from server to server, and the queue keeps its order.

use alloc::vec::Vec;

use crate::director::Director;
use crate::extras::CALLER_NAMES;
use core::sync::atomic::Ordering::Relaxed;
use hic_rt::log;
use hic_stage::{Failure, check};
use ports_proof::CALLERS;

/// Queues that are switched.
const ROUNDS: u64 = 300;
/// The endpoints at which nobody receives.
const NOBODY: [usize; 2] = [2, 3];

/// Lets the callers queue in a new order each time, with the port at endpoints where nobody receives.
pub fn run(director: &mut Director) -> Result<(), Failure> {
    director.board.pause.store(1, Relaxed);
    director.until("the client pauses", || Ok(director.board.paused.load(Relaxed) == 1))?;
    let mut callers = Vec::new();
    for name in CALLER_NAMES {
        let actor = director.caller(name)?;
        actor.start()?;
        callers.push(actor);
    }
    for round in 0..ROUNDS {
        queue_and_switch(director, round)?;
    }
    for caller in callers {
        caller.destroy()?;
    }
    log!("selftest: note {ROUNDS} queues of {CALLERS} switched, order kept");
    director.board.pause.store(0, Relaxed);
    director.let_count(2)
}

/// The caller that comes `place`th in this round.
fn nth(round: u64, place: u64) -> u64 {
    // An odd step visits every number once.
    (round + place * (round % 4 * 2 + 1)) % CALLERS as u64
}

fn queue_and_switch(director: &Director, round: u64) -> Result<(), Failure> {
    let board = director.board;
    board.entered.store(0, Relaxed);
    director.switch(NOBODY[0])?;
    let mut served = 0;
    for place in 0..CALLERS as u64 {
        let caller = nth(round, place) as usize;
        board.go[caller].store(round + 1, Relaxed);
        director.until("a caller is queued", || Ok(director.queued()? + served == place + 1))?;
        director.switch(NOBODY[(place & 1) as usize])?;
        if place == round % CALLERS as u64 {
            // A server takes the first of them, the others stay in the queue; but for those that it comes to while our turn is over between the two.
            director.switch((round & 1) as usize)?;
            director.switch(NOBODY[0])?;
            director.until("the first is served", || {
                served = board.entered.load(Relaxed);
                Ok(served > 0 && served + director.queued()? == place + 1)
            })?;
        }
    }
    director.switch(1 - (round & 1) as usize)?;
    director
        .until("all are answered", || Ok(board.done.iter().all(|done| done.load(Relaxed) == round + 1)))?;
    for (place, entry) in board.order.iter().enumerate() {
        check("caller received in this place", entry.load(Relaxed), nth(round, place as u64))?;
    }
    director.switch(0)
}
