//! Those whom the director starts: the server, the client who counts, the callers who queue.
//!
//! None of them knows that the port is switched or that the server is another one than before.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use hic_abi::{FOREVER, Handle};
use hic_rt::ipc::{self, Buffer, Message, Received};
use hic_rt::{Error, StartPage, start, sys};
use ports_proof::{Answer, Board, CALLERS, COUNT, Counter, DONE, ENTER, Mode, REFUSED};

/// Name of the grant on the board.
pub const BOARD: &str = "state:board";
/// Name of the grant on the counter record.
pub const COUNTER: &str = "state:counter";
/// Name of the server's grant on its endpoint.
pub const ENDPOINT: &str = "endpoint:server";
/// Name of the client's and the callers' grant on the port.
pub const PORT: &str = "port:server";
/// What the caller with number n is called.
pub const CALLER_NAMES: [&str; CALLERS] =
    ["caller-0", "caller-1", "caller-2", "caller-3", "caller-4", "caller-5", "caller-6", "caller-7"];

/// A record of atomics in a mapped region.
///
/// # Safety
/// A region of at least `size_of::<T>()` bytes must be mapped writable at `address` for as long as the result is used; `T` must be
/// made of atomic words, for which all zero is a value.
pub unsafe fn shared<T>(address: u64) -> &'static T {
    // SAFETY: the caller promises the mapping; regions are page aligned, and atomics may be shared.
    unsafe { &*(address as *const T) }
}

fn board(page: &StartPage) -> &'static Board {
    // SAFETY: the director shares the board's region with each of its children for their whole life.
    unsafe { shared(start::require(page, BOARD).address) }
}

fn raise(number: &AtomicU64) {
    number.store(number.load(Relaxed) + 1, Relaxed);
}

/// The server: counts, in the way that the board says.
pub fn serve(page: &'static StartPage) -> u64 {
    let board = board(page);
    // SAFETY: the director shares the counter's region with each server for its whole life.
    let counter: &Counter = unsafe { shared(start::require(page, COUNTER).address) };
    let endpoint = start::require(page, ENDPOINT).slot;
    let mut buffer = Buffer::new();
    loop {
        while board.mode() == Mode::Hold {
            sys::yield_now();
        }
        match ipc::receive(endpoint, &mut buffer, FOREVER) {
            Ok(Received::Call { message, .. }) => answer(board, counter, message, &mut buffer),
            Ok(_) => {}
            // The right went to another server, and the director has not come to ending this one yet.
            Err(Error::InvalidHandle) => sys::yield_now(),
            Err(error) => return error.code(),
        }
    }
}

fn answer(board: &Board, counter: &Counter, message: Message, buffer: &mut Buffer) {
    let argument = message.words[0];
    let reply = match message.label() {
        COUNT => match counter.ask(argument) {
            Answer::Counted(count) | Answer::Again(count) => Message::new(DONE, [count, argument, 0, 0]),
            Answer::Refused => Message::new(REFUSED, [counter.last(), argument, 0, 0]),
        },
        ENTER => {
            board.enter(argument);
            Message::new(DONE, message.words)
        }
        _ => Message::new(REFUSED, message.words),
    };
    match board.mode() {
        Mode::Normal | Mode::Hold => dawdle(argument, reply, buffer),
        Mode::ExitBeforeReply => sys::exit(7),
        Mode::FaultBeforeReply => fault(),
        Mode::StallBeforeReply => loop {
            board.stalled.store(1, Relaxed);
            sys::yield_now();
        },
        Mode::ExitAfterReply => {
            let _ = ipc::reply(reply, buffer);
            sys::exit(8)
        }
    }
}

/// Answers, and now and then lets others run right before or after, so that switches fall everywhere.
fn dawdle(sequence: u64, reply: Message, buffer: &mut Buffer) {
    if sequence.is_multiple_of(3) {
        sys::yield_now();
    }
    // The caller is there, or was destroyed; neither is the server's concern.
    let _ = ipc::reply(reply, buffer);
    if sequence.is_multiple_of(5) {
        sys::yield_now();
    }
}

fn fault() -> ! {
    // SAFETY: not a memory access as the language knows it: address 8 is mapped in no sandbox, so the processor faults here.
    unsafe { core::arch::asm!("mov qword ptr [{0}], 0", "ud2", in(reg) 8u64, options(noreturn)) }
}

/// The client: counts from 1 on, as fast as it can, and checks every answer.
pub fn count(page: &'static StartPage) -> u64 {
    let (board, port) = (board(page), start::require(page, PORT).slot);
    let mut sequence = 0;
    while board.stop.load(Relaxed) == 0 {
        let pause = board.pause.load(Relaxed);
        board.paused.store(pause, Relaxed);
        if pause == 0 {
            sequence += 1;
            call(board, port, sequence);
            board.calls.store(sequence, Relaxed);
        }
        sys::yield_now();
    }
    0
}

/// Calls with a sequence number until it is answered: a server that dies under the call is asked again.
fn call(board: &Board, port: Handle, sequence: u64) {
    loop {
        match ipc::call_words(port, Message::new(COUNT, [sequence, 0, 0, 0]), FOREVER) {
            Err(Error::ServerDied) => raise(&board.died),
            Ok(answer) if answer.label() == DONE && answer.words[..2] == [sequence, sequence] => return,
            _ => return raise(&board.wrong),
        }
    }
}

/// A caller: calls once each time the board says so.
pub fn enter(page: &'static StartPage, name: &str) -> u64 {
    let (board, port) = (board(page), start::require(page, PORT).slot);
    let Some(number) = CALLER_NAMES.iter().position(|&n| n == name) else { return 1 };
    loop {
        if board.go[number].load(Relaxed) > board.done[number].load(Relaxed) {
            let message = Message::new(ENTER, [number as u64, 0, 0, 0]);
            match ipc::call_retry(port, message, FOREVER) {
                Ok(answer) if answer.label() == DONE => raise(&board.done[number]),
                _ => raise(&board.wrong),
            }
        }
        sys::yield_now();
    }
}
