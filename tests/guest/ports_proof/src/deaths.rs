//! Scene two: the server dies before, during and after an answer, and is started again or replaced.

use crate::director::Director;
use core::sync::atomic::Ordering::Relaxed;
use hic_abi::message::Fault;
use hic_abi::switch::{Entry, EntryKind};
use hic_rt::{log, sys};
use hic_stage::{Failure, check, refused};
use ports_proof::Mode;

/// Deaths of each kind.
const ROUNDS: u64 = 300;

/// Runs all of them; the port leads to server 0 throughout and is not touched.
pub fn run(director: &mut Director) -> Result<(), Failure> {
    director.switch(0)?;
    director.let_count(2)?;
    let scenes: [(&str, Scene); 4] = [
        ("killed with a caller queued", before),
        ("died between count and answer", during),
        ("died after the answer", after),
        ("replaced under its callers", replaced),
    ];
    for (what, scene) in scenes {
        for round in 0..ROUNDS {
            scene(director, round)?;
            director.let_count(2)?;
        }
        log!("selftest: note {ROUNDS} times the server {what}");
    }
    Ok(())
}

type Scene = fn(&mut Director, u64) -> Result<(), Failure>;

/// Numbers that a death may change: calls cut, calls answered again.
fn losses(director: &Director) -> (u64, u64) {
    (director.board.died.load(Relaxed), director.counter.repeated())
}

fn restart(director: &mut Director) -> Result<(), Failure> {
    director.servers[0].actor.reset()?;
    director.board.set_mode(Mode::Normal);
    Ok(director.servers[0].actor.start()?)
}

/// A call that nobody has received never notices.
fn before(director: &mut Director, _round: u64) -> Result<(), Failure> {
    let (died, repeated) = losses(director);
    director.board.set_mode(Mode::Hold);
    director.until("the caller is queued", || Ok(director.queued()? == 1))?;
    director.servers[0].actor.freeze().map_err(refused("kill the server"))?;
    restart(director)?;
    director.let_count(1)?;
    check("calls cut though they were queued", director.board.died.load(Relaxed), died)?;
    check("calls counted before they were received", director.counter.repeated(), repeated)
}

/// A call that was received and counted is cut once and answered again once.
fn during(director: &mut Director, round: u64) -> Result<(), Failure> {
    let (died, repeated) = losses(director);
    let serial = director.servers[0].actor.serial();
    match round % 3 {
        0 => {
            director.board.set_mode(Mode::ExitBeforeReply);
            director.await_fault(serial, Fault::Exit)?;
        }
        1 => {
            director.board.set_mode(Mode::FaultBeforeReply);
            director.await_fault(serial, Fault::Exception)?;
        }
        _ => {
            stall(director)?;
            director.servers[0].actor.freeze().map_err(refused("kill the server"))?;
        }
    }
    restart(director)?;
    director.let_count(1)?;
    check("calls cut", director.board.died.load(Relaxed), died + 1)?;
    check("calls answered again", director.counter.repeated(), repeated + 1)
}

/// A call that was answered never notices either, nor does the next one.
fn after(director: &mut Director, _round: u64) -> Result<(), Failure> {
    let (died, repeated) = losses(director);
    director.board.set_mode(Mode::ExitAfterReply);
    director.await_fault(director.servers[0].actor.serial(), Fault::Exit)?;
    restart(director)?;
    director.let_count(1)?;
    check("calls cut though they were answered", director.board.died.load(Relaxed), died)?;
    check("calls answered again", director.counter.repeated(), repeated)
}

fn stall(director: &Director) -> Result<(), Failure> {
    director.board.set_mode(Mode::StallBeforeReply);
    director.until("the server stalls", || Ok(director.board.stalled.load(Relaxed) == 1))
}

/// The receive right goes to a new sandbox: from a dead server, from one at work, from one that owes an answer.
fn replaced(director: &mut Director, round: u64) -> Result<(), Failure> {
    let (died, repeated) = losses(director);
    let next = director.understudy()?;
    let old = core::mem::replace(&mut director.servers[0], next);
    let kill = || old.actor.freeze().map_err(refused("kill the server"));
    let (from, to) = (&old, &director.servers[0]);
    let hand_over = [Entry {
        kind: EntryKind::MoveCapability as u64,
        args: [from.actor.sandbox(), from.receive, to.actor.sandbox(), to.receive].map(u64::from),
    }];
    let hand_over = || sys::transaction(&hand_over).map_err(|(error, _)| refused("hand over")(error));
    match round % 3 {
        0 => {
            kill()?;
            hand_over()?;
            to.actor.start()?;
        }
        1 => {
            hand_over()?;
            kill()?;
            to.actor.start()?;
        }
        _ => {
            stall(director)?;
            hand_over()?;
            director.board.set_mode(Mode::Normal);
            to.actor.start()?;
            kill()?;
        }
    }
    old.actor.destroy()?;
    director.let_count(1)?;
    let cut = director.board.died.load(Relaxed) - died;
    let again = director.counter.repeated() - repeated;
    if round % 3 == 2 {
        check("calls cut", cut, 1)?;
        check("calls answered again", again, 1)?;
    }
    // In the other ways the server dies wherever it happens to be: with a call or without, counted or not yet.
    check("calls answered again, not cut", again.saturating_sub(cut), 0)
}
