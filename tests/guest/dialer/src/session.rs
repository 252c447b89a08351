//! One connection from its first line on, as a state machine that never waits.

use core::fmt::{self, Write};
use core::net::SocketAddrV4;

use hic_abi::{FOREVER, Nanos};
use hic_netapi::NetError;
use hic_netclient::{AppSide, SocketError, Want};

use crate::order::{self, Order};
use crate::relay::{Progress, Relay, Sleep};

/// How long a client may take for its first line.
const LINE_LIMIT: Nanos = 60_000_000_000;
/// How long a stack that does not answer is asked for a connection.
const DIAL_LIMIT: Nanos = 10_000_000_000;
/// Until it is asked again.
const DIAL_AGAIN: Nanos = 20_000_000;
/// How long a client may take to close after our last words.
const LINGER: Nanos = 5_000_000_000;

/// What a session wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// To be stepped again when one side has what it sleeps for, or soon after `deadline`, or for no reason.
    Wait {
        /// For the connection that came to us.
        near: Option<Sleep>,
        /// For the connection that we opened.
        far: Option<Sleep>,
        /// Until when; [`FOREVER`] for no limit.
        deadline: Nanos,
    },
    /// A connection to there, its outcome by [`Session::dialed`], then to be stepped again.
    Dial(SocketAddrV4),
    /// That the queue is accepted from, then to be stepped again.
    OpenQueue,
    /// To be dropped, its connections closed in order.
    Over,
    /// To be dropped, its connections reset.
    Abort,
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first line has not come whole.
    Greeting { until: Nanos },
    /// The stack is to be asked for the other connection, the next time at `at`.
    Dialing { remote: SocketAddrV4, at: Nanos, until: Nanos },
    /// The other connection's handshake is under way.
    Connecting,
    /// Both are established.
    Relaying(Relay),
    /// The queue was opened; this is still to be said.
    Opened,
    /// What comes goes back.
    Echo,
    /// The last words were written; the client may still read them.
    Lingering { until: Nanos },
}

/// One connection that came to us, and what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session(State);

impl Session {
    /// A connection to the order port.
    #[must_use]
    pub const fn ordering(now: Nanos) -> Self {
        Self(State::Greeting { until: now.saturating_add(LINE_LIMIT) })
    }

    /// A connection to the queue.
    #[must_use]
    pub const fn echo() -> Self {
        Self(State::Echo)
    }

    /// The outcome of [`Next::Dial`]: the other connection is there for every later step, or why not.
    pub fn dialed(&mut self, outcome: Result<(), SocketError>, near: &mut AppSide, now: Nanos) {
        let State::Dialing { remote, until, .. } = self.0 else { return };
        self.0 = match outcome {
            Ok(()) => State::Connecting,
            Err(error) if passes(error) && now < until => {
                State::Dialing { remote, at: now.saturating_add(DIAL_AGAIN), until }
            }
            Err(error) => refuse(near, &error, now),
        };
    }

    /// Goes on as far as the rings allow. `far` is there from a successful [`Self::dialed`] on.
    pub fn step(&mut self, near: &mut AppSide, far: Option<&mut AppSide>, now: Nanos) -> Next {
        if near.status().error.is_some() {
            return Next::Abort;
        }
        match (self.0, far) {
            (State::Greeting { until }, _) => self.greet(near, until, now),
            (State::Dialing { remote, at, .. }, _) if at <= now => Next::Dial(remote),
            (State::Dialing { at, .. }, _) => wait(Some(Sleep::until(Want::OVER)), None, at),
            (State::Connecting, Some(far)) => self.connect(near, far, now),
            (State::Relaying(relay), Some(far)) => self.relay(relay, near, far),
            (State::Connecting | State::Relaying(_), None) => Next::Abort,
            (State::Opened, _) => {
                self.0 = last_words(near, format_args!("ok\n"), now);
                self.step(near, None, now)
            }
            (State::Echo, _) => self.echo_step(near, now),
            (State::Lingering { until }, _) => linger(near, until, now),
        }
    }

