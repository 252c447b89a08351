//! The other side of calls, signals and turns, each in a sandbox of its own.

use hic_abi::FOREVER;
use hic_rt::ipc::{self, Buffer, Message};
use hic_rt::{StartPage, start, sys};

/// Name of the one that answers calls.
pub const ECHO: &str = "echo";
/// Name of the one that signals back.
pub const SIGNALLER: &str = "signaller";
/// Name of the one that takes turns.
pub const YIELDER: &str = "yielder";

/// Name of the one that waits for an interrupt.
pub const DRIVER: &str = "driver";

/// Answers every call with its own words.
pub fn echo(page: &'static StartPage) -> u64 {
    let endpoint = start::require(page, "endpoint:echo").slot;
    let mut buffer = Buffer::new();
    loop {
        let next = ipc::answer_calls(endpoint, &mut buffer, |_, _, message| Message::new(0, message.words));
        if let Err(error) = next {
            return error.code();
        }
    }
}

/// Answers every signal with one.
pub fn signal_back(page: &'static StartPage) -> u64 {
    let (ask, answer) = (start::require(page, "ask").slot, start::require(page, "answer").slot);
    loop {
        match sys::wait(ask, FOREVER).and_then(|_| sys::signal(answer, 1)) {
            Ok(()) => {}
            Err(error) => return error.code(),
        }
    }
}

/// Ends each of its turns at once.
pub fn take_turns() -> u64 {
    loop {
        sys::yield_now();
    }
}
