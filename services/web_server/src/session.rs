//! One connection: requests one after the other (pipelined ones wait in the ring), limits on time and size.
//!
//! ```text
//!   Head ── whole ──▶ Body ── skipped ──▶ (answer) ──▶ Sending ── all written ──▶ Head, or Close
//!    └── bad, too long, too slow ──────────────────────▶ Sending ──▶ Close
//! ```

use crate::request::{MAX_HEAD, Method, Parsed, Request, Target, parse};
use crate::response::{Response, Status};
use alloc::string::String;
use hic_abi::Nanos;
use hic_netclient::{AppSide, Step};

/// How long a request may take to arrive, from its first byte (or from the connection's start) on: whoever sends a byte
/// now and then holds a place no longer than this.
pub const HEAD_TIME: Nanos = 10_000_000_000;
/// How long a kept connection may be silent.
pub const IDLE_TIME: Nanos = 30_000_000_000;
/// How long the other end may take to read an answer.
pub const SEND_TIME: Nanos = 30_000_000_000;

/// Where the bodies come from.
pub trait Content {
    /// The page at `/`.
    fn index(&mut self) -> String;
}

enum State {
    /// Waits for a request. `since_first_byte`: part of it is there.
    Head { deadline: Nanos, since_first_byte: bool },
    /// Skips the rest of the request's body.
    Body { request: Request, left: u64, deadline: Nanos },
    /// Writes an answer.
    Sending { text: String, written: usize, keep_alive: bool, deadline: Nanos },
}

/// The state of a connection.
pub struct Session {
    state: State,
}

impl Session {
    /// A connection that was just accepted.
    #[must_use]
    pub const fn new(now: Nanos) -> Self {
        Self { state: State::Head { deadline: now + HEAD_TIME, since_first_byte: true } }
    }

    /// Goes on as far as the rings allow.
    pub fn step(&mut self, side: &mut AppSide, now: Nanos, content: &mut dyn Content) -> Step {
        loop {
            let step = match &self.state {
                State::Head { .. } => self.head(side, now),
                State::Body { .. } => self.body(side, now, content),
                State::Sending { .. } => self.send(side, now),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn head(&mut self, side: &mut AppSide, now: Nanos) -> Option<Step> {
        let State::Head { deadline, since_first_byte } = &mut self.state else { return None };
        let closed = side.status().rx_closed;
        let mut bytes = [0; MAX_HEAD];
        let len = side.peek_at(0, &mut bytes);
        if len > 0 && !*since_first_byte {
            (*deadline, *since_first_byte) = (now + HEAD_TIME, true);
        }
        let (deadline, waiting) = (*deadline, len > 0);
        match parse(bytes.get(..len).unwrap_or_default()) {
            Parsed::Whole(request) => {
                side.consume_rx(request.head_len);
                let left = request.body_len;
                self.state = State::Body { request, left, deadline };
                None
            }
            Parsed::Bad(status) => {
                self.refuse(status, now);
                None
            }
            Parsed::Partial if closed && !waiting => Some(Step::Close),
            Parsed::Partial if closed => {
                self.refuse(Status::BadRequest, now);
                None
            }
            Parsed::Partial if deadline <= now && waiting => {
                self.refuse(Status::RequestTimeout, now);
                None
            }
            Parsed::Partial if deadline <= now => Some(Step::Close),
            Parsed::Partial => Some(Step::Wait {
                want: hic_netclient::Want::READABLE,
                read_low: len as u32 + 1,
                write_low: 1,
                deadline,
            }),
        }
    }

    fn body(&mut self, side: &mut AppSide, now: Nanos, content: &mut dyn Content) -> Option<Step> {
        let State::Body { request, left, deadline } = &mut self.state else { return None };
        let closed = side.status().rx_closed;
        let skip = (side.readable() as u64).min(*left);
        side.consume_rx(skip as usize);
        *left -= skip;
        let (request, left, deadline) = (*request, *left, *deadline);
        if left == 0 {
            self.answer(&request, now, content);
            return None;
        }
        if closed || deadline <= now {
            return Some(Step::Abort);
        }
        Some(Step::read(deadline))
    }

    fn answer(&mut self, request: &Request, now: Nanos, content: &mut dyn Content) {
        let allowed = request.method != Method::Other;
        let (status, content_type, body) = match request.target {
            Target::Unknown => (Status::NotFound, "text/plain", String::from("no such page\n")),
            _ if !allowed => (Status::MethodNotAllowed, "text/plain", String::from("only GET and HEAD\n")),
            Target::Health => (Status::Ok, "text/plain", String::from("ok\n")),
            Target::Index => (Status::Ok, "text/html; charset=utf-8", content.index()),
        };
        let (with_body, keep_alive) = (request.method != Method::Head, request.keep_alive);
        let text = Response { status, content_type, body: &body, with_body, keep_alive }.encode();
        self.state = State::Sending { text, written: 0, keep_alive, deadline: now + SEND_TIME };
    }

    /// Says what was wrong, then closes: where the next request begins is not known.
    fn refuse(&mut self, status: Status, now: Nanos) {
        let (body, keep_alive) = (status.line(), false);
        let text =
            Response { status, content_type: "text/plain", body, with_body: true, keep_alive }.encode();
        self.state = State::Sending { text, written: 0, keep_alive, deadline: now + SEND_TIME };
    }

    fn send(&mut self, side: &mut AppSide, now: Nanos) -> Option<Step> {
        let State::Sending { text, written, keep_alive, deadline } = &mut self.state else { return None };
        *written += side.write(text.as_bytes().get(*written..).unwrap_or_default());
        if *written < text.len() {
            return Some(if *deadline <= now { Step::Abort } else { Step::write(1, *deadline) });
        }
        if !*keep_alive {
            return Some(Step::Close);
        }
        self.state = State::Head { deadline: now + IDLE_TIME, since_first_byte: false };
        None
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