    fn greet(&mut self, near: &mut AppSide, until: Nanos, now: Nanos) -> Next {
        let order = match order::take(near) {
            None if until <= now => {
                self.0 = refuse(near, &"no line came in time", now);
                return self.step(near, None, now);
            }
            None => {
                // Half a line is there to read all the time: only more of it is worth waking up for.
                let more = u32::try_from(near.readable() + 1).unwrap_or(1);
                let sleep = Sleep { want: Want::READABLE, read_low: more, write_low: 1 };
                return wait(Some(sleep), None, until);
            }
            Some(order) => order,
        };
        match order {
            Ok(Order::Connect(remote)) => {
                self.0 = State::Dialing { remote, at: now, until: now.saturating_add(DIAL_LIMIT) };
                Next::Dial(remote)
            }
            Ok(Order::Accept) => {
                self.0 = State::Opened;
                Next::OpenQueue
            }
            Err(bad) => {
                self.0 = refuse(near, &bad, now);
                self.step(near, None, now)
            }
        }
    }

    fn connect(&mut self, near: &mut AppSide, far: &mut AppSide, now: Nanos) -> Next {
        let status = far.status();
        // Established first: one that broke since then is a broken relay, and our words would be taken for the other end's.
        if status.established || (status.over && status.error.is_none()) {
            return self.relay(Relay::new(), near, far);
        }
        if let Some(error) = status.error {
            self.0 = refuse(near, &error, now);
            return self.step(near, None, now);
        }
        wait(Some(Sleep::until(Want::OVER)), Some(Sleep::until(Want::ESTABLISHED)), FOREVER)
    }

    fn relay(&mut self, mut relay: Relay, near: &mut AppSide, far: &mut AppSide) -> Next {
        let progress = relay.step(near, far);
        self.0 = State::Relaying(relay);
        match progress {
            Progress::Wait { near, far } => wait(near, far, FOREVER),
            Progress::Finished => Next::Over,
            Progress::Broken => Next::Abort,
        }
    }

    fn echo_step(&mut self, near: &mut AppSide, now: Nanos) -> Next {
        // Status before data: what came before the end is still there after it.
        let closed = near.status().rx_closed;
        near.echo(usize::MAX);
        let want = match (near.readable(), closed) {
            (0, true) => {
                near.close_tx();
                self.0 = State::Lingering { until: now.saturating_add(LINGER) };
                return self.step(near, None, now);
            }
            (0, false) => Want::READABLE,
            _ => Want::WRITABLE,
        };
        wait(Some(Sleep::until(want)), None, FOREVER)
    }
}

const fn wait(near: Option<Sleep>, far: Option<Sleep>, deadline: Nanos) -> Next {
    Next::Wait { near, far, deadline }
}

/// Reads what still comes, so that the client is not reset before it has read our last words.
fn linger(near: &mut AppSide, until: Nanos, now: Nanos) -> Next {
    let status = near.status();
    near.consume_rx(near.readable());
    if status.rx_closed || status.over || until <= now {
        return Next::Over;
    }
    wait(Some(Sleep::until(Want::READABLE.and(Want::OVER))), None, until)
}

/// Whether the stack may answer otherwise when asked again: it is being started again, or replaced.
const fn passes(error: SocketError) -> bool {
    matches!(
        error,
        SocketError::Kernel { .. } | SocketError::Refused(NetError::NotReady | NetError::NoAddress)
    )
}

fn refuse(near: &mut AppSide, why: &dyn fmt::Display, now: Nanos) -> State {
    last_words(near, format_args!("error: {why}\n"), now)
}

/// Says it and ends the stream. Nothing was written before, so it fits.
fn last_words(near: &mut AppSide, words: fmt::Arguments, now: Nanos) -> State {
    // Writing to a ring does not fail; what had no room would be cut.
    let _ = Ring(near).write_fmt(words);
    near.close_tx();
    State::Lingering { until: now.saturating_add(LINGER) }
}

/// Text into a send ring.
struct Ring<'a>(&'a mut AppSide);

impl Write for Ring<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.write(text.as_bytes()) == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
